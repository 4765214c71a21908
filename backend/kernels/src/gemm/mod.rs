//! Matrix product: dst = epilogue(alpha * lhs * rhs), rhs packed panels or a strided matrix.

mod blocked;
mod scalar;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut, Strided};

use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::panels;

/// The family.
pub struct Gemm;

/// The right-hand side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rhs {
    /// Packed panels of k rows and n columns, shared by the whole batch.
    Panels,
    /// `[batch, k, n]` with any strides (0 in batch = shared).
    Strided(Strided),
}

/// dst[b, m, n] = epilogue(alpha * sum over k of lhs[b, m, k] * rhs[b, k, n]).
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// `[batch, m, k]`, any strides.
    pub lhs: Strided,
    /// The right-hand side.
    pub rhs: Rhs,
    /// `[batch, m, n]`, any strides (column-major included).
    pub dst: Strided,
    /// Factor on the product, 1.0 = none.
    pub alpha: f32,
    /// Its stages; `residual` has the destination's sizes. Column arrays run along n.
    pub epilogue: Epilogue,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Left-hand side.
    pub lhs: Span<'a, f32>,
    /// Panels or strided matrix.
    pub rhs: Span<'a, f32>,
    /// Columns padded to the panels' width, whatever the form of rhs.
    pub epilogue: EpilogueArgs<'a>,
    /// Destination, disjoint from lhs and rhs.
    pub dst: SpanMut<'a, f32>,
}

impl Problem {
    /// batch, m, n, k.
    pub fn sizes(&self) -> [usize; 4] {
        [self.dst.size(0), self.dst.size(1), self.dst.size(2), self.lhs.size(2)]
    }
}

impl Family for Gemm {
    const NAME: &'static str = "gemm";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let [b, m, n, k] = p.sizes();
        let rhs = match p.rhs {
            Rhs::Panels => k * n,
            Rhs::Strided(_) => b * k * n,
        };
        let residual = p.epilogue.residual.map_or(0, |r| r.elements());
        Cost {
            flops: 2.0 * (b * m * n) as f64 * k as f64,
            bytes: 4.0 * (b * m * k + rhs + b * m * n + residual) as f64,
        }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        let [_, _, n, k] = p.sizes();
        check_len("lhs", args.lhs.len(), p.lhs.extent())?;
        let rhs = match p.rhs {
            Rhs::Panels => k * panels::padded(n),
            Rhs::Strided(shape) => shape.extent(),
        };
        check_len("rhs", args.rhs.len(), rhs)?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("lhs", &args.lhs, &args.dst)?;
        check_disjoint("rhs", &args.rhs, &args.dst)?;
        p.epilogue.check(&args.epilogue, panels::padded(n))
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Gemm>] = &[
    scalar::ROW,
    #[cfg(target_arch = "x86_64")]
    blocked::AVX512,
    #[cfg(target_arch = "x86_64")]
    blocked::AVX2,
    #[cfg(target_arch = "aarch64")]
    blocked::NEON,
    #[cfg(target_arch = "aarch64")]
    crate::sme2::gemm_row::<crate::sme2::Sme2, crate::simd::Neon>("sme2-outer", tandem_base::Isa::SME2),
];
