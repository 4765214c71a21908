//! Tiles of FEAT_I8MM and FEAT_BF16: two rows times two columns an instruction, eight bytes of k of each.

use std::arch::aarch64::*;
use std::arch::asm;
use std::marker::PhantomData;

use super::halves::by_fours;
use super::weights::{Bytes, Nibbles, Panel, Words, unpack};
use super::{Engine, Groups, Halves, Scales, Tile};

/// Multiplies two rows by two columns.
pub(crate) trait TwoByTwo {
    /// Adds two rows of lhs times two columns of rhs: the first row's sums in the low half.
    ///
    /// # Safety
    /// The CPU has the instruction.
    unsafe fn add(sums: int32x4_t, lhs: int8x16_t, rhs: int8x16_t) -> int32x4_t;
}

macro_rules! instruction {
    ($(#[$doc:meta])* $name:ident, $extension:literal, $instruction:literal) => {
        $(#[$doc])*
        pub(crate) struct $name;

        impl TwoByTwo for $name {
            #[inline(always)]
            unsafe fn add(mut sums: int32x4_t, lhs: int8x16_t, rhs: int8x16_t) -> int32x4_t {
                // SAFETY: the caller's. The intrinsic is not stable.
                unsafe {
                    asm!(
                        concat!(".arch_extension ", $extension),
                        $instruction,
                        sums = inout(vreg) sums, rhs = in(vreg) rhs, lhs = in(vreg) lhs,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                }
                sums
            }
        }
    };
}
instruction!(
    /// FEAT_I8MM: eight i8, exact.
    Smmla, "i8mm", "smmla {sums:v}.4s, {lhs:v}.16b, {rhs:v}.16b"
);
instruction!(
    /// FEAT_BF16: four bf16, two products at a time summed before they are added to f32, subnormal ones as zero.
    Bfmmla, "bf16", "bfmmla {sums:v}.4s, {lhs:v}.8h, {rhs:v}.8h"
);

/// Rows come by pairs; a prepared panel is `[width/8][k/8][8 columns][8 bytes]`.
pub(crate) struct Matrix<M>(PhantomData<M>);

impl<M: TwoByTwo> Engine for Matrix<M> {
    const ROWS: usize = 12;
    const GROUP: usize = 8;
    const PAIRS: bool = true;
    const RATE: f64 = 8.0;

    unsafe fn prepare(panel: Panel, k: usize, _: usize, room: *mut i8) -> Panel {
        // SAFETY: the caller's.
        unsafe {
            if panel.nibbles {
                regroup::<Nibbles>(&panel, k, room)
            } else {
                regroup::<Bytes>(&panel, k, room)
            }
        }
        Panel { at: room.cast_const().cast(), nibbles: false, ..panel }
    }

    unsafe fn sums(tile: &Tile, to: *mut f32) {
        let to = to.cast();
        // SAFETY: the caller's.
        unsafe {
            match tile.rows.div_ceil(2) {
                1 => by_eights::<M, 1>(tile, to),
                2 => by_eights::<M, 2>(tile, to),
                3 => by_eights::<M, 3>(tile, to),
                4 => by_eights::<M, 4>(tile, to),
                5 => by_eights::<M, 5>(tile, to),
                _ => by_eights::<M, 6>(tile, to),
            }
        }
    }
}

impl Halves for Matrix<Bfmmla> {
    unsafe fn fill(from: *const u16, k: usize, to: *mut i8, step: usize) {
        // SAFETY: the caller's.
        unsafe { by_fours(from, k, |i, x| vst1_u16(to.add(i * step).cast(), x)) }
    }
}

impl Groups for Matrix<Smmla> {
    unsafe fn totals(tile: &Tile, scales: &Scales, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            match tile.rows.div_ceil(2) {
                1 => scaled::<1>(tile, scales, to),
                2 => scaled::<2>(tile, scales, to),
                3 => scaled::<3>(tile, scales, to),
                4 => scaled::<4>(tile, scales, to),
                5 => scaled::<5>(tile, scales, to),
                _ => scaled::<6>(tile, scales, to),
            }
        }
    }
}

/// Words of four k become columns of eight.
unsafe fn regroup<W: Words>(panel: &Panel, k: usize, room: *mut i8) {
    let slice = 8 * k.next_multiple_of(8);
    // SAFETY: the caller's.
    unsafe {
        unpack::<W>(panel, k, |eight, column, words| {
            let [low, high] = words.map(|x| vreinterpretq_s32_s8(x));
            let to = room.add(column / 8 * slice + 64 * eight + 8 * (column % 8)).cast();
            vst1q_s32(to, vzip1q_s32(low, high));
            vst1q_s32(to.add(4), vzip2q_s32(low, high));
        });
    }
}

/// Sums over `k` k from `first`, multiples of 8, of 2 P rows and 2 C columns from `column`.
#[inline(always)]
unsafe fn products<M: TwoByTwo, const P: usize, const C: usize>(
    tile: &Tile,
    first: usize,
    k: usize,
    column: usize,
) -> [[int32x4_t; C]; P] {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); C]; P];
        let mut lhs = tile.lhs.add(2 * P * first);
        let slice = column / 8 * 8 * tile.k.next_multiple_of(8);
        let mut rhs = tile.panel.at.cast::<i8>().add(slice + 8 * first + 8 * (column % 8));
        for _ in 0..k / 32 {
            // Written out: the compiler does not unroll a loop over so many sums.
            eight::<M, P, C>(&mut sums, lhs, rhs);
            eight::<M, P, C>(&mut sums, lhs.add(16 * P), rhs.add(64));
            eight::<M, P, C>(&mut sums, lhs.add(32 * P), rhs.add(128));
            eight::<M, P, C>(&mut sums, lhs.add(48 * P), rhs.add(192));
            lhs = lhs.add(64 * P);
            rhs = rhs.add(256);
        }
        for _ in 0..k % 32 / 8 {
            eight::<M, P, C>(&mut sums, lhs, rhs);
            lhs = lhs.add(16 * P);
            rhs = rhs.add(64);
        }
        sums
    }
}

