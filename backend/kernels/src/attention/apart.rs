//! A head of keys and values and the heads of queries that use it.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, Attention, KERNELS, Problem};
use crate::kernel::Kernel;
use crate::widen::{Apart, MAX_CONSTANTS, MAX_SOURCES, Piece, Region, Shapes};

impl Apart for Attention {
    fn rows() -> &'static [Kernel<Self>] {
        KERNELS
    }

    fn shapes(p: &Problem) -> Shapes {
        let src = [Some(p.q), Some(p.k), Some(p.v), p.mask, None];
        Shapes { src, constants: [0; MAX_CONSTANTS], dst: p.dst }
    }

    fn count(p: &Problem) -> usize {
        if p.dst.elements() == 0 { 0 } else { p.k.size(0) * p.k.size(1) }
    }

    fn piece(p: &Problem, index: usize) -> Piece<Problem> {
        let (b, head) = (index / p.k.size(1), index % p.k.size(1));
        let heads = p.q.size(1) / p.k.size(1);
        let part = |shape: &Strided, heads: usize| {
            let sizes = [1, heads, shape.size(2), shape.size(3)];
            Region::of(shape, &[b, head * heads, 0, 0], &sizes)
        };
        let (q, k, v, dst) = (part(&p.q, heads), part(&p.k, 1), part(&p.v, 1), part(&p.dst, heads));
        let mask = p.mask.map(|mask| part(&mask, heads));
        let problem =
            Problem { q: q.dense, k: k.dense, v: v.dense, mask: mask.map(|m| m.dense), dst: dst.dense, ..*p };
        Piece { problem, src: [Some(q), Some(k), Some(v), mask, None], dst }
    }

    fn args<'a>(
        [q, k, v, mask, _]: [Span<'a, f32>; MAX_SOURCES],
        _: [Span<'a, f32>; MAX_CONSTANTS],
        dst: SpanMut<'a, f32>,
    ) -> Args<'a> {
        Args { q, k, v, mask, dst }
    }
}
