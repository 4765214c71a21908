//! Chains of views become one, and broadcasting replaces explicit expansion.

use tandem_schemas::program::{OpKindT, ReshapeT};

use crate::error::Reason;
use crate::graph::{GraphEdit, Op, OpId, ValueId, broadcast, table};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some(op) = edit.op(id) else { continue };
        let rewritten = match &op.kind {
            OpKindT::Reshape(_) | OpKindT::Permute(_) | OpKindT::Slice(_) => merged(edit, op),
            OpKindT::Binary(_) => broadcasting(edit, op),
            _ => None,
        };
        if let Some(kind) = rewritten {
            edit.modify(id, |old| *old = kind);
        }
        as_reshape(edit, id);
    }
    Ok(())
}

/// A view of a view as a view of the first one's source.
fn merged(edit: &GraphEdit<'_, '_>, op: &Op) -> Option<OpKindT> {
    let producer = |src: ValueId| edit.producer(src).map(|(_, op)| &op.kind);
    let mut kind = op.kind.clone();
    match &mut kind {
        OpKindT::Reshape(outer) => {
            let Some(OpKindT::Reshape(inner)) = producer(outer.src) else { return None };
            outer.src = inner.src;
        }
        OpKindT::Permute(outer) => {
            let Some(OpKindT::Permute(inner)) = producer(outer.src) else { return None };
            outer.src = inner.src;
            outer.order = outer.order.iter().map(|&d| inner.order[d as usize]).collect();
        }
        OpKindT::Slice(outer) => match producer(outer.src) {
            Some(OpKindT::Slice(inner)) if inner.dim == outer.dim => {
                outer.start = inner.start + outer.start * inner.step;
                (outer.src, outer.step) = (inner.src, outer.step * inner.step);
            }
            _ => return None,
        },
        _ => return None,
    }
    Some(kind)
}

/// A permutation that keeps the order of all dimensions above 1 moves nothing.
fn as_reshape(edit: &mut GraphEdit<'_, '_>, id: OpId) {
    let Some(OpKindT::Permute(op)) = edit.op(id).map(|op| &op.kind) else { return };
    let (src, shape) = (op.src, edit.shape(op.src));
    let moved: Vec<u32> = op.order.iter().copied().filter(|&d| shape[d as usize] > 1).collect();
    if moved.is_sorted() && !op.order.is_sorted() {
        edit.modify(id, |kind| *kind = OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = src)));
    }
}

/// A binary op reads behind expansions where its other operand spans the result.
fn broadcasting(edit: &GraphEdit<'_, '_>, op: &Op) -> Option<OpKindT> {
    let OpKindT::Binary(binary) = &op.kind else { return None };
    let behind = |value: ValueId| match edit.producer(value).map(|(_, op)| &op.kind) {
        Some(OpKindT::Expand(expand)) => expand.src,
        _ => value,
    };
    let mut rewritten = binary.clone();
    for (a, b) in
        [(behind(binary.a), behind(binary.b)), (behind(binary.a), binary.b), (binary.a, behind(binary.b))]
    {
        let shape = broadcast(&[edit.shape(a), edit.shape(b)]).ok()?;
        if (a, b) != (binary.a, binary.b) && shape == edit.shape(op.output) {
            (rewritten.a, rewritten.b) = (a, b);
            return Some(OpKindT::Binary(rewritten));
        }
    }
    None
}
