//! Problems that units and cores compute together, each what it is best at: in a phase units multiply for one group, while
//! cores do for other groups what lies around the products.

#[cfg(test)]
pub(crate) mod testing;

use std::ops::Range;

use tandem_base::{Engine, Engines, Isa, SpanMut, Task};

use crate::gemm::{self, Gemm};
use crate::kernel::{ArgError, Family, Kernel, Rates, TeamRates, Workspace, available};

/// A problem in such a pipeline. Its bits are those of the row of cores, whoever computes what. Phase 0 prepares on cores; a
/// later phase's first tiles are units'.
pub trait Pipelined: Sized + Send + Sync + 'static {
    /// What is computed.
    type Of: Family;

    /// A problem's pipelines of all rows that take it and that `isa` has.
    fn all(problem: &<Self::Of as Family>::Problem, isa: Isa) -> Vec<Self>;

    /// What it was made for.
    fn problem(&self) -> &<Self::Of as Family>::Problem;

    /// Names of the row that units multiply with and of the row of cores.
    fn rows(&self) -> [&'static str; 2];

    /// What the CPU must have.
    fn isa(&self) -> Isa;

    /// Groups that go through.
    fn groups(&self) -> usize;

    /// Memory it wants.
    fn workspace(&self) -> Workspace;

    /// Predicted times.
    fn stages(&self, rates: &Rates) -> Stages;

    /// Number of phases.
    fn phases(&self) -> usize;

    /// Tiles of a phase: those of units, and all.
    fn tiles(&self, phase: usize) -> [usize; 2];

    /// Computes tiles of a phase. A piece writes what lies in the workspace for its group and stage, or results of its own, and
    /// no other stage of the same phase touches these.
    ///
    /// # Safety
    /// The contract of [`Task::run`]; the arguments passed [`Family::check`], `shared` and `scratch` are as large as
    /// [`Pipelined::workspace`] says, and the CPU has [`Pipelined::isa`].
    unsafe fn run(
        &self,
        args: &<Self::Of as Family>::Args<'_>,
        at: (Engine, usize, Range<usize>),
        shared: SpanMut<'_, u8>,
        scratch: SpanMut<'_, u8>,
    );

    /// Checks arguments and makes a task of them.
    ///
    /// # Errors
    /// An operand too short, overlapping or without workspace.
    ///
    /// # Panics
    /// If this CPU lacks the rows' instructions.
    fn bind<'p, 'a>(
        &'p self,
        args: <Self::Of as Family>::Args<'a>,
        shared: SpanMut<'a, u8>,
    ) -> Result<BoundPipeline<'p, 'a, Self>, ArgError> {
        let [unit, core] = self.rows();
        assert!(available().has(self.isa()), "{unit} and {core} need {}", self.isa());
        let need = self.workspace().shared;
        if shared.len() < need {
            return Err(ArgError::Workspace { have: shared.len(), need });
        }
        Self::Of::check(self.problem(), &args)?;
        Ok(BoundPipeline { all: self, args, shared })
    }
}

/// A pipeline with checked arguments: a [`Task`].
pub struct BoundPipeline<'p, 'a, P: Pipelined> {
    all: &'p P,
    args: <P::Of as Family>::Args<'a>,
    shared: SpanMut<'a, u8>,
}

// SAFETY: tiles of a phase touch memory of their own, as `Pipelined::run` says; tested on every pipeline by splitting.
unsafe impl<P: Pipelined> Task for BoundPipeline<'_, '_, P> {
    fn phases(&self) -> usize {
        self.all.phases()
    }
    fn tiles(&self, phase: usize) -> usize {
        self.all.tiles(phase)[1]
    }
    fn scratch(&self) -> usize {
        self.all.workspace().per_worker
    }
    fn engines(&self, phase: usize) -> Engines {
        match phase {
            0 => Engines::Cores,
            _ => Engines::Apart(self.all.tiles(phase)[0]),
        }
    }
    unsafe fn run(&self, engine: Engine, phase: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>) {
        // SAFETY: `bind` checked instructions, arguments and workspace, the caller keeps `Task::run`'s contract.
        unsafe { self.all.run(&self.args, (engine, phase, tiles), self.shared, scratch) }
    }
}

/// Rows of units that multiply.
pub(crate) fn units(isa: Isa) -> impl Iterator<Item = &'static Kernel<Gemm>> {
    gemm::KERNELS.iter().filter(move |row| row.engine() == Engine::Unit && isa.has(row.isa))
}

/// Times of a pipeline's stages, in ns on one thread.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// What cores do before the first group.
    pub first: f64,
    /// Products of a group.
    pub products: f64,
    /// What cores do for a group.
    pub around: f64,
    /// Groups.
    pub groups: usize,
    /// Phases.
    pub phases: usize,
}

impl Stages {
    /// Predicted time of a team: in every phase units, or all threads, are busy to the end; at both ends of the pipeline one
    /// group's stages have nothing beside them. Without overlap a phase is one engine's at a time.
    pub fn ns(&self, team: &TeamRates) -> f64 {
        let (drivers, cores) = Self::engines(team);
        let (products, around) = (self.products / drivers, self.around / cores);
        let together = products.max((self.products + self.around) / cores);
        let (phase, ends) = match (team.threads, team.overlap) {
            (..2, _) | (_, false) => (products + around, 0.0),
            _ => (together.min(products + around), products + around),
        };
        let hand_offs = if team.threads > 1 { self.phases as f64 * team.hand_off_ns } else { 0.0 };
        self.first / cores + self.groups as f64 * phase + ends + hand_offs
    }

    /// How long cores are busy before the first group, units with products, and cores with what is around them.
    pub fn busy(&self, team: &TeamRates) -> [f64; 3] {
        let ((drivers, cores), groups) = (Self::engines(team), self.groups as f64);
        [self.first / cores, groups * self.products / drivers, groups * self.around / cores]
    }

    /// Threads that drive units, and cores.
    fn engines(team: &TeamRates) -> (f64, f64) {
        (team.units.min(team.threads).max(1) as f64, team.cores)
    }
}
