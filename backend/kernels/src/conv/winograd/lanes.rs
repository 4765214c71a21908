//! The vector operations the transforms and products are written in.

/// A vector of f32. Every method needs the instruction set of its implementor enabled in the calling function, into
/// which all of them inline.
pub(super) trait Lanes: Copy {
    /// Number of elements, a divisor of 16.
    const N: usize;
    /// All elements `x`.
    unsafe fn splat(x: f32) -> Self;
    /// `N` elements, any alignment.
    unsafe fn load(p: *const f32) -> Self;
    /// The first `n` elements, zero behind them; reads nothing behind them.
    unsafe fn load_first(p: *const f32, n: usize) -> Self;
    /// Stores `N` elements, any alignment.
    unsafe fn store(self, p: *mut f32);
    /// Stores the first `n` elements; touches nothing behind them.
    unsafe fn store_first(self, p: *mut f32, n: usize);
    /// Asks for the cache line of an address, which need not exist, into L2.
    unsafe fn prefetch(address: *const f32);
    /// self + b
    unsafe fn add(self, b: Self) -> Self;
    /// self - b
    unsafe fn sub(self, b: Self) -> Self;
    /// self * b
    unsafe fn mul(self, b: Self) -> Self;
    /// self * b + c, rounded once
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// c - self * b, rounded once
    unsafe fn neg_mul_add(self, b: Self, c: Self) -> Self;
    /// max(self, b), b where either is NaN
    unsafe fn max(self, b: Self) -> Self;
    /// min(self, b), b where either is NaN
    unsafe fn min(self, b: Self) -> Self;
}

mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    macro_rules! forward {
        ($($name:ident($($arg:ident),*) = $intrinsic:expr;)*) => {
            $(#[inline(always)]
            unsafe fn $name(self $(, $arg: Self)*) -> Self {
                // SAFETY: the caller has the instruction set enabled.
                unsafe { $intrinsic(self $(, $arg)*) }
            })*
        };
    }

    // SAFETY of both implementations: the caller has the instruction set enabled and answers for the addresses.
    impl Lanes for __m512 {
        const N: usize = 16;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn load_first(p: *const f32, n: usize) -> Self {
            // SAFETY: see above.
            unsafe { _mm512_maskz_loadu_ps((1u32.wrapping_shl(n as u32) - 1) as u16, p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, p: *mut f32, n: usize) {
            // SAFETY: see above.
            unsafe { _mm512_mask_storeu_ps(p, (1u32.wrapping_shl(n as u32) - 1) as u16, self) }
        }
        #[inline(always)]
        unsafe fn prefetch(address: *const f32) {
            // SAFETY: a hint, without effect where the address does not exist.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
        }
        forward! {
            add(b) = _mm512_add_ps;
            sub(b) = _mm512_sub_ps;
            mul(b) = _mm512_mul_ps;
            mul_add(b, c) = _mm512_fmadd_ps;
            neg_mul_add(b, c) = _mm512_fnmadd_ps;
            max(b) = _mm512_max_ps;
            min(b) = _mm512_min_ps;
        }
    }

    #[inline(always)]
    unsafe fn first(n: usize) -> __m256i {
        // SAFETY: the caller has AVX2 enabled.
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
    }

    impl Lanes for __m256 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn load_first(p: *const f32, n: usize) -> Self {
            // SAFETY: see above.
            unsafe { _mm256_maskload_ps(p, first(n)) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm256_storeu_ps(p, self) }
        }
        #[inline(always)]
        unsafe fn store_first(self, p: *mut f32, n: usize) {
            // SAFETY: see above.
            unsafe { _mm256_maskstore_ps(p, first(n), self) }
        }
        #[inline(always)]
        unsafe fn prefetch(address: *const f32) {
            // SAFETY: a hint, without effect where the address does not exist.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
        }
        forward! {
            add(b) = _mm256_add_ps;
            sub(b) = _mm256_sub_ps;
            mul(b) = _mm256_mul_ps;
            mul_add(b, c) = _mm256_fmadd_ps;
            neg_mul_add(b, c) = _mm256_fnmadd_ps;
            max(b) = _mm256_max_ps;
            min(b) = _mm256_min_ps;
        }
    }
}
