//! Where a crew's threads find tiles: one phase of one task at a time.
//!
//! # Protocol
//! `unclaimed` is the range of the current phase's tiles that nobody has claimed, `finished` counts those that are
//! computed. The caller writes `job` while nothing is unclaimed and nothing is unfinished, then stores `unclaimed`. A
//! thread claims tiles by taking them off one end of `unclaimed`, and only then reads `job`; after computing them it adds
//! them to `finished`. The caller goes on when all are finished. Threads with even numbers claim at the front, the others
//! at the back: most tiles of a step then lie next to the same thread's tiles of the step before, in its caches. Where the
//! first tiles are for units, their drivers claim these at the front and all others at the back. Who may
//! claim is part of the word: a thread that looked before the phase began finds it changed. So
//!
//! - a claim is always one of the current phase, however long ago the thread looked: there is no stale pointer to act
//!   upon, and a thread that was preempted holds up nobody but for the tiles it has claimed;
//! - `job` is read between a claim and its tiles' finish only, and written outside of that;
//! - `unclaimed.store(Release)` → claim (`Acquire`; claims between are read-modify-writes and continue the release
//!   sequence): the job and everything written in earlier phases is visible to whoever claims;
//! - who drives a unit, which tiles are for units and at what pace engines work is stored before `unclaimed` and read behind
//!   it: a thread that saw a later phase's fails to claim. One that saw an earlier phase's may succeed where both phases have
//!   as many tiles left: what it claims as is decided behind the claim, and before only how much;
//! - `finished.fetch_add(Release)` → `load(Acquire)` of the total: everything the tiles wrote is visible to the caller,
//!   and every read of `job` comes before its next write.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use super::claim::Share;
use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, Shared, Wait};
use crate::mem::SpanMut;
use crate::task::{Engine, Engines, Pace, Task};

/// A counter on a cache line of its own (two, as lines are fetched in pairs).
#[repr(align(128))]
struct Line<T>(T);

/// The tiles that are left and who may claim them, as one word: the first tile, the end, the number of workers.
#[derive(Clone, Copy, PartialEq)]
struct Left(u64);

/// Bits of a tile's number, and of a worker's.
const TILE: u32 = 28;
const WORKERS: u32 = 8;

impl Left {
    fn new(tiles: usize, workers: usize) -> Self {
        assert!(tiles < 1 << TILE, "fewer than 2^{TILE} tiles");
        let last = workers.clamp(1, 1 << WORKERS) - 1;
        Self((last as u64) << (2 * TILE) | (tiles as u64) << TILE)
    }

    fn range(self) -> Range<usize> {
        let tile = |word: u64| word as usize & ((1 << TILE) - 1);
        tile(self.0)..tile(self.0 >> TILE)
    }

    /// Workers that may claim: those with lower numbers.
    fn workers(self) -> usize {
        (self.0 >> (2 * TILE)) as usize + 1
    }

    /// Without `take` tiles at the front or the back, and those tiles.
    fn without(self, take: usize, front: bool) -> (Self, Range<usize>) {
        let Range { start, end } = self.range();
        if front {
            (Self(self.0 + take as u64), start..start + take)
        } else {
            (Self(self.0 - ((take as u64) << TILE)), end - take..end)
        }
    }
}

/// One phase of a task.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    /// The task; alive until the phase is finished.
    pub task: *const dyn Task,
    /// Its phase.
    pub phase: usize,
    /// Tiles of the phase.
    pub tiles: usize,
    /// Scratch of worker 0.
    pub scratch: *mut u8,
    /// Bytes from one worker's scratch to the next.
    pub stride: usize,
    /// Bytes of scratch of a worker.
    pub bytes: usize,
}

impl Job {
    /// # Safety
    /// The caller has claimed `tiles`, is the only thread called `worker`, and task and scratch live.
    unsafe fn run(&self, worker: usize, engine: Engine, tiles: Range<usize>) {
        // SAFETY: every worker's scratch lies within the block the job was made with.
        let scratch = unsafe { SpanMut::from_raw(self.scratch.add(worker * self.stride), self.bytes) };
        // SAFETY: the task lives; claims are disjoint, phases are separated, the scratch is this worker's.
        unsafe { (*self.task).run(engine, self.phase, tiles, scratch) }
    }
}

