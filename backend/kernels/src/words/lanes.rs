//! Tiles that take a row's words of k by lanes, a vector of rhs holding a word of four columns.

use std::arch::aarch64::*;
use std::arch::asm;

use super::weights::{Bytes, Nibbles, Panel, Words, unpack};
use super::{Engine, Groups, Scales, Tile};

/// Multiplies words of four k.
pub(crate) trait Dot {
    /// Sums of four columns, in parts.
    type Sums: Copy;

    /// # Safety
    /// The CPU has the instructions.
    unsafe fn zero() -> Self::Sums;

    /// Adds the products of a word of a row, lane `LANE` of lhs, with four columns.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn add<const LANE: i32>(sums: Self::Sums, rhs: int8x16_t, lhs: int8x16_t) -> Self::Sums;

    /// # Safety
    /// The CPU has the instructions.
    unsafe fn total(sums: Self::Sums) -> int32x4_t;
}

/// Products of 16 bits, added by pairs: the baseline.
pub(crate) struct Smull;

impl Dot for Smull {
    /// Two columns each, two sums a column.
    type Sums = [int32x4_t; 2];

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller's.
        unsafe { [vdupq_n_s32(0); 2] }
    }
    #[inline(always)]
    unsafe fn add<const LANE: i32>([a, b]: Self::Sums, rhs: int8x16_t, lhs: int8x16_t) -> Self::Sums {
        // SAFETY: the caller's.
        unsafe {
            let lhs = vreinterpretq_s8_s32(vdupq_laneq_s32::<LANE>(vreinterpretq_s32_s8(lhs)));
            let a = vpadalq_s16(a, vmull_s8(vget_low_s8(rhs), vget_low_s8(lhs)));
            [a, vpadalq_s16(b, vmull_high_s8(rhs, lhs))]
        }
    }
    #[inline(always)]
    unsafe fn total([a, b]: Self::Sums) -> int32x4_t {
        // SAFETY: the caller's.
        unsafe { vpaddq_s32(a, b) }
    }
}

/// FEAT_DotProd.
pub(crate) struct Sdot;

impl Dot for Sdot {
    type Sums = int32x4_t;

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        // SAFETY: the caller's.
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn add<const LANE: i32>(mut sums: Self::Sums, rhs: int8x16_t, lhs: int8x16_t) -> Self::Sums {
        // SAFETY: the caller's: the CPU has it. The intrinsic is not stable.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {rhs:v}.16b, {lhs:v}.4b[{lane}]",
                sums = inout(vreg) sums, rhs = in(vreg) rhs, lhs = in(vreg) lhs, lane = const LANE,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }
    #[inline(always)]
    unsafe fn total(sums: Self::Sums) -> int32x4_t {
        sums
    }
}

impl Engine for Smull {
    const ROWS: usize = 3;
    const GROUP: usize = 16;
    /// SMULL and SADALP are two.
    const RATE: f64 = 1.0;

    unsafe fn sums(tile: &Tile, to: *mut f32) {
        let to = to.cast();
        // SAFETY: the caller's.
        unsafe {
            match tile.rows {
                1 => by_words::<Self, 1, 4>(tile, to),
                2 => by_words::<Self, 2, 4>(tile, to),
                _ => by_words::<Self, 3, 2>(tile, to),
            }
        }
    }
}

impl Groups for Smull {
    unsafe fn totals(tile: &Tile, scales: &Scales, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            match tile.rows {
                1 => scaled::<Self, 1, 4>(tile, scales, to),
                2 => scaled::<Self, 2, 2>(tile, scales, to),
                _ => scaled::<Self, 3, 2>(tile, scales, to),
            }
        }
    }
}

impl Engine for Sdot {
    const ROWS: usize = 8;
    const GROUP: usize = 16;
    const RATE: f64 = 4.0;

