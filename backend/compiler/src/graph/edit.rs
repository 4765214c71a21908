//! The one way passes change a graph.

use tandem_schemas::program::OpKindT;

use super::{Graph, Op, OpId, Origin, Value, ValueId, execution_order, sources};
use crate::error::Reason;
use crate::tensor::Tensor;

/// A graph being rewritten: knows who produces and who uses each value, and keeps that true.
pub(crate) struct GraphEdit<'g, 'a> {
    graph: &'g mut Graph<'a>,
    producer: Vec<Option<OpId>>,
    /// Per value, each op once for every field that reads it.
    users: Vec<Vec<OpId>>,
    changes: usize,
}

impl<'g, 'a> GraphEdit<'g, 'a> {
    pub fn new(graph: &'g mut Graph<'a>) -> Self {
        let values = graph.values.len();
        let mut edit = Self { graph, producer: vec![None; values], users: vec![vec![]; values], changes: 0 };
        for id in 0..edit.graph.ops.len() {
            edit.link(id);
        }
        edit
    }

    /// How often the graph was changed.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Ops in execution order as it is now.
    pub fn order(&self) -> Result<Vec<OpId>, Reason> {
        execution_order(self.graph)
    }

    pub fn graph(&self) -> &Graph<'a> {
        self.graph
    }

    /// An op, unless it was removed.
    pub fn op(&self, id: OpId) -> Option<&Op> {
        self.graph.ops[id].as_ref()
    }

    pub fn shape(&self, value: ValueId) -> &[usize] {
        self.graph.shape(value)
    }

    pub fn constant(&self, value: ValueId) -> Option<&Tensor<'a>> {
        self.graph.constant(value)
    }

    /// The op that produces a value, if one does.
    pub fn producer(&self, value: ValueId) -> Option<(OpId, &Op)> {
        let id = self.producer[value as usize]?;
        self.op(id).map(|op| (id, op))
    }

    /// The op that produces a value which is read in one place only and not returned.
    pub fn sole_producer(&self, value: ValueId) -> Option<(OpId, &Op)> {
        if self.users[value as usize].len() == 1 && !self.is_output(value) {
            self.producer(value)
        } else {
            None
        }
    }

    pub fn users(&self, value: ValueId) -> &[OpId] {
        &self.users[value as usize]
    }

    pub fn is_output(&self, value: ValueId) -> bool {
        self.graph.outputs.iter().any(|o| o.value == value)
    }

    pub fn add_constant(&mut self, name: String, tensor: Tensor<'a>) -> ValueId {
        self.producer.push(None);
        self.users.push(vec![]);
        self.graph.add_constant(name, tensor)
    }

    /// Changes an op's payload.
    pub fn modify(&mut self, id: OpId, change: impl FnOnce(&mut OpKindT)) {
        self.unlink(id);
        if let Some(op) = &mut self.graph.ops[id] {
            change(&mut op.kind);
        }
        self.link(id);
        self.changes += 1;
    }

    /// A new op with a new value of `shape`, placed and named after `origin`, from which it also takes debug handles.
    pub fn insert(&mut self, origin: OpId, suffix: &str, shape: &[usize], kind: OpKindT) -> ValueId {
        let (name, order, debug_handles, dtype) = match &self.graph.ops[origin] {
            Some(op) => {
                let dtype = self.graph.value(op.output).dtype;
                (format!("{}.{suffix}", op.name), op.order, op.debug_handles.clone(), dtype)
            }
            None => return -1,
        };
        let shape = shape.to_vec();
        let value = Value { name: name.clone(), dtype, shape, dim_order: vec![], origin: Origin::Op };
        let output = self.graph.add_value(value);
        self.producer.push(None);
        self.users.push(vec![]);
        self.graph.ops.push(Some(Op { name, kind, output, order, debug_handles }));
        self.link(self.graph.ops.len() - 1);
        self.changes += 1;
        output
    }

    /// Makes everything that reads `old` read `new`.
    pub fn redirect(&mut self, old: ValueId, new: ValueId) {
        for id in self.users[old as usize].clone() {
            self.unlink(id);
            if let Some(op) = &mut self.graph.ops[id] {
                super::visit_mut(&mut op.kind, |_, value| {
                    if *value == old {
                        *value = new;
                    }
                });
            }
            self.link(id);
        }
        for output in self.graph.outputs.iter_mut().filter(|o| o.value == old) {
            output.value = new;
        }
        self.changes += 1;
    }

    pub fn remove(&mut self, id: OpId) {
        self.unlink(id);
        if let Some(op) = self.graph.ops[id].take() {
            self.producer[op.output as usize] = None;
        }
        self.changes += 1;
    }

    /// `id` computes what `next`, the only reader of its output, did; `next` is gone.
    pub fn absorb(&mut self, id: OpId, next: OpId) {
        let Some((output, handles)) = self.op(next).map(|op| (op.output, op.debug_handles.clone())) else {
            return;
        };
        self.remove(next);
        self.unlink(id);
        if let Some(op) = &mut self.graph.ops[id] {
            self.producer[op.output as usize] = None;
            op.output = output;
            for handle in handles {
                if !op.debug_handles.contains(&handle) {
                    op.debug_handles.push(handle);
                }
            }
        }
        self.link(id);
    }

    fn link(&mut self, id: OpId) {
        if let Some(op) = &self.graph.ops[id] {
            self.producer[op.output as usize] = Some(id);
            for value in sources(&op.kind) {
                self.users[value as usize].push(id);
            }
        }
    }

    fn unlink(&mut self, id: OpId) {
        if let Some(op) = &self.graph.ops[id] {
            for value in sources(&op.kind) {
                let users = &mut self.users[value as usize];
                if let Some(at) = users.iter().position(|&u| u == id) {
                    users.remove(at);
                }
            }
        }
    }
}
