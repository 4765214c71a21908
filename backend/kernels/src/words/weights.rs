//! Weights of panels, four columns a vector.

use std::arch::aarch64::*;

/// How a panel holds its words.
pub trait Words {
    /// Words of rhs that hold eight k.
    const EIGHT: usize;
    /// Times what power of two values come.
    const SHIFT: usize;

    /// Eight k of four columns, the first four k first. `step` is the bytes from one word of k to the next.
    ///
    /// # Safety
    /// The vectors named can be read.
    unsafe fn eight(from: *const u8, step: usize) -> [int8x16_t; 2];
}

/// i8.
pub struct Bytes;

impl Words for Bytes {
    const EIGHT: usize = 2;
    const SHIFT: usize = 0;

    #[inline(always)]
    unsafe fn eight(from: *const u8, step: usize) -> [int8x16_t; 2] {
        // SAFETY: the caller's.
        unsafe { [vld1q_s8(from.cast()), vld1q_s8(from.add(step).cast())] }
    }
}

/// i4, times 16: that takes one instruction for each vector.
pub struct Nibbles;

impl Words for Nibbles {
    const EIGHT: usize = 1;
    const SHIFT: usize = 4;

    #[inline(always)]
    unsafe fn eight(from: *const u8, _: usize) -> [int8x16_t; 2] {
        // SAFETY: the caller's.
        unsafe {
            let both = vld1q_s8(from.cast());
            [vshlq_n_s8::<4>(both), vandq_s8(both, vdupq_n_s8(-16))]
        }
    }
}

/// A panel's columns, as a tile reads them.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub at: *const u8,
    /// Columns, 16 or 32.
    pub width: usize,
    /// Whether words are i4.
    pub nibbles: bool,
}

impl Panel {
    /// Bytes of a word of all columns.
    pub fn step(&self) -> usize {
        4 * self.width
    }
}

/// Unpacks a panel of `k` k: `put` gets eight k of four columns, their number by eights and the column.
///
/// # Safety
/// The panel has all words of k.
#[inline(always)]
pub unsafe fn unpack<W: Words>(panel: &Panel, k: usize, mut put: impl FnMut(usize, usize, [int8x16_t; 2])) {
    let step = panel.step();
    // The last word of i8 may be the first of two.
    let odd = W::EIGHT == 2 && (k - 1) % 8 < 4;
    let whole = k.div_ceil(8) - usize::from(odd);
    for column in (0..panel.width).step_by(4) {
        // SAFETY: the caller's.
        unsafe {
            let mut from = panel.at.add(4 * column);
            for eight in 0..whole {
                put(
                    eight,
                    column,
                    W::eight(from, step).map(|x| if W::SHIFT == 4 { vshrq_n_s8::<4>(x) } else { x }),
                );
                from = from.wrapping_add(W::EIGHT * step);
            }
            if odd {
                put(whole, column, [vld1q_s8(from.cast()), vdupq_n_s8(0)]);
            }
        }
    }
}
