//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::{Args, Conv, Problem};
use crate::element::Element;
use crate::kernel::{Family, Kernel, Workspace};
use crate::panels;

/// The definition, for any strides.
pub(super) const fn row<E: Element>() -> Kernel<Conv<E>> {
    Kernel {
        name: "scalar-reference",
        isa: Isa::SCALAR,
        supports: |_| Ok(()),
        ns: |p, _| Conv::<E>::cost(p).flops * 1.5 + Conv::<E>::cost(p).bytes,
        phases: |_| 1,
        tiles: |p, _| p.batch() * p.out_size()[0],
        workspace: |_| Workspace::default(),
        run: run::<E>,
    }
}

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn run<E: Element>(
    p: &Problem,
    args: &Args<'_, E>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    each_output(p, tiles, |o| {
        let mut sum = 0f32;
        // SAFETY: `Conv::check` passed; the walk stays inside the operands.
        unsafe {
            each_source(p, E::PER_WORD, &o, |s| {
                let weight = *args.weight.ptr().add(o.weight(p, E::PER_WORD, s.k));
                sum += (*args.src[s.segment].ptr().add(s.at)).to_f32() * weight.to_f32();
            });
            let residual = p.epilogue.residual.map_or(0, |shape| o.offset(p, &shape));
            let value = p.epilogue.eval(&args.epilogue, sum, o.padded(p), residual);
            *args.dst.ptr().add(o.offset(p, &p.dst)) = E::from_f32(value);
        }
    });
}

/// An output element: image, row and column, part and column of [`Problem::column_groups`].
pub(crate) struct Output {
    position: [usize; 3],
    part: usize,
    column: usize,
}

impl Output {
    /// Its number among the padded columns of all parts.
    pub fn padded(&self, p: &Problem) -> usize {
        self.part * panels::padded(p.column_groups().1) + self.column
    }

    /// Where it lies in an image of the destination's sizes.
    pub fn offset(&self, p: &Problem, image: &Strided) -> usize {
        let ([n, oy, ox], r, s) = (self.position, p.shuffle, image.strides());
        let channel = if p.groups > 1 { self.part * p.column_groups().1 + self.column } else { self.column };
        let (dy, dx) = if r > 1 { (self.part / r, self.part % r) } else { (0, 0) };
        n * s[0] + channel * s[1] + (oy * r + dy) * s[2] + (ox * r + dx) * s[3]
    }

    /// Where weight `k` of its column lies in panels of words of `g`.
    pub fn weight(&self, p: &Problem, g: usize, k: usize) -> usize {
        let ((_, columns), rows) = (p.column_groups(), g * p.words(g));
        self.part * rows * panels::padded(columns) + panels::in_words(g, rows, columns, k, self.column)
    }
}

/// Every output element of some rows of the images.
pub(crate) fn each_output(p: &Problem, rows: Range<usize>, mut with: impl FnMut(Output)) {
    let ([oh, ow], (parts, columns)) = (p.out_size(), p.column_groups());
    for row in rows {
        for rest in 0..ow * parts * columns {
            let (ox, part, column) = (rest / columns / parts, rest / columns % parts, rest % columns);
            with(Output { position: [row / oh, row % oh, ox], part, column });
        }
    }
}

/// A source element: its segment, where it lies there, and the row of its weight.
pub(crate) struct Source {
    pub segment: usize,
    pub at: usize,
    pub k: usize,
}

/// Every source element behind an output, none in the padding, where weights come in words of `g`.
pub(crate) fn each_source(p: &Problem, g: usize, of: &Output, mut with: impl FnMut(Source)) {
    let ([n, oy, ox], [height, width]) = (of.position, p.in_size());
    let mut k = 0;
    for ky in 0..p.kernel[0] {
        let y = (oy * p.stride[0] + ky * p.dilation[0]).wrapping_sub(p.padding[0]);
        for kx in 0..p.kernel[1] {
            let x = (ox * p.stride[1] + kx * p.dilation[1]).wrapping_sub(p.padding[1]);
            for (segment, shape) in p.src.iter().enumerate() {
                let channels = shape.size(1) / p.groups;
                let first = if p.groups > 1 { of.part * channels } else { 0 };
                let s = shape.strides();
                for c in 0..if y < height && x < width { channels } else { 0 } {
                    let at = n * s[0] + (first + c) * s[1] + y * s[2] + x * s[3];
                    with(Source { segment, at, k: k + c });
                }
                k += channels.next_multiple_of(g);
            }
        }
    }
}
