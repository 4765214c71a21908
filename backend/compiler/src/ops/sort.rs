//! Orders along a dimension, and what is read off them.

use tandem_schemas::program::{ArgSortT, BinaryKind, DType, OpKindT, ReduceKind, ScanKind, ScanT, SliceT};

use super::binary::{binary, choose, computes_as_f32};
use super::index::gather;
use super::reduce::reduction;
use super::{Row, reshape};
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;
use crate::tensor::elements;

pub(super) const OPS: &[Row] = &[
    ("aten.topk.default", top),
    ("aten.sort.default", |c| sort(c, false)),
    ("aten.sort.stable", |c| sort(c, false)),
    ("aten.argsort.default", |c| sort(c, true)),
    ("aten.argsort.stable", |c| sort(c, true)),
    ("aten.median.dim", median_along),
    ("aten.median.default", median_of_all),
    ("aten.cumsum.default", |c| scan(c, ScanKind::Sum)),
    ("aten.cumprod.default", |c| scan(c, ScanKind::Prod)),
    ("aten.logcumsumexp.default", |c| scan(c, ScanKind::LogSumExp)),
    ("aten.cummax.default", |c| extremes(c, ScanKind::ArgMax)),
    ("aten.cummin.default", |c| extremes(c, ScanKind::ArgMin)),
];

/// The first `count` places in order along `dim`.
pub(super) fn order(
    call: &mut Call<'_, '_>,
    src: ValueId,
    dim: usize,
    count: usize,
    descending: bool,
) -> Result<ValueId, Reason> {
    // 16-bit floats order as the f32 they are.
    let wide =
        if matches!(call.dtype(src), DType::F16 | DType::BF16) { call.cast(src, DType::F32)? } else { src };
    let mut shape = call.shape(src).to_vec();
    shape[dim] = count;
    let kind = OpKindT::ArgSort(table(|op: &mut ArgSortT| {
        (op.src, op.dim, op.descending) = (wide, dim as u32, descending);
    }));
    call.temp_of(DType::I64, &shape, kind)
}

/// Output 0 is the elements at places, output 1 the places.
pub(super) fn emit_both(
    call: &mut Call<'_, '_>,
    src: ValueId,
    places: ValueId,
    dim: usize,
) -> Result<(), Reason> {
    let shape = call.shape(places).to_vec();
    if call.output(0).is_some() {
        let values = call.temp_like(src, &shape, gather(src, places, dim))?;
        call.emit_at(0, reshape(values))?;
    }
    call.emit_at(1, reshape(places))
}

/// The dimension an argument names, of a tensor that has any.
pub(super) fn dimension(call: &Call<'_, '_>, src: ValueId, default: i64) -> Result<usize, Reason> {
    let rank = call.shape(src).len();
    if rank == 0 {
        return Err("self has no dimensions".into());
    }
    crate::import::wrap("dim", call.int_or("dim", default)?, rank)
}

fn top(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let dim = dimension(call, src, -1)?;
    let (k, extent) = (call.int("k")?, call.shape(src)[dim]);
    let k = usize::try_from(k).ok().filter(|&k| k <= extent);
    let k = k.ok_or_else(|| format!("argument k is not within 0..={extent}"))?;
    let descending = !call.has("largest") || call.flag("largest")?;
    let places = order(call, src, dim, k, descending)?;
    emit_both(call, src, places, dim)
}

fn sort(call: &mut Call<'_, '_>, places_only: bool) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let dim = dimension(call, src, -1)?;
    let (extent, descending) = (call.shape(src)[dim], call.flag("descending")?);
    let places = order(call, src, dim, extent, descending)?;
    if places_only { call.emit(reshape(places)) } else { emit_both(call, src, places, dim) }
}

/// The lower median; NaN, which sorts last, where there is any.
fn median(call: &mut Call<'_, '_>, src: ValueId, dim: usize) -> Result<ValueId, Reason> {
    let mut shape = call.shape(src).to_vec();
    let extent = shape[dim];
    let (middle, sorted) = ((extent - 1) / 2, order(call, src, dim, extent, false)?);
    shape[dim] = 1;
    let slice = |start: usize| {
        OpKindT::Slice(table(|op: &mut SliceT| {
            (op.src, op.dim, op.start, op.step) = (sorted, dim as u32, start as i64, 1);
        }))
    };
    let (lower, last) = (
        call.temp_of(DType::I64, &shape, slice(middle))?,
        call.temp_of(DType::I64, &shape, slice(extent - 1))?,
    );
    if !super::binary::computes_as_f32(call.dtype(src)) {
        return Ok(lower);
    }
    let wide = call.cast(src, DType::F32)?;
    let largest = call.temp(&shape, gather(wide, last, dim))?;
    let nan = call.temp_of(DType::Bool, &shape, binary(largest, largest, BinaryKind::Ne, 1.0))?;
    // PyTorch names the first NaN; they are sorted last in their order.
    let differs = call.shape(wide).to_vec();
    let unequal = call.temp_of(DType::Bool, &differs, binary(wide, wide, BinaryKind::Ne, 1.0))?;
    let first = call.cast(unequal, DType::I32)?;
    let first = call.temp_of(DType::I64, &shape, reduction(first, ReduceKind::ArgMax, &[dim]))?;
    call.temp_of(DType::I64, &shape, choose(nan, first, lower))
}

fn median_along(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let dim = dimension(call, src, -1)?;
    let places = median(call, src, dim)?;
    emit_both(call, src, places, dim)
}

fn median_of_all(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let count = elements(call.shape(src));
    let flat = call.temp_like(src, &[count], reshape(src))?;
    let place = median(call, flat, 0)?;
    let value = call.temp_like(src, &[1], gather(flat, place, 0))?;
    call.emit(reshape(value))
}

fn scan(call: &mut Call<'_, '_>, kind: ScanKind) -> Result<(), Reason> {
    let (src, out) = (call.tensor("self")?, call.out_dtype(0)?);
    let dim = dimension(call, src, 0)?;
    let src = call.cast(src, out)?;
    let wide = if computes_as_f32(out) { call.cast(src, DType::F32)? } else { src };
    call.emit(scan_of(wide, kind, dim))
}

fn scan_of(src: ValueId, kind: ScanKind, dim: usize) -> OpKindT {
    OpKindT::Scan(table(|op: &mut ScanT| (op.src, op.kind, op.dim) = (src, kind, dim as u32)))
}

/// The running extreme as output 0, its place as output 1.
fn extremes(call: &mut Call<'_, '_>, kind: ScanKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let (dim, shape) = (dimension(call, src, 0)?, call.shape(src).to_vec());
    let wide = if computes_as_f32(call.dtype(src)) { call.cast(src, DType::F32)? } else { src };
    let places = call.temp_of(DType::I64, &shape, scan_of(wide, kind, dim))?;
    emit_both(call, src, places, dim)
}
