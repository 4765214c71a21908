//! Sampling of images and volumes at given places.

use tandem_schemas::program::{DType, GridPadding, GridSampleT, OpKindT, ResizeKind};

use super::Row;
use crate::error::Reason;
use crate::graph::table;
use crate::import::Call;

pub(super) const OPS: &[Row] =
    &[("aten.grid_sampler_2d.default", sample), ("aten.grid_sampler_3d.default", sample)];

fn sample(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, grid) = (call.tensor("input")?, call.tensor("grid")?);
    let (src, grid) = (call.cast(src, DType::F32)?, call.cast(grid, DType::F32)?);
    let kind = match call.int("interpolation_mode")? {
        0 => ResizeKind::Bilinear,
        1 => ResizeKind::Nearest,
        2 => ResizeKind::Bicubic,
        mode => return Err(format!("argument interpolation_mode = {mode} is not known")),
    };
    let padding = match call.int("padding_mode")? {
        0 => GridPadding::Zeros,
        1 => GridPadding::Border,
        2 => GridPadding::Reflection,
        mode => return Err(format!("argument padding_mode = {mode} is not known")),
    };
    let align_corners = call.flag("align_corners")?;
    call.emit(OpKindT::GridSample(table(|op: &mut GridSampleT| {
        (op.src, op.grid, op.kind, op.padding) = (src, grid, kind, padding);
        op.align_corners = align_corners;
    })))
}