    /// i4 becomes i8 where more than a few rows read it.
    unsafe fn prepare(panel: Panel, k: usize, rows: usize, room: *mut i8) -> Panel {
        if !panel.nibbles || rows <= 4 {
            return panel;
        }
        let step = panel.step();
        // SAFETY: the caller's.
        unsafe {
            unpack::<Nibbles>(&panel, k, |eight, column, [low, high]| {
                let to = room.add(2 * eight * step + 4 * column);
                vst1q_s8(to, low);
                vst1q_s8(to.add(step), high);
            });
        }
        Panel { at: room.cast_const().cast(), nibbles: false, ..panel }
    }
    unsafe fn sums(tile: &Tile, to: *mut f32) {
        let to = to.cast();
        // SAFETY: the caller's.
        unsafe {
            match (tile.rows, tile.panel.width) {
                (1, 32) => by_words::<Self, 1, 8>(tile, to),
                (1, _) => by_words::<Self, 1, 4>(tile, to),
                (2, 32) => by_words::<Self, 2, 8>(tile, to),
                (2, _) => by_words::<Self, 2, 4>(tile, to),
                (3, _) => by_words::<Self, 3, 4>(tile, to),
                (4, _) => by_words::<Self, 4, 4>(tile, to),
                (5, _) => by_words::<Self, 5, 2>(tile, to),
                (6, _) => by_words::<Self, 6, 2>(tile, to),
                (7, _) => by_words::<Self, 7, 2>(tile, to),
                _ => by_words::<Self, 8, 2>(tile, to),
            }
        }
    }
}

impl Groups for Sdot {
    unsafe fn totals(tile: &Tile, scales: &Scales, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            match (tile.rows, tile.panel.width) {
                (1, 32) => scaled::<Self, 1, 8>(tile, scales, to),
                (1, _) => scaled::<Self, 1, 4>(tile, scales, to),
                (2, _) => scaled::<Self, 2, 4>(tile, scales, to),
                (3, _) => scaled::<Self, 3, 4>(tile, scales, to),
                (4, _) => scaled::<Self, 4, 2>(tile, scales, to),
                (5, _) => scaled::<Self, 5, 2>(tile, scales, to),
                (6, _) => scaled::<Self, 6, 2>(tile, scales, to),
                (7, _) => scaled::<Self, 7, 1>(tile, scales, to),
                _ => scaled::<Self, 8, 1>(tile, scales, to),
            }
        }
    }
}

/// [`Engine::sums`], 4 V columns at a time.
unsafe fn by_words<D: Dot, const R: usize, const V: usize>(tile: &Tile, to: *mut i32) {
    // SAFETY: the caller's.
    unsafe {
        if tile.panel.nibbles {
            all_columns::<D, Nibbles, R, V>(tile, to);
        } else {
            all_columns::<D, Bytes, R, V>(tile, to);
        }
    }
}

/// [`Engine::sums`] of a form of words.
#[inline(always)]
unsafe fn all_columns<D: Dot, W: Words, const R: usize, const V: usize>(tile: &Tile, to: *mut i32) {
    for column in (0..tile.panel.width).step_by(4 * V) {
        // SAFETY: the caller's.
        unsafe {
            let sums = products::<D, W, R, V>(tile, 0, tile.k, column);
            for (r, row) in sums.iter().enumerate() {
                for (v, sums) in row.iter().enumerate() {
                    vst1q_s32(to.add(r * tile.panel.width + column + 4 * v), *sums);
                }
            }
        }
    }
}

/// [`Engine::totals`], 4 V columns at a time.
unsafe fn scaled<D: Dot, const R: usize, const V: usize>(tile: &Tile, scales: &Scales, to: *mut f32) {
    // SAFETY: the caller's.
    unsafe {
        if tile.panel.nibbles {
            all_scaled::<D, Nibbles, R, V>(tile, scales, to);
        } else {
            all_scaled::<D, Bytes, R, V>(tile, scales, to);
        }
    }
}

/// [`Engine::totals`] of a form of words.
#[inline(always)]
unsafe fn all_scaled<D: Dot, W: Words, const R: usize, const V: usize>(
    tile: &Tile,
    scales: &Scales,
    to: *mut f32,
) {
    for column in (0..tile.panel.width).step_by(4 * V) {
        // SAFETY: the caller's.
        unsafe {
            let at = |r: usize, v: usize| to.add(r * tile.panel.width + column + 4 * v);
            let mut totals = [[vdupq_n_f32(0.0); V]; R];
            for (r, row) in totals.iter_mut().enumerate() {
                for (v, total) in row.iter_mut().enumerate() {
                    *total = vld1q_f32(at(r, v));
                }
            }
            for group in 0..tile.k / scales.size {
                let sums = products::<D, W, R, V>(tile, group * scales.size, scales.size, column);
                let scale = scales.at.add(group * scales.step + column);
                for v in 0..V {
                    let scale = vld1q_f32(scale.add(4 * v));
                    for r in 0..R {
                        totals[r][v] = vfmaq_f32(totals[r][v], vcvtq_f32_s32(sums[r][v]), scale);
                    }
                }
            }
            for (r, row) in totals.iter().enumerate() {
                for (v, total) in row.iter().enumerate() {
                    vst1q_f32(at(r, v), *total);
                }
            }
        }
    }
}

