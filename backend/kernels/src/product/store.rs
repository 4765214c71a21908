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

/// First channel of the block in the destination, channels left from there, and its first padded column.
#[inline(always)]
fn columns(g: &Geometry<'_>, block: &Block) -> (usize, usize, usize) {
    let first = block.panel * panels::PANEL + block.first;
    let part = if g.groups > 1 { block.part * g.columns } else { 0 };
    (part + first, g.columns.saturating_sub(first), block.part * g.padded() + first)
}

/// Epilogue and store of sums in memory.
///
/// # Safety
/// Places and columns lie inside the destination, the residual and the column operands; `sums` are `vectors` vectors for
/// each place; the CPU has the vector's instructions.
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
