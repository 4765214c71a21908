//! Eight lanes of AVX2 with FMA.

use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Sub};

use super::{Simd, apart};
use crate::element::{bf16, f16};
use crate::epilogue::Act;

/// Eight f32.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(pub(crate) __m256);

/// Eight conditions, all bits of a lane set or clear.
#[derive(Clone, Copy, Debug)]
pub struct Mask(__m256);

/// The two-operand operators.
macro_rules! operators {
    ($type:ident: $($trait:ident $method:ident $intrinsic:ident),*) => {$(
        impl $trait for $type {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: the vector is the witness of AVX2.
                Self(unsafe { $intrinsic(self.0, other.0) })
            }
        }
    )*};
}
operators!(Avx2: Add add _mm256_add_ps, Sub sub _mm256_sub_ps, Mul mul _mm256_mul_ps, Div div _mm256_div_ps);
operators!(Mask: BitAnd bitand _mm256_and_ps, BitOr bitor _mm256_or_ps);

impl Neg for Avx2 {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        // SAFETY: the vector is the witness of AVX2.
        Self(unsafe { _mm256_xor_ps(self.0, _mm256_set1_ps(-0.0)) })
    }
}

impl Not for Mask {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        // SAFETY: the vector is the witness of AVX2.
        Self(unsafe { _mm256_xor_ps(self.0, _mm256_castsi256_ps(_mm256_set1_epi32(-1))) })
    }
}

/// Lane masks: eight set, eight clear.
static FIRST: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// # Safety
/// The CPU has AVX2; `n` is at most 8.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    debug_assert!(n <= 8);
    // SAFETY: eight entries follow entry 8 - n.
    unsafe { _mm256_loadu_si256(FIRST.as_ptr().add(8 - n).cast()) }
}

/// 2^n for integers -127 < n < 128.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn exp2(n: __m256) -> __m256 {
    // SAFETY: the caller's.
    unsafe {
        let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
    }
}

