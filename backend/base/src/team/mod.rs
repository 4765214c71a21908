//! The team: one per process, whose workers are claimed for an execute and claim tiles of one task at a time.
//!
//! Worker threads start when first wanted and live as long as the process. An execute enters the team with the number
//! of threads it may use and gets a [`Crew`]: itself and the workers that are idle. Within the crew's life workers poll
//! for tiles; when it is dropped they park. Nobody ever waits for a worker to come or go, only for tiles it has claimed:
//! a crew below strength takes in workers that become idle before each task.
//!
//! Where cores differ, every worker belongs to one, to which it is pinned where the system lets it be: crews take in the
//! fastest first, the first of which drive units, and what a thread claims follows the speed of its kind of core.

mod board;
pub mod claim;
pub mod cost;
mod entries;
mod sync;

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::cores::{self, Cores, Place};
use crate::mem::{AlignedBuf, SpanMut};
use crate::sme;
use crate::task::{Engine, Engines, Task};
use board::{Board, Job, Member};
pub use entries::{Entries, Entry, Recorded};
use sync::Wait;

/// Most threads of a crew.
pub const MAX_THREADS: usize = 256;

/// The workers of this process.
pub struct Team {
    pool: Mutex<Pool>,
    /// Matrix units that threads drive now, and may at most: as many as there are.
    driven: AtomicUsize,
    units: fn() -> usize,
    cores: fn() -> &'static Cores,
    /// Whose it is: threads do not survive a fork, and a lock that another thread held then stays locked.
    process: u32,
}

struct Pool {
    workers: Vec<&'static Worker>,
    /// Boards of past and present crews; one whose count is 1 is free.
    boards: Vec<Arc<Board>>,
}

/// A worker as others see it.
///
/// `duty` is null while it is idle, a board (with one of its counts) from being claimed until the worker takes it, and
/// [`BUSY`] until it is idle again. Only who holds the pool's lock turns null into a board; the worker turns that into
/// `BUSY` and `BUSY` into null; the crew, on leaving, turns its board into null where the worker has not come.
struct Worker {
    duty: AtomicPtr<Board>,
    /// Its number in the crew whose board its duty is; written before that.
    number: AtomicUsize,
    /// The kind of core it belongs to.
    kind: usize,
    thread: OnceLock<Thread>,
}

const BUSY: *mut Board = ptr::without_provenance_mut(1);

/// The caller and the workers claimed for one execute.
pub struct Crew<'a> {
    team: &'a Team,
    /// Absent in a crew of one.
    board: Option<Arc<Board>>,
    wanted: usize,
    threads: usize,
}

/// Scratch of every worker of a crew; grows when asked for more, never shrinks.
#[derive(Default)]
pub struct Scratch {
    buf: Option<AlignedBuf>,
}

impl Team {
    fn new() -> Self {
        Self {
            pool: Mutex::new(Pool { workers: Vec::new(), boards: Vec::new() }),
            driven: AtomicUsize::new(0),
            units: sme::units,
            cores: Cores::this,
            process: std::process::id(),
        }
    }

    /// The process's team, a forked process's own. Starts no thread before one is needed.
    pub fn global() -> &'static Team {
        static TEAM: AtomicPtr<Team> = AtomicPtr::new(ptr::null_mut());
        let known = TEAM.load(Ordering::Acquire);
        // SAFETY: null or leaked below.
        match unsafe { known.as_ref() } {
            Some(team) if team.process == std::process::id() => return team,
            _ => {}
        }
        let made = Box::into_raw(Box::new(Self::new()));
        match TEAM.compare_exchange(known, made, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: never freed.
            Ok(_) => unsafe { &*made },
            // SAFETY: nobody has seen the one made here; another thread of this process leaked the other.
            Err(other) => unsafe {
                drop(Box::from_raw(made));
                &*other
            },
        }
    }

    /// A crew of up to `threads` (at most [`MAX_THREADS`]), the caller included, whose workers poll for tiles.
    pub fn enter(&self, threads: usize) -> Crew<'_> {
        self.crew(threads, false)
    }

    /// The same, but its workers sleep wherever there is nothing for them and are woken for each phase.
    pub fn enter_asleep(&self, threads: usize) -> Crew<'_> {
        self.crew(threads, true)
    }

    fn crew(&self, threads: usize, sleeps: bool) -> Crew<'_> {
        let wanted = threads.clamp(1, MAX_THREADS);
        let mut pool = self.pool();
        let board = (wanted > 1).then(|| {
            pool.grow(wanted - 1, (self.cores)());
            let board = pool.board((self.cores)());
            board.set_sleeps(sleeps);
            board
        });
        drop(pool);
        let mut crew = Crew { team: self, board, wanted, threads: 1 };
        crew.recruit();
        crew
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `most` units that no other crew drives: none where these drive all.
    fn drive(&self, most: usize) -> Driven<'_> {
        let mut count = 0;
        if most == 0 {
            return Driven { team: self, count };
        }
        // Relaxed: only the number counts; what units compute is handed over by boards.
        let _ = self.driven.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |driven| {
            count = most.min((self.units)().saturating_sub(driven));
            Some(driven + count)
        });
        Driven { team: self, count }
    }

    /// Units for what needs them: waits until another crew's task ends where these drive all.
    fn drive_some(&self, most: usize) -> Driven<'_> {
        let mut wait = Wait::default();
        loop {
            let driven = self.drive(most);
            if driven.count > 0 {
                return driven;
            }
            wait.poll();
        }
    }
}

