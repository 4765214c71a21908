//! Reductions of elements of any type: sums and extremes of integers, truth values, and where an extreme is.

mod scalar;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::types::Type;

/// The family.
pub struct Fold;

/// The reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sum, wrapping where integers do not hold it.
    Sum,
    /// Product, likewise.
    Prod,
    /// Sum over the number of elements, of f32 and f64.
    Mean,
    /// Largest (NaN wins).
    Max,
    /// Smallest (NaN wins).
    Min,
    /// Whether any is not 0, a truth value.
    Any,
    /// Whether none is 0, a truth value.
    All,
    /// Where the first largest is (NaN is), an i64: its number in row-major order of the reduced dimensions.
    ArgMax,
    /// Where the first smallest is (NaN is), likewise.
    ArgMin,
}

impl Kind {
    /// Type of the result for elements of a type.
    pub fn result(self, of: Type) -> Type {
        match self {
            Self::Any | Self::All => Type::Bool,
            Self::ArgMax | Self::ArgMin => Type::I64,
            _ => of,
        }
    }
}

/// dst[kept] = kind over reduced dimensions of src.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source, any strides; not empty where an extreme is asked for.
    pub src: Strided,
    /// Of the source, no 16-bit float.
    pub of: Type,
    /// Which dimensions of src are reduced (bit i = dimension i).
    pub dims: u32,
    /// Destination with the rank of src, extent 1 where reduced; its type is [`Kind::result`].
    pub dst: Strided,
    /// Reduction.
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

impl Family for Fold {
    const NAME: &'static str = "fold";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let bytes = p.of.width() * p.src.elements() + p.kind.result(p.of).width() * p.dst.elements();
        Cost { flops: p.src.elements() as f64, bytes: bytes as f64 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent() * p.of.width())?;
        check_len("dst", args.dst.len(), p.dst.extent() * p.kind.result(p.of).width())?;
        check_disjoint("src", &args.src, &args.dst)
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Fold>] = &[scalar::ROW];
