//! Loads and stores of elements as vectors of f32.

use crate::element::{Element, Format, bf16, f16};
use crate::simd::{MAX_LANES, Simd};

/// An element's. SAFETY of all: the CPU has the vector's instructions, the elements can be read or written.
pub(crate) trait Lanes: Element {
    /// `LANES` of them.
    unsafe fn load<V: Simd>(from: *const Self) -> V;
    /// The first `n`, at most `LANES`, zeros behind them.
    unsafe fn load_first<V: Simd>(from: *const Self, n: usize) -> V;
    /// All lanes, each rounded to the nearest.
    unsafe fn store<V: Simd>(x: V, to: *mut Self);
    /// The first `n`, at most `LANES`.
    unsafe fn store_first<V: Simd>(x: V, to: *mut Self, n: usize);
    /// The first and the second of `LANES` words of two.
    unsafe fn pairs<V: Simd>(from: *const Self) -> [V; 2];
}

impl<E: Element> Lanes for E {
    #[inline(always)]
    unsafe fn load<V: Simd>(from: *const Self) -> V {
        // SAFETY: the caller's.
        unsafe {
            match E::FORMAT {
                Format::F32 => V::load(from.cast()),
                Format::F16 => V::load_f16(from.cast::<f16>()),
                Format::Bf16 => V::load_bf16(from.cast::<bf16>()),
            }
        }
    }
    #[inline(always)]
    unsafe fn load_first<V: Simd>(from: *const Self, n: usize) -> V {
        // SAFETY: the caller's.
        unsafe {
            if E::FORMAT == Format::F32 {
                return V::load_first(from.cast(), n);
            }
            let mut all = [E::default(); MAX_LANES];
            std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), n);
            <E as Lanes>::load(all.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store<V: Simd>(x: V, to: *mut Self) {
        // SAFETY: the caller's.
        unsafe {
            match E::FORMAT {
                Format::F32 => x.store(to.cast()),
                Format::F16 => x.store_f16(to.cast::<f16>()),
                Format::Bf16 => x.store_bf16(to.cast::<bf16>()),
            }
        }
    }
    #[inline(always)]
    unsafe fn store_first<V: Simd>(x: V, to: *mut Self, n: usize) {
        // SAFETY: the caller's.
        unsafe {
            if E::FORMAT == Format::F32 {
                return x.store_first(to.cast(), n);
            }
            let mut all = [E::default(); MAX_LANES];
            <E as Lanes>::store(x, all.as_mut_ptr());
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, n);
        }
    }
    #[inline(always)]
    unsafe fn pairs<V: Simd>(from: *const Self) -> [V; 2] {
        // SAFETY: the caller's.
        unsafe {
            match E::FORMAT {
                Format::F32 => unreachable!("words of f32 hold one k"),
                Format::F16 => V::load_f16_pairs(from.cast::<f16>()),
                Format::Bf16 => V::load_bf16_pairs(from.cast::<bf16>()),
            }
        }
    }
}
