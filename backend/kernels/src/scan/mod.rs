//! Running sums, products and extremes along a dimension.

mod scalar;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::types::Type;

/// The family.
pub struct Scan;

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sum.
    Sum,
    /// Product.
    Prod,
    /// Logarithm of the sum of exponentials; of f32.
    LogSumExp,
    /// Where the largest is, the last of equal ones; NaN is larger than anything. As i64.
    ArgMax,
    /// Where the smallest is, the last of equal ones; NaN is smaller than anything. As i64.
    ArgMin,
}

/// dst[i] along `dim` = kind of src[0..=i]. f32 accumulates in f64, integers wrap.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source, any strides.
    pub src: Strided,
    /// Destination, any strides but 0.
    pub dst: Strided,
    /// Of both, or of the source where the kind gives places; no 16-bit float.
    pub of: Type,
    /// Dimension.
    pub dim: usize,
    /// What runs.
    pub kind: Kind,
}

/// Operands of a [`Problem`], as bytes aligned to their elements.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source.
    pub src: Span<'a, u8>,
    /// Destination, disjoint from the source.
    pub dst: SpanMut<'a, u8>,
}

impl Problem {
    /// Of the destination.
    pub fn to(&self) -> Type {
        if matches!(self.kind, Kind::ArgMax | Kind::ArgMin) { Type::I64 } else { self.of }
    }
}

impl Family for Scan {
    const NAME: &'static str = "scan";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let n = p.src.elements() as f64;
        Cost { flops: n, bytes: n * (p.of.width() + p.to().width()) as f64 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent() * p.of.width())?;
        check_len("dst", args.dst.len(), p.dst.extent() * p.to().width())?;
        check_disjoint("src", &args.src, &args.dst)
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Scan>] = &[scalar::ROW];
