//! What it costs a crew to begin: measured, for device profiles.

use std::hint::spin_loop;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Crew, Scratch, Team};
use crate::mem::SpanMut;
use crate::task::{Engine, Task};

/// How long the caller waits for the other thread before it does both tiles.
const PATIENCE: Duration = Duration::from_millis(50);
/// Long enough for a worker to park.
const PAUSE: Duration = Duration::from_millis(2);

/// Two tiles, the caller's of which ends when the other has begun elsewhere.
struct Meeting {
    caller: thread::ThreadId,
    met: AtomicBool,
}

// SAFETY: tiles write one atomic.
unsafe impl Task for Meeting {
    fn tiles(&self, _phase: usize) -> usize {
        2
    }
    unsafe fn run(&self, _: Engine, _: usize, _: Range<usize>, _: SpanMut<'_, u8>) {
        if thread::current().id() != self.caller {
            self.met.store(true, Ordering::Release);
            return;
        }
        let start = Instant::now();
        while !self.met.load(Ordering::Acquire) && start.elapsed() < PATIENCE {
            spin_loop();
        }
    }
}

/// Time until another thread has begun with a tile; none where no thread came.
fn meet(crew: &mut Crew<'_>) -> Option<Duration> {
    let task = Meeting { caller: thread::current().id(), met: AtomicBool::new(false) };
    let start = Instant::now();
    crew.run(&task, &mut Scratch::default());
    Some(start.elapsed()).filter(|_| task.met.into_inner())
}

/// Times in ns from a task's start until a worker that polls has begun with a tile, one a round; empty on one core.
pub fn hand_offs(rounds: usize) -> Vec<f64> {
    let mut crew = Team::global().enter(2);
    (0..rounds).filter_map(|_| meet(&mut crew)).map(|time| time.as_nanos() as f64).collect()
}

/// The same of workers that are parked: with a new crew each time.
pub fn wakes(rounds: usize) -> Vec<f64> {
    let wake = |_| {
        thread::sleep(PAUSE);
        let start = Instant::now();
        let mut crew = Team::global().enter(2);
        meet(&mut crew).map(|_| start.elapsed().as_nanos() as f64)
    };
    (0..rounds).filter_map(wake).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_come() {
        if thread::available_parallelism().is_ok_and(|n| n.get() > 1) && !cfg!(miri) {
            assert!(hand_offs(20).iter().chain(&wakes(5)).all(|&ns| ns > 0.0));
        }
    }
}