/// Sums over `k` k from `first`, a multiple of 16, of 4 V columns from `column`.
#[inline(always)]
unsafe fn products<D: Dot, W: Words, const R: usize, const V: usize>(
    tile: &Tile,
    first: usize,
    k: usize,
    column: usize,
) -> [[int32x4_t; V]; R] {
    let step = tile.panel.step();
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[D::zero(); V]; R];
        let mut lhs = tile.lhs.add(first * R);
        let mut rhs = tile.panel.at.add(first / 8 * W::EIGHT * step + 4 * column);
        for _ in 0..k / 16 {
            let x = load::<R>(lhs);
            eight::<D, W, 0, 1, R, V>(&mut sums, &x, rhs, step);
            eight::<D, W, 2, 3, R, V>(&mut sums, &x, rhs.add(W::EIGHT * step), step);
            lhs = lhs.add(16 * R);
            rhs = rhs.add(2 * W::EIGHT * step);
        }
        let left = if W::EIGHT == 2 { (k % 16).next_multiple_of(4) } else { (k % 16).next_multiple_of(8) };
        if left > 0 {
            let x = load::<R>(lhs);
            if left >= 8 {
                eight::<D, W, 0, 1, R, V>(&mut sums, &x, rhs, step);
                rhs = rhs.wrapping_add(W::EIGHT * step);
            }
            match left {
                4 => four::<D, 0, R, V>(&mut sums, &x, rhs),
                12 => four::<D, 2, R, V>(&mut sums, &x, rhs),
                16 => eight::<D, W, 2, 3, R, V>(&mut sums, &x, rhs, step),
                _ => {}
            }
        }
        let mut totals = [[vdupq_n_s32(0); V]; R];
        for (to, row) in totals.iter_mut().zip(sums) {
            for (to, sums) in to.iter_mut().zip(row) {
                *to = shifted::<W>(D::total(sums));
            }
        }
        totals
    }
}

/// What the weights' values come times is taken off.
#[inline(always)]
unsafe fn shifted<W: Words>(sums: int32x4_t) -> int32x4_t {
    // SAFETY: the caller's.
    unsafe { if W::SHIFT == 4 { vshrq_n_s32::<4>(sums) } else { sums } }
}

/// 16 k of every row.
#[inline(always)]
unsafe fn load<const R: usize>(lhs: *const i8) -> [int8x16_t; R] {
    // SAFETY: the caller's.
    std::array::from_fn(|r| unsafe { vld1q_s8(lhs.add(16 * r)) })
}

/// Eight k, lanes `A` and `B` of lhs.
#[inline(always)]
unsafe fn eight<D: Dot, W: Words, const A: i32, const B: i32, const R: usize, const V: usize>(
    sums: &mut [[D::Sums; V]; R],
    lhs: &[int8x16_t; R],
    rhs: *const u8,
    step: usize,
) {
    for v in 0..V {
        // SAFETY: the caller's.
        unsafe {
            let [a, b] = W::eight(rhs.add(16 * v), step);
            for (row, x) in sums.iter_mut().zip(lhs) {
                row[v] = D::add::<A>(row[v], a, *x);
            }
            for (row, x) in sums.iter_mut().zip(lhs) {
                row[v] = D::add::<B>(row[v], b, *x);
            }
        }
    }
}

/// Four k of i8, lane `A` of lhs.
#[inline(always)]
unsafe fn four<D: Dot, const A: i32, const R: usize, const V: usize>(
    sums: &mut [[D::Sums; V]; R],
    lhs: &[int8x16_t; R],
    rhs: *const u8,
) {
    for v in 0..V {
        // SAFETY: the caller's.
        unsafe {
            let a = vld1q_s8(rhs.add(16 * v).cast());
            for (row, x) in sums.iter_mut().zip(lhs) {
                row[v] = D::add::<A>(row[v], a, *x);
            }
        }
    }
}
