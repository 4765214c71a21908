//! Views behind a linear layer that leave its columns alone move in front of it, where they meet the views of its
//! source; what follows then fuses into the layer.

use tandem_schemas::program::{OpKindT, PermuteT, ReshapeT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, table};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for view in edit.order()? {
        if let Some((linear, shape, kind)) = movable(edit, view) {
            let src = edit.insert(linear, "src", &shape, kind);
            edit.modify(linear, |kind| {
                if let OpKindT::Linear(op) = kind {
                    op.src = src;
                }
            });
            edit.absorb(linear, view);
        }
    }
    Ok(())
}

/// The layer a view can move in front of, and the view of its source that does the same.
fn movable(edit: &GraphEdit<'_, '_>, view: OpId) -> Option<(OpId, Vec<usize>, OpKindT)> {
    let op = edit.op(view)?;
    let src = match &op.kind {
        OpKindT::Reshape(op) => op.src,
        OpKindT::Permute(op) => op.src,
        _ => return None,
    };
    let (id, producer) = edit.sole_producer(src)?;
    let OpKindT::Linear(linear) = &producer.kind else { return None };
    if linear.epilogue.as_ref().is_some_and(|e| e.residual >= 0) {
        return None;
    }
    let (before, after) = (edit.shape(src), edit.shape(op.output));
    let kind = match &op.kind {
        OpKindT::Permute(op) if op.order.last() == Some(&(before.len() as u32 - 1)) => {
            let order = op.order.clone();
            OpKindT::Permute(table(|op: &mut PermuteT| (op.src, op.order) = (linear.src, order)))
        }
        OpKindT::Reshape(_) if after.len() >= 2 && after.last() == before.last() => {
            OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = linear.src))
        }
        _ => return None,
    };
    let mut shape = after.to_vec();
    *shape.last_mut()? = *edit.shape(linear.src).last()?;
    Some((id, shape, kind))
}
