//! Bands of rows; weights are f32 as they are.

use tandem_base::{Span, SpanMut};

use super::{Args, Depthwise, KERNELS, Problem};
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::kernel::Kernel;
use crate::panels;
use crate::widen::{Apart, Band, MAX_CONSTANTS, MAX_SOURCES, Piece, Shapes, Windows};

pub(crate) fn windows(p: &Problem) -> Windows {
    Windows {
        height: p.src.size(2),
        out: p.dst.size(2),
        stride: p.stride[0],
        reach: (p.kernel[0] - 1) * p.dilation[0] + 1,
        padding: [p.padding[0], p.padding[2]],
    }
}

impl Apart for Depthwise {
    fn rows() -> &'static [Kernel<Self>] {
        KERNELS
    }

    fn shapes(p: &Problem) -> Shapes {
        let mut src = [None; MAX_SOURCES];
        (src[0], src[1]) = (Some(p.src), p.epilogue.residual);
        let columns = panels::padded(p.dst.size(1));
        let [bias, factors] =
            [p.epilogue.bias, p.epilogue.scale_shift].map(|there| if there { columns } else { 0 });
        let taps = p.kernel[0] * p.kernel[1];
        Shapes { src, constants: [taps * columns, bias, factors, factors], dst: p.dst }
    }

    fn count(p: &Problem) -> usize {
        if p.dst.elements() == 0 { 0 } else { Band::count(&p.src, &windows(p)) }
    }

    fn piece(p: &Problem, index: usize) -> Piece<Problem> {
        let band = Band::new(&p.src, &windows(p), index);
        let (read, dst) = (band.source(&p.src), band.output(&p.dst));
        let residual = p.epilogue.residual.map(|shape| band.output(&shape));
        let [above, below] = band.padding;
        let problem = Problem {
            src: read.dense,
            dst: dst.dense,
            padding: [above, p.padding[1], below, p.padding[3]],
            epilogue: Epilogue { residual: residual.map(|r| r.dense), ..p.epilogue },
            ..*p
        };
        let mut src = [None; MAX_SOURCES];
        (src[0], src[1]) = (Some(read), residual);
        Piece { problem, src, dst }
    }

    fn args<'a>(
        [src, residual, ..]: [Span<'a, f32>; MAX_SOURCES],
        [weight, bias, scale, shift]: [Span<'a, f32>; MAX_CONSTANTS],
        dst: SpanMut<'a, f32>,
    ) -> Args<'a> {
        Args { src, weight, epilogue: EpilogueArgs { bias, scale, shift, residual }, dst }
    }
}
