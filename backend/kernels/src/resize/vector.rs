//! Channels-last rows on vectors: lanes along channels.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::taps::{Taps, taps};
use super::{Args, Kind, Problem, Resize};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::product::part;
use crate::simd::{Simd, entries};

/// Elements written by a tile worth a claim, and most tiles.
const LEAST_WORK: usize = 32 << 10;
const TILES: usize = 24;

fn supports(p: &Problem) -> Result<(), Refusal> {
    let contiguous = |s: &tandem_base::Strided| s.stride(1) == 1 || s.size(1) == 1;
    if contiguous(&p.src) && contiguous(&p.dst) { Ok(()) } else { Err("channels are not contiguous") }
}

fn ns(p: &Problem, rates: &Rates, lanes: usize) -> f64 {
    let pixels = (p.dst.size(0) * p.dst.size(2) * p.dst.size(3)) as f64;
    let vectors = pixels * p.dst.size(1).div_ceil(lanes) as f64;
    let taps = p.kind.taps();
    (vectors * (taps * taps + 1) as f64 * 0.4 + 8.0 * pixels).max(rates.stream_ns(Resize::cost(p).bytes))
}

/// Output rows of all images, and in how many tiles.
fn split(p: &Problem) -> [usize; 2] {
    let rows = p.dst.size(0) * p.dst.size(2);
    [rows, (p.dst.elements() / LEAST_WORK).clamp(1, TILES).min(rows)]
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
        let (n, oy) = (row / oh, row % oh);
        let y = taps(p, 0, oy);
        for ox in 0..ow {
            let x = taps(p, 1, ox);
            // SAFETY: `Resize::check` passed, taps lie in the source, and the entry point has the instructions.
            unsafe {
                let src = args.src.ptr().add(n * s[0]);
                let dst = args.dst.ptr().add(n * d[0] + oy * d[2] + ox * d[3]);
                match p.kind {
                    Kind::Nearest => {
                        pixel::<V, 1>(src, [&y, &x], [s[2], s[3]], dst, channels);
                    }
                    Kind::Bilinear => {
                        pixel::<V, 2>(src, [&y, &x], [s[2], s[3]], dst, channels);
                    }
                    Kind::Bicubic => {
                        pixel::<V, 4>(src, [&y, &x], [s[2], s[3]], dst, channels);
                    }
                }
            }
        }
    }
}

/// All channels of an output pixel from `T` x `T` source pixels.
#[inline(always)]
unsafe fn pixel<V: Simd, const T: usize>(
    src: *const f32,
    [y, x]: [&Taps; 2],
    strides: [usize; 2],
    dst: *mut f32,
    channels: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut from = [[src; T]; T];
        for (i, row) in from.iter_mut().enumerate() {
            for (j, from) in row.iter_mut().enumerate() {
                *from = src.add(y.index[i] * strides[0] + x.index[j] * strides[1]);
            }
        }
        for c in (0..channels).step_by(V::LANES) {
            let n = channels - c;
            let mut sum = V::splat(0.0);
            for (i, line) in from.iter().enumerate() {
                let mut row = V::splat(0.0);
                for (j, from) in line.iter().enumerate() {
                    let at = from.add(c);
                    let v = if n < V::LANES { V::load_first(at, n) } else { V::load(at) };
                    row = if T == 1 { v } else { v.mul_add(V::splat(x.weight[j]), row) };
                }
                sum = if T == 1 { row } else { row.mul_add(V::splat(y.weight[i]), sum) };
            }
            if n < V::LANES { sum.store_first(dst.add(c), n) } else { sum.store(dst.add(c)) }
        }
    }
}

entries!(Problem, Args<'_>, run);

/// Lanes along channels, 16 at a time.
pub(super) const AVX512: Kernel<Resize> = Kernel {
    name: "avx512-channels",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns(p, rates, 16),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace: |_| Workspace::default(),
    run: avx512,
};

/// Lanes along channels, 8 at a time.
pub(super) const AVX2: Kernel<Resize> = Kernel {
    name: "avx2-channels",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace: |_| Workspace::default(),
    run: avx2,
};

/// Lanes along channels, 8 at a time.
pub(super) const NEON: Kernel<Resize> = Kernel {
    name: "neon-channels",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace: |_| Workspace::default(),
    run: neon,
};
