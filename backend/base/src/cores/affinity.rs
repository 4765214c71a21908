//! Which cores a thread may use, as Linux has it.

use std::mem::size_of;

/// Cores a set has room for.
pub const MOST: usize = 8 * size_of::<libc::cpu_set_t>();

fn empty() -> libc::cpu_set_t {
    // SAFETY: an array of integers.
    unsafe { std::mem::zeroed() }
}

/// The cores this thread may use; none where the system has more than a set has room for.
pub fn allowed() -> Vec<usize> {
    let mut set = empty();
    // SAFETY: writes at most a set; 0 is this thread.
    let error = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    // SAFETY: numbers below the set's end.
    let is_set = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    if error == 0 { (0..MOST).filter(is_set).collect() } else { Vec::new() }
}

/// Lets this thread run on one core only; whether the system did.
pub fn pin(cpu: usize) -> bool {
    let mut set = empty();
    if cpu >= MOST {
        return false;
    }
    // SAFETY: a number below the set's end; reads a set; 0 is this thread.
    unsafe {
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) == 0
    }
}
