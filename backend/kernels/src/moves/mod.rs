//! Moving elements without arithmetic: copies between strides, and padding. Any element of 1, 2, 4 or 8 bytes.

mod copy;
mod pad;
mod scalar;
#[cfg(test)]
mod tests;
mod vector;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};

/// The family.
pub struct Move;

/// What lies outside the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// One value, given as the element's little-endian bits.
    Constant(u64),
    /// Mirror without repeating the edge.
    Reflect,
    /// The edge element.
    Replicate,
    /// Wrap around.
    Circular,
}

/// dst[i] = src[i - before], with `edge` outside; a plain copy has `before` = 0 and equal sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source, any strides.
    pub src: Strided,
    /// Destination of the same rank, any strides but 0.
    pub dst: Strided,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub width: usize,
    /// Offset of the source in the destination, per dimension; negative crops.
    pub before: [isize; tandem_base::strided::MAX_RANK],
    /// Outside.
    pub edge: Edge,
}

/// Operands of a [`Problem`], as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source.
    pub src: Span<'a, u8>,
    /// Destination, disjoint from the source.
    pub dst: SpanMut<'a, u8>,
}

impl Family for Move {
    const NAME: &'static str = "move";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        Cost {
            flops: 0.0,
            bytes: (p.width * (p.src.elements().min(p.dst.elements()) + p.dst.elements())) as f64,
        }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent() * p.width)?;
        check_len("dst", args.dst.len(), p.dst.extent() * p.width)?;
        check_disjoint("src", &args.src, &args.dst)
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Move>] = &[vector::AVX512, vector::AVX2, vector::NEON, scalar::ROW];
