//! The 36 products: for each frequency, tiles x channels times channels x columns.

use super::ahead::{LINE, Lines};
use super::plan::{BLOCK, Run};
use crate::simd::Simd;

/// Rows of tiles times the columns of a panel, over the channels of a chunk.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// Inputs `[block][tile][16]`, at the first block and tile.
    pub lhs: *const f32,
    /// Distance between blocks.
    pub step: usize,
    /// Filters `[channel][width]`.
    pub rhs: *const f32,
    /// Products `[tile][width]`.
    pub dst: *mut f32,
    /// Channel blocks of each segment.
    pub runs: &'a [Run],
    /// Lines to ask into L2 meanwhile, one every second channel.
    pub ahead: &'a [Lines],
    /// Whether dst holds the sum over earlier chunks.
    pub accumulate: bool,
}

/// `ROWS` tiles times `COLUMNS` vectors, sums in registers, k in order.
#[inline(always)]
pub(super) unsafe fn multiply<V: Simd, const ROWS: usize, const COLUMNS: usize>(p: &Product<'_>) {
    // SAFETY: the caller answers for every address the description reaches and has the instruction set enabled.
    unsafe {
        let width = COLUMNS * V::LANES;
        let mut sums = [[V::splat(0.0); COLUMNS]; ROWS];
        if p.accumulate {
            for (r, row) in sums.iter_mut().enumerate() {
                for (c, sum) in row.iter_mut().enumerate() {
                    *sum = V::load(p.dst.add(r * width + c * V::LANES));
                }
            }
        }
        let (mut lhs, mut rhs) = (p.lhs, p.rhs);
        let mut later = p.ahead.iter();
        let mut ahead = Lines { first: p.rhs.cast(), count: 0 };
        for run in p.runs {
            for _ in 0..run.full {
                for k in (0..BLOCK).step_by(4) {
                    if ahead.count == 0
                        && let Some(&lines) = later.next()
                    {
                        ahead = lines;
                    }
                    if ahead.count > 0 {
                        prefetch(ahead.first);
                        prefetch(ahead.first.wrapping_add(LINE));
                        ahead.first = ahead.first.wrapping_add(2 * LINE);
                        ahead.count = ahead.count.saturating_sub(2);
                    }
                    if V::FOURS {
                        let mut rows = [lhs; ROWS];
                        for (r, row) in rows.iter_mut().enumerate() {
                            *row = row.add(r * BLOCK);
                        }
                        V::by_fours(&mut sums, &rows, k..k + 4, rhs.add(k * width), width);
                        continue;
                    }
                    for k in k..k + 4 {
                        step::<V, ROWS, COLUMNS>(&mut sums, lhs.add(k), rhs.add(k * width));
                    }
                }
                lhs = lhs.add(p.step);
                rhs = rhs.add(BLOCK * width);
            }
            if run.tail > 0 {
                for k in 0..run.tail {
                    step::<V, ROWS, COLUMNS>(&mut sums, lhs.add(k), rhs.add(k * width));
                }
                lhs = lhs.add(p.step);
                rhs = rhs.add(run.tail * width);
            }
        }
        for (r, row) in sums.iter().enumerate() {
            for (c, sum) in row.iter().enumerate() {
                sum.store(p.dst.add(r * width + c * V::LANES));
            }
        }
    }
}

#[inline(always)]
unsafe fn step<V: Simd, const ROWS: usize, const COLUMNS: usize>(
    sums: &mut [[V; COLUMNS]; ROWS],
    lhs: *const f32,
    rhs: *const f32,
) {
    // SAFETY: as for `multiply`.
    unsafe {
        let mut columns = [V::splat(0.0); COLUMNS];
        for (c, column) in columns.iter_mut().enumerate() {
            *column = V::load(rhs.add(c * V::LANES));
        }
        for (r, row) in sums.iter_mut().enumerate() {
            let x = V::splat(*lhs.add(r * BLOCK));
            for (sum, column) in row.iter_mut().zip(columns) {
                *sum = x.mul_add(column, *sum);
            }
        }
    }
}

/// Asks for the cache line of an address, which need not exist, into L2.
#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, without effect where the address does not exist.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; no memory or flags change.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
