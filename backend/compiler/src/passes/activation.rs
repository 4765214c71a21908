//! An activation behind a convolution, a linear layer, a normalisation or arithmetic becomes a stage of it.

use tandem_schemas::program::{ActT, OpKindT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, as_activation, epilogue_mut};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some((producer, act)) = candidate(edit, id) else { continue };
        edit.modify(producer, |kind| {
            if let Some(slot) = slot(kind) {
                *slot = Some(act);
            }
        });
        edit.absorb(producer, id);
    }
    Ok(())
}

/// The op whose result only the activation `id` reads, and the activation.
fn candidate(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<(OpId, ActT)> {
    let op = edit.op(id)?;
    let act = as_activation(&op.kind)?;
    let OpKindT::Unary(unary) = &op.kind else { return None };
    let (producer, before) = edit.sole_producer(unary.src)?;
    let open = slot(&mut before.kind.clone()).is_some();
    open.then_some((producer, act))
}

/// Where the next activation of an op goes, if there is room.
fn slot(kind: &mut OpKindT) -> Option<&mut Option<ActT>> {
    let free = match kind {
        OpKindT::MatMul(_) => return None,
        OpKindT::Norm(op) => &mut op.act,
        OpKindT::Affine(op) => &mut op.act,
        OpKindT::Binary(op) => &mut op.act,
        _ => {
            let stages = epilogue_mut(kind)?;
            let later = stages.scale >= 0 || stages.residual >= 0;
            if later { &mut stages.act2 } else { &mut stages.act }
        }
    };
    free.is_none().then_some(free)
}
