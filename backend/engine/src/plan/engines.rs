//! Which engine computes a step: cores, matrix units, or both, part by part.

use tandem_base::team::claim::{self, Played, Real, Share};
use tandem_base::{Engine, Isa, Pace};
use tandem_kernels::attention::{self, Attention};
use tandem_kernels::conv::{self, Conv};
use tandem_kernels::{
    Both, Choice, Cost, Divide, Family, Kernel, NOT_ENABLED, Paced, Pipelined, Rates, Refusal, Stages, Taken,
    TeamRates, Workspace, select,
};

use super::{About, Memory, Planner, Site, Work};
use crate::error::Error;
use crate::report::{Category, PartReport};
use crate::step::{Bind, BothStep, EitherStep, PipelineStep};

/// What both engines are predicted to gain at least, relative to the better one alone, to be worth meeting for.
const GAIN: f64 = 0.03;

/// What reports call an engine.
pub(crate) fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Core => "cpu",
        Engine::Unit => "sme",
    }
}

/// The pick and its time on one thread, then what every other row answered that has the instructions it needs.
pub(super) fn candidates<F: Family>(choice: &Choice<F>) -> String {
    let mut text = format!("{}: {}", choice.kernel.name, micros(choice.ns));
    let told = |answer: &Result<f64, Refusal>| *answer != Err(NOT_ENABLED);
    let others = choice.candidates.iter().filter(|(name, _)| *name != choice.kernel.name);
    for (name, answer) in others.filter(|(_, answer)| told(answer)) {
        text += &match answer {
            Ok(ns) => format!("; {name} {}", micros(*ns)),
            Err(why) => format!("; {name} not: {why}"),
        };
    }
    text
}

/// A problem in parts, and what is predicted of it.
pub(crate) struct Together<F: Divide> {
    both: Both<F>,
    /// Until the last part is done, and until the choice alone is, in ns.
    pub finish: f64,
    alone: f64,
    played: Played,
}

impl<F: Divide> Together<F> {
    /// Whether it is worth meeting for.
    pub fn pays(&self) -> bool {
        self.finish < self.alone * (1.0 - GAIN)
    }

    /// Of the parts, those that units compute.
    pub fn share(&self) -> f64 {
        self.played.of_units as f64 / self.both.parts() as f64
    }

    /// "unit+core"
    pub fn name(&self) -> String {
        let [unit, core] = self.both.rows().map(|row| row.name);
        format!("{unit}+{core}")
    }

