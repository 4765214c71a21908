//! Softmax and its logarithm along one dimension.

use tandem_schemas::program::{OpKindT, SoftmaxT};

use super::Row;
use crate::error::Reason;
use crate::graph::table;
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten._softmax.default", |c| softmax(c, false)),
    ("aten.softmax.int", |c| softmax(c, false)),
    ("aten._log_softmax.default", |c| softmax(c, true)),
    ("aten.log_softmax.int", |c| softmax(c, true)),
];

fn softmax(call: &mut Call<'_, '_>, log: bool) -> Result<(), Reason> {
    call.refuse("half_to_float")?;
    let src = call.tensor("self")?;
    let dim = call.dim("dim", call.shape(src).len())? as u32;
    call.emit(OpKindT::Softmax(table(|op: &mut SoftmaxT| (op.src, op.dim, op.log) = (src, dim, log))))
}
