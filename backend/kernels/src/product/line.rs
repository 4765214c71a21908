//! Tiles whose rows lie evenly in one image row, no tap in the padding: most tiles of most products, without what a
//! general one looks up for each of its rows. With few channels a tile is short, and all of that would count.

use super::store::{Place, bounds};
use super::tile::{Block, Strip, reaches, step};
use super::{Geometry, MAX_ROWS, Tile};
use crate::epilogue::Act;
use crate::panels;
use crate::simd::MAX_LANES;

/// Panels a few rows take at once: streams of weights to read in parallel.
const STREAMS: usize = 4;
/// Most rows for which reading weights is what takes the time.
const FEW: usize = 2;

/// What the tiles of a product with one source and one group share.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    k: usize,
    channels: usize,
    padded: usize,
    /// Distances of a tile's rows in the source, the destination and the residual.
    steps: [usize; 3],
    /// The clamp, where the epilogue is a bias, a residual and a clamp at most.
    plain: Option<[f32; 2]>,
}

impl Line {
    /// Of a geometry that has such tiles.
    pub fn of(g: &Geometry<'_>) -> Option<Self> {
        let [s] = g.segments else { return None };
        let e = &g.epilogue;
        let (residual, added) = (g.residual_strides(), e.residual.is_some());
        let contiguous = g.dst_strides[1] == 1 && (!added || residual[1] == 1);
        let (act, other) = if added { (e.act2, e.act) } else { (e.act, e.act2) };
        let simple = !e.scale_shift && other == Act::None && contiguous;
        (g.groups == 1).then(|| Self {
            k: g.k(),
            channels: s.channels,
            padded: g.padded(),
            steps: [g.stride[1] * s.strides[3], g.shuffle * g.dst_strides[3], g.shuffle * residual[3]],
            plain: if simple { bounds(act) } else { None },
        })
    }

    /// Where a strip's first row lies, if its rows are such a line: in the source, the destination and the residual.
    #[inline(always)]
    pub fn start(&self, g: &Geometry<'_>, strip: &Strip) -> Option<Start> {
        let [n, oy, ox] = g.position(strip.at);
        let y = (oy * g.stride[0]).wrapping_sub(g.padding[0]);
        let x = (ox * g.stride[1]).wrapping_sub(g.padding[1]);
        let last = x.wrapping_add((strip.rows - 1) * g.stride[1]);
        if ox + strip.rows > g.out[2] || !reaches(g, y, x) || !reaches(g, y, last) {
            return None;
        }
        let r = g.shuffle;
        let (dy, dx) = if r > 1 { (strip.part / r, strip.part % r) } else { (0, 0) };
        let s = &g.segments[0];
        let lhs = s.ptr.wrapping_add(n * s.strides[0] + y * s.strides[2] + x * s.strides[3]);
        let place = Place::new(&g.dst_strides, &g.residual_strides(), [n, oy * r + dy, ox * r + dx]);
        Some(Start { lhs, place })
    }
}

/// First row of a strip.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    lhs: *const f32,
    place: Place,
}

/// The tiles of a strip, one after the other.
///
/// # Safety
/// As [`super::run_tiles`]; the strip has `ROWS` rows.
#[inline(always)]
pub(super) unsafe fn along<V: Tile, const ROWS: usize>(
    g: &Geometry<'_>,
    line: &Line,
    start: Start,
    strip: &Strip,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut lhs = [start.lhs; ROWS];
        for (r, row) in lhs.iter_mut().enumerate() {
            *row = row.wrapping_add(r * line.steps[0]);
        }
        let rows = Rows { g, line, start, lhs: &lhs };
        let mut panel = strip.panels.start;
        while panel < strip.panels.end {
            let block =
                |first| Block { part: strip.part, panel, first, width: panels::width(g.columns, panel) };
            let whole =
                panel + STREAMS <= strip.panels.end && (panel + STREAMS) * panels::PANEL <= line.padded;
            if ROWS <= FEW && whole && V::COLUMNS == panels::PANEL {
                rows.streams::<V>(&block(0));
                panel += STREAMS;
                continue;
            }
            for first in (0..block(0).width).step_by(V::COLUMNS) {
                let block = block(first);
                if block.width - first >= V::COLUMNS {
                    rows.tile::<V, 2>(&block);
                } else {
                    rows.tile::<V, 1>(&block);
                }
            }
            panel += 1;
        }
    }
}

