//! Eight lanes of NEON, two registers of four.

mod product;

use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Range, Sub};

use super::{Simd, apart};
use crate::element::{bf16, f16};
use crate::epilogue::Act;

/// Eight f32.
#[derive(Clone, Copy, Debug)]
pub struct Neon(pub(crate) float32x4_t, pub(crate) float32x4_t);

/// Eight conditions, all bits of a lane set or clear.
#[derive(Clone, Copy, Debug)]
pub struct Mask(uint32x4_t, uint32x4_t);

/// The two-operand operators.
macro_rules! operators {
    ($type:ident: $($trait:ident $method:ident $intrinsic:ident),*) => {$(
        impl $trait for $type {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: the vector is the witness of NEON.
                unsafe { Self($intrinsic(self.0, other.0), $intrinsic(self.1, other.1)) }
            }
        }
    )*};
}
operators!(Neon: Add add vaddq_f32, Sub sub vsubq_f32, Mul mul vmulq_f32, Div div vdivq_f32);
operators!(Mask: BitAnd bitand vandq_u32, BitOr bitor vorrq_u32);

impl Neg for Neon {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        // SAFETY: the vector is the witness of NEON.
        unsafe { Self(vnegq_f32(self.0), vnegq_f32(self.1)) }
    }
}

impl Not for Mask {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        // SAFETY: the vector is the witness of NEON.
        unsafe { Self(vmvnq_u32(self.0), vmvnq_u32(self.1)) }
    }
}

/// Methods that are one intrinsic on each half, of one or two vectors.
macro_rules! halves {
    ($($method:ident = $intrinsic:ident($($other:ident)?) -> $type:ident;)*) => {$(
        #[inline(always)]
        fn $method(self $(, $other: Self)?) -> $type {
            // SAFETY: witness.
            unsafe { $type($intrinsic(self.0 $(, $other.0)?), $intrinsic(self.1 $(, $other.1)?)) }
        }
    )*};
}

