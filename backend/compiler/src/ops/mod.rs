//! The ATen operators, a file for each or for a few of a kind, each turning a checked node into ops.

mod activation;
mod attention;
mod binary;
mod concat;
mod conv;
mod full;
mod linear;
mod norm;
mod pad;
mod pool;
mod reduce;
mod resize;
mod softmax;
mod unary;
mod view;

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
    concat::OPS,
    conv::OPS,
    full::OPS,
    linear::OPS,
    norm::OPS,
    pad::OPS,
    pool::OPS,
    reduce::OPS,
    resize::OPS,
    softmax::OPS,
    unary::OPS,
    view::OPS,
];

/// What reads nodes of an ATen name ("aten.relu.default").
pub(crate) fn find(name: &str) -> Option<Parse> {
    TABLES.iter().flat_map(|t| t.iter()).find(|(known, _)| *known == name).map(|(_, parse)| *parse)
}

/// Emits an op on images `[n, c, h, w]`; an image without batch is given one and loses it again.
fn on_images(call: &mut Call<'_, '_>, src: &str, kind: &dyn Fn(ValueId) -> OpKindT) -> Result<(), Reason> {
    let src = call.tensor(src)?;
    if call.shape(src).len() != 3 {
        return call.emit(kind(src));
    }
    let reshape = |src| OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = src));
    let batched = |shape: &[usize]| [&[1], shape].concat();
    let image = call.temp(&batched(call.shape(src)), reshape(src))?;
    let out = batched(&call.out_shape(0)?);
    let result = call.temp(&out, kind(image))?;
    call.emit(reshape(result))
}
