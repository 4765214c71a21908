//! A concatenation of channels that only convolutions read becomes their source segments.

use tandem_schemas::program::OpKindT;

use crate::error::Reason;
use crate::graph::{GraphEdit, MAX_SEGMENTS, OpId, ValueId};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some(op) = edit.op(id) else { continue };
        let OpKindT::Concat(concat) = &op.kind else { continue };
        let (whole, parts) = (op.output, concat.src.clone());
        let image = concat.dim == 1 && edit.shape(whole).len() == 4 && !edit.is_output(whole);
        let users = edit.users(whole).to_vec();
        if !image || users.is_empty() || !users.iter().all(|&user| takes(edit, user, whole, parts.len())) {
            continue;
        }
        for user in users {
            edit.modify(user, |kind| {
                if let OpKindT::Conv(conv) = kind {
                    conv.src = conv
                        .src
                        .iter()
                        .flat_map(|&s| if s == whole { parts.clone() } else { vec![s] })
                        .collect();
                }
            });
        }
        edit.remove(id);
    }
    Ok(())
}

/// Whether an op is a convolution that can read `parts` segments in place of `whole`, and reads it as a source only.
fn takes(edit: &GraphEdit<'_, '_>, user: OpId, whole: ValueId, parts: usize) -> bool {
    let Some(OpKindT::Conv(conv)) = edit.op(user).map(|op| &op.kind) else { return false };
    let residual = conv.epilogue.as_ref().is_some_and(|e| e.residual == whole);
    let segments: usize = conv.src.iter().map(|&s| if s == whole { parts } else { 1 }).sum();
    conv.groups == 1 && !residual && segments <= MAX_SEGMENTS
}
