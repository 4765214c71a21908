//! Whether two graphs are the same but for the sizes of their values.

use std::collections::HashMap;

use tandem_schemas::program::OpKindT;

use crate::error::{LowerError, Reason, Stage};
use crate::graph::{Graph, Op, OpId, ValueId, execution_order, kind_name, kind_text, visit, visit_mut};

/// The other graph's values and ops by this one's.
#[derive(Default)]
pub(super) struct Twin {
    pub values: HashMap<ValueId, ValueId>,
    pub ops: HashMap<OpId, OpId>,
}

/// Pairs the values and ops of two graphs.
///
/// `at` names the sizes of both. Starts of slices may differ.
pub(super) fn pair(a: &Graph<'_>, b: &Graph<'_>, at: [&str; 2]) -> Result<Twin, LowerError> {
    let whole = |message| LowerError::Graph { stage: Stage::Dynamic, message };
    let (order_a, order_b) = (execution_order(a).map_err(whole)?, execution_order(b).map_err(whole)?);
    let mut twin = Twin::default();
    for (&from, &to) in a.inputs.iter().zip(&b.inputs) {
        twin.values.insert(from, to);
    }
    let ops = order_a
        .iter()
        .zip(&order_b)
        .filter_map(|(&i, &j)| Some((i, j, a.ops[i].as_ref()?, b.ops[j].as_ref()?)));
    for (i, j, from, to) in ops {
        same_op(&mut twin, (a, from), (b, to), at).map_err(|message| LowerError::Node {
            stage: Stage::Dynamic,
            op: kind_name(&from.kind).to_owned(),
            node: from.name.clone(),
            message,
        })?;
        twin.ops.insert(i, j);
    }
    if order_a.len() != order_b.len() {
        let (a, b) = (order_a.len(), order_b.len());
        return Err(whole(format!("is {a} ops where {} and {b} where {}", at[0], at[1])));
    }
    let outputs = a.outputs.iter().zip(&b.outputs).all(|(o, p)| twin.values.get(&o.value) == Some(&p.value));
    if outputs {
        Ok(twin)
    } else {
        Err(whole(format!("returns others where {} than where {}", at[0], at[1])))
    }
}

fn same_op(
    twin: &mut Twin,
    (a, from): (&Graph<'_>, &Op),
    (b, to): (&Graph<'_>, &Op),
    at: [&str; 2],
) -> Result<(), Reason> {
    let differs = || {
        let (from, to) = (kind_text(a, &from.kind), kind_text(b, &to.kind));
        format!("is {from} where {}, and {to} where {}", at[0], at[1])
    };
    if from.name != to.name || !same_payload(&from.kind, &to.kind) {
        return Err(differs());
    }
    let (mut reads, mut others) = (vec![], vec![]);
    visit(&from.kind, |_, &id| reads.push(id));
    visit(&to.kind, |_, &id| others.push(id));
    if reads.len() != others.len() {
        return Err(differs());
    }
    for (&read, &other) in reads.iter().zip(&others) {
        match twin.values.get(&read) {
            Some(&known) if known == other => {}
            Some(_) => return Err(differs()),
            None => {
                same_constant(a, read, b, other, at)?;
                twin.values.insert(read, other);
            }
        }
    }
    let (out, other) = (a.value(from.output), b.value(to.output));
    if out.dtype != other.dtype || out.shape.len() != other.shape.len() {
        return Err(differs());
    }
    twin.values.insert(from.output, to.output);
    Ok(())
}

fn same_constant(
    a: &Graph<'_>,
    id: ValueId,
    b: &Graph<'_>,
    other: ValueId,
    at: [&str; 2],
) -> Result<(), Reason> {
    let name = &a.value(id).name;
    let (Some(x), Some(y)) = (a.constant(id), b.constant(other)) else {
        return Err(format!("reads {name} where {} and {} where {}", at[0], b.value(other).name, at[1]));
    };
    let bytes = || std::ptr::eq(x.bytes(), y.bytes()) || x.bytes() == y.bytes();
    if x.dtype == y.dtype && x.shape == y.shape && bytes() {
        return Ok(());
    }
    Err(format!(
        "constant {name} depends on sizes: {:?} where {}, {:?} where {}",
        x.shape, at[0], y.shape, at[1]
    ))
}

/// Whether payloads are the same but for what they read and for starts of slices.
fn same_payload(a: &OpKindT, b: &OpKindT) -> bool {
    let (a, b) = (bare(a), bare(b));
    // A NaN differs from itself, but its text does not.
    a == b || format!("{a:?}") == format!("{b:?}")
}

/// A payload without what it reads and without a slice's start.
fn bare(kind: &OpKindT) -> OpKindT {
    let mut kind = kind.clone();
    visit_mut(&mut kind, |_, id| *id = 0);
    if let OpKindT::Slice(op) = &mut kind {
        op.start = 0;
    }
    kind
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::PadT;

    use super::*;

    #[test]
    fn payloads_of_nans_are_the_same() {
        let pad = |value: f64| {
            let mut pad = PadT::default();
            (pad.before, pad.value) = (vec![1, 0], value);
            OpKindT::Pad(Box::new(pad))
        };
        assert!(same_payload(&pad(f64::NAN), &pad(f64::NAN)));
        assert!(!same_payload(&pad(f64::NAN), &pad(0.5)));
        assert!(!same_payload(&pad(f64::NAN), &OpKindT::Unary(Box::default())));
    }
}
