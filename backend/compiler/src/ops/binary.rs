//! Element-wise functions of two tensors, or of a tensor and a number, and choices between two.

use tandem_schemas::program::{BinaryKind, BinaryT, DType, OpKindT, SelectT, UnaryKind};

use super::Row;
use super::unary::unary;
use crate::error::Reason;
use crate::graph::{ValueId, broadcast, promote, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.add.Tensor", |c| arithmetic(c, BinaryKind::Add)),
    ("aten.add.Scalar", |c| arithmetic(c, BinaryKind::Add)),
    ("aten.sub.Tensor", |c| arithmetic(c, BinaryKind::Sub)),
    ("aten.sub.Scalar", |c| arithmetic(c, BinaryKind::Sub)),
    ("aten.rsub.Scalar", reversed),
    ("aten.rsub.Tensor", reversed),
    ("aten.mul.Tensor", |c| arithmetic(c, BinaryKind::Mul)),
    ("aten.mul.Scalar", |c| arithmetic(c, BinaryKind::Mul)),
    ("aten.div.Tensor", |c| arithmetic(c, BinaryKind::Div)),
    ("aten.div.Scalar", |c| arithmetic(c, BinaryKind::Div)),
    ("aten.div.Tensor_mode", divide),
    ("aten.div.Scalar_mode", divide),
    ("aten.floor_divide.default", |c| plain(c, BinaryKind::FloorDiv)),
    ("aten.remainder.Tensor", |c| plain(c, BinaryKind::Remainder)),
    ("aten.remainder.Scalar", |c| plain(c, BinaryKind::Remainder)),
    ("aten.fmod.Tensor", |c| plain(c, BinaryKind::Fmod)),
    ("aten.fmod.Scalar", |c| plain(c, BinaryKind::Fmod)),
    ("aten.maximum.default", |c| plain(c, BinaryKind::Max)),
    ("aten.minimum.default", |c| plain(c, BinaryKind::Min)),
    ("aten.pow.Tensor_Tensor", |c| two(c, ["self", "exponent"], BinaryKind::Pow)),
    ("aten.pow.Scalar", |c| two(c, ["self", "exponent"], BinaryKind::Pow)),
    ("aten.atan2.default", |c| plain(c, BinaryKind::Atan2)),
    ("aten.bitwise_and.Tensor", |c| plain(c, BinaryKind::And)),
    ("aten.bitwise_and.Scalar", |c| plain(c, BinaryKind::And)),
    ("aten.bitwise_or.Tensor", |c| plain(c, BinaryKind::Or)),
    ("aten.bitwise_or.Scalar", |c| plain(c, BinaryKind::Or)),
    ("aten.bitwise_xor.Tensor", |c| plain(c, BinaryKind::Xor)),
    ("aten.bitwise_xor.Scalar", |c| plain(c, BinaryKind::Xor)),
    ("aten.bitwise_left_shift.Tensor", |c| plain(c, BinaryKind::ShiftLeft)),
    ("aten.bitwise_left_shift.Tensor_Scalar", |c| plain(c, BinaryKind::ShiftLeft)),
    ("aten.bitwise_right_shift.Tensor", |c| plain(c, BinaryKind::ShiftRight)),
    ("aten.bitwise_right_shift.Tensor_Scalar", |c| plain(c, BinaryKind::ShiftRight)),
    ("aten.__lshift__.Scalar", |c| plain(c, BinaryKind::ShiftLeft)),
    ("aten.__rshift__.Scalar", |c| plain(c, BinaryKind::ShiftRight)),
    ("aten.logical_and.default", |c| logical(c, BinaryKind::And)),
    ("aten.logical_or.default", |c| logical(c, BinaryKind::Or)),
    ("aten.logical_xor.default", |c| logical(c, BinaryKind::Xor)),
    ("aten.eq.Tensor", |c| plain(c, BinaryKind::Eq)),
    ("aten.eq.Scalar", |c| plain(c, BinaryKind::Eq)),
    ("aten.ne.Tensor", |c| plain(c, BinaryKind::Ne)),
    ("aten.ne.Scalar", |c| plain(c, BinaryKind::Ne)),
    ("aten.lt.Tensor", |c| plain(c, BinaryKind::Lt)),
    ("aten.lt.Scalar", |c| plain(c, BinaryKind::Lt)),
    ("aten.le.Tensor", |c| plain(c, BinaryKind::Le)),
    ("aten.le.Scalar", |c| plain(c, BinaryKind::Le)),
    ("aten.gt.Tensor", |c| plain(c, BinaryKind::Gt)),
    ("aten.gt.Scalar", |c| plain(c, BinaryKind::Gt)),
    ("aten.ge.Tensor", |c| plain(c, BinaryKind::Ge)),
    ("aten.ge.Scalar", |c| plain(c, BinaryKind::Ge)),
    ("aten.where.self", |c| select(c, ["condition", "self", "other"])),
    ("aten.where.ScalarSelf", |c| select(c, ["condition", "self", "other"])),
    ("aten.where.ScalarOther", |c| select(c, ["condition", "self", "other"])),
    ("aten.where.Scalar", |c| select(c, ["condition", "self", "other"])),
    ("aten.masked_fill.Scalar", |c| select(c, ["mask", "value", "self"])),
    ("aten.masked_fill.Tensor", |c| select(c, ["mask", "value", "self"])),
];