/// Units a crew drives while a phase runs.
struct Driven<'a> {
    team: &'a Team,
    count: usize,
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.team.driven.fetch_sub(self.count, Ordering::Relaxed);
        }
    }
}

impl Pool {
    /// A board no other crew or worker looks at.
    fn board(&mut self, cores: &Cores) -> Arc<Board> {
        for board in &mut self.boards {
            // Acquires what those who gave it back did.
            if let Some(free) = Arc::get_mut(board) {
                free.reopen();
                return board.clone();
            }
        }
        self.boards.push(Arc::new(Board::new(cores.speeds())));
        self.boards[self.boards.len() - 1].clone()
    }

    /// Starts workers until there are `count`, or the system has no more threads. Each belongs to a core, the first to the
    /// fastest but one: the fastest is the caller's.
    fn grow(&mut self, count: usize, cores: &Cores) {
        while self.workers.len() < count {
            let number = self.workers.len() + 1;
            let Place { kind, cpu } = cores.place(number);
            let worker: &'static Worker = Box::leak(Box::new(Worker::of_kind(kind)));
            let live = move || {
                entries::become_thread(number);
                cpu.into_iter().for_each(settle);
                worker.live();
            };
            let Ok(handle) = thread::Builder::new().name(format!("tandem-{number}")).spawn(live) else {
                break;
            };
            worker.thread.get_or_init(|| handle.thread().clone());
            self.workers.push(worker);
        }
        // Every board that is not free is a crew's or held by a worker about to leave: with one a worker and one for the
        // crew, a crew alone always finds a free one.
        while self.boards.len() <= self.workers.len() {
            self.boards.push(Arc::new(Board::new(cores.speeds())));
        }
    }
}

/// Pins this thread to its core. Where the system refuses, it goes where the system likes.
fn settle(cpu: usize) {
    static REFUSED: Once = Once::new();
    if !cores::pin(cpu) {
        REFUSED.call_once(|| log::debug!("team: the system pins no thread to cpu {cpu}"));
    }
}

impl Worker {
    fn of_kind(kind: usize) -> Self {
        let duty = AtomicPtr::new(ptr::null_mut());
        Self { duty, number: AtomicUsize::new(0), kind, thread: OnceLock::new() }
    }

    fn live(&self) {
        loop {
            let board = self.duty.load(Ordering::Acquire);
            if board.is_null() {
                thread::park();
                continue;
            }
            // Acquire: the board as the crew left it. It fails where the crew has taken the board back.
            if self.duty.compare_exchange(board, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            // SAFETY: the pointer came from `into_raw` with a count of its own, and this thread has just taken it.
            let board = unsafe { Arc::from_raw(board) };
            board.serve(Member { number: self.number.load(Ordering::Relaxed), kind: self.kind });
            drop(board);
            self.duty.store(ptr::null_mut(), Ordering::Release);
        }
    }
}

impl Crew<'_> {
    /// Threads of this crew so far, the caller included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Threads this crew has at most, the caller included.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Takes in idle workers while there are fewer than wanted.
    fn recruit(&mut self) {
        let Some(board) = self.board.as_ref().filter(|_| self.threads < self.wanted) else { return };
        let pool = self.team.pool();
        for worker in &pool.workers {
            if self.threads == self.wanted {
                break;
            }
            if worker.duty.load(Ordering::Acquire).is_null() {
                worker.number.store(self.threads, Ordering::Relaxed);
                board.take_in(worker.kind);
                let own = Arc::into_raw(board.clone()).cast_mut();
                worker.duty.store(own, Ordering::Release);
                if let Some(thread) = worker.thread.get() {
                    thread.unpark();
                }
                self.threads += 1;
            }
        }
    }

