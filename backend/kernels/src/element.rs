//! What products read and write: f32, or 16-bit floats. Sums, bias, scale and shift are f32 with all of them.

use std::fmt::Debug;

use bytemuck::Pod;
pub use half::{bf16, f16};

/// What panels and slabs hold in words of 32 bits.
pub trait Packed: Pod + Default + Debug + PartialEq + Send + Sync {
    /// Elements of a word: `g` of the panels.
    const PER_WORD: usize = size_of::<u32>() / size_of::<Self>();
}

impl Packed for f32 {}
impl Packed for f16 {}
impl Packed for bf16 {}
impl Packed for i8 {}

/// Which element, for those who hold one function for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// f32
    F32,
    /// f16
    F16,
    /// bf16
    Bf16,
}

/// An element of a product's sources, weights and destination.
pub trait Element: Packed {
    /// Which one.
    const FORMAT: Format;

    /// The same value.
    fn to_f32(self) -> f32;

    /// The nearest value, of two the even one.
    fn from_f32(x: f32) -> Self;
}

impl Element for f32 {
    const FORMAT: Format = Format::F32;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }
}

macro_rules! halves {
    ($($element:ident: $format:ident),*) => {
        $(impl Element for $element {
            const FORMAT: Format = Format::$format;
            #[inline]
            fn to_f32(self) -> f32 {
                $element::to_f32(self)
            }
            #[inline]
            fn from_f32(x: f32) -> Self {
                $element::from_f32(x)
            }
        })*
    };
}
halves!(f16: F16, bf16: Bf16);
