//! Element-wise functions of two tensors, or of a tensor and a number.

use tandem_schemas::program::{BinaryKind, BinaryT, OpKindT, SelectT, UnaryKind};

use super::Row;
use super::unary::unary;
use crate::error::Reason;
use crate::graph::table;
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.add.Tensor", |c| binary(c, BinaryKind::Add)),
    ("aten.add.Scalar", |c| binary(c, BinaryKind::Add)),
    ("aten.sub.Tensor", |c| binary(c, BinaryKind::Sub)),
    ("aten.sub.Scalar", |c| binary(c, BinaryKind::Sub)),
    ("aten.mul.Tensor", |c| binary(c, BinaryKind::Mul)),
    ("aten.mul.Scalar", |c| binary(c, BinaryKind::Mul)),
    ("aten.div.Tensor", |c| binary(c, BinaryKind::Div)),
    ("aten.div.Tensor_mode", divide),
    ("aten.div.Scalar", |c| binary(c, BinaryKind::Div)),
    ("aten.maximum.default", |c| binary(c, BinaryKind::Max)),
    ("aten.minimum.default", |c| binary(c, BinaryKind::Min)),
    ("aten.pow.Tensor_Tensor", |c| binary(c, BinaryKind::Pow)),
    ("aten.where.self", select),
];

fn divide(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    match call.string("rounding_mode")? {
        "" => binary(call, BinaryKind::Div),
        mode => Err(format!("argument rounding_mode = {mode:?} is not supported")),
    }
}

fn binary(call: &mut Call<'_, '_>, kind: BinaryKind) -> Result<(), Reason> {
    let alpha = call.number_or("alpha", 1.0)?;
    let other = if kind == BinaryKind::Pow { "exponent" } else { "other" };
    let a = call.tensor("self")?;
    if call.is_number(other) {
        let number = call.number(other)?;
        return call.emit(match kind {
            BinaryKind::Add => unary(a, UnaryKind::AddScalar, alpha * number),
            BinaryKind::Sub => unary(a, UnaryKind::AddScalar, -alpha * number),
            BinaryKind::Mul => unary(a, UnaryKind::MulScalar, number),
            BinaryKind::Div => unary(a, UnaryKind::MulScalar, 1.0 / number),
            _ => return Err(format!("argument {other} = {number} is not a tensor")),
        });
    }
    let b = call.tensor(other)?;
    call.emit(OpKindT::Binary(table(|op: &mut BinaryT| {
        (op.a, op.b, op.kind, op.alpha) = (a, b, kind, alpha);
    })))
}

fn select(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (cond, a, b) = (call.tensor("condition")?, call.tensor("self")?, call.tensor("other")?);
    call.emit(OpKindT::Select(table(|op: &mut SelectT| (op.cond, op.a, op.b) = (cond, a, b))))
}
