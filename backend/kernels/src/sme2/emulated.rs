//! The matrix unit's contract in scalar Rust.

use super::{Copy, Pack, Product, Rows, Segment, Taps, Thin, Unit, Unpack};
use crate::element::{Element, Packed};

/// A unit with vectors of `LANES` f32.
pub struct Emulated<const LANES: usize>;

impl<const LANES: usize> Unit for Emulated<LANES> {
    fn lanes() -> usize {
        LANES
    }

    unsafe fn pack<E: Packed>(p: &Pack<E>) {
        let g = E::PER_WORD;
        for group in 0..p.groups {
            for position in 0..2 * LANES {
                // SAFETY: the caller's.
                unsafe {
                    let row = (*p.rows.add(group * 2 * LANES + position)).add(p.first);
                    for k in 0..p.k.next_multiple_of(g) {
                        let to = g * (group * p.group + k / g * p.step + position) + k % g;
                        *p.dst.add(to) = if k < p.k { *row.add(k) } else { E::default() };
                    }
                }
            }
        }
    }

    unsafe fn product<E: Element>(p: &Product<E>) {
        // SAFETY: the caller's.
        unsafe { multiply::<LANES, E, E>(p, p.rows) }
    }

    unsafe fn sums<E: Element>(p: &Product<E>) {
        // SAFETY: the caller's.
        unsafe { multiply::<LANES, E, f32>(p, p.rows.cast()) }
    }

    unsafe fn gemv(p: &Thin) {
        for (row, column) in (0..p.rows).flat_map(|row| (0..p.columns).map(move |column| (row, column))) {
            // SAFETY: the caller's.
            unsafe {
                let rhs = (*p.blocks.add(column / p.width)).add(column % p.width);
                let lhs = p.lhs.add(row * p.lhs_row);
                let sum = (0..p.k).fold(0f32, |sum, k| (*lhs.add(k)).mul_add(*rhs.add(k * p.rhs_step), sum));
                *p.dst.add(row * p.dst_row + column) = bounded(sum, p.bias, column, p.clamp);
            }
        }
    }

    unsafe fn depthwise(p: &Taps) {
        for channel in 0..p.channels {
            for position in 0..p.groups * 4 * LANES {
                // SAFETY: the caller's.
                unsafe {
                    let at = p.plane.add(channel * p.step + position);
                    let sum = (0..p.count).fold(0f32, |sum, tap| {
                        (*at.add(*p.offsets.add(tap))).mul_add(*p.weight.add(tap * p.width + channel), sum)
                    });
                    *p.dst.add(channel * p.dst_step + position) = bounded(sum, p.bias, channel, p.clamp);
                }
            }
        }
    }

    unsafe fn softmax(p: &Rows) {
        for row in 0..p.rows {
            // SAFETY: the caller's; a row is read before it is written where it is the same.
            unsafe {
                let (from, to) = (p.src.add(row * p.src_row), p.dst.add(row * p.dst_row));
                let larger = |a: f32, b: f32| if a.is_nan() || a > b { a } else { b };
                let max = (0..p.len).fold(f32::NEG_INFINITY, |max, i| larger(*from.add(i), max));
                let mut sum = 0f32;
                for i in 0..p.len {
                    let e = (*from.add(i) - max).exp();
                    if p.sums.is_null() {
                        *to.add(i) = e;
                    }
                    sum += e;
                }
                if !p.sums.is_null() {
                    *p.sums.add(row) = [max, sum];
                    continue;
                }
                (0..p.len).for_each(|i| *to.add(i) *= 1.0 / sum);
            }
        }
    }

    unsafe fn unpack(p: &Unpack) {
        for position in 0..p.groups * 2 * LANES {
            for channel in 0..p.channels {
                // SAFETY: the caller's.
                unsafe {
                    let to = (*p.rows.add(position)).add(p.first + channel);
                    *to = *p.planes.add(channel * p.step + position);
                }
            }
        }
    }

    unsafe fn copy<E: Packed>(copy: &Copy<E>) {
        // SAFETY: the caller's.
        unsafe { copy.on_core() }
    }

