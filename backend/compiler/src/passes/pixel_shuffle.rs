//! A pixel shuffle written as view, permutation and view is recognised, and one behind a convolution becomes the
//! pattern of its store.

use tandem_schemas::program::{OpKindT, PixelShuffleT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, ValueId, table};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        if let Some((src, factor)) = written_out(edit, id) {
            edit.modify(id, |kind| {
                *kind = OpKindT::PixelShuffle(table(|op: &mut PixelShuffleT| {
                    (op.src, op.factor) = (src, factor);
                }));
            });
        }
        if let Some((conv, factor)) = stored(edit, id) {
            edit.modify(conv, |kind| {
                if let OpKindT::Conv(op) = kind {
                    op.shuffle = factor;
                }
            });
            edit.absorb(conv, id);
        }
    }
    Ok(())
}

/// Source and factor where `id` is the last of `[n, c·r·r, h, w]` → `[n, c, r, r, h, w]` → `[n, c, h, r, w, r]` →
/// `[n, c, h·r, w·r]`.
fn written_out(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<(ValueId, u32)> {
    let op = edit.op(id)?;
    let OpKindT::Reshape(last) = &op.kind else { return None };
    let OpKindT::Permute(permute) = &edit.producer(last.src)?.1.kind else { return None };
    let OpKindT::Reshape(first) = &edit.producer(permute.src)?.1.kind else { return None };
    let [n, c, ry, rx, h, w] = *edit.shape(permute.src) else { return None };
    let fits = permute.order == [0, 1, 4, 2, 5, 3]
        && ry == rx
        && (2..=256).contains(&ry)
        && *edit.shape(first.src) == [n, c * ry * rx, h, w]
        && *edit.shape(op.output) == [n, c, h * ry, w * rx];
    fits.then_some((first.src, ry as u32))
}

/// The convolution whose result only the pixel shuffle `id` reads.
fn stored(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<(OpId, u32)> {
    let OpKindT::PixelShuffle(shuffle) = &edit.op(id)?.kind else { return None };
    let (producer, op) = edit.sole_producer(shuffle.src)?;
    let OpKindT::Conv(conv) = &op.kind else { return None };
    let plain =
        conv.shuffle == 1 && conv.groups == 1 && conv.epilogue.as_ref().is_none_or(|e| e.residual < 0);
    (plain && !shuffle.inverse).then_some((producer, shuffle.factor))
}
