//! A kernel is a descriptor plus one function; a family is what its kernels compute.

use std::fmt::Debug;
use std::ops::Range;

use tandem_base::{Engine, Engines, Isa, Span, SpanMut, Strided, Task, mem};

pub use crate::rates::{Rates, TeamRates, UnitRates};
use crate::unfused::Unfused;

/// What all kernels of a folder compute: a problem (shapes and options, no pointers) and its arguments.
pub trait Family: Sized + 'static {
    /// Name in plans and messages, e.g. "conv".
    const NAME: &'static str;
    /// Shapes, strides and options: all a selection may depend on.
    type Problem: Clone + Debug + Send + Sync;
    /// Where the operands lie.
    type Args<'a>: Sync;

    /// Arithmetic and traffic of the problem by its definition, whatever the algorithm.
    fn cost(problem: &Self::Problem) -> Cost;

    /// The problem for a stack that fuses less; by default it is no product and leaves nothing.
    fn unfused(_problem: &Self::Problem) -> Unfused {
        Unfused::default()
    }

    /// Whether every element the problem reaches lies inside its operand and the destination overlaps no source it
    /// may not overlap.
    fn check(problem: &Self::Problem, args: &Self::Args<'_>) -> Result<(), ArgError>;
}

/// Work of a problem by its definition.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations, a multiply-add counting 2.
    pub flops: f64,
    /// Bytes that must move at least once: operands read and written.
    pub bytes: f64,
}

/// Memory a kernel wants beside its operands, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workspace {
    /// One block all workers share for the length of the task.
    pub shared: usize,
    /// A block for each worker.
    pub per_worker: usize,
}

/// Why a kernel does not take a problem, for `explain`.
pub type Refusal = &'static str;

/// Of a row whose instructions are not to be used, or not there.
pub const NOT_ENABLED: Refusal = "instructions not enabled";

/// An operand that does not fit its problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgError {
    /// Too few elements.
    Short {
        /// which operand
        operand: &'static str,
        /// elements present
        have: usize,
        /// elements the problem reaches
        need: usize,
    },
    /// Destination and source share memory in a way the family forbids.
    Overlap {
        /// the source
        operand: &'static str,
    },
    /// An index names an element that does not exist.
    Place {
        /// the index
        place: i64,
        /// number of elements
        size: usize,
    },
    /// Shared workspace below what the kernel asked for.
    Workspace {
        /// bytes present
        have: usize,
        /// bytes asked for
        need: usize,
    },
}

impl std::fmt::Display for ArgError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short { operand, have, need } => {
                write!(f, "{operand} has {have} elements, the problem reaches {need}")
            }
            Self::Place { place, size } => write!(f, "index {place} is out of range of {size} elements"),
            Self::Overlap { operand } => write!(f, "dst overlaps {operand}"),
            Self::Workspace { have, need } => write!(f, "workspace of {have} bytes, {need} needed"),
        }
    }
}
impl std::error::Error for ArgError {}

/// `Ok` where `operand` has the elements its shape reaches.
pub fn check_len(operand: &'static str, have: usize, need: usize) -> Result<(), ArgError> {
    if have < need { Err(ArgError::Short { operand, have, need }) } else { Ok(()) }
}

/// `Ok` where the destination shares no byte with a source.
pub fn check_disjoint<S, D>(
    operand: &'static str,
    src: &Span<'_, S>,
    dst: &SpanMut<'_, D>,
) -> Result<(), ArgError> {
    if mem::overlap(&src.addresses(), &dst.addresses()) { Err(ArgError::Overlap { operand }) } else { Ok(()) }
}

