//! Channels-last rows on vectors: lanes along channels.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::window::{divisor, taps};
use super::{Args, Kind, Pool, Problem};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::product::part;
use crate::simd::{Simd, entries};

/// Vectors reduced together, for enough independent chains.
const GROUP: usize = 4;
/// Channels a tile has at least.
const CHANNELS: usize = 64;
/// Elements read by a tile worth a claim.
const LEAST_WORK: usize = 64 << 10;
/// Most tiles to aim for: a few for each of a handful of threads.
const TILES: usize = 24;

/// How a problem is cut: ranges of output rows (of all images) times ranges of channels.
struct Split {
    rows: usize,
    row_parts: usize,
    blocks: usize,
    channel_parts: usize,
    channels: usize,
}

impl Split {
    fn new(p: &Problem) -> Self {
        let (rows, channels) = (p.dst.size(0) * p.dst.size(2), p.dst.size(1));
        let wanted = (Pool::cost(p).flops as usize / LEAST_WORK).clamp(1, TILES);
        let row_parts = wanted.min(rows);
        let blocks = channels.div_ceil(CHANNELS);
        let channel_parts = wanted.div_ceil(row_parts.max(1)).min(blocks);
        Self { rows, row_parts, blocks, channel_parts, channels }
    }

    fn tiles(&self) -> usize {
        self.row_parts * self.channel_parts
    }

    /// Output rows and channels of a tile.
    fn tile(&self, index: usize) -> [Range<usize>; 2] {
        let blocks = part(self.blocks, self.channel_parts, index % self.channel_parts);
        let channels = blocks.start * CHANNELS..(blocks.end * CHANNELS).min(self.channels);
        [part(self.rows, self.row_parts, index / self.channel_parts), channels]
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let contiguous = |s: &tandem_base::Strided| s.stride(1) == 1 || s.size(1) == 1;
    if contiguous(&p.src) && contiguous(&p.dst) { Ok(()) } else { Err("channels are not contiguous") }
}

fn ns(p: &Problem, rates: &Rates, lanes: usize) -> f64 {
    let channels = p.dst.size(1);
    let padded = channels.next_multiple_of(lanes) as f64 / channels.max(1) as f64;
    let cost = Pool::cost(p);
    let pixels = (p.dst.size(0) * p.dst.size(2) * p.dst.size(3)) as f64;
    // An element is read and nothing written, unlike in element-wise work, and a step of half the lanes costs nearly as much
    // as a whole one.
    let reduce = cost.flops * padded / (3.0 * rates.vector_gelems) * (16.0 / lanes as f64).sqrt();
    reduce.max(rates.read_ns(4.0 * p.src.elements() as f64)) + 8.0 * pixels
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
    let split = Split::new(p);
    let ([oh, ow], s, d) = ([p.dst.size(2), p.dst.size(3)], p.src.strides(), p.dst.strides());
    for tile in tiles {
        let [rows, channels] = split.tile(tile);
        for row in rows {
            let (n, oy) = (row / oh, row % oh);
            let y = taps(p, 0, oy);
            for ox in 0..ow {
                let x = taps(p, 1, ox);
                // SAFETY: `Pool::check` passed, taps lie in the source, and the entry point has the instructions.
                unsafe {
                    let window = Patch {
                        src: args.src.ptr().add(n * s[0] + y.first * s[2] + x.first * s[3]),
                        rows: (y.count, y.step * s[2]),
                        columns: (x.count, x.step * s[3]),
                        divisor: divisor(p, &y, &x) as f32,
                    };
                    let dst = args.dst.ptr().add(n * d[0] + oy * d[2] + ox * d[3]);
                    match p.kind {
                        Kind::Max => window.pixel::<V, true>(dst, channels.clone()),
                        Kind::Average => window.pixel::<V, false>(dst, channels.clone()),
                    }
                }
            }
        }
    }
}

/// A window's source: channel 0 of the first tap; taps and elements from one to the next, along y and x.
struct Patch {
    src: *const f32,
    rows: (usize, usize),
    columns: (usize, usize),
    divisor: f32,
}

impl Patch {
    /// Reduces the window for a range of channels.
    #[inline(always)]
    unsafe fn pixel<V: Simd, const MAX: bool>(&self, dst: *mut f32, channels: Range<usize>) {
        let mut c = channels.start;
        // SAFETY: the caller's.
        unsafe {
            while c + GROUP * V::LANES <= channels.end {
                let all = self.reduce::<V, GROUP, MAX>(c, V::LANES);
                for (i, x) in all.into_iter().enumerate() {
                    x.store(dst.add(c + i * V::LANES));
                }
                c += GROUP * V::LANES;
            }
            while c < channels.end {
                let n = (channels.end - c).min(V::LANES);
                let [x] = self.reduce::<V, 1, MAX>(c, n);
                if n == V::LANES {
                    x.store(dst.add(c))
                } else {
                    x.store_first(dst.add(c), n)
                }
                c += n;
            }
        }
    }

    /// `N` vectors of channels from `c` on, the last of them `n` channels wide.
    #[inline(always)]
    unsafe fn reduce<V: Simd, const N: usize, const MAX: bool>(&self, c: usize, n: usize) -> [V; N] {
        // SAFETY: the caller's.
        unsafe {
            let mut all = [V::splat(if MAX { f32::NEG_INFINITY } else { 0.0 }); N];
            for y in 0..self.rows.0 {
                let line = self.src.add(y * self.rows.1 + c);
                // Sums of rows first: errors grow with height + width, not with their product.
                let mut row = [V::splat(0.0); N];
                for x in 0..self.columns.0 {
                    let from = line.add(x * self.columns.1);
                    for i in 0..N {
                        let v = if N > 1 || n == V::LANES {
                            V::load(from.add(i * V::LANES))
                        } else {
                            V::load_first(from, n)
                        };
                        if MAX {
                            all[i] = larger(all[i], v);
                        } else {
                            row[i] = row[i] + v;
                        }
                    }
                }
                if !MAX {
                    for i in 0..N {
                        all[i] = all[i] + row[i];
                    }
                }
            }
            if !MAX {
                for x in &mut all {
                    *x = *x / V::splat(self.divisor);
                }
            }
            all
        }
    }
}

/// The larger of two, NaN where either is, the first where equal.
#[inline(always)]
pub(super) fn larger<V: Simd>(a: V, b: V) -> V {
    b.select(b.nan(), b.max(a))
}

entries!(Problem, Args<'_>, run);

/// Lanes along channels, 16 at a time.
pub(super) const AVX512: Kernel<Pool> = Kernel {
    name: "avx512-channels",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns(p, rates, 16),
    phases: |_| 1,
    tiles: |p, _| Split::new(p).tiles(),
    workspace: |_| Workspace::default(),
    run: avx512,
};

/// Lanes along channels, 8 at a time.
pub(super) const AVX2: Kernel<Pool> = Kernel {
    name: "avx2-channels",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| Split::new(p).tiles(),
    workspace: |_| Workspace::default(),
    run: avx2,
};

/// Lanes along channels, 8 at a time.
pub(super) const NEON: Kernel<Pool> = Kernel {
    name: "neon-channels",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| Split::new(p).tiles(),
    workspace: |_| Workspace::default(),
    run: neon,
};
