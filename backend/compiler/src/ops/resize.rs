//! Nearest, bilinear and bicubic resizing of images, and pixel shuffles.

use tandem_schemas::program::{OpKindT, PixelShuffleT, ResizeKind, ResizeT};

use super::{Row, on_images};
use crate::error::Reason;
use crate::graph::table;
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.upsample_nearest2d.vec", |c| resize(c, "input", ResizeKind::Nearest)),
    ("aten.upsample_bilinear2d.vec", |c| resize(c, "input", ResizeKind::Bilinear)),
    ("aten.upsample_bicubic2d.vec", |c| resize(c, "input", ResizeKind::Bicubic)),
    ("aten.upsample_nearest2d.default", |c| resize(c, "self", ResizeKind::Nearest)),
    ("aten.upsample_bilinear2d.default", |c| resize(c, "self", ResizeKind::Bilinear)),
    ("aten.upsample_bicubic2d.default", |c| resize(c, "self", ResizeKind::Bicubic)),
    ("aten.pixel_shuffle.default", |c| pixel_shuffle(c, "upscale_factor", false)),
    ("aten.pixel_unshuffle.default", |c| pixel_shuffle(c, "downscale_factor", true)),
];

/// Scale factors, where the caller gave them, take part in the coordinates; otherwise the two sizes do.
fn resize(call: &mut Call<'_, '_>, src: &str, kind: ResizeKind) -> Result<(), Reason> {
    let src = call.tensor(src)?;
    let align_corners = call.flag("align_corners")?;
    let mut scale = call.numbers("scale_factors")?;
    if call.has("scales_h") && call.has("scales_w") {
        scale = vec![call.number("scales_h")?, call.number("scales_w")?];
    }
    if scale.iter().any(|&s| !(s.is_finite() && s > 0.0)) {
        return Err(format!("scale factors {scale:?} are not positive"));
    }
    let scale = (!scale.is_empty()).then_some(scale);
    call.emit(OpKindT::Resize(table(|op: &mut ResizeT| {
        (op.src, op.kind, op.align_corners, op.scale) = (src, kind, align_corners, scale);
    })))
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
