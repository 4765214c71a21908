//! Convolutions as products: sources become pixels of words with their padding around them, and rows are taps of those.

use std::ops::Range;

use tandem_base::{Span, SpanMut, Strided};

use super::{Engine, Product, STEP, Tile};
use crate::conv::{MAX_SEGMENTS, Problem};
use crate::element::Packed;
use crate::kernel::{Rates, Refusal, Workspace};

/// Tiles that few positions are cut into.
const SHARES: usize = 4;

/// A convolution's image, `[groups][batch][height][width][pixel]`, and its positions times one part of columns.
///
/// The first phase makes the image. A tile of the second packs a chunk of positions and takes it through all panels.
pub(crate) struct Taps<'a> {
    p: &'a Problem,
    /// Height and width that outputs reach.
    reach: [usize; 2],
    /// Bytes of a group's channels, every segment in whole words.
    pixel: usize,
    product: Product,
}

/// Where a tile of sums belongs.
pub(crate) struct Place {
    /// Of [`Problem::column_groups`].
    pub part: usize,
    /// First position.
    pub position: usize,
    /// First column of the part, and the one behind the last.
    pub columns: Range<usize>,
}

impl<'a> Taps<'a> {
    /// Of elements `T`.
    pub fn new<T: Packed>(p: &'a Problem) -> Self {
        let out = p.out_size();
        let reach = [0, 1].map(|axis| {
            let last = out[axis].saturating_sub(1) * p.stride[axis];
            last + (p.kernel[axis] - 1) * p.dilation[axis] + 1
        });
        let k = size_of::<u32>() * p.words(T::PER_WORD);
        let (m, n) = (p.batch() * out[0] * out[1], p.column_groups().1);
        let product = Product { m, n, k, nibbles: false };
        Self { p, reach, pixel: k / (p.kernel[0] * p.kernel[1]).max(1), product }
    }

    /// What no engine takes.
    pub fn supports(p: &Problem) -> Result<(), Refusal> {
        if p.k() == 0 { Err("nothing to sum") } else { Ok(()) }
    }

    /// Bytes of a row.
    pub fn k(&self) -> usize {
        self.product.k
    }

    /// Positions of a tile.
    fn chunk<E: Engine>(&self) -> usize {
        Product { m: self.product.m.div_ceil(SHARES), ..self.product }.chunk::<E>()
    }

    /// Rows of the image, then chunks of positions of every part.
    pub fn tiles<E: Engine>(&self, phase: usize) -> usize {
        match (self.product.m, phase) {
            (0, _) => 0,
            (_, 0) => self.p.groups * self.p.batch() * self.reach[0],
            (m, _) => self.p.column_groups().0 * m.div_ceil(self.chunk::<E>()),
        }
    }

    fn image(&self) -> usize {
        self.p.groups * self.p.batch() * self.reach[0] * self.reach[1] * self.pixel
    }

    /// The image; a chunk's rows, a panel and one row. What is copied by [`STEP`] may be read behind its end.
    pub fn workspace<E: Engine>(&self) -> Workspace {
        let chunk = Product { m: self.chunk::<E>(), ..self.product }.workspace::<E>(0);
        let per_worker = chunk.shared + chunk.per_worker + self.k() + STEP;
        Workspace { shared: self.image() + STEP, per_worker }
    }

    /// Time of the image and of the products.
    pub fn ns<E: Engine>(&self, rates: &Rates) -> f64 {
        let parts = self.p.column_groups().0 as f64;
        self.image() as f64 / rates.vector_gelems + parts * self.product.ns::<E>(rates)
    }

