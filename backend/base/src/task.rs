//! What a team runs: a number of tiles that write disjoint memory.

use std::ops::Range;

use crate::mem::SpanMut;

/// What computes a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// A core with its vectors.
    Core,
    /// A matrix unit, which a thread drives.
    Unit,
}

/// What may compute a phase's tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Engines {
    /// Any number of cores.
    Cores,
    /// Threads that drive a matrix unit: as many as there are units.
    Units,
    /// Either, tile by tile.
    Both(Pace),
    /// Either the first so many tiles, which take that long, cores the others and then some of these.
    First(usize, Pace),
    /// The first so many tiles units, the others cores, which compute all where no unit is free.
    Apart(usize),
}

/// How long engines take for a tile, in ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// A core.
    pub core: f64,
    /// A matrix unit.
    pub unit: f64,
}

impl Pace {
    /// Of an engine.
    pub fn of(&self, engine: Engine) -> f64 {
        match engine {
            Engine::Core => self.core,
            Engine::Unit => self.unit,
        }
    }

    /// The same with another time of an engine.
    pub fn with(self, engine: Engine, ns: f64) -> Self {
        match engine {
            Engine::Core => Self { core: ns, ..self },
            Engine::Unit => Self { unit: ns, ..self },
        }
    }
}

/// Work in tiles, in one or more phases with a barrier between them.
///
/// # Safety
/// Within a phase, `run` on disjoint ranges of tiles writes disjoint memory and reads nothing another tile of that
/// phase writes, so any split over threads and engines gives the same bits.
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
    /// What may compute a phase's tiles.
    fn engines(&self, _phase: usize) -> Engines {
        Engines::Cores
    }
    /// Is told the pace that was seen of tiles for either engine.
    fn seen(&self, _pace: Pace) {}
    /// Computes a range of tiles.
    ///
    /// # Safety
    /// Called once for every tile of a phase, after all tiles of the phase before, with the scratch asked for, which
    /// no other thread uses meanwhile, while all memory the task was bound to lives. `engine` is one of
    /// [`Task::engines`].
    unsafe fn run(&self, engine: Engine, phase: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>);
}