/// `Ok` where the destination shares no byte with a source or is the very same elements (in place).
pub fn check_in_place<S, D>(
    operand: &'static str,
    (src, src_shape): (&Span<'_, S>, &Strided),
    (dst, dst_shape): (&SpanMut<'_, D>, &Strided),
) -> Result<(), ArgError> {
    let same =
        src.ptr().addr() == dst.ptr().addr() && src_shape == dst_shape && size_of::<S>() == size_of::<D>();
    if same { Ok(()) } else { check_disjoint(operand, src, dst) }
}

/// The function of a kernel.
///
/// Computes tiles `tiles` of phase `phase`. `shared` is the task's block, `scratch` the worker's, both of the sizes the
/// row's `workspace` names, 64-byte aligned, contents undefined at the start of the task.
///
/// Safety contract: the contract of [`Task::run`]; [`Family::check`] passed for these arguments; the CPU has the row's
/// `isa`.
pub type RunFn<F> = for<'p, 'a> unsafe fn(
    problem: &'p <F as Family>::Problem,
    args: &'p <F as Family>::Args<'a>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'p, u8>,
    scratch: SpanMut<'p, u8>,
);

/// A row of a family's table.
pub struct Kernel<F: Family> {
    /// `<isa>-<algorithm>[-<tile>]`, unique in the family, e.g. "avx512-direct-14x32".
    pub name: &'static str,
    /// What the CPU must have.
    pub isa: Isa,
    /// Whether the row computes this problem, strides included.
    pub supports: fn(&F::Problem) -> Result<(), Refusal>,
    /// Predicted time on one thread, in ns.
    pub ns: fn(&F::Problem, &Rates) -> f64,
    /// Number of phases.
    pub phases: fn(&F::Problem) -> usize,
    /// Tiles of a phase. Depends on the problem only: never on threads.
    pub tiles: fn(&F::Problem, usize) -> usize,
    /// Memory it wants.
    pub workspace: fn(&F::Problem) -> Workspace,
    /// The code. Private: reached through [`Kernel::bind`].
    pub(crate) run: RunFn<F>,
}

impl<F: Family> Kernel<F> {
    /// What computes its tiles.
    pub fn engine(&self) -> Engine {
        if self.isa.in_unit() { Engine::Unit } else { Engine::Core }
    }

    /// Takes a problem, as selection found it to.
    ///
    /// # Panics
    /// If this CPU lacks the row's instructions or the row does not support the problem: both are selection's to rule
    /// out.
    pub fn take(&'static self, problem: F::Problem) -> Taken<F> {
        let workspace = self.check(&problem);
        Taken { kernel: self, problem, workspace }
    }

    /// Checks the arguments against a problem and makes a task of them.
    ///
    /// # Errors
    /// An operand too short, overlapping or without workspace.
    ///
    /// # Panics
    /// As [`Kernel::take`].
    pub fn bind<'p, 'a>(
        &'static self,
        problem: &'p F::Problem,
        args: F::Args<'a>,
        shared: SpanMut<'a, u8>,
    ) -> Result<Bound<'p, 'a, F>, ArgError> {
        let workspace = self.check(problem);
        Bound::new(self, problem, workspace, args, shared)
    }

    fn check(&self, problem: &F::Problem) -> Workspace {
        assert!(available().has(self.isa), "{}: {} needs {}", F::NAME, self.name, self.isa);
        if let Err(why) = (self.supports)(problem) {
            panic!("{}: {} does not take {problem:?}: {why}", F::NAME, self.name);
        }
        (self.workspace)(problem)
    }
}

/// A problem that a row takes, with what is the same in every call.
pub struct Taken<F: Family> {
    kernel: &'static Kernel<F>,
    problem: F::Problem,
    workspace: Workspace,
}

impl<F: Family> Taken<F> {
    /// The row.
    pub fn kernel(&self) -> &'static Kernel<F> {
        self.kernel
    }

    /// Memory it wants.
    pub fn workspace(&self) -> Workspace {
        self.workspace
    }

    /// Checks arguments and makes a task of them.
    ///
    /// # Errors
    /// An operand too short, overlapping or without workspace.
    pub fn bind<'p, 'a>(
        &'p self,
        args: F::Args<'a>,
        shared: SpanMut<'a, u8>,
    ) -> Result<Bound<'p, 'a, F>, ArgError> {
        Bound::new(self.kernel, &self.problem, self.workspace, args, shared)
    }
}

/// What rows may need here: what this CPU has, and emulated matrix units where they are built in.
pub fn available() -> Isa {
    const EMULATED: Isa = if cfg!(any(test, feature = "emulated")) { Isa::EMULATED } else { Isa::SCALAR };
    static ISA: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
    *ISA.get_or_init(|| Isa::detect() | EMULATED)
}

/// A kernel with a problem and checked arguments: a [`Task`].
pub struct Bound<'p, 'a, F: Family> {
    kernel: &'static Kernel<F>,
    problem: &'p F::Problem,
    /// Of one worker.
    scratch: usize,
    args: F::Args<'a>,
    shared: SpanMut<'a, u8>,
}

impl<'p, 'a, F: Family> Bound<'p, 'a, F> {
    /// For a row that takes the problem and wants this workspace.
    fn new(
        kernel: &'static Kernel<F>,
        problem: &'p F::Problem,
        workspace: Workspace,
        args: F::Args<'a>,
        shared: SpanMut<'a, u8>,
    ) -> Result<Self, ArgError> {
        if shared.len() < workspace.shared {
            return Err(ArgError::Workspace { have: shared.len(), need: workspace.shared });
        }
        F::check(problem, &args)?;
        Ok(Self { kernel, problem, scratch: workspace.per_worker, args, shared })
    }
}

// SAFETY: rows keep the contract of `Task` (stated at `RunFn`), tested on every row by splitting tiles.
unsafe impl<F: Family> Task for Bound<'_, '_, F> {
    fn phases(&self) -> usize {
        (self.kernel.phases)(self.problem)
    }
    fn tiles(&self, phase: usize) -> usize {
        (self.kernel.tiles)(self.problem, phase)
    }
    fn scratch(&self) -> usize {
        self.scratch
    }
    fn engines(&self, _: usize) -> Engines {
        match self.kernel.engine() {
            Engine::Core => Engines::Cores,
            Engine::Unit => Engines::Units,
        }
    }
    unsafe fn run(&self, _: Engine, phase: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>) {
        // SAFETY: `bind` checked instructions and arguments, the caller keeps `Task::run`'s contract.
        unsafe { (self.kernel.run)(self.problem, &self.args, phase, tiles, self.shared, scratch) }
    }
}
