//! Rows on vectors: lanes across what is kept where that is contiguous, else along what is reduced.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::scalar::shapes;
use super::{Args, Kind, Problem, Reduce};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::nest::Nest;
use crate::simd::{MAX_LANES, Simd, entries, load_padded};

/// Elements read by a tile.
const TILE: usize = 16 << 10;
/// Elements a lane takes in f32 before it is widened.
const PIECE: usize = 256;

/// What is kept, in source and destination, and what is reduced.
fn nests(p: &Problem) -> (Nest<2>, Nest<1>) {
    let (outer, inner) = shapes(p);
    (Nest::of([&outer, &p.dst]), Nest::of([&inner]))
}

/// Whether neighbours in the source are of different results.
fn across(outer: &Nest<2>) -> bool {
    outer.inner().1[0] == 1
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let (outer, inner) = nests(p);
    if across(&outer) || inner.inner().1 == [1] { Ok(()) } else { Err("elements are not contiguous") }
}

/// Results of a tile.
fn together(p: &Problem) -> usize {
    let results = p.dst.elements().max(1);
    (TILE * results / p.src.elements().max(1)).clamp(1, results).next_multiple_of(MAX_LANES)
}

fn ns(p: &Problem, rates: &Rates, slower: f64) -> f64 {
    let n = p.src.elements() as f64;
    let arithmetic = n * slower / rates.vector_gelems + 10.0 * p.dst.elements() as f64 / slower;
    rates.stream_ns(Reduce::cost(p).bytes).max(arithmetic) + 100.0
}

/// How a kind puts two together.
trait Fold {
    /// What changes nothing.
    const START: f32;
    fn fold<V: Simd>(sum: V, x: V) -> V;
    fn join(sum: f64, x: f64) -> f64;
}

struct Sum;
struct Max;
struct Min;
struct Prod;

impl Fold for Sum {
    const START: f32 = 0.0;
    #[inline(always)]
    fn fold<V: Simd>(sum: V, x: V) -> V {
        sum + x
    }
    #[inline(always)]
    fn join(sum: f64, x: f64) -> f64 {
        sum + x
    }
}

impl Fold for Max {
    const START: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn fold<V: Simd>(sum: V, x: V) -> V {
        // NaN on either side stays: the second operand is what `max` passes.
        x.select(x.nan(), x.max(sum))
    }
    #[inline(always)]
    fn join(sum: f64, x: f64) -> f64 {
        if x > sum || x.is_nan() { x } else { sum }
    }
}

impl Fold for Min {
    const START: f32 = f32::INFINITY;
    #[inline(always)]
    fn fold<V: Simd>(sum: V, x: V) -> V {
        x.select(x.nan(), x.min(sum))
    }
    #[inline(always)]
    fn join(sum: f64, x: f64) -> f64 {
        if x < sum || x.is_nan() { x } else { sum }
    }
}

impl Fold for Prod {
    const START: f32 = 1.0;
    #[inline(always)]
    fn fold<V: Simd>(sum: V, x: V) -> V {
        sum * x
    }
    #[inline(always)]
    fn join(sum: f64, x: f64) -> f64 {
        sum * x
    }
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
    // SAFETY: the caller's.
    unsafe {
        match p.kind {
            Kind::Sum | Kind::Mean => results::<V, Sum>(p, args, tiles),
            Kind::Max => results::<V, Max>(p, args, tiles),
            Kind::Min => results::<V, Min>(p, args, tiles),
            Kind::Prod => results::<V, Prod>(p, args, tiles),
        }
    }
}

#[inline(always)]
unsafe fn results<V: Simd, F: Fold>(p: &Problem, args: &Args<'_>, tiles: Range<usize>) {
    let (outer, inner) = nests(p);
    let (together, stride, down) = (together(p), outer.inner().1, outer.row_strides());
    let range = tiles.start * together..(tiles.end * together).min(outer.elements());
    let divisor = if p.kind == Kind::Mean { inner.elements() as f64 } else { 1.0 };
    for block in outer.blocks(range) {
        for row in 0..block.rows {
            let [from, to] = [0, 1].map(|i| block.at[i] + row * down[i]);
            let mut i = 0;
            while i < block.len {
                let left = block.len - i;
                let mut sums = [f64::from(F::START); 4 * MAX_LANES];
                // SAFETY: `Reduce::check` passed and offsets come from the problem's sizes.
                let n = unsafe {
                    let first = args.src.ptr().add(from + i * stride[0]);
                    match across(&outer) {
                        true if left >= 4 * V::LANES => {
                            columns::<V, F, 4>(&inner, first, V::LANES, &mut sums)
                        }
                        true => columns::<V, F, 1>(&inner, first, left.min(V::LANES), &mut sums),
                        false => line::<V, F>(&inner, first, &mut sums),
                    }
                };
                for (j, sum) in sums[..n].iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { *args.dst.ptr().add(to + (i + j) * stride[1]) = (sum / divisor) as f32 }
                }
                i += n;
            }
        }
    }
}

