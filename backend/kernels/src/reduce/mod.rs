//! Sums, means, extremes and products over any set of dimensions.

mod scalar;
#[cfg(test)]
mod tests;
mod vector;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};

/// The family.
pub struct Reduce;

/// The reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sum.
    Sum,
    /// Sum over the number of elements.
    Mean,
    /// Largest (NaN wins).
    Max,
    /// Smallest (NaN wins).
    Min,
    /// Product.
    Prod,
}

/// dst[kept] = kind over reduced dimensions of src. Sums are pairwise or wider than f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source, any strides.
    pub src: Strided,
    /// Which dimensions of src are reduced (bit i = dimension i).
    pub dims: u32,
    /// Destination with the rank of src, extent 1 where reduced.
    pub dst: Strided,
    /// Reduction.
    pub kind: Kind,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source.
    pub src: Span<'a, f32>,
    /// Destination, disjoint from the source.
    pub dst: SpanMut<'a, f32>,
}

impl Family for Reduce {
    const NAME: &'static str = "reduce";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        Cost { flops: p.src.elements() as f64, bytes: 4.0 * (p.src.elements() + p.dst.elements()) as f64 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("src", &args.src, &args.dst)
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Reduce>] = &[vector::AVX512, vector::AVX2, vector::NEON, scalar::ROW];
