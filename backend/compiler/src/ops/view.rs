//! The same elements seen otherwise: reshapes, permutations, slices, expansions, and copies nobody can tell apart.

use tandem_schemas::program::{ExpandT, OpKindT, PermuteT, SliceT, UnaryKind, UnaryT};

use super::{Row, reshape as reshape_of};
use crate::error::Reason;
use crate::graph::{ValueId, table, u32s};
use crate::import::{Call, wrap};

pub(super) const OPS: &[Row] = &[
    ("aten.view.default", reshape),
    ("aten.view_copy.default", reshape),
    ("aten._unsafe_view.default", reshape),
    ("aten.reshape.default", reshape),
    ("aten.squeeze.default", reshape),
    ("aten.squeeze.dim", reshape),
    ("aten.squeeze.dims", reshape),
    ("aten.squeeze_copy.default", reshape),
    ("aten.squeeze_copy.dim", reshape),
    ("aten.squeeze_copy.dims", reshape),
    ("aten.unsqueeze.default", reshape),
    ("aten.unsqueeze_copy.default", reshape),
    ("aten.flatten.using_ints", reshape),
    ("aten.unflatten.int", reshape),
    ("aten.permute.default", permute),
    ("aten.permute_copy.default", permute),
    ("aten.transpose.int", transpose),
    ("aten.transpose_copy.int", transpose),
    ("aten.t.default", t),
    ("aten.t_copy.default", t),
    ("aten.slice.Tensor", slice),
    ("aten.slice_copy.Tensor", slice),
    ("aten.select.int", select),
    ("aten.select_copy.int", select),
    ("aten.split.Tensor", |c| split(c, |c, _| Ok(vec![c.int("split_size")?]))),
    ("aten.split_copy.Tensor", |c| split(c, |c, _| Ok(vec![c.int("split_size")?]))),
    ("aten.split_with_sizes.default", |c| split(c, |c, _| c.ints("split_sizes"))),
    ("aten.split_with_sizes_copy.default", |c| split(c, |c, _| c.ints("split_sizes"))),
    ("aten.chunk.default", |c| split(c, chunks)),
    ("aten.unbind.int", unbind),
    ("aten.unbind_copy.int", unbind),
    ("aten.expand.default", expand),
    ("aten.expand_copy.default", expand),
    ("aten.repeat.default", repeat),
    ("aten.clone.default", identity),
    ("dim_order_ops._clone_dim_order.default", identity),
    ("dim_order_ops._to_dim_order_copy.default", convert),
    ("aten._to_copy.default", convert),
    ("aten.to.dtype", convert),
    ("aten.alias.default", identity),
    ("aten.alias_copy.default", identity),
    ("aten.detach.default", identity),
    ("aten.detach_copy.default", identity),
    ("aten.lift_fresh_copy.default", identity),
    ("aten.contiguous.default", identity),
    ("aten.dropout.default", dropout),
];

pub(super) fn slice_of(src: ValueId, dim: usize, start: i64, step: i64) -> OpKindT {
    OpKindT::Slice(table(|op: &mut SliceT| {
        (op.src, op.dim, op.start, op.step) = (src, dim as u32, start, step);
    }))
}

/// To the output's shape; the arguments only say how to come by it.
fn reshape(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    call.emit(reshape_of(src))
}

/// Memory layout is not observable inside, so a copy is its source.
fn identity(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    emit_identity(call, src)
}

/// To the output's dtype.
fn convert(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let same = call.dtype(src) == call.out_dtype(0)?;
    let kind = if same { UnaryKind::Identity } else { UnaryKind::Cast };
    call.emit(OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind) = (src, kind))))
}

fn dropout(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("input")?;
    call.refuse("train")?;
    emit_identity(call, src)
}

fn emit_identity(call: &mut Call<'_, '_>, src: ValueId) -> Result<(), Reason> {
    call.emit(OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind) = (src, UnaryKind::Identity))))
}

pub(super) fn permute_of(src: ValueId, order: &[usize]) -> OpKindT {
    OpKindT::Permute(table(|op: &mut PermuteT| (op.src, op.order) = (src, u32s(order))))
}

