//! Tensors of one number, and of numbers in a row.

use tandem_schemas::program::{ExpandT, OpKindT, UnaryKind};

use super::Row;
use super::unary::unary;
use super::view::slice_of;
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
    ("aten.arange.start_step", arange),
    ("aten.arange.start", arange),
    ("aten.arange.default", arange),
];

/// One stored element, expanded to the output's shape.
fn full(call: &mut Call<'_, '_>, name: &str, default: f64) -> Result<(), Reason> {
    let value = if name.is_empty() { default } else { call.number(name)? };
    let out = call.out_shape(0)?;
    let dtype = call.out_dtype(0)?;
    let one = call.add_constant("value", Tensor::numbers(dtype, &vec![1; out.len()], &[value]));
    call.emit(if out.is_empty() {
        unary(one, UnaryKind::Identity, 0.0)
    } else {
        OpKindT::Expand(table(|op: &mut ExpandT| op.src = one))
    })
}

/// Most numbers in a row.
const LONGEST: usize = 1 << 22;

/// A constant, or the front of one as long as the row ever gets.
fn arange(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (start, step) = (call.number_or("start", 0.0)?, call.number_or("step", 1.0)?);
    let (shape, dtype) = (call.out_shape(0)?, call.out_dtype(0)?);
    let longest = call.upper_shape(0).unwrap_or(&shape).to_vec();
    let &[len @ ..=LONGEST] = &longest[..] else { return Err(format!("a row of {longest:?}")) };
    let numbers: Vec<f64> = (0..len).map(|i| start + i as f64 * step).collect();
    let row = call.add_constant("row", Tensor::numbers(dtype, &longest, &numbers));
    if call.upper_shape(0).is_some() {
        return call.emit(slice_of(row, 0, 0, 1));
    }
    call.emit(unary(row, UnaryKind::Identity, 0.0))
}
