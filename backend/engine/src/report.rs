//! What a plan is and why.

use std::fmt;

use tandem_base::{Engine, Isa, Pace};
use tandem_kernels::Paced;

pub use crate::layout::ValueReport;

/// Kind of work, as profiles group it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Convolutions of every kind.
    Convolution,
    /// Linear layers, matrix products, attention.
    Gemm,
    /// Copies and transposes.
    DataMovement,
    /// Element-wise arithmetic.
    Elementwise,
    /// Everything else: pooling, normalisation, softmax, resampling.
    Other,
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Convolution => "Convolution",
            Self::Gemm => "GEMM",
            Self::DataMovement => "Data movement",
            Self::Elementwise => "Elementwise",
            Self::Other => "Other",
        })
    }
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Readable and stable, e.g. "enc0.c1.conv".
    pub name: String,
    /// Op of the program, e.g. "Conv".
    pub op: &'static str,
    /// Kind of work.
    pub category: Category,
    /// Operand sizes.
    pub shape: String,
    /// Kernel row.
    pub kernel: String,
    /// "cpu", "sme" for matrix units, or "both" where they share its parts.
    pub engine: &'static str,
    /// Layout of the first operand.
    pub layout_in: String,
    /// Layout of the destination.
    pub layout_out: String,
    /// Arithmetic by definition, a multiply-add counting 2.
    pub flops: f64,
    /// Bytes that move at least once.
    pub bytes: f64,
    /// Predicted time on the threads planned for.
    pub predicted_ns: f64,
    /// What it consists of in time; ends with `predicted_ns`, give or take what it costs threads to meet.
    pub parts: Vec<PartReport>,
    /// Why this kernel, or why a copy.
    pub reason: String,
    /// ExecuTorch's handles of the nodes this step computes.
    pub debug_handles: Vec<u32>,
}

/// What an engine does of a step, at a stretch.
#[derive(Clone, Debug, PartialEq)]
pub struct PartReport {
    /// Readable, e.g. "outer products"; "" of a step that is one part.
    pub name: &'static str,
    /// "cpu" or "sme".
    pub engine: &'static str,
    /// Kind of work.
    pub category: Category,
    /// Predicted, from the step's start.
    pub start_ns: f64,
    /// Predicted, on the threads planned for.
    pub ns: f64,
    /// Of the step's arithmetic.
    pub share: f64,
}

/// What engines were seen to take for the tiles of a step that either computes. It corrects how they share the next execute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// A tile, as predicted.
    pub predicted: Pace,
    /// A tile, as executes so far have told.
    pub pace: Pace,
    /// The units' share of the tiles, as predicted.
    pub share: f64,
    /// Tiles that cores and units have computed since the program was planned.
    pub computed: [u64; 2],
}

impl Seen {
    pub(crate) fn new(paced: &Paced, share: f64) -> Self {
        let computed = [Engine::Core, Engine::Unit].map(|engine| paced.computed(engine));
        Self { predicted: paced.predicted(), pace: paced.pace(), share, computed }
    }
}

/// A plan with its memory and what it took to make.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Steps in order.
    pub steps: Vec<StepReport>,
    /// Layouts of the program's values.
    pub values: Vec<ValueReport>,
    /// Symbols and the values planned for; none of a program of fixed sizes.
    pub symbols: Vec<(String, i64)>,
    /// Memory of all intermediate values and shared workspaces.
    pub arena_bytes: usize,
    /// Most bytes of these alive at one time.
    pub live_bytes: usize,
    /// Scratch of one worker.
    pub scratch_bytes: usize,
    /// Constants in use, where the host has them.
    pub weight_bytes: usize,
    /// Time to verify and decode the blob.
    pub verify_ns: u64,
    /// Time to plan.
    pub plan_ns: u64,
    /// Instruction sets planned for.
    pub isa: Isa,
    /// What predictions rest on, in words: whose rates, and for how many threads.
    pub basis: String,
}
