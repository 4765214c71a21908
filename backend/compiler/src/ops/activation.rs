//! Activations.

use tandem_schemas::program::{Activation, OpKindT, UnaryKind, UnaryT};

use super::Row;
use crate::error::Reason;
use crate::graph::{activation, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.relu.default", |c| emit(c, Activation::Relu, 0.0, 0.0)),
    ("aten.relu6.default", |c| emit(c, Activation::Clamp, 0.0, 6.0)),
    ("aten.hardtanh.default", |c| {
        let (low, high) = (c.number_or("min_val", -1.0)?, c.number_or("max_val", 1.0)?);
        emit(c, Activation::Clamp, low, high)
    }),
    ("aten.clamp.default", |c| {
        let (low, high) = (c.number_or("min", f64::NEG_INFINITY)?, c.number_or("max", f64::INFINITY)?);
        emit(c, Activation::Clamp, low, high)
    }),
    ("aten.gelu.default", gelu),
    ("aten.silu.default", |c| emit(c, Activation::Silu, 0.0, 0.0)),
    ("aten.sigmoid.default", |c| emit(c, Activation::Sigmoid, 0.0, 0.0)),
    ("aten.tanh.default", |c| emit(c, Activation::Tanh, 0.0, 0.0)),
    ("aten.hardswish.default", |c| emit(c, Activation::HardSwish, 0.0, 0.0)),
    ("aten.hardsigmoid.default", |c| emit(c, Activation::HardSigmoid, 0.0, 0.0)),
    ("aten.leaky_relu.default", |c| {
        let slope = c.number_or("negative_slope", 0.01)?;
        emit(c, Activation::LeakyRelu, slope, 0.0)
    }),
    ("aten.elu.default", elu),
    ("aten.mish.default", |c| emit(c, Activation::Mish, 0.0, 0.0)),
    ("aten.softplus.default", softplus),
];

fn emit(call: &mut Call<'_, '_>, kind: Activation, a: f64, b: f64) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    call.emit(OpKindT::Unary(table(|op: &mut UnaryT| {
        op.src = src;
        op.kind = UnaryKind::Activation;
        op.act = Some(activation(kind, a as f32, b as f32));
    })))
}

fn gelu(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    match call.string("approximate")? {
        "" | "none" => emit(call, Activation::Gelu, 0.0, 0.0),
        "tanh" => emit(call, Activation::GeluTanh, 0.0, 0.0),
        other => Err(format!("argument approximate = {other:?} is neither \"none\" nor \"tanh\"")),
    }
}

fn elu(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let alpha = call.number_or("alpha", 1.0)?;
    let (scale, input_scale) = (call.number_or("scale", 1.0)?, call.number_or("input_scale", 1.0)?);
    if (scale, input_scale) != (1.0, 1.0) {
        return Err(format!("scale {scale} and input_scale {input_scale} are not 1"));
    }
    emit(call, Activation::Elu, alpha, 0.0)
}

fn softplus(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (beta, threshold) = (call.number_or("beta", 1.0)?, call.number_or("threshold", 20.0)?);
    if (beta, threshold) != (1.0, 20.0) {
        return Err(format!("beta {beta} and threshold {threshold} are not 1 and 20"));
    }
    emit(call, Activation::Softplus, 0.0, 0.0)
}
