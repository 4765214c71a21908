//! What every op costs for candidates of its operands, and every conversion.

use tandem_base::Strided;
use tandem_schemas::program::OpT;

use super::choices::{self, Choices};
use crate::ops;
use crate::plan::Planner;

/// Most combinations of candidates an op is priced for; beyond, the last candidates of what has most are left out.
const MOST: usize = 64;

/// A conversion counts for so much more than its prediction, one more step included, as it and what it gains are no more
/// than predicted.
const MARGIN: f64 = 1.5;

/// Predicted ns of an op, or of its part that moves one value, for candidates of what it reads and writes.
#[derive(Clone, Debug)]
pub(crate) struct Price {
    /// Index of the op.
    pub op: usize,
    /// What it reads, each once, then what it writes.
    pub values: Vec<usize>,
    /// Candidates of each that were priced.
    pub sizes: Vec<usize>,
    /// Infinite where the op cannot be planned; the last value's candidates fastest.
    pub ns: Vec<f64>,
}

impl Price {
    /// For a candidate of each value.
    pub fn at(&self, picks: &[usize]) -> f64 {
        if picks.iter().zip(&self.sizes).any(|(pick, size)| pick >= size) {
            return f64::INFINITY;
        }
        self.ns[self.sizes.iter().zip(picks).fold(0, |at, (size, pick)| at * size + pick)]
    }
}

/// What an op reads, each value once.
pub(crate) fn reads(op: &OpT) -> Vec<usize> {
    let all = ops::operator(&op.kind).map_or_else(Vec::new, |o| o.reads().values);
    let mut reads: Vec<usize> = Vec::new();
    for v in all {
        if !reads.contains(&(v as usize)) {
            reads.push(v as usize);
        }
    }
    reads
}

/// Candidates of all values and prices of all ops, found in one walk.
///
/// A home that costs an op more, whatever it reads, than its first and a conversion is no home: `all` keeps it.
pub(crate) fn of(planner: &mut Planner<'_>, all: bool) -> (Vec<Choices>, Vec<Price>) {
    let model = planner.model;
    let (mut choices, mut prices) = (choices::given(model), Vec::new());
    for (op, it) in model.ops.iter().enumerate() {
        let (out, reads) = (it.outputs[0] as usize, reads(it));
        choices[out] = choices::written(model, &choices, it);
        if ops::operator(&it.kind).is_some_and(|o| o.apart()) {
            prices.extend(reads.iter().map(|&v| price(planner, &choices, op, vec![v, out])));
            continue;
        }
        let mut price = price(planner, &choices, op, [reads, vec![out]].concat());
        if !all {
            prune(planner, &mut choices[out], &mut price);
        }
        prices.push(price);
    }
    (choices, prices)
}

/// Gives up homes of what an op writes that are dearer than its first and a conversion.
fn prune(planner: &Planner<'_>, choices: &mut Choices, price: &mut Price) {
    let (out, homes) = (price.values[price.values.len() - 1], price.sizes[price.sizes.len() - 1]);
    let dearer = |home: usize| {
        let more = conversion_ns(planner, out, choices.layouts[0], choices.layouts[home]);
        price.ns.chunks(homes).all(|ns| ns[home] >= ns[0] + more)
    };
    let kept: Vec<usize> = (0..homes).filter(|&home| home == 0 || !dearer(home)).collect();
    if kept.len() < choices.homes {
        price.ns = price.ns.chunks(homes).flat_map(|ns| kept.iter().map(|&home| ns[home])).collect();
        *price.sizes.last_mut().expect("an output") = kept.len();
        choices.keep(&kept);
    }
}

/// What a conversion of a value counts for, in ns.
pub(crate) fn conversion_ns(planner: &Planner<'_>, value: usize, from: Strided, to: Strided) -> f64 {
    (planner.copy_ns(value, from, to) + planner.target.rates.team.another_ns()) * MARGIN
}

fn price(planner: &mut Planner<'_>, choices: &[Choices], op: usize, values: Vec<usize>) -> Price {
    let last = values.len() - 1;
    let size = |(i, &v): (usize, &usize)| if i == last { choices[v].homes } else { choices[v].layouts.len() };
    let mut sizes: Vec<usize> = values.iter().enumerate().map(size).collect();
    while sizes.iter().product::<usize>() > MOST {
        let widest = (0..sizes.len()).max_by_key(|&i| sizes[i]).unwrap_or_default();
        sizes[widest] -= 1;
    }
    let combinations: usize = sizes.iter().product();
    if combinations == 1 {
        // Nothing to choose: the planner says what it costs, and whether it can be planned.
        return Price { op, values, sizes, ns: vec![0.0] };
    }
    let mut picks = vec![0; values.len()];
    let ns = (0..combinations).map(|_| {
        let lie = |(&v, &pick): (&usize, &usize)| (v, choices[v].layouts[pick]);
        let lies: Vec<(usize, Strided)> = values.iter().zip(&picks).map(lie).collect();
        advance(&mut picks, &sizes);
        planner.price(&planner.model.ops[op], &lies)
    });
    let ns = ns.collect();
    Price { op, values, sizes, ns }
}

/// The next of all combinations, the last place fastest.
pub(crate) fn advance(picks: &mut [usize], sizes: &[usize]) {
    for d in (0..picks.len()).rev() {
        picks[d] += 1;
        if picks[d] < sizes[d] {
            return;
        }
        picks[d] = 0;
    }
}

/// Puts numbers drawn by `seed` in place of finite prices.
pub(crate) fn draw(prices: &mut [Price], mut seed: u64) {
    for ns in prices.iter_mut().flat_map(|price| &mut price.ns).filter(|ns| ns.is_finite()) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *ns = (seed >> 40) as f64;
    }
}
