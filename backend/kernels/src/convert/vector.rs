//! Rows on vectors: runs along the innermost merged dimension; what lies strided passes through a buffer.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Dequantise, Problem, Quantise};
use crate::kernel::{Kernel, Rates, Workspace};
use crate::nest::{Nest, gather, scatter};
use crate::simd::{self, MAX_LANES, Simd};

/// Elements of a tile.
const TILE: usize = 16 * 1024;
/// Elements of the buffers.
const PIECE: usize = 512;

fn tiles(p: &Problem, _phase: usize) -> usize {
    p.dst.elements().div_ceil(TILE)
}

fn nest(p: &Problem) -> Nest<2> {
    Nest::of([&p.dst, &p.src])
}

/// Traffic, or arithmetic at `slower` times the widest vectors' time, and the runs' overhead.
fn ns(p: &Problem, rates: &Rates, slower: f64) -> f64 {
    let (inner, strides) = nest(p).inner();
    let n = p.dst.elements() as f64;
    let strided = strides.iter().filter(|s| **s != 1).count() as f64;
    let arithmetic = n * (slower / rates.vector_gelems + strided);
    rates.stream_ns(5.0 * n).max(arithmetic) + n / inner.max(1) as f64 * 4.0 + 100.0
}

pub(super) mod to_i8 {
    use super::*;

    pub const AVX512: Kernel<Quantise> =
        Kernel { name: "avx512-runs", isa: Isa::AVX512, run: avx512, ns: |p, r| ns(p, r, 1.0), ..ROW };
    pub const AVX2: Kernel<Quantise> = Kernel { name: "avx2-runs", isa: Isa::AVX2, run: avx2, ..ROW };
    /// Some four instructions an element.
    pub const NEON: Kernel<Quantise> =
        Kernel { name: "neon-runs", isa: Isa::NEON, run: neon, ns: |p, r| ns(p, r, 4.5), ..ROW };

    const ROW: Kernel<Quantise> = Kernel {
        name: "",
        isa: Isa::SCALAR,
        supports: |_| Ok(()),
        ns: |p, r| ns(p, r, 2.0),
        phases: |_| 1,
        tiles,
        workspace: |_| Workspace::default(),
        run: avx2,
    };

    simd::entries!(Problem, Args<'_, f32, i8>, run);

    /// # Safety
    /// As [`super::run`].
    #[inline(always)]
    unsafe fn run<V: Simd>(
        p: &Problem,
        args: &Args<'_, f32, i8>,
        _phase: usize,
        tiles: Range<usize>,
        _shared: SpanMut<'_, u8>,
        _scratch: SpanMut<'_, u8>,
    ) {
        // SAFETY: the caller's.
        unsafe { super::run::<V, Quantise>(p, args, tiles) }
    }
}

pub(super) mod from_i8 {
    use super::*;

    pub const AVX512: Kernel<Dequantise> =
        Kernel { name: "avx512-runs", isa: Isa::AVX512, run: avx512, ns: |p, r| ns(p, r, 1.0), ..ROW };
    pub const AVX2: Kernel<Dequantise> = Kernel { name: "avx2-runs", isa: Isa::AVX2, run: avx2, ..ROW };
    /// Some three instructions an element.
    pub const NEON: Kernel<Dequantise> =
        Kernel { name: "neon-runs", isa: Isa::NEON, run: neon, ns: |p, r| ns(p, r, 4.5), ..ROW };

    const ROW: Kernel<Dequantise> = Kernel {
        name: "",
        isa: Isa::SCALAR,
        supports: |_| Ok(()),
        ns: |p, r| ns(p, r, 2.0),
        phases: |_| 1,
        tiles,
        workspace: |_| Workspace::default(),
        run: avx2,
    };

