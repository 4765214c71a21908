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

use super::claim::{self, Claim, Paces, Rest, Share, Thread};
use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Bed, Mutex, Ordering, Shared, Wait};
use crate::cores::KINDS;
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

fn ns(from: &AtomicU64) -> f64 {
    f64::from_bits(from.load(Ordering::Relaxed))
}

/// What is the same already stays where others have it in their caches.
fn set(to: &AtomicU64, ns: f64) {
    if to.load(Ordering::Relaxed) != ns.to_bits() {
        to.store(ns.to_bits(), Ordering::Relaxed);
    }
}

/// Threads of each kind but for so many of the fastest.
fn without(mut kinds: [usize; KINDS], mut count: usize) -> [usize; KINDS] {
    for kind in &mut kinds {
        let taken = count.min(*kind);
        (*kind, count) = (*kind - taken, count - taken);
    }
    kinds
}

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
    /// Threads that share the work, the caller included, by the kind of core each belongs to: sets the size of claims.
    threads: [AtomicUsize; KINDS],
    /// Those of them that drive units in this phase, the ones of the lowest numbers and so on the fastest cores.
    units: AtomicUsize,
    /// Whether the first tiles are for either engine, or for units only.
    both: AtomicBool,
    /// The end of these; the others are for cores.
    split: AtomicUsize,
    /// How fast kinds of cores are said to be.
    speeds: [f64; KINDS],
    /// Bits of the ns a core and a unit take for a tile: planned at first, then seen.
    pace: [AtomicU64; 2],
    /// The same of each kind of cores as seen; 0 before.
    seen: [AtomicU64; KINDS],
    /// Whether paces are looked at in this phase: engines or kinds of cores share it.
    timed: AtomicBool,
    /// Workers that have come.
    joined: AtomicUsize,
    /// No more work: workers leave.
    closed: AtomicBool,
    /// Whether workers sleep where there is nothing to claim, instead of polling.
    sleeps: AtomicBool,
    bed: Bed,
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

/// One thread of a crew.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    /// From 0, the caller's, on.
    pub number: usize,
    /// The kind of core it belongs to.
    pub kind: usize,
}

/// The thread that runs phases, which is taken to be on one of the fastest cores.
const CALLER: Member = Member { number: 0, kind: 0 };

impl Board {
    /// For cores of these speeds, by kind.
    pub fn new(speeds: [f64; KINDS]) -> Self {
        let task: *const dyn Task = &Nothing;
        let job = Job { task, phase: 0, tiles: 0, scratch: std::ptr::null_mut(), stride: 0, bytes: 0 };
        Self {
            unclaimed: Line(AtomicU64::new(0)),
            finished: Line(AtomicUsize::new(0)),
            threads: std::array::from_fn(|kind| AtomicUsize::new(usize::from(kind == CALLER.kind))),
            units: AtomicUsize::new(0),
            both: AtomicBool::new(false),
            split: AtomicUsize::new(0),
            speeds,
            pace: [const { AtomicU64::new(0) }; 2],
            seen: [const { AtomicU64::new(0) }; KINDS],
            timed: AtomicBool::new(false),
            joined: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            sleeps: AtomicBool::new(false),
            bed: Bed::default(),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            job: Shared::new(job),
        }
    }

    /// Ready for another crew. `&mut`: no worker is left here.
    pub fn reopen(&mut self) {
        self.threads.iter().for_each(|kind| kind.store(0, Ordering::Relaxed));
        self.take_in(CALLER.kind);
        self.joined.store(0, Ordering::Relaxed);
        self.closed.store(false, Ordering::Relaxed);
    }

    /// Says what workers do where there is nothing to claim. Before any comes.
    pub fn set_sleeps(&self, sleeps: bool) {
        self.sleeps.store(sleeps, Ordering::Relaxed);
    }

    /// Wakes workers that sleep.
    fn wake(&self) {
        if self.sleeps.load(Ordering::Relaxed) {
            self.bed.wake();
        }
    }

    /// One more thread shares the work, on a core of this kind.
    pub fn take_in(&self, kind: usize) {
        self.threads[kind].fetch_add(1, Ordering::Relaxed);
    }

    /// Workers that have come so far.
    pub fn joined(&self) -> usize {
        self.joined.load(Ordering::Relaxed)
    }

