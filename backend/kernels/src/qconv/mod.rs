//! 2-d convolution of i8 images with i8 weights: sums are exact, results are rounded to i8 of their own scale.

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut};

use crate::conv;
use crate::kernel::{ArgError, Cost, Family, Kernel, Refusal, check_disjoint, check_len};
use crate::quant::{Affine, bounds};
#[cfg(any(test, feature = "emulated"))]
use crate::sme2::Emulated;

/// The family.
pub struct Qconv;

/// k of a word of weights.
pub const WORD: usize = 4;

/// Most k for sums of i32: those of products stay below 2^29, and so do those of columns times a zero point.
#[cfg(any(target_arch = "aarch64", test, feature = "emulated"))]
pub(crate) const MAX_K: usize = 1 << 15;

/// dst = quantised clamp(sum over taps and channels of (src - zero) * weight * scales + bias).
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Shapes. The epilogue is a bias and what amounts to a clamp.
    pub conv: conv::Problem,
    /// Of every source segment.
    pub src: Affine,
    /// Of the destination.
    pub dst: Affine,
}

/// Operands of a [`Problem`]; column arrays are as the panels have them.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// One span a segment.
    pub src: [Span<'a, i8>; conv::MAX_SEGMENTS],
    /// Panels of words of [`WORD`] k, the channels of every tap and segment padded with zeros.
    pub weight: Span<'a, i8>,
    /// Sum over k of every column of weights.
    pub sums: Span<'a, i32>,
    /// Scales of the columns of weights.
    pub scale: Span<'a, f32>,
    /// Bias per column, or empty.
    pub bias: Span<'a, f32>,
    /// Destination, disjoint from all others.
    pub dst: SpanMut<'a, i8>,
}

impl Problem {
    /// `Err` for an epilogue that no row has.
    pub(crate) fn consistent(&self) -> Result<(), Refusal> {
        self.conv.epilogue.clamp().map(|_| ()).ok_or("an epilogue beyond bias and clamp")
    }

    /// Lower and upper bound in units of the destination's scale, the zero point taken off.
    pub(crate) fn bounds(&self) -> [i32; 2] {
        let clamp = self.conv.epilogue.clamp().unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        bounds(self.dst, clamp).map(|x| x as i32)
    }
}

impl Family for Qconv {
    const NAME: &'static str = "qconv";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let Cost { flops, bytes } = <conv::Conv>::cost(&p.conv);
        Cost { flops, bytes: bytes / 4.0 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        let columns = p.conv.padded_columns();
        for (shape, span) in p.conv.src.iter().zip(&args.src) {
            check_len("src", span.len(), shape.extent())?;
            check_disjoint("src", span, &args.dst)?;
        }
        check_len("weight", args.weight.len(), WORD * p.conv.words(WORD) * columns)?;
        check_len("sums", args.sums.len(), columns)?;
        check_len("scale", args.scale.len(), columns)?;
        check_len("bias", args.bias.len(), if p.conv.epilogue.bias { columns } else { 0 })?;
        check_len("dst", args.dst.len(), p.conv.dst.extent())?;
        check_disjoint("weight", &args.weight, &args.dst)?;
        check_disjoint("sums", &args.sums, &args.dst)?;
        check_disjoint("scale", &args.scale, &args.dst)?;
        check_disjoint("bias", &args.bias, &args.dst)
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Qconv>] = &[
    scalar::ROW,
    #[cfg(target_arch = "aarch64")]
    neon::SMULL,
    #[cfg(target_arch = "aarch64")]
    neon::SDOT,
    #[cfg(target_arch = "aarch64")]
    neon::SMMLA,
    #[cfg(target_arch = "aarch64")]
    crate::sme2::qconv_row::<crate::sme2::Sme2>("sme2-direct", tandem_base::Isa::SME2),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::qconv_row::<Emulated<4>>("emulated-sme2-128", tandem_base::Isa::EMULATED_SME2_128),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::qconv_row::<Emulated<8>>("emulated-sme2-256", tandem_base::Isa::EMULATED_SME2_256),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::qconv_row::<Emulated<16>>("emulated-sme2-512", tandem_base::Isa::EMULATED_SME2_512),
];
