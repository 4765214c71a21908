//! The definition, with runs of the last reduced dimension in a loop of their own.

use std::ops::{ControlFlow, Range};

use tandem_base::strided::MAX_RANK;
use tandem_base::{Isa, SpanMut, Strided};

use super::{Args, Fold, Kind, Problem};
use crate::elementwise::offset;
use crate::kernel::{Kernel, Refusal, Workspace};
use crate::types::{Bool, Number, Type, with_type};

pub(super) const ROW: Kernel<Fold> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports,
    ns: |p, _| p.src.elements() as f64 + 20.0 * p.dst.elements() as f64,
    phases: |_| 1,
    tiles: |p, _| p.dst.elements().div_ceil(outputs(p)),
    workspace: |_| Workspace::default(),
    run,
};

/// Outputs of a tile.
fn outputs(p: &Problem) -> usize {
    (16 * 1024 * p.dst.elements() / p.src.elements().max(1)).max(1)
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    if matches!(p.of, Type::F16 | Type::Bf16) {
        return Err("16-bit floats are reduced as f32");
    }
    if p.kind == Kind::Mean && !p.of.is_float() {
        return Err("whole numbers have no mean of their type");
    }
    let extreme = matches!(p.kind, Kind::Max | Kind::Min | Kind::ArgMax | Kind::ArgMin);
    if extreme && p.src.elements() == 0 && p.dst.elements() > 0 {
        return Err("nothing has no extremes");
    }
    Ok(())
}

/// Sizes and strides of the reduced dimensions.
fn reduced(p: &Problem) -> Strided {
    let (mut sizes, mut strides, mut rank) = ([1; MAX_RANK], [0; MAX_RANK], 0);
    for d in (0..p.src.rank()).filter(|d| p.dims >> d & 1 == 1) {
        (sizes[rank], strides[rank]) = (p.src.size(d), p.src.stride(d));
        rank += 1;
    }
    Strided::new(&sizes[..rank.max(1)], &strides[..rank.max(1)])
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
    let reduced = reduced(p);
    let first = Strided::new(p.dst.sizes(), &p.src.strides()[..p.dst.rank()]);
    for index in tiles.start * outputs(p)..(tiles.end * outputs(p)).min(p.dst.elements()) {
        let (from, to) = (offset(&first, index), offset(&p.dst, index));
        // SAFETY: the family's check passed; offsets come from the problem's sizes.
        with_type!(computed p.of, T => unsafe {
            let from = args.src.ptr().cast::<T>().add(from);
            one(p.kind, from, &reduced, args.dst.ptr(), to);
        }, unreachable!("`supports`: not computed in"));
    }
}

/// One output, element `to` of the destination.
///
/// # Safety
/// All elements of the shape can be read, the output be written.
unsafe fn one<T: Number>(kind: Kind, from: *const T, shape: &Strided, dst: *mut u8, to: usize) {
    // SAFETY: the caller's.
    unsafe {
        match kind {
            Kind::Sum => *dst.cast::<T>().add(to) = accumulate(from, shape, T::default(), T::add),
            Kind::Prod => *dst.cast::<T>().add(to) = accumulate(from, shape, T::ONE, T::mul),
            Kind::Mean => {
                let sum: f64 = accumulate(from, shape, 0.0, |sum, x: T| sum + x.to_f64());
                *dst.cast::<T>().add(to) = T::from_f64(sum / shape.elements() as f64);
            }
            Kind::Max => *dst.cast::<T>().add(to) = accumulate(from, shape, *from, T::max),
            Kind::Min => *dst.cast::<T>().add(to) = accumulate(from, shape, *from, T::min),
            Kind::Any | Kind::All => {
                let ends = kind == Kind::Any;
                let found = walk(from, shape, |_, x| stop((x != T::default()) == ends));
                *dst.cast::<Bool>().add(to) = Bool::from(found.is_break() == ends);
            }
            Kind::ArgMax => *dst.cast::<i64>().add(to) = arg(from, shape, |x, best| x > best),
            Kind::ArgMin => *dst.cast::<i64>().add(to) = arg(from, shape, |x, best| x < best),
        }
    }
}

fn stop(when: bool) -> ControlFlow<()> {
    if when { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// # Safety
/// As [`walk`].
unsafe fn accumulate<T: Copy, A: Copy>(
    from: *const T,
    shape: &Strided,
    mut sum: A,
    f: impl Fn(A, T) -> A,
) -> A {
    // SAFETY: the caller's.
    let _ = unsafe {
        walk(from, shape, |_, x| {
            sum = f(sum, x);
            ControlFlow::Continue(())
        })
    };
    sum
}

/// Number of the first element that is better than all, or NaN.
///
/// # Safety
/// As [`walk`], with at least one element.
unsafe fn arg<T: Number>(from: *const T, shape: &Strided, better: impl Fn(T, T) -> bool) -> i64 {
    // SAFETY: the caller's.
    unsafe {
        let (mut best, mut at) = (*from, 0);
        let _ = walk(from, shape, |i, x| {
            if better(x, best) || x.is_nan() {
                (best, at) = (x, i);
            }
            stop(best.is_nan())
        });
        at as i64
    }
}

/// Shows every element and its number in row-major order, until told to stop.
///
/// # Safety
/// All elements of the shape can be read.
#[inline(always)]
unsafe fn walk<T: Copy>(
    from: *const T,
    shape: &Strided,
    mut see: impl FnMut(usize, T) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let last = shape.rank() - 1;
    let (n, step) = (shape.size(last), shape.stride(last));
    for row in 0..shape.elements() / n.max(1) {
        let first = offset(shape, row * n);
        for i in 0..n {
            // SAFETY: the caller's.
            see(row * n + i, unsafe { *from.add(first + i * step) })?;
        }
    }
    ControlFlow::Continue(())
}
