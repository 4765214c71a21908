//! Layer, group, instance and RMS normalisation with scale, shift and activation.

mod apart;
mod scalar;
#[cfg(test)]
mod tests;
mod vector;

use tandem_base::{Span, SpanMut, Strided};

use crate::epilogue::Act;
use crate::kernel::{ArgError, Cost, Family, Kernel, check_in_place, check_len};
use crate::widen::tables;

/// The family.
pub struct Norm;

/// Over what is normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The last `axes` dimensions; scale and shift are row-major over them.
    Layer {
        /// how many
        axes: usize,
    },
    /// The last `axes` dimensions by root mean square, without centring; eps is added to the mean square.
    Rms {
        /// how many
        axes: usize,
    },
    /// Each of `groups` runs of channels (dimension 1) with all dimensions behind; scale and shift per channel.
    Group {
        /// how many groups; as many as channels = instance norm
        groups: usize,
    },
}

/// dst = act((src - mean) / sqrt(variance + eps) * scale + shift); biased variance, statistics wider than f32 or
/// two-pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source, any strides.
    pub src: Strided,
    /// Destination of the same sizes, any strides.
    pub dst: Strided,
    /// Statistics.
    pub kind: Kind,
    /// Added to the variance.
    pub eps: f64,
    /// Whether there is a scale.
    pub scale: bool,
    /// Whether there is a shift.
    pub shift: bool,
    /// Applied last.
    pub act: Act,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source, disjoint from dst or exactly dst.
    pub src: Span<'a, f32>,
    /// Scale, empty where there is none.
    pub scale: Span<'a, f32>,
    /// Shift, empty where there is none.
    pub shift: Span<'a, f32>,
    /// Destination.
    pub dst: SpanMut<'a, f32>,
}

impl Problem {
    /// Elements of scale and of shift.
    pub fn parameters(&self) -> usize {
        match self.kind {
            Kind::Layer { axes } | Kind::Rms { axes } => {
                self.src.sizes()[self.src.rank() - axes..].iter().product()
            }
            Kind::Group { .. } => self.src.size(1),
        }
    }
}

impl Family for Norm {
    const NAME: &'static str = "norm";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        Cost { flops: 8.0 * p.dst.elements() as f64, bytes: 8.0 * p.dst.elements() as f64 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_len("scale", args.scale.len(), if p.scale { p.parameters() } else { 0 })?;
        check_len("shift", args.shift.len(), if p.shift { p.parameters() } else { 0 })?;
        check_in_place("src", (&args.src, &p.src), (&args.dst, &p.dst))
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Norm>] = &[vector::AVX512, vector::AVX2, vector::NEON, scalar::ROW];

tables!(Norm);
