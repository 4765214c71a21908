//! Sums, means, extrema and truths over dimensions, and where extrema are.

use tandem_schemas::program::{BinaryKind, DType, OpKindT, ReduceKind, ReduceT, UnaryKind};

use super::binary::binary;
use super::index::gather;
use super::unary::unary;
use super::{Row, reshape};
use crate::error::Reason;
use crate::graph::{ValueId, table, u32s};
use crate::import::Call;
use crate::tensor::elements;

pub(super) const OPS: &[Row] = &[
    ("aten.mean.dim", |c| reduce(c, ReduceKind::Mean)),
    ("aten.mean.default", |c| reduce(c, ReduceKind::Mean)),
    ("aten.sum.dim_IntList", |c| reduce(c, ReduceKind::Sum)),
    ("aten.sum.default", |c| reduce(c, ReduceKind::Sum)),
    ("aten.prod.default", |c| reduce(c, ReduceKind::Prod)),
    ("aten.prod.dim_int", |c| reduce(c, ReduceKind::Prod)),
    ("aten.amax.default", |c| reduce(c, ReduceKind::Max)),
    ("aten.amin.default", |c| reduce(c, ReduceKind::Min)),
    ("aten.max.default", |c| reduce(c, ReduceKind::Max)),
    ("aten.min.default", |c| reduce(c, ReduceKind::Min)),
    ("aten.max.dim", |c| extreme(c, ReduceKind::ArgMax)),
    ("aten.min.dim", |c| extreme(c, ReduceKind::ArgMin)),
    ("aten.argmax.default", |c| place(c, ReduceKind::ArgMax)),
    ("aten.argmin.default", |c| place(c, ReduceKind::ArgMin)),
    ("aten.any.default", |c| truth(c, ReduceKind::Any)),
    ("aten.any.dim", |c| truth(c, ReduceKind::Any)),
    ("aten.any.dims", |c| truth(c, ReduceKind::Any)),
    ("aten.all.default", |c| truth(c, ReduceKind::All)),
    ("aten.all.dim", |c| truth(c, ReduceKind::All)),
    ("aten.all.dims", |c| truth(c, ReduceKind::All)),
    ("aten.var.correction", |c| variance(c, false)),
    ("aten.var.dim", |c| variance(c, false)),
    ("aten.std.correction", |c| variance(c, true)),
    ("aten.var_mean.correction", |c| variance(c, false)),
    ("aten.std_mean.correction", |c| variance(c, true)),
];

pub(super) fn reduction(src: ValueId, kind: ReduceKind, dims: &[usize]) -> OpKindT {
    let dims = u32s(dims);
    OpKindT::Reduce(table(|op: &mut ReduceT| (op.src, op.kind, op.dims) = (src, kind, dims)))
}

/// The dimensions an argument names, in order; none means all.
fn dims(call: &Call<'_, '_>, src: ValueId) -> Result<Vec<usize>, Reason> {
    let rank = call.shape(src).len();
    let mut dims = call.dims("dim", rank)?;
    if dims.is_empty() {
        dims = (0..rank).collect();
    }
    dims.sort_unstable();
    dims.dedup();
    dims.retain(|&d| d < rank);
    Ok(dims)
}

/// In the output's dtype, as PyTorch's sums of integers are; whether dimensions are kept shows in the output's shape.
fn reduce(call: &mut Call<'_, '_>, kind: ReduceKind) -> Result<(), Reason> {
    let (src, out) = (call.tensor("self")?, call.out_dtype(0)?);
    let dims = dims(call, src)?;
    let src = call.cast(src, out)?;
    call.emit(reduction(src, kind, &dims))
}

fn truth(call: &mut Call<'_, '_>, kind: ReduceKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let dims = dims(call, src)?;
    let truths = call.cast(src, DType::Bool)?;
    let out = call.out_dtype(0)?;
    if out == DType::Bool {
        return call.emit(reduction(truths, kind, &dims));
    }
    let shape = call.out_shape(0)?;
    let value = call.temp_of(DType::Bool, &shape, reduction(truths, kind, &dims))?;
    call.emit(unary(value, UnaryKind::Cast, 0.0))
}

/// A place along one dimension, or in all elements.
fn place(call: &mut Call<'_, '_>, kind: ReduceKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let dims = dims(call, src)?;
    if dims.is_empty() {
        let one = call.temp_like(src, &[1], reshape(src))?;
        return call.emit(reduction(one, kind, &[0]));
    }
    call.emit(reduction(src, kind, &dims))
}

/// The extreme along a dimension as output 0, its place as output 1.
fn extreme(call: &mut Call<'_, '_>, kind: ReduceKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let mut shape = call.shape(src).to_vec();
    if shape.is_empty() {
        return Err("self has no dimensions".into());
    }
    let dim = call.dim("dim", shape.len())?;
    shape[dim] = 1;
    let places = call.temp_of(DType::I64, &shape, reduction(src, kind, &[dim]))?;
    if call.output(0).is_some() {
        let values = call.temp_like(src, &shape, gather(src, places, dim))?;
        call.emit_at(0, reshape(values))?;
    }
    call.emit_at(1, reshape(places))
}

/// The mean square distance from the mean, over n - correction, or its root; the mean where that is output 1.
fn variance(call: &mut Call<'_, '_>, root: bool) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let src = call.cast(src, DType::F32)?;
    let (dims, shape) = (dims(call, src)?, call.shape(src).to_vec());
    let correction = match call.has("unbiased") {
        true => f64::from(u8::from(call.flag("unbiased")?)),
        false => call.number_or("correction", 1.0)?,
    };
    let n: usize = dims.iter().map(|&d| shape[d]).product();
    let kept: Vec<usize> = (0..shape.len()).map(|d| if dims.contains(&d) { 1 } else { shape[d] }).collect();
    let mean = call.temp(&kept, reduction(src, ReduceKind::Mean, &dims))?;
    let apart = call.temp(&shape, binary(src, mean, BinaryKind::Sub, 1.0))?;
    let squares = call.temp(&shape, unary(apart, UnaryKind::Square, 0.0))?;
    let sum = call.temp(&kept, reduction(squares, ReduceKind::Sum, &dims))?;
    let factor = 1.0 / (n as f64 - correction).max(0.0);
    let mut variance = call.temp(&kept, unary(sum, UnaryKind::MulScalar, factor))?;
    if root {
        variance = call.temp(&kept, unary(variance, UnaryKind::Sqrt, 0.0))?;
    }
    debug_assert_eq!(elements(&kept), elements(&call.out_shape(0)?));
    call.emit(reshape(variance))?;
    call.emit_at(1, reshape(mean))
}
