//! A run of places is looked up once, then read for every channel: lanes along channels where they are contiguous, else
//! channel by channel.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::place::{Place, place};
use super::{Args, Grid, Kind, Problem, supports};
use crate::kernel::{Family, Kernel, Rates, Workspace};
use crate::product::part;
use crate::simd::{Scalar, Simd, entries};

/// Places looked up at once.
const RUN: usize = 64;
/// Elements written by a tile worth a claim, and most tiles.
const LEAST_WORK: usize = 16 << 10;
const TILES: usize = 24;

/// Places of all images, and in how many tiles.
fn split(p: &Problem) -> [usize; 2] {
    let places = p.dst.elements() / p.dst.size(1).max(1);
    [places, (p.dst.elements() / LEAST_WORK).clamp(1, TILES).min(places)]
}

fn channels_innermost(p: &Problem) -> bool {
    p.dst.size(1) > 1 && p.src.stride(1) == 1 && p.dst.stride(1) == 1
}

fn ns(p: &Problem, rates: &Rates, lanes: usize) -> f64 {
    let ([places, _], taps, channels) = (split(p), p.taps() as f64, p.dst.size(1));
    let each =
        if channels_innermost(p) { 0.4 * channels.div_ceil(lanes) as f64 } else { 0.5 * channels as f64 };
    let looked_up = 20.0 + 3.0 * taps;
    (places as f64 * (looked_up + taps * each)).max(rates.stream_ns(Grid::cost(p).bytes))
}

/// Strides in the grid and in the destination of the images and the dimensions of each.
fn steps(p: &Problem) -> [[usize; 2]; 4] {
    let mut steps = [[0; 2]; 4];
    for (d, step) in steps.iter_mut().enumerate().take(p.src.rank() - 1) {
        *step = [p.grid.stride(d), p.dst.stride(if d == 0 { 0 } else { d + 1 })];
    }
    steps
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
    let [places, parts] = split(p);
    let (rank, axes) = (p.src.rank(), p.axes());
    let steps = steps(p);
    let (sizes, inner) = (&p.grid.sizes()[..rank - 1], p.grid.elements() / axes / p.src.size(0));
    let none = Place { at: [0; 16], weight: [0.0; 16] };
    let (mut found, mut to) = ([none; RUN], [0; RUN]);
    for tile in tiles {
        let range = part(places, parts, tile);
        let mut start = range.start;
        while start < range.end {
            // A run stays in one image.
            let n = start / inner;
            let count = RUN.min(range.end - start).min((n + 1) * inner - start);
            for i in 0..count {
                let [mut at, mut dst] = [0; 2];
                let mut rest = start + i;
                for d in (0..rank - 1).rev() {
                    let index = rest % sizes[d];
                    rest /= sizes[d];
                    at += index * steps[d][0];
                    dst += index * steps[d][1];
                }
                let mut coordinates = [0.0; 3];
                for (d, x) in coordinates[..axes].iter_mut().enumerate() {
                    // SAFETY: `Grid::check` passed, indices are the grid's.
                    *x = unsafe { *args.grid.ptr().add(at + d * p.grid.stride(rank - 1)) };
                }
                (found[i], to[i]) = (place(p, coordinates), dst);
            }
            let run = Run { p, args, src: n * p.src.stride(0), places: &found[..count], to: &to[..count] };
            // SAFETY: `Grid::check` passed, places lie in the source, and the entry point has the instructions.
            unsafe {
                match (p.kind, axes) {
                    (Kind::Nearest, _) => run.all::<V, 1>(),
                    (Kind::Bilinear, 2) => run.all::<V, 4>(),
                    (Kind::Bilinear, _) => run.all::<V, 8>(),
                    (Kind::Bicubic, _) => run.all::<V, 16>(),
                }
            }
            start += count;
        }
    }
}

/// Places of one image, and where their elements go.
struct Run<'a> {
    p: &'a Problem,
    args: &'a Args<'a>,
    src: usize,
    places: &'a [Place],
    to: &'a [usize],
}

impl Run<'_> {
    /// Every channel of every place, from `T` elements each.
    #[inline(always)]
    unsafe fn all<V: Simd, const T: usize>(&self) {
        let (p, channels) = (self.p, self.p.dst.size(1));
        // SAFETY: the caller's.
        unsafe {
            let (src, dst) = (self.args.src.ptr().add(self.src), self.args.dst.ptr());
            if channels_innermost(p) {
                for (place, &to) in self.places.iter().zip(self.to) {
                    pixel::<V, T>(src, place, dst.add(to), channels);
                }
                return;
            }
            for c in 0..channels {
                let (src, dst) = (src.add(c * p.src.stride(1)), dst.add(c * p.dst.stride(1)));
                for (place, &to) in self.places.iter().zip(self.to) {
                    let mut sum = 0.0;
                    for i in 0..T {
                        sum = weighted(*src.add(place.at[i]), place.weight[i], sum);
                    }
                    *dst.add(to) = sum;
                }
            }
        }
    }
}

/// sum + weight * x; what has no weight, such as the substitute for an element outside, does not count, whatever it is.
#[inline(always)]
fn weighted(x: f32, weight: f32, sum: f32) -> f32 {
    if weight == 0.0 { sum } else { x.mul_add(weight, sum) }
}

/// All channels of a place.
#[inline(always)]
unsafe fn pixel<V: Simd, const T: usize>(src: *const f32, place: &Place, dst: *mut f32, channels: usize) {
    // SAFETY: the caller's.
    unsafe {
        for c in (0..channels).step_by(V::LANES) {
            let n = channels - c;
            let mut sum = V::splat(0.0);
            for i in 0..T {
                if place.weight[i] != 0.0 {
                    let from = src.add(place.at[i] + c);
                    let x = if n < V::LANES { V::load_first(from, n) } else { V::load(from) };
                    sum = x.mul_add(V::splat(place.weight[i]), sum);
                }
            }
            if n < V::LANES { sum.store_first(dst.add(c), n) } else { sum.store(dst.add(c)) }
        }
    }
}

entries!(Problem, Args<'_>, run);

/// For any strides, 16 lanes.
pub(super) const AVX512: Kernel<Grid> = Kernel {
    name: "avx512-places",
    isa: Isa::AVX512,
    ns: |p, rates| ns(p, rates, 16),
    run: avx512,
    ..SCALAR
};

/// For any strides, 8 lanes.
pub(super) const AVX2: Kernel<Grid> =
    Kernel { name: "avx2-places", isa: Isa::AVX2, ns: |p, rates| ns(p, rates, 8), run: avx2, ..SCALAR };

/// For any strides, 8 lanes.
pub(super) const NEON: Kernel<Grid> =
    Kernel { name: "neon-places", isa: Isa::NEON, ns: |p, rates| ns(p, rates, 8), run: neon, ..SCALAR };

/// For any strides.
pub(super) const SCALAR: Kernel<Grid> = Kernel {
    name: "scalar-places",
    isa: Isa::SCALAR,
    supports,
    ns: |p, rates| 2.0 * ns(p, rates, 1),
    phases: |_| 1,
    tiles: |p, _| split(p)[1],
    workspace: |_| Workspace::default(),
    run: run::<Scalar>,
};
