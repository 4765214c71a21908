//! The scalar reference row: the definition itself, any strides.

use std::iter::StepBy;
use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Kind, Pool, Problem, Window};
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Pool> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Pool::cost(p).flops * 1.5 + Pool::cost(p).bytes,
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
        for ox in 0..ow {
            let ([ys, xs], divisor) = window(p, [oy, ox]);
            for c in 0..channels {
                let all = ys.clone().flat_map(|y| xs.clone().map(move |x| (y, x))).map(|(y, x)| {
                    // SAFETY: `Pool::check` passed; windows are clipped to the source.
                    unsafe { *args.src.ptr().add(n * s[0] + c * s[1] + y * s[2] + x * s[3]) }
                });
                let value = match p.kind {
                    Kind::Max => all.fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a }),
                    Kind::Average => (all.map(f64::from).sum::<f64>() / divisor) as f32,
                };
                // SAFETY: as above.
                unsafe { *args.dst.ptr().add(n * d[0] + c * d[1] + oy * d[2] + ox * d[3]) = value }
            }
        }
    }
}

/// Source rows and columns of an output position's window, and the divisor of its average.
pub(super) fn window(p: &Problem, at: [usize; 2]) -> ([StepBy<Range<usize>>; 2], f64) {
    let mut ranges = [(0..0).step_by(1), (0..0).step_by(1)];
    let (mut inside, mut padded) = (1, 1);
    let mut fixed = 0;
    for axis in 0..2 {
        let (size, out) = (p.src.size(axis + 2), p.dst.size(axis + 2));
        match p.window {
            Window::Adaptive => {
                let (from, to) = (at[axis] * size / out, ((at[axis] + 1) * size).div_ceil(out));
                ranges[axis] = (from..to).step_by(1);
                inside *= to - from;
            }
            Window::Fixed { kernel, stride, padding, dilation, divisor, .. } => {
                fixed = divisor;
                let (start, dilation) = (at[axis] * stride[axis], dilation[axis]);
                let end = start + (kernel[axis] - 1) * dilation + 1;
                let skipped = padding[axis].saturating_sub(start).div_ceil(dilation);
                let from = start + skipped * dilation;
                let to = end.min(size + padding[axis]);
                let (from, to) = (from - padding[axis].min(from), to.saturating_sub(padding[axis]));
                ranges[axis] = (from..to.max(from)).step_by(dilation);
                inside *= ranges[axis].len();
                padded *= end.min(size + padding[axis] + padding[axis + 2]) - start;
            }
        }
    }
    let counts_pad = matches!(p.window, Window::Fixed { count_include_pad: true, .. });
    let divisor = match (fixed, counts_pad) {
        (0, true) => padded,
        (0, false) => inside,
        (n, _) => n,
    };
    (ranges, divisor as f64)
}