/// One result for each of W vectors of `lanes` lanes.
#[inline(always)]
unsafe fn columns<V: Simd, F: Fold, const W: usize>(
    inner: &Nest<1>,
    first: *const f32,
    lanes: usize,
    sums: &mut [f64; 4 * MAX_LANES],
) -> usize {
    let (n, step) = (inner.elements(), inner.inner().1[0]);
    let mut lane = [F::START; 4 * MAX_LANES];
    for start in (0..n).step_by(PIECE) {
        // SAFETY: the caller's.
        unsafe {
            let mut all = [V::splat(F::START); W];
            for block in inner.blocks(start..(start + PIECE).min(n)) {
                for row in 0..block.rows {
                    let line = first.add(block.at[0] + row * inner.row_strides()[0]);
                    for i in 0..block.len {
                        for (w, sum) in all.iter_mut().enumerate() {
                            let from = line.add(i * step + w * V::LANES);
                            let x =
                                if lanes == V::LANES { V::load(from) } else { V::load_first(from, lanes) };
                            *sum = F::fold(*sum, x);
                        }
                    }
                }
            }
            for (w, sum) in all.iter().enumerate() {
                sum.store(lane.as_mut_ptr().add(w * V::LANES));
            }
        }
        for (sum, x) in sums.iter_mut().zip(lane) {
            *sum = F::join(*sum, f64::from(x));
        }
    }
    (W - 1) * V::LANES + lanes
}

/// One result of lines of neighbours.
#[inline(always)]
unsafe fn line<V: Simd, F: Fold>(inner: &Nest<1>, first: *const f32, sums: &mut [f64]) -> usize {
    let n = inner.elements();
    let piece = 4 * PIECE * V::LANES;
    for start in (0..n).step_by(piece) {
        // SAFETY: the caller's.
        unsafe {
            let mut all = [V::splat(F::START); 4];
            for block in inner.blocks(start..(start + piece).min(n)) {
                for row in 0..block.rows {
                    let from = first.add(block.at[0] + row * inner.row_strides()[0]);
                    let mut i = 0;
                    while i + 4 * V::LANES <= block.len {
                        for (j, sum) in all.iter_mut().enumerate() {
                            *sum = F::fold(*sum, V::load(from.add(i + j * V::LANES)));
                        }
                        i += 4 * V::LANES;
                    }
                    for i in (i..block.len).step_by(V::LANES) {
                        let x = load_padded::<V>(from.add(i), (block.len - i).min(V::LANES), F::START);
                        all[0] = F::fold(all[0], x);
                    }
                }
            }
            let mut lanes = [F::START; 4 * MAX_LANES];
            for (j, sum) in all.iter().enumerate() {
                sum.store(lanes.as_mut_ptr().add(j * V::LANES));
            }
            sums[0] = lanes.iter().fold(sums[0], |sum, x| F::join(sum, f64::from(*x)));
        }
    }
    1
}

entries!(Problem, Args<'_>, run);

const ROW: Kernel<Reduce> = Kernel {
    name: "",
    isa: Isa::SCALAR,
    supports,
    ns: |p, rates| ns(p, rates, 1.0),
    phases: |_| 1,
    tiles: |p, _| p.dst.elements().div_ceil(together(p)),
    workspace: |_| Workspace::default(),
    run: avx2,
};

/// Sixteen lanes.
pub(super) const AVX512: Kernel<Reduce> =
    Kernel { name: "avx512-lanes", isa: Isa::AVX512, run: avx512, ..ROW };
/// Eight lanes.
pub(super) const AVX2: Kernel<Reduce> =
    Kernel { name: "avx2-lanes", isa: Isa::AVX2, ns: |p, rates| ns(p, rates, 2.0), run: avx2, ..ROW };
/// Eight lanes.
pub(super) const NEON: Kernel<Reduce> =
    Kernel { name: "neon-lanes", isa: Isa::NEON, ns: |p, rates| ns(p, rates, 2.0), run: neon, ..ROW };
