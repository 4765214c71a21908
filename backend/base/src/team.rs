//! The team: one per process, its workers claim tiles of one task at a time.

use crate::mem::{AlignedBuf, SpanMut};
use crate::task::Task;

/// The workers of this process.
pub struct Team {}

/// Workers claimed for one execute: they spin until the crew is dropped, then park.
pub struct Crew<'a> {
    _team: &'a Team,
}

/// Scratch of every worker of a crew; grows when asked for more, never shrinks.
#[derive(Default)]
pub struct Scratch {
    buf: Option<AlignedBuf>,
}

impl Team {
    /// The process's team. Starts no thread before one is needed.
    pub fn global() -> &'static Team {
        static TEAM: Team = Team {};
        &TEAM
    }

    /// Claims up to `threads - 1` idle workers; the caller is the first of the crew.
    pub fn enter(&self, _threads: usize) -> Crew<'_> {
        Crew { _team: self }
    }
}

impl Crew<'_> {
    /// Threads of this crew, the caller included.
    pub fn threads(&self) -> usize {
        1
    }

    /// Runs a task to its end.
    pub fn run(&mut self, task: &dyn Task, scratch: &mut Scratch) {
        scratch.reserve(1, task.scratch());
        let span = scratch.of(0, task.scratch());
        for phase in 0..task.phases() {
            // SAFETY: one call covers every tile of the phase, phases run in order, the scratch is this thread's.
            unsafe { task.run(phase, 0..task.tiles(phase), span) }
        }
    }
}

impl Scratch {
    /// Makes room for `bytes` per worker of a crew of `threads`.
    pub fn reserve(&mut self, threads: usize, bytes: usize) {
        let need = threads * bytes.next_multiple_of(4096);
        if self.buf.as_ref().map_or(0, AlignedBuf::len) < need {
            self.buf = Some(AlignedBuf::zeroed(need));
        }
    }

    fn of(&mut self, worker: usize, bytes: usize) -> SpanMut<'_, u8> {
        let start = worker * bytes.next_multiple_of(4096);
        match &mut self.buf {
            Some(buf) => SpanMut::from(&mut buf.bytes_mut()[start..start + bytes]),
            None => SpanMut::empty(),
        }
    }
}
