//! Nearest, bilinear and bicubic resizing of one to three dimensions, and pixel shuffles.

use tandem_schemas::program::{DType, OpKindT, PixelShuffleT, ResizeKind, ResizeT};

use super::linear::{linear_of, matmul};
use super::volume::separate;
use super::{Row, on_images};
use crate::error::Reason;
use crate::graph::table;
use crate::import::Call;
use crate::tensor::Tensor;

pub(super) const OPS: &[Row] = &[
    ("aten.upsample_nearest1d.vec", |c| resize(c, ("input", 1), ResizeKind::Nearest)),
    ("aten.upsample_nearest2d.vec", |c| resize(c, ("input", 2), ResizeKind::Nearest)),
    ("aten.upsample_nearest3d.vec", |c| resize(c, ("input", 3), ResizeKind::Nearest)),
    ("aten.upsample_linear1d.vec", |c| resize(c, ("input", 1), ResizeKind::Bilinear)),
    ("aten.upsample_bilinear2d.vec", |c| resize(c, ("input", 2), ResizeKind::Bilinear)),
    ("aten.upsample_trilinear3d.vec", |c| resize(c, ("input", 3), ResizeKind::Bilinear)),
    ("aten.upsample_bicubic2d.vec", |c| resize(c, ("input", 2), ResizeKind::Bicubic)),
    ("aten.upsample_nearest2d.default", |c| resize(c, ("self", 2), ResizeKind::Nearest)),
    ("aten.upsample_bilinear2d.default", |c| resize(c, ("self", 2), ResizeKind::Bilinear)),
    ("aten.upsample_bicubic2d.default", |c| resize(c, ("self", 2), ResizeKind::Bicubic)),
    ("aten._upsample_bilinear2d_aa.default", |c| antialiased(c, 1.0, |x| 1.0 - x)),
    ("aten._upsample_bicubic2d_aa.default", |c| antialiased(c, 2.0, cubic)),
    ("aten.pixel_shuffle.default", |c| pixel_shuffle(c, "upscale_factor", false)),
    ("aten.pixel_unshuffle.default", |c| pixel_shuffle(c, "downscale_factor", true)),
];

/// Scale factors, where the caller gave them, take part in the coordinates; otherwise the two sizes do.
fn resize(call: &mut Call<'_, '_>, (src, axes): (&str, usize), kind: ResizeKind) -> Result<(), Reason> {
    let align_corners = call.flag("align_corners")?;
    let mut scale = call.numbers("scale_factors")?;
    if call.has("scales_h") && call.has("scales_w") {
        scale = vec![call.number("scales_h")?, call.number("scales_w")?];
    }
    if scale.iter().any(|&s| !(s.is_finite() && s > 0.0)) || ![0, axes].contains(&scale.len()) {
        return Err(format!("scale factors {scale:?} are not {axes} positive numbers"));
    }
    // Of [depth, y, x].
    let scale = (!scale.is_empty()).then(|| [&[1.0; 3][axes..], &scale].concat());
    let on = |src, along: fn(&[f64]) -> Vec<f64>| {
        let scale = scale.as_deref().map(along);
        OpKindT::Resize(table(|op: &mut ResizeT| {
            (op.src, op.kind, op.align_corners, op.scale) = (src, kind, align_corners, scale);
        }))
    };
    let planes = |src| on(src, |scale| scale[1..].to_vec());
    let depth = |src| on(src, |scale| vec![scale[0], 1.0]);
    separate(call, (src, axes), &planes, (axes == 3).then_some(&depth))
}

/// Keys' filter with the coefficient of antialiased resizing.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 { ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0 } else { (((x - 5.0) * x + 8.0) * x - 4.0) * A }
}

/// Most elements of a matrix of weights.
const MAX_WEIGHTS: usize = 1 << 24;

/// A filter as wide as `reach` on either side, in elements of whichever side is smaller: every output row and column is a
/// weighted sum, so the image between two constant matrices.
fn antialiased(call: &mut Call<'_, '_>, reach: f64, filter: fn(f64) -> f64) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let src = call.cast(src, DType::F32)?;
    let (from, to) = (call.shape(src).to_vec(), call.out_shape(0)?);
    let (&[n, c, h, w], &[.., oh, ow]) = (&from[..], &to[..]) else {
        return Err(format!("{from:?} to {to:?}"));
    };
    if call.flag("align_corners")? {
        return Err("antialiased with align_corners is not supported".into());
    }
    let matrix = |call: &Call<'_, '_>, size: usize, out: usize, scale: &str| {
        let step = match call.number_or(scale, 0.0)? {
            factor if factor > 0.0 => 1.0 / factor,
            _ => size as f64 / out as f64,
        };
        if size.saturating_mul(out) > MAX_WEIGHTS {
            return Err(format!("{out} by {size} weights are more than {MAX_WEIGHTS}"));
        }
        Ok((0..out)
            .flat_map(|i| weights(size, (i as f64 + 0.5) * step, step.max(1.0), reach, filter))
            .collect())
    };
    let (down, across) = (matrix(call, h, oh, "scales_h")?, matrix(call, w, ow, "scales_w")?);
    let down = call.add_constant("rows", Tensor::owned(&[1, 1, oh, h], down));
    let across = call.add_constant("columns", Tensor::owned(&[ow, w], across));
    let narrow = call.temp(&[n, c, h, ow], linear_of(src, across, -1))?;
    call.emit(matmul(down, narrow))
}

/// Weights of `size` elements for an output around `center`, one of `width` elements.
fn weights(size: usize, center: f64, width: f64, reach: f64, filter: fn(f64) -> f64) -> Vec<f32> {
    let reach = reach * width;
    let first = (center - reach + 0.5).max(0.0) as usize;
    let end = ((center + reach + 0.5).max(0.0) as usize).min(size);
    let weight = |i: usize| match ((i as f64 + 0.5 - center) / width).abs() {
        x if (first..end).contains(&i) && x < reach / width => filter(x),
        _ => 0.0,
    };
    let all: Vec<f64> = (0..size).map(weight).collect();
    let sum: f64 = all.iter().sum();
    all.into_iter().map(|w| (w / if sum == 0.0 { 1.0 } else { sum }) as f32).collect()
}

fn pixel_shuffle(call: &mut Call<'_, '_>, factor: &str, inverse: bool) -> Result<(), Reason> {
    let given = call.int(factor)?;
    let factor = u32::try_from(given).map_err(|_| format!("argument {factor} = {given} is out of range"))?;
    on_images(call, "self", &|src| {
        OpKindT::PixelShuffle(table(|op: &mut PixelShuffleT| {
            (op.src, op.factor, op.inverse) = (src, factor, inverse);
        }))
    })
}
