//! All compute of Tandem. One folder per family: contract (problem and arguments), scalar reference, one file per
//! instruction set, the table of rows, and tests that run on every row.
//!
//! Nothing here knows a graph, starts a thread, allocates while it runs, reads the environment or logs.

pub mod attention;
pub mod conv;
pub mod deconv;
pub mod depthwise;
pub mod elementwise;
pub mod epilogue;
pub mod gemm;
#[cfg(all(test, unix))]
mod guard;
pub mod kernel;
pub mod moves;
mod nest;
pub mod norm;
pub mod panels;
pub mod peak;
pub mod pool;
mod product;
pub mod qgemm;
pub mod reduce;
pub mod resize;
pub mod simd;
#[cfg(any(target_arch = "aarch64", test))]
pub mod sme2;
pub mod softmax;
#[cfg(test)]
mod testing;

pub use epilogue::{Act, Epilogue, EpilogueArgs};
pub use kernel::{ArgError, Bound, Cost, Family, Kernel, Rates, Refusal, Workspace, select};
