//! Parts of a tensor other than slices: diagonals, sliding windows, and tensors with a part replaced or with parts in
//! another order.

use tandem_schemas::program::{DType, ScatterKind, UnaryKind};

use super::concat::concat_of;
use super::index::{gather, scatter};
use super::unary::unary;
use super::view::{permute_of, slice_of};
use super::{Row, reshape, reshaped};
use crate::error::Reason;
use crate::graph::ValueId;
use crate::import::{Call, wrap};
use crate::tensor::{Tensor, elements};

pub(super) const OPS: &[Row] = &[
    ("aten.diagonal.default", diagonal),
    ("aten.diagonal_copy.default", diagonal),
    ("aten.diagonal_scatter.default", diagonal_scatter),
    ("aten.unfold.default", unfold),
    ("aten.unfold_copy.default", unfold),
    ("aten.slice_scatter.default", slice_scatter),
    ("aten.select_scatter.default", select_scatter),
    ("aten.roll.default", roll),
];

/// Two dimensions made the last one, in which a diagonal is every `step`-th element.
struct Diagonal {
    /// Dimensions of the source in this order, and back.
    order: Vec<usize>,
    back: Vec<usize>,
    /// Sizes of the other dimensions, and of the two.
    rest: Vec<usize>,
    sizes: [usize; 2],
    start: usize,
    step: usize,
    count: usize,
}

impl Diagonal {
    fn of(call: &Call<'_, '_>, src: ValueId) -> Result<Self, Reason> {
        let shape = call.shape(src);
        let rank = shape.len();
        let (dim1, dim2) =
            (wrap("dim1", call.int_or("dim1", 0)?, rank)?, wrap("dim2", call.int_or("dim2", 1)?, rank)?);
        if rank < 2 || dim1 == dim2 {
            return Err(format!("the diagonal of {dim1} and {dim2} of {shape:?}"));
        }
        let others: Vec<usize> = (0..rank).filter(|&d| d != dim1 && d != dim2).collect();
        let order = [&others[..], &[dim1, dim2]].concat();
        let mut back = vec![0; rank];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        let (sizes, offset) = ([shape[dim1], shape[dim2]], call.int_or("offset", 0)?);
        let (down, right) = (offset.min(0).unsigned_abs() as usize, offset.max(0) as usize);
        if down >= sizes[0] || right >= sizes[1] {
            return Err(format!("argument offset = {offset} of {shape:?} leaves nothing"));
        }
        let count = (sizes[0] - down).min(sizes[1] - right);
        let rest = others.iter().map(|&d| shape[d]).collect();
        Ok(Self { order, back, rest, sizes, start: down * sizes[1] + right, step: sizes[1] + 1, count })
    }

    fn shape(&self, last: &[usize]) -> Vec<usize> {
        [&self.rest, last].concat()
    }

    /// The source with both dimensions as one.
    fn flat(&self, call: &mut Call<'_, '_>, src: ValueId) -> Result<ValueId, Reason> {
        let ordered = call.temp_like(src, &self.shape(&self.sizes), permute_of(src, &self.order))?;
        reshaped(call, ordered, &self.shape(&[self.sizes[0] * self.sizes[1]]))
    }
}

fn diagonal(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let diagonal = Diagonal::of(call, src)?;
    let flat = diagonal.flat(call, src)?;
    let step = if diagonal.count == 1 { 1 } else { diagonal.step };
    call.emit(slice_of(flat, diagonal.rest.len(), diagonal.start as i64, step as i64))
}

fn diagonal_scatter(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, value) = (call.tensor("self")?, call.tensor("src")?);
    let diagonal = Diagonal::of(call, src)?;
    let flat = diagonal.flat(call, src)?;
    let dim = diagonal.rest.len();
    let index = places(call, dim + 1, dim, (0..diagonal.count).map(|i| diagonal.start + i * diagonal.step));
    let shape = call.shape(flat).to_vec();
    let written = call.temp_like(src, &shape, scatter(flat, index, value, dim, ScatterKind::Put))?;
    let apart = call.temp_like(src, &diagonal.shape(&diagonal.sizes), reshape(written))?;
    call.emit(permute_of(apart, &diagonal.back))
}

/// A constant of places along one of `rank` dimensions.
fn places(call: &mut Call<'_, '_>, rank: usize, dim: usize, at: impl Iterator<Item = usize>) -> ValueId {
    let at: Vec<f64> = at.map(|i| i as f64).collect();
    let mut shape = vec![1; rank];
    shape[dim] = at.len();
    call.add_constant("places", Tensor::numbers(DType::I64, &shape, &at))
}

/// Most elements of the places of windows.
const MAX_PLACES: usize = 1 << 20;

