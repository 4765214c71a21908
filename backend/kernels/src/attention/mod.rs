//! Scaled dot-product attention, block-wise with online softmax.

mod apart;
mod blocked;
mod few;
mod pipeline;
mod right;
mod scalar;
#[cfg(test)]
mod tests;

pub use pipeline::Pipeline;
use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::widen::tables;

/// The family.
pub struct Attention;

/// dst = softmax(scale * q k^T + mask) v, head h of q using head h * kv_heads / heads of k and v. A
/// query that sees no key, because of the mask or because there is none, gives zeros, as in PyTorch.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// `[batch, heads, t, d]`, any strides.
    pub q: Strided,
    /// `[batch, kv_heads, s, d]`, any strides; heads is a multiple of kv_heads.
    pub k: Strided,
    /// `[batch, kv_heads, s, dv]`, any strides.
    pub v: Strided,
    /// Additive mask broadcast to `[batch, heads, t, s]` (stride 0 where shared).
    pub mask: Option<Strided>,
    /// `[batch, heads, t, dv]`, any strides.
    pub dst: Strided,
    /// Factor on q k^T.
    pub scale: f32,
    /// Query i sees keys 0..=i only (PyTorch's is_causal: aligned top left).
    pub causal: bool,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Queries.
    pub q: Span<'a, f32>,
    /// Keys.
    pub k: Span<'a, f32>,
    /// Values.
    pub v: Span<'a, f32>,
    /// Mask, empty where there is none.
    pub mask: Span<'a, f32>,
    /// Destination, disjoint from all sources.
    pub dst: SpanMut<'a, f32>,
}

impl Family for Attention {
    const NAME: &'static str = "attention";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let scores = p.q.elements() / p.q.size(3).max(1) * p.k.size(2);
        Cost {
            flops: 2.0 * scores as f64 * (p.q.size(3) + p.v.size(3)) as f64,
            bytes: 4.0 * (p.q.elements() + p.k.elements() + p.v.elements() + p.dst.elements()) as f64,
        }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        for (operand, span, shape) in [("q", &args.q, &p.q), ("k", &args.k, &p.k), ("v", &args.v, &p.v)] {
            check_len(operand, span.len(), shape.extent())?;
            check_disjoint(operand, span, &args.dst)?;
        }
        if let Some(mask) = &p.mask {
            check_len("mask", args.mask.len(), mask.extent())?;
            check_disjoint("mask", &args.mask, &args.dst)?;
        }
        check_len("dst", args.dst.len(), p.dst.extent())
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Attention>] = &[
    #[cfg(target_arch = "x86_64")]
    blocked::AVX512,
    #[cfg(target_arch = "x86_64")]
    blocked::AVX2,
    #[cfg(target_arch = "aarch64")]
    blocked::NEON,
    #[cfg(target_arch = "x86_64")]
    few::AVX512,
    #[cfg(target_arch = "x86_64")]
    few::AVX2,
    #[cfg(target_arch = "aarch64")]
    few::NEON,
    scalar::ROW,
];

/// Those of [`blocked`], which a pipeline's cores are.
fn blocks() -> impl Iterator<Item = &'static Kernel<Attention>> {
    KERNELS.iter().filter(|row| row.name.contains("-online-"))
}

tables!(Attention);
