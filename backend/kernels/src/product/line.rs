//! Tiles whose rows are single pixels that lie evenly, with an epilogue of a bias, a residual and a clamp at most: 1x1
//! convolutions and GEMM. With few channels a tile is short, and all that a general one looks up would count.

use super::store::bounds;
use super::tile::{Strip, step};
use super::{Geometry, Tile};
use crate::epilogue::Act;
use crate::panels;

/// A product of such rows.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    k: usize,
    columns: usize,
    lhs: *const f32,
    lhs_step: usize,
    weight: *const f32,
    alpha: f32,
    bias: Option<*const f32>,
    residual: Option<*const f32>,
    residual_step: usize,
    lo: f32,
    hi: f32,
    dst: *mut f32,
    dst_step: usize,
}

impl Line {
    /// The geometry as such a product, if it is one.
    pub fn of(g: &Geometry<'_>) -> Option<Self> {
        let [s] = g.segments else { return None };
        let e = &g.epilogue;
        let added = e.residual.is_some();
        let pixels = g.kernel == [1, 1] && g.padding == [0, 0] && g.groups == 1 && g.shuffle == 1;
        let contiguous = g.dst_strides[1] == 1 && (!added || g.residual_strides()[1] == 1);
        let (act, other) = if added { (e.act2, e.act) } else { (e.act, e.act2) };
        if !pixels || g.out[..2] != [1, 1] || e.scale_shift || other != Act::None || !contiguous {
            return None;
        }
        let [lo, hi] = bounds(act)?;
        Some(Self {
            k: s.channels,
            columns: g.columns,
            lhs: s.ptr,
            lhs_step: g.stride[1] * s.strides[3],
            weight: g.weight,
            alpha: g.alpha,
            bias: e.bias.then(|| g.operands.bias.ptr()),
            residual: added.then(|| g.operands.residual.ptr()),
            residual_step: g.residual_strides()[3],
            lo,
            hi,
            dst: g.dst,
            dst_step: g.dst_strides[3],
        })
    }
}

/// Where a tile's columns are.
#[derive(Clone, Copy)]
struct Columns {
    /// First one.
    first: usize,
    /// How many are wanted.
    count: usize,
    /// The first one in the panel, and the panel's width.
    rhs: *const f32,
    width: usize,
}

/// The tiles of a strip, one after the other.
///
/// # Safety
/// As [`super::run_tiles`]; the strip has `ROWS` rows.
#[inline(always)]
pub(super) unsafe fn along<V: Tile, const ROWS: usize>(line: &Line, strip: &Strip) {
    // SAFETY: the caller's.
    unsafe {
        let mut lhs = [line.lhs.wrapping_add(strip.at * line.lhs_step); ROWS];
        for (r, row) in lhs.iter_mut().enumerate() {
            *row = row.wrapping_add(r * line.lhs_step);
        }
        for panel in strip.panels.clone() {
            let width = panels::width(line.columns, panel);
            let rhs = line.weight.add(panel * panels::PANEL * line.k);
            for skip in (0..width).step_by(V::COLUMNS) {
                let first = panel * panels::PANEL + skip;
                let count = line.columns - first.min(line.columns);
                let columns = Columns { first, count, rhs: rhs.add(skip), width };
                let two = width - skip >= V::COLUMNS;
                let whole = count >= if two { V::COLUMNS } else { V::LANES };
                match (two, whole, line.residual.is_some()) {
                    (true, true, false) => tile::<V, ROWS, 2, true, false>(line, &lhs, strip.at, columns),
                    (true, true, true) => tile::<V, ROWS, 2, true, true>(line, &lhs, strip.at, columns),
                    (true, false, false) => tile::<V, ROWS, 2, false, false>(line, &lhs, strip.at, columns),
                    (true, false, true) => tile::<V, ROWS, 2, false, true>(line, &lhs, strip.at, columns),
                    (false, true, false) => tile::<V, ROWS, 1, true, false>(line, &lhs, strip.at, columns),
                    (false, true, true) => tile::<V, ROWS, 1, true, true>(line, &lhs, strip.at, columns),
                    (false, false, false) => tile::<V, ROWS, 1, false, false>(line, &lhs, strip.at, columns),
                    (false, false, true) => tile::<V, ROWS, 1, false, true>(line, &lhs, strip.at, columns),
                }
            }
        }
    }
}

/// One tile. Every loop over its sums is a few instructions long: what the compiler does not unroll, it keeps in memory.
#[inline(always)]
unsafe fn tile<V: Tile, const ROWS: usize, const VECTORS: usize, const WHOLE: bool, const ADDED: bool>(
    line: &Line,
    lhs: &[*const f32; ROWS],
    at: usize,
    columns: Columns,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        let mut rhs = columns.rhs;
        for i in 0..line.k {
            step(&mut sums, lhs, i, rhs);
            rhs = rhs.add(columns.width);
        }
        let mut bias = [V::splat(0.0); VECTORS];
        let mut lanes = [V::LANES; VECTORS];
        for v in 0..VECTORS {
            if let Some(from) = line.bias {
                bias[v] = V::load(from.add(columns.first + v * V::LANES));
            }
            if !WHOLE {
                lanes[v] = columns.count.saturating_sub(v * V::LANES).min(V::LANES);
            }
        }
        let alpha = V::splat(line.alpha);
        let (lo, hi) = (V::splat(line.lo), V::splat(line.hi));
        if ADDED && let Some(residual) = line.residual {
            let mut from = residual.add(at * line.residual_step + columns.first);
            for row in &mut sums {
                for (v, sum) in row.iter_mut().enumerate() {
                    let old = V::load_first(from.add(v * V::LANES), lanes[v]);
                    *sum = sum.mul_add(alpha, bias[v]) + old;
                }
                from = from.wrapping_add(line.residual_step);
            }
        }
        let mut to = line.dst.add(at * line.dst_step + columns.first);
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
            to = to.wrapping_add(line.dst_step);
        }
    }
}
