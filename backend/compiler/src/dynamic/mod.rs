//! Subgraphs of symbolic sizes. Import and passes know numbers only, so a subgraph is lowered at a few sizes; the results
//! must be one program but for the shapes of values, whose sizes then get expressions, which are verified at more sizes.

mod dims;
mod prune;
mod same;
mod samples;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use tandem_schemas::program::{DimT, ExprT, OpKindT, SymbolT};
use tandem_schemas::subgraph::SubgraphT;
use tandem_schemas::symbols::{Expr, Symbol, Symbols};

use crate::error::{LowerError, Reason, Stage};
use crate::graph::{Graph, Origin, ValueId, kind_name, table, verify};
use crate::import::import;
use crate::{ConstantSource, Options, emit, passes};
use dims::Finder;
use same::Twin;
use samples::Sample;
pub(crate) use samples::is_dynamic;

/// Indices of the expressions of values' sizes.
type Exprs = HashMap<ValueId, Vec<i32>>;

/// Expressions of the sizes of a graph's values; -1 and values that are missing have constant sizes.
#[derive(Default)]
pub(crate) struct Dims {
    pub symbols: Symbols,
    pub of: Exprs,
    /// Values of all expressions where symbols are at their upper bounds.
    pub upper: Vec<Option<i64>>,
}

impl Dims {
    /// Value of an expression where symbols are at their upper bounds.
    pub fn upper(&self, expr: i32) -> Option<i64> {
        usize::try_from(expr).ok().and_then(|expr| self.upper.get(expr).copied().flatten())
    }

    /// A value's shape as the Program has it.
    pub fn shape(&self, id: ValueId, sizes: &[usize]) -> Vec<DimT> {
        let dim = |size: i64, expr: i32| *table(|dim: &mut DimT| (dim.size_, dim.expr) = (size, expr));
        match self.of.get(&id) {
            None => sizes.iter().map(|&size| dim(size as i64, -1)).collect(),
            Some(exprs) => {
                let sizes = sizes.iter().map(|&size| size as i64).chain(std::iter::repeat(0));
                let size = |(&expr, size)| dim(self.upper(expr).unwrap_or(size), expr);
                exprs.iter().zip(sizes).map(size).collect()
            }
        }
    }

    /// The symbols as the Program has them.
    pub fn symbol_tables(&self) -> Vec<SymbolT> {
        let one =
            |s: &Symbol| *table(|t: &mut SymbolT| (t.name, t.min, t.max) = (s.name.clone(), s.min, s.max));
        self.symbols.symbols().iter().map(one).collect()
    }

    /// The expressions as the Program has them.
    pub fn expr_tables(&self) -> Vec<ExprT> {
        let one = |e: &Expr| *table(|t: &mut ExprT| (t.op, t.a, t.b) = (e.op, e.a, e.b));
        self.symbols.exprs().iter().map(one).collect()
    }
}

/// The graph of a subgraph, with passes where options for them are given, and its sizes.
///
/// Where passes make of it different graphs at different sizes, the first one at fault is left out, at worst all are.
pub(crate) fn graph<'a>(
    subgraph: &SubgraphT,
    constants: &'a dyn ConstantSource,
    options: Option<&Options>,
) -> Result<(Graph<'a>, Dims), LowerError> {
    let Some(mut options) = options.cloned() else { return unified(subgraph, constants, None) };
    options.without.push(passes::MOVES.to_owned());
    let error = match unified(subgraph, constants, Some(&options)) {
        Err(error) if error.stage() != Some(Stage::Import) => error,
        done => return done,
    };
    let one = |name: &'static str| {
        let mut fewer = options.clone();
        fewer.without.push(name.to_owned());
        (name, fewer)
    };
    for (name, fewer) in passes::names().map(one).chain([("all", Options::plain())]) {
        if let Ok(done) = unified(subgraph, constants, Some(&fewer)) {
            log::warn!("{error}; lowered without pass {name}");
            return Ok(done);
        }
    }
    Err(error)
}

fn whole(message: Reason) -> LowerError {
    LowerError::Graph { stage: Stage::Dynamic, message }
}

