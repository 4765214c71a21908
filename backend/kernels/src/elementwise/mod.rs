//! Element-wise arithmetic on one to three f32 operands with broadcasting, and the activations.

mod apart;
mod scalar;
#[cfg(test)]
mod tests;
mod vector;

pub(crate) use scalar::offset;

use smallvec::SmallVec;
use tandem_base::{Span, SpanMut, Strided};

use crate::epilogue::Act;
use crate::kernel::{ArgError, Cost, Family, Kernel, check_in_place, check_len};
use crate::widen::tables;

/// The family.
pub struct Elementwise;

/// What is computed from x (and y).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Func {
    /// act(x)
    Act(Act),
    /// -x
    Neg,
    /// |x|
    Abs,
    /// e^x
    Exp,
    /// ln x
    Log,
    /// square root
    Sqrt,
    /// 1 / sqrt x
    Rsqrt,
    /// 1 / x
    Reciprocal,
    /// x * x
    Square,
    /// sin x
    Sin,
    /// cos x
    Cos,
    /// erf x
    Erf,
    /// binary logarithm
    Log2,
    /// decimal logarithm
    Log10,
    /// ln (1 + x)
    Log1p,
    /// e^x - 1
    Expm1,
    /// tan x
    Tan,
    /// arcus sine
    Asin,
    /// arcus cosine
    Acos,
    /// arcus tangent
    Atan,
    /// hyperbolic sine
    Sinh,
    /// hyperbolic cosine
    Cosh,
    /// inverse of sinh
    Asinh,
    /// inverse of cosh
    Acosh,
    /// inverse of tanh
    Atanh,
    /// floor
    Floor,
    /// ceiling
    Ceil,
    /// nearest, ties to even
    Round,
    /// toward zero
    Trunc,
    /// -1, 0 or 1; 0 for NaN, as in PyTorch
    Sign,
    /// x ^ a
    PowScalar(f32),
    /// x + a
    AddScalar(f32),
    /// x * a
    MulScalar(f32),
    /// x + alpha * y
    Add(f32),
    /// x - alpha * y
    Sub(f32),
    /// x * y
    Mul,
    /// x / y
    Div,
    /// larger (NaN wins)
    Max,
    /// smaller (NaN wins)
    Min,
    /// x ^ y
    Pow,
    /// The angle of the point (y, x), named as PyTorch does: of x over y.
    Atan2,
    /// x * y + z: per-channel scale and shift with y and z broadcast
    MulAdd,
}

impl Func {
    /// Whether it is computed lane by lane, by the system's library.
    pub(crate) fn is_rare(self) -> bool {
        use Func::*;
        matches!(
            self,
            Log2 | Log10
                | Log1p
                | Expm1
                | Tan
                | Asin
                | Acos
                | Atan
                | Sinh
                | Cosh
                | Asinh
                | Acosh
                | Atanh
                | Atan2
        )
    }

    /// Number of operands.
    pub fn arity(self) -> usize {
        match self {
            Self::Add(_)
            | Self::Sub(_)
            | Self::Mul
            | Self::Div
            | Self::Max
            | Self::Min
            | Self::Pow
            | Self::Atan2 => 2,
            Self::MulAdd => 3,
            _ => 1,
        }
    }
}

/// dst = act(func(x, y, z)), all of the destination's sizes; operands broadcast by strides of 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The function.
    pub func: Func,
    /// One shape per operand, each of the destination's sizes.
    pub src: SmallVec<[Strided; 3]>,
    /// Destination, any strides but 0.
    pub dst: Strided,
    /// Applied to the result.
    pub act: Act,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// As many as the function has operands; the rest empty. Each is disjoint from dst or exactly dst.
    pub src: [Span<'a, f32>; 3],
    /// Destination.
    pub dst: SpanMut<'a, f32>,
}

impl Family for Elementwise {
    const NAME: &'static str = "elementwise";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let read: usize = p.src.iter().map(|s| s.extent().min(s.elements())).sum();
        Cost { flops: p.dst.elements() as f64, bytes: 4.0 * (read + p.dst.elements()) as f64 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("dst", args.dst.len(), p.dst.extent())?;
        for (shape, span) in p.src.iter().zip(&args.src) {
            check_len("src", span.len(), shape.extent())?;
            check_in_place("src", (span, shape), (&args.dst, &p.dst))?;
        }
        Ok(())
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Elementwise>] = &[vector::AVX512, vector::AVX2, vector::NEON, scalar::ROW];

tables!(Elementwise);
