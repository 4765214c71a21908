//! Sizes that a subgraph is lowered at, and the subgraph at one of them.

use std::collections::HashSet;

use tandem_schemas::subgraph::*;
use tandem_schemas::symbols::{Symbols, Values};

use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Upper;

/// Numbers for all symbols and the values of all expressions there.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub symbols: Vec<i64>,
    pub values: Values,
}

/// Sizes that a subgraph is lowered at first, and those they are chosen from.
const LOWERED: usize = 4;
const POOL: usize = 32;
/// With those that show what is wrong of what was found.
pub(super) const MOST_LOWERED: usize = 8;
/// Random sizes, beside the bounds, at which the result is verified.
const VERIFIED: usize = 12;
/// Sizes drawn for one that a subgraph can have.
const DRAWS: usize = 16;

/// Numbers that follow from a seed.
struct Draw(u64);

impl Draw {
    /// In `low..=high`; of wide ranges mostly near the low end, as sizes are.
    fn within(&mut self, low: i64, high: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let span = (high - low).clamp(0, 96) as u64 + 1;
        low + ((self.0 >> 33) % span) as i64
    }
}

impl Sample {
    pub fn new(symbols: &Symbols, numbers: Vec<i64>) -> Self {
        let known: Vec<Option<i64>> = numbers.iter().copied().map(Some).collect();
        let mut values = vec![];
        symbols.evaluate(&known, &mut values);
        Self { symbols: numbers, values }
    }

    /// "t = 5, b = 2", for messages.
    pub fn text(&self, symbols: &Symbols) -> String {
        let one =
            |(symbol, value): (&tandem_schemas::symbols::Symbol, &i64)| format!("{} = {value}", symbol.name);
        symbols.symbols().iter().zip(&self.symbols).map(one).collect::<Vec<_>>().join(", ")
    }

    /// Whether every size of the subgraph is at least 1.
    fn fits(&self, subgraph: &SubgraphT) -> bool {
        let fits = |dim: &DimT| dim.expr < 0 || self.at(dim.expr).is_ok_and(|size| size >= 1);
        let shaped = subgraph.values.iter().filter(|value| value.kind != ValueKind::SymInt);
        shaped.flat_map(|value| value.shape.iter().flatten()).all(fits)
    }

    fn at(&self, expr: i32) -> Result<i64, Reason> {
        let value = usize::try_from(expr).ok().and_then(|i| self.values.get(i)).copied();
        match value {
            Some(Some(value)) => Ok(value),
            Some(None) => Err(format!("expression {expr} has no value at {:?}", self.symbols)),
            None => Err(format!("expression {expr} of {}", self.values.len())),
        }
    }

    /// Shapes of the values of symbolic sizes, where they have any.
    pub fn shapes(&self, subgraph: &SubgraphT) -> Upper {
        let mut shapes = Upper::new();
        for (id, value) in subgraph.values.iter().enumerate() {
            let dims = value.shape.as_deref().unwrap_or_default();
            let size = |dim: &DimT| if dim.expr < 0 { Some(dim.size_) } else { self.at(dim.expr).ok() };
            let sizes = dims.iter().map(|dim| usize::try_from(size(dim)?).ok()).collect::<Option<Vec<_>>>();
            if let Some(sizes) = sizes.filter(|_| dims.iter().any(|dim| dim.expr >= 0)) {
                shapes.insert(id as ValueId, sizes);
            }
        }
        shapes
    }

    /// The subgraph at these sizes.
    pub fn subgraph(&self, subgraph: &SubgraphT) -> Result<SubgraphT, Reason> {
        let mut fixed = subgraph.clone();
        for value in &mut fixed.values {
            for dim in value.shape.iter_mut().flatten().filter(|dim| dim.expr >= 0) {
                (dim.size_, dim.expr) = (self.at(dim.expr)?, -1);
            }
        }
        for arg in fixed.nodes.iter_mut().flat_map(|node| node.args.iter_mut().flatten()) {
            match &arg.value {
                ArgValueT::SymIntArg(symbolic) => {
                    let value = self.at(symbolic.value)?;
                    arg.value = ArgValueT::IntArg(table(|arg: &mut IntArgT| arg.value = value));
                }
                ArgValueT::SymIntListArg(symbolic) => {
                    let values = symbolic.values.iter().flatten().map(|&expr| self.at(expr));
                    let values = values.collect::<Result<Vec<_>, _>>()?;
                    arg.value =
                        ArgValueT::IntListArg(table(|arg: &mut IntListArgT| arg.values = Some(values)));
                }
                _ => {}
            }
        }
        Ok(fixed)
    }
}

/// Whether anything of a subgraph has a symbolic size.
pub(crate) fn is_dynamic(subgraph: &SubgraphT) -> bool {
    let dims = subgraph.values.iter().flat_map(|value| value.shape.iter().flatten());
    let args = subgraph.nodes.iter().flat_map(|node| node.args.iter().flatten());
    let symbolic = |arg: &ArgT| matches!(arg.value, ArgValueT::SymIntArg(_) | ArgValueT::SymIntListArg(_));
    dims.into_iter().any(|dim| dim.expr >= 0) || args.into_iter().any(symbolic)
}

