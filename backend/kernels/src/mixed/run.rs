//! Rows: loops the compiler vectorises, over runs along the innermost merged dimension.

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Pod;
use tandem_base::{Isa, SpanMut};

use super::{Args, Func, Mixed, Problem, supports};
use crate::kernel::{Family, Kernel, Rates, Workspace};
use crate::nest::{Nest, gather, scatter};
use crate::simd::{self, Scalar, Simd, Work};
use crate::types::{Bool, Convert, Number, cast, with_type};

pub(super) const AVX512: Kernel<Mixed> =
    Kernel { name: "avx512-runs", isa: Isa::AVX512, run: avx512, ns: |p, r| ns(p, r, 1.0), ..SCALAR };
pub(super) const AVX2: Kernel<Mixed> =
    Kernel { name: "avx2-runs", isa: Isa::AVX2, run: avx2, ns: |p, r| ns(p, r, 2.0), ..SCALAR };
pub(super) const NEON: Kernel<Mixed> =
    Kernel { name: "neon-runs", isa: Isa::NEON, run: neon, ns: |p, r| ns(p, r, 2.0), ..SCALAR };

/// The definition.
pub(super) const SCALAR: Kernel<Mixed> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports,
    ns: |p, r| ns(p, r, 16.0),
    phases: |_| 1,
    tiles: |p, _| p.dst.elements().div_ceil(TILE),
    workspace: |_| Workspace::default(),
    run: run::<Scalar>,
};

/// Elements of a tile.
const TILE: usize = 16 * 1024;
/// Elements worked on at once: what lies strided is packed into buffers of this size.
const PIECE: usize = 256;

fn nest(p: &Problem) -> Nest<4> {
    let none = [0; tandem_base::strided::MAX_RANK];
    let src = |i: usize| p.src.get(i).map_or(&none[..], |shape| shape.strides());
    Nest::new(p.dst.sizes(), [p.dst.strides(), src(0), src(1), src(2)])
}

/// Traffic, or arithmetic at `slower` times the widest vectors' time, and the runs' overhead.
fn ns(p: &Problem, rates: &Rates, slower: f64) -> f64 {
    let (inner, strides) = nest(p).inner();
    let n = p.dst.elements() as f64;
    let strided = strides[..=p.src.len()].iter().filter(|s| **s != 1).count() as f64;
    let arithmetic = n * (2.0 * slower / rates.vector_gelems + strided);
    rates.stream_ns(Mixed::cost(p).bytes).max(arithmetic) + n / inner.max(1) as f64 * 5.0 + 100.0
}

simd::entries!(Problem, Args<'_>, run);

/// # Safety
/// The contract of [`crate::kernel::RunFn`], and the CPU has the vector's instructions.
unsafe fn run<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let nest = nest(p);
    let (steps, down) = (nest.inner().1, nest.row_strides());
    let widths = [0, 1, 2, 3].map(|o| if o == 0 { p.to.width() } else { p.operand(o - 1).width() });
    let arity = p.src.len();
    let direct = steps[..=arity].iter().all(|step| *step == 1);
    let mut packed = Packed([[0; 8 * PIECE]; 4]);
    for block in nest.blocks(tiles.start * TILE..(tiles.end * TILE).min(nest.elements())) {
        let piece = if direct { block.len } else { PIECE.min(block.len) };
        for row in 0..block.rows {
            for start in (0..block.len).step_by(piece) {
                let n = piece.min(block.len - start);
                let at = |o: usize| (block.at[o] + row * down[o] + start * steps[o]) * widths[o];
                // SAFETY: the caller's; offsets come from the problem's sizes.
                unsafe {
                    let mut src = [std::ptr::null(); 3];
                    for (o, src) in (1..=arity).zip(&mut src) {
                        *src = args.src[o - 1].ptr().add(at(o));
                        if steps[o] != 1 {
                            pack(*src, steps[o], n, widths[o], packed.0[o].as_mut_ptr());
                            *src = packed.0[o].as_ptr();
                        }
                    }
                    // What a function does not take is read as well, and has no effect.
                    let first = src[0];
                    src[arity..].fill(first);
                    let last = args.dst.ptr().add(at(0));
                    let to = if steps[0] == 1 { last } else { packed.0[0].as_mut_ptr() };
                    compute::<V>(p, Piece { src, dst: to, n });
                    if steps[0] != 1 {
                        unpack(to, last, steps[0], n, widths[0]);
                    }
                }
            }
        }
    }
}

/// The destination and three operands, packed.
#[repr(align(64))]
struct Packed([[u8; 8 * PIECE]; 4]);

/// Copies `n` elements of a width in bytes, `step` apart, next to each other.
///
/// # Safety
/// They can be read, `to` written; both are aligned to the elements.
unsafe fn pack(from: *const u8, step: usize, n: usize, width: usize, to: *mut u8) {
    // SAFETY: the caller's.
    unsafe {
        match width {
            1 => gather(from, step, n, to),
            2 => gather(from.cast::<u16>(), step, n, to.cast()),
            4 => gather(from.cast::<u32>(), step, n, to.cast()),
            _ => gather(from.cast::<u64>(), step, n, to.cast()),
        }
    }
}

