//! A kernel is a descriptor plus one function; a family is what its kernels compute.

use std::fmt::Debug;
use std::ops::Range;

use tandem_base::{Engine, Engines, Isa, Span, SpanMut, Strided, Task, mem};

use crate::epilogue::Epilogue;
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

/// Rates of one thread of a machine, from which rows predict their time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Multiply-adds at the widest enabled vectors, in GFLOP/s.
    pub fma_gflops: f64,
    /// Vector element-wise work out of L1/L2, in Gelement/s.
    pub vector_gelems: f64,
    /// Bandwidth out of L2, in GB/s.
    pub l2_gbs: f64,
    /// Bandwidth out of memory, in GB/s: bytes read and as many written.
    pub dram_gbs: f64,
    /// Bandwidth of reads alone out of memory, in GB/s.
    pub read_gbs: f64,
    /// Bytes that stay in the caches a core reaches; more come from memory.
    pub l2_bytes: f64,
    /// Of the matrix unit the thread reaches, where there is one.
    pub unit: UnitRates,
    /// Of all threads that share an execute.
    pub team: TeamRates,
}

/// What the threads that share an execute reach together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TeamRates {
    /// Number of threads.
    pub threads: usize,
    /// Their cores, in terms of the fastest one.
    pub cores: f64,
    /// Matrix units they drive, at most one each.
    pub units: usize,
    /// Bandwidth out of memory that cores and units share, in GB/s.
    pub dram_gbs: f64,
    /// From a task's start to the first tile of a thread that polls, in ns.
    pub hand_off_ns: f64,
    /// What a step takes one thread beside its work, in ns.
    pub step_ns: f64,
    /// Whether a step may keep cores and units busy at the same time.
    pub overlap: bool,
}

impl Default for TeamRates {
    /// One thread.
    fn default() -> Self {
        Self {
            threads: 1,
            cores: 1.0,
            units: 1,
            dram_gbs: 12.0,
            hand_off_ns: 500.0,
            step_ns: 1000.0,
            overlap: true,
        }
    }
}

impl TeamRates {
    /// What one more step costs, in ns: entering it, and threads that meet before and behind it.
    pub fn another_ns(&self) -> f64 {
        self.step_ns + if self.threads > 1 { 2.0 * self.hand_off_ns } else { 0.0 }
    }
}

/// Rates of a matrix unit that one thread drives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitRates {
    /// Multiply-adds of f32 outer products, in GFLOP/s.
    pub f32_gflops: f64,
    /// Of outer products of 16-bit floats, summed in f32.
    pub f16_gflops: f64,
    /// Of outer products of i8, in GOP/s.
    pub i8_gops: f64,
    /// Multiply-adds of multi-vector instructions into ZA, in GFLOP/s of f32.
    pub vector_gflops: f64,
    /// Elements to or from a slab, in Gelement/s.
    pub copy_gelems: f64,
    /// Bandwidth out of an L2 that holds `l2_bytes`, in GB/s.
    pub l2_gbs: f64,
    /// Bandwidth out of memory, in GB/s.
    pub dram_gbs: f64,
    /// Bytes that stay in L2.
    pub l2_bytes: f64,
    /// Time to enter and leave streaming mode, in ns.
    pub entry_ns: f64,
}

impl Default for Rates {
    /// A middling AVX-512 core; replaced by what a device profile says.
    fn default() -> Self {
        Self {
            fma_gflops: 110.0,
            vector_gelems: 8.0,
            l2_gbs: 80.0,
            dram_gbs: 12.0,
            read_gbs: 10.0,
            l2_bytes: 1e6,
            unit: UnitRates::default(),
            team: TeamRates::default(),
        }
    }
}

impl Default for UnitRates {
    /// An Apple M4's unit as published; entering streaming mode is assumed, copies are of counted instructions.
    fn default() -> Self {
        Self {
            f32_gflops: 1900.0,
            f16_gflops: 1900.0,
            i8_gops: 3800.0,
            vector_gflops: 240.0,
            copy_gelems: 18.0,
            l2_gbs: 400.0,
            dram_gbs: 73.0,
            l2_bytes: 3e6,
            entry_ns: 100.0,
        }
    }
}

impl UnitRates {
    /// Time to read `bytes`, in ns.
    pub fn read_ns(&self, bytes: f64) -> f64 {
        bytes / if bytes <= self.l2_bytes { self.l2_gbs } else { self.dram_gbs }
    }

    /// Multiply-adds of outer products of floats of so many bytes, in GFLOP/s.
    pub fn gflops(&self, bytes: usize) -> f64 {
        if bytes == 2 { self.f16_gflops } else { self.f32_gflops }
    }
}

impl Rates {
    /// Share of `bytes` that comes from memory: none where L2 holds them, all where it holds less than half, since what was
    /// used last is overwritten by what comes next.
    fn spilled(&self, bytes: f64) -> f64 {
        (bytes / self.l2_bytes - 1.0).clamp(0.0, 1.0)
    }

    /// Time to stream `bytes` through one thread, about as many read as written, in ns.
    pub fn stream_ns(&self, bytes: f64) -> f64 {
        let share = self.spilled(bytes);
        bytes * ((1.0 - share) / self.l2_gbs + share / self.dram_gbs)
    }

    /// Time to read `bytes` through one thread that writes far less, in ns.
    pub fn read_ns(&self, bytes: f64) -> f64 {
        let share = self.spilled(bytes);
        bytes * ((1.0 - share) / self.l2_gbs + share / self.read_gbs)
    }

    /// Time of what follows a product of so many elements, in ns.
    pub fn epilogue_ns(&self, epilogue: &Epilogue, elements: usize) -> f64 {
        epilogue.work() * elements as f64 / self.vector_gelems
    }