    /// What each engine does; where memory is what takes longest, both wait for it to the end.
    fn parts(&self, category: Category) -> Vec<PartReport> {
        let stretch = self.finish / self.played.end().max(f64::MIN_POSITIVE);
        let of = |engine, ns: f64, share| {
            let engine = name(engine);
            PartReport { name: "", engine, category, start_ns: 0.0, ns: ns * stretch, share }
        };
        let (cores, units, share) = (self.played.cores, self.played.units, self.share());
        vec![of(Engine::Unit, units, share), of(Engine::Core, cores, 1.0 - share)]
    }
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
        let Some(choice) = self.alone(rows, &problem) else {
            return self.kernel(site, about, rows, problem, operands);
        };
        let together = together(rows, &problem, &choice, &rates);
        let Some(mut together) = together.filter(Together::pays) else {
            return match either(rows, &choice).filter(|_| !self.target.fixed && F::EXACT) {
                Some(found) => self.on_either(site, about, &choice, found, problem, operands),
                None => self.kernel(site, about, rows, problem, operands),
            };
        };
        if self.target.fixed || !F::EXACT {
            together.both.settle(together.played.of_units);
        }
        let cost = F::cost(&problem);
        let kernel = (together.name(), "both");
        let reason = format!(
            "{}{} of {} parts in the matrix unit, done after {} of {} threads, alone {} after {}; {}",
            if self.target.fixed || !F::EXACT { "always " } else { "" },
            together.played.of_units,
            together.both.parts(),
            micros(together.finish),
            rates.team.threads,
            choice.kernel.name,
            micros(together.alone),
            candidates(&choice),
        );
        let parts = together.parts(about.category);
        let work = Work { cost, ns: together.finish, parts, reason };
        let memory = Memory { buffers: operands.buffers(), scratch: together.both.scratch() };
        let share = together.share();
        let step = Box::new(BothStep { both: together.both, operands, share });
        self.push(site, about, kernel, work, memory, step);
        Ok(())
    }

    /// Appends a step of one engine, the choice's until it is seen to be the slower one.
    fn on_either<F: Divide, B: Bind<F> + 'static>(
        &mut self,
        site: Site<'_>,
        about: About<'_>,
        choice: &Choice<F>,
        ([core, unit], pace): ([&'static Kernel<F>; 2], Pace),
        problem: F::Problem,
        operands: B,
    ) -> Result<(), Error> {
        let (cost, engine) = (F::cost(&problem), name(choice.kernel.engine()));
        let reason = format!("while it is seen to be the quicker engine; {}", candidates(choice));
        let work = Work::of_one(cost, (choice.together_ns, engine), about.category, reason);
        let (cores, units) = (core.take(problem.clone()), unit.take(problem));
        let all = [&cores, &units].map(Taken::workspace);
        let most = |of: fn(&Workspace) -> usize| all.iter().map(of).max().unwrap_or(0);
        let workspace = Workspace { shared: most(|w| w.shared), per_worker: most(|w| w.per_worker) };
        let shared = self.shared(workspace);
        let buffers = operands.buffers().into_iter().chain(shared.map(|s| s.buffer)).collect();
        let step = Box::new(EitherStep { cores, units, operands, shared, paced: Paced::new(pace) });
        let kernel = (choice.kernel.name.to_owned(), engine);
        self.push(site, about, kernel, work, Memory { buffers, scratch: workspace.per_worker }, step);
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
        let (rows, isa, rates) = (attention::KERNELS, self.target.isa, self.target.rates);
        let choice = self.with_units(rows, &problem);
        let by = choice.as_ref().map_or(0.0, |choice| choice.together_ns);
        match choice
            .and_then(|choice| Some((choice, pipeline::<attention::Pipeline>(&problem, isa, &rates, by)?)))
        {
            Some((choice, found)) => {
                self.pipelined(site, about, &choice, Attention::cost(&problem), found, operands)
            }
            None => self.kernel(site, about, rows, problem, operands),
        }
    }

    /// A convolution, likewise, or in parts.
    pub fn convolved<T: conv::Rows, B: Bind<Conv<T>> + 'static>(
        &mut self,
        site: Site<'_>,
        about: About<'_>,
        problem: conv::Problem,
        operands: B,
    ) -> Result<(), Error> {
        let (rows, isa, rates) = (T::rows(), self.target.isa, self.target.rates);
        let choice = self.with_units(rows, &problem);
        let by = choice.as_ref().map_or(0.0, |choice| choice.together_ns);
        let found = choice
            .and_then(|choice| Some((choice, pipeline::<conv::Pipeline<T>>(&problem, isa, &rates, by)?)));
        let sooner = |(choice, (finish, _)): &(Choice<Conv<T>>, (f64, conv::Pipeline<T>))| {
            let parts = || together(rows, &problem, choice, &rates);
            self.trial.is_some() || parts().is_none_or(|parts| *finish < parts.finish)
        };
        match found.filter(sooner) {
            Some((choice, found)) => {
                self.pipelined(site, about, &choice, Conv::<T>::cost(&problem), found, operands)
            }
            None => self.divided(site, about, rows, problem, operands),
        }
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
        let (stages, team) = (pipeline.stages(&self.target.rates), self.target.rates.team);
        let share = stages.share(&team);
        let reason = format!(
            "products of {} groups in the matrix unit, what lies around them on cores, done after {} of {} threads, alone {} \
             after {}; {}",
            pipeline.groups(),
            micros(finish),
            team.threads,
            choice.kernel.name,
            micros(choice.together_ns),
            candidates(choice),
        );
        let parts = parts(&stages, &team, about.category);
        let work = Work { cost, ns: finish, parts, reason };
        let paced = (!self.target.fixed).then(|| Paced::new(stages.pace(most_of_units(&pipeline))));
        let workspace = pipeline.workspace();
        let shared = self.shared(workspace);
        let buffers = operands.buffers().into_iter().chain(shared.map(|s| s.buffer)).collect();
        let kernel = (format!("{unit}+{core}"), "both");
        let step = Box::new(PipelineStep { pipeline, operands, shared, paced, share });
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

/// The quickest pipeline of a problem with its predicted time, where that is sooner than after `by` ns.
pub(crate) fn pipeline<P: Pipelined>(
    problem: &<P::Of as Family>::Problem,
    isa: Isa,
    rates: &Rates,
    by: f64,
) -> Option<(f64, P)> {
    let all = P::all(problem, isa).into_iter();
    let timed = all.map(|pipeline| (pipeline.stages(rates).ns(&rates.team), pipeline));
    timed.min_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(ns, _)| *ns < by * (1.0 - GAIN))
}

