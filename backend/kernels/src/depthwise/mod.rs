//! Depthwise convolution: one output channel per input channel, with full epilogue.

mod apart;
mod scalar;
mod store;
mod sums;
#[cfg(test)]
mod tests;
mod vector;

use tandem_base::{Span, SpanMut, Strided};

use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::panels;
use crate::unfused::Unfused;
use crate::widen::tables;
#[cfg(any(test, feature = "emulated"))]
use crate::{simd::Scalar, sme2::Emulated};
pub(crate) use apart::windows;

/// The family.
pub struct Depthwise;

/// dst[n, c, y, x] = epilogue(sum over taps of src[n, c, ..] * weight[c, tap]); shapes `[n, c, h, w]`, any strides.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source image.
    pub src: Strided,
    /// Destination image.
    pub dst: Strided,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Stride y, x.
    pub stride: [usize; 2],
    /// Padding top, left, bottom, right.
    pub padding: [usize; 4],
    /// Dilation y, x.
    pub dilation: [usize; 2],
    /// Its stages.
    pub epilogue: Epilogue,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source.
    pub src: Span<'a, f32>,
    /// `[c/32][taps][32]`, the last panel 16 wide where 16 suffice: panels whose rows are taps.
    pub weight: Span<'a, f32>,
    /// Columns are channels.
    pub epilogue: EpilogueArgs<'a>,
    /// Destination, disjoint from the source.
    pub dst: SpanMut<'a, f32>,
}

impl Family for Depthwise {
    const NAME: &'static str = "depthwise";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let taps = p.kernel[0] * p.kernel[1];
        let residual = p.epilogue.residual.map_or(0, |r| r.elements());
        Cost {
            flops: 2.0 * (p.dst.elements() * taps) as f64,
            bytes: 4.0 * (p.src.elements() + p.dst.elements() + residual + taps * p.dst.size(1)) as f64,
        }
    }

    fn unfused(p: &Problem) -> Unfused {
        let (elements, width) = (p.dst.elements(), size_of::<f32>());
        Unfused { elements, width, passes: p.epilogue.passes(), ..Unfused::default() }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        let columns = panels::padded(p.dst.size(1));
        check_len("src", args.src.len(), p.src.extent())?;
        check_len("weight", args.weight.len(), p.kernel[0] * p.kernel[1] * columns)?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("src", &args.src, &args.dst)?;
        p.epilogue.check(&args.epilogue, columns)
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Depthwise>] = &[
    vector::AVX512,
    vector::AVX2,
    vector::NEON,
    scalar::ROW,
    #[cfg(target_arch = "aarch64")]
    crate::sme2::depthwise_row::<crate::sme2::Sme2, crate::simd::Neon>("sme2-taps", tandem_base::Isa::SME2),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::depthwise_row::<Emulated<4>, Scalar>(
        "emulated-sme2-128",
        tandem_base::Isa::EMULATED_SME2_128,
    ),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::depthwise_row::<Emulated<8>, Scalar>(
        "emulated-sme2-256",
        tandem_base::Isa::EMULATED_SME2_256,
    ),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::depthwise_row::<Emulated<16>, Scalar>(
        "emulated-sme2-512",
        tandem_base::Isa::EMULATED_SME2_512,
    ),
];

tables!(Depthwise);
