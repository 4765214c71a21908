//! An addition to the result of a product becomes its residual.

use tandem_schemas::program::{BinaryKind, OpKindT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, ValueId, epilogue, epilogue_mut};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    let order = edit.order()?;
    let mut place = vec![0; edit.graph().ops.len()];
    for (i, &id) in order.iter().enumerate() {
        place[id] = i;
    }
    for add in order {
        if let Some((product, other)) = candidate(edit, add, &place) {
            let act = match edit.op(add).map(|op| &op.kind) {
                Some(OpKindT::Binary(op)) => op.act.clone(),
                _ => None,
            };
            edit.modify(product, |kind| {
                if let Some(stages) = epilogue_mut(kind) {
                    (stages.residual, stages.act2) = (other, act);
                }
            });
            edit.absorb(product, add);
        }
    }
    Ok(())
}

/// The product an addition can be part of and the other operand; of two, the one that runs later, whose residual is
/// ready by then. The other operand cannot depend on the product, which only the addition reads.
fn candidate(edit: &GraphEdit<'_, '_>, add: OpId, place: &[usize]) -> Option<(OpId, ValueId)> {
    let op = edit.op(add)?;
    let OpKindT::Binary(binary) = &op.kind else { return None };
    let shape = edit.shape(op.output);
    let fits = binary.kind == BinaryKind::Add
        && binary.alpha == 1.0
        && edit.shape(binary.a) == shape
        && edit.shape(binary.b) == shape;
    let open = |src: ValueId, other: ValueId| {
        let (id, producer) = edit.sole_producer(src)?;
        if matches!(producer.kind, OpKindT::MatMul(_)) {
            return None;
        }
        let stages = epilogue(&producer.kind)?;
        (stages.residual < 0 && stages.act2.is_none()).then_some((id, other))
    };
    if !fits {
        return None;
    }
    let both = [open(binary.a, binary.b), open(binary.b, binary.a)];
    both.into_iter().flatten().max_by_key(|&(id, _)| place.get(id))
}