pub(super) fn binary(a: ValueId, b: ValueId, kind: BinaryKind, alpha: f64) -> OpKindT {
    OpKindT::Binary(table(|op: &mut BinaryT| (op.a, op.b, op.kind, op.alpha) = (a, b, kind, alpha)))
}

/// A function of two intermediates, broadcast, in their dtype or a truth value.
pub(super) fn pair(
    call: &mut Call<'_, '_>,
    a: ValueId,
    b: ValueId,
    kind: BinaryKind,
) -> Result<ValueId, Reason> {
    use BinaryKind as B;
    let compares = matches!(kind, B::Eq | B::Ne | B::Lt | B::Le | B::Gt | B::Ge);
    let (shape, dtype) = (shape_of(call, &[a, b])?, if compares { DType::Bool } else { call.dtype(a) });
    call.temp_of(dtype, &shape, binary(a, b, kind, 1.0))
}

/// A function without factors of "self" and "other".
fn plain(call: &mut Call<'_, '_>, kind: BinaryKind) -> Result<(), Reason> {
    two(call, ["self", "other"], kind)
}

/// A function of two arguments in the dtype they promote to; floats where the kind has no other meaning.
fn two(call: &mut Call<'_, '_>, names: [&str; 2], kind: BinaryKind) -> Result<(), Reason> {
    let dtype = promoted(call, names)?;
    let floats = matches!(kind, BinaryKind::Div | BinaryKind::Pow | BinaryKind::Atan2);
    let dtype = if floats && !is_float(dtype) { DType::F32 } else { dtype };
    let [a, b] = [operand(call, names[0], dtype)?, operand(call, names[1], dtype)?];
    emit_as(call, dtype, binary(a, b, kind, 1.0))
}

/// Sums, products and quotients: of f32 and a number the forms that fuse with what is around them.
fn arithmetic(call: &mut Call<'_, '_>, kind: BinaryKind) -> Result<(), Reason> {
    let alpha = call.number_or("alpha", 1.0)?;
    let a = call.tensor("self")?;
    let dtype = promoted(call, ["self", "other"])?;
    let dtype = if kind == BinaryKind::Div && !is_float(dtype) { DType::F32 } else { dtype };
    if call.is_number("other") && computes_as_f32(dtype) {
        let (a, number) = (call.cast(a, DType::F32)?, call.number("other")?);
        let (kind, number) = match kind {
            BinaryKind::Add => (UnaryKind::AddScalar, alpha * number),
            BinaryKind::Sub => (UnaryKind::AddScalar, -alpha * number),
            BinaryKind::Mul => (UnaryKind::MulScalar, number),
            _ => (UnaryKind::MulScalar, 1.0 / number),
        };
        return emit_as(call, dtype, unary(a, kind, number));
    }
    let [a, b] = [operand(call, "self", dtype)?, operand(call, "other", dtype)?];
    scaled(call, [a, b], kind, alpha, dtype)
}

