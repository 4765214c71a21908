//! What a team runs: a number of tiles that write disjoint memory.

use std::ops::Range;

use crate::mem::SpanMut;

/// Work in tiles, in one or more phases with a barrier between them.
///
/// # Safety
/// Within a phase, `run` on disjoint ranges of tiles writes disjoint memory and reads nothing another tile of that
/// phase writes, so any split over threads gives the same bits.
pub unsafe trait Task: Sync {
    /// Number of phases; a barrier separates them.
    fn phases(&self) -> usize {
        1
    }
    /// Number of tiles of a phase.
    fn tiles(&self, phase: usize) -> usize;
    /// Bytes of scratch each worker needs, 64-byte aligned, contents undefined.
    fn scratch(&self) -> usize {
        0
    }
    /// Threads that may run its tiles at a time, at least 1: as many as there are of what a tile needs beside a core.
    fn workers(&self) -> usize {
        usize::MAX
    }
    /// Computes a range of tiles.
    ///
    /// # Safety
    /// Called once for every tile of a phase, after all tiles of the phase before, with the scratch asked for, which
    /// no other thread uses meanwhile, while all memory the task was bound to lives.
    unsafe fn run(&self, phase: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>);
}
