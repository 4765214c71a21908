//! One lane: the vector of machines without any.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Simd, apart};
use crate::element::{bf16, f16};
use crate::epilogue::Act;

/// One f32.
#[derive(Clone, Copy, Debug)]
pub struct Scalar(f32);

/// The two-operand operators.
macro_rules! operators {
    ($($trait:ident $method:ident $op:tt),*) => {$(
        impl $trait for Scalar {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(self.0 $op other.0)
            }
        }
    )*};
}
operators!(Add add +, Sub sub -, Mul mul *, Div div /);

impl Neg for Scalar {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

// SAFETY: one lane, one element.
unsafe impl Simd for Scalar {
    const LANES: usize = 1;
    type Mask = bool;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self(x)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { from.read() })
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller's.
        Self(if n == 0 { 0.0 } else { unsafe { from.read() } })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { to.write(self.0) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        if n > 0 {
            // SAFETY: the caller's.
            unsafe { to.write(self.0) }
        }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller's.
        Self(f32::from(unsafe { from.read() }))
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8) {
        // SAFETY: the caller's.
        unsafe { to.write(self.0 as i8) }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { from.read() }.to_f32())
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16) {
        // SAFETY: the caller's.
        unsafe { to.write(f16::from_f32(self.0)) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { from.read() }.to_f32())
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        // SAFETY: the caller's.
        unsafe { to.write(bf16::from_f32(self.0)) }
    }
    #[inline(always)]
    unsafe fn load_f16_pairs(from: *const f16) -> [Self; 2] {
        // SAFETY: the caller's.
        unsafe { [Self::load_f16(from), Self::load_f16(from.add(1))] }
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(from: *const bf16) -> [Self; 2] {
        // SAFETY: the caller's.
        unsafe { [Self::load_bf16(from), Self::load_bf16(from.add(1))] }
    }
    #[inline(always)]
    unsafe fn transpose(src: (*const f32, usize), dst: (*mut f32, usize), rows: usize, cols: usize) {
        if rows * cols > 0 {
            // SAFETY: the caller's.
            unsafe { dst.0.write(src.0.read()) }
        }
    }
    #[inline(always)]
    fn all(self, x: f32) -> Self {
        Self(x)
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Self(self.0.mul_add(a.0, b.0))
    }
    #[inline(always)]
    fn neg_mul_add(self, a: Self, b: Self) -> Self {
        Self((-self.0).mul_add(a.0, b.0))
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self.0 < other.0 { self } else { other }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self.0 > other.0 { self } else { other }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.abs())
    }
    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        Self(self.0.copysign(sign.0))
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }
    #[inline(always)]
    fn round(self) -> Self {
        Self(self.0.round_ties_even())
    }
    #[inline(always)]
    fn floor(self) -> Self {
        Self(self.0.floor())
    }
    #[inline(always)]
    fn ceil(self) -> Self {
        Self(self.0.ceil())
    }
    #[inline(always)]
    fn trunc(self) -> Self {
        Self(self.0.trunc())
    }
    #[inline(always)]
    fn lt(self, other: Self) -> bool {
        self.0 < other.0
    }
    #[inline(always)]
    fn le(self, other: Self) -> bool {
        self.0 <= other.0
    }
    #[inline(always)]
    fn equal(self, other: Self) -> bool {
        self.0 == other.0
    }
    #[inline(always)]
    fn nan(self) -> bool {
        self.0.is_nan()
    }
    #[inline(always)]
    fn select(self, mask: bool, other: Self) -> Self {
        if mask { self } else { other }
    }
    #[inline(always)]
    fn any(mask: bool) -> bool {
        mask
    }
    #[inline(always)]
    fn times_exp2(self, n: Self) -> Self {
        Self(libm::scalbnf(self.0, n.0 as i32))
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        Self(f32::from_bits(self.0.to_bits() << 23))
    }
    #[inline(always)]
    fn unless(self, mask: bool) -> Self {
        if mask { Self(0.0) } else { self }
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let (mantissa, exponent) = libm::frexpf(self.0);
        (Self(2.0 * mantissa), Self((exponent - 1) as f32))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        self.0
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        self.0
    }
    apart!(Scalar);

    #[inline(always)]
    fn curve(self, act: Act) -> Self {
        super::act::curve(act, self)
    }
}
