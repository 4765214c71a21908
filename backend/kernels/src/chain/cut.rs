//! How a chain is cut: images, bands of output rows and, where no stage needs all channels, ranges of channels; and the
//! problems of a tile's stages.

use std::ops::Range;

use tandem_base::Strided;

use super::Problem;
use crate::epilogue::Epilogue;
use crate::panels::{self, PANEL};
use crate::product::part;
use crate::widen::Windows;
use crate::{conv, depthwise};

/// What a chain is cut by: sizes alone, never threads.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Elements of each value between stages that a worker holds at most: both stay in L2.
    pub held: usize,
    /// Multiply-adds of a tile to aim for.
    pub work: usize,
    /// Most tiles of an image to aim for: rows that windows on both sides of a border read are computed twice.
    pub tiles: usize,
}

impl Limits {
    /// For a MiB of L2 and a handful of threads.
    pub const USUAL: Self = Self { held: 64 << 10, work: 700_000, tiles: 8 };
}

/// Multiply-adds of an image.
fn work(p: &Problem) -> usize {
    let d = &p.depthwise;
    let taps = d.dst.elements() * d.kernel[0] * d.kernel[1];
    let around = [&p.expand, &p.project].into_iter().flatten().map(|c| c.dst.elements() * c.k());
    (taps + around.sum::<usize>()) / d.dst.size(0).max(1)
}

/// Tiles of a problem.
pub(super) struct Cut<'p> {
    p: &'p Problem,
    /// Of the depthwise convolution.
    windows: Windows,
    /// Of the convolution in front.
    front: Option<Windows>,
    /// Bands of an image.
    bands: usize,
    /// Panels of channels.
    panels: usize,
    /// Nearly equal ranges of them.
    blocks: usize,
}

/// A band: rows of the destination, of the depthwise convolution's source and of the chain's, with their padding.
pub(super) struct Band {
    image: usize,
    out: Range<usize>,
    mid: (Range<usize>, [usize; 2]),
    src: (Range<usize>, [usize; 2]),
}

impl<'p> Cut<'p> {
    pub fn new(p: &'p Problem, limits: &Limits) -> Self {
        let d = &p.depthwise;
        let (src, dst) = (&d.src, &d.dst);
        let (windows, front) = (depthwise::windows(d), p.expand.as_ref().map(conv::windows));
        let (panels, rows) = (panels::count(dst.size(1)), dst.size(2));
        let wanted = (work(p) / limits.work).clamp(1, limits.tiles);
        let fits = |elements: usize| (limits.held / elements.max(1)).max(1);
        let (mut blocks, mut most) = (1, rows);
        if p.expand.is_some() {
            // Whole images of a few panels, where that leaves enough tiles.
            let enough = if p.project.is_some() { panels } else { panels.div_ceil(wanted) };
            let together = fits(src.size(2) * src.size(3) * PANEL).min(enough).max(1);
            blocks = panels.div_ceil(together);
            let held = fits(src.size(3) * PANEL * together);
            most = most.min(held.saturating_sub(windows.reach) / windows.stride + 1);
        }
        let mut apart = blocks.max(1);
        if p.project.is_some() {
            apart = 1;
            most = most.min(fits(dst.size(3) * dst.size(1)));
        }
        let bands = rows.div_ceil(most.max(1)).max(wanted / apart).clamp(1, rows.max(1));
        Self { p, windows, front, bands, panels, blocks }
    }

    /// Blocks that are tiles of their own: all, unless the last stage reads them together.
    fn apart(&self) -> usize {
        if self.p.project.is_some() { 1 } else { self.blocks }
    }

    pub fn tiles(&self) -> usize {
        if self.p.dst().elements() == 0 { 0 } else { self.p.dst().size(0) * self.bands * self.apart() }
    }

    /// A tile's band and the blocks it computes.
    pub fn tile(&self, index: usize) -> (Band, Range<usize>) {
        let (band, block) = (index / self.apart(), index % self.apart());
        let out = part(self.p.depthwise.dst.size(2), self.bands, band % self.bands);
        let mid = self.windows.source(&out);
        let src = self.front.map_or_else(|| mid.clone(), |front| front.source(&mid.0));
        let blocks = if self.apart() == 1 { 0..self.blocks } else { block..block + 1 };
        (Band { image: band / self.bands, out, mid, src }, blocks)
    }

    /// The band of an image with most work.
    pub fn largest(&self) -> Band {
        let bands = (0..self.bands).map(|band| self.tile(band * self.apart()).0);
        bands.max_by_key(|band| band.mid.0.len()).expect("a band")
    }

