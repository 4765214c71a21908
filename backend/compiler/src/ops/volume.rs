//! Volumes as planes: depth in front, so that it can join the batch of images. And rows as images of height 1.

use tandem_schemas::program::OpKindT;

use super::view::permute_of;
use super::{emit_reshaped, reshape, reshaped};
use crate::error::Reason;
use crate::graph::ValueId;
use crate::import::Call;

/// `[n, c, d, h, w]` as `[d, n, c, h, w]`.
pub(super) fn planes(
    call: &mut Call<'_, '_>,
    volume: ValueId,
    [n, c, d, h, w]: [usize; 5],
) -> Result<ValueId, Reason> {
    call.temp(&[d, n, c, h, w], permute_of(volume, &[2, 0, 1, 3, 4]))
}

/// Images `[d * n, c, h, w]` as `[n, c, d, h, w]`.
pub(super) fn volume(
    call: &mut Call<'_, '_>,
    images: ValueId,
    [n, c, d, h, w]: [usize; 5],
) -> Result<ValueId, Reason> {
    let planes = reshaped(call, images, &[d, n, c, h, w])?;
    call.temp_like(planes, &[n, c, d, h, w], permute_of(planes, &[1, 2, 0, 3, 4]))
}

/// What an op is on an image.
pub(super) type OnImage<'k> = &'k dyn Fn(ValueId) -> OpKindT;

/// Emits an op on the last `axes` of an argument, which are separable: on images, with or without batch; on rows as
/// images of height 1; on the planes of volumes and then, where there is a `depth`, on columns, each a pixel's depth.
pub(super) fn separate(
    call: &mut Call<'_, '_>,
    (src, axes): (&str, usize),
    planes: OnImage<'_>,
    depth: Option<OnImage<'_>>,
) -> Result<(), Reason> {
    let src = call.tensor(src)?;
    let from = five(call.shape(src), axes)?;
    let ([n, c, d, h, w], [.., to, oh, ow]) = (from, five(&call.out_shape(0)?, axes)?);
    if axes < 3 {
        let src = reshaped(call, src, &[n, c, h, w])?;
        return emit_reshaped(call, &[n, c, oh, ow], planes(src));
    }
    let src = reshaped(call, src, &from)?;
    let src = self::planes(call, src, from)?;
    let src = reshaped(call, src, &[d * n, c, h, w])?;
    let images = call.temp(&[d * n, c, oh, ow], planes(src))?;
    let flat = volume(call, images, [n, c, d, oh, ow])?;
    let Some(depth) = depth else { return call.emit(reshape(flat)) };
    let columns = reshaped(call, flat, &[n, c, d, oh * ow])?;
    emit_reshaped(call, &[n, c, to, oh * ow], depth(columns))
}

/// `[n, c, d, h, w]` of a shape, perhaps without batch, that ends with `axes`.
pub(super) fn five(shape: &[usize], axes: usize) -> Result<[usize; 5], Reason> {
    let mut sizes = [1; 5];
    if ![axes + 1, axes + 2].contains(&shape.len()) {
        return Err(format!("{shape:?} has no batch, channels and {axes} axes"));
    }
    let (front, back) = shape.split_at(shape.len() - axes);
    sizes[2 - front.len()..2].copy_from_slice(front);
    sizes[5 - axes..].copy_from_slice(back);
    Ok(sizes)
}
