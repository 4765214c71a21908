//! Planar slabs with a halo: `[channel / g][plane][row][column][g]` of a band of output rows, `g` channels in a word.
//!
//! With stride s there is a plane for each remainder of input coordinates by s that a tap uses, so that neighbouring
//! positions are neighbours in memory for every tap, and a tap is an offset. Positions run on across rows; the columns
//! that only the halo reaches make outputs that nobody wants.

use std::ops::Range;

use tandem_base::Strided;

use super::drive::list;
use super::{Copy, Pack, Run, Segment, Unit};
use crate::element::Packed;

/// Bytes of a slab to aim for: it stays in L2 while panel after panel passes.
const SLAB_BYTES: usize = 512 << 10;
/// Most planes of a slab.
const PLANES: usize = 16;

/// What outputs read of an image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub out: [usize; 2],
    pub input: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Rows above, columns to the left.
    pub padding: [usize; 2],
}

impl Window {
    /// Whether its planes are few enough.
    pub fn fits(&self) -> bool {
        self.stride[0].min(self.kernel[0]) * self.stride[1].min(self.kernel[1]) <= PLANES
    }

    /// Remainders of a tap's input coordinates.
    fn remainders(&self, tap: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|d| tap[d] * self.dilation[d] % self.stride[d])
    }
}

/// The cut of an image into slabs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slab {
    window: Window,
    /// Positions of a group.
    pub group: usize,
    /// Output rows of a band.
    pub band: usize,
    /// Rows and columns of a plane.
    pub plane: [usize; 2],
    /// Remainders of y and x that have a plane, in order.
    planes: [[usize; 2]; PLANES],
    count: usize,
    /// Words from those of one channel to those of the next.
    pub step: usize,
}

/// A worker's memory to make slabs with.
#[derive(Clone, Copy)]
pub(super) struct Tables<E> {
    /// [`Slab::step`] pointers.
    pub pixels: *mut *const E,
    /// Whether they are this band's already.
    pub listed: bool,
    /// What lies outside an image: one value, for as many channels as it has.
    pub outside: *const E,
}

impl Slab {
    /// For images of pixels of `words` words in all.
    pub fn new(window: Window, words: usize, group: usize) -> Self {
        let mut planes = [[0; 2]; PLANES];
        let mut count = 0;
        for ky in 0..window.kernel[0] {
            for kx in 0..window.kernel[1] {
                let at = window.remainders([ky, kx]);
                if count < PLANES && !planes[..count].contains(&at) {
                    planes[count] = at;
                    count += 1;
                }
            }
        }
        let [oh, ow] = window.out;
        let more = [0, 1].map(|d| (window.kernel[d] - 1) * window.dilation[d] / window.stride[d]);
        let width = ow + more[1];
        let row_bytes = 4 * words.max(1) * count * width;
        let rows = (SLAB_BYTES / row_bytes.max(1)).saturating_sub(more[0]).max(4);
        let band = oh.div_ceil(oh.div_ceil(rows.clamp(1, oh.max(1))).max(1)).max(1);
        let plane = [band + more[0], width];
        let step = (count * plane[0] * plane[1]).next_multiple_of(group);
        Self { window, group, band, plane, planes, count, step }
    }

    /// Bands of an image.
    pub fn bands(&self) -> usize {
        self.window.out[0].div_ceil(self.band)
    }

    /// Output rows of band `index`.
    pub fn rows(&self, index: usize) -> Range<usize> {
        index * self.band..((index + 1) * self.band).min(self.window.out[0])
    }

    /// Positions of a band of `rows` rows: up to the last one somebody wants.
    pub fn positions(&self, rows: usize) -> usize {
        (rows - 1) * self.plane[1] + self.window.out[1]
    }

    /// Positions of the largest band, whole groups.
    pub fn widest(&self) -> usize {
        self.positions(self.band).next_multiple_of(self.group)
    }

    /// Columns of a row that only the halo reaches.
    pub fn halo(&self) -> usize {
        self.plane[1] - self.window.out[1]
    }

    /// Where a tap's first position lies in a channel's words.
    pub fn tap(&self, tap: [usize; 2]) -> usize {
        let at = self.window.remainders(tap);
        let plane = self.planes[..self.count].iter().position(|p| *p == at).unwrap_or(0);
        let [y, x] = [0, 1].map(|d| tap[d] * self.window.dilation[d] / self.window.stride[d]);
        (plane * self.plane[0] + y) * self.plane[1] + x
    }

    /// Every tap of every segment of so many words each, in the order of weights.
    ///
    /// # Safety
    /// The table has room for all of them.
    pub unsafe fn list_runs(&self, segments: impl Iterator<Item = usize> + Clone, mut to: *mut Run) {
        let [height, width] = self.window.kernel;
        for (ky, kx) in (0..height).flat_map(|ky| (0..width).map(move |kx| (ky, kx))) {
            let mut word = 0;
            for count in segments.clone() {
                // SAFETY: the caller's.
                unsafe { to.write(Run { offset: word * self.step + self.tap([ky, kx]), count }) }
                (word, to) = (word + count, to.wrapping_add(1));
            }
        }
    }

    /// Segments of a band: of every block one, one more for every row it begins, and its end.
    pub fn segments(&self) -> usize {
        2 * self.widest() / self.group + self.band + 1
    }