fn permute(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let order = call.dims("dims", call.shape(src).len())?;
    call.emit(permute_of(src, &order))
}

fn transpose(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let rank = call.shape(src).len();
    let mut order: Vec<usize> = (0..rank).collect();
    if rank > 0 {
        order.swap(call.dim("dim0", rank)?, call.dim("dim1", rank)?);
    }
    call.emit(permute_of(src, &order))
}

fn t(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    match call.shape(src).len() {
        rank @ 0..=2 => call.emit(permute_of(src, &(0..rank).rev().collect::<Vec<_>>())),
        rank => Err(format!("self has {rank} dimensions, more than 2")),
    }
}

fn slice(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let rank = call.shape(src).len();
    let dim = wrap("dim", call.int_or("dim", 0)?, rank)?;
    let Some(&extent) = call.shape(src).get(dim) else { return Err("self has no dimensions".into()) };
    let start = call.int_or("start", 0)?;
    let start = if start < 0 { start.saturating_add(extent as i64) } else { start };
    // A step that is never taken may be any size.
    let single = call.out_shape(0)?.get(dim) == Some(&1);
    let step = call.int_or("step", 1)?;
    let step = if single { step.min(1) } else { step };
    call.emit(slice_of(src, dim, start.clamp(0, extent as i64), step))
}

fn select(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let mut shape = call.shape(src).to_vec();
    let dim = call.dim("dim", shape.len())?;
    if shape.is_empty() {
        return Err("self has no dimensions".into());
    }
    let index = wrap("index", call.int("index")?, shape[dim])?;
    shape[dim] = 1;
    let slice = call.temp_like(src, &shape, slice_of(src, dim, index as i64, 1))?;
    call.emit(reshape_of(slice))
}

/// A slice per output. `sizes` gives their extents, or one for all but a smaller last one.
fn split(
    call: &mut Call<'_, '_>,
    sizes: fn(&Call<'_, '_>, usize) -> Result<Vec<i64>, Reason>,
) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let rank = call.shape(src).len();
    let dim = wrap("dim", call.int_or("dim", 0)?, rank)?;
    let Some(&extent) = call.shape(src).get(dim) else { return Err("self has no dimensions".into()) };
    let sizes = sizes(call, extent)?;
    if sizes.iter().any(|&s| s < 1) {
        return Err(format!("sizes {sizes:?} are not positive"));
    }
    let uniform = !call.op().contains("with_sizes");
    let mut start = 0i64;
    for i in 0..call.output_count() {
        let Some(&size) = sizes.get(if uniform { 0 } else { i }) else {
            return Err(format!("{} outputs, sizes {sizes:?}", call.output_count()));
        };
        call.emit_at(i, slice_of(src, dim, start, 1))?;
        if call.output(i).is_some() && !uniform && call.out_shape(i)?[dim] as i64 != size {
            return Err(format!("output {i} is {:?}, size {size}", call.out_shape(i)?));
        }
        start = start.saturating_add(size);
    }
    Ok(())
}

fn chunks(call: &Call<'_, '_>, extent: usize) -> Result<Vec<i64>, Reason> {
    let chunks = call.int("chunks")?;
    if chunks < 1 {
        return Err(format!("argument chunks = {chunks} is not positive"));
    }
    Ok(vec![(extent as i64).div_euclid(chunks) + i64::from(extent as i64 % chunks != 0)])
}

fn unbind(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let mut shape = call.shape(src).to_vec();
    let dim = wrap("dim", call.int_or("dim", 0)?, shape.len())?;
    if shape.is_empty() || call.output_count() != shape[dim] {
        return Err(format!("{} outputs along {dim} of {shape:?}", call.output_count()));
    }
    shape[dim] = 1;
    for i in 0..call.output_count() {
        if call.output(i).is_some() {
            let slice = call.temp_like(src, &shape, slice_of(src, dim, i as i64, 1))?;
            call.emit_at(i, reshape_of(slice))?;
        }
    }
    Ok(())
}

