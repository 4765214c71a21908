//! Tensors of one number.

use tandem_schemas::program::{ExpandT, OpKindT, UnaryKind};

use super::Row;
use super::unary::unary;
use crate::error::Reason;
use crate::graph::table;
use crate::import::Call;
use crate::tensor::Tensor;

pub(super) const OPS: &[Row] = &[
    ("aten.full.default", |c| full(c, "fill_value", 0.0)),
    ("aten.full_like.default", |c| full(c, "fill_value", 0.0)),
    ("aten.scalar_tensor.default", |c| full(c, "s", 0.0)),
    ("aten.zeros.default", |c| full(c, "", 0.0)),
    ("aten.zeros_like.default", |c| full(c, "", 0.0)),
    ("aten.ones.default", |c| full(c, "", 1.0)),
    ("aten.ones_like.default", |c| full(c, "", 1.0)),
];

/// One stored element, expanded to the output's shape.
fn full(call: &mut Call<'_, '_>, name: &str, default: f64) -> Result<(), Reason> {
    let value = if name.is_empty() { default } else { call.number(name)? };
    let out = call.out_shape(0)?;
    let one = call.add_constant("value", Tensor::owned(&vec![1; out.len()], vec![value as f32]));
    call.emit(if out.is_empty() {
        unary(one, UnaryKind::Identity, 0.0)
    } else {
        OpKindT::Expand(table(|op: &mut ExpandT| op.src = one))
    })
}
