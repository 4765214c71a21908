//! How a product is cut into tasks' tiles: position ranges times panel ranges.

use std::ops::Range;

use super::Panels;

/// Bytes of source a task's positions read: they stay in L2 while panel after panel passes.
const SOURCE_BYTES: usize = 160 << 10;
/// Fewest task tiles to aim for: a few for each of a handful of threads.
const TASKS: usize = 48;
/// Work below which a task tile is not cut further, in multiply-adds.
const LEAST_WORK: usize = 300_000;

/// A grid of task tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    positions: usize,
    panels: usize,
    /// Ranges of positions; consecutive, of nearly equal length.
    pub position_parts: usize,
    panel_parts: usize,
}

impl Split {
    /// For `positions` of `bytes` source bytes each, against `panels` of `k` rows, in register tiles of `rows`.
    /// Where rows are `copied` for each task tile, it has some panels to use them for.
    pub fn new(positions: usize, bytes: usize, panels: usize, k: usize, rows: usize, copied: bool) -> Self {
        let work = positions * panels * k * 32;
        let tasks = (work / LEAST_WORK).clamp(1, TASKS);
        let fitting = (SOURCE_BYTES / bytes.max(1)).max(4 * rows);
        let by_cache = positions.div_ceil(fitting).max(1);
        let most = if copied { panels.div_ceil(4) } else { panels };
        // Weights larger than L2 pass once per range of positions: cut columns first then.
        let panel_parts = if by_cache >= tasks { 1 } else { tasks.div_ceil(by_cache).min(most) };
        let by_tasks = tasks.div_ceil(panel_parts).min(positions.div_ceil(2 * rows));
        let position_parts = by_cache.max(by_tasks).max(1);
        Self { positions, panels, position_parts, panel_parts: panel_parts.max(1) }
    }

    /// Number of task tiles.
    pub fn tiles(&self) -> usize {
        if self.positions == 0 || self.panels == 0 { 0 } else { self.position_parts * self.panel_parts }
    }

    /// Most positions of a task tile.
    pub fn widest(&self) -> usize {
        self.positions.div_ceil(self.position_parts)
    }

    /// Task tile `index`: neighbours share positions.
    pub fn tile(&self, index: usize) -> Panels {
        let (position, panel) = (index / self.panel_parts, index % self.panel_parts);
        Panels {
            positions: part(self.positions, self.position_parts, position),
            panels: part(self.panels, self.panel_parts, panel),
        }
    }
}

/// Part `index` of `parts` nearly equal ones of `0..n`.
pub(crate) fn part(n: usize, parts: usize, index: usize) -> Range<usize> {
    n * index / parts..n * (index + 1) / parts
}
