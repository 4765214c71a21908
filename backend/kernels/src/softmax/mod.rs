//! Softmax and log-softmax along one dimension.

mod apart;
pub(crate) mod row;
mod scalar;
#[cfg(test)]
mod tests;
mod vector;

#[cfg(any(target_arch = "aarch64", test, feature = "emulated"))]
pub(crate) use scalar::rows;
use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_in_place, check_len};
use crate::widen::tables;
#[cfg(any(test, feature = "emulated"))]
use crate::{simd::Scalar, sme2::Emulated};

/// The family.
pub struct Softmax;

/// dst = softmax(src) along `dim`, or its logarithm.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source, any strides.
    pub src: Strided,
    /// Destination of the same sizes, any strides.
    pub dst: Strided,
    /// The dimension.
    pub dim: usize,
    /// log-softmax.
    pub log: bool,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source, disjoint from dst or exactly dst.
    pub src: Span<'a, f32>,
    /// Destination.
    pub dst: SpanMut<'a, f32>,
}

impl Family for Softmax {
    const NAME: &'static str = "softmax";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        Cost { flops: 4.0 * p.dst.elements() as f64, bytes: 8.0 * p.dst.elements() as f64 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_in_place("src", (&args.src, &p.src), (&args.dst, &p.dst))
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Softmax>] = &[
    vector::AVX512,
    vector::AVX2,
    vector::NEON,
    scalar::ROW,
    #[cfg(target_arch = "aarch64")]
    crate::sme2::softmax_row::<crate::sme2::Sme2, crate::simd::Neon>("sme2-rows", tandem_base::Isa::SME2),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::softmax_row::<Emulated<4>, Scalar>("emulated-sme2-128", tandem_base::Isa::EMULATED_SME2_128),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::softmax_row::<Emulated<8>, Scalar>("emulated-sme2-256", tandem_base::Isa::EMULATED_SME2_256),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::softmax_row::<Emulated<16>, Scalar>(
        "emulated-sme2-512",
        tandem_base::Isa::EMULATED_SME2_512,
    ),
];

tables!(Softmax);
