//! Sixteen lanes of AVX-512 (F, BW, DQ, VL).

use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Simd, apart};
use crate::element::{bf16, f16};
use crate::epilogue::Act;

/// Sixteen f32.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(pub(crate) __m512);

/// The two-operand operators.
macro_rules! operators {
    ($($trait:ident $method:ident $intrinsic:ident),*) => {$(
        impl $trait for Avx512 {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: the vector is the witness of AVX-512.
                Self(unsafe { $intrinsic(self.0, other.0) })
            }
        }
    )*};
}
operators!(Add add _mm512_add_ps, Sub sub _mm512_sub_ps, Mul mul _mm512_mul_ps, Div div _mm512_div_ps);

impl Neg for Avx512 {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        // SAFETY: the vector is the witness of AVX-512.
        Self(unsafe { _mm512_xor_ps(self.0, _mm512_set1_ps(-0.0)) })
    }
}

#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

// SAFETY: sixteen lanes; masked loads and stores touch the set lanes only. Methods on vectors rely on the witness.
unsafe impl Simd for Avx512 {
    const LANES: usize = 16;
    type Mask = __mmask16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm512_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm512_maskz_loadu_ps(first(n), from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: the caller's.
        unsafe { _mm512_mask_storeu_ps(to, first(n), self.0) }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) })
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8) {
        // SAFETY: the caller's.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(self.0))) }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16) {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller's. A bf16 is the high half of its f32.
        Self(unsafe {
            let x = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x))
        })
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        // SAFETY: the caller's. Half of the last place, less where it is even, carries; NaN stays one.
        unsafe {
            let bits = _mm512_castps_si512(self.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let near = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let x = _mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(near, nan, quiet));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(x));
        }
    }
    #[inline(always)]
    unsafe fn load_f16_pairs(from: *const f16) -> [Self; 2] {
        // SAFETY: the caller's.
        unsafe {
            let words = _mm512_loadu_si512(from.cast());
            let second = _mm512_srli_epi32::<16>(words);
            [
                Self(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(words))),
                Self(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(second))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(from: *const bf16) -> [Self; 2] {
        // SAFETY: the caller's.
        unsafe {
            let words = _mm512_loadu_si512(from.cast());
            let second = _mm512_and_si512(words, _mm512_set1_epi32(0xFFFF_0000u32 as i32));
            [Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))), Self(_mm512_castsi512_ps(second))]
        }
    }
    #[inline(always)]
    unsafe fn transpose(src: (*const f32, usize), dst: (*mut f32, usize), rows: usize, cols: usize) {
        // SAFETY: the caller's; rows behind `rows` are not read, those behind `cols` not written.
        unsafe {
            let mut x = [_mm512_setzero_ps(); 16];
            if rows == 16 && cols == 16 {
                for (r, x) in x.iter_mut().enumerate() {
                    *x = _mm512_loadu_ps(src.0.add(r * src.1));
                }
                for (c, x) in transposed(x).into_iter().enumerate() {
                    _mm512_storeu_ps(dst.0.add(c * dst.1), x);
                }
            } else {
                for (r, x) in x.iter_mut().enumerate().take(rows) {
                    *x = _mm512_maskz_loadu_ps(first(cols), src.0.add(r * src.1));
                }
                for (c, x) in transposed(x).into_iter().enumerate().take(cols) {
                    _mm512_mask_storeu_ps(dst.0.add(c * dst.1), first(rows), x);
                }
            }
        }
    }
    #[inline(always)]
    fn all(self, x: f32) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_set1_ps(x) })
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_fmadd_ps(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_fnmadd_ps(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }
    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        // SAFETY: witness. The table entry a ? b : c takes the sign bit from `sign`, the rest from `self`.
        Self(unsafe {
            let bits = _mm512_ternarylogic_epi32::<0xCA>(
                _mm512_set1_epi32(i32::MIN),
                _mm512_castps_si512(sign.0),
                _mm512_castps_si512(self.0),
            );
            _mm512_castsi512_ps(bits)
        })
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_sqrt_ps(self.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_roundscale_ps::<_MM_FROUND_TO_NEAREST_INT>(self.0) })
    }
    #[inline(always)]
    fn floor(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_roundscale_ps::<_MM_FROUND_TO_NEG_INF>(self.0) })
    }
    #[inline(always)]
    fn ceil(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_roundscale_ps::<_MM_FROUND_TO_POS_INF>(self.0) })
    }
    #[inline(always)]
    fn trunc(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_roundscale_ps::<_MM_FROUND_TO_ZERO>(self.0) })
    }
    #[inline(always)]
    fn lt(self, other: Self) -> __mmask16 {
        // SAFETY: witness.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn le(self, other: Self) -> __mmask16 {
        // SAFETY: witness.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LE_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn equal(self, other: Self) -> __mmask16 {
        // SAFETY: witness.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn nan(self) -> __mmask16 {
        // SAFETY: witness.
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0) }
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, other: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_mask_blend_ps(mask, other.0, self.0) })
    }
    #[inline(always)]
    fn any(mask: __mmask16) -> bool {
        mask != 0
    }
    #[inline(always)]
    fn times_exp2(self, n: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_scalef_ps(self.0, n.0) })
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(self.0))) })
    }
    #[inline(always)]
    fn unless(self, mask: __mmask16) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm512_maskz_mov_ps(!mask, self.0) })
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        // SAFETY: witness.
        unsafe {
            let mantissa = _mm512_getmant_ps::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_SRC>(self.0);
            (Self(mantissa), Self(_mm512_getexp_ps(self.0)))
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: witness.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: witness.
        unsafe { _mm512_reduce_max_ps(self.0) }
    }
    apart!(Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c");

    #[inline(always)]
    fn curve(self, act: Act) -> Self {
        // SAFETY: witness.
        unsafe { curve(act, self) }
    }
}

/// The activations with an exponential, once for all kernels.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn curve(act: Act, x: Avx512) -> Avx512 {
    super::act::curve(act, x)
}

/// A 16 x 16 block transposed: pairs, fours, then quarters of vectors trade places.
///
/// # Safety
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn transposed(x: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: the caller's.
    unsafe {
        let mut a = x;
        for i in (0..16).step_by(2) {
            a[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
            a[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
        }
        // b[4 g + j]: rows 4 g .. 4 g + 4, columns j, j + 4, j + 8, j + 12.
        let mut b = a;
        for g in (0..16).step_by(4) {
            for half in 0..2 {
                let lo = _mm512_castps_pd(a[g + half]);
                let hi = _mm512_castps_pd(a[g + 2 + half]);
                b[g + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo, hi));
                b[g + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo, hi));
            }
        }
        let mut out = x;
        for j in 0..4 {
            let even01 = _mm512_shuffle_f32x4::<0x88>(b[j], b[4 + j]);
            let even23 = _mm512_shuffle_f32x4::<0x88>(b[8 + j], b[12 + j]);
            let odd01 = _mm512_shuffle_f32x4::<0xDD>(b[j], b[4 + j]);
            let odd23 = _mm512_shuffle_f32x4::<0xDD>(b[8 + j], b[12 + j]);
            out[j] = _mm512_shuffle_f32x4::<0x88>(even01, even23);
            out[j + 4] = _mm512_shuffle_f32x4::<0x88>(odd01, odd23);
            out[j + 8] = _mm512_shuffle_f32x4::<0xDD>(even01, even23);
            out[j + 12] = _mm512_shuffle_f32x4::<0xDD>(odd01, odd23);
        }
        out
    }
}
