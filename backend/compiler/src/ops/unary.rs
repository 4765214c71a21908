//! Element-wise functions of one tensor, perhaps with a number.

use tandem_schemas::program::{BinaryKind, DType, OpKindT, UnaryKind, UnaryT};

use super::Row;
use super::binary::{binary, computes_as_f32, pair};
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.neg.default", |c| typed(c, UnaryKind::Neg)),
    ("aten.abs.default", |c| typed(c, UnaryKind::Abs)),
    ("aten.exp.default", |c| plain(c, UnaryKind::Exp)),
    ("aten.log.default", |c| plain(c, UnaryKind::Log)),
    ("aten.sqrt.default", |c| plain(c, UnaryKind::Sqrt)),
    ("aten.rsqrt.default", |c| plain(c, UnaryKind::Rsqrt)),
    ("aten.reciprocal.default", |c| plain(c, UnaryKind::Reciprocal)),
    ("aten.square.default", |c| typed(c, UnaryKind::Square)),
    ("aten.sin.default", |c| plain(c, UnaryKind::Sin)),
    ("aten.cos.default", |c| plain(c, UnaryKind::Cos)),
    ("aten.erf.default", |c| plain(c, UnaryKind::Erf)),
    ("aten.log2.default", |c| plain(c, UnaryKind::Log2)),
    ("aten.log10.default", |c| plain(c, UnaryKind::Log10)),
    ("aten.log1p.default", |c| plain(c, UnaryKind::Log1p)),
    ("aten.expm1.default", |c| plain(c, UnaryKind::Expm1)),
    ("aten.tan.default", |c| plain(c, UnaryKind::Tan)),
    ("aten.asin.default", |c| plain(c, UnaryKind::Asin)),
    ("aten.acos.default", |c| plain(c, UnaryKind::Acos)),
    ("aten.atan.default", |c| plain(c, UnaryKind::Atan)),
    ("aten.sinh.default", |c| plain(c, UnaryKind::Sinh)),
    ("aten.cosh.default", |c| plain(c, UnaryKind::Cosh)),
    ("aten.asinh.default", |c| plain(c, UnaryKind::Asinh)),
    ("aten.acosh.default", |c| plain(c, UnaryKind::Acosh)),
    ("aten.atanh.default", |c| plain(c, UnaryKind::Atanh)),
    ("aten.floor.default", |c| whole(c, UnaryKind::Floor)),
    ("aten.ceil.default", |c| whole(c, UnaryKind::Ceil)),
    ("aten.round.default", |c| whole(c, UnaryKind::Round)),
    ("aten.round.decimals", round),
    ("aten.trunc.default", |c| whole(c, UnaryKind::Trunc)),
    ("aten.sign.default", |c| typed(c, UnaryKind::Sign)),
    ("aten.logical_not.default", logical_not),
    ("aten.bitwise_not.default", bitwise_not),
    ("aten.isnan.default", is_nan),
    ("aten.isinf.default", is_inf),
    ("aten.pow.Tensor_Scalar", pow),
];

/// A function of floats; whole numbers are given to it as f32.
fn plain(call: &mut Call<'_, '_>, kind: UnaryKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let src = if call.dtype(src) == DType::F64 { src } else { call.cast(src, DType::F32)? };
    call.emit(unary(src, kind, 0.0))
}

/// A function of any numbers.
fn typed(call: &mut Call<'_, '_>, kind: UnaryKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    call.emit(unary(src, kind, 0.0))
}

/// A rounding: whole numbers stay as they are.
fn whole(call: &mut Call<'_, '_>, kind: UnaryKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    if call.dtype(src) == DType::F64 {
        return whole_f64(call, src, kind);
    }
    let kind = if computes_as_f32(call.dtype(src)) { kind } else { UnaryKind::Identity };
    call.emit(unary(src, kind, 0.0))
}

