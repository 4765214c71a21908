//! All compute of Tandem. One folder per family: contract (problem and arguments), scalar reference, one file per
//! instruction set, the table of rows, and tests that run on every row.
//!
//! Nothing here knows a graph, starts a thread, allocates while it runs, reads the environment or logs.

pub mod attention;
pub mod both;
pub mod chain;
pub mod conv;
pub mod convert;
pub mod deconv;
pub mod depthwise;
pub mod element;
pub mod elementwise;
pub mod epilogue;
pub mod fold;
pub mod gather;
pub mod gemm;
pub mod grid;
#[cfg(all(test, unix))]
mod guard;
pub mod kernel;
mod lanes;
pub mod mixed;
pub mod moves;
mod nest;
pub mod norm;
mod paced;
pub mod panels;
pub mod peak;
pub mod pipeline;
pub mod pool;
mod product;
pub mod qconv;
pub mod qgemm;
pub mod quant;
mod rates;
pub mod reduce;
pub mod resize;
pub mod scan;
mod select;
pub mod simd;
#[cfg(any(target_arch = "aarch64", test, feature = "emulated"))]
pub mod sme2;
pub mod softmax;
pub mod sort;
#[cfg(test)]
mod testing;
pub mod types;
pub mod unfused;
mod widen;
#[cfg(target_arch = "aarch64")]
mod words;

pub use both::{Both, Divide};
pub use element::{Element, Packed, bf16, f16};
pub use epilogue::{Act, Epilogue, EpilogueArgs};
pub use kernel::{ArgError, Bound, Cost, Family, Kernel, NOT_ENABLED, Refusal, Taken, Workspace, available};
pub use paced::Paced;
pub use pipeline::{BoundPipeline, Pipelined, Stages};
pub use rates::{Rates, TeamRates, UnitRates};
pub use select::{Choice, price, select};
pub use unfused::Unfused;
pub use widen::{Apart, Halved, HalvedArgs};