/// A crew's board.
pub(crate) struct Board {
    unclaimed: Line<AtomicU64>,
    finished: Line<AtomicUsize>,
    /// Threads that share the work, the caller included: sets the size of claims.
    threads: AtomicUsize,
    /// Those of them that drive units in this phase, the ones of the lowest numbers.
    units: AtomicUsize,
    /// Whether tiles are for either engine.
    both: AtomicBool,
    /// If not, the tiles before this one are for units, the others for cores.
    split: AtomicUsize,
    /// Bits of the ns a core and a unit take for a tile: planned at first, then seen.
    pace: [AtomicU64; 2],
    /// Workers that have come.
    joined: AtomicUsize,
    /// No more work: workers leave.
    closed: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<Box<dyn Any + Send>>>,
    job: Shared<Job>,
}

// SAFETY: the pointers of `job` are used under the protocol above only, and what they point to is shared by `Task: Sync`
// and one scratch a worker.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

struct Nothing;
// SAFETY: it has no tiles.
unsafe impl Task for Nothing {
    fn tiles(&self, _: usize) -> usize {
        0
    }
    unsafe fn run(&self, _: Engine, _: usize, _: std::ops::Range<usize>, _: SpanMut<'_, u8>) {}
}

impl Board {
    pub fn new() -> Self {
        let task: *const dyn Task = &Nothing;
        let job = Job { task, phase: 0, tiles: 0, scratch: std::ptr::null_mut(), stride: 0, bytes: 0 };
        Self {
            unclaimed: Line(AtomicU64::new(0)),
            finished: Line(AtomicUsize::new(0)),
            threads: AtomicUsize::new(1),
            units: AtomicUsize::new(0),
            both: AtomicBool::new(false),
            split: AtomicUsize::new(0),
            pace: [const { AtomicU64::new(0) }; 2],
            joined: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            job: Shared::new(job),
        }
    }

    /// Ready for another crew. `&mut`: no worker is left here.
    pub fn reopen(&mut self) {
        self.threads.store(1, Ordering::Relaxed);
        self.joined.store(0, Ordering::Relaxed);
        self.closed.store(false, Ordering::Relaxed);
    }

    /// Says how many threads share the work.
    pub fn set_threads(&self, threads: usize) {
        self.threads.store(threads, Ordering::Relaxed);
    }

    /// Workers that have come so far.
    pub fn joined(&self) -> usize {
        self.joined.load(Ordering::Relaxed)
    }

    /// Sends the workers away.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Runs one phase to its end, with whoever comes to help. A panic in a tile, on any thread, is resumed here when no
    /// tile is running any more; the rest of the phase is then not computed.
    ///
    /// # Safety
    /// One thread calls this; `job` is of a live task whose earlier phases are finished, with scratch for every worker;
    /// `units` threads may drive one each.
    pub unsafe fn run(&self, job: Job, engines: Engines, units: usize) {
        self.finished.0.store(0, Ordering::Relaxed);
        let workers = self.engage(engines, units);
        // SAFETY: all tiles of the phase before are finished, so nobody reads the job until there are unclaimed ones.
        unsafe { self.job.set(job) }
        self.unclaimed.0.store(Left::new(job.tiles, workers).0, Ordering::Release);
        self.work(0);
        let mut wait = Wait::default();
        while self.finished.0.load(Ordering::Acquire) != job.tiles {
            wait.poll();
        }
        // Relaxed: set before the failing tile's `finished`, which has been acquired.
        if self.failed.load(Ordering::Relaxed) {
            self.failed.store(false, Ordering::Relaxed);
            let failure = self.failure.lock().unwrap_or_else(|e| e.into_inner()).take();
            resume_unwind(failure.unwrap_or_else(|| Box::new("a tile panicked")));
        }
    }

    /// Says who may claim and at what pace, before there is something to claim; the number of workers who may.
    fn engage(&self, engines: Engines, units: usize) -> usize {
        let alike = Pace { core: 1.0, unit: 1.0 };
        let (pace, workers, split) = match engines {
            Engines::Cores => (alike, usize::MAX, 0),
            Engines::Units => (alike, units, usize::MAX),
            Engines::Both(pace) => (pace, usize::MAX, 0),
            Engines::Apart(first) => (alike, usize::MAX, if units > 0 { first } else { 0 }),
        };
        self.units.store(units, Ordering::Relaxed);
        self.both.store(matches!(engines, Engines::Both(_)), Ordering::Relaxed);
        self.split.store(split, Ordering::Relaxed);
        self.set_pace(Engine::Core, pace.core);
        self.set_pace(Engine::Unit, pace.unit);
        workers
    }

    fn set_pace(&self, engine: Engine, ns: f64) {
        self.pace[engine as usize].store(ns.to_bits(), Ordering::Relaxed);
    }