/// Eight k.
#[inline(always)]
unsafe fn eight<M: TwoByTwo, const P: usize, const C: usize>(
    sums: &mut [[int32x4_t; C]; P],
    lhs: *const i8,
    rhs: *const i8,
) {
    // SAFETY: the caller's.
    unsafe {
        let columns: [int8x16_t; C] = std::array::from_fn(|c| vld1q_s8(rhs.add(16 * c)));
        for (p, row) in sums.iter_mut().enumerate() {
            let x = vld1q_s8(lhs.add(16 * p));
            for (sums, columns) in row.iter_mut().zip(columns) {
                *sums = M::add(*sums, x, columns);
            }
        }
    }
}

/// Two rows of two columns and the same of the next two: rows of four columns, and back.
#[inline(always)]
unsafe fn turned(a: int32x4_t, b: int32x4_t) -> [int32x4_t; 2] {
    // SAFETY: the caller's.
    unsafe {
        let [a, b] = [a, b].map(|x| vreinterpretq_s64_s32(x));
        [vtrn1q_s64(a, b), vtrn2q_s64(a, b)].map(|x| vreinterpretq_s32_s64(x))
    }
}

/// [`Engine::sums`] of 2 P rows.
unsafe fn by_eights<M: TwoByTwo, const P: usize>(tile: &Tile, to: *mut i32) {
    for column in (0..tile.panel.width).step_by(8) {
        // SAFETY: the caller's.
        unsafe {
            let sums = products::<M, P, 4>(tile, 0, tile.k.next_multiple_of(8), column);
            for (p, row) in sums.iter().enumerate() {
                let at = to.add(2 * p * tile.panel.width + column);
                for (v, pair) in row.chunks_exact(2).enumerate() {
                    let [first, second] = turned(pair[0], pair[1]);
                    vst1q_s32(at.add(4 * v), first);
                    vst1q_s32(at.add(tile.panel.width + 4 * v), second);
                }
            }
        }
    }
}

/// [`Engine::totals`] of 2 P rows.
unsafe fn scaled<const P: usize>(tile: &Tile, scales: &Scales, to: *mut f32) {
    for column in (0..tile.panel.width).step_by(4) {
        // SAFETY: the caller's.
        unsafe {
            let at = |row: usize| to.cast::<i32>().add(row * tile.panel.width + column);
            let mut totals: [[float32x4_t; 2]; P] = std::array::from_fn(|p| {
                let rows = turned(vld1q_s32(at(2 * p)), vld1q_s32(at(2 * p + 1)));
                rows.map(|x| vreinterpretq_f32_s32(x))
            });
            for group in 0..tile.k / scales.size {
                let sums = products::<Smmla, P, 2>(tile, group * scales.size, scales.size, column);
                let scale = vreinterpretq_s32_f32(vld1q_f32(scales.at.add(group * scales.step + column)));
                let scale = turned(scale, scale).map(|x| vreinterpretq_f32_s32(x));
                for (totals, sums) in totals.iter_mut().zip(sums) {
                    for c in 0..2 {
                        totals[c] = vfmaq_f32(totals[c], vcvtq_f32_s32(sums[c]), scale[c]);
                    }
                }
            }
            for (p, [a, b]) in totals.into_iter().enumerate() {
                let [first, second] = turned(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b));
                vst1q_s32(at(2 * p), first);
                vst1q_s32(at(2 * p + 1), second);
            }
        }
    }
}
