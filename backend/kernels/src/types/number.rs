//! Arithmetic of elements in their own type.

use super::{Bool, Convert};

/// An element with arithmetic: wrapping for integers, by IEEE 754 for floats, of 0 and 1 for truth values.
pub(crate) trait Number: Convert + PartialOrd {
    const ONE: Self;

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// Toward zero; 0 where integers are divided by 0.
    fn trunc_div(self, other: Self) -> Self;
    /// Toward negative infinity; 0 where integers are divided by 0.
    fn floor_div(self, other: Self) -> Self;
    /// What is left of [`Number::trunc_div`].
    fn fmod(self, other: Self) -> Self;
    /// What is left of [`Number::floor_div`].
    fn remainder(self, other: Self) -> Self;
    fn neg(self) -> Self;
    /// Bit by bit; of floats nothing.
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    /// 0 where bits are moved by their number or more.
    fn shift_left(self, by: Self) -> Self;
    /// Filled with the sign.
    fn shift_right(self, by: Self) -> Self;

    /// Whether it equals nothing.
    #[inline(always)]
    #[expect(clippy::eq_op, reason = "only NaN differs from itself")]
    fn is_nan(self) -> bool {
        self != self
    }
    /// The larger; NaN where either is.
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self.is_nan() || self > other { self } else { other }
    }
    /// The smaller; NaN where either is.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self.is_nan() || self < other { self } else { other }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        if self < Self::default() { self.neg() } else { self }
    }
    /// -1, 0 or 1; 0 for NaN.
    #[inline(always)]
    fn sign(self) -> Self {
        match self.partial_cmp(&Self::default()) {
            Some(std::cmp::Ordering::Less) => Self::ONE.neg(),
            Some(std::cmp::Ordering::Greater) => Self::ONE,
            _ => Self::default(),
        }
    }
}

macro_rules! integers {
    ($($type:ident: $name:ident),*) => {$(
        impl Number for $type {
            const ONE: Self = 1;

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn trunc_div(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }
            #[inline(always)]
            fn floor_div(self, other: Self) -> Self {
                let (near, left) = (self.trunc_div(other), self.fmod(other));
                if left != 0 && (left.to_i64() < 0) != (other.to_i64() < 0) { near - 1 } else { near }
            }
            #[inline(always)]
            fn fmod(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_rem(other) }
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                let left = self.fmod(other);
                if left != 0 && (left.to_i64() < 0) != (other.to_i64() < 0) { left + other } else { left }
            }
            #[inline(always)]
            fn neg(self) -> Self {
                self.wrapping_neg()
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn shift_left(self, by: Self) -> Self {
                u32::try_from(by).ok().and_then(|by| self.checked_shl(by)).unwrap_or(0)
            }
            #[inline(always)]
            fn shift_right(self, by: Self) -> Self {
                let shifted = u32::try_from(by).ok().and_then(|by| self.checked_shr(by));
                shifted.unwrap_or(if self.to_i64() < 0 { !0 } else { 0 })
            }
        }
    )*};
}
integers!(i8: I8, u8: U8, i16: I16, i32: I32, i64: I64);

macro_rules! floats {
    ($($type:ident: $name:ident),*) => {$(
        impl Number for $type {
            const ONE: Self = 1.0;

            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn trunc_div(self, other: Self) -> Self {
                (self / other).trunc()
            }
            /// The quotient of what the remainder leaves, so that rounding never puts it one off.
            #[inline(always)]
            fn floor_div(self, other: Self) -> Self {
                if other == 0.0 {
                    return self / other;
                }
                let whole = (self - self.remainder(other)) / other;
                if whole == 0.0 { (0.0 as Self).copysign(self / other) } else { whole.round() }
            }
            #[inline(always)]
            fn fmod(self, other: Self) -> Self {
                self % other
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                let left = self % other;
                if left != 0.0 && (left < 0.0) != (other < 0.0) { left + other } else { left }
            }
            #[inline(always)]
            fn neg(self) -> Self {
                -self
            }
            #[inline(always)]
            fn and(self, _: Self) -> Self {
                self
            }
            #[inline(always)]
            fn or(self, _: Self) -> Self {
                self
            }
            #[inline(always)]
            fn xor(self, _: Self) -> Self {
                self
            }
            #[inline(always)]
            fn not(self) -> Self {
                self
            }
            #[inline(always)]
            fn shift_left(self, _: Self) -> Self {
                self
            }
            #[inline(always)]
            fn shift_right(self, _: Self) -> Self {
                self
            }
        }
    )*};
}
floats!(f32: F32, f64: F64);

/// Sums are "or", products "and"; quotients, of which PyTorch has none, are the dividend.
impl Number for Bool {
    const ONE: Self = Self(1);

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.or(other)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.xor(other)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.and(other)
    }
    #[inline(always)]
    fn trunc_div(self, _: Self) -> Self {
        self
    }
    #[inline(always)]
    fn floor_div(self, _: Self) -> Self {
        self
    }
    #[inline(always)]
    fn fmod(self, _: Self) -> Self {
        self
    }
    #[inline(always)]
    fn remainder(self, _: Self) -> Self {
        self
    }
    #[inline(always)]
    fn neg(self) -> Self {
        self
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self::from(self.get() & other.get())
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self::from(self.get() | other.get())
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self::from(self.get() ^ other.get())
    }
    #[inline(always)]
    fn not(self) -> Self {
        Self::from(!self.get())
    }
    #[inline(always)]
    fn shift_left(self, _: Self) -> Self {
        self
    }
    #[inline(always)]
    fn shift_right(self, _: Self) -> Self {
        self
    }
}