// SAFETY: eight lanes; partial loads and stores touch the named lanes only. Methods on vectors rely on the witness.
unsafe impl Simd for Neon {
    const LANES: usize = 8;
    type Mask = Mask;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's.
        unsafe { Self(vdupq_n_f32(x), vdupq_n_f32(x)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        unsafe { Self(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller's.
        unsafe { if n == 8 { Self::load(from) } else { load_tail(from, n) } }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            vst1q_f32(to, self.0);
            vst1q_f32(to.add(4), self.1);
        }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: the caller's.
        unsafe { if n == 8 { self.store(to) } else { store_tail(&self, to, n) } }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let x = vmovl_s8(vld1_s8(from));
            Self(vcvtq_f32_s32(vmovl_s16(vget_low_s16(x))), vcvtq_f32_s32(vmovl_high_s16(x)))
        }
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let low = vmovn_s32(vcvtq_s32_f32(self.0));
            vst1_s8(to, vmovn_s16(vmovn_high_s32(low, vcvtq_s32_f32(self.1))));
        }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller's.
        unsafe { widened(vld1q_u16(from.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16) {
        let narrow: uint16x8_t;
        // SAFETY: the caller's. The intrinsics want a type that is not stable.
        unsafe {
            asm!("fcvtn {0:v}.4h, {1:v}.4s", "fcvtn2 {0:v}.8h, {2:v}.4s", out(vreg) narrow, in(vreg) self.0,
                in(vreg) self.1, options(pure, nomem, nostack, preserves_flags));
            vst1q_u16(to.cast(), narrow);
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller's. A bf16 is the high half of its f32.
        unsafe {
            let x = vld1q_u16(from.cast());
            let [low, high] = [vshll_n_u16::<16>(vget_low_u16(x)), vshll_high_n_u16::<16>(x)];
            Self(vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        // SAFETY: the caller's.
        unsafe { vst1q_u16(to.cast(), vcombine_u16(nearest_bf16(self.0), nearest_bf16(self.1))) }
    }
    #[inline(always)]
    unsafe fn load_f16_pairs(from: *const f16) -> [Self; 2] {
        // SAFETY: the caller's.
        unsafe {
            let uint16x8x2_t(first, second) = vld2q_u16(from.cast());
            [widened(first), widened(second)]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(from: *const bf16) -> [Self; 2] {
        // SAFETY: the caller's.
        unsafe {
            let (a, b) = (vld1q_u32(from.cast()), vld1q_u32(from.add(8).cast()));
            let high = vdupq_n_u32(0xFFFF_0000);
            let firsts = [vshlq_n_u32::<16>(a), vshlq_n_u32::<16>(b)];
            let seconds = [vandq_u32(a, high), vandq_u32(b, high)];
            [
                Self(vreinterpretq_f32_u32(firsts[0]), vreinterpretq_f32_u32(firsts[1])),
                Self(vreinterpretq_f32_u32(seconds[0]), vreinterpretq_f32_u32(seconds[1])),
            ]
        }
    }
    #[inline(always)]
    unsafe fn transpose(src: (*const f32, usize), dst: (*mut f32, usize), rows: usize, cols: usize) {
        // SAFETY: the caller's; rows behind `rows` are not read, those behind `cols` not written.
        unsafe {
            let mut x = [Self::splat(0.0); 8];
            if rows == 8 && cols == 8 {
                for (r, x) in x.iter_mut().enumerate() {
                    *x = Self::load(src.0.add(r * src.1));
                }
                for (c, x) in transposed(x).into_iter().enumerate() {
                    x.store(dst.0.add(c * dst.1));
                }
            } else {
                for (r, x) in x.iter_mut().enumerate().take(rows) {
                    *x = Self::load_first(src.0.add(r * src.1), cols);
                }
                for (c, x) in transposed(x).into_iter().enumerate().take(cols) {
                    x.store_first(dst.0.add(c * dst.1), rows);
                }
            }
        }
    }
    #[inline(always)]
    fn all(self, x: f32) -> Self {
        // SAFETY: witness.
        unsafe { Self::splat(x) }
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: witness.
        unsafe { Self(vfmaq_f32(b.0, self.0, a.0), vfmaq_f32(b.1, self.1, a.1)) }
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: witness.
        unsafe { Self(vfmsq_f32(b.0, self.0, a.0), vfmsq_f32(b.1, self.1, a.1)) }
    }
    // FMIN and FMAX treat NaN and zeros in ways of their own.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.select(self.lt(other), other)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.select(other.lt(self), other)
    }
    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        // SAFETY: witness.
        unsafe {
            let bit = vdupq_n_u32(1 << 31);
            Self(vbslq_f32(bit, sign.0, self.0), vbslq_f32(bit, sign.1, self.1))
        }
    }
    halves! {
        peak = vmaxq_f32(other) -> Self;
        abs = vabsq_f32() -> Self;
        sqrt = vsqrtq_f32() -> Self;
        round = vrndnq_f32() -> Self;
        floor = vrndmq_f32() -> Self;
        ceil = vrndpq_f32() -> Self;
        trunc = vrndq_f32() -> Self;
        lt = vcltq_f32(other) -> Mask;
        le = vcleq_f32(other) -> Mask;
        equal = vceqq_f32(other) -> Mask;
    }
    #[inline(always)]
    fn nan(self) -> Mask {
        !self.equal(self)
    }
    #[inline(always)]
    fn select(self, mask: Mask, other: Self) -> Self {
        // SAFETY: witness.
        unsafe { Self(vbslq_f32(mask.0, self.0, other.0), vbslq_f32(mask.1, self.1, other.1)) }
    }
    #[inline(always)]
    fn any(mask: Mask) -> bool {
        // SAFETY: witness.
        unsafe { vmaxvq_u32(vorrq_u32(mask.0, mask.1)) != 0 }
    }
    #[inline(always)]
    fn times_exp2(self, n: Self) -> Self {
        // SAFETY: witness.
        unsafe { Self(times_exp2(self.0, n.0), times_exp2(self.1, n.1)) }
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        // SAFETY: witness.
        unsafe { Self(exponent(self.0), exponent(self.1)) }
    }
    #[inline(always)]
    fn unless(self, mask: Mask) -> Self {
        // SAFETY: witness.
        unsafe { Self(cleared(self.0, mask.0), cleared(self.1, mask.1)) }
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        // SAFETY: witness.
        unsafe {
            let (low, high) = (split(self.0), split(self.1));
            (Self(low.0, high.0), Self(low.1, high.1))
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: witness.
        unsafe { vaddvq_f32(vaddq_f32(self.0, self.1)) }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: witness.
        unsafe { vmaxvq_f32(vmaxq_f32(self.0, self.1)) }
    }
    const FOURS: bool = true;
    #[inline(always)]
    unsafe fn by_fours<const ROWS: usize, const VECTORS: usize>(
        sums: &mut [[Self; VECTORS]; ROWS],
        lhs: &[*const f32; ROWS],
        steps: Range<usize>,
        rhs: *const f32,
        stride: usize,
    ) {
        // SAFETY: the caller's.
        unsafe { product::by_fours(sums, lhs, steps, rhs, stride) }
    }
    apart!(Neon, "neon");

    #[inline(always)]
    fn curve(self, act: Act) -> Self {
        // SAFETY: witness.
        unsafe { curve(act, self) }
    }
}

/// The activations with an exponential, once for all kernels.
#[inline(never)]
#[target_feature(enable = "neon")]
fn curve(act: Act, x: Neon) -> Neon {
    super::act::curve(act, x)
}

/// Less than eight elements, zeros behind. Out of line: inlined, its branches keep loops over sums from unrolling.
///
/// # Safety
/// As [`Simd::load_first`].
#[inline(never)]
#[target_feature(enable = "neon")]
unsafe fn load_tail(from: *const f32, n: usize) -> Neon {
    // SAFETY: the caller's.
    unsafe {
        if n < 4 {
            Neon(load_up_to_4(from, n), vdupq_n_f32(0.0))
        } else {
            Neon(vld1q_f32(from), load_up_to_4(from.add(4), n - 4))
        }
    }
}

/// # Safety
/// As [`Simd::load_first`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load_up_to_4(from: *const f32, n: usize) -> float32x4_t {
    let zero = vdupq_n_f32(0.0);
    // SAFETY: the caller's.
    unsafe {
        match n {
            0 => zero,
            1 => vld1q_lane_f32::<0>(from, zero),
            2 => vcombine_f32(vld1_f32(from), vdup_n_f32(0.0)),
            3 => vld1q_lane_f32::<2>(from.add(2), vcombine_f32(vld1_f32(from), vdup_n_f32(0.0))),
            _ => vld1q_f32(from),
        }
    }
}

/// Writes the first `n` lanes, less than eight; out of line as [`load_tail`].
///
/// # Safety
/// As [`Simd::store_first`].
#[inline(never)]
#[target_feature(enable = "neon")]
unsafe fn store_tail(x: &Neon, to: *mut f32, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        if n < 4 {
            store_up_to_4(x.0, to, n);
        } else {
            vst1q_f32(to, x.0);
            store_up_to_4(x.1, to.add(4), n - 4);
        }
    }
}

/// # Safety
/// As [`Simd::store_first`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store_up_to_4(x: float32x4_t, to: *mut f32, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        match n {
            0 => {}
            1 => vst1q_lane_f32::<0>(to, x),
            2 => vst1_f32(to, vget_low_f32(x)),
            3 => {
                vst1_f32(to, vget_low_f32(x));
                vst1q_lane_f32::<2>(to.add(2), x);
            }
            _ => vst1q_f32(to, x),
        }
    }
}

/// 2^n for integers -127 < n < 128.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn exp2(n: float32x4_t) -> float32x4_t {
    // SAFETY: the caller's.
    unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)))) }
}

