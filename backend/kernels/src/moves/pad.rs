//! Padding: rows of units, an interior copied at once between edges.

use std::ops::Range;

use tandem_base::strided::MAX_RANK;

use super::{Edge, Problem};

/// Bytes of a tile, roughly.
const TILE: usize = 64 * 1024;

/// One dimension of the destination.
#[derive(Clone, Copy, Default)]
struct Dim {
    src: usize,
    dst: usize,
    before: isize,
    /// Strides of destination and source, in elements.
    strides: [usize; 2],
}

impl Dim {
    /// Whether both sides have the same elements.
    fn plain(&self) -> bool {
        self.before == 0 && self.src == self.dst
    }

    /// The destination indices that have a source element of their own.
    fn inside(&self) -> Range<usize> {
        let end = (self.before + self.src as isize).clamp(0, self.dst as isize) as usize;
        (self.before.max(0) as usize).min(end)..end
    }

    /// Source index of destination index `i`, or `None` where a constant stands.
    fn source(&self, i: usize, edge: Edge) -> Option<usize> {
        let n = self.src as isize;
        let i = i as isize - self.before;
        let i = match edge {
            _ if (0..n).contains(&i) => i,
            Edge::Constant(_) => return None,
            Edge::Reflect if i < 0 => -i,
            Edge::Reflect => 2 * (n - 1) - i,
            Edge::Replicate => i.clamp(0, n - 1),
            Edge::Circular => i.rem_euclid(n),
        };
        Some(i as usize)
    }
}

/// A padding problem as rows along the innermost dimension whose elements are units: the contiguous, unpadded
/// dimensions below it.
pub(super) struct Pad {
    outer: [Dim; MAX_RANK],
    rank: usize,
    row: Dim,
    /// Elements of a unit.
    unit: usize,
    width: usize,
    edge: Edge,
}

impl Pad {
    /// The rows of a problem, in the destination's order.
    pub fn new(p: &Problem) -> Self {
        let mut dims = [Dim::default(); MAX_RANK];
        let mut rank = 0;
        for d in 0..p.dst.rank() {
            let strides = [p.dst.stride(d), p.src.stride(d)];
            let dim = Dim { src: p.src.size(d), dst: p.dst.size(d), before: p.before[d], strides };
            if dim.plain() && dim.dst == 1 {
                continue;
            }
            let at = dims[..rank].iter().position(|k| k.strides[0] < dim.strides[0]).unwrap_or(rank);
            dims.copy_within(at..rank, at + 1);
            dims[at] = dim;
            rank += 1;
        }
        let mut unit = 1;
        while rank > 0 && dims[rank - 1].plain() && dims[rank - 1].strides == [unit, unit] {
            unit *= dims[rank - 1].dst;
            rank -= 1;
        }
        // A padded problem has a dimension that is not plain.
        rank -= 1;
        Self { outer: dims, rank, row: dims[rank], unit, width: p.width, edge: p.edge }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.outer[..self.rank].iter().map(|d| d.dst).product()
    }

    fn rows_per_tile(&self) -> usize {
        (TILE / (self.row.dst * self.unit * self.width)).max(1)
    }

    /// Number of tiles.
    pub fn tiles(&self) -> usize {
        self.rows().div_ceil(self.rows_per_tile())
    }

    /// Writes a range of tiles.
    ///
    /// # Safety
    /// Every element of the problem lies inside source and destination.
    pub unsafe fn run(&self, src: *const u8, dst: *mut u8, tiles: Range<usize>) {
        let step = self.rows_per_tile();
        for row in tiles.start * step..(tiles.end * step).min(self.rows()) {
            let (mut to, mut from, mut left) = (0, Some(0), row);
            for dim in self.outer[..self.rank].iter().rev() {
                let i = left % dim.dst;
                left /= dim.dst;
                to += i * dim.strides[0];
                from = from.zip(dim.source(i, self.edge)).map(|(at, i)| at + i * dim.strides[1]);
            }
            // SAFETY: the caller's; the offsets are those of the row's first unit.
            unsafe {
                let dst = dst.add(to * self.width);
                match from {
                    Some(at) => self.row(src.add(at * self.width), dst),
                    None => self.fill(dst, 0..self.row.dst),
                }
            }
        }
    }

    /// One row that has source elements.
    unsafe fn row(&self, src: *const u8, dst: *mut u8) {
        let [to, from] = self.row.strides.map(|s| s * self.width);
        let unit = self.unit * self.width;
        let inside = self.row.inside();
        // SAFETY: the caller's; indices are inside the row on either side.
        unsafe {
            if !inside.is_empty() {
                let first = (inside.start as isize - self.row.before) as usize;
                let (src, dst) = (src.add(first * from), dst.add(inside.start * to));
                if to == unit && from == unit {
                    std::ptr::copy_nonoverlapping(src, dst, inside.len() * unit);
                } else {
                    (0..inside.len()).for_each(|i| copy(src.add(i * from), dst.add(i * to), unit));
                }
            }
            for edge in [0..inside.start, inside.end..self.row.dst] {
                if matches!(self.edge, Edge::Constant(_)) {
                    self.fill(dst, edge);
                    continue;
                }
                for i in edge {
                    if let Some(j) = self.row.source(i, self.edge) {
                        copy(src.add(j * from), dst.add(i * to), unit);
                    }
                }
            }
        }
    }

    /// Fills units of a row with the constant.
    unsafe fn fill(&self, dst: *mut u8, units: Range<usize>) {
        let Edge::Constant(bits) = self.edge else { return };
        let to = self.row.strides[0];
        // SAFETY: the caller's.
        unsafe {
            if to == self.unit {
                self.write(bits, dst.add(units.start * to * self.width), units.len() * self.unit);
            } else {
                units.for_each(|i| self.write(bits, dst.add(i * to * self.width), self.unit));
            }
        }
    }

    /// Writes `n` elements of these bits.
    unsafe fn write(&self, bits: u64, dst: *mut u8, n: usize) {
        // SAFETY: the caller's; elements may lie at any alignment.
        unsafe {
            match self.width {
                _ if bits == 0 => dst.write_bytes(0, n * self.width),
                1 => dst.write_bytes(bits as u8, n),
                2 => (0..n).for_each(|i| dst.cast::<u16>().add(i).write_unaligned(bits as u16)),
                4 => (0..n).for_each(|i| dst.cast::<u32>().add(i).write_unaligned(bits as u32)),
                _ => (0..n).for_each(|i| dst.cast::<u64>().add(i).write_unaligned(bits)),
            }
        }
    }
}

/// Copies `bytes`, without a call where they are one element.
///
/// # Safety
/// They can be read and written.
#[inline(always)]
unsafe fn copy(src: *const u8, dst: *mut u8, bytes: usize) {
    // SAFETY: the caller's.
    unsafe {
        match bytes {
            4 => dst.cast::<u32>().write_unaligned(src.cast::<u32>().read_unaligned()),
            8 => dst.cast::<u64>().write_unaligned(src.cast::<u64>().read_unaligned()),
            _ => std::ptr::copy_nonoverlapping(src, dst, bytes),
        }
    }
}
