//! Fixed windows in bands of rows, adaptive ones in blocks of channels.

use tandem_base::{Span, SpanMut};

use super::{Args, KERNELS, Pool, Problem, Window};
use crate::kernel::Kernel;
use crate::widen::{Apart, Band, Blocks, MAX_CONSTANTS, MAX_SOURCES, Piece, Shapes, Windows};

/// The windows of a problem with a fixed one.
fn windows(p: &Problem) -> Option<Windows> {
    let Window::Fixed { kernel, stride, padding, dilation, .. } = p.window else { return None };
    Some(Windows {
        height: p.src.size(2),
        out: p.dst.size(2),
        stride: stride[0],
        reach: (kernel[0] - 1) * dilation[0] + 1,
        padding: [padding[0], padding[2]],
    })
}

fn channels(p: &Problem) -> Blocks {
    Blocks::new(&p.src, |d| d < 2)
}

impl Apart for Pool {
    fn rows() -> &'static [Kernel<Self>] {
        KERNELS
    }

    fn shapes(p: &Problem) -> Shapes {
        let mut src = [None; MAX_SOURCES];
        src[0] = Some(p.src);
        Shapes { src, constants: [0; MAX_CONSTANTS], dst: p.dst }
    }

    fn count(p: &Problem) -> usize {
        match windows(p) {
            _ if p.dst.elements() == 0 => 0,
            Some(windows) => Band::count(&p.src, &windows),
            None => channels(p).count(),
        }
    }

    fn piece(p: &Problem, index: usize) -> Piece<Problem> {
        let (mut window, from, dst) = (p.window, windows(p), &p.dst);
        let (read, dst) = match from {
            Some(windows) => {
                let band = Band::new(&p.src, &windows, index);
                if let Window::Fixed { padding, .. } = &mut window {
                    [padding[0], padding[2]] = band.padding;
                }
                (band.source(&p.src), band.output(dst))
            }
            None => {
                let block = channels(p).block(index);
                (block.of(&p.src), block.of_first(dst, 2))
            }
        };
        let mut src = [None; MAX_SOURCES];
        src[0] = Some(read);
        let problem = Problem { src: read.dense, dst: dst.dense, kind: p.kind, window };
        Piece { problem, src, dst }
    }

    fn args<'a>(
        src: [Span<'a, f32>; MAX_SOURCES],
        _: [Span<'a, f32>; MAX_CONSTANTS],
        dst: SpanMut<'a, f32>,
    ) -> Args<'a> {
        Args { src: src[0], dst }
    }
}