/// [`Simd::exponent`] of a half.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn exponent(x: float32x4_t) -> float32x4_t {
    // SAFETY: the caller's.
    unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<23>(vreinterpretq_u32_f32(x))) }
}

/// [`Simd::unless`] of a half.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn cleared(x: float32x4_t, mask: uint32x4_t) -> float32x4_t {
    // SAFETY: the caller's.
    unsafe { vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), mask)) }
}

/// [`Simd::times_exp2`] of a half. Two factors keep each exponent in range; only the second product can round, because
/// the first scales by what the second lacks.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn times_exp2(x: float32x4_t, n: float32x4_t) -> float32x4_t {
    // SAFETY: the caller's.
    unsafe {
        let most = vmaxq_f32(vminq_f32(n, vdupq_n_f32(126.0)), vdupq_n_f32(-126.0));
        vmulq_f32(vmulq_f32(x, exp2(vsubq_f32(n, most))), exp2(most))
    }
}

/// [`Simd::split`] of a half. Subnormal numbers are scaled up by 2^24 first.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn split(x: float32x4_t) -> (float32x4_t, float32x4_t) {
    // SAFETY: the caller's.
    unsafe {
        let subnormal = vcltq_f32(x, vdupq_n_f32(f32::MIN_POSITIVE));
        let scaled = vmulq_f32(x, vdupq_n_f32(16_777_216.0));
        let bits = vreinterpretq_u32_f32(vbslq_f32(subnormal, scaled, x));
        let exponent = vreinterpretq_s32_u32(vshrq_n_u32::<23>(bits));
        let exponent = vcvtq_f32_s32(vsubq_s32(exponent, vdupq_n_s32(127)));
        let extra = vandq_u32(subnormal, vreinterpretq_u32_f32(vdupq_n_f32(24.0)));
        let mantissa = vbslq_u32(vdupq_n_u32(0x007F_FFFF), bits, vdupq_n_u32(0x3F80_0000));
        (vreinterpretq_f32_u32(mantissa), vsubq_f32(exponent, vreinterpretq_f32_u32(extra)))
    }
}