/// Windows along a dimension, one behind the other, then each as a dimension of its own at the end.
fn unfold(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let mut shape = call.shape(src).to_vec();
    if shape.is_empty() {
        return Err("self has no dimensions".into());
    }
    let dim = call.dim("dimension", shape.len())?;
    let (size, step, extent) = (call.int("size")?, call.int("step")?, shape[dim] as i64);
    if size < 1 || step < 1 || size > extent {
        return Err(format!("windows of {size} every {step} of {extent}"));
    }
    let (size, count) = (size as usize, ((extent - size) / step + 1) as usize);
    if size.saturating_mul(count) > MAX_PLACES {
        return Err(format!("{count} windows of {size} are more than {MAX_PLACES} places"));
    }
    let at = (0..count).flat_map(|i| (0..size).map(move |j| i * step as usize + j));
    let index = places(call, shape.len(), dim, at);
    shape[dim] = count * size;
    let windows = call.temp_like(src, &shape, gather(src, index, dim))?;
    shape.splice(dim..=dim, [count, size]);
    let apart = call.temp_like(src, &shape, reshape(windows))?;
    let order: Vec<usize> = (0..shape.len()).filter(|&d| d != dim + 1).chain([dim + 1]).collect();
    call.emit(permute_of(apart, &order))
}

fn slice_scatter(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, value) = (call.tensor("self")?, call.tensor("src")?);
    let rank = call.shape(src).len();
    let dim = wrap("dim", call.int_or("dim", 0)?, rank)?;
    let step = usize::try_from(call.int_or("step", 1)?).unwrap_or(0).max(1);
    replaced(call, (src, value), dim, call.int_or("start", 0)?, step)
}

fn select_scatter(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, value) = (call.tensor("self")?, call.tensor("src")?);
    let mut shape = call.shape(src).to_vec();
    let dim = call.dim("dim", shape.len())?;
    if shape.is_empty() {
        return Err("self has no dimensions".into());
    }
    let index = wrap("index", call.int("index")?, shape[dim])?;
    shape[dim] = 1;
    let value = call.temp_like(value, &shape, reshape(value))?;
    replaced(call, (src, value), dim, index as i64, 1)
}

/// The source with elements from `start` on, counted from the end where negative, `step` apart along a dimension, replaced
/// by a value's: what is around it and the value joined, or a scatter.
fn replaced(
    call: &mut Call<'_, '_>,
    (src, value): (ValueId, ValueId),
    dim: usize,
    start: i64,
    step: usize,
) -> Result<(), Reason> {
    let (mut shape, count) = (call.shape(src).to_vec(), call.shape(value)[dim]);
    let extent = shape[dim];
    let begin = |extent: usize| {
        let begin = if start < 0 { start.saturating_add(extent as i64) } else { start };
        begin.clamp(0, extent as i64) as usize
    };
    // What is around the value at the largest sizes is a part of the program, if an empty one, at all.
    let most = |id, size| call.upper(id).map_or(size, |shape: &[usize]| shape[dim]);
    let (largest, replaced) = (most(src, extent), most(value, count));
    let (start, end) = (begin(extent), begin(extent) + count);
    let before = start > 0 || begin(largest) > 0;
    let after = end < extent || begin(largest) + replaced < largest;
    let value = call.cast(value, call.dtype(src))?;
    if step > 1 && count > 1 {
        let index = places(call, shape.len(), dim, (0..count).map(|i| start + i * step));
        return call.emit(scatter(src, index, value, dim, ScatterKind::Put));
    }
    let mut parts = vec![value];
    if before {
        shape[dim] = start;
        parts.insert(0, call.temp_like(src, &shape, slice_of(src, dim, 0, 1))?);
    }
    if after {
        shape[dim] = extent - end;
        parts.push(call.temp_like(src, &shape, slice_of(src, dim, end as i64, 1))?);
    }
    call.emit(concat_of(parts, dim))
}

/// Every element so many places on, what leaves at the end back at the start: along dimensions, or along all as one.
fn roll(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let shape = call.shape(src).to_vec();
    let (shifts, dims) = (call.ints("shifts")?, call.dims("dims", shape.len())?);
    let (mut value, dims, whole) = if dims.is_empty() {
        let whole = vec![elements(&shape)];
        (reshaped(call, src, &whole)?, vec![0], whole)
    } else {
        (src, dims, shape)
    };
    if shifts.len() != dims.len() {
        return Err(format!("{} shifts of {} dimensions", shifts.len(), dims.len()));
    }
    for (&shift, &dim) in shifts.iter().zip(&dims) {
        let extent = whole[dim];
        let front = shift.rem_euclid(extent.max(1) as i64) as usize;
        if front > 0 {
            let mut part = |start: usize, size: usize| {
                let mut shape = whole.clone();
                shape[dim] = size;
                call.temp_like(src, &shape, slice_of(value, dim, start as i64, 1))
            };
            let parts = vec![part(extent - front, front)?, part(0, extent - front)?];
            value = call.temp_like(src, &whole, concat_of(parts, dim))?;
        }
    }
    if value == src { call.emit(unary(src, UnaryKind::Identity, 0.0)) } else { call.emit(reshape(value)) }
}