/// Each dimension that repeats gets one of its own before it, which is expanded and then joined with it.
fn repeat(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let mut src = call.tensor("self")?;
    let (repeats, own) = (call.ints("repeats")?, call.shape(src).to_vec());
    let lead =
        repeats.len().checked_sub(own.len()).ok_or_else(|| format!("repeats {repeats:?} of {own:?}"))?;
    let mut shape = [&vec![1; lead][..], &own].concat();
    src = call.temp_like(src, &shape, reshape_of(src))?;
    for (dim, &times) in repeats.iter().enumerate().filter(|(_, times)| **times != 1) {
        let times = usize::try_from(times).map_err(|_| format!("argument repeats = {repeats:?}"))?;
        shape.insert(dim, 1);
        src = call.temp_like(src, &shape, reshape_of(src))?;
        shape[dim] = times;
        src = call.temp_like(src, &shape, OpKindT::Expand(table(|op: &mut ExpandT| op.src = src)))?;
        shape[dim] *= shape.remove(dim + 1);
        src = call.temp_like(src, &shape, reshape_of(src))?;
    }
    call.emit(reshape_of(src))
}

fn expand(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    expand_to(call, src)
}

/// Emits a value broadcast to the output's shape. Expand keeps the rank: leading dimensions come by a reshape.
pub(super) fn expand_to(call: &mut Call<'_, '_>, mut src: ValueId) -> Result<(), Reason> {
    let out = call.out_shape(0)?;
    let shape = call.shape(src).to_vec();
    if shape.len() > out.len() {
        return Err(format!("{shape:?} does not expand to {out:?}"));
    }
    if shape.len() < out.len() {
        let mut padded = vec![1; out.len() - shape.len()];
        padded.extend(&shape);
        src = call.temp_like(src, &padded, reshape_of(src))?;
    }
    call.emit(OpKindT::Expand(table(|op: &mut ExpandT| op.src = src)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tandem_schemas::subgraph::*;

    use crate::graph::{table, text};
    use crate::import::import;

    fn value(name: &str, kind: ValueKind, sizes: &[i64]) -> ValueT {
        *table(|value: &mut ValueT| {
            (value.name, value.kind) = (name.into(), kind);
            let dim = |&size: &i64| *table(|d: &mut DimT| (d.size_, d.expr) = (size, -1));
            value.shape = Some(sizes.iter().map(dim).collect());
        })
    }

    /// Text of `x[..., start::step]` that keeps `size` of 8 elements.
    fn slice(size: i64, step: i64) -> Result<String, String> {
        let int = |name: &str, number| {
            (name.to_owned(), ArgValueT::IntArg(table(|a: &mut IntArgT| a.value = number)))
        };
        let tensor = ("self".to_owned(), ArgValueT::TensorArg(table(|a: &mut TensorArgT| a.value = 0)));
        let args = [tensor, int("dim", 0), int("start", 1), int("step", step)];
        let args = args.map(|arg| *table(|a: &mut ArgT| (a.name, a.value) = arg));
        let node = *table(|node: &mut NodeT| {
            (node.name, node.op) = ("y".into(), "aten.slice.Tensor".into());
            (node.args, node.outputs) = (Some(args.into()), Some(vec![1]));
        });
        let subgraph = *table(|subgraph: &mut SubgraphT| {
            subgraph.values = vec![value("x", ValueKind::Input, &[8]), value("y", ValueKind::Node, &[size])];
            (subgraph.nodes, subgraph.inputs, subgraph.outputs) = (vec![node], vec![0], vec![1]);
        });
        let constants = HashMap::<String, Vec<u8>>::new();
        import(&subgraph, &constants, HashMap::new())
            .map(|graph| text(&graph))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn step_of_one_element_is_not_taken() {
        assert_eq!(slice(1, i64::MAX).unwrap(), "y[1] = Slice(x; dim 0, start 1)\nreturn y\n");
        assert_eq!(slice(3, 3).unwrap(), "y[3] = Slice(x; dim 0, start 1, step 3)\nreturn y\n");
        assert!(slice(1, 0).is_err());
        assert!(slice(3, i64::MAX).is_err());
    }
}