/// The way back.
///
/// # Safety
/// As [`pack`], which reads what this writes.
unsafe fn unpack(from: *const u8, to: *mut u8, step: usize, n: usize, width: usize) {
    // SAFETY: the caller's.
    unsafe {
        match width {
            1 => scatter(from, to, step, n),
            2 => scatter(from.cast::<u16>(), to.cast(), step, n),
            4 => scatter(from.cast::<u32>(), to.cast(), step, n),
            _ => scatter(from.cast::<u64>(), to.cast(), step, n),
        }
    }
}

/// `n` elements of each operand and the destination, next to each other.
#[derive(Clone, Copy)]
struct Piece {
    src: [*const u8; 3],
    dst: *mut u8,
    n: usize,
}

/// dst = f(x, y, z)
struct Each<X, Y, D, F: Fn(X, Y, Y) -> D> {
    of: Piece,
    f: F,
    types: PhantomData<fn(X, Y) -> D>,
}

impl<X: Pod, Y: Pod, D: Pod, F: Fn(X, Y, Y) -> D> Work for Each<X, Y, D, F> {
    /// # Safety
    /// As [`compute`], elements of these types.
    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let Self { of, f, .. } = self;
        let (x, [y, z]) = (of.src[0].cast::<X>(), [1, 2].map(|i| of.src[i].cast::<Y>()));
        for i in 0..of.n {
            // SAFETY: the caller's.
            unsafe { *of.dst.cast::<D>().add(i) = f(*x.add(i), *y.add(i), *z.add(i)) }
        }
    }
}

/// dst = func(x, y, z)
///
/// # Safety
/// The family's check passed; operands and destination have the problem's types and can be read and written.
unsafe fn compute<V: Simd>(p: &Problem, of: Piece) {
    // SAFETY: the caller's.
    unsafe {
        match p.func {
            Func::Cast => with_type!(p.of, S => with_type!(p.to, D => unary::<V, S, D>(of, cast::<S, D>))),
            Func::Select => match p.of.width() {
                1 => select::<V, u8>(of),
                2 => select::<V, u16>(of),
                4 => select::<V, u32>(of),
                _ => select::<V, u64>(of),
            },
            func => {
                with_type!(computed p.of, T => number::<V, T>(func, of), unreachable!("`supports`: not computed in"))
            }
        }
    }
}

/// # Safety
/// As [`compute`].
unsafe fn number<V: Simd, T: Number>(func: Func, of: Piece) {
    // SAFETY: the caller's.
    unsafe {
        match func {
            Func::Neg => unary::<V, T, T>(of, T::neg),
            Func::Abs => unary::<V, T, T>(of, T::abs),
            Func::Sign => unary::<V, T, T>(of, T::sign),
            Func::Not => unary::<V, T, T>(of, T::not),
            Func::Add => binary::<V, T, T>(of, T::add),
            Func::Sub => binary::<V, T, T>(of, T::sub),
            Func::Mul => binary::<V, T, T>(of, T::mul),
            Func::Max => binary::<V, T, T>(of, T::max),
            Func::Min => binary::<V, T, T>(of, T::min),
            Func::FloorDiv => binary::<V, T, T>(of, T::floor_div),
            Func::TruncDiv => binary::<V, T, T>(of, T::trunc_div),
            Func::Remainder => binary::<V, T, T>(of, T::remainder),
            Func::Fmod => binary::<V, T, T>(of, T::fmod),
            Func::And => binary::<V, T, T>(of, T::and),
            Func::Or => binary::<V, T, T>(of, T::or),
            Func::Xor => binary::<V, T, T>(of, T::xor),
            Func::ShiftLeft => binary::<V, T, T>(of, T::shift_left),
            Func::ShiftRight => binary::<V, T, T>(of, T::shift_right),
            Func::Eq => binary::<V, T, Bool>(of, |x, y| Bool::from(x == y)),
            Func::Ne => binary::<V, T, Bool>(of, |x, y| Bool::from(x != y)),
            Func::Lt => binary::<V, T, Bool>(of, |x, y| Bool::from(x < y)),
            Func::Le => binary::<V, T, Bool>(of, |x, y| Bool::from(x <= y)),
            Func::Gt => binary::<V, T, Bool>(of, |x, y| Bool::from(x > y)),
            Func::Ge => binary::<V, T, Bool>(of, |x, y| Bool::from(x >= y)),
            Func::Cast | Func::Select => unreachable!("the caller's"),
        }
    }
}

/// # Safety
/// As [`compute`], the operand and the destination of these types.
unsafe fn unary<V: Simd, S: Convert, D: Convert>(of: Piece, f: impl Fn(S) -> D) {
    // SAFETY: the caller's.
    unsafe { V::apart(Each { of, f: |x: S, _: S, _: S| f(x), types: PhantomData }) }
}

/// # Safety
/// As [`compute`], operands and destination of these types.
unsafe fn binary<V: Simd, S: Convert, D: Convert>(of: Piece, f: impl Fn(S, S) -> D) {
    // SAFETY: the caller's.
    unsafe { V::apart(Each { of, f: |x: S, y: S, _: S| f(x, y), types: PhantomData }) }
}

/// # Safety
/// As [`compute`], for elements of the width.
unsafe fn select<V: Simd, T: Pod>(of: Piece) {
    // SAFETY: the caller's.
    unsafe { V::apart(Each { of, f: |x: Bool, y: T, z: T| if x.get() { y } else { z }, types: PhantomData }) }
}
