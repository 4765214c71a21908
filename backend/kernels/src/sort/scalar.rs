//! Keys that order as the elements do, with their places, sorted in place; only the wanted ones where that is fewer.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use tandem_base::{Isa, SpanMut};

use super::{ArgSort, Args, Problem};
use crate::elementwise::offset;
use crate::kernel::{Kernel, Refusal, Workspace};
use crate::nest::lines;
use crate::types::{Number, Type, with_type};

pub(super) const ROW: Kernel<ArgSort> = Kernel {
    name: "scalar-select",
    isa: Isa::SCALAR,
    supports,
    ns,
    phases: |_| 1,
    tiles: |p, _| lines(&p.src, p.dim).elements(),
    workspace: |p| Workspace { shared: 0, per_worker: p.src.size(p.dim) * size_of::<Entry>() },
    run,
};

fn supports(p: &Problem) -> Result<(), Refusal> {
    let rank = p.src.rank();
    let same = |d: usize| d == p.dim || p.src.size(d) == p.dst.size(d);
    if p.dim >= rank || p.dst.rank() != rank || !(0..rank).all(same) || p.dst.size(p.dim) > p.src.size(p.dim)
    {
        return Err("sizes do not go together");
    }
    match p.of {
        Type::F16 | Type::Bf16 => Err("16-bit floats are sorted as f32"),
        _ => Ok(()),
    }
}

/// A few comparisons an element, and more for those that are wanted in order.
fn ns(p: &Problem, _: &crate::kernel::Rates) -> f64 {
    let wanted = p.dst.elements() as f64;
    let depth = (p.dst.size(p.dim).max(2) as f64).log2();
    5.0 * p.src.elements() as f64 + 4.0 * depth * wanted
}

/// A key and where it came from.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Entry {
    key: i64,
    place: i64,
}

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn run(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let (n, wanted) = (p.src.size(p.dim), p.dst.size(p.dim));
    // SAFETY: the row's workspace has room for as many entries, aligned to 64.
    let entries = unsafe { std::slice::from_raw_parts_mut(scratch.ptr().cast::<Entry>(), n) };
    let (sources, places) = (lines(&p.src, p.dim), lines(&p.dst, p.dim));
    for tile in tiles {
        let from = offset(&sources, tile);
        with_type!(computed p.of, T => {
            let from = args.src.ptr().cast::<T>().wrapping_add(from);
            for (i, entry) in entries.iter_mut().enumerate() {
                // SAFETY: the family's check passed; offsets come from the problem's sizes.
                let x = unsafe { *from.add(i * p.src.stride(p.dim)) };
                // Inverted, the largest comes first and equal elements still stay in their order.
                let key = if p.descending { !key(x) } else { key(x) };
                *entry = Entry { key, place: i as i64 };
            }
        }, unreachable!("`supports`: not computed in"));
        first(entries, wanted);
        if wanted > 0 {
            let to = args.dst.ptr().wrapping_add(offset(&places, tile));
            for (i, entry) in entries[..wanted].iter().enumerate() {
                // SAFETY: as above.
                unsafe { *to.add(i * p.dst.stride(p.dim)) = entry.place }
            }
        }
    }
}

/// Sorts the first `wanted` entries to the front.
fn first(entries: &mut [Entry], wanted: usize) {
    let order = |a: &Entry, b: &Entry| (a.key, a.place).cmp(&(b.key, b.place));
    if 0 < wanted && wanted < entries.len() {
        entries.select_nth_unstable_by(wanted - 1, order);
    }
    entries[..wanted].sort_unstable_by(order);
}

/// A number that orders as the element does.
fn key<T: Number>(x: T) -> i64 {
    if !T::TYPE.is_float() {
        return x.to_i64();
    }
    let x = x.to_f64();
    if x.is_nan() {
        return i64::MAX;
    }
    // Bits of a sum with 0, which has no sign of its own.
    let bits = (x + 0.0).to_bits() as i64;
    if bits < 0 { bits ^ i64::MAX } else { bits }
}
