//! Execution order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Graph, OpId, sources};
use crate::error::Reason;

/// Live ops such that each comes behind its operands, otherwise in the order of the nodes they came from.
pub(crate) fn execution_order(graph: &Graph<'_>) -> Result<Vec<OpId>, Reason> {
    let mut producer = vec![None; graph.values.len()];
    for (id, op) in graph.live() {
        producer[op.output as usize] = Some(id);
    }
    let mut waiting = vec![0usize; graph.ops.len()];
    let mut users = vec![vec![]; graph.ops.len()];
    let mut ready = BinaryHeap::new();
    for (id, op) in graph.live() {
        for from in sources(&op.kind).into_iter().filter_map(|v| producer[v as usize]) {
            users[from].push(id);
            waiting[id] += 1;
        }
        if waiting[id] == 0 {
            ready.push(Reverse((op.order, id)));
        }
    }
    let mut order = vec![];
    while let Some(Reverse((_, id))) = ready.pop() {
        order.push(id);
        for &user in &users[id] {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                let place = graph.ops[user].as_ref().map_or(0, |op| op.order);
                ready.push(Reverse((place, user)));
            }
        }
    }
    let live = graph.live().count();
    if order.len() == live {
        Ok(order)
    } else {
        Err(format!("{} of {live} ops form a cycle", live - order.len()))
    }
}