/// Of f64 there is truncation, as a quotient by 1: what is below a negative number's is one less.
fn whole_f64(call: &mut Call<'_, '_>, src: ValueId, kind: UnaryKind) -> Result<(), Reason> {
    let one = call.add_number("one", DType::F64, 1.0);
    let floor = |call: &mut Call<'_, '_>, src| {
        let part = pair(call, src, one, BinaryKind::TruncDiv)?;
        let below = pair(call, src, part, BinaryKind::Lt)?;
        let below = call.cast(below, DType::F64)?;
        Ok::<_, Reason>(binary(part, below, BinaryKind::Sub, 1.0))
    };
    match kind {
        UnaryKind::Trunc => call.emit(binary(src, one, BinaryKind::TruncDiv, 1.0)),
        UnaryKind::Floor => {
            let floor = floor(call, src)?;
            call.emit(floor)
        }
        UnaryKind::Ceil => {
            let (negative, shape) = (map(call, src, UnaryKind::Neg, 0.0)?, call.shape(src).to_vec());
            let floor = floor(call, negative)?;
            let floor = call.temp_of(DType::F64, &shape, floor)?;
            call.emit(unary(floor, UnaryKind::Neg, 0.0))
        }
        kind => Err(format!("{kind:?} of F64 is not defined")),
    }
}

/// To a number of decimals.
fn round(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, decimals) = (call.tensor("self")?, call.int("decimals")?);
    if !(-30..=30).contains(&decimals) || !computes_as_f32(call.dtype(src)) {
        return Err(format!("argument decimals = {decimals} of {:?}", call.dtype(src)));
    }
    let (src, shape) = (call.cast(src, DType::F32)?, call.shape(src).to_vec());
    let unit = 10f64.powi(decimals as i32);
    let scaled = call.temp(&shape, unary(src, UnaryKind::MulScalar, unit))?;
    let whole = call.temp(&shape, unary(scaled, UnaryKind::Round, 0.0))?;
    call.emit(unary(whole, UnaryKind::MulScalar, 1.0 / unit))
}

fn logical_not(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let truth = call.cast(src, DType::Bool)?;
    call.emit(unary(truth, UnaryKind::LogicalNot, 0.0))
}

fn bitwise_not(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    call.emit(unary(src, UnaryKind::BitwiseNot, 0.0))
}

/// Only NaN differs from itself.
fn is_nan(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    call.emit(binary(src, src, BinaryKind::Ne, 1.0))
}

fn is_inf(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let (src, shape) = (call.cast(src, DType::F32)?, call.shape(src).to_vec());
    let size = call.temp(&shape, unary(src, UnaryKind::Abs, 0.0))?;
    let infinity = call.add_number("infinity", DType::F32, f64::INFINITY);
    call.emit(binary(size, infinity, BinaryKind::Eq, 1.0))
}

pub(super) fn unary(src: ValueId, kind: UnaryKind, a: f64) -> OpKindT {
    OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind, op.a) = (src, kind, a)))
}

/// A function of an intermediate's elements.
pub(super) fn map(call: &mut Call<'_, '_>, src: ValueId, kind: UnaryKind, a: f64) -> Result<ValueId, Reason> {
    let shape = call.shape(src).to_vec();
    call.temp_like(src, &shape, unary(src, kind, a))
}

/// Largest exponent of whole numbers: behind it every other than 0, 1 and -1 has wrapped.
const MAX_POWER: f64 = 63.0;

/// Whole numbers to a power, by squaring.
fn whole_power(call: &mut Call<'_, '_>, mut src: ValueId, exponent: f64) -> Result<(), Reason> {
    if exponent.fract() != 0.0 || !(1.0..=MAX_POWER).contains(&exponent) {
        return Err(format!("{:?} to the power of {exponent}", call.dtype(src)));
    }
    let (mut left, mut product) = (exponent as u32, None);
    while left > 0 {
        if left % 2 == 1 {
            product = Some(match product {
                Some(product) => pair(call, product, src, BinaryKind::Mul)?,
                None => src,
            });
        }
        left /= 2;
        if left > 0 {
            src = map(call, src, UnaryKind::Square, 0.0)?;
        }
    }
    call.emit(unary(product.unwrap_or(src), UnaryKind::Identity, 0.0))
}

fn pow(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, exponent) = (call.tensor("self")?, call.number("exponent")?);
    if !computes_as_f32(call.dtype(src)) {
        return match exponent {
            1.0 => call.emit(unary(src, UnaryKind::Identity, 0.0)),
            2.0 => call.emit(unary(src, UnaryKind::Square, 0.0)),
            a => whole_power(call, src, a),
        };
    }
    call.emit(match exponent {
        1.0 => unary(src, UnaryKind::Identity, 0.0),
        2.0 => unary(src, UnaryKind::Square, 0.0),
        0.5 => unary(src, UnaryKind::Sqrt, 0.0),
        -0.5 => unary(src, UnaryKind::Rsqrt, 0.0),
        -1.0 => unary(src, UnaryKind::Reciprocal, 0.0),
        a => unary(src, UnaryKind::PowScalar, a),
    })
}
