//! Products on cores with panels of narrow types: rows are packed once, then tiles of them meet panel after panel.
//!
//! Panels are words of four bytes, whatever they hold. An [`Engine`] says how many rows its tiles have, how their bytes
//! lie, and computes the sums of a tile; a family brings what fills rows and what becomes of sums.

mod conv;
mod halves;
mod lanes;
mod matrix;
mod weights;

use std::ops::Range;

use tandem_base::SpanMut;

use crate::kernel::{Rates, Workspace};
use crate::panels;
pub(crate) use conv::{Taps, spread};
pub(crate) use halves::Fmla;
pub(crate) use lanes::{Sdot, Smull};
pub(crate) use matrix::{Bfmmla, Matrix, Smmla};
pub(crate) use weights::Panel;

/// Bytes of rows that stay in L2 while a panel passes.
const CHUNK_BYTES: usize = 256 << 10;
/// Most rows that share what preparing a panel takes: whole tiles of any engine.
const CHUNK_ROWS: usize = 192;
/// Most rows of a tile.
pub(crate) const MAX_ROWS: usize = 12;
/// Bytes a row is a multiple of.
pub(crate) const STEP: usize = 16;

/// Rows, packed as `[bytes/GROUP][rows][GROUP]`, and a panel.
pub(crate) struct Tile {
    pub rows: usize,
    lhs: *const i8,
    /// As [`Product::k`].
    k: usize,
    pub panel: Panel,
}

/// Scales of a panel where k has groups.
pub(crate) struct Scales {
    /// Of the first k and column.
    pub at: *const f32,
    /// From the scales of one group to the next.
    pub step: usize,
    /// k of a group, a multiple of 32.
    pub size: usize,
}

/// The instructions that multiply.
pub(crate) trait Engine {
    /// Most rows of a tile, at most [`MAX_ROWS`].
    const ROWS: usize;
    /// Bytes of a row that lie together, 8 or 16.
    const GROUP: usize;
    /// Whether an odd last row wants another beside it, and panels are prepared for it.
    const PAIRS: bool = false;
    /// Bytes a row takes for each of rhs.
    const WIDER: usize = 1;
    /// Bytes of k for a multiply-add of f32, where cores start as many of either instruction: assumed, not measured.
    const RATE: f64;

    /// The panel as tiles read it, made in `room` where that is not how it lies. `rows` will read it.
    ///
    /// # Safety
    /// The panel has all words of `k`; `room` holds [`panels::PANEL`] columns of k rounded up to [`STEP`].
    unsafe fn prepare(panel: Panel, _k: usize, _rows: usize, _room: *mut i8) -> Panel {
        panel
    }

    /// Writes the sums over all k, of i32 or f32, rows of the panel's width.
    ///
    /// # Safety
    /// The CPU has the instructions; the tile's rows are packed, its panel prepared; `to` has room.
    unsafe fn sums(tile: &Tile, to: *mut f32);
}

/// An engine of i8 whose sums can be scaled every few k.
pub(crate) trait Groups: Engine {
    /// Adds to rows of the panel's width the sum of every group times its scale, in order.
    ///
    /// # Safety
    /// As [`Engine::sums`], with all scales.
    unsafe fn totals(tile: &Tile, scales: &Scales, to: *mut f32);
}

/// An engine of 16-bit floats.
pub(crate) trait Halves: Engine {
    /// Packs a row of `k` values, zeros behind, to groups of four that begin `step` bytes apart.
    ///
    /// # Safety
    /// The row can be read, its groups be written.
    unsafe fn fill(from: *const u16, k: usize, to: *mut i8, step: usize);
}

/// Rows times panels.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    /// Rows of lhs.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Bytes of rhs that a column has, i4 counted as i8.
    pub k: usize,
    /// Whether panels are i4.
    pub nibbles: bool,
}

impl Product {
    /// Rows with the one that makes an even number.
    pub fn rows<E: Engine>(&self) -> usize {
        if E::PAIRS { self.m.next_multiple_of(2) } else { self.m }
    }

