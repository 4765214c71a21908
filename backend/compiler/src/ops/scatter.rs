//! Elements put where others name them, combined with what is there.

use tandem_schemas::program::{BinaryKind, DType, OpKindT, ScanKind, ScanT, ScatterKind};

use super::binary::{choose, computes_as_f32, pair};
use super::index::{expanded, gather, scatter};
use super::view::slice_of;
use super::{Row, reshape, reshaped};
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;
use crate::tensor::{Tensor, elements};

pub(super) const OPS: &[Row] =
    &[("aten.scatter_reduce.two", reduce), ("aten.masked_scatter.default", masked)];

fn reduce(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (mut src, index, value) = (call.tensor("self")?, call.tensor("index")?, call.tensor("src")?);
    let rank = call.shape(src).len();
    if rank == 0 {
        return Err("self has no dimensions".into());
    }
    let dim = call.dim("dim", rank)?;
    let kind = call.string("reduce")?.to_owned();
    let (kind, mean) = match &kind[..] {
        "sum" => (ScatterKind::Add, false),
        "mean" => (ScatterKind::Add, true),
        "prod" => (ScatterKind::Mul, false),
        "amax" => (ScatterKind::Max, false),
        "amin" => (ScatterKind::Min, false),
        kind => return Err(format!("argument reduce = {kind:?} is not known")),
    };
    let includes = !call.has("include_self") || call.flag("include_self")?;
    if mean && !computes_as_f32(call.dtype(src)) {
        return Err(format!("the mean of {:?} is not supported", call.dtype(src)));
    }
    // Values of 16 bits are combined as f32.
    if computes_as_f32(call.dtype(src)) {
        src = call.cast(src, DType::F32)?;
    }
    let dtype = call.dtype(src);
    let (index, value) = (call.cast(index, DType::I64)?, call.cast(value, dtype)?);
    let (shape, places) = (call.shape(src).to_vec(), call.shape(index).to_vec());
    let value = front(call, value, &places)?;
    let spread = |call: &mut Call<'_, '_>, number: f64| {
        call.add_constant("value", Tensor::numbers(dtype, &vec![1; rank], &[number]))
    };
    let before = src;
    if !includes {
        let neutral = spread(call, neutral(kind, dtype)?);
        src = call.temp_of(dtype, &shape, scatter(src, index, neutral, dim, ScatterKind::Put))?;
    }
    let combined = call.temp_of(dtype, &shape, scatter(src, index, value, dim, kind))?;
    if !mean {
        return call.emit(reshape(combined));
    }
    let one = spread(call, 1.0);
    let first = spread(call, if includes { 1.0 } else { 0.0 });
    let first = expanded(call, first, &shape)?;
    let count = call.temp_of(dtype, &shape, scatter(first, index, one, dim, ScatterKind::Add))?;
    let least = pair(call, count, one, BinaryKind::Max)?;
    let quotient = pair(call, combined, least, BinaryKind::Div)?;
    let zero = call.add_number("zero", dtype, 0.0);
    let named = pair(call, count, zero, BinaryKind::Gt)?;
    call.emit(choose(named, quotient, before))
}

/// What changes nothing.
fn neutral(kind: ScatterKind, dtype: DType) -> Result<f64, Reason> {
    match kind {
        ScatterKind::Add => Ok(0.0),
        ScatterKind::Mul => Ok(1.0),
        _ if !computes_as_f32(dtype) => Err(format!("extremes of {dtype:?} without self")),
        ScatterKind::Max => Ok(f64::NEG_INFINITY),
        _ => Ok(f64::INFINITY),
    }
}

/// The first elements of each dimension.
fn front(call: &mut Call<'_, '_>, mut value: ValueId, sizes: &[usize]) -> Result<ValueId, Reason> {
    let mut shape = call.shape(value).to_vec();
    if shape.len() != sizes.len() || shape.iter().zip(sizes).any(|(s, n)| s < n) {
        return Err(format!("values {shape:?} for places {sizes:?}"));
    }
    for (dim, &size) in sizes.iter().enumerate() {
        if shape[dim] != size {
            shape[dim] = size;
            value = call.temp_like(value, &shape, slice_of(value, dim, 0, 1))?;
        }
    }
    Ok(value)
}

/// The i-th place that is set gets the i-th element: how many are set before it is a running sum.
fn masked(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, mask, value) = (call.tensor("self")?, call.tensor("mask")?, call.tensor("source")?);
    let out = call.out_shape(0)?;
    let (count, given) = (elements(&out), elements(call.shape(value)));
    let mask = expanded(call, mask, &out)?;
    let ones = call.cast(mask, DType::I64)?;
    let ones = reshaped(call, ones, &[count])?;
    let scan = OpKindT::Scan(table(|op: &mut ScanT| (op.src, op.kind, op.dim) = (ones, ScanKind::Sum, 0)));
    let ranks = call.temp_of(DType::I64, &[count], scan)?;
    let one = call.add_constant("one", Tensor::numbers(DType::I64, &[1], &[1.0]));
    let ranks = pair(call, ranks, one, BinaryKind::Sub)?;
    let zero = call.add_constant("zero", Tensor::numbers(DType::I64, &[1], &[0.0]));
    let ranks = pair(call, ranks, zero, BinaryKind::Max)?;
    let value = reshaped(call, value, &[given])?;
    let found = call.temp_like(value, &[count], gather(value, ranks, 0))?;
    let found = reshaped(call, found, &out)?;
    call.emit(choose(mask, found, src))
}
