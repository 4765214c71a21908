//! Where numbers stand in an order: buckets of sorted boundaries, the k-th smallest.

use tandem_schemas::program::{BinaryKind, DType, ReduceKind};

use super::binary::pair;
use super::reduce::reduction;
use super::sort::{dimension, emit_both, order};
use super::view::slice_of;
use super::{Row, reshape, reshaped};
use crate::error::Reason;
use crate::graph::{ValueId, promote};
use crate::import::Call;
use crate::tensor::elements;

pub(super) const OPS: &[Row] = &[
    ("aten.bucketize.Tensor", |c| bucketize(c, ["self", "boundaries"])),
    ("aten.searchsorted.Tensor", |c| bucketize(c, ["self", "sorted_sequence"])),
    ("aten.kthvalue.default", kth),
];

/// Most comparisons of a search.
const MAX_COMPARISONS: usize = 1 << 24;

/// How many boundaries are below each number (or equal to it, if "right"): they are sorted.
fn bucketize(call: &mut Call<'_, '_>, [numbers, boundaries]: [&str; 2]) -> Result<(), Reason> {
    if call.has("sorter") {
        return Err("argument sorter is not supported".into());
    }
    let (numbers, boundaries) = (call.tensor(numbers)?, call.tensor(boundaries)?);
    let right = call.flag("right")? || call.string("side")? == "right";
    let [a, b] = [numbers, boundaries].map(|v| (call.dtype(v), call.shape(v).is_empty()));
    let dtype = match promote(a, b) {
        DType::F16 | DType::BF16 => DType::F32,
        dtype => dtype,
    };
    let (numbers, boundaries) = (call.cast(numbers, dtype)?, call.cast(boundaries, dtype)?);
    let (shape, rows) = (call.shape(numbers).to_vec(), call.shape(boundaries).to_vec());
    let Some((&count, lead)) = rows.split_last() else { return Err("boundaries have no dimensions".into()) };
    if elements(&shape).saturating_mul(count) > MAX_COMPARISONS {
        return Err(format!("{count} boundaries for {shape:?} are more than {MAX_COMPARISONS} comparisons"));
    }
    let numbers = reshaped(call, numbers, &[&shape[..], &[1]].concat())?;
    // Boundaries with rows belong to a row of numbers each.
    let boundaries =
        if lead.is_empty() { boundaries } else { reshaped(call, boundaries, &[lead, &[1, count]].concat())? };
    let kind = if right { BinaryKind::Le } else { BinaryKind::Lt };
    let below = pair(call, boundaries, numbers, kind)?;
    // NaN is behind everything.
    let nan = pair(call, numbers, numbers, BinaryKind::Ne)?;
    let below = pair(call, below, nan, BinaryKind::Or)?;
    let counted = sum(call, below, shape.len())?;
    let out = call.out_dtype(0)?;
    let counted = call.cast(counted, out)?;
    call.emit(reshape(counted))
}

/// How many are set along a dimension.
fn sum(call: &mut Call<'_, '_>, truths: ValueId, dim: usize) -> Result<ValueId, Reason> {
    let ones = call.cast(truths, DType::I64)?;
    let mut shape = call.shape(ones).to_vec();
    shape[dim] = 1;
    call.temp_like(ones, &shape, reduction(ones, ReduceKind::Sum, &[dim]))
}

/// The k-th smallest along a dimension as output 0, its place as output 1.
fn kth(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let dim = dimension(call, src, -1)?;
    let (k, mut shape) = (call.int("k")?, call.shape(src).to_vec());
    let k = usize::try_from(k).ok().filter(|k| (1..=shape[dim]).contains(k));
    let k = k.ok_or_else(|| format!("argument k is not within 1..={}", shape[dim]))?;
    let sorted = order(call, src, dim, k, false)?;
    shape[dim] = 1;
    let place = call.temp_like(sorted, &shape, slice_of(sorted, dim, k as i64 - 1, 1))?;
    emit_both(call, src, place, dim)
}
