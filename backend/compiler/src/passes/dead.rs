//! Removes ops whose results nobody reads.

use crate::error::Reason;
use crate::graph::GraphEdit;

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()?.into_iter().rev() {
        if edit.op(id).is_some_and(|op| edit.users(op.output).is_empty() && !edit.is_output(op.output)) {
            edit.remove(id);
        }
    }
    Ok(())
}
