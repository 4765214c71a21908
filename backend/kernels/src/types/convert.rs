//! Conversions between elements.

use super::{Bool, Type, with_type};
use crate::element::{bf16, f16};
use bytemuck::Pod;

/// An element that converts to every other.
pub(crate) trait Convert: Pod + Default + PartialEq {
    const TYPE: Type;

    /// Toward zero; 0 for NaN, the nearest beyond the range.
    fn to_i64(self) -> i64;
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
    /// The low bits, or the nearest float.
    fn from_i64(x: i64) -> Self;
    fn from_f64(x: f64) -> Self;
    fn from_f32(x: f32) -> Self;
}

/// An element as another type, by PyTorch's rules: to truth values by comparison with 0, to integers toward zero and
/// then by their low bits, to floats to the nearest.
#[inline(always)]
pub(crate) fn cast<S: Convert, D: Convert>(x: S) -> D {
    if D::TYPE == Type::Bool {
        D::from_i64(i64::from(x != S::default()))
    } else if !S::TYPE.is_float() || !D::TYPE.is_float() {
        D::from_i64(x.to_i64())
    } else if S::TYPE == Type::F64 || D::TYPE == Type::F64 {
        D::from_f64(x.to_f64())
    } else {
        D::from_f32(x.to_f32())
    }
}

/// Elements of a type as another, by [`cast`]; an incomplete last one is left out.
pub fn convert(bytes: &[u8], from: Type, to: Type) -> Vec<u8> {
    let mut converted = Vec::with_capacity(bytes.len() / from.width() * to.width());
    with_type!(from, S => with_type!(to, D => {
        for element in bytes.chunks_exact(from.width()) {
            let element: D = cast(bytemuck::pod_read_unaligned::<S>(element));
            converted.extend_from_slice(bytemuck::bytes_of(&element));
        }
    }));
    converted
}

macro_rules! integers {
    ($($type:ident: $name:ident),*) => {$(
        impl Convert for $type {
            const TYPE: Type = Type::$name;

            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as i64
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
            #[inline(always)]
            fn from_i64(x: i64) -> Self {
                x as Self
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as i64 as Self
            }
            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                x as i64 as Self
            }
        }
    )*};
}
integers!(i8: I8, u8: U8, i16: I16, i32: I32, i64: I64);

macro_rules! floats {
    ($($type:ident: $name:ident),*) => {$(
        impl Convert for $type {
            const TYPE: Type = Type::$name;

            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as i64
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }
            #[inline(always)]
            fn from_i64(x: i64) -> Self {
                x as Self
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as Self
            }
            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                x as Self
            }
        }
    )*};
}
floats!(f32: F32, f64: F64);

macro_rules! halves {
    ($($type:ident: $name:ident),*) => {$(
        impl Convert for $type {
            const TYPE: Type = Type::$name;

            #[inline(always)]
            fn to_i64(self) -> i64 {
                $type::to_f32(self) as i64
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                $type::to_f64(self)
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $type::to_f32(self)
            }
            #[inline(always)]
            fn from_i64(x: i64) -> Self {
                $type::from_f32(x as f32)
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                $type::from_f64(x)
            }
            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                $type::from_f32(x)
            }
        }
    )*};
}
halves!(f16: F16, bf16: Bf16);

impl Convert for Bool {
    const TYPE: Type = Type::Bool;

    #[inline(always)]
    fn to_i64(self) -> i64 {
        i64::from(self.get())
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self.get()))
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from(u8::from(self.get()))
    }
    #[inline(always)]
    fn from_i64(x: i64) -> Self {
        Self::from(x != 0)
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        Self::from(x != 0.0)
    }
    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        Self::from(x != 0.0)
    }
}
