//! The order of elements along a dimension.

mod scalar;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::types::Type;

/// The family.
pub struct ArgSort;

/// dst[i] along `dim` = where the i-th smallest (or largest) element of src is along it, an i64. Equal elements stay in
/// their order; NaN is larger than everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source, any strides.
    pub src: Strided,
    /// Of the source, no 16-bit float.
    pub of: Type,
    /// Places, any strides but 0; along `dim` as many as are wanted.
    pub dst: Strided,
    /// Dimension.
    pub dim: usize,
    /// Largest first.
    pub descending: bool,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source, as bytes aligned to its elements.
    pub src: Span<'a, u8>,
    /// Places, disjoint from the source.
    pub dst: SpanMut<'a, i64>,
}

impl Family for ArgSort {
    const NAME: &'static str = "argsort";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let n = p.src.elements() as f64;
        Cost { flops: n, bytes: n * p.of.width() as f64 + 8.0 * p.dst.elements() as f64 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent() * p.of.width())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("src", &args.src, &args.dst)
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<ArgSort>] = &[scalar::ROW];
