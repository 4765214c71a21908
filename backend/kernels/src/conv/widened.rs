//! Convolution in parts, a band of output rows and some columns at a time: of f16 and bf16 as convolutions of f32, see
//! [`crate::widen`], and of any for units and cores to share, see [`crate::both`].

use std::marker::PhantomData;
use std::ops::Range;

use tandem_base::Strided;

use super::{Args, Conv, KERNELS, MAX_SEGMENTS, Problem};
use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::kernel::Kernel;
use crate::panels::PANEL;
use crate::widen::{MAX_SOURCES, Operands, Panels, Part, Parted, Region, Widened, Windows, in_place};

/// How large parts are.
struct Sizes {
    /// Elements of source rows.
    band: usize,
    /// Elements of weights, if two panels are not more.
    weights: usize,
    /// Fewest parts to aim for, unless they would be smaller than so many multiply-adds.
    parts: usize,
    least_work: usize,
    /// Fewest output rows of a band where there are to be more parts.
    least_rows: usize,
}

/// What a part widens lies in L2.
const WIDENED: Sizes =
    Sizes { band: 192 << 10, weights: 256 << 10, parts: 8, least_work: 1_000_000, least_rows: usize::MAX };
/// Parts of some tens of microseconds on a core.
const SHARED: Sizes = if cfg!(test) {
    // Small problems come apart as well.
    Sizes { band: 1 << 10, weights: 4 << 10, parts: 6, least_work: 1000, least_rows: 4 }
} else {
    Sizes { band: 64 << 10, weights: 1 << 20, parts: 32, least_work: 4_000_000, least_rows: 8 }
};
/// Bands are whole rows of Winograd's tiles.
const ROWS: usize = 4;

/// How a convolution comes apart: images, bands of output rows, groups or parities of columns, ranges of columns.
struct Cut {
    bands: usize,
    rows: usize,
    parts: usize,
    columns: usize,
    column_parts: usize,
}

impl Cut {
    fn new<E: Element, H: Element>(p: &Problem) -> Self {
        let sizes = if in_place::<E, H>() { SHARED } else { WIDENED };
        let ([oh, _], [_, width], (parts, columns)) = (p.out_size(), p.in_size(), p.column_groups());
        let row = (width * p.in_channels() / p.groups).max(1);
        let (windows, work) = (windows(p), p.dst.elements() * p.k());
        let wanted = sizes.parts.min(work / sizes.least_work).max(1);
        let finer = (windows.height / wanted).max(sizes.least_rows.saturating_mul(windows.stride));
        let rows = windows.rows((sizes.band / row).min(finer.saturating_add(windows.reach)), ROWS);
        let bands = oh.div_ceil(rows);
        let fitting = (sizes.weights / p.k().max(1) / PANEL).max(2) * PANEL;
        let there = p.batch() * bands * parts;
        let cuts = wanted.div_ceil(there.max(1));
        let columns_each = fitting.min(columns.div_ceil(cuts).next_multiple_of(PANEL)).max(PANEL);
        Self { bands, rows, parts, columns: columns_each, column_parts: columns.div_ceil(columns_each) }
    }

    fn each_image(&self) -> usize {
        self.bands * self.parts * self.column_parts
    }
}

/// Its windows along the height.
pub(crate) fn windows(p: &Problem) -> Windows {
    Windows {
        height: p.in_size()[0],
        out: p.out_size()[0],
        stride: p.stride[0],
        reach: (p.kernel[0] - 1) * p.dilation[0] + 1,
        padding: [p.padding[0], p.padding[2]],
    }
}

/// Bands of a convolution as convolutions of `H`.
pub struct Bands<E, H = f32>(PhantomData<(E, H)>);

impl<E: Element> Widened for Bands<E> {
    fn rows() -> &'static [Kernel<Conv>] {
        KERNELS
    }

    fn takes(row: &Kernel<Conv>) -> bool {
        super::direct(row)
    }
}

impl<E: Element, H: Element> Bands<E, H> {
    /// What a part reads: segments, then the residual.
    fn sources(p: &Problem, place: &Place) -> [Option<Region>; MAX_SOURCES] {
        let mut src = [None; MAX_SOURCES];
        for (to, s) in src.iter_mut().zip(&p.src) {
            let channels = s.size(1) / p.groups;
            let first = if p.groups > 1 { place.part * channels } else { 0 };
            let rows = &place.source;
            let sizes = [1, channels, rows.len(), s.size(3)];
            *to = Some(Region::of(s, &[place.image, first, rows.start, 0], &sizes));
        }
        src[MAX_SEGMENTS] = p.epilogue.residual.map(|shape| place.output(p, &shape));
        src
    }
}

