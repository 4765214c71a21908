//! Layer, group and batch normalisation.

use tandem_schemas::program::{AffineT, NormKind, NormT, OpKindT};

use super::Row;
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;
use crate::tensor::Tensor;

pub(super) const OPS: &[Row] = &[
    ("aten.layer_norm.default", layer),
    ("aten.native_layer_norm.default", layer),
    ("aten.group_norm.default", |c| group(c, "num_groups")),
    ("aten.native_group_norm.default", |c| group(c, "group")),
    ("aten._native_batch_norm_legit_no_training.default", batch),
    ("aten._native_batch_norm_legit.default", batch),
    ("aten.native_batch_norm.default", batch),
    ("aten.batch_norm.default", batch),
];

fn only_first_output(call: &Call<'_, '_>) -> Result<(), Reason> {
    match (1..call.output_count()).find(|&i| call.output(i).is_some()) {
        Some(i) => Err(format!("output {i}, a statistic, is used")),
        None => Ok(()),
    }
}

fn parameter(call: &Call<'_, '_>, name: &str) -> Result<ValueId, Reason> {
    if call.has(name) { Ok(call.constant(name)?.0) } else { Ok(-1) }
}

fn layer(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    only_first_output(call)?;
    let src = call.tensor("input")?;
    let (scale, shift) = (parameter(call, "weight")?, parameter(call, "bias")?);
    let normalized = call.ints("normalized_shape")?;
    let (axes, eps) = (normalized.len(), call.number_or("eps", 1e-5)?);
    let tail = call.shape(src).len().checked_sub(axes).map(|at| &call.shape(src)[at..]);
    if !tail.is_some_and(|t| t.iter().zip(&normalized).all(|(&a, &b)| a as i64 == b)) {
        return Err(format!("normalized_shape {normalized:?} is not how {:?} ends", call.shape(src)));
    }
    call.emit(OpKindT::Norm(table(|op: &mut NormT| {
        (op.src, op.kind, op.axes, op.eps) = (src, NormKind::Layer, axes as u32, eps);
        (op.scale, op.shift) = (scale, shift);
    })))
}

fn group(call: &mut Call<'_, '_>, groups: &str) -> Result<(), Reason> {
    only_first_output(call)?;
    let src = call.tensor("input")?;
    let (scale, shift) = (parameter(call, "weight")?, parameter(call, "bias")?);
    let groups =
        u32::try_from(call.int(groups)?).map_err(|_| format!("argument {groups} is out of range"))?;
    let eps = call.number_or("eps", 1e-5)?;
    call.emit(OpKindT::Norm(table(|op: &mut NormT| {
        (op.src, op.kind, op.groups, op.eps) = (src, NormKind::Group, groups, eps);
        (op.scale, op.shift) = (scale, shift);
    })))
}

/// With the running statistics it is a scale and a shift per channel.
fn batch(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    only_first_output(call)?;
    call.refuse("training")?;
    let src = call.tensor("input")?;
    let Some(&channels) = call.shape(src).get(1) else {
        return Err(format!("input {:?} has no channels", call.shape(src)));
    };
    let eps = call.number_or("eps", 1e-5)?;
    let read = |name: &str, default: f32| match call.vector(name)? {
        Some(v) if v.len() == channels => Ok(v),
        Some(v) => Err(format!("argument {name} has {} elements for {channels} channels", v.len())),
        None => Ok(vec![default; channels]),
    };
    for name in ["running_mean", "running_var"] {
        call.constant(name)?;
    }
    let (mean, variance) = (read("running_mean", 0.0)?, read("running_var", 1.0)?);
    let (weight, bias) = (read("weight", 1.0)?, read("bias", 0.0)?);
    let scale: Vec<f64> =
        weight.iter().zip(&variance).map(|(&w, &v)| f64::from(w) / (f64::from(v) + eps).sqrt()).collect();
    let shift =
        bias.iter().zip(&mean).zip(&scale).map(|((&b, &m), s)| (f64::from(b) - f64::from(m) * s) as f32);
    let shift = Tensor::vector(shift.collect());
    let scale = Tensor::vector(scale.iter().map(|&s| s as f32).collect());
    let (scale, shift) = (call.add_constant("scale", scale), call.add_constant("shift", shift));
    call.emit(OpKindT::Affine(table(|op: &mut AffineT| {
        (op.src, op.dim, op.scale, op.shift) = (src, 1, scale, shift);
    })))
}
