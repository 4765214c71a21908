//! From sums in registers to the destination, through the epilogue.

use super::tile::Block;
use super::{Geometry, Tile};
use crate::epilogue::Act;
use crate::panels;
use crate::simd::{self, MAX_LANES};

/// Where a position's first channel lies, in elements.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    dst: usize,
    residual: usize,
}

impl Place {
    /// Of batch n, y and x of a destination (shuffled, if it is) and a residual with strides `s` and `r`.
    #[inline(always)]
    pub fn new(s: &[usize; 4], r: &[usize; 4], [n, y, x]: [usize; 3]) -> Self {
        Self { dst: n * s[0] + y * s[2] + x * s[3], residual: n * r[0] + y * r[2] + x * r[3] }
    }

    /// A place so many elements further on.
    #[inline(always)]
    pub fn further(&self, dst: usize, residual: usize) -> Self {
        Self { dst: self.dst + dst, residual: self.residual + residual }
    }

    /// The destination's.
    #[inline(always)]
    pub fn dst(&self) -> usize {
        self.dst
    }

    /// The residual's.
    #[inline(always)]
    pub fn residual(&self) -> usize {
        self.residual
    }
}

/// Bounds of an activation that is no more than a clamp.
pub(super) fn bounds(act: Act) -> Option<[f32; 2]> {
    match act {
        Act::None => Some([f32::NEG_INFINITY, f32::INFINITY]),
        Act::Relu => Some([0.0, f32::INFINITY]),
        Act::Clamp { lo, hi } => Some([lo, hi]),
        _ => None,
    }
}

/// An epilogue of a bias, a residual and a clamp at most, on whole vectors of neighbours.
pub(super) struct Plain {
    /// The block's bias and residual.
    pub bias: Option<*const f32>,
    pub residual: Option<*const f32>,
    pub lo: f32,
    pub hi: f32,
    /// Of the block's first channel.
    pub dst: *mut f32,
}

/// The block's epilogue, if it is that simple; `width` columns are wanted.
#[inline(always)]
pub(super) fn plain(g: &Geometry<'_>, block: &Block, width: usize) -> Option<Plain> {
    let (channel, left, column) = columns(g, block);
    let e = &g.epilogue;
    let added = e.residual.is_some();
    // What is added last is as well added first where no activation comes between.
    let (act, other) = if added { (e.act2, e.act) } else { (e.act, e.act2) };
    let contiguous = g.dst_strides[1] == 1 && (!added || g.residual_strides()[1] == 1);
    if e.scale_shift || other != Act::None || g.alpha != 1.0 || left < width || !contiguous {
        return None;
    }
    let [lo, hi] = bounds(act)?;
    let bias = if e.bias { Some(g.operands.bias.ptr().wrapping_add(column)) } else { None };
    let residual = if added { Some(g.operands.residual.ptr().wrapping_add(channel)) } else { None };
    Some(Plain { bias, residual, lo, hi, dst: g.dst.wrapping_add(channel) })
}

/// Applies the epilogue and stores a tile.
///
/// # Safety
/// Places and columns lie inside the destination, the residual and the column operands.
#[inline(always)]
pub(super) unsafe fn store<V: Tile, const ROWS: usize, const VECTORS: usize>(
    g: &Geometry<'_>,
    block: &Block,
    places: &[Place; ROWS],
    sums: &[[V; VECTORS]; ROWS],
) {
    let e = &g.epilogue;
    let simple = (e.residual.is_none() || g.residual_strides()[1] == 1) && g.dst_strides[1] == 1;
    // SAFETY: the caller's.
    unsafe {
        match (bounds(e.act), bounds(e.act2)) {
            (Some(first), Some(second)) if simple => in_registers(g, block, places, sums, [first, second]),
            _ => through_memory(g, block, places, sums),
        }
    }
}

/// First channel of the block in the destination, channels left from there, and its first padded column.
#[inline(always)]
fn columns(g: &Geometry<'_>, block: &Block) -> (usize, usize, usize) {
    let first = block.panel * panels::PANEL + block.first;
    let part = if g.groups > 1 { block.part * g.columns } else { 0 };
    (part + first, g.columns.saturating_sub(first), block.part * g.padded() + first)
}

