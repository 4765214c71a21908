//! Copies between strides: contiguous runs, transposes, and what is left element by element.

use std::ops::Range;

use super::Problem;
use crate::nest::{Block, Nest};
use crate::simd::Simd;

/// Elements of a tile.
const TILE: usize = 16 * 1024;
/// Largest side of a tile of a transpose that is wide enough in the other direction.
const SIDE: usize = 64;

/// A copy: operands are destination and source, strides in elements of `width` bytes.
pub(super) struct Copy {
    nest: Nest<2>,
    width: usize,
    /// Offset of the first element in the source.
    start: usize,
    transpose: Option<Transpose>,
}

/// Dimension `i` is contiguous in the destination, `j` in the source.
struct Transpose {
    /// Extent along i and j.
    size: [usize; 2],
    /// Stride of the source along i, of the destination along j.
    stride: [usize; 2],
    /// Extent of a tile along i and j.
    tile: [usize; 2],
    outer: Nest<2>,
}

impl Transpose {
    fn new(nest: &Nest<2>) -> Option<Self> {
        let (i, [to, from]) = nest.inner();
        let j = (0..nest.rank() - 1).find(|&j| nest.strides(j)[1] == 1)?;
        if to != 1 || from == 1 || nest.elements() == 0 {
            return None;
        }
        let size = [i, nest.sizes()[j]];
        let other = |side: usize| (TILE / side.min(SIDE)).next_multiple_of(16);
        let tile = if size[0] < size[1] { [SIDE, other(size[0])] } else { [other(size[1]), SIDE] };
        let outer = nest.without(j).outer();
        Some(Self { size, stride: [from, nest.strides(j)[0]], tile, outer })
    }

    fn blocks(&self) -> [usize; 2] {
        [0, 1].map(|d| self.size[d].div_ceil(self.tile[d]))
    }

    /// One tile, in squares of `side` elements done by `square(dst, src, columns along i, rows along j)`.
    #[inline(always)]
    fn tile(&self, tile: usize, side: usize, mut square: impl FnMut(usize, usize, usize, usize)) {
        let blocks = self.blocks();
        let [to, from] = self.outer.offsets(tile / blocks[0] / blocks[1]);
        let [i, j] = [tile % blocks[0], tile / blocks[0] % blocks[1]];
        let range = |d: usize, at: usize| at * self.tile[d]..((at + 1) * self.tile[d]).min(self.size[d]);
        let (i, j) = (range(0, i), range(1, j));
        // The far-apart rows are visited along their whole length, few at a time.
        let rows_outside = self.stride[1] >= self.stride[0];
        let (slow, fast) = if rows_outside { (j.clone(), i.clone()) } else { (i.clone(), j.clone()) };
        for slow in slow.step_by(side) {
            for fast in fast.clone().step_by(side) {
                let (i0, j0) = if rows_outside { (fast, slow) } else { (slow, fast) };
                let (dst, src) = (to + j0 * self.stride[1] + i0, from + i0 * self.stride[0] + j0);
                square(dst, src, side.min(i.end - i0), side.min(j.end - j0));
            }
        }
    }
}

impl Copy {
    /// The copy a problem without an outside amounts to.
    pub fn new(p: &Problem) -> Self {
        let start = (0..p.dst.rank()).map(|d| p.before[d].unsigned_abs() * p.src.stride(d)).sum();
        let nest = Nest::of([&p.dst, &p.src]);
        Self { nest, width: p.width, start, transpose: Transpose::new(&nest) }
    }

    /// Number of tiles.
    pub fn tiles(&self) -> usize {
        match &self.transpose {
            _ if self.nest.elements() == 0 => 0,
            Some(t) => t.outer.elements() * t.blocks()[0] * t.blocks()[1],
            None => self.nest.elements().div_ceil(TILE),
        }
    }

    /// Time over that of streaming the bytes.
    pub fn slowness(&self, slower: f64) -> f64 {
        let (len, strides) = self.nest.inner();
        match &self.transpose {
            Some(_) if self.width == 4 => 1.3 * slower,
            None if strides == [1, 1] => slower + 32.0 / (len * self.width) as f64,
            _ => 4.0 * slower,
        }
    }

