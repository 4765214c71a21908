//! Copies of source rows that would share a cache set.
//!
//! The rows of a tile are read side by side: where they lie a multiple of 4 KiB apart they all fall into one set of an
//! L1 of 32 KiB and 8 ways, and evict each other.

use std::ops::Range;

use tandem_base::{SpanMut, Strided};

use super::{Geometry, Segment};

/// Elements of a way of L1.
const WAY: usize = 1024;
/// Fewest elements of a row worth a copy.
const SHORTEST: usize = 256;

/// Whether rows of `k` elements, `step` apart, share a set.
pub(crate) fn collide(step: usize, k: usize) -> bool {
    step.is_multiple_of(WAY) && k >= SHORTEST
}

/// Distance of copied rows: whole cache lines, and no multiple of a way.
fn apart(k: usize) -> usize {
    let lines = k.next_multiple_of(16) + 16;
    if lines.is_multiple_of(WAY) { lines + 16 } else { lines }
}

/// Bytes of the copies of `rows` rows.
pub(crate) fn spread_bytes(rows: usize, k: usize) -> usize {
    4 * rows * apart(k)
}

impl<'a> Geometry<'a> {
    /// The same for a range of positions on copies of their rows in `scratch`; `None` where rows do not collide, are
    /// more than one pixel's channels, or the scratch is too small.
    ///
    /// # Safety
    /// The geometry's pointers reach what its sizes say.
    pub unsafe fn spread<'b>(
        &self,
        positions: &Range<usize>,
        scratch: SpanMut<'_, u8>,
        segment: &'b mut [Segment; 1],
    ) -> Option<Geometry<'b>>
    where
        'a: 'b,
    {
        let [s] = self.segments else { return None };
        let (k, n) = (s.channels, self.positions());
        let pixel = self.kernel == [1, 1] && self.padding == [0, 0] && self.shuffle == 1 && self.groups == 1;
        let fits = spread_bytes(positions.len(), k) <= scratch.len();
        if !pixel || !fits || positions.len() < 2 || !collide(self.stride[1] * s.strides[3], k) {
            return None;
        }
        let step = apart(k);
        let copies = scratch.ptr().cast::<f32>();
        let dst_strides = self.even(&self.dst_strides)?;
        let residual = match self.epilogue.residual {
            Some(r) => Some(Strided::new(&[1, r.size(1), 1, n], &self.even(&self.residual_strides())?)),
            None => None,
        };
        for (i, position) in positions.clone().enumerate() {
            let [b, y, x] = self.position(position);
            let at = b * s.strides[0] + y * self.stride[0] * s.strides[2] + x * self.stride[1] * s.strides[3];
            // SAFETY: the position's pixel lies in the source, and the copies in the scratch.
            unsafe { std::ptr::copy_nonoverlapping(s.ptr.add(at), copies.add(i * step), k) }
        }
        let ptr = copies.cast_const().wrapping_sub(positions.start * step);
        *segment = [Segment { ptr, channels: k, strides: [0, 1, 0, step] }];
        Some(Geometry { segments: segment, dst_strides, ..self.in_a_row(residual) })
    }
}
