//! Which engine computes a step: cores, matrix units, or both, part by part.

use tandem_base::team::claim::{self, Share};
use tandem_base::{Engine, Pace};
use tandem_kernels::attention::{self, Attention};
use tandem_kernels::conv::{self, Conv};
use tandem_kernels::{Both, Choice, Cost, Divide, Family, Kernel, Pipelined, Rates, TeamRates, select};

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

    /// Attention, by units and cores together where that is predicted to end soonest, on one thread as on several.
    pub fn attended<B: Bind<Attention> + 'static>(
        &mut self,
        site: Site<'_>,
        about: About<'_>,
        problem: attention::Problem,
        operands: B,
    ) -> Result<(), Error> {
        let rows = attention::KERNELS;
        let choice = self.with_units(rows, &problem);
        let by = choice.as_ref().map_or(0.0, |choice| choice.together_ns);
        match choice.and_then(|choice| Some((choice, self.pipeline::<attention::Pipeline>(&problem, by)?))) {
            Some((choice, found)) => {
                self.pipelined(site, about, &choice, Attention::cost(&problem), found, operands)
            }
            None => self.kernel(site, about, rows, problem, operands),
        }
    }

    /// A convolution of f32, likewise, or in parts.
    pub fn convolved<B: Bind<Conv> + 'static>(
        &mut self,
        site: Site<'_>,
        about: About<'_>,
        problem: conv::Problem,
        operands: B,
    ) -> Result<(), Error> {
        let rows = conv::KERNELS;
        let choice = self.with_units(rows, &problem);
        let by = choice.as_ref().map_or(0.0, |choice| {
            let together = together(rows, &problem, choice, &self.target.rates);
            together.map_or(choice.together_ns, |together| together.finish)
        });
        match choice.and_then(|choice| Some((choice, self.pipeline::<conv::Pipeline>(&problem, by)?))) {
            Some((choice, found)) => self.pipelined(site, about, &choice, <Conv>::cost(&problem), found, operands),
            None => self.divided(site, about, rows, problem, operands),
        }
    }

    /// The quickest pipeline, where it is predicted to be done sooner than after `by` ns.
    fn pipeline<P: Pipelined>(&self, problem: &<P::Of as Family>::Problem, by: f64) -> Option<(f64, P)> {
        let all = P::all(problem, self.target.isa).into_iter();
        let timed = all.map(|pipeline| (pipeline.ns(&self.target.rates), pipeline));
        timed.min_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(ns, _)| *ns < by * (1.0 - GAIN))
    }

    /// Appends a pipeline's step, or its price to a trial's.
    fn pipelined<P: Pipelined, B: Bind<P::Of> + 'static>(
        &mut self,
        site: Site<'_>,
        about: About<'_>,
        choice: &Choice<P::Of>,
        cost: Cost,
        (finish, pipeline): (f64, P),
        operands: B,
    ) -> Result<(), Error> {
        if let Some(ns) = &mut self.trial {
            // The team's time counts for as much as it does without.
            *ns += finish * choice.price / choice.together_ns;
            return Ok(());
        }
        let [unit, core] = pipeline.rows();
        let reason = format!(
            "products of {} groups in the matrix unit, what lies around them on cores, done after {} of {} threads, alone {} \
             after {}; {}",
            pipeline.groups(),
            micros(finish),
            self.target.rates.team.threads,
            choice.kernel.name,
            micros(choice.together_ns),
            candidates(choice),
        );
        let work = Work { cost, ns: finish, reason };
        let workspace = pipeline.workspace();
        let shared = self.shared(workspace);
        let buffers = operands.buffers().into_iter().chain(shared.map(|s| s.buffer)).collect();
        let kernel = (format!("{unit}+{core}"), "both");
        let step = Box::new(PipelineStep { pipeline, operands, shared });
        self.push(site, about, kernel, work, Memory { buffers, scratch: workspace.per_worker }, step);
        Ok(())
    }

    /// The row to do without where engines may share the step.
    fn alone<F: Family>(&self, rows: &'static [Kernel<F>], problem: &F::Problem) -> Option<Choice<F>> {
        self.with_units(rows, problem).filter(|_| self.trial.is_none())
    }

    /// The same, on trial as well.
    fn with_units<F: Family>(&self, rows: &'static [Kernel<F>], problem: &F::Problem) -> Option<Choice<F>> {
        let isa = self.target.isa;
        let may_share = self.target.share && isa != isa.without_units();
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
