//! Which threads were in a matrix unit, and when.

use std::cell::Cell;
use std::ops::Range;
use std::time::Instant;

use super::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::mem::SpanMut;
use crate::task::{Engine, Engines, Pace, Task};

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// Says which of the team's threads this one is.
pub(super) fn become_thread(number: usize) {
    THREAD.set(number);
}

/// Tiles that a thread computed on a matrix unit at a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// 0 for one of the host's threads, which executes, else N of the thread "tandem-N".
    pub thread: usize,
    /// When it began, in ns since the entries' origin.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
}

/// Entries of tasks, kept in a room of fixed size that any thread writes to without waiting.
pub struct Entries {
    origin: Instant,
    slots: Box<[[AtomicU64; 3]]>,
    /// Entries so far, those without room included.
    count: AtomicUsize,
}

impl Entries {
    /// Room for `capacity`, on a clock that began at `origin`.
    pub fn new(origin: Instant, capacity: usize) -> Self {
        let slots = (0..capacity).map(|_| [const { AtomicU64::new(0) }; 3]).collect();
        Self { origin, slots, count: AtomicUsize::new(0) }
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    // Relaxed throughout: the end of a task's phase hands over what its tiles wrote.
    fn add(&self, entry: Entry) {
        let Entry { thread, start_ns, end_ns } = entry;
        if let Some(slot) = self.slots.get(self.count.fetch_add(1, Ordering::Relaxed)) {
            let values = [thread as u64, start_ns, end_ns];
            slot.iter().zip(values).for_each(|(to, value)| to.store(value, Ordering::Relaxed));
        }
    }

    /// Hands over the entries since the last time, in the order they ended, and how many there was no room for. While no task
    /// runs that records here.
    pub fn take(&self, mut each: impl FnMut(Entry)) -> usize {
        let count = self.count.swap(0, Ordering::Relaxed);
        for slot in self.slots.iter().take(count) {
            let [thread, start_ns, end_ns] = slot.each_ref().map(|value| value.load(Ordering::Relaxed));
            each(Entry { thread: thread as usize, start_ns, end_ns });
        }
        count.saturating_sub(self.slots.len())
    }
}

/// A task whose entries into matrix units are recorded.
pub struct Recorded<'a> {
    /// The task.
    pub task: &'a dyn Task,
    /// Where to.
    pub entries: &'a Entries,
}

// SAFETY: the same tiles write the same memory.
unsafe impl Task for Recorded<'_> {
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
        let start_ns = if engine == Engine::Unit { self.entries.now() } else { 0 };
        // SAFETY: the caller's.
        unsafe { self.task.run(engine, phase, tiles, scratch) }
        if engine == Engine::Unit {
            self.entries.add(Entry { thread: THREAD.get(), start_ns, end_ns: self.entries.now() });
        }
    }
}
