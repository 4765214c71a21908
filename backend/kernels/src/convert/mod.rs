//! Conversions between f32 and i8, any strides.

mod scalar;
#[cfg(test)]
mod tests;
mod vector;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::quant::Affine;
#[cfg(any(test, feature = "emulated"))]
use crate::sme2::Emulated;

/// dst = src / scale, rounded to the nearest even, + zero, as i8; NaN becomes the zero point.
pub struct Quantise;

/// dst = (src - zero) * scale.
pub struct Dequantise;

/// Shapes of equal sizes and how the i8 are scaled.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source, any strides.
    pub src: Strided,
    /// Destination, any strides but 0.
    pub dst: Strided,
    /// Of the i8.
    pub affine: Affine,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a, S, D> {
    /// Source.
    pub src: Span<'a, S>,
    /// Destination, disjoint from the source.
    pub dst: SpanMut<'a, D>,
}

fn check<S, D>(p: &Problem, args: &Args<'_, S, D>) -> Result<(), ArgError> {
    check_len("src", args.src.len(), p.src.extent())?;
    check_len("dst", args.dst.len(), p.dst.extent())?;
    check_disjoint("src", &args.src, &args.dst)
}

fn cost(p: &Problem) -> Cost {
    let n = p.dst.elements() as f64;
    Cost { flops: 2.0 * n, bytes: 5.0 * n }
}

impl Family for Quantise {
    const NAME: &'static str = "quantise";
    type Problem = Problem;
    type Args<'a> = Args<'a, f32, i8>;

    fn cost(p: &Problem) -> Cost {
        cost(p)
    }

    fn check(p: &Problem, args: &Self::Args<'_>) -> Result<(), ArgError> {
        check(p, args)
    }
}

impl Family for Dequantise {
    const NAME: &'static str = "dequantise";
    type Problem = Problem;
    type Args<'a> = Args<'a, i8, f32>;

    fn cost(p: &Problem) -> Cost {
        cost(p)
    }

    fn check(p: &Problem, args: &Self::Args<'_>) -> Result<(), ArgError> {
        check(p, args)
    }
}

/// Every row of [`Quantise`].
pub static QUANTISE: &[Kernel<Quantise>] = &[
    scalar::QUANTISE,
    vector::to_i8::AVX512,
    vector::to_i8::AVX2,
    vector::to_i8::NEON,
    #[cfg(target_arch = "aarch64")]
    crate::sme2::quantise_row::<crate::sme2::Sme2>("sme2-runs", tandem_base::Isa::SME2),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::quantise_row::<Emulated<4>>("emulated-sme2-128", tandem_base::Isa::EMULATED_SME2_128),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::quantise_row::<Emulated<8>>("emulated-sme2-256", tandem_base::Isa::EMULATED_SME2_256),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::quantise_row::<Emulated<16>>("emulated-sme2-512", tandem_base::Isa::EMULATED_SME2_512),
];

/// Every row of [`Dequantise`].
pub static DEQUANTISE: &[Kernel<Dequantise>] = &[
    scalar::DEQUANTISE,
    vector::from_i8::AVX512,
    vector::from_i8::AVX2,
    vector::from_i8::NEON,
    #[cfg(target_arch = "aarch64")]
    crate::sme2::dequantise_row::<crate::sme2::Sme2>("sme2-runs", tandem_base::Isa::SME2),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::dequantise_row::<Emulated<4>>("emulated-sme2-128", tandem_base::Isa::EMULATED_SME2_128),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::dequantise_row::<Emulated<8>>("emulated-sme2-256", tandem_base::Isa::EMULATED_SME2_256),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::dequantise_row::<Emulated<16>>("emulated-sme2-512", tandem_base::Isa::EMULATED_SME2_512),
];
