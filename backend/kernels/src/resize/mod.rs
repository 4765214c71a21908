//! Nearest, bilinear and bicubic resampling of images, with PyTorch's coordinates.

mod plane;
mod scalar;
mod taps;
#[cfg(test)]
mod tests;
mod vector;

use tandem_base::{Span, SpanMut, Strided};

pub(crate) use taps::cubic;

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};

/// The family.
pub struct Resize;

/// The filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nearest (floor of the scaled index).
    Nearest,
    /// Two by two.
    Bilinear,
    /// Four by four, a = -0.75.
    Bicubic,
}

/// dst[n, c, y, x] = filter of src[n, c] around the source coordinate of (y, x); shapes `[n, c, h, w]`, any strides.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source image.
    pub src: Strided,
    /// Destination image.
    pub dst: Strided,
    /// Filter.
    pub kind: Kind,
    /// Corner pixels coincide.
    pub align_corners: bool,
    /// Source step per destination pixel [y, x] where the caller gave scale factors (1 / factor).
    pub step: [Option<f64>; 2],
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source.
    pub src: Span<'a, f32>,
    /// Destination, disjoint from the source.
    pub dst: SpanMut<'a, f32>,
}

impl Family for Resize {
    const NAME: &'static str = "resize";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let taps = p.kind.taps() * p.kind.taps();
        Cost {
            flops: 2.0 * (p.dst.elements() * taps) as f64,
            bytes: 4.0 * (p.src.elements() + p.dst.elements()) as f64,
        }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("src", &args.src, &args.dst)
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Resize>] =
    &[vector::AVX512, vector::AVX2, vector::NEON, plane::AVX512, plane::AVX2, plane::NEON, scalar::ROW];
