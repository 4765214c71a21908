//! Functions of one or two tensors that are a few others put together.

use tandem_schemas::program::{BinaryKind, DType, UnaryKind};

use super::Row;
use super::binary::{binary, choose, emit_as, operand, pair, promoted, shape_of};
use super::unary::{map, unary};
use super::view::expand_to;
use crate::error::Reason;
use crate::graph::ValueId;
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.hypot.default", hypot),
    ("aten.fmax.default", |c| ignoring_nan(c, BinaryKind::Max)),
    ("aten.fmin.default", |c| ignoring_nan(c, BinaryKind::Min)),
    ("aten.copysign.Tensor", copysign),
    ("aten.copysign.Scalar", copysign),
    ("aten.signbit.default", signbit),
    ("aten.exp2.default", exp2),
    ("aten.ldexp.Tensor", ldexp),
    ("aten.copy.default", copy),
];

/// "self" and "other" in the dtype they promote to.
fn operands(call: &mut Call<'_, '_>) -> Result<[ValueId; 2], Reason> {
    let dtype = promoted(call, ["self", "other"])?;
    let dtype = if matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype };
    Ok([operand(call, "self", dtype)?, operand(call, "other", dtype)?])
}

/// The longer side times sqrt(1 + (shorter / longer)²), which does not overflow before the result does.
fn hypot(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let [a, b] = [operand(call, "self", DType::F32)?, operand(call, "other", DType::F32)?];
    let [a, b] = [map(call, a, UnaryKind::Abs, 0.0)?, map(call, b, UnaryKind::Abs, 0.0)?];
    let (longer, shorter) = (pair(call, a, b, BinaryKind::Max)?, pair(call, a, b, BinaryKind::Min)?);
    // Sides of 0 or infinity are divided by something else, for what is no NaN.
    let tiny = call.add_number("tiny", DType::F32, f64::from(f32::MIN_POSITIVE));
    let divisor = pair(call, longer, tiny, BinaryKind::Max)?;
    let ratio = pair(call, shorter, divisor, BinaryKind::Div)?;
    let square = map(call, ratio, UnaryKind::Square, 0.0)?;
    let sum = map(call, square, UnaryKind::AddScalar, 1.0)?;
    let root = map(call, sum, UnaryKind::Sqrt, 0.0)?;
    let length = pair(call, longer, root, BinaryKind::Mul)?;
    let infinity = call.add_number("infinity", DType::F32, f64::INFINITY);
    let infinite = pair(call, shorter, infinity, BinaryKind::Eq)?;
    call.emit(choose(infinite, infinity, length))
}

/// The larger or smaller one; the other one where one is NaN.
fn ignoring_nan(call: &mut Call<'_, '_>, kind: BinaryKind) -> Result<(), Reason> {
    let [a, b] = operands(call)?;
    let [no_a, no_b] = [pair(call, a, a, BinaryKind::Ne)?, pair(call, b, b, BinaryKind::Ne)?];
    let (shape, extreme) = (shape_of(call, &[a, b])?, pair(call, a, b, kind)?);
    let value = call.temp_like(a, &shape, choose(no_b, a, extreme))?;
    call.emit(choose(no_a, b, value))
}

/// Whether a float is below 0 or is -0, whose reciprocal is.
fn negative(call: &mut Call<'_, '_>, value: ValueId) -> Result<ValueId, Reason> {
    let zero = call.add_number("zero", DType::F32, 0.0);
    let below = pair(call, value, zero, BinaryKind::Lt)?;
    let reciprocal = map(call, value, UnaryKind::Reciprocal, 0.0)?;
    let inverse = pair(call, reciprocal, zero, BinaryKind::Lt)?;
    pair(call, below, inverse, BinaryKind::Or)
}

fn signbit(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let src = call.cast(src, DType::F32)?;
    let sign = negative(call, src)?;
    call.emit(unary(sign, UnaryKind::Identity, 0.0))
}

fn copysign(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let [a, b] = [operand(call, "self", DType::F32)?, operand(call, "other", DType::F32)?];
    let size = map(call, a, UnaryKind::Abs, 0.0)?;
    let (opposite, sign) = (map(call, size, UnaryKind::Neg, 0.0)?, negative(call, b)?);
    call.emit(choose(sign, opposite, size))
}

fn exp2(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let (src, two) = (call.cast(src, DType::F32)?, call.add_number("two", DType::F32, 2.0));
    call.emit(binary(two, src, BinaryKind::Pow, 1.0))
}

/// self * 2^other
fn ldexp(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let [a, b] = [operand(call, "self", DType::F32)?, operand(call, "other", DType::F32)?];
    let two = call.add_number("two", DType::F32, 2.0);
    let power = pair(call, two, b, BinaryKind::Pow)?;
    emit_as(call, DType::F32, binary(a, power, BinaryKind::Mul, 1.0))
}

/// "src" in the shape and dtype of "self".
fn copy(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, dtype) = (call.tensor("src")?, call.out_dtype(0)?);
    let src = call.cast(src, dtype)?;
    expand_to(call, src)
}
