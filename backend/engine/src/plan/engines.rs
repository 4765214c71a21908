//! Which engine computes a step: cores, matrix units, or both, part by part.

use tandem_base::team::claim::{self, Share};
use tandem_base::{Engine, Pace};
use tandem_kernels::attention::{self, Attention, Pipeline};
use tandem_kernels::{Both, Choice, Divide, Family, Kernel, Rates, TeamRates, gemm, select};

use super::{About, Memory, Planner, Site, Work};
use crate::error::Error;
use crate::step::{Bind, BothStep, PipelineStep};

/// What both engines are predicted to gain at least, relative to the better one alone, to be worth meeting for.
const GAIN: f64 = 0.03;

/// What reports call an engine.
pub(super) fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Core => "cpu",
        Engine::Unit => "sme",
    }
}

/// The pick and its time on one thread, then what every other row answered.
pub(super) fn candidates<F: Family>(choice: &Choice<F>) -> String {
    let mut text = format!("{}: {}", choice.kernel.name, micros(choice.ns));
    for (name, answer) in choice.candidates.iter().filter(|(name, _)| *name != choice.kernel.name) {
        text += &match answer {
            Ok(ns) => format!("; {name} {}", micros(*ns)),
            Err(why) => format!("; {name} not: {why}"),
        };
    }
    text
}

/// A problem in parts, and what is predicted of it.
struct Together<F: Divide> {
    both: Both<F>,
    /// Until the last part is done, and until the choice alone is, in ns.
    finish: f64,
    alone: f64,
    /// Parts that units compute.
    of_units: usize,
}

impl Planner<'_> {
    /// As [`Planner::kernel`], by units and cores together where that is predicted to end soonest.
    pub fn divided<F: Divide, B: Bind<F> + 'static>(
        &mut self,
        site: Site<'_>,
        about: About<'_>,
        rows: &'static [Kernel<F>],
        problem: F::Problem,
        operands: B,
    ) -> Result<(), Error> {
        let rates = self.target.rates;
        let choice = self.alone(rows, &problem);
        let together =
            choice.as_ref().and_then(|choice| Some((choice, together(rows, &problem, choice, &rates)?)));
        let Some((choice, together)) = together else {
            return self.kernel(site, about, rows, problem, operands);
        };
        let cost = F::cost(&problem);
        let [unit, core] = together.both.rows().map(|row| row.name);
        let reason = format!(
            "{} of {} parts in the matrix unit, done after {} of {} threads, alone {} after {}; {}",
            together.of_units,
            together.both.parts(),
            micros(together.finish),
            rates.team.threads,
            choice.kernel.name,
            micros(together.alone),
            candidates(choice),
        );
        let work = Work { cost, ns: together.finish, reason };
        let memory = Memory { buffers: operands.buffers(), scratch: together.both.scratch() };
        let step = Box::new(BothStep { both: together.both, operands });
        self.push(site, about, (format!("{unit}+{core}"), "both"), work, memory, step);
        Ok(())
    }

    /// As [`Planner::kernel`], products in units and exponentials on cores where that is predicted to end soonest, on one
    /// thread as on several.
    pub fn pipelined<B: Bind<Attention> + 'static>(
        &mut self,
        site: Site<'_>,
        about: About<'_>,
        problem: attention::Problem,
        operands: B,
    ) -> Result<(), Error> {
        let (rates, isa) = (self.target.rates, self.target.isa);
        let choice = self.alone(attention::KERNELS, &problem);
        let pipeline = choice.as_ref().and_then(|choice| {
            let units = gemm::KERNELS.iter().filter(|row| row.engine() == Engine::Unit && isa.has(row.isa));
            let all = units.filter_map(|unit| Pipeline::new(problem.clone(), unit, choice.kernel).ok());
            let timed = all.map(|all| (all.ns(&rates), all)).min_by(|(a, _), (b, _)| a.total_cmp(b));
            let (finish, all) = timed.filter(|(ns, _)| *ns < choice.together_ns * (1.0 - GAIN))?;
            Some((choice, finish, all))
        });
        let Some((choice, finish, pipeline)) = pipeline else {
            return self.kernel(site, about, attention::KERNELS, problem, operands);
        };
        let (unit, core) = pipeline.rows();
        let reason = format!(
            "products of {} groups in the matrix unit, exponentials on cores, done after {} of {} threads, alone {} after \
             {}; {}",
            pipeline.groups(),
            micros(finish),
            rates.team.threads,
            choice.kernel.name,
            micros(choice.together_ns),
            candidates(choice),
        );
        let work = Work { cost: Attention::cost(&problem), ns: finish, reason };
        let workspace = pipeline.workspace();
        let shared = self.shared(workspace);
        let buffers = operands.buffers().into_iter().chain(shared.map(|s| s.buffer)).collect();
        let kernel = (format!("{}+{}", unit.name, core.name), "both");
        let step = Box::new(PipelineStep { pipeline, operands, shared });
        self.push(site, about, kernel, work, Memory { buffers, scratch: workspace.per_worker }, step);
        Ok(())
    }

    /// The row to do without where engines may share the step.
    fn alone<F: Family>(&self, rows: &'static [Kernel<F>], problem: &F::Problem) -> Option<Choice<F>> {
        let isa = self.target.isa;
        let may_share = self.target.share && self.trial.is_none() && isa != isa.without_units();
        may_share.then(|| select(rows, problem, isa, &self.target.rates)).flatten()
    }
}

/// The quickest row of each engine on parts of the problem, where that is predicted to be sooner done than the choice alone.
fn together<F: Divide>(
    rows: &'static [Kernel<F>],
    problem: &F::Problem,
    choice: &Choice<F>,
    rates: &Rates,
) -> Option<Together<F>> {
    if rates.team.threads < 2 {
        return None;
    }
    let quickest = |engine: Engine| {
        let answers = rows.iter().zip(&choice.candidates).filter(|(row, _)| row.engine() == engine);
        let taken = answers.filter_map(|(row, (_, answer))| Some((row, (*answer).ok()?)));
        taken.filter(|(row, _)| F::in_order(row)).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(row, _)| row)
    };
    let both = Both::new(problem.clone(), quickest(Engine::Unit)?, quickest(Engine::Core)?, rates).ok()?;
    let (finish, of_units) = finish(both.pace(), both.parts(), &rates.team);
    let bytes = F::cost(problem).bytes;
    // Memory is shared, whoever reads it.
    let finish = finish.max(if bytes > rates.unit.l2_bytes { bytes / rates.team.dram_gbs } else { 0.0 });
    let alone = choice.together_ns;
    (finish < alone * (1.0 - GAIN)).then_some(Together { both, finish, alone, of_units })
}

/// When the last of the parts is done, as threads claim them, and those that units compute.
fn finish(pace: Pace, parts: usize, team: &TeamRates) -> (f64, usize) {
    // A thread that drives a unit leaves its core; those that are left are as quick as all are on average.
    let slower = team.threads as f64 / team.cores;
    let pace = Pace { core: pace.core * slower, ..pace };
    let share = Share { units: team.units, cores: team.threads - team.units, pace };
    let (end, of_units) = claim::simulate(share, pace, parts);
    (end + team.hand_off_ns, of_units)
}

pub(super) fn micros(ns: f64) -> String {
    format!("{:.1} µs", ns / 1e3)
}
