//! Removes ops that give what they get: copies, and views that change nothing.

use tandem_schemas::program::{OpKindT, UnaryKind};

use crate::error::Reason;
use crate::graph::{GraphEdit, Op, ValueId};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some((src, output)) = edit.op(id).and_then(|op| Some((unchanged(edit, op)?, op.output))) else {
            continue;
        };
        edit.redirect(output, src);
        edit.remove(id);
    }
    Ok(())
}

/// The value an op only passes on.
fn unchanged(edit: &GraphEdit<'_, '_>, op: &Op) -> Option<ValueId> {
    let same = |src: ValueId| (edit.shape(src) == edit.shape(op.output)).then_some(src);
    match &op.kind {
        OpKindT::Unary(op) if op.kind == UnaryKind::Identity => Some(op.src),
        OpKindT::Reshape(op) => same(op.src),
        OpKindT::Expand(op) => same(op.src),
        OpKindT::Slice(op) if op.start == 0 && op.step == 1 => same(op.src),
        OpKindT::Permute(op) if op.order.is_sorted() => Some(op.src),
        OpKindT::Concat(op) if op.src.len() == 1 => Some(op.src[0]),
        OpKindT::Pad(op) if op.before.iter().all(|&b| b == 0) => same(op.src),
        _ => None,
    }
}
