//! The synchronisation a board is made of, in one place so that a model checker can put its own here.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, Mutex};

use std::cell::UnsafeCell;
use std::sync::PoisonError;
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// Memory whose readers and writers take turns by other means.
pub(crate) struct Shared<T>(UnsafeCell<T>);

impl<T: Copy> Shared<T> {
    pub fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// # Safety
    /// Nothing writes meanwhile.
    pub unsafe fn get(&self) -> T {
        // SAFETY: the caller rules out writers.
        unsafe { *self.0.get() }
    }

    /// # Safety
    /// Nothing reads or writes meanwhile.
    pub unsafe fn set(&self, value: T) {
        // SAFETY: the caller rules out readers and writers.
        unsafe { *self.0.get() = value }
    }
}

/// Polls with pauses at first, then lets others run.
#[derive(Default)]
pub(crate) struct Wait {
    polls: u32,
    since: Option<Instant>,
    long: bool,
}

/// How long a thread polls before it yields.
const PATIENCE: Duration = Duration::from_micros(50);

impl Wait {
    pub fn poll(&mut self) {
        if self.long || cfg!(miri) {
            return yield_now();
        }
        std::hint::spin_loop();
        self.polls += 1;
        if self.polls.is_multiple_of(32) {
            let since = *self.since.get_or_insert_with(Instant::now);
            self.long = since.elapsed() > PATIENCE;
        }
    }
}

/// Where threads sleep until something that they look at has changed.
#[derive(Default)]
pub(crate) struct Bed {
    changes: Mutex<usize>,
    changed: Condvar,
}

impl Bed {
    /// Changes so far: to be asked for before looking.
    pub fn changes(&self) -> usize {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until there are other than `known` changes.
    pub fn sleep(&self, known: usize) {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(changes, |changes| *changes == known));
    }

    /// Wakes all, behind a change.
    pub fn wake(&self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes = changes.wrapping_add(1);
        drop(changes);
        self.changed.notify_all();
    }
}
