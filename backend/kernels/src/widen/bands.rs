//! Images whose windows slide along rows, in bands of output rows.

use std::ops::Range;

use tandem_base::Strided;

use super::Region;

/// Windows along the height of an image.
#[derive(Clone, Copy)]
pub(crate) struct Windows {
    /// Rows of the source.
    pub height: usize,
    /// Rows of the destination.
    pub out: usize,
    /// From one window to the next.
    pub stride: usize,
    /// Rows a window covers.
    pub reach: usize,
    /// Rows above and below the source.
    pub padding: [usize; 2],
}

impl Windows {
    /// Rows of a band that reads about so many source rows, whole multiples of `step` where there are several bands.
    pub fn rows(&self, source: usize, step: usize) -> usize {
        // A band of padding only would read nothing.
        if self.padding[0] >= self.reach || self.padding[1] >= self.reach {
            return self.out.max(1);
        }
        let most = source.saturating_sub(self.reach) / self.stride + 1;
        let most = (most / step * step).clamp(step, self.out.max(step));
        let bands = self.out.div_ceil(most).max(1);
        let rows = self.out.div_ceil(bands).max(1);
        if bands > 1 { rows.next_multiple_of(step) } else { rows }
    }

    /// Source rows of a band, and the padding above and below.
    pub fn source(&self, band: &Range<usize>) -> (Range<usize>, [usize; 2]) {
        if *band == (0..self.out) {
            return (0..self.height, self.padding);
        }
        let first = band.start * self.stride;
        let last = (band.end - 1) * self.stride + self.reach;
        let above = self.padding[0].saturating_sub(first);
        let below = last.saturating_sub(self.padding[0] + self.height).min(self.padding[1]);
        (first.saturating_sub(self.padding[0])..(last - self.padding[0]).min(self.height), [above, below])
    }
}

/// Elements of source rows a band of a cheap window has.
const BAND: usize = 64 << 10;

/// A band of an image: all channels.
pub(crate) struct Band {
    image: usize,
    rows: Range<usize>,
    source: Range<usize>,
    /// Padding above and below.
    pub padding: [usize; 2],
}

impl Band {
    /// Rows of a band of images.
    fn rows(src: &Strided, windows: &Windows) -> usize {
        windows.rows(BAND / (src.size(1) * src.size(3)).max(1), 1)
    }

    /// Bands of all images.
    pub fn count(src: &Strided, windows: &Windows) -> usize {
        src.size(0) * windows.out.div_ceil(Self::rows(src, windows))
    }

    /// A band.
    pub fn new(src: &Strided, windows: &Windows, index: usize) -> Self {
        let each = Self::rows(src, windows);
        let bands = windows.out.div_ceil(each);
        let first = index % bands * each;
        let rows = first..(first + each).min(windows.out);
        let (source, padding) = windows.source(&rows);
        Self { image: index / bands, rows, source, padding }
    }

    /// What it reads.
    pub fn source(&self, shape: &Strided) -> Region {
        self.of(shape, &self.source)
    }

    /// What it writes, or adds to that.
    pub fn output(&self, shape: &Strided) -> Region {
        self.of(shape, &self.rows)
    }

    fn of(&self, shape: &Strided, rows: &Range<usize>) -> Region {
        Region::of(shape, &[self.image, 0, rows.start, 0], &[1, shape.size(1), rows.len(), shape.size(3)])
    }
}