    /// Makes rows of the image, `outside` where no source is.
    ///
    /// # Safety
    /// The family's check passed; `image` is the shared block.
    pub unsafe fn fill<T: Packed>(
        &self,
        rows: Range<usize>,
        src: &[Span<'_, T>; MAX_SEGMENTS],
        outside: T,
        image: *mut u8,
    ) {
        let (p, [height, width]) = (self.p, self.reach);
        let pixel = self.pixel / size_of::<T>();
        let count = width.saturating_sub(p.padding[1]).min(p.in_size()[1]);
        for row in rows {
            let (group, n) = (row / height / p.batch(), row / height % p.batch());
            let y = (row % height).wrapping_sub(p.padding[0]);
            let to = image.wrapping_add(row * width * self.pixel).cast::<T>();
            // SAFETY: the caller's.
            unsafe {
                std::slice::from_raw_parts_mut(to, width * pixel).fill(outside);
                if y >= p.in_size()[0] {
                    continue;
                }
                let mut to = to.wrapping_add(p.padding[1] * pixel);
                for (s, span) in p.src.iter().zip(src) {
                    let channels = s.size(1) / p.groups;
                    let from = n * s.stride(0) + group * channels * s.stride(1) + y * s.stride(2);
                    let steps = [s.stride(1), s.stride(3)];
                    pixels(span.ptr().wrapping_add(from), steps, [channels, count], to, pixel);
                    to = to.wrapping_add(channels.next_multiple_of(T::PER_WORD));
                }
            }
        }
    }

    /// Multiplies tiles of the second phase. `pack` packs [`Self::k`] bytes to groups that begin so far apart.
    ///
    /// # Safety
    /// The family's check passed, `weight` is the panels, the blocks have the workspace's sizes and the image is made.
    pub unsafe fn multiply<E: Engine>(
        &self,
        tiles: Range<usize>,
        weight: *const u8,
        [shared, scratch]: [SpanMut<'_, u8>; 2],
        pack: impl Fn(*const u8, *mut i8, usize),
        mut store: impl FnMut(&Tile, Place),
    ) {
        let (p, product, chunk) = (self.p, self.product, self.chunk::<E>());
        let chunks = product.m.div_ceil(chunk);
        for tile in tiles {
            let (part, first) = (tile / chunks, tile % chunks * chunk);
            let here = Product { m: chunk.min(product.m - first), ..product };
            let rest = here.workspace::<E>(0);
            let room = scratch.skip(rest.shared).expect("the workspace's size");
            let line = room.ptr().wrapping_add(rest.per_worker);
            let panels = weight.wrapping_add(part * product.k * crate::panels::padded(product.n));
            let group = if p.groups > 1 { part } else { 0 };
            // SAFETY: the caller's.
            unsafe {
                for phase in 0..2 {
                    here.run::<E>(
                        phase,
                        0..here.tiles::<E>(phase),
                        panels,
                        [scratch, room],
                        |row, to, step| pack(self.row(shared.ptr(), group, first + row, line), to, step),
                        |tile, row, column| {
                            let columns = column..(column + tile.panel.width).min(product.n);
                            store(tile, Place { part, position: first + row, columns });
                        },
                    );
                }
            }
        }
    }

    /// The taps of a position: where they lie if that is one run, else copied to `line`.
    unsafe fn row(&self, image: *const u8, group: usize, position: usize, line: *mut u8) -> *const u8 {
        let (p, [height, width]) = (self.p, self.reach);
        let [n, y, x] = self.position(position);
        let at = |y, x| image.wrapping_add((((group * p.batch() + n) * height + y) * width + x) * self.pixel);
        let [ky, kx] = p.kernel;
        let (runs, bytes) = if p.dilation[1] == 1 { (1, kx * self.pixel) } else { (kx, self.pixel) };
        if ky * runs == 1 {
            return at(y * p.stride[0], x * p.stride[1]);
        }
        for run in 0..ky * runs {
            let from = at(
                y * p.stride[0] + run / runs * p.dilation[0],
                x * p.stride[1] + run % runs * p.dilation[1],
            );
            // SAFETY: the caller's: taps lie within the reach, and all of them have room.
            unsafe { line.add(run * bytes).copy_from_nonoverlapping(from, bytes) }
        }
        line
    }

    /// Batch, row and column of a position.
    fn position(&self, index: usize) -> [usize; 3] {
        let [oh, ow] = self.p.out_size();
        [index / ow / oh, index / ow % oh, index % ow]
    }

    /// Where a part's first column of a position lies in an image of the destination's sizes.
    pub fn at(&self, s: &Strided, part: usize, position: usize) -> usize {
        let ([n, y, x], r) = (self.position(position), self.p.shuffle);
        let first = if self.p.groups > 1 { part * self.product.n * s.stride(1) } else { 0 };
        let (dy, dx) = if r > 1 { (part / r, part % r) } else { (0, 0) };
        n * s.stride(0) + first + (y * r + dy) * s.stride(2) + (x * r + dx) * s.stride(3)
    }
}

/// Copies `[channels, count]` elements that lie `steps` apart to pixels `pixel` apart.
///
/// # Safety
/// They can be read and written.
unsafe fn pixels<T: Packed>(
    from: *const T,
    [channel, next]: [usize; 2],
    [channels, count]: [usize; 2],
    to: *mut T,
    pixel: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if channel == 1 {
            for x in 0..count {
                to.add(x * pixel).copy_from_nonoverlapping(from.add(x * next), channels);
            }
            return;
        }
        for c in 0..channels {
            for x in 0..count {
                *to.add(x * pixel + c) = *from.add(c * channel + x * next);
            }
        }
    }
}

/// Copies elements to places `step` apart.
///
/// # Safety
/// They can be written.
pub(crate) unsafe fn spread<T: Copy>(from: &[T], to: *mut T, step: usize) {
    // SAFETY: the caller's.
    unsafe {
        if step == 1 {
            return to.copy_from_nonoverlapping(from.as_ptr(), from.len());
        }
        for (i, x) in from.iter().enumerate() {
            *to.add(i * step) = *x;
        }
    }
}