    /// Sends the workers away.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
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
        self.wake();
        self.work(CALLER);
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
            Engines::Both(pace) => (pace, usize::MAX, usize::MAX),
            Engines::First(first, pace) => (pace, usize::MAX, if units > 0 { first } else { 0 }),
            Engines::Apart(first) => (alike, usize::MAX, if units > 0 { first } else { 0 }),
        };
        let both = matches!(engines, Engines::Both(_) | Engines::First(..));
        let kinds = self.kinds().into_iter().filter(|&threads| threads > 0).count();
        self.timed.store(both || kinds > 1, Ordering::Relaxed);
        self.units.store(units, Ordering::Relaxed);
        self.both.store(both, Ordering::Relaxed);
        self.split.store(split, Ordering::Relaxed);
        self.pace.iter().zip([pace.core, pace.unit]).for_each(|(to, ns)| set(to, ns));
        self.seen.iter().for_each(|to| set(to, 0.0));
        workers
    }

    /// Threads of each kind.
    fn kinds(&self) -> [usize; KINDS] {
        self.threads.each_ref().map(|kind| kind.load(Ordering::Relaxed))
    }

    /// What a tile takes, as last seen.
    pub fn paces(&self) -> Paces {
        let [core, unit] = self.pace.each_ref().map(ns);
        Paces { pace: Pace { core, unit }, speeds: self.speeds, seen: self.seen.each_ref().map(ns) }
    }

    /// As [`Paces::see`].
    fn see(&self, engine: Engine, kind: usize, ns: f64) {
        match engine {
            Engine::Unit => set(&self.pace[Engine::Unit as usize], ns),
            Engine::Core => {
                set(&self.seen[kind], ns);
                set(&self.pace[Engine::Core as usize], ns * self.speeds[kind]);
            }
        }
    }

    /// What a worker claims of what is left: as what, how much, and whether at the front. The first tiles are claimed there while
    /// there are others.
    fn claim(&self, worker: Member, left: Left) -> (Engine, usize, bool) {
        let kinds = self.kinds();
        let threads = kinds.iter().sum::<usize>().min(left.workers());
        let units = self.units.load(Ordering::Relaxed).min(threads);
        let (drives, even) = (worker.number < units, worker.number.is_multiple_of(2));
        let Range { start, end } = left.range();
        let split = self.split.load(Ordering::Relaxed).clamp(start, end);
        let share = |units, cores| Share { units, cores, paces: self.paces() };
        let thread = Thread { drives, kind: worker.kind, calls: worker.number == CALLER.number };
        let rest = Rest { either: split - start, cores: end - split };
        let side = |of_either| if start < split && split < end { of_either } else { even };
        if self.both.load(Ordering::Relaxed) {
            let Claim { engine, of_either, take } = share(units, without(kinds, units)).choose(thread, rest);
            return (engine, take, side(of_either));
        }
        if drives && start < split {
            return (Engine::Unit, claim::alike(units, split - start), side(true));
        }
        let take = match self.timed.load(Ordering::Relaxed) {
            true => share(0, kinds).choose(thread, Rest { either: 0, ..rest }).take,
            false => claim::alike(threads, end - split),
        };
        (Engine::Core, take, side(false))
    }

    /// What a worker computes tiles as that it has claimed as `engine`.
    fn engine(&self, worker: usize, engine: Engine, tiles: &Range<usize>) -> Engine {
        let drives = worker < self.units.load(Ordering::Relaxed);
        let wanted = engine == Engine::Unit || !self.both.load(Ordering::Relaxed);
        let of_unit = wanted && tiles.end <= self.split.load(Ordering::Relaxed);
        if drives && of_unit { Engine::Unit } else { Engine::Core }
    }

    /// Works as one of the crew until the board is closed.
    pub fn serve(&self, worker: Member) {
        self.joined.fetch_add(1, Ordering::Relaxed);
        let sleeps = self.sleeps.load(Ordering::Relaxed);
        let mut wait = Wait::default();
        loop {
            let known = if sleeps { self.bed.changes() } else { 0 };
            if self.work(worker) {
                wait = Wait::default();
            } else if self.closed.load(Ordering::Acquire) {
                return;
            } else if sleeps {
                self.bed.sleep(known);
            } else {
                wait.poll();
            }
        }
    }

    /// Claims and computes tiles until none is left for this worker; whether there were any.
    fn work(&self, worker: Member) -> bool {
        let mut worked = false;
        loop {
            // Acquires what `engage` stored before.
            let left = Left(self.unclaimed.0.load(Ordering::Acquire));
            if left.range().is_empty() || worker.number >= left.workers() {
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
                let engine = self.engine(worker.number, engine, &tiles);
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
    unsafe fn compute(&self, worker: Member, engine: Engine, tiles: Range<usize>) {
        let count = tiles.len();
        // Only tiles of one sort tell paces: the first ones where either engine takes these.
        let tells = !self.both.load(Ordering::Relaxed) || tiles.end <= self.split.load(Ordering::Relaxed);
        let start = (tells && self.timed.load(Ordering::Relaxed)).then(Instant::now);
        // SAFETY: claimed and not finished, so the job is not written before `finished` below.
        let job = unsafe { self.job.get() };
        // SAFETY: the caller's.
        let ran = catch_unwind(AssertUnwindSafe(|| unsafe { job.run(worker.number, engine, tiles) }));
        let rest = match ran {
            Ok(()) => 0,
            Err(failure) => self.fail(failure),
        };
        if let Some(start) = start {
            self.see(engine, worker.kind, (start.elapsed().as_nanos() as f64 / count as f64).max(1.0));
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