/// Tiles of units in a phase that has most of them.
fn most_of_units<P: Pipelined>(pipeline: &P) -> usize {
    (1..pipeline.phases()).map(|phase| pipeline.tiles(phase)[0]).max().unwrap_or(0)
}

/// What each engine does of a pipeline, whose arithmetic is that of its products.
fn parts(stages: &Stages, team: &TeamRates, category: Category) -> Vec<PartReport> {
    let ([first, products, around, helped], units) = (stages.busy(team), stages.share(team));
    let part = |name, engine, start_ns, ns, share| {
        let engine = self::name(engine);
        PartReport { name, engine, category, start_ns, ns, share }
    };
    let mut parts = vec![
        part("before", Engine::Core, 0.0, first, 0.0),
        part("products", Engine::Unit, first, products, units),
        part("around", Engine::Core, first, around, 0.0),
    ];
    if helped > 0.0 {
        parts.push(part("products", Engine::Core, first + around, helped, 1.0 - units));
    }
    parts
}

/// The quickest row of each engine on parts of the problem, where they can share it.
pub(crate) fn together<F: Divide>(
    rows: &'static [Kernel<F>],
    problem: &F::Problem,
    choice: &Choice<F>,
    rates: &Rates,
) -> Option<Together<F>> {
    if rates.team.threads < 2 || !rates.team.overlap {
        return None;
    }
    let [core, unit] = quickest(rows, choice)?;
    let both = Both::new(problem.clone(), unit, core, rates).ok()?;
    let played = play(both.paced().pace(), both.parts(), &rates.team);
    let finish = played.end() + rates.team.hand_off_ns;
    let bytes = F::cost(problem).bytes;
    // Memory is shared, whoever reads it.
    let finish = finish.max(if bytes > rates.unit.l2_bytes { bytes / rates.team.dram_gbs } else { 0.0 });
    Some(Together { both, finish, alone: choice.together_ns, played })
}

/// The quickest row of cores and of units, of those whose sums are alike.
fn quickest<F: Divide>(rows: &'static [Kernel<F>], choice: &Choice<F>) -> Option<[&'static Kernel<F>; 2]> {
    let of = |engine: Engine| {
        let answers = rows.iter().zip(&choice.candidates).filter(|(row, _)| row.engine() == engine);
        let taken = answers.filter_map(|(row, (_, answer))| Some((row, (*answer).ok()?)));
        taken.filter(|(row, _)| F::shares(row)).min_by(|a, b| a.1.total_cmp(&b.1)).map(|(row, _)| row)
    };
    Some([of(Engine::Core)?, of(Engine::Unit)?])
}

/// The rows that may take each other's place, one of them the choice, and what they take the team.
fn either<F: Divide>(
    rows: &'static [Kernel<F>],
    choice: &Choice<F>,
) -> Option<([&'static Kernel<F>; 2], Pace)> {
    let [core, unit] = quickest(rows, choice)?;
    let ns = |row: &Kernel<F>| choice.candidates.iter().find(|(name, _)| *name == row.name)?.1.ok();
    // Where cores would rather take a row whose sums differ, the other one takes them longer.
    let least =
        rows.iter().filter(|row| row.engine() == Engine::Core).filter_map(ns).min_by(f64::total_cmp)?;
    let pace = Pace { core: choice.alone[0]? * ns(core)? / least, unit: choice.alone[1]? };
    let known = [core, unit].iter().any(|row| row.name == choice.kernel.name) && core.isa != Isa::SCALAR;
    known.then_some(([core, unit], pace))
}

/// How the parts are done, as threads claim them.
fn play(pace: Pace, parts: usize, team: &TeamRates) -> Played {
    // A thread that drives a unit leaves its core; those that are left are as quick as all are on average.
    let slower = team.threads as f64 / team.cores;
    let pace = Pace { core: pace.core * slower, ..pace };
    let share = Share::alike(team.units, team.threads - team.units, pace);
    claim::simulate(share, &Real { paces: share.paces, cores: (0, 0.0) }, parts)
}

pub(super) fn micros(ns: f64) -> String {
    format!("{:.1} µs", ns / 1e3)
}
