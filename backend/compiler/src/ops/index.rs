//! Elements at places that other tensors name: lookups, gathers, scatters.

use tandem_schemas::program::{
    BinaryKind, DType, ExpandT, GatherT, OpKindT, PermuteT, ScatterKind, ScatterT, UnaryKind,
};

use super::binary::{binary, choose, shape_of};
use super::unary::unary;
use super::{Row, reshape};
use crate::error::Reason;
use crate::graph::{ValueId, table, u32s};
use crate::import::Call;
use crate::tensor::{Tensor, elements};

pub(super) const OPS: &[Row] = &[
    ("aten.embedding.default", embedding),
    ("aten.index_select.default", index_select),
    ("aten.gather.default", gather_along),
    ("aten.index.Tensor", index),
    ("aten.index_put.default", index_put),
    ("aten.scatter.src", |c| scatter_along(c, "src", ScatterKind::Put)),
    ("aten.scatter.value", |c| scatter_along(c, "value", ScatterKind::Put)),
    ("aten.scatter_add.default", |c| scatter_along(c, "src", ScatterKind::Add)),
    ("aten.flip.default", flip),
];

pub(super) fn gather(src: ValueId, index: ValueId, dim: usize) -> OpKindT {
    OpKindT::Gather(table(|op: &mut GatherT| (op.src, op.index, op.dim) = (src, index, dim as u32)))
}

/// Places as I64, in another shape.
fn places(call: &mut Call<'_, '_>, index: ValueId, shape: &[usize]) -> Result<ValueId, Reason> {
    let index = call.cast(index, DType::I64)?;
    call.temp_of(DType::I64, shape, reshape(index))
}

/// Rows of a table.
fn embedding(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (weight, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    let [_, width] = *call.shape(weight) else {
        return Err(format!("weight {:?} is not [n, width]", call.shape(weight)));
    };
    let count = elements(call.shape(indices));
    let index = places(call, indices, &[count, 1])?;
    let rows = call.temp_like(weight, &[count, width], gather(weight, index, 0))?;
    call.emit(reshape(rows))
}

fn index_select(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, index) = (call.tensor("self")?, call.tensor("index")?);
    let rank = call.shape(src).len();
    let dim = call.dim("dim", rank)?;
    let count = elements(call.shape(index));
    if rank == 0 {
        return call.emit(unary(src, UnaryKind::Identity, 0.0));
    }
    let mut shape = vec![1; rank];
    shape[dim] = count;
    let index = places(call, index, &shape)?;
    call.emit(gather(src, index, dim))
}

fn gather_along(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, index) = (call.tensor("self")?, call.tensor("index")?);
    let dim = call.dim("dim", call.shape(src).len())?;
    let index = call.cast(index, DType::I64)?;
    if call.shape(src).is_empty() {
        return call.emit(unary(src, UnaryKind::Identity, 0.0));
    }
    call.emit(gather(src, index, dim))
}

fn scatter_along(call: &mut Call<'_, '_>, value: &str, kind: ScatterKind) -> Result<(), Reason> {
    let (src, index) = (call.tensor("self")?, call.tensor("index")?);
    let (dim, dtype) = (call.dim("dim", call.shape(src).len())?, call.dtype(src));
    let index = call.cast(index, DType::I64)?;
    let shape = call.shape(index).to_vec();
    let value = if call.is_number(value) {
        let number = call.number(value)?;
        call.add_constant("value", Tensor::numbers(dtype, &vec![1; shape.len()], &[number]))
    } else {
        let value = call.tensor(value)?;
        if call.shape(value) != shape {
            return Err(format!("values {:?} for places {shape:?}", call.shape(value)));
        }
        value
    };
    call.emit(scatter(src, index, value, dim, kind))
}

pub(super) fn scatter(
    src: ValueId,
    index: ValueId,
    value: ValueId,
    dim: usize,
    kind: ScatterKind,
) -> OpKindT {
    OpKindT::Scatter(table(|op: &mut ScatterT| {
        (op.src, op.index, op.value) = (src, index, value);
        (op.dim, op.kind) = (dim as u32, kind);
    }))
}

