//! A padded channels-last copy of the source rows that some output rows need.
//!
//! For sources whose channels are not contiguous (images as hosts give them): a tap row of the slab is one run of
//! kernel width times channels, so the few channels of a first layer still make long runs.

use std::ops::Range;

use super::{Geometry, Segment};
use crate::simd::Simd;

/// Sizes of the slab for a range of output rows of one image.
pub(crate) struct Slab {
    /// Rows, columns, channels.
    pub size: [usize; 3],
    /// First source row, wrapping below 0.
    top: usize,
}

impl Slab {
    /// For output rows `rows`, all sources.
    pub fn new(g: &Geometry<'_>, rows: &Range<usize>) -> Self {
        let reach = [0, 1].map(|axis| (g.kernel[axis] - 1) * g.dilation[axis] + 1);
        let height = (rows.len() - 1) * g.stride[0] + reach[0];
        let width = (g.out[2] - 1) * g.stride[1] + reach[1];
        let channels = g.segments.iter().map(|s| s.channels).sum();
        Self { size: [height, width, channels], top: (rows.start * g.stride[0]).wrapping_sub(g.padding[0]) }
    }

    /// Fills the slab from batch `n`.
    ///
    /// # Safety
    /// `slab` has room for its sizes; the geometry's pointers reach what its sizes say; the CPU has the vector's
    /// instructions.
    #[inline(always)]
    pub unsafe fn fill<V: Simd>(&self, g: &Geometry<'_>, n: usize, slab: *mut f32) {
        let [height, width, channels] = self.size;
        for row in 0..height {
            let y = self.top.wrapping_add(row);
            // SAFETY: the row lies inside the slab.
            let line = unsafe { slab.add(row * width * channels) };
            if y >= g.in_size[0] {
                // SAFETY: as above.
                unsafe { line.write_bytes(0, width * channels) };
                continue;
            }
            let left = g.padding[1].min(width);
            let inside = g.in_size[1].min(width - left);
            let behind = left + inside;
            // SAFETY: left + inside + what is behind are the row's columns.
            unsafe {
                line.write_bytes(0, left * channels);
                line.add(behind * channels).write_bytes(0, (width - behind) * channels);
            }
            let mut first = 0;
            for s in g.segments {
                // SAFETY: n, the channels, y and columns below `inside` lie in the source; first + the channels are below
                // the slab's.
                unsafe {
                    let from = s.ptr.add(n * s.strides[0] + y * s.strides[2]);
                    let to = line.add(left * channels + first);
                    fill_row::<V>(s, (from, to), channels, inside);
                }
                first += s.channels;
            }
        }
    }

    /// The slab as a source: no padding, and where columns are neighbours, a tap row as one tap.
    pub fn segment(&self, slab: *const f32, merge: usize) -> Segment {
        let [_, width, channels] = self.size;
        Segment { ptr: slab, channels: channels * merge, strides: [0, 1, width * channels, channels] }
    }
}

/// Channels of a source from which on turning vectors over is quicker than going element by element.
pub(crate) const TURNED: usize = 5;

/// dst[x][c] = src[c][x] for a row of `columns` columns, pixels of dst `pixel` elements apart.
///
/// # Safety
/// As [`Slab::fill`].
#[inline(always)]
unsafe fn fill_row<V: Simd>(s: &Segment, (from, to): (*const f32, *mut f32), pixel: usize, columns: usize) {
    // SAFETY: the caller's.
    unsafe {
        if s.channels < TURNED || s.strides[3] != 1 {
            for c in 0..s.channels {
                let (from, to) = (from.add(c * s.strides[1]), to.add(c));
                for x in 0..columns {
                    *to.add(x * pixel) = *from.add(x * s.strides[3]);
                }
            }
            return;
        }
        for c in (0..s.channels).step_by(V::LANES) {
            let (from, to) = (from.add(c * s.strides[1]), to.add(c));
            let rows = V::LANES.min(s.channels - c);
            for x in (0..columns).step_by(V::LANES) {
                let block = (from.add(x), s.strides[1]);
                V::transpose(block, (to.add(x * pixel), pixel), rows, V::LANES.min(columns - x));
            }
        }
    }
}
