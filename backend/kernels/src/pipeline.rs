//! Problems that units and cores compute together, each what it is best at: in a phase units multiply for one group, while
//! cores do for other groups what lies around the products.

#[cfg(test)]
pub(crate) mod testing;

use std::ops::Range;

use tandem_base::{Engine, Engines, Isa, Pace, SpanMut, Task};

use crate::gemm::{self, Gemm};
use crate::kernel::{ArgError, Family, Kernel, Rates, TeamRates, Workspace, available};
use crate::paced::Paced;

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

    /// Checks arguments and makes a task of them, in which cores help with the units' tiles as their pace has it, or not at all.
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
        paced: Option<&'p Paced>,
    ) -> Result<BoundPipeline<'p, 'a, Self>, ArgError> {
        let [unit, core] = self.rows();
        assert!(available().has(self.isa()), "{unit} and {core} need {}", self.isa());
        let need = self.workspace().shared;
        if shared.len() < need {
            return Err(ArgError::Workspace { have: shared.len(), need });
        }
        Self::Of::check(self.problem(), &args)?;
        Ok(BoundPipeline { all: self, args, shared, paced })
    }
}

/// A pipeline with checked arguments: a [`Task`].
pub struct BoundPipeline<'p, 'a, P: Pipelined> {
    all: &'p P,
    args: <P::Of as Family>::Args<'a>,
    shared: SpanMut<'a, u8>,
    paced: Option<&'p Paced>,
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
        let first = if phase > 0 { self.all.tiles(phase)[0] } else { 0 };
        match self.paced {
            _ if first == 0 => Engines::Cores,
            Some(paced) => Engines::First(first, paced.pace()),
            None => Engines::Apart(first),
        }
    }
    fn seen(&self, pace: Pace) {
        if let Some(paced) = self.paced {
            paced.see(pace);
        }
    }
    unsafe fn run(&self, engine: Engine, phase: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>) {
        if let Some(paced) = self.paced {
            let [first, _] = self.all.tiles(phase);
            paced.count(engine, first.clamp(tiles.start, tiles.end) - tiles.start);
        }
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
    /// Products of a group in a unit.
    pub products: f64,
    /// The same on a core.
    pub on_core: f64,
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
        let (phase, ends) = match (team.threads, team.overlap) {
            (..2, _) | (_, false) => (products + around, 0.0),
            _ => (self.phase(team), products + around),
        };
        let hand_offs = if team.threads > 1 { self.phases as f64 * team.hand_off_ns } else { 0.0 };
        self.first / cores + self.groups as f64 * phase + ends + hand_offs
    }

    /// A phase with both engines: cores that are through with what is around products help with these, and the other way round.
    fn phase(&self, team: &TeamRates) -> f64 {
        let (drivers, cores) = Self::engines(team);
        let others = (cores * (1.0 - drivers / team.threads as f64)).max(f64::MIN_POSITIVE);
        let helped = (1.0 + self.around / self.on_core) / (drivers / self.products + others / self.on_core);
        let helped =
            if helped * others > self.around { helped } else { (self.products + self.around) / cores };
        helped.min(self.products / drivers + self.around / cores)
    }

    /// How long cores are busy before the first group, units with products, cores with what is around them, and with products.
    pub fn busy(&self, team: &TeamRates) -> [f64; 4] {
        let ((drivers, cores), groups, share) = (Self::engines(team), self.groups as f64, self.share(team));
        let products = groups * self.products * share / drivers;
        let helped = groups * self.on_core * (1.0 - share) / cores;
        [self.first / cores, products, groups * self.around / cores, helped]
    }

    /// What one of a group's `tiles` of units takes.
    pub fn pace(&self, tiles: usize) -> Pace {
        let tiles = tiles.max(1) as f64;
        Pace { core: self.on_core / tiles, unit: self.products / tiles }
    }

    /// Of the products, those that units compute.
    pub fn share(&self, team: &TeamRates) -> f64 {
        (self.phase(team) * Self::engines(team).0 / self.products).min(1.0)
    }

    /// Threads that drive units, and cores.
    fn engines(team: &TeamRates) -> (f64, f64) {
        (team.units.min(team.threads).max(1) as f64, team.cores)
    }
}
