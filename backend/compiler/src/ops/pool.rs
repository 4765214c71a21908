//! Max and average pooling, fixed windows and adaptive ones, of one to three dimensions, and where maxima are.

use tandem_schemas::program::{AdaptivePoolT, BinaryKind, DType, OpKindT, PoolKind, PoolT};

use super::binary::pair;
use super::index::gather;
use super::volume::{five, planes, separate, volume};
use super::{Row, reshape, reshaped};
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.max_pool1d.default", |c| max(c, 1)),
    ("aten.max_pool2d.default", |c| max(c, 2)),
    ("aten.max_pool2d_with_indices.default", |c| max(c, 2)),
    ("aten.max_pool3d.default", |c| max(c, 3)),
    ("aten.max_pool3d_with_indices.default", |c| max(c, 3)),
    ("aten.avg_pool1d.default", |c| average(c, 1)),
    ("aten.avg_pool2d.default", |c| average(c, 2)),
    ("aten.avg_pool3d.default", |c| average(c, 3)),
    ("aten.adaptive_avg_pool1d.default", |c| adaptive(c, 1, PoolKind::Average)),
    ("aten.adaptive_avg_pool2d.default", |c| adaptive(c, 2, PoolKind::Average)),
    ("aten._adaptive_avg_pool2d.default", |c| adaptive(c, 2, PoolKind::Average)),
    ("aten.adaptive_avg_pool3d.default", |c| adaptive(c, 3, PoolKind::Average)),
    ("aten._adaptive_avg_pool3d.default", |c| adaptive(c, 3, PoolKind::Average)),
    ("aten.adaptive_max_pool1d.default", |c| adaptive(c, 1, PoolKind::Max)),
    ("aten.adaptive_max_pool2d.default", |c| adaptive(c, 2, PoolKind::Max)),
    ("aten.adaptive_max_pool3d.default", |c| adaptive(c, 3, PoolKind::Max)),
];

/// A window of [depth, y, x]. `ceil_mode` shows in the output's size only.
struct Window {
    kind: PoolKind,
    kernel: [u32; 3],
    stride: [u32; 3],
    padding: [u32; 3],
    dilation: [u32; 3],
    count_include_pad: bool,
    divisor: u32,
}

impl Window {
    fn of(call: &Call<'_, '_>, axes: usize, kind: PoolKind) -> Result<Self, Reason> {
        let kernel = call.axes("kernel_size", axes, [1; 3])?;
        let (padding, dilation) = (call.axes("padding", axes, [0; 3])?, call.axes("dilation", axes, [1; 3])?);
        let stride =
            call.axes("stride", axes, if call.ints("stride")?.is_empty() { kernel } else { [1; 3] })?;
        if padding.iter().zip(&kernel).any(|(&p, &k)| 2 * p > k) {
            return Err(format!("padding {padding:?} is more than half of kernel {kernel:?}"));
        }
        Ok(Self { kind, kernel, stride, padding, dilation, count_include_pad: true, divisor: 0 })
    }

    /// The window along [y, x] of images.
    fn op(&self, src: ValueId, divisor: u32, along: impl Fn([u32; 3], u32) -> [u32; 2]) -> OpKindT {
        let [y, x] = along(self.padding, 0);
        OpKindT::Pool(table(|op: &mut PoolT| {
            (op.src, op.kind, op.padding) = (src, self.kind, vec![y, x, y, x]);
            (op.kernel, op.stride) = (along(self.kernel, 1).into(), along(self.stride, 1).into());
            op.dilation = along(self.dilation, 1).into();
            (op.count_include_pad, op.divisor) = (self.count_include_pad, divisor);
        }))
    }
}

/// Maxima as output 0, their places in the source as output 1.
fn max(call: &mut Call<'_, '_>, axes: usize) -> Result<(), Reason> {
    let window = Window::of(call, axes, PoolKind::Max)?;
    if call.output(1).is_some() {
        let along = |src, kind, deep: bool| {
            let of = Window { kind, ..window };
            if deep {
                of.op(src, 0, |[depth, ..], none| [depth, none])
            } else {
                of.op(src, 0, |[_, y, x], _| [y, x])
            }
        };
        places(call, axes, &along)?;
    }
    fixed(call, axes, &window)
}

