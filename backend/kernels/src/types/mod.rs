//! Elements of every type a tensor can have, their arithmetic and the conversions between them.

mod convert;
mod number;

use bytemuck::{Pod, Zeroable};

pub use convert::convert;
pub(crate) use convert::{Convert, cast};
pub(crate) use number::Number;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// f32
    F32,
    /// f16
    F16,
    /// bf16
    Bf16,
    /// f64
    F64,
    /// i8
    I8,
    /// u8
    U8,
    /// i16
    I16,
    /// i32
    I32,
    /// i64
    I64,
    /// A byte: 0 is false, 1 is true.
    Bool,
}

impl Type {
    /// Every type, in the order of the schemas' `DType`.
    pub const ALL: [Self; 10] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::F64,
        Self::I8,
        Self::U8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::Bool,
    ];

    /// By its number among [`Type::ALL`].
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Bytes of an element.
    pub fn width(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether elements have a fraction.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::F64)
    }

    /// Whether elements are whole numbers with arithmetic of their own.
    pub fn is_integer(self) -> bool {
        !self.is_float() && self != Self::Bool
    }
}

/// Runs an expression with `$T` the Rust type of a [`Type`]: all of them, or those kernels compute in (not the 16-bit
/// floats, which are computed in f32).
macro_rules! with_type {
    ($type:expr, $T:ident => $body:expr) => {
        match $type {
            $crate::types::Type::F16 => {
                type $T = $crate::element::f16;
                $body
            }
            $crate::types::Type::Bf16 => {
                type $T = $crate::element::bf16;
                $body
            }
            computed => $crate::types::with_type!(computed computed, $T => $body, unreachable!("matched above")),
        }
    };
    (computed $type:expr, $T:ident => $body:expr, $other:expr) => {
        match $type {
            $crate::types::Type::F32 => {
                type $T = f32;
                $body
            }
            $crate::types::Type::F64 => {
                type $T = f64;
                $body
            }
            $crate::types::Type::I8 => {
                type $T = i8;
                $body
            }
            $crate::types::Type::U8 => {
                type $T = u8;
                $body
            }
            $crate::types::Type::I16 => {
                type $T = i16;
                $body
            }
            $crate::types::Type::I32 => {
                type $T = i32;
                $body
            }
            $crate::types::Type::I64 => {
                type $T = i64;
                $body
            }
            $crate::types::Type::Bool => {
                type $T = $crate::types::Bool;
                $body
            }
            _ => $other,
        }
    };
}
pub(crate) use with_type;

/// A truth value: 0 or 1, as read anything else counts as 1.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Bool(u8);

impl Bool {
    /// Whether it is set.
    #[inline(always)]
    pub fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Bool {
    #[inline(always)]
    fn from(x: bool) -> Self {
        Self(u8::from(x))
    }
}

impl PartialEq for Bool {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl PartialOrd for Bool {
    #[inline(always)]
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.get().partial_cmp(&other.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::{bf16, f16};

    #[test]
    fn casts_follow_pytorch() {
        assert_eq!(cast::<f32, i64>(-2.7), -2);
        assert_eq!(cast::<f32, i64>(f32::NAN), 0);
        assert_eq!(cast::<i64, u8>(-1), 255);
        assert_eq!(cast::<f32, u8>(-1.5), 255);
        assert_eq!(cast::<i64, f32>(16_777_217), 16_777_216.0);
        assert!(cast::<f32, Bool>(0.25).get() && cast::<f32, Bool>(f32::NAN).get());
        assert!(!cast::<f32, Bool>(-0.0).get());
        assert_eq!(cast::<Bool, f16>(Bool::from(true)), f16::ONE);
        assert_eq!(cast::<f64, f32>(0.1), 0.1);
        assert_eq!(cast::<f32, bf16>(1.0 + 1.0 / 256.0), bf16::ONE);
    }

    #[test]
    fn quotients_round_as_named() {
        for (a, b, floor, trunc, remainder, fmod) in
            [(7, 2, 3, 3, 1, 1), (-7, 2, -4, -3, 1, -1), (7, -2, -4, -3, -1, 1), (-7, -2, 3, 3, -1, -1)]
        {
            let integers = [a.floor_div(b), a.trunc_div(b), Number::remainder(a, b), a.fmod(b)];
            assert_eq!(integers, [floor, trunc, remainder, fmod]);
            let (a, b) = (f64::from(a), f64::from(b));
            let floats = [a.floor_div(b), a.trunc_div(b), Number::remainder(a, b), a.fmod(b)];
            assert_eq!(floats, [floor, trunc, remainder, fmod].map(f64::from));
        }
        assert_eq!([5i64.floor_div(0), 5i64.trunc_div(0), 5i64.fmod(0)], [0; 3]);
        assert_eq!(i64::MIN.trunc_div(-1), i64::MIN);
        assert_eq!(250u8.floor_div(7), 35);
        assert_eq!(1.0f32.floor_div(0.0), f32::INFINITY);
        assert_eq!(1.0f32.floor_div(0.1), 9.0);
        assert_eq!([1i32.shift_left(40), (-8i32).shift_right(40)], [0, -1]);
        assert_eq!(200u8.shift_right(9), 0);
    }

    #[test]
    fn nothing_is_larger_than_nan() {
        assert!(Number::max(f32::NAN, 1.0).is_nan() && Number::max(1.0, f32::NAN).is_nan());
        assert!(Number::min(f32::NAN, 1.0).is_nan() && Number::min(1.0, f32::NAN).is_nan());
        assert_eq!([3i8.sign(), (-3i8).sign(), 0i8.sign()], [1, -1, 0]);
        assert_eq!([Number::sign(f32::NAN), Number::sign(-0.5f32)], [0.0, -1.0]);
    }
}
