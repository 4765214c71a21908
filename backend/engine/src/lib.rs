//! On the device: Program → layout → plan → run → profile.
//!
//! [`Method::load`] verifies a program and plans it for this machine: where every value lies, which kernel computes
//! every op, and why. [`Method::execute`] runs the plan without allocating.
#![forbid(unsafe_code)]

mod arena;
pub mod device;
mod error;
mod knobs;
mod layout;
mod method;
mod model;
mod operands;
mod ops;
mod plan;
mod plans;
mod report;
mod step;

pub use error::{Error, ErrorKind};
pub use knobs::{EngineChoice, LoadOptions};
pub use layout::LayoutPolicy;
pub use method::{Canceller, Constants, Input, Method, Output, TensorSpec, Tracer};
pub use report::{Category, Report, StepReport, ValueReport};
pub use tandem_base::Isa;
pub use tandem_schemas::program::DType;
