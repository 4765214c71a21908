//! What the pipelines' tests share: tasks in any order and on any engine.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;
use std::thread::ThreadId;

use tandem_base::{AlignedBuf, Engine, Engines, Pace, SpanMut, Task};

use crate::paced::Paced;
use crate::testing::Random;

/// Memory of NaNs.
pub fn poisoned(bytes: usize) -> AlignedBuf {
    let mut block = AlignedBuf::zeroed(bytes);
    block.bytes_mut().fill(0xFF);
    block
}

/// A pace by which cores leave units' tiles alone, help with them, or compute them all.
pub fn any_pace(random: &mut Random) -> Paced {
    Paced::new(Pace { core: 1000.0, unit: random.pick(&[1e-3, 100.0, 1e9]) })
}

/// Runs all phases, tiles in runs of a random length and order, those of units on a random engine.
pub fn in_any_order(task: &dyn Task, random: &mut Random) {
    for phase in 0..task.phases() {
        let of_units = match task.engines(phase) {
            Engines::Cores => 0,
            Engines::Apart(first) | Engines::First(first, _) => first,
            Engines::Units | Engines::Both(_) => panic!("units wait for nobody"),
        };
        let (tiles, mut runs, mut start) = (task.tiles(phase), vec![], 0);
        while start < tiles {
            let end = (start + 1 + random.below(5)).min(if start < of_units { of_units } else { tiles });
            runs.push(start..end);
            start = end;
        }
        (1..runs.len()).rev().for_each(|i| runs.swap(i, random.below(i + 1)));
        for run in runs {
            let unit = run.end <= of_units && random.below(3) > 0;
            let mut scratch = poisoned(task.scratch());
            // SAFETY: every tile once, phases in order, with the scratch asked for.
            unsafe {
                let engine = if unit { Engine::Unit } else { Engine::Core };
                task.run(engine, phase, run, SpanMut::from(scratch.bytes_mut()));
            }
        }
    }
}

/// A task that keeps the threads which drove units, and tells everything else on.
pub struct Watched<'t> {
    task: &'t dyn Task,
    drivers: Mutex<HashSet<ThreadId>>,
}

impl<'t> Watched<'t> {
    pub fn of(task: &'t dyn Task) -> Self {
        Self { task, drivers: Mutex::default() }
    }

    /// Threads that drove units.
    pub fn drivers(self) -> usize {
        self.drivers.into_inner().unwrap().len()
    }
}

// SAFETY: the inner task's tiles.
unsafe impl Task for Watched<'_> {
    fn phases(&self) -> usize {
        self.task.phases()
    }
    fn tiles(&self, phase: usize) -> usize {
        self.task.tiles(phase)
    }
    fn scratch(&self) -> usize {
        self.task.scratch()
    }
    fn engines(&self, phase: usize) -> Engines {
        self.task.engines(phase)
    }
    fn seen(&self, pace: Pace) {
        self.task.seen(pace);
    }
    unsafe fn run(&self, engine: Engine, phase: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>) {
        if engine == Engine::Unit {
            self.drivers.lock().unwrap().insert(std::thread::current().id());
        }
        // SAFETY: the caller's.
        unsafe { self.task.run(engine, phase, tiles, scratch) }
    }
}