// SAFETY: eight lanes; masked loads and stores touch the set lanes only. Methods on vectors rely on the witness.
unsafe impl Simd for Avx2 {
    const LANES: usize = 8;
    type Mask = Mask;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm256_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm256_maskload_ps(from, first(n)) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: the caller's.
        unsafe { _mm256_maskstore_ps(to, first(n), self.0) }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))) })
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8) {
        // SAFETY: the caller's.
        unsafe {
            let x = _mm256_cvtps_epi32(self.0);
            let x = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
            _mm_storel_epi64(to.cast(), _mm_packs_epi16(x, x));
        }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16) {
        // SAFETY: the caller's.
        unsafe { _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller's. A bf16 is the high half of its f32.
        Self(unsafe {
            let x = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(x))
        })
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        // SAFETY: the caller's. Half of the last place, less where it is even, carries; NaN stays one.
        unsafe {
            let bits = _mm256_castps_si256(self.0);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let near = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
            let x = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(near, quiet, nan));
            let pairs = _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
            _mm_storeu_si128(to.cast(), pairs);
        }
    }
    #[inline(always)]
    unsafe fn load_f16_pairs(from: *const f16) -> [Self; 2] {
        // SAFETY: the caller's. Within 32 bytes the first of four pairs, then the second, then halves join.
        unsafe {
            let words = _mm256_loadu_si256(from.cast());
            let apart = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,
            ));
            let joined = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_shuffle_epi8(words, apart));
            let [first, second] = [_mm256_castsi256_si128(joined), _mm256_extracti128_si256::<1>(joined)];
            [Self(_mm256_cvtph_ps(first)), Self(_mm256_cvtph_ps(second))]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(from: *const bf16) -> [Self; 2] {
        // SAFETY: the caller's.
        unsafe {
            let words = _mm256_loadu_si256(from.cast());
            let second = _mm256_and_si256(words, _mm256_set1_epi32(0xFFFF_0000u32 as i32));
            [Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))), Self(_mm256_castsi256_ps(second))]
        }
    }
    #[inline(always)]
    unsafe fn transpose(src: (*const f32, usize), dst: (*mut f32, usize), rows: usize, cols: usize) {
        // SAFETY: the caller's; rows behind `rows` are not read, those behind `cols` not written.
        unsafe {
            let mut x = [_mm256_setzero_ps(); 8];
            if rows == 8 && cols == 8 {
                for (r, x) in x.iter_mut().enumerate() {
                    *x = _mm256_loadu_ps(src.0.add(r * src.1));
                }
                for (c, x) in transposed(x).into_iter().enumerate() {
                    _mm256_storeu_ps(dst.0.add(c * dst.1), x);
                }
            } else {
                for (r, x) in x.iter_mut().enumerate().take(rows) {
                    *x = _mm256_maskload_ps(src.0.add(r * src.1), first(cols));
                }
                for (c, x) in transposed(x).into_iter().enumerate().take(cols) {
                    _mm256_maskstore_ps(dst.0.add(c * dst.1), first(rows), x);
                }
            }
        }
    }
    #[inline(always)]
    fn all(self, x: f32) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_set1_ps(x) })
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_fmadd_ps(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self, b: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_fnmadd_ps(self.0, a.0, b.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn abs(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
    }
    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe {
            let bit = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_and_ps(bit, sign.0), _mm256_andnot_ps(bit, self.0))
        })
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_sqrt_ps(self.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
    }
    #[inline(always)]
    fn floor(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_floor_ps(self.0) })
    }
    #[inline(always)]
    fn ceil(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_ceil_ps(self.0) })
    }
    #[inline(always)]
    fn trunc(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC }>(self.0) })
    }
    #[inline(always)]
    fn lt(self, other: Self) -> Mask {
        // SAFETY: witness.
        Mask(unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0) })
    }
    #[inline(always)]
    fn le(self, other: Self) -> Mask {
        // SAFETY: witness.
        Mask(unsafe { _mm256_cmp_ps::<_CMP_LE_OQ>(self.0, other.0) })
    }
    #[inline(always)]
    fn equal(self, other: Self) -> Mask {
        // SAFETY: witness.
        Mask(unsafe { _mm256_cmp_ps::<_CMP_EQ_OQ>(self.0, other.0) })
    }
    #[inline(always)]
    fn nan(self) -> Mask {
        // SAFETY: witness.
        Mask(unsafe { _mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0) })
    }
    #[inline(always)]
    fn select(self, mask: Mask, other: Self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_blendv_ps(other.0, self.0, mask.0) })
    }
    #[inline(always)]
    fn any(mask: Mask) -> bool {
        // SAFETY: witness.
        unsafe { _mm256_movemask_ps(mask.0) != 0 }
    }
    #[inline(always)]
    fn times_exp2(self, n: Self) -> Self {
        // SAFETY: witness. Two factors keep each exponent in range; only the second product can round, because the
        // first scales by what the second lacks.
        Self(unsafe {
            let limit = _mm256_set1_ps(126.0);
            let most = _mm256_max_ps(_mm256_min_ps(n.0, limit), _mm256_sub_ps(_mm256_setzero_ps(), limit));
            let rest = exp2(_mm256_sub_ps(n.0, most));
            _mm256_mul_ps(_mm256_mul_ps(self.0, rest), exp2(most))
        })
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0))) })
    }
    #[inline(always)]
    fn unless(self, mask: Mask) -> Self {
        // SAFETY: witness.
        Self(unsafe { _mm256_andnot_ps(mask.0, self.0) })
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        // SAFETY: witness. Subnormal numbers are scaled up by 2^24 first.
        unsafe {
            let subnormal = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, _mm256_set1_ps(f32::MIN_POSITIVE));
            let scaled = _mm256_mul_ps(self.0, _mm256_set1_ps(16_777_216.0));
            let bits = _mm256_castps_si256(_mm256_blendv_ps(self.0, scaled, subnormal));
            let exponent = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(127));
            let extra = _mm256_and_ps(subnormal, _mm256_set1_ps(24.0));
            let mantissa = _mm256_or_si256(
                _mm256_and_si256(bits, _mm256_set1_epi32(0x007F_FFFF)),
                _mm256_set1_epi32(0x3F80_0000),
            );
            (Self(_mm256_castsi256_ps(mantissa)), Self(_mm256_sub_ps(_mm256_cvtepi32_ps(exponent), extra)))
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: witness.
        unsafe {
            let x = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps::<1>(x, x)))
        }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: witness.
        unsafe {
            let x = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps::<1>(x, x)))
        }
    }
    apart!(Avx2, "avx2,fma,f16c");

    #[inline(always)]
    fn curve(self, act: Act) -> Self {
        // SAFETY: witness.
        unsafe { curve(act, self) }
    }
}

/// The activations with an exponential, once for all kernels.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn curve(act: Act, x: Avx2) -> Avx2 {
    super::act::curve(act, x)
}

/// An 8 x 8 block transposed: pairs, fours, then halves of vectors trade places.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn transposed(x: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the caller's.
    unsafe {
        let mut a = x;
        for i in (0..8).step_by(2) {
            a[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
            a[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
        }
        // b[4 g + j]: rows 4 g .. 4 g + 4, columns j and j + 4.
        let mut b = a;
        for g in [0, 4] {
            for half in 0..2 {
                let lo = _mm256_castps_pd(a[g + half]);
                let hi = _mm256_castps_pd(a[g + 2 + half]);
                b[g + 2 * half] = _mm256_castpd_ps(_mm256_unpacklo_pd(lo, hi));
                b[g + 2 * half + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(lo, hi));
            }
        }
        let mut out = x;
        for j in 0..4 {
            out[j] = _mm256_permute2f128_ps::<0x20>(b[j], b[4 + j]);
            out[j + 4] = _mm256_permute2f128_ps::<0x31>(b[j], b[4 + j]);
        }
        out
    }
}