/// Lowered at a few sizes, and at those at which expressions found for these are wrong.
fn unified<'a>(
    subgraph: &SubgraphT,
    constants: &'a dyn ConstantSource,
    options: Option<&Options>,
) -> Result<(Graph<'a>, Dims), LowerError> {
    let symbols = Symbols::of_subgraph(subgraph).map_err(whole)?;
    let (mut samples, verified) = samples::of(&symbols, subgraph);
    loop {
        let (graph, of, found) = lowered(subgraph, constants, options, &samples)?;
        let wrong = verified.iter().find_map(|sample| {
            let there = at(&graph, &of, &Sample::new(&found, sample.symbols.clone()));
            Some((sample, there.and_then(|there| verify(&there, Stage::Dynamic)).err()?))
        });
        match wrong {
            None => return Ok(pruned(graph, of, &found)),
            Some((sample, _)) if samples.len() < samples::MOST_LOWERED => samples.push(sample.clone()),
            Some((sample, error)) => {
                return Err(whole(format!("where {}: {error}", sample.text(&symbols))));
            }
        }
    }
}

/// The graph at some sizes, and expressions for the sizes of its values that hold there.
fn lowered<'a>(
    subgraph: &SubgraphT,
    constants: &'a dyn ConstantSource,
    options: Option<&Options>,
    samples: &[Sample],
) -> Result<(Graph<'a>, Exprs, Symbols), LowerError> {
    let symbols = Symbols::of_subgraph(subgraph).map_err(whole)?;
    let upper = samples::upper(&symbols).shapes(subgraph);
    let mut graphs = vec![];
    for sample in samples {
        let mut graph = import(&sample.subgraph(subgraph).map_err(whole)?, constants, upper.clone())?;
        if let Some(options) = options {
            passes::run(&mut graph, options)?;
        }
        emit::separate_outputs(&mut graph);
        graphs.push(graph);
    }
    let mut graphs = graphs.into_iter();
    let mut graph = graphs.next().ok_or_else(|| whole("has no sizes within its symbols' bounds".into()))?;
    let others: Vec<Graph<'_>> = graphs.collect();
    let mut twins = vec![];
    for (other, sample) in others.iter().zip(&samples[1..]) {
        let at = [&*samples[0].text(&symbols), &*sample.text(&symbols)];
        twins.push(same::pair(&graph, other, at)?);
    }
    let mut sizes = Sizes { finder: Finder::new(symbols, samples), others: &others, twins: &twins };
    let mut of = sizes.starts_and_dims(&mut graph, subgraph)?;
    of.retain(|_, dims| dims.iter().any(|&expr| expr >= 0));
    Ok((graph, of, sizes.finder.symbols))
}

/// With those expressions only that something reads.
fn pruned<'a>(mut graph: Graph<'a>, mut of: Exprs, symbols: &Symbols) -> (Graph<'a>, Dims) {
    let symbols = prune::prune(symbols, &mut graph, &mut of);
    let upper = samples::upper(&symbols).values;
    (graph, Dims { symbols, of, upper })
}

struct Sizes<'s, 'a> {
    finder: Finder,
    others: &'s [Graph<'a>],
    twins: &'s [Twin],
}

impl Sizes<'_, '_> {
    /// Expressions for starts of slices and for the sizes of all values that are inputs or computed.
    fn starts_and_dims(&mut self, graph: &mut Graph<'_>, subgraph: &SubgraphT) -> Result<Exprs, LowerError> {
        let mut of = HashMap::new();
        for &id in &graph.inputs {
            of.insert(id, self.dims(graph, subgraph, id).map_err(whole)?);
        }
        for i in 0..graph.ops.len() {
            let Some(op) = &graph.ops[i] else { continue };
            let error = |message| LowerError::Node {
                stage: Stage::Dynamic,
                op: kind_name(&op.kind).to_owned(),
                node: op.name.clone(),
                message,
            };
            of.insert(op.output, self.dims(graph, subgraph, op.output).map_err(error)?);
            let start = self.start(i, &op.kind).map_err(error)?;
            if let Some(OpKindT::Slice(slice)) = graph.ops[i].as_mut().map(|op| &mut op.kind) {
                slice.start_expr = start;
            }
        }
        Ok(of)
    }

