//! Tiles of 16-bit floats multiplied as f32: rows are f32 already, weights become f32 as they are read.

use std::arch::aarch64::*;
use std::arch::asm;
use std::marker::PhantomData;

use super::{Engine, Halves, Tile};

/// A 16-bit float of NEON's baseline.
pub(crate) trait Half {
    /// Four values.
    ///
    /// # Safety
    /// The CPU has NEON.
    unsafe fn widen(x: uint16x4_t) -> float32x4_t;

    /// A word of eight columns: its first k, then its second.
    ///
    /// # Safety
    /// The CPU has NEON.
    unsafe fn word(words: [uint16x8_t; 2]) -> [[float32x4_t; 2]; 2];
}

impl Half for crate::element::bf16 {
    #[inline(always)]
    unsafe fn widen(x: uint16x4_t) -> float32x4_t {
        // SAFETY: the caller's.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(x)) }
    }
    #[inline(always)]
    unsafe fn word(words: [uint16x8_t; 2]) -> [[float32x4_t; 2]; 2] {
        // SAFETY: the caller's. A bf16 is the high half of its f32.
        unsafe {
            let [a, b] = words.map(|x| vreinterpretq_u32_u16(x));
            let high = vdupq_n_u32(0xffff_0000);
            [[vshlq_n_u32::<16>(a), vshlq_n_u32::<16>(b)], [vandq_u32(a, high), vandq_u32(b, high)]]
                .map(|pair| pair.map(|x| vreinterpretq_f32_u32(x)))
        }
    }
}

impl Half for crate::element::f16 {
    #[inline(always)]
    unsafe fn widen(x: uint16x4_t) -> float32x4_t {
        let wide: float32x4_t;
        // SAFETY: the caller's. The intrinsic wants a type that is not stable.
        unsafe {
            asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) wide, in(vreg) x,
                options(pure, nomem, nostack, preserves_flags));
        }
        wide
    }
    #[inline(always)]
    unsafe fn word([a, b]: [uint16x8_t; 2]) -> [[float32x4_t; 2]; 2] {
        // SAFETY: the caller's.
        unsafe {
            // Written out: a closure that is not inlined has its vectors in memory.
            let (first, second) = (vuzp1q_u16(a, b), vuzp2q_u16(a, b));
            [
                [Self::widen(vget_low_u16(first)), widen_high(first)],
                [Self::widen(vget_low_u16(second)), widen_high(second)],
            ]
        }
    }
}

/// The last four of eight f16.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn widen_high(x: uint16x8_t) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: the caller's. The intrinsic wants a type that is not stable.
    unsafe {
        asm!("fcvtl2 {0:v}.4s, {1:v}.8h", out(vreg) wide, in(vreg) x,
            options(pure, nomem, nostack, preserves_flags));
    }
    wide
}

/// Fused multiply-adds of f32. A group is four k.
pub(crate) struct Fmla<H>(PhantomData<H>);

impl<H: Half> Halves for Fmla<H> {
    unsafe fn fill(from: *const u16, k: usize, to: *mut i8, step: usize) {
        // SAFETY: the caller's.
        unsafe { by_fours(from, k, |i, x| vst1q_f32(to.add(i * step).cast(), H::widen(x))) }
    }
}

/// Calls `put` with the number and the values of every four of a row, zeros behind its end.
///
/// # Safety
/// The row can be read.
#[inline(always)]
pub(super) unsafe fn by_fours(from: *const u16, k: usize, mut put: impl FnMut(usize, uint16x4_t)) {
    // SAFETY: the caller's.
    unsafe {
        for i in 0..k / 4 {
            put(i, vld1_u16(from.add(4 * i)));
        }
        if k % 4 > 0 {
            let mut last = [0; 4];
            for (i, x) in last.iter_mut().enumerate().take(k % 4) {
                *x = *from.add(k / 4 * 4 + i);
            }
            put(k / 4, vld1_u16(last.as_ptr()));
        }
    }
}

