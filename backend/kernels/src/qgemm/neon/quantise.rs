//! Rows of f32 to rows of i8.

use std::arch::aarch64::*;

use crate::qgemm::{Parameters, Scheme};
use crate::simd::{Neon, Simd};
use crate::words::STEP;

/// Quantises a row of `k` f32 to runs of `GROUP` i8, 4, 8 or 16, which begin `step` bytes apart; those behind k are of no
/// value.
///
/// # Safety
/// The row can be read, and `k` rounded up to [`STEP`] be written.
pub unsafe fn row<const GROUP: usize>(
    from: *const f32,
    k: usize,
    scheme: &Scheme,
    to: *mut i8,
    step: usize,
) -> Parameters {
    // SAFETY: the caller's.
    unsafe {
        match *scheme {
            Scheme::Dynamic => {
                let params = extremes(from, k);
                let (inverse, zero) = (vdupq_n_f32(params.inverse), vdupq_n_f32(params.zero as f32));
                let near = |x| vcvtnq_s32_f32(vfmaq_f32(zero, x, inverse));
                store::<GROUP>(from, k, |x| narrow(words(x.map(near))), to, step);
                params
            }
            Scheme::Static { lhs, .. } => {
                let params = Parameters::new(lhs);
                let (inverse, zero) = (vdupq_n_f32(params.inverse), vdupq_n_s16(params.zero as i16));
                let near = |x| vcvtnq_s32_f32(vmulq_f32(x, inverse));
                let add = |x: [int16x8_t; 2]| x.map(|x| vqaddq_s16(x, zero));
                store::<GROUP>(from, k, |x| narrow(add(words(x.map(near)))), to, step);
                params
            }
        }
    }
}

/// How a row's extremes, 0 among them, quantise it.
///
/// # Safety
/// As [`row`].
unsafe fn extremes(from: *const f32, k: usize) -> Parameters {
    // SAFETY: the caller's. FMIN and FMAX pass NaN on.
    unsafe {
        let (mut low, mut high) = ([vdupq_n_f32(0.0); 4], [vdupq_n_f32(0.0); 4]);
        each(from, k, |_, x| {
            for (i, x) in x.into_iter().enumerate() {
                low[i] = vminq_f32(low[i], x);
                high[i] = vmaxq_f32(high[i], x);
            }
        });
        let low = vminq_f32(vminq_f32(low[0], low[1]), vminq_f32(low[2], low[3]));
        let high = vmaxq_f32(vmaxq_f32(high[0], high[1]), vmaxq_f32(high[2], high[3]));
        Parameters::between(vminvq_f32(low), vmaxvq_f32(high))
    }
}

/// Calls `with` with every [`STEP`] of a row, zeros behind its end.
///
/// # Safety
/// As [`row`].
#[inline(always)]
unsafe fn each(from: *const f32, k: usize, mut with: impl FnMut(usize, [float32x4_t; 4])) {
    let whole = k / STEP * STEP;
    // SAFETY: the caller's.
    unsafe {
        for at in (0..whole).step_by(STEP) {
            let from = from.add(at);
            with(
                at,
                [vld1q_f32(from), vld1q_f32(from.add(4)), vld1q_f32(from.add(8)), vld1q_f32(from.add(12))],
            );
        }
        let left = k - whole;
        if left > 0 {
            let from = from.add(whole);
            let low = Neon::load_first(from, left.min(8));
            let high = Neon::load_first(from.wrapping_add(8), left.saturating_sub(8));
            with(whole, [low.0, low.1, high.0, high.1]);
        }
    }
}

/// Stores what `quantised` makes of a row.
///
/// # Safety
/// As [`row`].
#[inline(always)]
unsafe fn store<const GROUP: usize>(
    from: *const f32,
    k: usize,
    quantised: impl Fn([float32x4_t; 4]) -> int8x16_t,
    to: *mut i8,
    step: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        each(from, k, |at, x| {
            let (x, to) = (quantised(x), to.add(at / GROUP * step));
            if GROUP == STEP {
                vst1q_s8(to, x);
            } else if GROUP == 4 {
                let x = vreinterpretq_s32_s8(x);
                vst1q_lane_s32::<0>(to.cast(), x);
                vst1q_lane_s32::<1>(to.add(step).cast(), x);
                vst1q_lane_s32::<2>(to.add(2 * step).cast(), x);
                vst1q_lane_s32::<3>(to.add(3 * step).cast(), x);
            } else {
                vst1_s8(to, vget_low_s8(x));
                vst1_s8(to.add(step), vget_high_s8(x));
            }
        });
    }
}

/// Narrowed with saturation.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn words([a, b, c, d]: [int32x4_t; 4]) -> [int16x8_t; 2] {
    // SAFETY: the caller's.
    unsafe { [vqmovn_high_s32(vqmovn_s32(a), b), vqmovn_high_s32(vqmovn_s32(c), d)] }
}

/// Narrowed with saturation.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn narrow([a, b]: [int16x8_t; 2]) -> int8x16_t {
    // SAFETY: the caller's.
    unsafe { vqmovn_high_s16(vqmovn_s16(a), b) }
}
