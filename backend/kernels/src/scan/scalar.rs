//! The definition, a line at a time.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Kind, Problem, Scan};
use crate::elementwise::offset;
use crate::kernel::{Kernel, Refusal, Workspace};
use crate::nest::lines;
use crate::types::{Convert, Number, Type, cast, with_type};

pub(super) const ROW: Kernel<Scan> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports,
    ns: |p, _| if p.kind == Kind::LogSumExp { 40.0 } else { 2.0 } * p.src.elements() as f64 + 20.0 * lines(&p.src, p.dim).elements() as f64,
    phases: |_| 1,
    tiles: |p, _| lines(&p.src, p.dim).elements().div_ceil(batch(p)),
    workspace: |_| Workspace::default(),
    run,
};

fn supports(p: &Problem) -> Result<(), Refusal> {
    if p.dim >= p.src.rank() || p.src.sizes() != p.dst.sizes() {
        return Err("sizes do not go together");
    }
    match p.of {
        Type::F16 | Type::Bf16 => Err("16-bit floats are summed as f32"),
        of if p.kind == Kind::LogSumExp && of != Type::F32 => Err("exponentials are of f32"),
        _ => Ok(()),
    }
}

/// Lines of a tile.
fn batch(p: &Problem) -> usize {
    (4096 / p.src.size(p.dim).max(1)).max(1)
}

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
    let (from, to) = (lines(&p.src, p.dim), lines(&p.dst, p.dim));
    for index in tiles.start * batch(p)..(tiles.end * batch(p)).min(from.elements()) {
        let (from, to) = (offset(&from, index), offset(&to, index));
        let (src, dst) = (args.src.ptr(), args.dst.ptr());
        // SAFETY: the family's check passed; offsets come from the problem's sizes.
        unsafe {
            if p.kind == Kind::LogSumExp {
                exponentials(p, src.cast::<f32>().add(from), dst.cast::<f32>().add(to));
            } else if matches!(p.kind, Kind::ArgMax | Kind::ArgMin) {
                with_type!(computed p.of, T => {
                    places::<T>(p, src.cast::<T>().add(from), dst.cast::<i64>().add(to));
                }, unreachable!("`supports`: not computed in"));
            } else if p.of == Type::F32 {
                line::<f32, f64>(p, src.cast::<f32>().add(from), dst.cast::<f32>().add(to));
            } else {
                with_type!(computed p.of, T => {
                    line::<T, T>(p, src.cast::<T>().add(from), dst.cast::<T>().add(to));
                }, unreachable!("`supports`: not computed in"));
            }
        }
    }
}

/// A line of elements of T, accumulated in A.
///
/// # Safety
/// Every element of the line can be read and written.
unsafe fn line<T: Convert, A: Number>(p: &Problem, from: *const T, to: *mut T) {
    let f = if p.kind == Kind::Sum { A::add } else { A::mul };
    let mut total = if p.kind == Kind::Sum { A::default() } else { A::ONE };
    for i in 0..p.src.size(p.dim) {
        // SAFETY: the caller's.
        unsafe {
            total = f(total, cast(*from.add(i * p.src.stride(p.dim))));
            *to.add(i * p.dst.stride(p.dim)) = cast(total);
        }
    }
}

/// A line of places of extremes.
///
/// # Safety
/// As [`line`].
unsafe fn places<T: Number>(p: &Problem, from: *const T, to: *mut i64) {
    let (mut best, mut extreme) = (0, None::<T>);
    for i in 0..p.src.size(p.dim) {
        // SAFETY: the caller's.
        unsafe {
            let x = *from.add(i * p.src.stride(p.dim));
            let wins = |old: T| match p.kind {
                _ if old.is_nan() => x.is_nan(),
                Kind::ArgMax => x >= old || x.is_nan(),
                _ => x <= old || x.is_nan(),
            };
            if extreme.is_none_or(wins) {
                (best, extreme) = (i, Some(x));
            }
            *to.add(i * p.dst.stride(p.dim)) = best as i64;
        }
    }
}

/// A line of logarithms of sums of exponentials: the sum is kept relative to the largest so far.
///
/// # Safety
/// As [`line`].
unsafe fn exponentials(p: &Problem, from: *const f32, to: *mut f32) {
    let (mut largest, mut sum) = (f64::NEG_INFINITY, 0f64);
    for i in 0..p.src.size(p.dim) {
        // SAFETY: the caller's.
        unsafe {
            let x = f64::from(*from.add(i * p.src.stride(p.dim)));
            if x > largest {
                sum = sum * (largest - x).exp() + 1.0;
                largest = x;
            } else {
                sum += if x == largest { 1.0 } else { (x - largest).exp() };
            }
            // Infinity less itself is no number, but counts as equal.
            let total = if largest.is_infinite() && !sum.is_nan() { largest } else { largest + sum.ln() };
            *to.add(i * p.dst.stride(p.dim)) = total as f32;
        }
    }
}
