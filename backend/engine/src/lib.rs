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
mod placement;
mod plan;
mod plans;
mod report;
mod step;

pub use error::{Error, ErrorKind};
pub use knobs::{EngineChoice, LoadOptions, Power, Stack};
pub use layout::LayoutPolicy;
pub use method::{Canceller, Constants, Input, Method, Output, TensorSpec, Tracer};
pub use placement::{Placement, Shape, place, stand_in};
pub use plan::xnnpack::{FIGURES as XNNPACK_FIGURES, Figure as ModelFigure};
pub use report::{Category, PartReport, Report, Seen, StepReport, ValueReport};
pub use tandem_base::{Entry, Isa};
pub use tandem_schemas::program::DType;
