//! The ATen operators, a file for each or for a few of a kind, each turning a checked node into ops.

mod activation;
mod attention;
mod binary;
mod compose;
mod concat;
mod conv;
mod conv3d;
mod distance;
mod embedding_bag;
mod full;
mod grid;
mod index;
mod linear;
mod norm;
mod pad;
mod part;
mod pool;
mod recurrent;
mod reduce;
mod resize;
mod scatter;
mod search;
mod softmax;
mod sort;
mod unary;
mod view;
mod volume;

use tandem_schemas::program::{OpKindT, ReshapeT};

use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;

/// Reads one node and pushes its ops.
pub(crate) type Parse = fn(&mut Call<'_, '_>) -> Result<(), Reason>;

/// An ATen name and what reads its nodes.
type Row = (&'static str, Parse);

/// The tables of all files.
const TABLES: &[&[Row]] = &[
    activation::OPS,
    attention::OPS,
    binary::OPS,
    compose::OPS,
    concat::OPS,
    conv::OPS,
    distance::OPS,
    embedding_bag::OPS,
    full::OPS,
    grid::OPS,
    index::OPS,
    linear::OPS,
    norm::OPS,
    pad::OPS,
    part::OPS,
    pool::OPS,
    recurrent::OPS,
    reduce::OPS,
    resize::OPS,
    scatter::OPS,
    search::OPS,
    softmax::OPS,
    sort::OPS,
    unary::OPS,
    view::OPS,
];

/// What reads nodes of an ATen name ("aten.relu.default").
pub(crate) fn find(name: &str) -> Option<Parse> {
    TABLES.iter().flat_map(|t| t.iter()).find(|(known, _)| *known == name).map(|(_, parse)| *parse)
}

fn reshape(src: ValueId) -> OpKindT {
    OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = src))
}

/// A value's elements in another shape.
fn reshaped(call: &mut Call<'_, '_>, src: ValueId, shape: &[usize]) -> Result<ValueId, Reason> {
    if call.shape(src) == shape { Ok(src) } else { call.temp_like(src, shape, reshape(src)) }
}

/// Emits an op that gives `shape`, reshaped to what the node gives.
fn emit_reshaped(call: &mut Call<'_, '_>, shape: &[usize], kind: OpKindT) -> Result<(), Reason> {
    if call.out_shape(0)? == shape {
        return call.emit(kind);
    }
    let result = call.temp(shape, kind)?;
    call.emit(reshape(result))
}

/// Emits an op on images `[n, c, h, w]`; an image without batch is given one and loses it again.
fn on_images(call: &mut Call<'_, '_>, src: &str, kind: &dyn Fn(ValueId) -> OpKindT) -> Result<(), Reason> {
    let src = call.tensor(src)?;
    if call.shape(src).len() != 3 {
        return call.emit(kind(src));
    }
    let batched = |shape: &[usize]| [&[1], shape].concat();
    let image = reshaped(call, src, &batched(call.shape(src)))?;
    let out = batched(&call.out_shape(0)?);
    emit_reshaped(call, &out, kind(image))
}