    /// How many bands of that size all output rows are.
    pub fn alike(&self, band: &Band) -> f64 {
        (self.p.dst().size(0) * self.p.dst().size(2)) as f64 / band.out.len() as f64
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Channels of a block.
    pub fn block(&self, index: usize) -> Range<usize> {
        let panels = part(self.panels, self.blocks, index);
        panels.start * PANEL..(panels.end * PANEL).min(self.p.depthwise.dst.size(1))
    }

    /// Most elements of a block in front of the depthwise convolution, and of a band behind it.
    pub fn held(&self) -> [usize; 2] {
        let d = &self.p.depthwise;
        let wide = self.panels.div_ceil(self.blocks.max(1)) * PANEL;
        let mid = self.p.expand.as_ref().map(|_| self.largest().mid.0.len() * d.src.size(3) * wide);
        let rows = d.dst.size(2).div_ceil(self.bands);
        let out = self.p.project.as_ref().map(|_| rows * d.dst.size(3) * d.dst.size(1));
        [mid, out].map(Option::unwrap_or_default)
    }
}

/// Channels innermost, dense.
fn dense(channels: usize, rows: usize, width: usize) -> Strided {
    Strided::with_order(&[1, channels, rows, width], &[0, 2, 3, 1])
}

/// Part of a stage: its problem and where its sources, what it adds and its destination begin.
pub(super) struct Piece<P> {
    pub problem: P,
    /// First element of each source.
    pub src: [usize; conv::MAX_SEGMENTS],
    pub residual: usize,
    pub dst: usize,
}

impl Band {
    /// These rows and channels of an operand.
    fn of(&self, shape: &Strided, rows: &Range<usize>, channels: &Range<usize>) -> (usize, Strided) {
        let first = [self.image, channels.start, rows.start, 0];
        let offset = first.iter().zip(shape.strides()).map(|(at, stride)| at * stride).sum();
        let sizes = [1, channels.len(), rows.len(), shape.size(3)];
        (offset, Strided::new(&sizes, shape.strides()))
    }

    fn stages(&self, e: &Epilogue, rows: &Range<usize>, channels: &Range<usize>) -> (usize, Epilogue) {
        let (at, residual) = e.residual.map(|shape| self.of(&shape, rows, channels)).unzip();
        (at.unwrap_or(0), Epilogue { residual, ..*e })
    }

    /// The convolution in front, to a block of the scratch.
    pub fn expand(&self, p: &conv::Problem, channels: &Range<usize>) -> Piece<conv::Problem> {
        let mut src = [0; conv::MAX_SEGMENTS];
        let (rows, [above, below]) = &self.src;
        let mut problem = p.clone();
        for (at, shape) in src.iter_mut().zip(&mut problem.src) {
            (*at, *shape) = self.of(shape, rows, &(0..shape.size(1)));
        }
        let residual;
        (residual, problem.epilogue) = self.stages(&p.epilogue, &self.mid.0, channels);
        problem.dst = dense(channels.len(), self.mid.0.len(), p.dst.size(3));
        problem.padding = [*above, p.padding[1], *below, p.padding[3]];
        Piece { problem, src, residual, dst: 0 }
    }

    /// The depthwise convolution, from the scratch or the chain's source, to the scratch or the chain's destination.
    pub fn depthwise(&self, p: &Problem, channels: &Range<usize>) -> Piece<depthwise::Problem> {
        let (d, (rows, [above, below])) = (&p.depthwise, &self.mid);
        let (src, from) = match &p.expand {
            Some(_) => (0, dense(channels.len(), rows.len(), d.src.size(3))),
            None => self.of(&d.src, rows, channels),
        };
        let (dst, to) = match &p.project {
            Some(_) => {
                let band = dense(d.dst.size(1), self.out.len(), d.dst.size(3));
                let sizes = [1, channels.len(), self.out.len(), d.dst.size(3)];
                (channels.start, Strided::new(&sizes, band.strides()))
            }
            None => self.of(&d.dst, &self.out, channels),
        };
        let (residual, epilogue) = self.stages(&d.epilogue, &self.out, channels);
        let padding = [*above, d.padding[1], *below, d.padding[3]];
        let problem = depthwise::Problem { src: from, dst: to, padding, epilogue, ..*d };
        Piece { problem, src: [src, 0, 0, 0], residual, dst }
    }

    /// The convolution behind.
    pub fn project(&self, p: &conv::Problem) -> Piece<conv::Problem> {
        let columns = 0..p.dst.size(1);
        let mut problem = p.clone();
        problem.src[0] = dense(p.in_channels(), self.out.len(), p.dst.size(3));
        let (dst, to) = self.of(&p.dst, &self.out, &columns);
        let (residual, epilogue) = self.stages(&p.epilogue, &self.out, &columns);
        (problem.dst, problem.epilogue) = (to, epilogue);
        Piece { problem, src: [0; conv::MAX_SEGMENTS], residual, dst }
    }
}
