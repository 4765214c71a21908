//! Picking a row: the one that threads are predicted to be done with first.

use tandem_base::Isa;

use crate::kernel::{Family, Kernel, NOT_ENABLED, Refusal};
use crate::rates::Rates;

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