/// a ± alpha b, the factor a product of its own where it is not f32's.
fn scaled(
    call: &mut Call<'_, '_>,
    [a, mut b]: [ValueId; 2],
    kind: BinaryKind,
    alpha: f64,
    dtype: DType,
) -> Result<(), Reason> {
    if alpha == 1.0 || computes_as_f32(dtype) {
        return emit_as(call, dtype, binary(a, b, kind, alpha));
    }
    let (factor, shape) = (call.add_number("alpha", dtype, alpha), call.shape(b).to_vec());
    b = call.temp_of(dtype, &shape, binary(b, factor, BinaryKind::Mul, 1.0))?;
    emit_as(call, dtype, binary(a, b, kind, 1.0))
}

/// other - alpha * self
fn reversed(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let alpha = call.number_or("alpha", 1.0)?;
    let dtype = promoted(call, ["self", "other"])?;
    let [a, b] = [operand(call, "other", dtype)?, operand(call, "self", dtype)?];
    scaled(call, [a, b], BinaryKind::Sub, alpha, dtype)
}

fn divide(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    match call.string("rounding_mode")? {
        "" => arithmetic(call, BinaryKind::Div),
        "floor" => plain(call, BinaryKind::FloorDiv),
        "trunc" => plain(call, BinaryKind::TruncDiv),
        mode => Err(format!("argument rounding_mode = {mode:?} is none of \"floor\" and \"trunc\"")),
    }
}

fn logical(call: &mut Call<'_, '_>, kind: BinaryKind) -> Result<(), Reason> {
    let [a, b] = [operand(call, "self", DType::Bool)?, operand(call, "other", DType::Bool)?];
    call.emit(binary(a, b, kind, 1.0))
}

fn select(call: &mut Call<'_, '_>, [cond, a, b]: [&str; 3]) -> Result<(), Reason> {
    let dtype = call.out_dtype(0)?;
    let cond = call.tensor(cond)?;
    let cond = call.cast(cond, DType::Bool)?;
    let [a, b] = [operand(call, a, dtype)?, operand(call, b, dtype)?];
    call.emit(choose(cond, a, b))
}

/// a where cond is set, else b.
pub(super) fn choose(cond: ValueId, a: ValueId, b: ValueId) -> OpKindT {
    OpKindT::Select(table(|op: &mut SelectT| (op.cond, op.a, op.b) = (cond, a, b)))
}

/// An argument as a value of a dtype; a number becomes a constant.
pub(super) fn operand(call: &mut Call<'_, '_>, name: &str, dtype: DType) -> Result<ValueId, Reason> {
    if call.is_number(name) {
        let number = call.number(name)?;
        return Ok(call.add_number(name, dtype, number));
    }
    let value = call.tensor(name)?;
    call.cast(value, dtype)
}

/// The dtype two arguments are computed in.
pub(super) fn promoted(call: &Call<'_, '_>, names: [&str; 2]) -> Result<DType, Reason> {
    let [a, b] = names.map(|name| {
        if call.is_number(name) {
            return Ok((call.number_dtype(name), true));
        }
        let value = call.tensor(name)?;
        Ok::<_, Reason>((call.dtype(value), call.shape(value).is_empty()))
    });
    Ok(promote(a?, b?))
}

/// The op for output 0, computed in `dtype`.
pub(super) fn emit_as(call: &mut Call<'_, '_>, dtype: DType, kind: OpKindT) -> Result<(), Reason> {
    let out = call.out_dtype(0)?;
    let compares = out == DType::Bool && dtype != DType::Bool;
    if out == dtype || compares || (computes_as_f32(dtype) && computes_as_f32(out)) {
        return call.emit(kind);
    }
    let shape = call.out_shape(0)?;
    let value = call.temp_of(dtype, &shape, kind)?;
    call.emit(unary(value, UnaryKind::Cast, 0.0))
}

fn is_float(dtype: DType) -> bool {
    computes_as_f32(dtype) || dtype == DType::F64
}

/// Whether it is f32 or a 16-bit float, which is computed as one.
pub(super) fn computes_as_f32(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

/// The shape of several values broadcast to each other.
pub(super) fn shape_of(call: &Call<'_, '_>, values: &[ValueId]) -> Result<Vec<usize>, Reason> {
    broadcast(&values.iter().map(|&v| call.shape(v)).collect::<Vec<_>>())
}