/// Sizes to lower a subgraph at, such that no rewrite takes two sizes for one and no size for a number, and sizes to verify
/// the result at: those like the first ones, then any, then the bounds.
pub(super) fn of(symbols: &Symbols, subgraph: &SubgraphT) -> (Vec<Sample>, Vec<Sample>) {
    let mut draw = Draw(1);
    let mut pool: Vec<Sample> = vec![];
    for _ in 0..POOL {
        let fitting = (0..DRAWS)
            .map(|_| inside(symbols, &mut draw))
            .find(|sample| sample.fits(subgraph) && pool.iter().all(|known| known.symbols != sample.symbols));
        pool.extend(fitting);
    }
    let mut samples: Vec<Sample> = vec![];
    while samples.len() < LOWERED && !pool.is_empty() {
        // The first of those that tell most.
        let told = pool.iter().map(|sample| told(&samples, sample));
        let (best, _) =
            told.enumerate().fold((0, 0), |best, (i, told)| if told > best.1 { (i, told) } else { best });
        samples.push(pool.remove(best));
    }
    pool.extend(any(symbols, subgraph));
    (samples, pool)
}

/// How many expressions differ from all others and how many from a number, at some samples and one more, and how many
/// differ there: where sizes are equal by chance, passes leave out what they need elsewhere.
fn told(samples: &[Sample], more: &Sample) -> usize {
    let column = |e: usize| samples.iter().chain([more]).map(|sample| sample.values[e]).collect::<Vec<_>>();
    let columns: Vec<_> = (0..more.values.len()).map(column).collect();
    let differ = columns.iter().filter(|column| column.iter().any(|value| *value != column[0])).count();
    differ + columns.iter().collect::<HashSet<_>>().len() + more.values.iter().collect::<HashSet<_>>().len()
}

/// The symbols at their upper bounds.
pub(super) fn upper(symbols: &Symbols) -> Sample {
    Sample::new(symbols, symbols.symbols().iter().map(|symbol| symbol.max).collect())
}

/// Sizes between the bounds and these, at which the subgraph exists.
fn any(symbols: &Symbols, subgraph: &SubgraphT) -> impl Iterator<Item = Sample> {
    let all = symbols.symbols();
    let mut draw = Draw(2);
    let between = (0..VERIFIED).map(move |_| all.iter().map(|s| draw.within(s.min, s.max)).collect());
    let bounds = [all.iter().map(|s| s.min).collect(), all.iter().map(|s| s.max).collect()];
    let samples = between.chain(bounds).map(|numbers| Sample::new(symbols, numbers));
    samples.filter(|sample| sample.fits(subgraph))
}

/// Numbers within the bounds, above 2, below the upper one and different, where there is room. A range of one or two
/// numbers tells nothing of a size, so it is exceeded.
fn inside(symbols: &Symbols, draw: &mut Draw) -> Sample {
    let mut numbers: Vec<i64> = vec![];
    for symbol in symbols.symbols() {
        let low = symbol.min.saturating_add(1).max(3);
        let high = symbol.max - 1;
        let (low, high) =
            if low < high { (low, high) } else { (symbol.min.max(2), symbol.max.max(2).saturating_add(3)) };
        let fresh = (0..DRAWS).map(|_| draw.within(low, high)).find(|number| !numbers.contains(number));
        numbers.push(fresh.unwrap_or(high));
    }
    Sample::new(symbols, numbers)
}

#[cfg(test)]
mod tests {
    use tandem_schemas::symbols::Symbols;

    use super::*;

    /// Of twelve sizes between 1 and 16, each rounded up to 8: none is 16 wherever it is looked at.
    #[test]
    fn rounded_sizes_are_no_numbers() {
        let symbol = |i| *table(|s: &mut SymbolT| (s.name, s.min, s.max) = (format!("s{i}"), 1, 16));
        let expr = |op, a, b| *table(|expr: &mut ExprT| (expr.op, expr.a, expr.b) = (op, a, b));
        let rounded = |i| {
            let first = 1 + 3 * i;
            [expr(ExprOp::Symbol, i, 0), expr(ExprOp::CeilDiv, first, 0), expr(ExprOp::Mul, first + 1, 0)]
        };
        let exprs = [expr(ExprOp::Const, 8, 0)].into_iter().chain((0..12).flat_map(rounded));
        let subgraph = *table(|subgraph: &mut SubgraphT| {
            subgraph.symbols = Some((0..12).map(symbol).collect());
            subgraph.exprs = Some(exprs.collect());
        });
        let (samples, _) = of(&Symbols::of_subgraph(&subgraph).unwrap(), &subgraph);
        assert_eq!(samples.len(), LOWERED);
        for i in 0..12 {
            let sizes: HashSet<_> = samples.iter().map(|sample| sample.values[3 + 3 * i]).collect();
            assert_eq!(sizes, HashSet::from([Some(8), Some(16)]), "s{i}");
        }
    }
}
