//! Element-wise functions of one tensor, perhaps with a number.

use tandem_schemas::program::{OpKindT, UnaryKind, UnaryT};

use super::Row;
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.neg.default", |c| plain(c, UnaryKind::Neg)),
    ("aten.abs.default", |c| plain(c, UnaryKind::Abs)),
    ("aten.exp.default", |c| plain(c, UnaryKind::Exp)),
    ("aten.log.default", |c| plain(c, UnaryKind::Log)),
    ("aten.sqrt.default", |c| plain(c, UnaryKind::Sqrt)),
    ("aten.rsqrt.default", |c| plain(c, UnaryKind::Rsqrt)),
    ("aten.reciprocal.default", |c| plain(c, UnaryKind::Reciprocal)),
    ("aten.square.default", |c| plain(c, UnaryKind::Square)),
    ("aten.sin.default", |c| plain(c, UnaryKind::Sin)),
    ("aten.cos.default", |c| plain(c, UnaryKind::Cos)),
    ("aten.erf.default", |c| plain(c, UnaryKind::Erf)),
    ("aten.floor.default", |c| plain(c, UnaryKind::Floor)),
    ("aten.ceil.default", |c| plain(c, UnaryKind::Ceil)),
    ("aten.round.default", |c| plain(c, UnaryKind::Round)),
    ("aten.trunc.default", |c| plain(c, UnaryKind::Trunc)),
    ("aten.sign.default", |c| plain(c, UnaryKind::Sign)),
    ("aten.pow.Tensor_Scalar", pow),
];

fn plain(call: &mut Call<'_, '_>, kind: UnaryKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    call.emit(unary(src, kind, 0.0))
}

pub(super) fn unary(src: ValueId, kind: UnaryKind, a: f64) -> OpKindT {
    OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind, op.a) = (src, kind, a)))
}

fn pow(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, exponent) = (call.tensor("self")?, call.number("exponent")?);
    call.emit(match exponent {
        1.0 => unary(src, UnaryKind::Identity, 0.0),
        2.0 => unary(src, UnaryKind::Square, 0.0),
        0.5 => unary(src, UnaryKind::Sqrt, 0.0),
        -0.5 => unary(src, UnaryKind::Rsqrt, 0.0),
        -1.0 => unary(src, UnaryKind::Reciprocal, 0.0),
        a => unary(src, UnaryKind::PowScalar, a),
    })
}
