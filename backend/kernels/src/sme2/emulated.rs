//! The matrix unit's contract in scalar Rust.

use super::{Pack, Product, Unit};

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
        for panel in 0..p.panels {
            let first = p.first + panel * p.width;
            for column in first..(first + p.width).min(p.columns) {
                let rhs = p.rhs.wrapping_add(panel * p.rhs_panel + column - first);
                for position in 0..p.groups * 2 * LANES {
                    // SAFETY: the caller's.
                    unsafe {
                        let sum = if position < p.positions { sum::<LANES>(p, rhs, position) } else { 0.0 };
                        *(*p.rows.add(position)).add(column) = finish(p, sum, column);
                    }
                }
            }
        }
    }
}

/// The sum of one position and the column at `rhs`.
unsafe fn sum<const LANES: usize>(p: &Product, mut rhs: *const f32, position: usize) -> f32 {
    let (group, lane) = (position / (2 * LANES), position % (2 * LANES));
    let mut sum = 0f32;
    for run in 0..p.run_count {
        // SAFETY: the caller's.
        unsafe {
            let run = *p.runs.add(run);
            for k in 0..run.count {
                let lhs = p.lhs.add(group * p.lhs_group + run.offset + k * p.lhs_step + lane);
                sum = (*lhs).mul_add(*rhs, sum);
                rhs = rhs.wrapping_add(p.rhs_step);
            }
        }
    }
    sum
}

unsafe fn finish(p: &Product, mut x: f32, column: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        if !p.bias.is_null() {
            x += *p.bias.add(column);
        }
        if let Some(&[lo, hi]) = p.clamp.as_ref()
            && !x.is_nan()
        {
            x = x.max(lo).min(hi);
        }
    }
    x
}
