//! The unsafe ground Tandem stands on: aligned memory, strided shapes, tasks, the team of workers, CPU detection.
//! Small on purpose, and run under Miri.

pub mod cores;
pub mod cpu;
pub mod isa;
pub mod mem;
pub mod sme;
pub mod strided;
#[cfg(target_vendor = "apple")]
mod sysctl;
pub mod task;
pub mod team;

pub use cores::Cores;
pub use cpu::Cpu;
pub use isa::Isa;
pub use mem::{AlignedBuf, Lease, Span, SpanMut};
pub use strided::Strided;
pub use task::{Engine, Engines, Pace, Task};
pub use team::{Crew, Entries, Entry, Recorded, Scratch, Team};
