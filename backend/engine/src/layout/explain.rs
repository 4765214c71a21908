//! Who decided how a value lies.

use tandem_schemas::program::ValueKind;

use super::describe;
use super::states::{Graph, State, cheapest};
use crate::model::{Model, width};

/// How a value lies and why.
#[derive(Clone, Debug)]
pub struct ValueReport {
    /// Its name in the program.
    pub name: String,
    /// Logical sizes.
    pub sizes: Vec<usize>,
    /// Bytes of its elements.
    pub bytes: usize,
    /// Layout it is written in: axis letters outermost first, `*` where strides leave gaps.
    pub layout: String,
    /// Layout of a copy some ops or the host read instead, or "".
    pub copy: String,
    /// Who decided: the host, the only candidate, or the op that loses most where the value lies otherwise.
    pub decided: String,
}

/// Reports of all values.
pub(crate) fn values(graph: &Graph<'_>, model: &Model, states: &[usize]) -> Vec<ValueReport> {
    let mut touching = vec![Vec::new(); states.len()];
    for (i, price) in graph.prices.iter().enumerate() {
        price.values.iter().for_each(|&v| touching[v].push(i));
    }
    let one = |v: usize| {
        let (value, layouts) = (&model.values[v], &graph.choices[v].layouts);
        let state = graph.states[v][states[v]];
        ValueReport {
            name: value.name.clone(),
            sizes: value.sizes.clone(),
            bytes: value.sizes.iter().product::<usize>() * width(value.dtype),
            layout: describe(&layouts[state.home]),
            copy: state.copy.map_or_else(String::new, |copy| describe(&layouts[copy])),
            decided: decided(graph, model, states, v, &touching[v]),
        }
    };
    (0..states.len()).map(one).collect()
}

fn decided(graph: &Graph<'_>, model: &Model, states: &[usize], v: usize, touching: &[usize]) -> String {
    let now = graph.states[v][states[v]];
    let others: Vec<State> = graph.states[v].iter().copied().filter(|s| s.home != now.home).collect();
    if matches!(model.values[v].kind, ValueKind::Input | ValueKind::Constant) {
        return "the host".to_owned();
    }
    if others.is_empty() {
        return "the only candidate".to_owned();
    }
    let loss = |&price: &usize| {
        let price = &graph.prices[price];
        let ns =
            |state: State| cheapest(price, |w| if w == v { state } else { graph.states[w][states[w]] }).0;
        (others.iter().map(|&other| ns(other)).fold(f64::INFINITY, f64::min) - ns(now), price.op)
    };
    match touching.iter().map(loss).max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((ns, op)) if ns > 0.0 && ns.is_finite() => {
            format!("{}: {:.1} µs more otherwise", model.ops[op].name, ns / 1e3)
        }
        Some((ns, op)) if ns > 0.0 => format!("{}: cannot otherwise", model.ops[op].name),
        _ => "nobody: as quick otherwise".to_owned(),
    }
}