impl<H: Half> Engine for Fmla<H> {
    const ROWS: usize = 8;
    const GROUP: usize = 16;
    const WIDER: usize = 2;
    /// FMLAL has as many lanes and would spare the widening only.
    const RATE: f64 = 2.0;

    unsafe fn sums(tile: &Tile, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            match (tile.rows, tile.panel.width) {
                (1, 32) => columns::<H, 1, 4>(tile, to),
                (1, _) => columns::<H, 1, 2>(tile, to),
                (2, _) => columns::<H, 2, 2>(tile, to),
                (3, _) => columns::<H, 3, 2>(tile, to),
                (4, _) => columns::<H, 4, 2>(tile, to),
                (5, _) => columns::<H, 5, 1>(tile, to),
                (6, _) => columns::<H, 6, 1>(tile, to),
                (7, _) => columns::<H, 7, 1>(tile, to),
                _ => columns::<H, 8, 1>(tile, to),
            }
        }
    }
}

/// [`Engine::sums`], 8 C columns at a time.
unsafe fn columns<H: Half, const R: usize, const C: usize>(tile: &Tile, to: *mut f32) {
    for column in (0..tile.panel.width).step_by(8 * C) {
        // SAFETY: the caller's.
        unsafe {
            let sums = products::<H, R, C>(tile, column);
            for (r, row) in sums.iter().enumerate() {
                for (c, [a, b]) in row.iter().enumerate() {
                    let to = to.add(r * tile.panel.width + column + 8 * c);
                    vst1q_f32(to, *a);
                    vst1q_f32(to.add(4), *b);
                }
            }
        }
    }
}

/// Sums of eights of columns.
type Rows<const R: usize, const C: usize> = [[[float32x4_t; 2]; C]; R];

/// Sums of 8 C columns from `column`.
#[inline(always)]
unsafe fn products<H: Half, const R: usize, const C: usize>(tile: &Tile, column: usize) -> Rows<R, C> {
    let step = tile.panel.step();
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[[vdupq_n_f32(0.0); 2]; C]; R];
        let mut lhs = tile.lhs.cast::<f32>();
        let mut rhs = tile.panel.at.add(4 * column);
        let words = tile.k.div_ceil(4);
        for _ in 0..words / 2 {
            let x: [float32x4_t; R] = std::array::from_fn(|r| vld1q_f32(lhs.add(4 * r)));
            word::<H, 0, 1, R, C>(&mut sums, &x, rhs);
            word::<H, 2, 3, R, C>(&mut sums, &x, rhs.add(step));
            lhs = lhs.add(4 * R);
            rhs = rhs.add(2 * step);
        }
        if words % 2 == 1 {
            let x: [float32x4_t; R] = std::array::from_fn(|r| vld1q_f32(lhs.add(4 * r)));
            word::<H, 0, 1, R, C>(&mut sums, &x, rhs);
        }
        sums
    }
}

/// A word of two k, lanes `A` and `B` of lhs.
#[inline(always)]
unsafe fn word<H: Half, const A: i32, const B: i32, const R: usize, const C: usize>(
    sums: &mut Rows<R, C>,
    lhs: &[float32x4_t; R],
    rhs: *const u8,
) {
    for c in 0..C {
        // SAFETY: the caller's.
        unsafe {
            let rhs = rhs.add(32 * c).cast();
            let [first, second] = H::word([vld1q_u16(rhs), vld1q_u16(rhs.add(8))]);
            for (row, x) in sums.iter_mut().zip(lhs) {
                for v in 0..2 {
                    row[c][v] = vfmaq_laneq_f32::<A>(row[c][v], first[v], *x);
                }
            }
            for (row, x) in sums.iter_mut().zip(lhs) {
                for v in 0..2 {
                    row[c][v] = vfmaq_laneq_f32::<B>(row[c][v], second[v], *x);
                }
            }
        }
    }
}
