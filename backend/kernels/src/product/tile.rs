//! The register tile: up to ROWS positions times one panel's columns, over all of k.

use std::ops::Range;

use tandem_base::SpanMut;

use super::line::Line;
use super::store::Place;
use super::{Geometry, Segment, Tile};
use crate::conv::MAX_SEGMENTS;
use crate::panels;

/// Channels of one run at most; also the zeros a tap in the padding reads.
const RUN: usize = 1024;
static ZEROS: [f32; RUN] = [0.0; RUN];

/// Output positions and the panels of all parts, numbered through, that a call computes.
#[derive(Clone)]
pub(crate) struct Panels {
    /// Positions.
    pub positions: Range<usize>,
    /// Panels, part by part.
    pub panels: Range<usize>,
}

/// Bytes of weights that pass again and again over a call's positions, out of L2.
const WEIGHT_BYTES: usize = 256 << 10;

/// Computes every position of a range for every panel of a range; `scratch` takes copies of rows that share a cache
/// set ([`super::spread_bytes`]), and may be empty.
///
/// # Safety
/// All pointers of the geometry reach what its sizes say; channel strides are 1; the CPU has the vector's instructions.
pub(crate) unsafe fn run_tiles<V: Tile>(g: &Geometry<'_>, work: &Panels, scratch: SpanMut<'_, u8>) {
    let mut segments = [Segment::NONE; MAX_SEGMENTS];
    let flat = g.flattened(&mut segments);
    let g = flat.as_ref().unwrap_or(g);
    let mut copies = [Segment::NONE];
    // SAFETY: the caller's.
    let spread = unsafe { g.spread(&work.positions, scratch, &mut copies) };
    let g = spread.as_ref().unwrap_or(g);
    let line = Line::of(g);
    let per_part = panels::count(g.columns);
    let again = work.positions.len() > V::ROWS;
    let fitting = (WEIGHT_BYTES / (4 * panels::PANEL * g.k()).max(1)).max(1);
    let together = if again { fitting } else { per_part };
    // Strips end with image rows, for then they are lines, unless that makes them short.
    let width = g.out[2];
    let by_row = 3 * width >= 2 * V::ROWS * width.div_ceil(V::ROWS);
    let mut next = work.panels.start;
    while next < work.panels.end {
        let (part, first) = (next / per_part, next % per_part);
        let last = (first + together.min(work.panels.end - next)).min(per_part);
        let mut at = work.positions.start;
        while at < work.positions.end {
            let left = work.positions.end - at;
            let left = if by_row { left.min(width - at % width) } else { left };
            let rows = left.div_ceil(left.div_ceil(V::ROWS));
            // SAFETY: the caller's.
            unsafe {
                let strip = Strip { part, panels: first..last, at, rows };
                let line = line.as_ref().and_then(|line| Some((line, line.start(g, &strip)?)));
                V::strip(g, line, &strip);
            }
            at += rows;
        }
        next += last - first;
    }
}

/// Tiles of the same rows.
pub(crate) struct Strip {
    /// Group or parity.
    pub part: usize,
    /// Panels of the part.
    pub panels: Range<usize>,
    /// First position and number of positions.
    pub at: usize,
    pub rows: usize,
}

/// A tile's columns.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// Group or parity.
    pub part: usize,
    /// Panel of the part.
    pub panel: usize,
    /// First column in the panel.
    pub first: usize,
    /// The panel's width.
    pub width: usize,
}

/// The tiles of a strip, one after the other.
#[inline(always)]
pub(super) unsafe fn along<V: Tile, const ROWS: usize>(g: &Geometry<'_>, strip: &Strip) {
    let part = strip.part;
    let rows = Rows::<ROWS>::new(g, part, strip.at);
    for panel in strip.panels.clone() {
        let width = panels::width(g.columns, panel);
        for first in (0..width).step_by(V::COLUMNS) {
            let block = Block { part, panel, first, width };
            // SAFETY: the caller's.
            unsafe {
                if width - first >= V::COLUMNS {
                    one::<V, ROWS, 2>(g, &rows, &block);
                } else {
                    one::<V, ROWS, 1>(g, &rows, &block);
                }
            }
        }
    }
}

/// What the rows of a tile share with every tap: input corner, place in the batch, and where results go.
struct Rows<const ROWS: usize> {
    /// Input y and x of tap (0, 0), wrapping below 0.
    y: [usize; ROWS],
    x: [usize; ROWS],
    batch: [usize; ROWS],
    places: [Place; ROWS],
    /// Whether no tap of any row lies in the padding.
    inside: bool,
    /// Whether, besides, all rows are neighbours in one image row.
    line: bool,
}

impl<const ROWS: usize> Rows<ROWS> {
    #[inline(always)]
    fn new(g: &Geometry<'_>, part: usize, at: usize) -> Self {
        let mut rows = Self {
            y: [0; ROWS],
            x: [0; ROWS],
            batch: [0; ROWS],
            places: [Place::default(); ROWS],
            inside: true,
            line: false,
        };
        let r = g.shuffle;
        let (dy, dx) = if r > 1 { (part / r, part % r) } else { (0, 0) };
        let residual = g.residual_strides();
        let [mut n, mut oy, mut ox] = g.position(at);
        if ox + ROWS <= g.out[2] {
            let y = (oy * g.stride[0]).wrapping_sub(g.padding[0]);
            let x = (ox * g.stride[1]).wrapping_sub(g.padding[1]);
            let place = Place::new(&g.dst_strides, &residual, [n, oy * r + dy, ox * r + dx]);
            for i in 0..ROWS {
                (rows.y[i], rows.x[i], rows.batch[i]) = (y, x.wrapping_add(i * g.stride[1]), n);
                rows.places[i] = place.further(i * r * g.dst_strides[3], i * r * residual[3]);
            }
            rows.inside = reaches(g, y, x) && reaches(g, y, rows.x[ROWS - 1]);
            rows.line = rows.inside;
            return rows;
        }
        for i in 0..ROWS {
            let y = (oy * g.stride[0]).wrapping_sub(g.padding[0]);
            let x = (ox * g.stride[1]).wrapping_sub(g.padding[1]);
            (rows.y[i], rows.x[i], rows.batch[i]) = (y, x, n);
            rows.inside &= reaches(g, y, x);
            rows.places[i] = Place::new(&g.dst_strides, &residual, [n, oy * r + dy, ox * r + dx]);
            ox += 1;
            if ox == g.out[2] {
                (ox, oy) = (0, oy + 1);
            }
            if oy == g.out[1] {
                (oy, n) = (0, n + 1);
            }
        }
        rows
    }

