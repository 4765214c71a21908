//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Kind, Problem, Resize};
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Resize> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Resize::cost(p).flops * 8.0,
    phases: |_| 1,
    tiles: |p, _| p.dst.size(0) * p.dst.size(2),
    workspace: |_| Workspace::default(),
    run,
};

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn run(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let [channels, oh, ow] = [p.dst.size(1), p.dst.size(2), p.dst.size(3)];
    let (s, d) = (p.src.strides(), p.dst.strides());
    for tile in tiles {
        let (n, oy) = (tile / oh, tile % oh);
        let (ys, wy) = taps(p, 0, oy);
        for ox in 0..ow {
            let (xs, wx) = taps(p, 1, ox);
            for c in 0..channels {
                let mut sum = 0f32;
                for (y, wy) in ys.iter().zip(wy) {
                    let mut row = 0f32;
                    for (x, wx) in xs.iter().zip(wx) {
                        if wx != 0.0 {
                            // SAFETY: `Resize::check` passed; taps are clamped to the source.
                            row += wx
                                * unsafe { *args.src.ptr().add(n * s[0] + c * s[1] + y * s[2] + x * s[3]) };
                        }
                    }
                    sum += if wy != 0.0 { wy * row } else { 0.0 };
                }
                // SAFETY: as above.
                unsafe { *args.dst.ptr().add(n * d[0] + c * d[1] + oy * d[2] + ox * d[3]) = sum }
            }
        }
    }
}

/// Source indices and weights of one destination index along y (0) or x (1); unused taps weigh 0.
pub(super) fn taps(p: &Problem, axis: usize, at: usize) -> ([usize; 4], [f32; 4]) {
    let (size, out) = (p.src.size(axis + 2), p.dst.size(axis + 2));
    let clamp = |i: isize| i.clamp(0, size as isize - 1) as usize;
    let step = p.step[axis].map_or(size as f32 / out as f32, |step| step as f32);
    if p.kind == Kind::Nearest {
        return ([clamp((at as f32 * step) as isize), 0, 0, 0], [1.0, 0.0, 0.0, 0.0]);
    }
    let center = if p.align_corners {
        if out > 1 { at as f32 * ((size - 1) as f32 / (out - 1) as f32) } else { 0.0 }
    } else {
        (at as f32 + 0.5) * step - 0.5
    };
    if p.kind == Kind::Bilinear {
        let center = center.max(0.0);
        let first = clamp(center as isize);
        let second = clamp(first as isize + 1);
        let t = (center - first as f32).min(1.0);
        return ([first, second, 0, 0], [1.0 - t, t, 0.0, 0.0]);
    }
    let first = center.floor();
    let t = center - first;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let index = |i: isize| clamp(first as isize + i - 1);
    ([index(0), index(1), index(2), index(3)], [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)])
}

/// PyTorch's cubic coefficient.
const A: f32 = -0.75;