    /// What a tile takes, as last seen.
    pub fn pace(&self) -> Pace {
        let [core, unit] = [0, 1].map(|i| f64::from_bits(self.pace[i].load(Ordering::Relaxed)));
        Pace { core, unit }
    }

    /// What a worker claims of what is left: as what, how much, and whether at the front. Who drives a unit is a core where
    /// none of the rest is the unit's, or had better be left to cores.
    fn claim(&self, worker: usize, left: Left) -> (Engine, usize, bool) {
        let threads = self.threads.load(Ordering::Relaxed).min(left.workers());
        let units = self.units.load(Ordering::Relaxed).min(threads);
        let (drives, even, pace) = (worker < units, worker.is_multiple_of(2), self.pace());
        let Range { start, end } = left.range();
        if self.both.load(Ordering::Relaxed) {
            let share = Share { units, cores: threads - units, pace };
            let claim = |engine| (engine, share.claim(engine, end - start), even);
            return match claim(Engine::Unit) {
                unit if drives && unit.1 > 0 => unit,
                _ => claim(Engine::Core),
            };
        }
        let split = self.split.load(Ordering::Relaxed).clamp(start, end);
        if drives && start < split {
            let take = Share { units, cores: 0, pace }.claim(Engine::Unit, split - start);
            return (Engine::Unit, take, even || split < end);
        }
        let take = Share { units: 0, cores: threads, pace }.claim(Engine::Core, end - split);
        (Engine::Core, take, even && split == start)
    }

    /// What a worker computes tiles as that it has claimed as `engine`.
    fn engine(&self, worker: usize, engine: Engine, tiles: &Range<usize>) -> Engine {
        let drives = worker < self.units.load(Ordering::Relaxed);
        let of_unit = match self.both.load(Ordering::Relaxed) {
            true => engine == Engine::Unit,
            false => tiles.end <= self.split.load(Ordering::Relaxed),
        };
        if drives && of_unit { Engine::Unit } else { Engine::Core }
    }

    /// Works as one of the crew until the board is closed.
    pub fn serve(&self) {
        // Worker 0 is the caller. Relaxed: only the number's uniqueness counts.
        let worker = 1 + self.joined.fetch_add(1, Ordering::Relaxed);
        let mut wait = Wait::default();
        loop {
            if self.work(worker) {
                wait = Wait::default();
            } else if self.closed.load(Ordering::Acquire) {
                return;
            } else {
                wait.poll();
            }
        }
    }

    /// Claims and computes tiles until none is left for this worker; whether there were any.
    fn work(&self, worker: usize) -> bool {
        let mut worked = false;
        loop {
            // Acquires what `engage` stored before.
            let left = Left(self.unclaimed.0.load(Ordering::Acquire));
            if left.range().is_empty() || worker >= left.workers() {
                return worked;
            }
            let (engine, take, front) = self.claim(worker, left);
            if take == 0 {
                return worked;
            }
            let (rest, tiles) = left.without(take, front);
            let claimed =
                self.unclaimed.0.compare_exchange_weak(left.0, rest.0, Ordering::Acquire, Ordering::Relaxed);
            if claimed.is_ok() {
                let engine = self.engine(worker, engine, &tiles);
                // SAFETY: these tiles are this thread's, and so is its number.
                unsafe { self.compute(worker, engine, tiles) }
                worked = true;
            }
        }
    }

    /// Computes tiles and counts them as finished.
    ///
    /// # Safety
    /// The caller has just claimed them and is the only thread called `worker`.
    unsafe fn compute(&self, worker: usize, engine: Engine, tiles: Range<usize>) {
        let count = tiles.len();
        let start = self.both.load(Ordering::Relaxed).then(Instant::now);
        // SAFETY: claimed and not finished, so the job is not written before `finished` below.
        let job = unsafe { self.job.get() };
        // SAFETY: the caller's.
        let ran = catch_unwind(AssertUnwindSafe(|| unsafe { job.run(worker, engine, tiles) }));
        let rest = match ran {
            Ok(()) => 0,
            Err(failure) => self.fail(failure),
        };
        if let Some(start) = start {
            self.set_pace(engine, (start.elapsed().as_nanos() as f64 / count as f64).max(1.0));
        }
        self.finished.0.fetch_add(count + rest, Ordering::Release);
    }

    /// Keeps the first failure and takes the tiles that are left, which nobody computes then.
    fn fail(&self, failure: Box<dyn Any + Send>) -> usize {
        self.failure.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(failure);
        self.failed.store(true, Ordering::Relaxed);
        Left(self.unclaimed.0.swap(0, Ordering::Relaxed)).range().len()
    }
}