/// Clamps only, channels contiguous: a few instructions a vector.
#[inline(always)]
unsafe fn in_registers<V: Tile, const ROWS: usize, const VECTORS: usize>(
    g: &Geometry<'_>,
    block: &Block,
    places: &[Place; ROWS],
    sums: &[[V; VECTORS]; ROWS],
    clamps: [[f32; 2]; 2],
) {
    let (channel, left, column) = columns(g, block);
    let e = &g.epilogue;
    // SAFETY: the caller's; column operands are padded to the panels' width.
    unsafe {
        let [[lo, hi], [lo2, hi2]] = clamps;
        let alpha = V::splat(g.alpha);
        let (lo, hi, lo2, hi2) = (V::splat(lo), V::splat(hi), V::splat(lo2), V::splat(hi2));
        let [first, second] = [e.act != Act::None, e.act2 != Act::None];
        for v in 0..VECTORS {
            let n = left.saturating_sub(v * V::LANES).min(V::LANES);
            if n == 0 {
                break;
            }
            let (mut bias, mut scale, mut shift) = (V::splat(0.0), V::splat(1.0), V::splat(0.0));
            if e.bias {
                bias = V::load(g.operands.bias.ptr().add(column + v * V::LANES));
            }
            if e.scale_shift {
                scale = V::load(g.operands.scale.ptr().add(column + v * V::LANES));
                shift = V::load(g.operands.shift.ptr().add(column + v * V::LANES));
            }
            for (place, sum) in places.iter().zip(sums) {
                let mut x = sum[v].mul_add(alpha, bias);
                if first {
                    x = hi.min(lo.max(x));
                }
                if e.scale_shift {
                    x = x.mul_add(scale, shift);
                }
                if e.residual.is_some() {
                    let from = g.operands.residual.ptr().add(place.residual + channel + v * V::LANES);
                    x = x + if n == V::LANES { V::load(from) } else { V::load_first(from, n) };
                }
                if second {
                    x = hi2.min(lo2.max(x));
                }
                let to = g.dst.add(place.dst + channel + v * V::LANES);
                if n == V::LANES { x.store(to) } else { x.store_first(to, n) }
            }
        }
    }
}

/// Any epilogue, any strides: the tile goes through memory.
#[inline(always)]
unsafe fn through_memory<V: Tile, const ROWS: usize, const VECTORS: usize>(
    g: &Geometry<'_>,
    block: &Block,
    places: &[Place; ROWS],
    sums: &[[V; VECTORS]; ROWS],
) {
    // SAFETY: the caller's; vectors of sums lie one after the other, as f32 do in a vector.
    unsafe { V::finish(g, block, places, sums.as_ptr().cast::<f32>(), VECTORS) }
}

/// Epilogue and store of sums in memory.
///
/// # Safety
/// As [`store`]; `sums` are `vectors` vectors for each place.
#[inline(always)]
pub(super) unsafe fn finish<V: Tile>(
    g: &Geometry<'_>,
    block: &Block,
    places: &[Place],
    sums: *const f32,
    vectors: usize,
) {
    let (channel, left, column) = columns(g, block);
    let e = &g.epilogue;
    let (stride, residual_stride) = (g.dst_strides[1], g.residual_strides()[1]);
    for v in 0..vectors {
        let n = left.saturating_sub(v * V::LANES).min(V::LANES);
        let (channel, column) = (channel + v * V::LANES, column + v * V::LANES);
        if n == 0 {
            return;
        }
        // SAFETY: the caller's.
        unsafe {
            let alpha = V::splat(g.alpha);
            let (mut bias, mut scale, mut shift) = (V::splat(0.0), V::splat(1.0), V::splat(0.0));
            if e.bias {
                bias = V::load(g.operands.bias.ptr().add(column));
            }
            if e.scale_shift {
                scale = V::load(g.operands.scale.ptr().add(column));
                shift = V::load(g.operands.shift.ptr().add(column));
            }
            for (r, place) in places.iter().enumerate() {
                let mut x = V::load(sums.add((r * vectors + v) * V::LANES)).mul_add(alpha, bias);
                x = simd::act(e.act, x);
                if e.scale_shift {
                    x = x.mul_add(scale, shift);
                }
                if e.residual.is_some() {
                    let from = g.operands.residual.ptr().add(place.residual + channel * residual_stride);
                    x = x + gather::<V>(from, residual_stride, n);
                }
                if e.act2 != Act::None {
                    x = simd::act(e.act2, x);
                }
                scatter(x, g.dst.add(place.dst + channel * stride), stride, n);
            }
        }
    }
}

#[inline(always)]
unsafe fn gather<V: Tile>(from: *const f32, stride: usize, n: usize) -> V {
    // SAFETY: the caller's: n elements `stride` apart.
    unsafe {
        if stride == 1 {
            return V::load_first(from, n);
        }
        let mut lanes = [0f32; MAX_LANES];
        for (i, lane) in lanes.iter_mut().enumerate().take(n) {
            *lane = *from.add(i * stride);
        }
        V::load(lanes.as_ptr())
    }
}

#[inline(always)]
unsafe fn scatter<V: Tile>(x: V, to: *mut f32, stride: usize, n: usize) {
    // SAFETY: the caller's: n elements `stride` apart.
    unsafe {
        if stride == 1 {
            return x.store_first(to, n);
        }
        let mut lanes = [0f32; MAX_LANES];
        x.store(lanes.as_mut_ptr());
        for (i, lane) in lanes.iter().enumerate().take(n) {
            *to.add(i * stride) = *lane;
        }
    }
}