    /// The subgraph's own expressions, where the value is its, or such as are found.
    fn dims(&mut self, graph: &Graph<'_>, subgraph: &SubgraphT, id: ValueId) -> Result<Vec<i32>, Reason> {
        let own =
            subgraph.values.get(id as usize).and_then(|value| value.shape.as_deref()).unwrap_or_default();
        if matches!(graph.value(id).origin, Origin::Integer) {
            return Ok(own.iter().map(|dim| dim.expr).collect());
        }
        let shape = graph.shape(id);
        let mut dims = vec![];
        for (d, &size) in shape.iter().enumerate() {
            let others =
                self.others.iter().zip(self.twins).map(|(other, twin)| {
                    twin.values.get(&id).map_or(size, |&twin| other.shape(twin)[d]) as i64
                });
            let column: Vec<i64> = std::iter::once(size as i64).chain(others).collect();
            let own = own.get(d).filter(|_| own.len() == shape.len()).map(|dim| dim.expr);
            let own =
                own.filter(|&e| usize::try_from(e).is_ok_and(|e| self.finder.column(e) == Some(&column[..])));
            let found = own.or_else(|| self.finder.find(&column));
            dims.push(found.ok_or_else(|| format!("no expression is found for size {d} of {shape:?}"))?);
        }
        Ok(dims)
    }

    /// Expression of a slice's start, -1 of one that is the same everywhere.
    fn start(&mut self, op: usize, kind: &OpKindT) -> Result<i32, Reason> {
        let OpKindT::Slice(slice) = kind else { return Ok(-1) };
        let others = self.others.iter().zip(self.twins).map(|(other, twin)| {
            match twin.ops.get(&op).and_then(|&op| other.ops[op].as_ref()).map(|op| &op.kind) {
                Some(OpKindT::Slice(other)) => other.start,
                _ => slice.start,
            }
        });
        let column: Vec<i64> = std::iter::once(slice.start).chain(others).collect();
        self.finder.find(&column).ok_or_else(|| format!("no expression is found for starts {column:?}"))
    }
}

/// The graph at another size.
fn at<'a>(graph: &Graph<'a>, of: &Exprs, sample: &Sample) -> Result<Graph<'a>, LowerError> {
    let value = |expr: i32| sample.values.get(expr as usize).copied().flatten();
    let mut there = graph.clone();
    for (&id, dims) in of.iter().filter(|(id, _)| !matches!(graph.value(**id).origin, Origin::Integer)) {
        for (d, &expr) in dims.iter().enumerate().filter(|(_, expr)| **expr >= 0) {
            let size = value(expr).and_then(|size| usize::try_from(size).ok());
            let none = || whole(format!("{} has no size {d}", graph.value(id).name));
            there.values[id as usize].shape[d] = size.ok_or_else(none)?;
        }
    }
    for op in there.ops.iter_mut().flatten() {
        if let OpKindT::Slice(slice) = &mut op.kind
            && slice.start_expr >= 0
        {
            slice.start = value(slice.start_expr).unwrap_or(-1);
        }
    }
    Ok(there)
}

/// Whether the arguments of the call tell every symbol.
pub(crate) fn solvable(graph: &Graph<'_>, dims: &Dims) -> Result<(), LowerError> {
    let exprs = graph.inputs.iter().flat_map(|id| dims.of.get(id).into_iter().flatten());
    let exprs = exprs.filter_map(|&expr| usize::try_from(expr).ok());
    let given: Vec<(usize, i64)> = exprs.filter_map(|e| Some((e, dims.upper.get(e).copied()??))).collect();
    let (mut found, mut values) = (vec![None; dims.symbols.symbols().len()], vec![]);
    dims.symbols.solve(&given, &mut found, &mut values);
    match found.iter().zip(dims.symbols.symbols()).find(|(found, _)| found.is_none()) {
        Some((_, symbol)) => Err(whole(format!("no argument tells {}", symbol.name))),
        None => Ok(()),
    }
}