    /// Vectors that a transpose turns over, whole blocks of them: few columns take as long as many.
    pub fn turned(&self, lanes: usize) -> usize {
        let Some(t) = self.transpose.as_ref().filter(|_| self.width == 4) else { return 0 };
        t.outer.elements() * t.size[0].div_ceil(lanes) * t.size[1].div_ceil(lanes) * lanes
    }

    /// Copies a range of tiles.
    ///
    /// # Safety
    /// Every element of the problem lies inside source and destination; the CPU has the vector's instructions.
    #[inline(always)]
    pub unsafe fn run<V: Simd>(&self, src: *const u8, dst: *mut u8, tiles: Range<usize>) {
        // SAFETY: the caller's; `start` moves the source to its first element.
        unsafe {
            let src = src.add(self.start * self.width);
            match (&self.transpose, self.width) {
                (Some(t), 4) => {
                    let (src, dst) = (src.cast::<f32>(), dst.cast::<f32>());
                    for tile in tiles {
                        t.tile(tile, V::LANES, |to, from, i, j| {
                            // Rows of the block are elements along i of the source.
                            V::transpose((src.add(from), t.stride[0]), (dst.add(to), t.stride[1]), i, j);
                        });
                    }
                }
                _ if self.transpose.is_none() && self.runs() => {
                    let width = self.width;
                    let range = tiles.start * TILE..(tiles.end * TILE).min(self.nest.elements());
                    let [down, across] = self.nest.row_strides();
                    for Block { at, rows, len } in self.nest.blocks(range) {
                        for row in 0..rows {
                            let (to, from) = (at[0] + row * down, at[1] + row * across);
                            copy_run::<V>(src.add(from * width), dst.add(to * width), len * width);
                        }
                    }
                }
                (_, 1) => self.elements::<u8>(src, dst, tiles),
                (_, 2) => self.elements::<u16>(src.cast(), dst.cast(), tiles),
                (_, 4) => self.elements::<u32>(src.cast(), dst.cast(), tiles),
                _ => self.elements::<u64>(src.cast(), dst.cast(), tiles),
            }
        }
    }

    /// Whether the innermost dimension is contiguous on both sides and worth a vector.
    fn runs(&self) -> bool {
        let (len, strides) = self.nest.inner();
        strides == [1, 1] && len * self.width >= 16
    }

    /// Copies a range of tiles in elements of a plain type.
    #[inline(always)]
    unsafe fn elements<T: std::marker::Copy>(&self, src: *const T, dst: *mut T, tiles: Range<usize>) {
        // SAFETY: the caller's; elements may lie at any alignment.
        let copy = |to: usize, from: usize| unsafe {
            dst.add(to).write_unaligned(src.add(from).read_unaligned());
        };
        if let Some(t) = &self.transpose {
            for tile in tiles {
                t.tile(tile, 16, |to, from, columns, rows| {
                    for j in 0..rows {
                        (0..columns).for_each(|i| copy(to + j * t.stride[1] + i, from + i * t.stride[0] + j));
                    }
                });
            }
            return;
        }
        let [to, from] = self.nest.inner().1;
        let range = tiles.start * TILE..(tiles.end * TILE).min(self.nest.elements());
        let [down, across] = self.nest.row_strides();
        for Block { at, rows, len } in self.nest.blocks(range) {
            for row in 0..rows {
                (0..len).for_each(|i| copy(at[0] + row * down + i * to, at[1] + row * across + i * from));
            }
        }
    }
}

/// Copies `bytes`: long runs are memcpy's business, for short ones its call costs more than the copy.
///
/// # Safety
/// They can be read and written and do not overlap; the CPU has the vector's instructions.
#[inline(always)]
unsafe fn copy_run<V: Simd>(src: *const u8, dst: *mut u8, bytes: usize) {
    // SAFETY: the caller's. Vectors carry any bits unchanged.
    unsafe {
        if bytes >= 2048 {
            return std::ptr::copy_nonoverlapping(src, dst, bytes);
        }
        let (from, to) = (src.cast::<f32>(), dst.cast::<f32>());
        let words = bytes / 4;
        let mut at = 0;
        while at + V::LANES <= words {
            V::load(from.add(at)).store(to.add(at));
            at += V::LANES;
        }
        if at < words {
            V::load_first(from.add(at), words - at).store_first(to.add(at), words - at);
        }
        for at in words * 4..bytes {
            *dst.add(at) = *src.add(at);
        }
    }
}