/// Rows of a strip.
struct Rows<'a, const ROWS: usize> {
    g: &'a Geometry<'a>,
    line: &'a Line,
    start: Start,
    lhs: &'a [*const f32; ROWS],
}

impl<const ROWS: usize> Rows<'_, ROWS> {
    #[inline(always)]
    unsafe fn tile<V: Tile, const VECTORS: usize>(&self, block: &Block) {
        let channel = block.panel * panels::PANEL + block.first;
        let left = self.g.columns.saturating_sub(channel);
        let whole = left >= VECTORS * V::LANES;
        // SAFETY: the caller's.
        unsafe {
            match (self.line.plain, whole, self.g.epilogue.residual.is_some()) {
                (Some(clamp), true, false) => self.plain::<V, VECTORS, true, false>(block, clamp, left),
                (Some(clamp), true, true) => self.plain::<V, VECTORS, true, true>(block, clamp, left),
                (Some(clamp), false, false) => self.plain::<V, VECTORS, false, false>(block, clamp, left),
                (Some(clamp), false, true) => self.plain::<V, VECTORS, false, true>(block, clamp, left),
                (None, ..) => self.any::<V, VECTORS>(block),
            }
        }
    }

    /// sums = lhs * rhs
    #[inline(always)]
    unsafe fn sums<V: Tile, const VECTORS: usize>(&self, block: &Block) -> [[V; VECTORS]; ROWS] {
        let g = self.g;
        let s = &g.segments[0];
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
            let (mut rhs, next) = g.rhs(block, [self.line.k, self.line.padded]);
            for ky in 0..g.kernel[0] {
                for kx in 0..g.kernel[1] {
                    let at = ky
                        .wrapping_mul(g.dilation[0])
                        .wrapping_mul(s.strides[2])
                        .wrapping_add(kx.wrapping_mul(g.dilation[1]).wrapping_mul(s.strides[3]));
                    let mut lhs = *self.lhs;
                    for row in &mut lhs {
                        *row = row.wrapping_add(at);
                    }
                    let fours = if V::FOURS { self.line.channels / 4 * 4 } else { 0 };
                    if V::FOURS && fours > 0 {
                        V::by_fours(&mut sums, &lhs, 0..fours, rhs, next);
                        rhs = rhs.wrapping_add(fours * next);
                    }
                    for i in fours..self.line.channels {
                        step(&mut sums, &lhs, i, rhs);
                        rhs = rhs.wrapping_add(next);
                    }
                }
            }
            sums
        }
    }

    /// A tile with a plain epilogue. Every loop over its sums is a few instructions long: what the compiler does not
    /// unroll, it keeps in memory.
    #[inline(always)]
    unsafe fn plain<V: Tile, const VECTORS: usize, const WHOLE: bool, const ADDED: bool>(
        &self,
        block: &Block,
        [lo, hi]: [f32; 2],
        left: usize,
    ) {
        let (g, channel) = (self.g, block.panel * panels::PANEL + block.first);
        // SAFETY: the caller's.
        unsafe {
            let mut sums = self.sums::<V, VECTORS>(block);
            let mut bias = [V::splat(0.0); VECTORS];
            let mut lanes = [V::LANES; VECTORS];
            for v in 0..VECTORS {
                if g.epilogue.bias {
                    let column = block.part * self.line.padded + channel + v * V::LANES;
                    bias[v] = V::load(g.operands.bias.ptr().add(column));
                }
                if !WHOLE {
                    lanes[v] = left.saturating_sub(v * V::LANES).min(V::LANES);
                }
            }
            let (alpha, lo, hi) = (V::splat(g.alpha), V::splat(lo), V::splat(hi));
            if ADDED {
                let mut from = g.operands.residual.ptr().add(self.start.place.residual() + channel);
                for row in &mut sums {
                    for (v, sum) in row.iter_mut().enumerate() {
                        let old = V::load_first(from.add(v * V::LANES), lanes[v]);
                        *sum = sum.mul_add(alpha, bias[v]) + old;
                    }
                    from = from.wrapping_add(self.line.steps[2]);
                }
            }
            let mut to = g.dst.add(self.start.place.dst() + channel);
            for row in &sums {
                for (v, sum) in row.iter().enumerate() {
                    let x = if ADDED { *sum } else { sum.mul_add(alpha, bias[v]) };
                    let x = hi.min(lo.max(x));
                    if WHOLE {
                        x.store(to.add(v * V::LANES));
                    } else {
                        x.store_first(to.add(v * V::LANES), lanes[v]);
                    }
                }
                to = to.wrapping_add(self.line.steps[1]);
            }
        }
    }

    /// A tile with any epilogue.
    #[inline(always)]
    unsafe fn any<V: Tile, const VECTORS: usize>(&self, block: &Block) {
        // SAFETY: the caller's.
        unsafe {
            let sums = self.sums::<V, VECTORS>(block);
            let mut lanes = [0f32; 2 * MAX_LANES * MAX_ROWS];
            let mut to = lanes.as_mut_ptr();
            for row in &sums {
                for (v, sum) in row.iter().enumerate() {
                    sum.store(to.add(v * V::LANES));
                }
                to = to.add(VECTORS * V::LANES);
            }
            V::finish(self.g, block, &self.places(), lanes.as_ptr(), VECTORS);
        }
    }

    #[inline(always)]
    fn places(&self) -> [Place; ROWS] {
        let mut places = [self.start.place; ROWS];
        for (r, place) in places.iter_mut().enumerate() {
            *place = place.further(r * self.line.steps[1], r * self.line.steps[2]);
        }
        places
    }

    /// A few rows of several panels at once, any epilogue.
    #[inline(always)]
    unsafe fn streams<V: Tile>(&self, block: &Block) {
        let (g, k) = (self.g, self.line.k);
        // SAFETY: the caller's; the block's and the next panels are whole.
        unsafe {
            let mut sums = [[[V::splat(0.0); 2]; STREAMS]; ROWS];
            let (mut rhs, next) = g.rhs(block, [k, self.line.padded]);
            let panels = if g.weight_step.is_some() { panels::PANEL } else { panels::PANEL * k };
            for ky in 0..g.kernel[0] {
                for kx in 0..g.kernel[1] {
                    let s = &g.segments[0];
                    let at = ky
                        .wrapping_mul(g.dilation[0])
                        .wrapping_mul(s.strides[2])
                        .wrapping_add(kx.wrapping_mul(g.dilation[1]).wrapping_mul(s.strides[3]));
                    for i in 0..self.line.channels {
                        for p in 0..STREAMS {
                            let panel = rhs.add(p * panels);
                            let columns = [V::load(panel), V::load(panel.add(V::LANES))];
                            for (row, from) in sums.iter_mut().zip(self.lhs) {
                                let x = V::splat(*from.wrapping_add(at + i));
                                row[p][0] = x.mul_add(columns[0], row[p][0]);
                                row[p][1] = x.mul_add(columns[1], row[p][1]);
                            }
                        }
                        rhs = rhs.wrapping_add(next);
                    }
                }
            }
            let mut lanes = [0f32; 2 * MAX_LANES * FEW];
            for p in 0..STREAMS {
                for (r, row) in sums.iter().enumerate().take(FEW) {
                    row[p][0].store(lanes.as_mut_ptr().add(2 * r * V::LANES));
                    row[p][1].store(lanes.as_mut_ptr().add((2 * r + 1) * V::LANES));
                }
                let block = Block { panel: block.panel + p, ..*block };
                V::finish(g, &block, &self.places(), lanes.as_ptr(), 2);
            }
        }
    }
}