    unsafe fn splat<E: Packed>(dst: *mut E, count: usize, value: E) {
        // SAFETY: the caller's.
        unsafe { (0..count * E::PER_WORD).for_each(|i| dst.add(i).write(value)) }
    }
}

/// The product of `E` with rows of `D`.
unsafe fn multiply<const LANES: usize, E: Element, D: Element>(p: &Product<E>, rows: *const *mut D) {
    let mut segments = p.segments;
    let mut first = p.first;
    for panel in 0..p.panels {
        for block in (0..p.width).step_by(2 * LANES) {
            let columns = p.columns.saturating_sub(first).min(p.width - block).min(2 * LANES);
            let rhs = p.rhs.wrapping_add(E::PER_WORD * (panel * p.rhs_panel + block));
            let mut next = segments;
            for position in 0..p.groups * 2 * LANES {
                let sums = |column: usize| {
                    // SAFETY: the caller's.
                    let sum = unsafe { sum::<LANES, E>(p, rhs.wrapping_add(E::PER_WORD * column), position) };
                    // SAFETY: the caller's.
                    unsafe { D::from_f32(finish(p, sum, position, first + column)) }
                };
                // SAFETY: the caller's.
                unsafe {
                    let row = *rows.add(position);
                    if segments.is_null() {
                        (0..columns).for_each(|column| *row.add(first + column) = sums(column));
                    } else {
                        next = scatter(segments, row, sums);
                    }
                }
            }
            segments = next;
            first += columns;
        }
    }
}

/// Stores a block's segments of one row; where the next block's begin.
pub(super) unsafe fn scatter<D>(
    mut list: *const Segment,
    row: *mut D,
    sums: impl Fn(usize) -> D,
) -> *const Segment {
    // SAFETY: the caller's.
    unsafe {
        loop {
            let Segment { first, end, offset } = *list;
            list = list.add(1);
            if end == 0 {
                return list;
            }
            for column in first..if row.is_null() { first } else { end } {
                *row.offset(offset + column as isize) = sums(column);
            }
        }
    }
}

/// The sum of one position and the block's column at `rhs`; of nothing for a position that does not exist.
unsafe fn sum<const LANES: usize, E: Element>(p: &Product<E>, rhs: *const E, position: usize) -> f32 {
    if position >= p.positions {
        return 0.0;
    }
    let (group, lane) = (position / (2 * LANES), position % (2 * LANES));
    let (mut sum, mut k) = (0f32, 0);
    for run in 0..p.run_count {
        // SAFETY: the caller's.
        unsafe {
            let run = *p.runs.add(run);
            for i in 0..run.count {
                let (at_lhs, at_rhs) = if p.segments.is_null() {
                    (run.offset + i * p.lhs_step, k * p.rhs_step)
                } else {
                    (k * p.lhs_step, run.offset + i * p.rhs_step)
                };
                for i in 0..E::PER_WORD {
                    let lhs = *p.lhs.add(E::PER_WORD * (group * p.lhs_group + lane + at_lhs) + i);
                    sum = lhs.to_f32().mul_add((*rhs.add(E::PER_WORD * at_rhs + i)).to_f32(), sum);
                }
                k += 1;
            }
        }
    }
    sum
}

/// Bias, residual and clamp of a sum; a bias of nothing where positions do not exist.
unsafe fn finish<E: Element>(p: &Product<E>, sum: f32, position: usize, column: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        if !p.segments.is_null() {
            let bias = if position < p.positions { p.bias } else { std::ptr::null() };
            return bounded(sum, bias, position, p.clamp);
        }
        if p.residuals.is_null() {
            return bounded(sum, p.bias, column, p.clamp);
        }
        let x = bounded(sum, p.bias, column, std::ptr::null());
        bounded(x + (*(*p.residuals.add(position)).add(column)).to_f32(), std::ptr::null(), column, p.clamp)
    }
}

/// Bias number `at`, if there are any, and clamp.
unsafe fn bounded(mut x: f32, bias: *const f32, at: usize, clamp: *const [f32; 2]) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        if !bias.is_null() {
            x += *bias.add(at);
        }
        if let Some(&[lo, hi]) = clamp.as_ref()
            && !x.is_nan()
        {
            x = x.max(lo).min(hi);
        }
    }
    x
}