    /// Time a product's result of `bytes` takes in addition if it does not stay in L2, in ns: stores that fill a cache do not
    /// hide behind arithmetic.
    pub fn written_ns(&self, bytes: f64) -> f64 {
        self.spilled(bytes) * bytes / self.dram_gbs
    }

    /// Time of a product whose arithmetic takes `compute` ns, in ns. Its constant panels of `bytes` come from memory at first,
    /// since all of a model's constants come by between two executes, and once a part of the positions if they do not stay
    /// in L2; arithmetic on `strips` of positions follows, of which each part's first waits.
    pub fn product_ns(&self, compute: f64, bytes: f64, strips: usize, parts: usize) -> f64 {
        let passes = if bytes <= self.l2_bytes { 1.0 } else { parts as f64 };
        let waiting = compute * (passes / strips.max(1) as f64).min(1.0);
        compute - waiting + waiting.max(passes * bytes / self.read_gbs)
    }

    /// Time all threads take for what takes one `ns` and moves `bytes`, in `tiles` at most at a time and with a hand-off a
    /// phase, in ns. Memory is shared, whoever waits for it.
    pub fn together_ns(&self, engine: Engine, ns: f64, bytes: f64, tiles: usize, phases: usize) -> f64 {
        let team = &self.team;
        let threads = tiles.min(if engine == Engine::Unit { team.units } else { team.threads });
        if threads < 2 {
            return ns;
        }
        let waits = ns < 1.5 * self.stream_ns(bytes);
        let engines = match engine {
            Engine::Unit => threads as f64,
            Engine::Core if waits => team.cores.min((team.dram_gbs / self.dram_gbs).max(1.0)),
            Engine::Core => team.cores,
        };
        let out_of_memory = self.spilled(bytes) * bytes / team.dram_gbs;
        (ns / engines.min(threads as f64)).max(out_of_memory) + phases as f64 * team.hand_off_ns
    }
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

/// The supported row that threads are predicted to be done with first, and what every row answered.
pub struct Choice<F: Family> {
    /// The pick.
    pub kernel: &'static Kernel<F>,
    /// Its predicted time on one thread, in ns.
    pub ns: f64,
    /// On all threads, in ns.
    pub together_ns: f64,
    /// What it counts for against other problems' picks: a core's time, in ns, and of a unit's time what cores would have
    /// done of this problem meanwhile.
    pub price: f64,
    /// On all threads, the quickest row of cores and the quickest of units, in ns.
    pub alone: [Option<f64>; 2],
    /// Every row with its predicted time or the reason it was passed over.
    pub candidates: Vec<(&'static str, Result<f64, Refusal>)>,
}

/// A row with its predicted time on one thread and on all, in ns.
type Timed<F> = (&'static Kernel<F>, f64, f64);

/// Picks a row for a problem: a pure function of table, problem, instruction set and rates.
///
/// Returns `None` only for a table without a scalar row that takes the problem.
pub fn select<F: Family>(
    rows: &'static [Kernel<F>],
    problem: &F::Problem,
    isa: Isa,
    rates: &Rates,
) -> Option<Choice<F>> {
    let mut candidates = Vec::with_capacity(rows.len());
    let quickest = quickest(rows, problem, isa, rates, |row, answer| candidates.push((row.name, answer)));
    let alone = quickest.map(|timed| timed.map(|(_, _, together)| together));
    let ((kernel, ns, together_ns), price) = sooner(quickest, rates)?;
    Some(Choice { kernel, ns, together_ns, price, alone, candidates })
}

/// [`Choice::price`] of what [`select`] picks.
pub fn price<F: Family>(
    rows: &'static [Kernel<F>],
    problem: &F::Problem,
    isa: Isa,
    rates: &Rates,
) -> Option<f64> {
    sooner(quickest(rows, problem, isa, rates, |_, _| {}), rates).map(|(_, price)| price)
}

/// The quickest row of cores and of units; `heard` is told what each row answers.
fn quickest<F: Family>(
    rows: &'static [Kernel<F>],
    problem: &F::Problem,
    isa: Isa,
    rates: &Rates,
    mut heard: impl FnMut(&'static Kernel<F>, Result<f64, Refusal>),
) -> [Option<Timed<F>>; 2] {
    let mut best: [Option<(&'static Kernel<F>, f64)>; 2] = [None; 2];
    for row in rows {
        let answer = if isa.has(row.isa) {
            (row.supports)(problem).map(|()| (row.ns)(problem, rates))
        } else {
            Err(NOT_ENABLED)
        };
        heard(row, answer);
        let best = &mut best[row.engine() as usize];
        if let Ok(ns) = answer
            && best.is_none_or(|(_, least)| ns < least)
        {
            *best = Some((row, ns));
        }
    }
    best.map(|best| {
        let (kernel, ns) = best?;
        if rates.team.threads < 2 {
            return Some((kernel, ns, ns));
        }
        let phases = (kernel.phases)(problem);
        let tiles = (0..phases).map(|phase| (kernel.tiles)(problem, phase)).max().unwrap_or(0);
        Some((kernel, ns, rates.together_ns(kernel.engine(), ns, F::cost(problem).bytes, tiles, phases)))
    })
}

/// The one done first, with its price.
fn sooner<F: Family>([core, unit]: [Option<Timed<F>>; 2], rates: &Rates) -> Option<(Timed<F>, f64)> {
    // What cores gain by being several, here.
    let gain = core.map_or(rates.team.cores, |(_, ns, together)| ns / together);
    let core = core.map(|row| (row, row.1));
    let unit = unit.map(|row| (row, gain * row.2));
    core.into_iter().chain(unit).min_by(|(a, _), (b, _)| a.2.total_cmp(&b.2))
}
