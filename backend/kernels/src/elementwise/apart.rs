//! Blocks of elements.

use tandem_base::{Span, SpanMut};

use super::{Args, Elementwise, KERNELS, Problem};
use crate::kernel::Kernel;
use crate::widen::{Apart, Blocks, MAX_CONSTANTS, MAX_SOURCES, Piece, Shapes};

impl Apart for Elementwise {
    const IN_PLACE: bool = true;

    fn rows() -> &'static [Kernel<Self>] {
        KERNELS
    }

    fn shapes(p: &Problem) -> Shapes {
        let mut src = [None; MAX_SOURCES];
        for (to, shape) in src.iter_mut().zip(&p.src) {
            *to = Some(*shape);
        }
        Shapes { src, constants: [0; MAX_CONSTANTS], dst: p.dst }
    }

    fn count(p: &Problem) -> usize {
        Blocks::new(&p.dst, |_| true).count()
    }

    fn piece(p: &Problem, index: usize) -> Piece<Problem> {
        let block = Blocks::new(&p.dst, |_| true).block(index);
        let (mut src, dst) = ([None; MAX_SOURCES], block.of(&p.dst));
        for (to, shape) in src.iter_mut().zip(&p.src) {
            *to = Some(block.of(shape));
        }
        let shapes = src.iter().flatten().map(|region| region.dense).collect();
        Piece { problem: Problem { func: p.func, src: shapes, dst: dst.dense, act: p.act }, src, dst }
    }

    fn args<'a>(
        [x, y, z, ..]: [Span<'a, f32>; MAX_SOURCES],
        _: [Span<'a, f32>; MAX_CONSTANTS],
        dst: SpanMut<'a, f32>,
    ) -> Args<'a> {
        Args { src: [x, y, z], dst }
    }
}
