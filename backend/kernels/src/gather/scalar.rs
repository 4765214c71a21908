//! The definitions; runs that share a place are copied whole.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Gather, Problem, Scatter, Write, wrapped};
use crate::kernel::{Kernel, Workspace};
use crate::nest::{Block, Nest};
use crate::types::{Convert, Number, Type, with_type};

/// Elements of a gather's tile.
const TILE: usize = 16 * 1024;

pub(super) const GATHER: Kernel<Gather> = Kernel {
    name: "scalar-runs",
    isa: Isa::SCALAR,
    supports: |p| if p.fits(&p.src, &p.dst) { Ok(()) } else { Err("sizes do not go together") },
    ns: |p, rates| {
        rates.stream_ns((2 * p.of.width() * p.index.elements()) as f64) + 5.0 * p.index.extent() as f64
    },
    phases: |_| 1,
    tiles: |p, _| p.index.elements().div_ceil(TILE),
    workspace: |_| Workspace::default(),
    run: gather,
};

/// One tile: places may be equal.
pub(super) const SCATTER: Kernel<Scatter> = Kernel {
    name: "scalar-runs",
    isa: Isa::SCALAR,
    supports: |p| match p.of {
        _ if !p.fits(&p.dst, &p.src) => Err("sizes do not go together"),
        Type::F16 | Type::Bf16 if p.write != Write::Put => Err("16-bit floats are combined as f32"),
        _ => Ok(()),
    },
    ns: |p, rates| {
        rates.stream_ns((2 * p.of.width() * p.index.elements()) as f64) + 5.0 * p.index.extent() as f64
    },
    phases: |_| 1,
    tiles: |p, _| p.index.elements().min(1),
    workspace: |_| Workspace::default(),
    run: scatter,
};

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn gather(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let range = tiles.start * TILE..(tiles.end * TILE).min(p.index.elements());
    let (size, step) = (p.src.size(p.dim), p.src.stride(p.dim));
    with_type!(p.of, T => {
        let (src, dst) = (args.src.ptr().cast::<T>(), args.dst.ptr().cast::<T>());
        runs(&p.nest(&p.src, &p.dst), args, range, size, |[to, from], place, n, [to_step, from_step]| {
            let from = from + place * step;
            // SAFETY: the family's check passed, places among it; offsets come from the problem's sizes.
            unsafe {
                if [to_step, from_step] == [1, 1] {
                    dst.add(to).copy_from_nonoverlapping(src.add(from), n);
                } else {
                    (0..n).for_each(|i| *dst.add(to + i * to_step) = *src.add(from + i * from_step));
                }
            }
        });
    });
}

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn scatter(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    _tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    if p.write == Write::Put {
        with_type!(p.of, T => write::<T>(p, args, |_, new| new));
        return;
    }
    with_type!(computed p.of, T => match p.write {
        Write::Mul => write::<T>(p, args, T::mul),
        Write::Max => write::<T>(p, args, Number::max),
        Write::Min => write::<T>(p, args, Number::min),
        _ => write::<T>(p, args, T::add),
    }, unreachable!("`supports`"));
}

/// All of a scatter.
fn write<T: Convert>(p: &Problem, args: &Args<'_>, f: impl Fn(T, T) -> T) {
    let (size, step) = (p.dst.size(p.dim), p.dst.stride(p.dim));
    let (src, dst) = (args.src.ptr().cast::<T>(), args.dst.ptr().cast::<T>());
    let all = 0..p.index.elements();
    runs(&p.nest(&p.dst, &p.src), args, all, size, |[from, to], place, n, [from_step, to_step]| {
        let to = to + place * step;
        for i in 0..n {
            // SAFETY: as above.
            unsafe {
                let to = dst.add(to + i * to_step);
                *to = f(*to, *src.add(from + i * from_step));
            }
        }
    });
}

/// Shows every run of elements with one place: where it begins in both operands, the place, its length, its steps.
#[inline(always)]
fn runs(
    nest: &Nest<3>,
    args: &Args<'_>,
    range: Range<usize>,
    size: usize,
    mut see: impl FnMut([usize; 2], usize, usize, [usize; 2]),
) {
    let ([plain, index, through], down) = (nest.inner().1, nest.row_strides());
    for Block { at, rows, len } in nest.blocks(range) {
        // Where the index stands still the whole row has one place.
        let n = if index == 0 { len } else { 1 };
        for row in 0..rows {
            for start in (0..len).step_by(n.max(1)) {
                let at = [0, 1, 2].map(|o| at[o] + row * down[o] + start * [plain, index, through][o]);
                // SAFETY: the index's length was checked against its extent.
                let place = wrapped(unsafe { *args.index.ptr().add(at[1]) }, size);
                see([at[0], at[2]], place, n, [plain, through]);
            }
        }
    }
}
