//! What products ask into L2 meanwhile: their own destination and the sources of the next group, or the packed filters
//! of the next chunk.

use std::ops::Range;

use super::plan::{Plan, TAPS, TILE};
use super::transform::Filters;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;
/// Most runs of cache lines asked for during one product.
const RUNS: usize = 16;

/// An image of which tiles touch rows of four pixels.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    pub ptr: *const u8,
    /// Strides of batch, row and pixel, in bytes.
    pub strides: [usize; 3],
    /// Bytes of channels wanted, from `ptr` on.
    pub channels: usize,
    /// Rows of a tile.
    pub rows: usize,
    /// Rows of the image.
    pub height: usize,
    /// Rows and pixels from the first output of a tile back to the first pixel wanted.
    pub back: [usize; 2],
}

/// Walks over a stream's rows of four pixels, tile by tile, evenly over a number of steps.
pub(super) struct Cursor {
    stream: Stream,
    grid: [usize; 3],
    /// Batch, row and column of the current tile's first output.
    origin: [usize; 3],
    /// Row of the current tile.
    row: usize,
    /// Rows to walk in all, the steps to do it in, and what is owed of `steps` rows.
    rows: usize,
    steps: usize,
    owed: usize,
}

impl Cursor {
    /// Over part `part` of `parts` of a run of tiles, in `steps` steps.
    pub fn new(
        stream: Stream,
        plan: &Plan,
        tiles: &Range<usize>,
        [part, parts]: [usize; 2],
        steps: usize,
    ) -> Self {
        let all = tiles.len() * stream.rows;
        let (start, end) = (part * all / parts, (part + 1) * all / parts);
        let origin = plan.origin(tiles.start + start / stream.rows);
        let row = start % stream.rows;
        Self { stream, grid: plan.grid, origin, row, rows: end - start, steps, owed: 0 }
    }

    /// Lists the lines of one step, as far as there is room.
    pub fn step(&mut self, list: &mut List) {
        self.owed += self.rows;
        while self.owed >= self.steps {
            self.owed -= self.steps;
            let (s, [batch, y, x]) = (&self.stream, self.origin);
            let y = (y + self.row).saturating_sub(s.back[0]).min(s.height.saturating_sub(1));
            let x = x.saturating_sub(s.back[1]);
            let first = batch * s.strides[0] + y * s.strides[1] + x * s.strides[2];
            list.push(s.ptr.wrapping_add(first), s.channels, s.strides[2]);
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.row += 1;
        if self.row < self.stream.rows {
            return;
        }
        self.row = 0;
        let [batch, y, x] = &mut self.origin;
        *x += TILE;
        if *x >= self.grid[2] * TILE {
            (*x, *y) = (0, *y + TILE);
            if *y >= self.grid[1] * TILE {
                (*y, *batch) = (0, *batch + 1);
            }
        }
    }
}

/// Packed filters of a run of k rows, walked tap by tap, evenly over a number of steps.
#[derive(Clone, Copy)]
pub(super) struct Weights<E> {
    pub filters: Filters<E>,
    pub steps: usize,
}

impl<E> Weights<E> {
    /// Lists the lines of step `step`, as far as there is room.
    pub fn step(&self, step: usize, list: &mut List) {
        let Filters { src, tap, word, words, .. } = self.filters;
        let all = TAPS * words;
        let (mut at, end) = (step * all / self.steps, (step + 1) * all / self.steps);
        while at < end {
            let count = (end - at).min(words - at % words);
            let first = src.wrapping_add(at / words * tap + at % words * word);
            list.push_run(first.cast(), count * word * size_of::<E>());
            at += count;
        }
    }
}

/// Neighbouring cache lines.
#[derive(Clone, Copy)]
pub(super) struct Lines {
    pub first: *const u8,
    pub count: usize,
}

/// A short list of lines.
pub(super) struct List {
    runs: [Lines; RUNS],
    len: usize,
}

/// What the products of a chunk ask for.
pub(super) enum Ahead<'a, E> {
    Images(&'a mut [Cursor]),
    Filters(Option<Weights<E>>),
}

impl<E> Ahead<'_, E> {
    /// Lists the lines of step `step`; steps come in order.
    pub fn step(&mut self, step: usize, list: &mut List) {
        match self {
            Self::Images(cursors) => cursors.iter_mut().for_each(|cursor| cursor.step(list)),
            Self::Filters(weights) => weights.iter().for_each(|weights| weights.step(step, list)),
        }
    }
}

impl List {
    pub fn new() -> Self {
        Self { runs: [Lines { first: std::ptr::null(), count: 0 }; RUNS], len: 0 }
    }
    pub fn clear(&mut self) {
        self.len = 0;
    }
    pub fn as_slice(&self) -> &[Lines] {
        &self.runs[..self.len]
    }
    /// The lines of four pixels, `channels` bytes of each.
    #[inline]
    fn push(&mut self, first: *const u8, channels: usize, pixel: usize) {
        if pixel == channels {
            return self.push_run(first, TILE * channels);
        }
        for x in 0..TILE {
            self.push_run(first.wrapping_add(x * pixel), channels);
        }
    }
    #[inline]
    fn push_run(&mut self, first: *const u8, bytes: usize) {
        if let Some(run) = self.runs.get_mut(self.len) {
            *run = Lines { first, count: bytes.div_ceil(LINE) };
            self.len += 1;
        }
    }
}