/// What `x[i, j, :]` names: the indexed dimensions brought together as one, and places in that.
struct Indexed {
    /// Sizes before, of and behind the indexed dimensions.
    before: Vec<usize>,
    size: usize,
    behind: Vec<usize>,
    /// Dimensions of the source in this order, where that is not its own.
    order: Option<Vec<usize>>,
    /// Places in the joint dimension, and the shape they were given in.
    places: ValueId,
    shape: Vec<usize>,
}

impl Indexed {
    /// The shape with the joint dimension of an extent.
    fn joint(&self, extent: usize) -> Vec<usize> {
        [&self.before, &[extent][..], &self.behind].concat()
    }

    /// The shape of places: ones but for the joint dimension.
    fn spread(&self) -> Vec<usize> {
        let mut shape = vec![1; self.before.len() + 1 + self.behind.len()];
        shape[self.before.len()] = elements(&self.shape);
        shape
    }
}

/// Reads `indices`, a list with None for whole dimensions.
fn indexed(call: &mut Call<'_, '_>, src: ValueId) -> Result<Indexed, Reason> {
    let sizes = call.shape(src).to_vec();
    let given = call.optional_tensors("indices")?;
    let dims: Vec<usize> = (0..given.len()).filter(|&d| given[d] >= 0).collect();
    let (Some(&first), Some(&last)) = (dims.first(), dims.last()) else {
        return Err("nothing is indexed".into());
    };
    if given.len() > sizes.len() || dims.iter().any(|&d| call.dtype(given[d]) == DType::Bool) {
        return Err(format!("indices by a mask, or more than {} of them", sizes.len()));
    }
    let together = last - first + 1 == dims.len();
    let at = if together { first } else { 0 };
    let rest: Vec<usize> = (0..sizes.len()).filter(|d| !dims.contains(d)).collect();
    let order = [&rest[..at], &dims, &rest[at..]].concat();
    let values: Vec<ValueId> = dims.iter().map(|&d| given[d]).collect();
    let shape = shape_of(call, &values)?;
    let places = flattened(call, &values, &dims.iter().map(|&d| sizes[d]).collect::<Vec<_>>(), &shape)?;
    let of = |dims: &[usize]| dims.iter().map(|&d| sizes[d]).collect::<Vec<_>>();
    Ok(Indexed {
        before: of(&rest[..at]),
        size: of(&dims).iter().product(),
        behind: of(&rest[at..]),
        order: (!order.is_sorted()).then_some(order),
        places,
        shape,
    })
}

/// Places in several dimensions as one place in all of them.
fn flattened(
    call: &mut Call<'_, '_>,
    values: &[ValueId],
    sizes: &[usize],
    shape: &[usize],
) -> Result<ValueId, Reason> {
    let mut flat = call.cast(values[0], DType::I64)?;
    if values.len() == 1 {
        return Ok(flat);
    }
    flat = positive(call, flat, sizes[0])?;
    for (&value, &size) in values.iter().zip(sizes).skip(1) {
        let factor = call.add_number("size", DType::I64, size as f64);
        let so_far = call.shape(flat).to_vec();
        let scaled = call.temp_of(DType::I64, &so_far, binary(flat, factor, BinaryKind::Mul, 1.0))?;
        let value = call.cast(value, DType::I64)?;
        let value = positive(call, value, size)?;
        let sum = shape_of(call, &[scaled, value])?;
        flat = call.temp_of(DType::I64, &sum, binary(scaled, value, BinaryKind::Add, 1.0))?;
    }
    if call.shape(flat) == shape {
        return Ok(flat);
    }
    Err(format!("indices {shape:?} do not go together"))
}

/// Places that count from the end, from the beginning.
fn positive(call: &mut Call<'_, '_>, index: ValueId, size: usize) -> Result<ValueId, Reason> {
    let shape = call.shape(index).to_vec();
    let (zero, size) =
        (call.add_number("zero", DType::I64, 0.0), call.add_number("size", DType::I64, size as f64));
    let wrapped = call.temp_of(DType::I64, &shape, binary(index, size, BinaryKind::Add, 1.0))?;
    let below = call.temp_of(DType::Bool, &shape, binary(index, zero, BinaryKind::Lt, 1.0))?;
    call.temp_of(DType::I64, &shape, choose(below, wrapped, index))
}

