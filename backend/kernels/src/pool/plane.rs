//! Rows for images in planes and wide windows: lanes along the window's columns.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::vector::larger;
use super::window::{divisor, taps};
use super::{Args, Kind, Pool, Problem, Window};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::product::part;
use crate::simd::{Simd, entries};

/// Elements read by a tile worth a claim, and most tiles.
const LEAST_WORK: usize = 64 << 10;
const TILES: usize = 24;

fn supports(p: &Problem) -> Result<(), Refusal> {
    let dilated = matches!(p.window, Window::Fixed { dilation: [_, x], .. } if x > 1);
    match () {
        () if p.src.stride(3) != 1 && p.src.size(3) > 1 => Err("columns are not contiguous"),
        () if dilated => Err("dilated along x"),
        () => Ok(()),
    }
}

fn ns(p: &Problem, rates: &Rates, lanes: usize) -> f64 {
    let width = match p.window {
        Window::Adaptive => p.src.size(3).div_ceil(p.dst.size(3).max(1)),
        Window::Fixed { kernel, .. } => kernel[1],
    };
    let cost = Pool::cost(p);
    let steps = cost.flops / width.max(1) as f64 * width.div_ceil(lanes) as f64;
    (steps + 12.0 * p.dst.elements() as f64).max(rates.stream_ns(cost.bytes))
}

/// Output rows of all planes, and in how many tiles.
fn split(p: &Problem) -> [usize; 2] {
    let rows = p.dst.size(0) * p.dst.size(1) * p.dst.size(2);
    [rows, (Pool::cost(p).flops as usize / LEAST_WORK).clamp(1, TILES).min(rows)]
}

#[inline(always)]
unsafe fn run<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let [rows, parts] = split(p);
    let ([channels, oh, ow], s, d) = ([1, 2, 3].map(|i| p.dst.size(i)), p.src.strides(), p.dst.strides());
    for row in tiles.flat_map(|tile| part(rows, parts, tile)) {
        let (n, c, oy) = (row / oh / channels, row / oh % channels, row % oh);
        let y = taps(p, 0, oy);
        for ox in 0..ow {
            let x = taps(p, 1, ox);
            // SAFETY: `Pool::check` passed, taps lie in the source, and the entry point has the instructions.
            unsafe {
                let from = args.src.ptr().add(n * s[0] + c * s[1] + y.first * s[2] + x.first);
                let lines = (y.count, y.step * s[2]);
                let value = match p.kind {
                    Kind::Max => largest::<V>(from, lines, x.count),
                    Kind::Average => sum::<V>(from, lines, x.count) / divisor(p, &y, &x) as f32,
                };
                *args.dst.ptr().add(n * d[0] + c * d[1] + oy * d[2] + ox * d[3]) = value;
            }
        }
    }
}

/// Sum of `lines.0` lines of `n` elements, `lines.1` apart.
#[inline(always)]
unsafe fn sum<V: Simd>(from: *const f32, lines: (usize, usize), n: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let mut all = V::splat(0.0);
        for y in 0..lines.0 {
            let line = from.add(y * lines.1);
            let mut row = V::splat(0.0);
            for x in (0..n).step_by(V::LANES) {
                let left = n - x;
                row = row
                    + if left < V::LANES { V::load_first(line.add(x), left) } else { V::load(line.add(x)) };
            }
            all = all + row;
        }
        all.sum()
    }
}

/// Largest of `lines.0` lines of `n` elements, `lines.1` apart; NaN if any is.
#[inline(always)]
unsafe fn largest<V: Simd>(from: *const f32, lines: (usize, usize), n: usize) -> f32 {
    let mut rest = f32::NEG_INFINITY;
    // SAFETY: the caller's.
    unsafe {
        let mut all = V::splat(f32::NEG_INFINITY);
        for y in 0..lines.0 {
            let line = from.add(y * lines.1);
            let mut x = 0;
            while x + V::LANES <= n {
                all = larger(all, V::load(line.add(x)));
                x += V::LANES;
            }
            if n >= V::LANES {
                // Elements met twice do no harm.
                all = larger(all, V::load(line.add(n - V::LANES)));
            } else {
                for x in 0..n {
                    let b = *line.add(x);
                    rest = if b > rest || b.is_nan() { b } else { rest };
                }
            }
        }
        match all.largest() {
            _ if V::any(all.nan()) => f32::NAN,
            all if all > rest => all,
            _ => rest,
        }
    }
}

entries!(Problem, Args<'_>, run);

/// Lanes along columns, 16 at a time.
pub(super) const AVX512: Kernel<Pool> = Kernel {
    name: "avx512-plane",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns(p, rates, 16),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace: |_| Workspace::default(),
    run: avx512,
};

/// Lanes along columns, 8 at a time.
pub(super) const AVX2: Kernel<Pool> = Kernel {
    name: "avx2-plane",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace: |_| Workspace::default(),
    run: avx2,
};

/// Lanes along columns, 8 at a time.
pub(super) const NEON: Kernel<Pool> = Kernel {
    name: "neon-plane",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace: |_| Workspace::default(),
    run: neon,
};