/// Where a part lies.
struct Place {
    image: usize,
    band: Range<usize>,
    source: Range<usize>,
    /// Group or parity.
    part: usize,
    columns: Range<usize>,
}

impl Place {
    /// The part's elements of an image of the destination's sizes.
    fn output(&self, p: &Problem, shape: &Strided) -> Region {
        let (r, s) = (p.shuffle, shape.strides());
        let (dy, dx) = if r > 1 { (self.part / r, self.part % r) } else { (0, 0) };
        let group = if p.groups > 1 { self.part * p.column_groups().1 } else { 0 };
        let offset = self.image * s[0]
            + (group + self.columns.start) * s[1]
            + (self.band.start * r + dy) * s[2]
            + dx * s[3];
        let sizes = [1, self.columns.len(), self.band.len(), p.out_size()[1]];
        Region::new(offset, &sizes, &[s[0], s[1], s[2] * r, s[3] * r])
    }
}

impl<E: Element, H: Element> Parted for Bands<E, H> {
    type Element = E;
    type Held = H;
    type Narrow = Conv<E>;
    type Wide = Conv<H>;

    fn count(p: &Problem) -> usize {
        if p.dst.elements() == 0 { 0 } else { p.batch() * Cut::new::<E, H>(p).each_image() }
    }

    fn part(p: &Problem, index: usize) -> Part<Self> {
        let cut = Cut::new::<E, H>(p);
        let (image, rest) = (index / cut.each_image(), index % cut.each_image());
        let (rest, column) = (rest / cut.column_parts, rest % cut.column_parts * cut.columns);
        let (band, of) = (rest / cut.parts * cut.rows, rest % cut.parts);
        let (_, columns) = p.column_groups();
        let band = band..(band + cut.rows).min(p.out_size()[0]);
        let (source, [above, below]) = windows(p).source(&band);
        let place =
            Place { image, band, source, part: of, columns: column..(column + cut.columns).min(columns) };
        let (src, dst) = (Self::sources(p, &place), place.output(p, &p.dst));
        let mut channels = [0; MAX_SEGMENTS];
        for (channels, s) in channels.iter_mut().zip(&p.src) {
            *channels = s.size(1) / p.groups;
        }
        let rows = E::PER_WORD * p.words(E::PER_WORD);
        let first = of * crate::panels::padded(columns) + column;
        let weight = Panels {
            offset: rows * first,
            columns: place.columns.len(),
            taps: p.kernel[0] * p.kernel[1],
            channels,
        };
        let problem = Problem {
            src: src[..p.src.len()].iter().flatten().map(Region::lie::<E, H>).collect(),
            dst: dst.lie::<E, H>(),
            padding: [above, p.padding[1], below, p.padding[3]],
            groups: 1,
            shuffle: 1,
            epilogue: Epilogue { residual: src[MAX_SEGMENTS].map(|r| r.lie::<E, H>()), ..p.epilogue },
            kernel: p.kernel,
            stride: p.stride,
            dilation: p.dilation,
            fast_math: p.fast_math,
        };
        Part { problem, src, weight: Some(weight), dst, column: first }
    }

    fn operands<'p>(_: &Problem, args: &'p Args<'_, E>) -> Operands<'p, E> {
        let mut operands = Operands { weight: args.weight, ..Operands::of(args.dst) };
        operands.src[..MAX_SEGMENTS].copy_from_slice(&args.src);
        operands.src[MAX_SEGMENTS] = args.epilogue.residual;
        operands
    }

    fn args<'p>(args: &'p Args<'_, E>, part: &Part<Self>, held: Operands<'p, H>) -> Args<'p, H> {
        let mut src = [tandem_base::Span::empty(); MAX_SEGMENTS];
        src.copy_from_slice(&held.src[..MAX_SEGMENTS]);
        let epilogue = args.epilogue.part(part.column, held.src[MAX_SEGMENTS]);
        Args { src, weight: held.weight, epilogue, dst: held.dst }
    }
}
