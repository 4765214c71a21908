//! Layer, group and batch normalisation.

use tandem_schemas::program::{AffineT, BinaryKind, DType, NormKind, NormT, OpKindT};

use super::binary::{binary, pair};
use super::view::permute_of;
use super::{Row, reshape, reshaped};
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;
use crate::tensor::Tensor;

pub(super) const OPS: &[Row] = &[
    ("aten.layer_norm.default", layer),
    ("aten.native_layer_norm.default", layer),
    ("aten.rms_norm.default", rms),
    ("aten.group_norm.default", |c| group(c, "num_groups")),
    ("aten.native_group_norm.default", |c| group(c, "group")),
    ("aten._native_batch_norm_legit_no_training.default", batch),
    ("aten._native_batch_norm_legit.default", batch),
    ("aten.native_batch_norm.default", batch),
    ("aten.batch_norm.default", batch),
    ("aten._native_batch_norm_legit.no_stats", batch_of_itself),
];

/// Factors and addends over the normalised dimensions or over channels.
struct Parameters {
    scale: ValueId,
    shift: ValueId,
    /// The shape in which they broadcast to the source.
    shape: Vec<usize>,
}

impl Parameters {
    fn of(call: &Call<'_, '_>, names: [&str; 2], shape: Vec<usize>) -> Result<Self, Reason> {
        let [scale, shift] = [call.optional(names[0])?, call.optional(names[1])?];
        Ok(Self { scale, shift, shape })
    }

    /// Emits a norm with them: part of it where they are constants, else a product and a sum behind it.
    fn emit(&self, call: &mut Call<'_, '_>, mut norm: NormT) -> Result<(), Reason> {
        let constant = |id| id < 0 || call.is_constant(id);
        if constant(self.scale) && constant(self.shift) {
            (norm.scale, norm.shift) = (self.scale, self.shift);
            return call.emit(OpKindT::Norm(Box::new(norm)));
        }
        let src = call.cast(norm.src, DType::F32)?;
        norm.src = src;
        let shape = call.shape(src).to_vec();
        let mut value = call.temp(&shape, OpKindT::Norm(Box::new(norm)))?;
        let parameters = [(self.scale, BinaryKind::Mul), (self.shift, BinaryKind::Add)];
        let mut left = parameters.into_iter().filter(|(id, _)| *id >= 0).peekable();
        while let Some((id, kind)) = left.next() {
            let id = call.cast(id, DType::F32)?;
            let id = reshaped(call, id, &self.shape)?;
            if left.peek().is_none() {
                return call.emit(binary(value, id, kind, 1.0));
            }
            value = pair(call, value, id, kind)?;
        }
        Ok(())
    }
}

fn only_first_output(call: &Call<'_, '_>) -> Result<(), Reason> {
    match (1..call.output_count()).find(|&i| call.output(i).is_some()) {
        Some(i) => Err(format!("output {i}, a statistic, is used")),
        None => Ok(()),
    }
}

fn layer(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    only_first_output(call)?;
    let eps = call.number_or("eps", 1e-5)?;
    over_last(call, NormKind::Layer, eps)
}

/// Without `eps` that of f32, in which it is computed.
fn rms(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let eps = call.number_or("eps", f64::from(f32::EPSILON))?;
    over_last(call, NormKind::Rms, eps)
}

fn over_last(call: &mut Call<'_, '_>, kind: NormKind, eps: f64) -> Result<(), Reason> {
    let src = call.tensor("input")?;
    let normalized = call.ints("normalized_shape")?;
    let axes = normalized.len();
    let tail = call.shape(src).len().checked_sub(axes).map(|at| &call.shape(src)[at..]);
    if !tail.is_some_and(|t| t.iter().zip(&normalized).all(|(&a, &b)| a as i64 == b)) {
        return Err(format!("normalized_shape {normalized:?} is not how {:?} ends", call.shape(src)));
    }
    let shape = normalized.iter().map(|&n| n as usize).collect();
    let norm = *table(|op: &mut NormT| (op.src, op.kind, op.axes, op.eps) = (src, kind, axes as u32, eps));
    Parameters::of(call, ["weight", "bias"], shape)?.emit(call, norm)
}

fn group(call: &mut Call<'_, '_>, groups: &str) -> Result<(), Reason> {
    only_first_output(call)?;
    let src = call.tensor("input")?;
    let rank = call.shape(src).len();
    let channels = per_channel(call.shape(src), rank)?;
    let groups =
        u32::try_from(call.int(groups)?).map_err(|_| format!("argument {groups} is out of range"))?;
    let eps = call.number_or("eps", 1e-5)?;
    let norm =
        *table(|op: &mut NormT| (op.src, op.kind, op.groups, op.eps) = (src, NormKind::Group, groups, eps));
    Parameters::of(call, ["weight", "bias"], channels)?.emit(call, norm)
}

/// The shape in which a number per channel broadcasts to images.
fn per_channel(shape: &[usize], rank: usize) -> Result<Vec<usize>, Reason> {
    let Some(&channels) = shape.get(1) else { return Err(format!("input {shape:?} has no channels")) };
    Ok([&[channels], &vec![1; rank - 2][..]].concat())
}

/// With the statistics of the batch at hand: each channel is a group of one image that all images make up.
fn batch_of_itself(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    only_first_output(call)?;
    let src = call.tensor("input")?;
    let (src, shape) = (call.cast(src, DType::F32)?, call.shape(src).to_vec());
    let (rank, eps) = (shape.len(), call.number_or("eps", 1e-5)?);
    let parameters = Parameters::of(call, ["weight", "bias"], per_channel(&shape, rank)?)?;
    let norm = |src| {
        let groups = shape[1] as u32;
        *table(|op: &mut NormT| (op.src, op.kind, op.groups, op.eps) = (src, NormKind::Group, groups, eps))
    };
    if shape[0] == 1 {
        return parameters.emit(call, norm(src));
    }
    if parameters.scale >= 0 || parameters.shift >= 0 {
        return Err("statistics of several images with parameters are not supported".into());
    }
    let order: Vec<usize> = [1, 0].into_iter().chain(2..rank).collect();
    let turned: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
    let apart = call.temp(&turned, permute_of(src, &order))?;
    let image = reshaped(call, apart, &[&[1], &turned[..]].concat())?;
    let sizes = call.shape(image).to_vec();
    let normed = call.temp(&sizes, OpKindT::Norm(Box::new(norm(image))))?;
    let apart = call.temp(&turned, reshape(normed))?;
    call.emit(permute_of(apart, &order))
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