    /// Bytes of a packed row.
    fn step<E: Engine>(&self) -> usize {
        (E::WIDER * self.k).next_multiple_of(STEP)
    }

    /// Rows of a chunk, whole tiles: as even as tiles allow.
    fn chunk<E: Engine>(&self) -> usize {
        let most = CHUNK_BYTES / self.step::<E>().max(1) / E::ROWS * E::ROWS;
        let most = most.clamp(E::ROWS, CHUNK_ROWS);
        let even = self.m.div_ceil(self.m.div_ceil(most).max(1));
        even.next_multiple_of(E::ROWS).max(E::ROWS)
    }

    /// Bytes of a panel's columns.
    fn column(&self) -> usize {
        if self.nibbles { 4 * self.k.div_ceil(8) } else { self.k.next_multiple_of(4) }
    }

    /// Tiles of packing, then of the product.
    pub fn tiles<E: Engine>(&self, phase: usize) -> usize {
        let chunks = self.m.div_ceil(self.chunk::<E>());
        if phase == 0 { self.rows::<E>() } else { chunks * panels::count(self.n) }
    }

    /// Bytes of packed rows.
    pub fn bytes<E: Engine>(&self) -> usize {
        self.rows::<E>() * self.step::<E>()
    }

    /// Packed rows and `more` bytes for each; a panel.
    pub fn workspace<E: Engine>(&self, more: usize) -> Workspace {
        let per_worker = panels::PANEL * self.k.next_multiple_of(STEP);
        Workspace { shared: self.bytes::<E>() + more * self.rows::<E>(), per_worker }
    }

    /// Time of packing, then of products or of weights out of memory.
    pub fn ns<E: Engine>(&self, rates: &Rates) -> f64 {
        let (rows, columns) = (self.rows::<E>(), panels::padded(self.n));
        let product = 2.0 * (rows * columns) as f64 * self.k as f64 / (E::RATE * rates.fma_gflops);
        let weights = rates.stream_ns((self.column() * columns) as f64);
        let chunks = self.m.div_ceil(self.chunk::<E>());
        let prepared = if E::PAIRS { chunks * columns * self.k / 4 } else { 0 };
        product.max(weights) + (rows * self.k + prepared) as f64 / rates.vector_gelems
    }

    /// Tiles of a phase. `fill` packs a row of its number to groups of bytes that begin so far apart; `store` gets the
    /// tile whose first row and column have these numbers.
    ///
    /// # Safety
    /// `rhs` is the panels, `shared` and `scratch` have the workspace's sizes; packing is through before products begin.
    pub unsafe fn run<E: Engine>(
        &self,
        phase: usize,
        tiles: Range<usize>,
        rhs: *const u8,
        [shared, scratch]: [SpanMut<'_, u8>; 2],
        mut fill: impl FnMut(usize, *mut i8, usize),
        mut store: impl FnMut(&Tile, usize, usize),
    ) {
        let (rows, step) = (self.rows::<E>(), self.step::<E>());
        let bytes = shared.ptr().cast::<i8>();
        for index in tiles {
            if phase == 0 {
                let first = index / E::ROWS * E::ROWS;
                let to = bytes.wrapping_add(first * step + (index - first) * E::GROUP);
                fill(index.min(self.m - 1), to, (rows - first).min(E::ROWS) * E::GROUP);
                continue;
            }
            let (chunk, panel) = (index / panels::count(self.n), index % panels::count(self.n));
            let chunk = chunk * self.chunk::<E>()..((chunk + 1) * self.chunk::<E>()).min(self.m);
            let (column, width) = (panel * panels::PANEL, panels::width(self.n, panel));
            let at = rhs.wrapping_add(self.column() * column);
            let panel = Panel { at, width, nibbles: self.nibbles };
            // SAFETY: the caller's.
            let panel = unsafe { E::prepare(panel, self.k, chunk.len(), scratch.ptr().cast()) };
            for row in chunk.clone().step_by(E::ROWS) {
                let rows = (chunk.end - row).min(E::ROWS);
                let lhs = bytes.wrapping_add(row * step);
                store(&Tile { rows, lhs, k: self.k, panel }, row, column);
            }
        }
    }
}