    simd::entries!(Problem, Args<'_, i8, f32>, run);

    /// # Safety
    /// As [`super::run`].
    #[inline(always)]
    unsafe fn run<V: Simd>(
        p: &Problem,
        args: &Args<'_, i8, f32>,
        _phase: usize,
        tiles: Range<usize>,
        _shared: SpanMut<'_, u8>,
        _scratch: SpanMut<'_, u8>,
    ) {
        // SAFETY: the caller's.
        unsafe { super::run::<V, Dequantise>(p, args, tiles) }
    }
}

/// What becomes of neighbours.
trait Conversion {
    type Src: Copy + Default;
    type Dst: Copy + Default;

    /// # Safety
    /// The CPU has the vector's instructions; `n` elements can be read and written.
    unsafe fn convert<V: Simd>(p: &Problem, from: *const Self::Src, to: *mut Self::Dst, n: usize);
}

impl Conversion for Quantise {
    type Src = f32;
    type Dst = i8;

    #[inline(always)]
    unsafe fn convert<V: Simd>(p: &Problem, from: *const f32, to: *mut i8, n: usize) {
        let mut last = [0; MAX_LANES];
        // SAFETY: the caller's; the array has room for any vector.
        unsafe {
            let (inverse, zero) = (V::splat(1.0 / p.affine.scale), V::splat(f32::from(p.affine.zero)));
            let none = V::splat(0.0);
            for at in (0..n).step_by(V::LANES) {
                let left = (n - at).min(V::LANES);
                let x = (V::load_first(from.add(at), left) * inverse).round();
                // Far beyond i8, where adding the zero point is still exact.
                let x = none.select(x.nan(), x).min(V::splat(512.0)).max(V::splat(-512.0));
                let x = (x + zero).min(V::splat(127.0)).max(V::splat(-128.0));
                if left == V::LANES {
                    x.store_i8(to.add(at));
                } else {
                    x.store_i8(last.as_mut_ptr());
                    to.add(at).copy_from_nonoverlapping(last.as_ptr(), left);
                }
            }
        }
    }
}

impl Conversion for Dequantise {
    type Src = i8;
    type Dst = f32;

    #[inline(always)]
    unsafe fn convert<V: Simd>(p: &Problem, from: *const i8, to: *mut f32, n: usize) {
        let mut last = [0; MAX_LANES];
        // SAFETY: the caller's; the array has room for any vector.
        unsafe {
            let (scale, zero) = (V::splat(p.affine.scale), V::splat(f32::from(p.affine.zero)));
            for at in (0..n).step_by(V::LANES) {
                let (left, mut from) = ((n - at).min(V::LANES), from.add(at));
                if left < V::LANES {
                    last.as_mut_ptr().copy_from_nonoverlapping(from, left);
                    from = last.as_ptr();
                }
                ((V::load_i8(from) - zero) * scale).store_first(to.add(at), left);
            }
        }
    }
}

/// # Safety
/// The contract of [`crate::kernel::RunFn`], and the CPU has the vector's instructions.
#[inline(always)]
unsafe fn run<V: Simd, C: Conversion>(p: &Problem, args: &Args<'_, C::Src, C::Dst>, tiles: Range<usize>) {
    let (mut src, mut dst) = ([C::Src::default(); PIECE], [C::Dst::default(); PIECE]);
    let nest = nest(p);
    let ([to_row, from_row], [to_step, from_step]) = (nest.row_strides(), nest.inner().1);
    for block in nest.blocks(tiles.start * TILE..(tiles.end * TILE).min(nest.elements())) {
        for row in 0..block.rows {
            for start in (0..block.len).step_by(PIECE) {
                let n = PIECE.min(block.len - start);
                // SAFETY: the family's check passed; offsets come from the problem's sizes.
                unsafe {
                    let mut from = args.src.ptr().add(block.at[1] + row * from_row + start * from_step);
                    let to = args.dst.ptr().add(block.at[0] + row * to_row + start * to_step);
                    if from_step != 1 {
                        gather(from, from_step, n, src.as_mut_ptr());
                        from = src.as_ptr();
                    }
                    if to_step == 1 {
                        C::convert::<V>(p, from, to, n);
                    } else {
                        C::convert::<V>(p, from, dst.as_mut_ptr(), n);
                        scatter(dst.as_ptr(), to, to_step, n);
                    }
                }
            }
        }
    }
}
