//! Rows for images in planes: each source row is resampled along x once, output rows are sums of such rows.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::taps::{MOST, Taps, taps};
use super::{Args, Kind, Problem, Resize};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::product::part;
use crate::simd::{Simd, entries};

/// Elements written by a tile worth a claim, and most tiles.
const LEAST_WORK: usize = 16 << 10;
const TILES: usize = 24;

fn supports(p: &Problem) -> Result<(), Refusal> {
    if p.dst.stride(3) == 1 || p.dst.size(3) == 1 { Ok(()) } else { Err("columns are not contiguous") }
}

fn ns(p: &Problem, rates: &Rates, lanes: usize) -> f64 {
    let taps = p.kind.taps() as f64;
    let [planes, oh, ow] = [p.dst.size(0) * p.dst.size(1), p.dst.size(2), p.dst.size(3)];
    let resampled = (planes * ow) as f64 * (p.src.size(2) as f64).min(oh as f64 * taps);
    let summed = (planes * oh * ow.div_ceil(lanes)) as f64;
    (resampled * (0.5 + 0.4 * taps) + summed * (1.0 + taps) * 0.4).max(rates.stream_ns(Resize::cost(p).bytes))
}

/// Output rows of all planes, and in how many tiles. A tile resamples the source rows it needs itself.
fn split(p: &Problem) -> [usize; 2] {
    let rows = p.dst.size(0) * p.dst.size(1) * p.dst.size(2);
    [rows, (p.dst.elements() / LEAST_WORK).clamp(1, TILES).min(rows)]
}

/// Taps of all columns, then `MOST` resampled rows.
fn workspace(p: &Problem) -> Workspace {
    let ow = p.dst.size(3);
    Workspace { shared: 0, per_worker: ow * size_of::<Taps>() + MOST * ow * size_of::<f32>() }
}

#[inline(always)]
unsafe fn run<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let [rows, parts] = split(p);
    let ow = p.dst.size(3);
    // SAFETY: the scratch is as `workspace` says and aligned to a cache line; a `Taps` is a multiple of an f32 long.
    unsafe {
        let columns = scratch.ptr().cast::<Taps>();
        for x in 0..ow {
            columns.add(x).write(taps(p, 1, x));
        }
        let columns = std::slice::from_raw_parts(columns, ow);
        let mut plane = Plane { p, args, columns, lines: scratch.ptr().add(size_of_val(columns)).cast() };
        for tile in tiles {
            match p.kind {
                Kind::Nearest => plane.rows::<V, 1>(part(rows, parts, tile)),
                Kind::Bilinear => plane.rows::<V, 2>(part(rows, parts, tile)),
                Kind::Bicubic => plane.rows::<V, 4>(part(rows, parts, tile)),
            }
        }
    }
}

struct Plane<'a> {
    p: &'a Problem,
    args: &'a Args<'a>,
    columns: &'a [Taps],
    /// Source row y, resampled, lies in line y % `T`: the rows of one output are neighbours.
    lines: *mut f32,
}

impl Plane<'_> {
    /// Output rows of a range, counted over all planes.
    #[inline(always)]
    unsafe fn rows<V: Simd, const T: usize>(&mut self, rows: Range<usize>) {
        let ([channels, oh, ow], d) = ([1, 2, 3].map(|i| self.p.dst.size(i)), self.p.dst.strides());
        let mut present = [None; T];
        for row in rows {
            let (n, c, oy) = (row / oh / channels, row / oh % channels, row % oh);
            let y = taps(self.p, 0, oy);
            // SAFETY: the caller's; taps lie in the source.
            unsafe {
                let mut lines = [self.lines.cast_const(); T];
                for (i, line) in lines.iter_mut().enumerate() {
                    let slot = y.index[i] % T;
                    let to = self.lines.add(slot * ow);
                    if present[slot] != Some((row / oh, y.index[i])) {
                        self.resample::<T>([n, c, y.index[i]], to);
                        present[slot] = Some((row / oh, y.index[i]));
                    }
                    *line = to;
                }
                let dst = self.args.dst.ptr().add(n * d[0] + c * d[1] + oy * d[2]);
                for x in (0..ow).step_by(V::LANES) {
                    let left = ow - x;
                    let mut sum = V::splat(0.0);
                    for (i, line) in lines.iter().enumerate() {
                        let from = line.add(x);
                        let v = if left < V::LANES { V::load_first(from, left) } else { V::load(from) };
                        sum = if T == 1 { v } else { v.mul_add(V::splat(y.weight[i]), sum) };
                    }
                    let to = dst.add(x);
                    if left < V::LANES { sum.store_first(to, left) } else { sum.store(to) }
                }
            }
        }
    }

    /// Source row (n, c, y) at every output column.
    #[inline(always)]
    unsafe fn resample<const T: usize>(&self, [n, c, y]: [usize; 3], to: *mut f32) {
        let s = self.p.src.strides();
        // SAFETY: the caller's.
        unsafe {
            let from = self.args.src.ptr().add(n * s[0] + c * s[1] + y * s[2]);
            for (i, taps) in self.columns.iter().enumerate() {
                let mut sum = 0.0;
                for j in 0..T {
                    let x = *from.add(taps.index[j] * s[3]);
                    sum = if T == 1 { x } else { x.mul_add(taps.weight[j], sum) };
                }
                *to.add(i) = sum;
            }
        }
    }
}

entries!(Problem, Args<'_>, run);

/// Lanes along columns, 16 at a time.
pub(super) const AVX512: Kernel<Resize> = Kernel {
    name: "avx512-plane",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns(p, rates, 16),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace,
    run: avx512,
};

/// Lanes along columns, 8 at a time.
pub(super) const AVX2: Kernel<Resize> = Kernel {
    name: "avx2-plane",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace,
    run: avx2,
};

/// Lanes along columns, 8 at a time.
pub(super) const NEON: Kernel<Resize> = Kernel {
    name: "neon-plane",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace,
    run: neon,
};