    /// Runs a task to its end.
    ///
    /// # Panics
    /// With the panic of a tile, on whichever thread it ran, once no tile is running; without room for the scratch, which
    /// [`Scratch::reserve`] makes beforehand.
    pub fn run(&mut self, task: &dyn Task, scratch: &mut Scratch) {
        self.recruit();
        let bytes = task.scratch();
        assert!(scratch.reserve(self.wanted, bytes), "no room for {bytes} bytes of scratch a thread");
        for phase in 0..task.phases() {
            let (engines, tiles) = (task.engines(phase), task.tiles(phase));
            if tiles == 0 {
                continue;
            }
            let units = match engines {
                Engines::Cores | Engines::Apart(0) => self.team.drive(0),
                Engines::Units => self.team.drive_some(self.wanted),
                Engines::Both(_) | Engines::First(..) | Engines::Apart(_) => self.team.drive(self.wanted),
            };
            if self.threads > 1 && tiles > 1 && !(engines == Engines::Units && units.count == 1) {
                self.share(task, phase, tiles, (engines, units.count), scratch.base(bytes), bytes);
            } else {
                let (base, _) = scratch.base(bytes);
                // SAFETY: `base` has at least `bytes`.
                let memory = unsafe { SpanMut::from_raw(base, bytes) };
                alone(task, phase, tiles, (engines, units.count), memory);
            }
        }
    }

    /// A phase for all of the crew.
    fn share(
        &self,
        task: &dyn Task,
        phase: usize,
        tiles: usize,
        (engines, units): (Engines, usize),
        (scratch, stride): (*mut u8, usize),
        bytes: usize,
    ) {
        let Some(board) = &self.board else { unreachable!("a crew of several has a board") };
        let seen = task;
        // SAFETY: a pointer to the same task with its lifetime forgotten: `run` uses it while it lasts.
        let task: *const dyn Task =
            unsafe { std::mem::transmute::<*const (dyn Task + '_), *const dyn Task>(task) };
        // SAFETY: the task outlives the call, phases come in order, there is scratch for all wanted, who drives units has
        // been given them.
        unsafe { board.run(Job { task, phase, tiles, scratch, stride, bytes }, engines, units) }
        if matches!(engines, Engines::Both(_) | Engines::First(..)) {
            seen.seen(board.paces().pace);
        }
    }
}

/// A phase on this thread: on a unit what may be a unit's, where it has one and that is not the slower engine.
fn alone(
    task: &dyn Task,
    phase: usize,
    tiles: usize,
    (engines, units): (Engines, usize),
    scratch: SpanMut<'_, u8>,
) {
    let (first, pace) = match engines {
        Engines::Cores => (0, None),
        Engines::Units => (tiles, None),
        Engines::Both(pace) => (tiles, Some(pace)),
        Engines::First(first, pace) => (first.min(tiles), Some(pace)),
        Engines::Apart(first) => (first.min(tiles), None),
    };
    let quicker = pace.is_none_or(|pace| pace.unit <= pace.core);
    let driven = engines == Engines::Units || units > 0 && quicker;
    let engine = if driven { Engine::Unit } else { Engine::Core };
    for (engine, tiles, pace) in [(engine, 0..first, pace), (Engine::Core, first..tiles, None)] {
        if tiles.is_empty() {
            continue;
        }
        let (start, count) = (pace.map(|_| Instant::now()), tiles.len() as f64);
        // SAFETY: every tile once, phases come in order, the scratch is this thread's.
        unsafe { task.run(engine, phase, tiles, scratch) }
        if let Some((pace, start)) = pace.zip(start) {
            task.seen(pace.with(engine, start.elapsed().as_nanos() as f64 / count));
        }
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        let Some(board) = &self.board else { return };
        board.close();
        if board.joined() + 1 >= self.threads {
            return;
        }
        // Workers that have not come yet are free for the next crew at once.
        let own = Arc::as_ptr(board).cast_mut();
        for worker in &self.team.pool().workers {
            let back =
                worker.duty.compare_exchange(own, ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed);
            if back.is_ok() {
                // SAFETY: the worker's count, given by `into_raw`, which it can no longer take.
                drop(unsafe { Arc::from_raw(own) });
            }
        }
    }
}

/// The scratch of every worker starts on a page of its own.
const PAGE: usize = 4096;

impl Scratch {
    /// Makes room for `bytes` per worker of a crew of `threads`; whether the system has it.
    #[must_use]
    pub fn reserve(&mut self, threads: usize, bytes: usize) -> bool {
        let Some(need) = bytes.checked_next_multiple_of(PAGE).and_then(|b| b.checked_mul(threads)) else {
            return false;
        };
        if self.buf.as_ref().map_or(0, AlignedBuf::len) < need {
            self.buf = None;
            self.buf = AlignedBuf::try_zeroed(need);
        }
        need == 0 || self.buf.is_some()
    }

    /// First byte and distance of the workers' blocks.
    fn base(&mut self, bytes: usize) -> (*mut u8, usize) {
        match &mut self.buf {
            Some(buf) => (buf.bytes_mut().as_mut_ptr(), bytes.next_multiple_of(PAGE)),
            None => (ptr::without_provenance_mut(crate::mem::ALIGN), 0),
        }
    }
}

#[cfg(test)]
mod tests;
