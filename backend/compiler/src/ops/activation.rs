//! Activations.

use tandem_schemas::program::{Activation, BinaryKind, DType, OpKindT, UnaryKind, UnaryT};

use super::Row;
use super::binary::{computes_as_f32, operand, pair};
use super::unary::unary;
use crate::error::Reason;
use crate::graph::{ValueId, activation, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.relu.default", |c| emit(c, Activation::Relu, 0.0, 0.0)),
    ("aten.relu6.default", |c| emit(c, Activation::Clamp, 0.0, 6.0)),
    ("aten.hardtanh.default", |c| {
        let (low, high) = (c.number_or("min_val", -1.0)?, c.number_or("max_val", 1.0)?);
        emit(c, Activation::Clamp, low, high)
    }),
    ("aten.clamp.default", clamp),
    ("aten.clamp.Tensor", clamp_between),
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
    call.emit(activation_of(src, kind, a, b))
}

pub(super) fn activation_of(src: ValueId, kind: Activation, a: f64, b: f64) -> OpKindT {
    OpKindT::Unary(table(|op: &mut UnaryT| {
        op.src = src;
        op.kind = UnaryKind::Activation;
        op.act = Some(activation(kind, a as f32, b as f32));
    }))
}

fn clamp(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    if !computes_as_f32(call.out_dtype(0)?) {
        return clamp_between(call);
    }
    let (low, high) = (call.number_or("min", f64::NEG_INFINITY)?, call.number_or("max", f64::INFINITY)?);
    let src = call.tensor("self")?;
    let src = call.cast(src, DType::F32)?;
    call.emit(activation_of(src, Activation::Clamp, low, high))
}

/// Between tensors or whole numbers; the upper one wins.
fn clamp_between(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let dtype = call.out_dtype(0)?;
    let dtype = if computes_as_f32(dtype) { DType::F32 } else { dtype };
    let src = call.tensor("self")?;
    let mut value = call.cast(src, dtype)?;
    for (bound, kind) in [("min", BinaryKind::Max), ("max", BinaryKind::Min)] {
        if call.has(bound) {
            let bound = operand(call, bound, dtype)?;
            value = pair(call, value, bound, kind)?;
        }
    }
    call.emit(unary(value, UnaryKind::Identity, 0.0))
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
    if input_scale != 1.0 {
        return Err(format!("input_scale {input_scale} is not 1"));
    }
    if scale == 1.0 {
        return emit(call, Activation::Elu, alpha, 0.0);
    }
    let src = call.tensor("self")?;
    let (src, shape) = (call.cast(src, DType::F32)?, call.shape(src).to_vec());
    let value = call.temp(&shape, activation_of(src, Activation::Elu, alpha, 0.0))?;
    call.emit(unary(value, UnaryKind::MulScalar, scale))
}

fn softplus(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (beta, threshold) = (call.number_or("beta", 1.0)?, call.number_or("threshold", 20.0)?);
    if (beta, threshold) != (1.0, 20.0) {
        return Err(format!("beta {beta} and threshold {threshold} are not 1 and 20"));
    }
    emit(call, Activation::Softplus, 0.0, 0.0)
}
