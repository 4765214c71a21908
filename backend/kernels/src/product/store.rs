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
    /// Of batch n, y and x of the destination (shuffled, if it is).
    #[inline(always)]
    pub fn new(g: &Geometry<'_>, [n, y, x]: [usize; 3]) -> Self {
        let at = |s: &[usize]| n * s[0] + y * s[2] + x * s[3];
        Self { dst: at(&g.dst_strides), residual: g.epilogue.residual.map_or(0, |r| at(r.strides())) }
    }
}

/// Bounds of an activation that is no more than a clamp.
fn bounds(act: Act) -> Option<[f32; 2]> {
    match act {
        Act::None => Some([f32::NEG_INFINITY, f32::INFINITY]),
        Act::Relu => Some([0.0, f32::INFINITY]),
        Act::Clamp { lo, hi } => Some([lo, hi]),
        _ => None,
    }
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
    sums: &mut [[V; VECTORS]; ROWS],
) {
    let e = &g.epilogue;
    let simple = e.residual.is_none_or(|r| r.stride(1) == 1) && g.dst_strides[1] == 1;
    // SAFETY: the caller's.
    unsafe {
        if g.alpha != 1.0 {
            for sum in sums.iter_mut().flatten() {
                *sum = *sum * V::splat(g.alpha);
            }
        }
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
        let [[lo, hi], [lo2, hi2]] = clamps.map(|c| c.map(|x| V::splat(x)));
        for v in 0..VECTORS {
            let n = left.saturating_sub(v * V::LANES).min(V::LANES);
            if n == 0 {
                break;
            }
            let at = |p: *const f32| V::load(p.add(column + v * V::LANES));
            let bias = if e.bias { at(g.operands.bias.ptr()) } else { V::splat(0.0) };
            let [scale, shift] = match e.scale_shift {
                true => [at(g.operands.scale.ptr()), at(g.operands.shift.ptr())],
                false => [V::splat(1.0), V::splat(0.0)],
            };
            for (place, sum) in places.iter().zip(sums) {
                let mut x = hi.min(lo.max(sum[v] + bias));
                if e.scale_shift {
                    x = x.mul_add(scale, shift);
                }
                if e.residual.is_some() {
                    let from = g.operands.residual.ptr().add(place.residual + channel + v * V::LANES);
                    x = x + if n == V::LANES { V::load(from) } else { V::load_first(from, n) };
                }
                x = hi2.min(lo2.max(x));
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
    for index in 0..places.len() * vectors {
        let (place, v) = (&places[index / vectors], index % vectors);
        let n = left.saturating_sub(v * V::LANES).min(V::LANES);
        let (channel, column) = (channel + v * V::LANES, column + v * V::LANES);
        if n == 0 {
            continue;
        }
        // SAFETY: the caller's.
        unsafe {
            let mut x = V::load(sums.add(index * V::LANES));
            if e.bias {
                x = x + V::load(g.operands.bias.ptr().add(column));
            }
            x = simd::act(e.act, x);
            if e.scale_shift {
                let [scale, shift] =
                    [g.operands.scale, g.operands.shift].map(|s| V::load(s.ptr().add(column)));
                x = x.mul_add(scale, shift);
            }
            if let Some(shape) = &e.residual {
                let from = g.operands.residual.ptr().add(place.residual + channel * shape.stride(1));
                x = x + gather::<V>(from, shape.stride(1), n);
            }
            if e.act2 != Act::None {
                x = simd::act(e.act2, x);
            }
            scatter(x, g.dst.add(place.dst + channel * g.dst_strides[1]), g.dst_strides[1], n);
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
