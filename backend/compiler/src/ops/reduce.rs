//! Sums, means and extrema over dimensions.

use tandem_schemas::program::{OpKindT, ReduceKind, ReduceT};

use super::Row;
use crate::error::Reason;
use crate::graph::{table, u32s};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.mean.dim", |c| reduce(c, ReduceKind::Mean)),
    ("aten.mean.default", |c| reduce(c, ReduceKind::Mean)),
    ("aten.sum.dim_IntList", |c| reduce(c, ReduceKind::Sum)),
    ("aten.sum.default", |c| reduce(c, ReduceKind::Sum)),
    ("aten.amax.default", |c| reduce(c, ReduceKind::Max)),
    ("aten.amin.default", |c| reduce(c, ReduceKind::Min)),
];

/// No dimensions means all; whether they are kept shows in the output's shape.
fn reduce(call: &mut Call<'_, '_>, kind: ReduceKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let rank = call.shape(src).len();
    let mut dims = call.dims("dim", rank)?;
    if dims.is_empty() {
        dims = (0..rank).collect();
    }
    dims.sort_unstable();
    dims.dedup();
    dims.retain(|&d| d < rank);
    let dims = u32s(&dims);
    call.emit(OpKindT::Reduce(table(|op: &mut ReduceT| (op.src, op.kind, op.dims) = (src, kind, dims))))
}
