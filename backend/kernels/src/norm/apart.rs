//! Blocks of what is normalised together.

use tandem_base::{Span, SpanMut};

use super::{Args, KERNELS, Kind, Norm, Problem};
use crate::kernel::Kernel;
use crate::widen::{Apart, Blocks, MAX_CONSTANTS, MAX_SOURCES, Piece, Shapes};

fn blocks(p: &Problem) -> Blocks {
    let outer = match p.kind {
        Kind::Layer { axes } | Kind::Rms { axes } => p.dst.rank() - axes,
        Kind::Group { .. } => 1,
    };
    Blocks::new(&p.dst, |d| d < outer)
}

impl Apart for Norm {
    const IN_PLACE: bool = true;

    fn rows() -> &'static [Kernel<Self>] {
        KERNELS
    }

    fn shapes(p: &Problem) -> Shapes {
        let mut src = [None; MAX_SOURCES];
        src[0] = Some(p.src);
        let [scale, shift] = [p.scale, p.shift].map(|there| if there { p.parameters() } else { 0 });
        Shapes { src, constants: [scale, shift, 0, 0], dst: p.dst }
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
        [scale, shift, ..]: [Span<'a, f32>; MAX_CONSTANTS],
        dst: SpanMut<'a, f32>,
    ) -> Args<'a> {
        Args { src: src[0], scale, shift, dst }
    }
}