/// A pool of a value: of the planes of an image, or of the columns of a volume.
type Pooled<'k> = &'k dyn Fn(ValueId, PoolKind, bool) -> OpKindT;

/// Emits where in their planes or volumes maxima are, as output 1: of a volume where in their planes those of the planes
/// are, looked up where their maxima are along the depth.
fn places(call: &mut Call<'_, '_>, axes: usize, pool: Pooled<'_>) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    let src = call.cast(src, DType::F32)?;
    let from = five(call.shape(src), axes)?;
    let ([n, c, d, h, w], [.., to, oh, ow]) = (from, five(&call.out_shape(1)?, axes)?);
    if axes < 3 {
        let image = reshaped(call, src, &[n, c, h, w])?;
        let places = call.temp_of(DType::I64, &[n, c, oh, ow], pool(image, PoolKind::ArgMax, false))?;
        return call.emit_at(1, reshape(places));
    }
    let (src, area) = (reshaped(call, src, &from)?, oh * ow);
    let src = planes(call, src, from)?;
    let (src, sizes) = (reshaped(call, src, &[d * n, c, h, w])?, [n, c, d, oh, ow]);
    let maxima = call.temp(&[d * n, c, oh, ow], pool(src, PoolKind::Max, false))?;
    let inside = call.temp_of(DType::I64, &[d * n, c, oh, ow], pool(src, PoolKind::ArgMax, false))?;
    let (maxima, inside) = (volume(call, maxima, sizes)?, volume(call, inside, sizes)?);
    let maxima = reshaped(call, maxima, &[n, c, d, area])?;
    let deepest = call.temp_of(DType::I64, &[n, c, to, area], pool(maxima, PoolKind::ArgMax, true))?;
    let deepest = reshaped(call, deepest, &[n, c, to * area])?;
    let inside = reshaped(call, inside, &[n, c, d * area])?;
    let inside = call.temp_like(inside, &[n, c, to * area], gather(inside, deepest, 2))?;
    let (area, plane) = (
        call.add_number("area", DType::I64, area as f64),
        call.add_number("plane", DType::I64, (h * w) as f64),
    );
    let depth = pair(call, deepest, area, BinaryKind::FloorDiv)?;
    let before = pair(call, depth, plane, BinaryKind::Mul)?;
    let place = pair(call, before, inside, BinaryKind::Add)?;
    call.emit_at(1, reshape(place))
}

fn average(call: &mut Call<'_, '_>, axes: usize) -> Result<(), Reason> {
    let divisor = call.int_or("divisor_override", 0)?;
    let divisor = u32::try_from(divisor).map_err(|_| format!("argument divisor_override = {divisor}"))?;
    let count_include_pad = !call.has("count_include_pad") || call.flag("count_include_pad")?;
    let window = Window { count_include_pad, divisor, ..Window::of(call, axes, PoolKind::Average)? };
    fixed(call, axes, &window)
}

fn fixed(call: &mut Call<'_, '_>, axes: usize, window: &Window) -> Result<(), Reason> {
    let deep = (window.kernel[0], window.stride[0], window.padding[0]) != (1, 1, 0);
    // A divisor given is that of the whole window.
    let rest = window.divisor.min(1);
    let planes = |src| window.op(src, window.divisor, |[_, y, x], _| [y, x]);
    let depth = |src| window.op(src, rest, |[depth, ..], none| [depth, none]);
    separate(call, ("self", axes), &planes, deep.then_some(&depth))
}

fn adaptive(call: &mut Call<'_, '_>, axes: usize, kind: PoolKind) -> Result<(), Reason> {
    let src = call.tensor("self")?;
    if call.output(1).is_some() {
        let along = |src, kind, _| {
            OpKindT::AdaptivePool(table(|op: &mut AdaptivePoolT| (op.src, op.kind) = (src, kind)))
        };
        places(call, axes, &along)?;
    }
    let deep = axes == 3 && call.shape(src).iter().rev().nth(2) != call.out_shape(0)?.iter().rev().nth(2);
    let pool = |src| OpKindT::AdaptivePool(table(|op: &mut AdaptivePoolT| (op.src, op.kind) = (src, kind)));
    separate(call, ("self", axes), &pool, deep.then_some(&pool))
}