    /// Pointers to channel `channel` of a segment at a tap, zeros where the tap lies in the padding.
    #[inline(always)]
    fn pointers(&self, g: &Geometry<'_>, s: &Segment, tap: [usize; 2], channel: usize) -> [*const f32; ROWS] {
        let [dy, dx] = [tap[0].wrapping_mul(g.dilation[0]), tap[1].wrapping_mul(g.dilation[1])];
        let mut pointers = [ZEROS.as_ptr(); ROWS];
        if self.line {
            let (y, x) = (self.y[0].wrapping_add(dy), self.x[0].wrapping_add(dx));
            let at = self.batch[0] * s.strides[0] + y * s.strides[2] + x * s.strides[3] + channel;
            let step = g.stride[1] * s.strides[3];
            for (i, pointer) in pointers.iter_mut().enumerate() {
                *pointer = s.ptr.wrapping_add(at + i * step);
            }
            return pointers;
        }
        for (i, pointer) in pointers.iter_mut().enumerate() {
            let (y, x) = (self.y[i].wrapping_add(dy), self.x[i].wrapping_add(dx));
            if self.inside || (y < g.in_size[0] && x < g.in_size[1]) {
                let at = self.batch[i] * s.strides[0] + y * s.strides[2] + x * s.strides[3] + channel;
                *pointer = s.ptr.wrapping_add(at);
            }
        }
        pointers
    }
}

/// Whether every tap of a position with its first tap at y, x lies in the image.
#[inline(always)]
pub(super) fn reaches(g: &Geometry<'_>, y: usize, x: usize) -> bool {
    let last = [
        y.wrapping_add((g.kernel[0] - 1).wrapping_mul(g.dilation[0])),
        x.wrapping_add((g.kernel[1] - 1).wrapping_mul(g.dilation[1])),
    ];
    y < g.in_size[0] && x < g.in_size[1] && last[0] < g.in_size[0] && last[1] < g.in_size[1]
}

/// One tile.
#[inline(always)]
unsafe fn one<V: Tile, const ROWS: usize, const VECTORS: usize>(
    g: &Geometry<'_>,
    rows: &Rows<ROWS>,
    block: &Block,
) {
    // SAFETY: the caller's; vectors of sums lie one after the other, as f32 do in a vector.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        accumulate(g, rows, block, &mut sums);
        V::finish(g, block, &rows.places, sums.as_ptr().cast::<f32>(), VECTORS);
    }
}

/// sums = lhs * rhs, run after run.
#[inline(always)]
unsafe fn accumulate<V: Tile, const ROWS: usize, const VECTORS: usize>(
    g: &Geometry<'_>,
    rows: &Rows<ROWS>,
    block: &Block,
    sums: &mut [[V; VECTORS]; ROWS],
) {
    // SAFETY: the caller's; pointers are into the sources, or at RUN zeros for at most RUN channels.
    unsafe {
        // Sums whose address goes nowhere stay in registers.
        let mut own = [[V::splat(0.0); VECTORS]; ROWS];
        let (mut rhs, row) = g.rhs(block, [g.k(), g.padded()]);
        for ky in 0..g.kernel[0] {
            for kx in 0..g.kernel[1] {
                for s in g.segments {
                    let channels = s.channels / g.groups;
                    let skip = if g.groups > 1 { block.part * channels } else { 0 };
                    for c in (0..channels).step_by(RUN) {
                        let lhs = rows.pointers(g, s, [ky, kx], skip + c);
                        let fours = if V::FOURS { (channels - c).min(RUN) / 4 * 4 } else { 0 };
                        if V::FOURS && fours > 0 {
                            V::by_fours(&mut own, &lhs, 0..fours, rhs, row);
                            rhs = rhs.wrapping_add(fours * row);
                        }
                        for i in fours..(channels - c).min(RUN) {
                            step(&mut own, &lhs, i, rhs);
                            rhs = rhs.wrapping_add(row);
                        }
                    }
                }
            }
        }
        *sums = own;
    }
}

/// sums += lhs[row][i] * rhs[columns]
#[inline(always)]
pub(super) unsafe fn step<V: Tile, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[V; VECTORS]; ROWS],
    lhs: &[*const f32; ROWS],
    i: usize,
    rhs: *const f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut columns = [V::splat(0.0); VECTORS];
        for (v, column) in columns.iter_mut().enumerate() {
            *column = V::load(rhs.add(v * V::LANES));
        }
        for (row, from) in sums.iter_mut().zip(lhs) {
            let x = V::splat(*from.add(i));
            for (sum, column) in row.iter_mut().zip(columns) {
                *sum = x.mul_add(column, *sum);
            }
        }
    }
}