    /// Which of `count` positions of each block lie in which output row; `row` says where a row of the band goes.
    ///
    /// # Safety
    /// The table has room for [`Slab::segments`].
    pub unsafe fn list_segments(&self, count: usize, row: impl Fn(usize) -> usize, mut to: *mut Segment) {
        let (width, [_, ow]) = (self.plane[1], self.window.out);
        for block in (0..count).step_by(self.group) {
            let end = (block + self.group).min(count);
            let mut at = block;
            while at < end {
                let (y, x) = (at / width, at % width);
                let last = end.min(y * width + ow);
                if at < last {
                    let offset = row(y) as isize + x as isize - (at - block) as isize;
                    // SAFETY: the caller's: one a block and one a row, and the blocks' ends.
                    unsafe { to.write(Segment { first: at - block, end: last - block, offset }) }
                    to = to.wrapping_add(1);
                }
                at = (y + 1) * width;
            }
            // SAFETY: as above.
            unsafe { to.write(Segment::default()) }
            to = to.wrapping_add(1);
        }
    }

    /// Words of a slab of pixels of `words`; the last one's taps reach up to a plane and some groups beyond.
    pub fn words(&self, words: usize) -> usize {
        words * self.step + self.plane[1] * self.plane[0] + 2 * self.group
    }

    /// Rows and columns of a plane that lie inside the source, for outputs from row `first` on.
    fn inside(&self, first: usize, remainders: [usize; 2]) -> [Range<usize>; 2] {
        [0, 1].map(|d| {
            let (w, skipped) = (&self.window, [first, 0][d]);
            let at = |x: usize| {
                let x = (x + w.padding[d]).saturating_sub(remainders[d]).div_ceil(w.stride[d]);
                x.saturating_sub(skipped).min(self.plane[d])
            };
            at(0)..at(w.input[d])
        })
    }

    /// Where the source has the first element of a plane that lies inside it.
    fn source(&self, first: usize, remainders: [usize; 2], inside: &[Range<usize>; 2], s: &Strided) -> usize {
        let w = &self.window;
        let [y, x] =
            [0, 1].map(|d| (inside[d].start + [first, 0][d]) * w.stride[d] + remainders[d] - w.padding[d]);
        y * s.stride(2) + x * s.stride(3)
    }

    /// Copies what outputs from row `first` on read of some channels of `image` to `slab`, words of channels `step` apart
    /// and groups `group`. `shape` has the image's strides, contiguous channels or columns.
    ///
    /// # Safety
    /// The image reaches what its shape says, the slab has room.
    pub unsafe fn fill<U: Unit, E: Packed>(
        &self,
        first: usize,
        (image, shape, channels): (*const E, &Strided, Range<usize>),
        (slab, step, group): (*mut E, usize, usize),
        tables: &Tables<E>,
    ) {
        // SAFETY: the caller's.
        unsafe {
            if shape.stride(1) == 1 || shape.size(1) == 1 {
                if !tables.listed {
                    self.list_pixels(first, image, shape, tables);
                }
                let (rows, groups, k) = (tables.pixels, self.step / (2 * U::lanes()), channels.len());
                U::pack(&Pack { rows, first: channels.start, groups, k, dst: slab, step, group });
            } else {
                let image = image.wrapping_add(channels.start * shape.stride(1));
                self.copy_planes::<U, E>(first, (image, shape, channels.len()), slab, *tables.outside);
            }
        }
    }

    /// Pointers to every position's pixel, to what lies outside the image.
    unsafe fn list_pixels<E>(&self, first: usize, image: *const E, shape: &Strided, tables: &Tables<E>) {
        let ([height, width], outside) = (self.plane, tables.outside);
        let [down, next] = [0, 1].map(|d| self.window.stride[d] * shape.stride(2 + d));
        let mut to = tables.pixels;
        // SAFETY: the table has an entry for every position of a channel.
        unsafe {
            for (plane, &remainders) in self.planes[..self.count].iter().enumerate() {
                let inside = self.inside(first, remainders);
                let end = tables.pixels.wrapping_add((plane + 1) * height * width);
                if inside.iter().all(|range| !range.is_empty()) {
                    let [mut rows, mut columns] = inside.each_ref().map(|range| range.len());
                    if columns == width && down == width * next {
                        (rows, columns) = (1, rows * columns);
                    }
                    let pixel = image.wrapping_add(self.source(first, remainders, &inside, shape));
                    to = list(to, outside, inside[0].start * width + inside[1].start, |row| row);
                    for row in 0..rows {
                        let pixel = pixel.wrapping_add(row * down);
                        to = list(to, outside, if row == 0 { 0 } else { width - columns }, |row| row);
                        to = list(to, pixel, columns, |row| row.wrapping_add(next));
                    }
                }
                to = list(to, outside, end.offset_from_unsigned(to), |row| row);
            }
            list(to, outside, self.step - self.count * height * width, |row| row);
        }
    }

    /// Planes of the image to planes of the slab.
    unsafe fn copy_planes<U: Unit, E: Packed>(
        &self,
        first: usize,
        (image, shape, channels): (*const E, &Strided, usize),
        slab: *mut E,
        outside: E,
    ) {
        let ([height, width], stride) = (self.plane, self.window.stride);
        // SAFETY: the caller's; rows and columns inside the image and the plane.
        unsafe {
            U::splat(slab, channels.div_ceil(E::PER_WORD) * self.step, outside);
            for (plane, &remainders) in self.planes[..self.count].iter().enumerate() {
                let inside = self.inside(first, remainders);
                let [rows, columns] = &inside;
                if rows.is_empty() || columns.is_empty() {
                    continue;
                }
                let copy = Copy {
                    src: image.add(self.source(first, remainders, &inside, shape)),
                    dst: slab.add(E::PER_WORD * ((plane * height + rows.start) * width + columns.start)),
                    width: columns.len(),
                    step: stride[1] * shape.stride(3),
                    rows: rows.len(),
                    src_row: stride[0] * shape.stride(2),
                    dst_row: width,
                    planes: channels,
                    src_plane: shape.stride(1),
                    dst_plane: self.step,
                };
                if copy.step <= 2 { U::copy(&copy) } else { copy.on_core() }
            }
        }
    }
}
