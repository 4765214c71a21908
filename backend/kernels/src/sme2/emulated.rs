//! The matrix unit's contract in scalar Rust.

use super::{Copy, Pack, Product, Rows, Segment, Taps, Unit, Unpack};

/// A unit with vectors of `LANES` f32.
pub struct Emulated<const LANES: usize>;

impl<const LANES: usize> Unit for Emulated<LANES> {
    fn lanes() -> usize {
        LANES
    }

    unsafe fn pack(p: &Pack) {
        for group in 0..p.groups {
            for position in 0..2 * LANES {
                // SAFETY: the caller's.
                unsafe {
                    let row = *p.rows.add(group * 2 * LANES + position);
                    for k in 0..p.k {
                        *p.dst.add(group * p.group + k * p.step + position) = *row.add(k);
                    }
                }
            }
        }
    }

    unsafe fn product(p: &Product) {
        let mut segments = p.segments;
        let mut first = p.first;
        for panel in 0..p.panels {
            for block in (0..p.width).step_by(2 * LANES) {
                let columns = p.columns.saturating_sub(first).min(p.width - block).min(2 * LANES);
                let rhs = p.rhs.wrapping_add(panel * p.rhs_panel + block);
                let mut next = segments;
                for position in 0..p.groups * 2 * LANES {
                    let sums = |column: usize| {
                        // SAFETY: the caller's.
                        let sum = unsafe { sum::<LANES>(p, rhs.wrapping_add(column), position) };
                        let at = if segments.is_null() { first + column } else { position };
                        // SAFETY: the caller's.
                        unsafe { finish(p, sum, at) }
                    };
                    // SAFETY: the caller's.
                    unsafe {
                        let row = *p.rows.add(position);
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
                    *to.add(i) = e;
                    sum += e;
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
                    *(*p.rows.add(position)).add(channel) = *p.planes.add(channel * p.step + position);
                }
            }
        }
    }

    unsafe fn copy(copy: &Copy) {
        // SAFETY: the caller's.
        unsafe { copy.every(1) }
    }

    unsafe fn clear(dst: *mut f32, count: usize) {
        // SAFETY: the caller's.
        unsafe { dst.write_bytes(0, count) }
    }
}

/// Stores a block's segments of one row; where the next block's begin.
unsafe fn scatter(mut list: *const Segment, row: *mut f32, sums: impl Fn(usize) -> f32) -> *const Segment {
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
unsafe fn sum<const LANES: usize>(p: &Product, rhs: *const f32, position: usize) -> f32 {
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
                let lhs = *p.lhs.add(group * p.lhs_group + lane + at_lhs);
                sum = lhs.mul_add(*rhs.add(at_rhs), sum);
                k += 1;
            }
        }
    }
    sum
}

/// Bias and clamp of a sum; a bias of nothing where positions do not exist.
unsafe fn finish(p: &Product, x: f32, at: usize) -> f32 {
    let there = p.segments.is_null() || at < p.positions;
    // SAFETY: the caller's.
    unsafe { bounded(x, if there { p.bias } else { std::ptr::null() }, at, p.clamp) }
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
