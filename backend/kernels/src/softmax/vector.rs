//! Rows on vectors: lanes along the dimension where it is contiguous, else across neighbouring rows.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::scalar::rows;
use super::{Args, Problem, Softmax, row};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::nest::Nest;
use crate::simd::{Simd, entries, math};

/// Elements of a tile.
const TILE: usize = 8 << 10;

/// The rows in source and destination.
fn nest(p: &Problem) -> Nest<2> {
    let rows = rows(p);
    Nest::of([&rows, &Strided::new(rows.sizes(), p.dst.strides())])
}

/// Whether a row's elements are neighbours.
fn along(p: &Problem) -> bool {
    (p.src.stride(p.dim), p.dst.stride(p.dim)) == (1, 1)
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    if along(p) || nest(p).inner().1 == [1, 1] { Ok(()) } else { Err("elements are not contiguous") }
}

/// Rows of a tile.
fn together(p: &Problem) -> usize {
    (TILE / p.src.size(p.dim).max(1)).max(1).next_multiple_of(if along(p) { 1 } else { 16 })
}

fn ns(p: &Problem, rates: &Rates, slower: f64) -> f64 {
    let n = p.dst.elements() as f64;
    let rows = n / p.src.size(p.dim).max(1) as f64;
    rates.stream_ns(Softmax::cost(p).bytes).max(n * 2.1 * slower / rates.vector_gelems) + 40.0 * rows
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
    let (nest, together, n) = (nest(p), together(p), p.src.size(p.dim));
    let rows = tiles.start * together..(tiles.end * together).min(nest.elements());
    let (src, dst) = (args.src.ptr(), args.dst.ptr());
    let (inner, down) = (nest.inner().1, nest.row_strides());
    for block in nest.blocks(rows) {
        for row in 0..block.rows {
            let [from, to] = [0, 1].map(|i| block.at[i] + row * down[i]);
            // SAFETY: `Softmax::check` passed, offsets come from the problem's sizes, and the entry point has the
            // instructions.
            unsafe {
                if along(p) {
                    for i in 0..block.len {
                        one::<V>(src.add(from + i * inner[0]), dst.add(to + i * inner[1]), n, p.log);
                    }
                } else {
                    for i in (0..block.len).step_by(V::LANES) {
                        let lanes = (block.len - i).min(V::LANES);
                        across::<V>(p, src.add(from + i), dst.add(to + i), lanes);
                    }
                }
            }
        }
    }
}

/// A row of `n` neighbours.
#[inline(always)]
unsafe fn one<V: Simd>(src: *const f32, dst: *mut f32, n: usize, log: bool) {
    // SAFETY: the caller's.
    unsafe {
        let max = row::largest::<V>(src, n);
        if !log {
            let sum = row::exponentials::<V, true>(src, dst, n, [1.0, max]);
            return row::scale::<V>(dst, n, 1.0 / sum);
        }
        let sum = row::exponentials::<V, false>(src, dst, n, [1.0, max]);
        let (max, ln) = (V::splat(max), V::splat(f64::from(sum).ln() as f32));
        row::vectors!(V, n, |i, lanes| {
            let y = (V::load_first(src.add(i), lanes) - max) - ln;
            y.store_first(dst.add(i), lanes);
        });
    }
}

/// `lanes` neighbouring rows.
#[inline(always)]
unsafe fn across<V: Simd>(p: &Problem, src: *const f32, dst: *mut f32, lanes: usize) {
    let (n, from, to) = (p.src.size(p.dim), p.src.stride(p.dim), p.dst.stride(p.dim));
    // SAFETY: the caller's.
    unsafe {
        let mut max = V::splat(f32::NEG_INFINITY);
        for i in 0..n {
            max = V::load_first(src.add(i * from), lanes).peak(max);
        }
        let mut sum = V::splat(0.0);
        for i in 0..n {
            let e = math::exp_negative(V::load_first(src.add(i * from), lanes) - max);
            sum = sum + e;
            if !p.log {
                e.store_first(dst.add(i * to), lanes);
            }
        }
        let (factor, ln) = (V::splat(1.0) / sum, math::log(sum));
        for i in 0..n {
            let y = match p.log {
                true => (V::load_first(src.add(i * from), lanes) - max) - ln,
                false => V::load_first(dst.add(i * to), lanes) * factor,
            };
            y.store_first(dst.add(i * to), lanes);
        }
    }
}

entries!(Problem, Args<'_>, run);

const ROW: Kernel<Softmax> = Kernel {
    name: "",
    isa: Isa::SCALAR,
    supports,
    ns: |p, rates| ns(p, rates, 1.0),
    phases: |_| 1,
    tiles: |p, _| rows(p).elements().div_ceil(together(p)),
    workspace: |_| Workspace::default(),
    run: avx2,
};

/// Sixteen lanes.
pub(super) const AVX512: Kernel<Softmax> =
    Kernel { name: "avx512-rows", isa: Isa::AVX512, run: avx512, ..ROW };
/// Eight lanes.
pub(super) const AVX2: Kernel<Softmax> =
    Kernel { name: "avx2-rows", isa: Isa::AVX2, ns: |p, rates| ns(p, rates, 1.2), run: avx2, ..ROW };
/// Eight lanes.
pub(super) const NEON: Kernel<Softmax> =
    Kernel { name: "neon-rows", isa: Isa::NEON, ns: |p, rates| ns(p, rates, 1.6), run: neon, ..ROW };
