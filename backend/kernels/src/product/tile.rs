//! The register tile: up to ROWS positions times one panel's columns, over all of k.

use std::ops::Range;

use super::store::{Place, store};
use super::{Geometry, Segment, Tile};
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

/// Computes every position of a range for every panel of a range.
///
/// # Safety
/// All pointers of the geometry reach what its sizes say; channel strides are 1; the CPU has the vector's instructions.
pub(crate) unsafe fn run_tiles<V: Tile>(g: &Geometry<'_>, work: &Panels) {
    let per_part = panels::count(g.columns);
    for panel in work.panels.clone() {
        let (part, panel) = (panel / per_part, panel % per_part);
        let width = panels::width(g.columns, panel);
        for first in (0..width).step_by(V::COLUMNS) {
            let block = Block { part, panel, first, width, lanes: (width - first).min(V::COLUMNS) };
            let mut at = work.positions.start;
            let tiles = work.positions.len().div_ceil(V::ROWS);
            for left in (1..=tiles).rev() {
                let rows = (work.positions.end - at).div_ceil(left);
                // SAFETY: the caller's.
                unsafe { V::tile(g, &block, at, rows) };
                at += rows;
            }
        }
    }
}

/// A tile's columns.
pub(crate) struct Block {
    /// Group or parity.
    pub part: usize,
    /// Panel of the part.
    pub panel: usize,
    /// First column in the panel.
    pub first: usize,
    /// The panel's width.
    pub width: usize,
    /// Columns to compute, padding included: a multiple of 16, or 8 lanes' worth of it.
    pub lanes: usize,
}

/// Calls the instance for a number of rows.
#[inline(always)]
pub(super) unsafe fn dispatch<V: Tile>(g: &Geometry<'_>, block: &Block, at: usize, rows: usize) {
    macro_rules! call {
        ($($rows:literal)*) => {
            match (rows, block.lanes == V::COLUMNS) {
                $(($rows, true) if $rows <= V::ROWS => one::<V, $rows, 2>(g, block, at),)*
                $(($rows, false) if $rows <= V::ROWS => one::<V, $rows, 1>(g, block, at),)*
                _ => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    // SAFETY: the caller's.
    unsafe { call!(1 2 3 4 5 6 7 8 9 10 11 12 13 14) }
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
        };
        let r = g.shuffle;
        let (dy, dx) = if r > 1 { (part / r, part % r) } else { (0, 0) };
        let reach = [0, 1].map(|axis| (g.kernel[axis] - 1).wrapping_mul(g.dilation[axis]));
        let [mut n, mut oy, mut ox] = g.position(at);
        for i in 0..ROWS {
            let y = (oy * g.stride[0]).wrapping_sub(g.padding[0]);
            let x = (ox * g.stride[1]).wrapping_sub(g.padding[1]);
            (rows.y[i], rows.x[i], rows.batch[i]) = (y, x, n);
            rows.inside &= y < g.in_size[0] && x < g.in_size[1];
            rows.inside &= y.wrapping_add(reach[0]) < g.in_size[0] && x.wrapping_add(reach[1]) < g.in_size[1];
            rows.places[i] = Place::new(g, [n, oy * r + dy, ox * r + dx]);
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
        let [dy, dx] = [0, 1].map(|axis| tap[axis].wrapping_mul(g.dilation[axis]));
        let mut pointers = [ZEROS.as_ptr(); ROWS];
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

/// One tile.
#[inline(always)]
unsafe fn one<V: Tile, const ROWS: usize, const VECTORS: usize>(g: &Geometry<'_>, block: &Block, at: usize) {
    // SAFETY: the caller's; pointers are into the sources, or at RUN zeros for at most RUN channels.
    unsafe {
        let rows = Rows::<ROWS>::new(g, block.part, at);
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        let panel = block.part * g.k() * g.padded() + block.panel * panels::PANEL * g.k();
        let mut rhs = g.weight.add(rows.batch[0] * g.weight_step + panel + block.first);
        for ky in 0..g.kernel[0] {
            for kx in 0..g.kernel[1] {
                for s in g.segments {
                    let channels = s.channels / g.groups;
                    let skip = if g.groups > 1 { block.part * channels } else { 0 };
                    for c in (0..channels).step_by(RUN) {
                        let lhs = rows.pointers(g, s, [ky, kx], skip + c);
                        let k = (channels - c).min(RUN);
                        accumulate(&mut sums, &lhs, rhs, block.width, k);
                        rhs = rhs.add(k * block.width);
                    }
                }
            }
        }
        store(g, block, &rows.places, &mut sums);
    }
}

/// sums += lhs[row][0..k] * rhs[0..k][columns]
#[inline(always)]
unsafe fn accumulate<V: Tile, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[V; VECTORS]; ROWS],
    lhs: &[*const f32; ROWS],
    mut rhs: *const f32,
    width: usize,
    k: usize,
) {
    // A copy whose address goes nowhere stays in registers.
    let mut own = *sums;
    // SAFETY: the caller's: k elements behind every lhs, k rows of the panel behind rhs.
    unsafe {
        for i in 0..k {
            let mut columns = [V::splat(0.0); VECTORS];
            for (v, column) in columns.iter_mut().enumerate() {
                *column = V::load(rhs.add(v * V::LANES));
            }
            for (row, from) in own.iter_mut().zip(lhs) {
                let x = V::splat(*from.add(i));
                for (sum, column) in row.iter_mut().zip(columns) {
                    *sum = x.mul_add(column, *sum);
                }
            }
            rhs = rhs.add(width);
        }
    }
    *sums = own;
}