/// A value with its dimensions in an order, then in a shape.
fn arranged(
    call: &mut Call<'_, '_>,
    mut src: ValueId,
    order: Option<&[usize]>,
    shape: &[usize],
) -> Result<ValueId, Reason> {
    if let Some(order) = order {
        let sizes: Vec<usize> = order.iter().map(|&d| call.shape(src)[d]).collect();
        let order = u32s(order);
        let kind = OpKindT::Permute(table(|op: &mut PermuteT| (op.src, op.order) = (src, order)));
        src = call.temp_like(src, &sizes, kind)?;
    }
    if call.shape(src) == shape { Ok(src) } else { call.temp_like(src, shape, reshape(src)) }
}

fn index(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let indexed = indexed(call, src)?;
    let joint = arranged(call, src, indexed.order.as_deref(), &indexed.joint(indexed.size))?;
    let places = places(call, indexed.places, &indexed.spread())?;
    let found = indexed.joint(elements(&indexed.shape));
    let found = call.temp_like(src, &found, gather(joint, places, indexed.before.len()))?;
    call.emit(reshape(found))
}

fn index_put(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let indexed = indexed(call, src)?;
    let dtype = call.dtype(src);
    let values = call.tensor("values")?;
    let values = call.cast(values, dtype)?;
    let write = if call.flag("accumulate")? { ScatterKind::Add } else { ScatterKind::Put };
    // Values broadcast to what indexing gives.
    let given = [&indexed.before[..], &indexed.shape, &indexed.behind].concat();
    let values = expanded(call, values, &given)?;
    let values = arranged(call, values, None, &indexed.joint(elements(&indexed.shape)))?;
    let joint = arranged(call, src, indexed.order.as_deref(), &indexed.joint(indexed.size))?;
    let places = places(call, indexed.places, &indexed.spread())?;
    let kind = scatter(joint, places, values, indexed.before.len(), write);
    let Some(order) = &indexed.order else {
        let written = call.temp_like(src, &indexed.joint(indexed.size), kind)?;
        return call.emit(reshape(written));
    };
    let written = call.temp_like(src, &indexed.joint(indexed.size), kind)?;
    let sizes: Vec<usize> = order.iter().map(|&d| call.shape(src)[d]).collect();
    let apart = call.temp_like(src, &sizes, reshape(written))?;
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to as u32);
    call.emit(OpKindT::Permute(table(|op: &mut PermuteT| (op.src, op.order) = (apart, back))))
}

/// A value broadcast to a shape.
pub(super) fn expanded(call: &mut Call<'_, '_>, value: ValueId, shape: &[usize]) -> Result<ValueId, Reason> {
    let own = call.shape(value).to_vec();
    let lead = shape.len().checked_sub(own.len()).ok_or_else(|| format!("{own:?} for {shape:?}"))?;
    let padded = [&vec![1; lead][..], &own].concat();
    let value = arranged(call, value, None, &padded)?;
    if padded == shape {
        return Ok(value);
    }
    call.temp_like(value, shape, OpKindT::Expand(table(|op: &mut ExpandT| op.src = value)))
}

/// A gather from the last to the first along each dimension.
fn flip(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let mut value = call.tensor("self")?;
    let shape = call.shape(value).to_vec();
    for dim in call.dims("dims", shape.len())?.into_iter().filter(|&d| d < shape.len()) {
        let mut places = vec![1; shape.len()];
        places[dim] = shape[dim];
        let last: Vec<f64> = (0..shape[dim]).rev().map(|i| i as f64).collect();
        let index = call.add_constant("places", Tensor::numbers(DType::I64, &places, &last));
        value = call.temp_like(value, &shape, gather(value, index, dim))?;
    }
    call.emit(unary(value, UnaryKind::Identity, 0.0))
}
