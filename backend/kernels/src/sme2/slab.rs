//! Planar slabs with a halo: `[channel][plane][row][column]` of a band of output rows.
//!
//! With stride s there is a plane for each remainder of input coordinates by s that a tap uses, so that neighbouring
//! positions are neighbours in memory for every tap, and a tap is an offset. Positions run on across rows; the columns
//! that only the halo reaches make outputs that nobody wants.

use std::ops::Range;

use tandem_base::Strided;

use super::drive::list;
use super::{Copy, Pack, Unit};

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
    /// Elements from one channel to the next.
    pub step: usize,
}

/// A worker's memory to make slabs with.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    /// [`Slab::step`] pointers.
    pub pixels: *mut *const f32,
    /// Zeros for as many channels as an image has.
    pub zeros: *const f32,
}

impl Slab {
    /// For images of `channels` channels in all.
    pub fn new(window: Window, channels: usize, group: usize) -> Self {
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
        let row_bytes = 4 * channels.max(1) * count * width;
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

    /// Where a tap's first position lies in a channel.
    pub fn tap(&self, tap: [usize; 2]) -> usize {
        let at = self.window.remainders(tap);
        let plane = self.planes[..self.count].iter().position(|p| *p == at).unwrap_or(0);
        let [y, x] = [0, 1].map(|d| tap[d] * self.window.dilation[d] / self.window.stride[d]);
        (plane * self.plane[0] + y) * self.plane[1] + x
    }

    /// Elements of a slab of `channels`; the last channel's taps reach up to a plane and some groups beyond.
    pub fn elements(&self, channels: usize) -> usize {
        channels * self.step + self.plane[1] * self.plane[0] + 2 * self.group
    }

    /// Row of the source at a plane's row, if there is one.
    fn row(&self, first: usize, remainder: usize, y: usize) -> Option<usize> {
        let y = ((first + y) * self.window.stride[0] + remainder).checked_sub(self.window.padding[0])?;
        (y < self.window.input[0]).then_some(y)
    }

    /// Columns of a plane that lie inside the source.
    fn columns(&self, remainder: usize) -> Range<usize> {
        let (w, width) = (&self.window, self.plane[1]);
        let end = (w.input[1] + w.padding[1]).saturating_sub(remainder).div_ceil(w.stride[1]).min(width);
        w.padding[1].saturating_sub(remainder).div_ceil(w.stride[1]).min(end)..end
    }

    /// Column of the source at a plane's column inside it.
    fn column(&self, remainder: usize, x: usize) -> usize {
        x * self.window.stride[1] + remainder - self.window.padding[1]
    }

    /// Copies what outputs from row `first` on read of `channels` channels at `image` to `slab`, channels `step` apart
    /// and groups `group`. `shape` has the image's strides, contiguous channels or columns.
    ///
    /// # Safety
    /// The image reaches what its shape says, the slab has room.
    pub unsafe fn fill<U: Unit>(
        &self,
        first: usize,
        (image, shape, channels): (*const f32, &Strided, usize),
        (slab, step, group): (*mut f32, usize, usize),
        tables: &Tables,
    ) {
        // SAFETY: the caller's.
        unsafe {
            if shape.stride(1) == 1 || channels == 1 {
                self.list_pixels(first, image, shape, tables);
                let groups = self.step / (2 * U::lanes());
                U::pack(&Pack { rows: tables.pixels, groups, k: channels, dst: slab, step, group });
            } else {
                self.copy_planes::<U>(first, image, shape, channels, slab);
            }
        }
    }

    /// Pointers to every position's pixel, to zeros outside the image.
    unsafe fn list_pixels(&self, first: usize, image: *const f32, shape: &Strided, tables: &Tables) {
        let ([height, width], zeros, next) =
            (self.plane, tables.zeros, shape.stride(3) * self.window.stride[1]);
        let mut to = tables.pixels;
        // SAFETY: the table has an entry for every position of a channel.
        unsafe {
            for &[py, px] in &self.planes[..self.count] {
                let inside = self.columns(px);
                for y in 0..height {
                    let Some(y) = self.row(first, py, y).filter(|_| !inside.is_empty()) else {
                        to = list(to, zeros, width, |row| row);
                        continue;
                    };
                    let x = self.column(px, inside.start);
                    let pixel = image.wrapping_add(y * shape.stride(2) + x * shape.stride(3));
                    to = list(to, zeros, inside.start, |row| row);
                    to = list(to, pixel, inside.len(), |pixel| pixel.wrapping_add(next));
                    to = list(to, zeros, width - inside.end, |row| row);
                }
            }
            list(to, zeros, self.step - self.count * height * width, |row| row);
        }
    }

    /// Planes of the image to planes of the slab.
    unsafe fn copy_planes<U: Unit>(
        &self,
        first: usize,
        image: *const f32,
        shape: &Strided,
        channels: usize,
        slab: *mut f32,
    ) {
        let ([height, width], stride) = (self.plane, self.window.stride);
        // SAFETY: the caller's; rows and columns inside the image and the plane.
        unsafe {
            U::clear(slab, channels * self.step);
            for (i, &[py, px]) in self.planes[..self.count].iter().enumerate() {
                let inside = self.columns(px);
                let mut rows = (0..height).filter_map(|y| Some((y, self.row(first, py, y)?)));
                let (Some((top, y)), false) = (rows.next(), inside.is_empty()) else { continue };
                let x = self.column(px, inside.start);
                let copy = Copy {
                    src: image.add(y * shape.stride(2) + x * shape.stride(3)),
                    dst: slab.add((i * height + top) * width + inside.start),
                    width: inside.len(),
                    rows: 1 + rows.count(),
                    src_row: stride[0] * shape.stride(2),
                    dst_row: width,
                    planes: channels,
                    src_plane: shape.stride(1),
                    dst_plane: self.step,
                };
                match stride[1] * shape.stride(3) {
                    1 => U::copy(&copy),
                    step => copy.every(step),
                }
            }
        }
    }
}
