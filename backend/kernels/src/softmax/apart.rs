//! Blocks of lines along the dimension.

use tandem_base::{Span, SpanMut};

use super::{Args, KERNELS, Problem, Softmax};
use crate::kernel::Kernel;
use crate::widen::{Apart, Blocks, MAX_CONSTANTS, MAX_SOURCES, Piece, Shapes};

fn blocks(p: &Problem) -> Blocks {
    Blocks::new(&p.dst, |d| d != p.dim)
}

impl Apart for Softmax {
    const IN_PLACE: bool = true;

    fn rows() -> &'static [Kernel<Self>] {
        KERNELS
    }

    fn shapes(p: &Problem) -> Shapes {
        let mut src = [None; MAX_SOURCES];
        src[0] = Some(p.src);
        Shapes { src, constants: [0; MAX_CONSTANTS], dst: p.dst }
    }

    fn count(p: &Problem) -> usize {
        blocks(p).count()
    }

    fn piece(p: &Problem, index: usize) -> Piece<Problem> {
        let block = blocks(p).block(index);
        let (read, dst) = (block.of(&p.src), block.of(&p.dst));
        let mut src = [None; MAX_SOURCES];
        src[0] = Some(read);
        Piece { problem: Problem { src: read.dense, dst: dst.dense, ..*p }, src, dst }
    }

    fn args<'a>(
        src: [Span<'a, f32>; MAX_SOURCES],
        _: [Span<'a, f32>; MAX_CONSTANTS],
        dst: SpanMut<'a, f32>,
    ) -> Args<'a> {
        Args { src: src[0], dst }
    }
}
