//! Matrix product with quantised weights: rows of lhs are quantised to i8 as they come, sums are exact.

#[cfg(target_arch = "aarch64")]
mod neon;
mod pipeline;
mod scalar;
pub(crate) mod slabs;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, Refusal, check_disjoint, check_len};
use crate::panels;
pub use crate::quant::Affine;
pub(crate) use crate::quant::{Parameters, bound, bounds, column, rounded};
#[cfg(any(test, feature = "emulated"))]
use crate::sme2::Emulated;
pub use pipeline::Pipeline;

/// The family.
pub struct Qgemm;

/// The panels of rhs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// i8, words of four k, a scale per column.
    I8,
    /// i4, words of eight k, a scale per column.
    I4,
    /// i4, words of eight k, a scale per column and `size` k: scales are `[k / size][n]`. With [`Scheme::Dynamic`] only.
    I4Groups {
        /// A multiple of 32 that divides k.
        size: usize,
    },
}

/// What quantises lhs, and what becomes of the sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scheme {
    /// Every row by its own extremes, as PyTorch's `choose_qparams_per_token_asymmetric`; sums become f32.
    Dynamic,
    /// All rows the same way; the result is rounded to i8 values of its own scale.
    Static {
        /// Of lhs.
        lhs: Affine,
        /// Of the destination.
        dst: Affine,
    },
}

/// dst[m, n] = clamp(sum over k of lhs[m, k] * rhs[k, n] + bias[n]), quantised as the scheme says.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// `[m, k]`, any strides.
    pub lhs: Strided,
    /// `[m, n]`, any strides.
    pub dst: Strided,
    /// Form of rhs.
    pub weights: Weights,
    /// Form of lhs and dst.
    pub scheme: Scheme,
    /// Whether there is a bias.
    pub bias: bool,
    /// Lower and upper bound, may be infinite; NaN passes through.
    pub clamp: [f32; 2],
}

/// Operands of a [`Problem`]; column arrays are padded to the panels' width.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Left-hand side.
    pub lhs: Span<'a, f32>,
    /// Panels.
    pub rhs: Span<'a, u8>,
    /// Sum over k of every column of rhs; empty where k has groups.
    pub sums: Span<'a, i32>,
    /// The same times their scales where k has groups, else empty.
    pub scaled_sums: Span<'a, f32>,
    /// Scales of the columns of rhs.
    pub scale: Span<'a, f32>,
    /// Bias per column, or empty.
    pub bias: Span<'a, f32>,
    /// Destination, disjoint from all others.
    pub dst: SpanMut<'a, f32>,
}

impl Problem {
    /// m, n, k.
    pub fn sizes(&self) -> [usize; 3] {
        [self.dst.size(0), self.dst.size(1), self.lhs.size(1)]
    }

    /// Words of a column of rhs.
    pub fn words(&self) -> usize {
        self.sizes()[2].div_ceil(match self.weights {
            Weights::I8 => 4,
            Weights::I4 | Weights::I4Groups { .. } => 8,
        })
    }

    /// Scales of a column of rhs.
    pub fn scales(&self) -> usize {
        match self.weights {
            Weights::I4Groups { size } => self.sizes()[2] / size,
            _ => 1,
        }
    }

    /// `Err` where rows do not run on in memory, or sums of i32 do not hold what may come.
    pub(crate) fn in_rows(&self) -> Result<(), Refusal> {
        /// Most k: sums of products stay below 2^29, and so do those of columns times a zero point.
        const MAX_K: usize = 1 << 15;
        let [_, n, k] = self.sizes();
        self.consistent()?;
        let refusals = [
            (k == 0, "nothing to sum"),
            (k > MAX_K, "sums beyond their bound"),
            (self.lhs.stride(1) != 1 && k > 1, "k of lhs is not contiguous"),
            (self.dst.stride(1) != 1 && n > 1, "columns of dst are not contiguous"),
        ];
        refusals.into_iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, why)| Err(why))
    }

    /// `Err` where the weights do not go with the rest.
    pub(crate) fn consistent(&self) -> Result<(), Refusal> {
        match self.weights {
            Weights::I4Groups { .. } if self.scheme != Scheme::Dynamic => Err("groups of k, static"),
            Weights::I4Groups { size }
                if size == 0 || !size.is_multiple_of(32) || !self.sizes()[2].is_multiple_of(size) =>
            {
                Err("groups of k that do not divide it")
            }
            _ => Ok(()),
        }
    }
}

impl Family for Qgemm {
    const NAME: &'static str = "qgemm";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let [m, n, k] = p.sizes();
        Cost {
            flops: 2.0 * (m * n) as f64 * k as f64,
            bytes: 4.0 * (m * k + m * n + p.words() * panels::padded(n)) as f64,
        }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        let columns = panels::padded(p.sizes()[1]);
        check_len("lhs", args.lhs.len(), p.lhs.extent())?;
        check_len("rhs", args.rhs.len(), 4 * p.words() * columns)?;
        let groups = matches!(p.weights, Weights::I4Groups { .. });
        check_len("sums", args.sums.len(), if groups { 0 } else { columns })?;
        check_len("scaled sums", args.scaled_sums.len(), if groups { columns } else { 0 })?;
        check_len("scale", args.scale.len(), p.scales() * columns)?;
        check_len("bias", args.bias.len(), if p.bias { columns } else { 0 })?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("lhs", &args.lhs, &args.dst)?;
        check_disjoint("rhs", &args.rhs, &args.dst)?;
        check_disjoint("sums", &args.sums, &args.dst)?;
        check_disjoint("scaled sums", &args.scaled_sums, &args.dst)?;
        check_disjoint("scale", &args.scale, &args.dst)?;
        check_disjoint("bias", &args.bias, &args.dst)
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Qgemm>] = &[
    scalar::ROW,
    #[cfg(target_arch = "aarch64")]
    neon::SMULL,
    #[cfg(target_arch = "aarch64")]
    neon::SDOT,
    #[cfg(target_arch = "aarch64")]
    neon::SMMLA,
    #[cfg(target_arch = "aarch64")]
    crate::sme2::qgemm_row::<crate::sme2::Sme2>("sme2-outer", tandem_base::Isa::SME2),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::qgemm_row::<Emulated<4>>("emulated-sme2-128", tandem_base::Isa::EMULATED_SME2_128),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::qgemm_row::<Emulated<8>>("emulated-sme2-256", tandem_base::Isa::EMULATED_SME2_256),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::qgemm_row::<Emulated<16>>("emulated-sme2-512", tandem_base::Isa::EMULATED_SME2_512),
];