/// Eight f16.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn widened(x: uint16x8_t) -> Neon {
    let (low, high): (float32x4_t, float32x4_t);
    // SAFETY: the caller's. The intrinsics want a type that is not stable.
    unsafe {
        asm!("fcvtl {0:v}.4s, {2:v}.4h", "fcvtl2 {1:v}.4s, {2:v}.8h", out(vreg) low, out(vreg) high, in(vreg) x,
            options(pure, nomem, nostack, preserves_flags));
    }
    Neon(low, high)
}

/// The nearest bf16: half of the last place, less where it is even, carries; NaN stays one.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn nearest_bf16(x: float32x4_t) -> uint16x4_t {
    // SAFETY: the caller's.
    unsafe {
        let bits = vreinterpretq_u32_f32(x);
        let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let near = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
        vshrn_n_u32::<16>(vbslq_u32(vceqq_f32(x, x), near, quiet))
    }
}

/// An 8 x 8 block transposed: blocks of 4 x 4, each within itself, trade places.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn transposed(x: [Neon; 8]) -> [Neon; 8] {
    // SAFETY: the caller's.
    unsafe {
        let mut out = x;
        let top = quarter([x[0].0, x[1].0, x[2].0, x[3].0]);
        let bottom = quarter([x[4].0, x[5].0, x[6].0, x[7].0]);
        for c in 0..4 {
            out[c] = Neon(top[c], bottom[c]);
        }
        let top = quarter([x[0].1, x[1].1, x[2].1, x[3].1]);
        let bottom = quarter([x[4].1, x[5].1, x[6].1, x[7].1]);
        for c in 0..4 {
            out[c + 4] = Neon(top[c], bottom[c]);
        }
        out
    }
}

/// A 4 x 4 block transposed: pairs, then halves of vectors trade places.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn quarter([a, b, c, d]: [float32x4_t; 4]) -> [float32x4_t; 4] {
    // SAFETY: the caller's.
    unsafe {
        let [even, odd] = [[vtrn1q_f32(a, b), vtrn1q_f32(c, d)], [vtrn2q_f32(a, b), vtrn2q_f32(c, d)]];
        [low_halves(even), low_halves(odd), high_halves(even), high_halves(odd)]
    }
}

/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn low_halves([a, b]: [float32x4_t; 2]) -> float32x4_t {
    // SAFETY: the caller's.
    unsafe { vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b))) }
}

/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn high_halves([a, b]: [float32x4_t; 2]) -> float32x4_t {
    // SAFETY: the caller's.
    unsafe { vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b))) }
}
