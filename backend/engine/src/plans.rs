//! Plans by the sizes they are for.

use tandem_schemas::program::ValueKind;
use tandem_schemas::symbols::Values;

use crate::error::Error;
use crate::layout::Decision;
use crate::method::{Input, TensorSpec, spec};
use crate::model::Model;
use crate::plan::{self, Plan, Target};
use crate::report::Report;
use crate::step::now_ns;

/// Most plans kept; the one not used for longest goes.
const PLANS: usize = 8;
/// Most decisions kept.
const DECISIONS: usize = 8;

/// A plan for one size.
pub(crate) struct Ready {
    /// Values of the symbols.
    symbols: Vec<i64>,
    /// When it was last asked for.
    used: u64,
    /// Tells plans of one program apart.
    pub number: u64,
    pub plan: Plan,
    pub report: Report,
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

/// A program's plans: one for each size it was run at lately.
///
/// How values lie is decided once for all sizes that round up to the same powers of two, at that size.
pub(crate) struct Plans {
    model: Model,
    target: Target,
    basis: String,
    verify_ns: u64,
    ready: Vec<Ready>,
    decisions: Vec<(Vec<i64>, Decision)>,
    now: u64,
    made: u64,
    current: usize,
    // Room for finding the symbols, kept as looking for a plan that is there is not to allocate.
    given: Vec<(usize, i64)>,
    symbols: Vec<Option<i64>>,
    values: Values,
}

impl Plans {
    /// Plans for the symbols' upper bounds or, where these are beyond what can be planned, for the largest of their halves,
    /// quarters and so on that can.
    pub fn new(model: Model, target: Target, basis: String, verify_ns: u64) -> Result<Self, Error> {
        let symbols = vec![None; model.symbols.symbols().len()];
        let mut numbers: Vec<i64> = model.symbols.symbols().iter().map(|s| s.max).collect();
        let mut plans = Self {
            model,
            target,
            basis,
            verify_ns,
            ready: Vec::with_capacity(PLANS),
            decisions: Vec::with_capacity(DECISIONS),
            now: 0,
            made: 0,
            current: 0,
            given: Vec::new(),
            symbols,
            values: Vec::new(),
        };
        loop {
            let halves: Vec<i64> =
                plans.model.symbols.symbols().iter().zip(&numbers).map(|(s, n)| (n / 2).max(s.min)).collect();
            match plans.make(&numbers) {
                Ok(()) => return Ok(plans),
                Err(error) if halves == numbers => return Err(error),
                Err(_) => numbers = halves,
            }
        }
    }

    /// The plan last found or made.
    pub fn current(&self) -> &Ready {
        &self.ready[self.current]
    }

    /// Whether sizes are symbolic.
    pub fn is_dynamic(&self) -> bool {
        self.model.is_dynamic()
    }

    /// Makes the plan for these inputs the current one.
    ///
    /// # Errors
    /// Inputs whose sizes do not go together or are out of bounds; sizes that cannot be planned.
    pub fn find(&mut self, inputs: &[Input<'_>]) -> Result<(), Error> {
        if !self.is_dynamic() {
            return Ok(());
        }
        self.read_sizes(inputs)?;
        self.model.symbols.solve(&self.given, &mut self.symbols, &mut self.values);
        self.check_symbols()?;
        self.check_sizes(inputs)?;
        self.now += 1;
        let wanted = |ready: &Ready| ready.symbols.iter().copied().map(Some).eq(self.symbols.iter().copied());
        if let Some(found) = self.ready.iter().position(wanted) {
            self.ready[found].used = self.now;
            self.current = found;
            return Ok(());
        }
        let symbols: Vec<i64> = self.symbols.iter().copied().map(Option::unwrap_or_default).collect();
        self.make(&symbols)
    }

    /// Sizes that tell something, and integers; the others must be as the program has them.
    fn read_sizes(&mut self, inputs: &[Input<'_>]) -> Result<(), Error> {
        self.given.clear();
        count("inputs", inputs.len(), self.model.inputs.len())?;
        for (input, &v) in inputs.iter().zip(&self.model.inputs) {
            let value = &self.model.values[v];
            if value.kind == ValueKind::SymInt {
                let number = input.bytes.first_chunk().map(|bytes| i64::from_ne_bytes(*bytes));
                let number = number.filter(|_| input.dtype == value.dtype && input.sizes.is_empty());
                let what = || format!("input {} is not one i64", value.name);
                self.given.push((value.exprs[0] as usize, number.ok_or_else(|| argument(what()))?));
                continue;
            }
            if input.sizes.len() != value.exprs.len() {
                let (have, want) = (input.sizes.len(), value.exprs.len());
                return Err(argument(format!("input {} has {have} dimensions, not {want}", value.name)));
            }
            for (d, (&size, &expr)) in input.sizes.iter().zip(&value.exprs).enumerate() {
                if expr >= 0 {
                    self.given.push((expr as usize, i64::try_from(size).unwrap_or(i64::MAX)));
                } else if size != value.sizes[d] {
                    return Err(wrong_size(&value.name, d, size as i64, value.sizes[d] as i64));
                }
            }
        }
        Ok(())
    }

    fn check_symbols(&self) -> Result<(), Error> {
        for (value, symbol) in self.symbols.iter().zip(self.model.symbols.symbols()) {
            let (name, min, max) = (&symbol.name, symbol.min, symbol.max);
            match *value {
                Some(value) if (min..=max).contains(&value) => {}
                Some(value) => return Err(argument(format!("{name} is {value}, not within {min}..={max}"))),
                None => return Err(argument(format!("no size of the inputs tells {name}"))),
            }
        }
        Ok(())
    }

    /// Every size must be what the symbols say.
    fn check_sizes(&self, inputs: &[Input<'_>]) -> Result<(), Error> {
        let number = |expr: i32| self.values.get(expr as usize).copied().flatten().unwrap_or(-1);
        let mut given = self.given.iter();
        for (input, &v) in inputs.iter().zip(&self.model.inputs) {
            let value = &self.model.values[v];
            for (d, &expr) in value.exprs.iter().enumerate().filter(|(_, expr)| **expr >= 0) {
                let &(_, size) = given.next().expect("read_sizes: one for every expression");
                if size != number(expr) {
                    return Err(match value.kind {
                        ValueKind::SymInt => {
                            let want = number(expr);
                            argument(format!(
                                "input {} is {size}, its other sizes make it {want}",
                                value.name
                            ))
                        }
                        _ => wrong_size(&value.name, d, size, number(expr)),
                    });
                }
            }
            debug_assert!(value.kind == ValueKind::SymInt || input.sizes.len() == value.exprs.len());
        }
        Ok(())
    }

    /// Plans for a size, which becomes the current one.
    fn make(&mut self, symbols: &[i64]) -> Result<(), Error> {
        let start = now_ns();
        let plan = self.plan(symbols)?;
        let names = self.model.symbols.symbols().iter().map(|s| s.name.clone());
        let report = Report {
            steps: plan.reports.clone(),
            values: plan.values.clone(),
            symbols: names.zip(symbols.iter().copied()).collect(),
            arena_bytes: plan.arena.bytes,
            live_bytes: plan.arena.live,
            scratch_bytes: plan.scratch,
            weight_bytes: self.model.constants.iter().map(|c| c.length).sum(),
            verify_ns: self.verify_ns,
            plan_ns: now_ns() - start,
            isa: self.target.isa,
            basis: self.basis.clone(),
        };
        let specs = |list: &[usize]| list.iter().map(|&v| spec(&self.model.values[v])).collect();
        let (inputs, outputs) = (specs(&self.model.inputs), specs(&self.model.outputs));
        let ready = Ready {
            symbols: symbols.to_vec(),
            used: self.now,
            number: self.made,
            plan,
            report,
            inputs,
            outputs,
        };
        self.made += 1;
        if self.ready.len() < PLANS {
            self.ready.push(ready);
            self.current = self.ready.len() - 1;
        } else {
            self.current = (0..PLANS).min_by_key(|&i| self.ready[i].used).unwrap_or_default();
            self.ready[self.current] = ready;
        }
        Ok(())
    }

    fn plan(&mut self, symbols: &[i64]) -> Result<Plan, Error> {
        if !self.is_dynamic() {
            return plan::plan(&self.model, self.target, None);
        }
        let decision = self.decision(symbols);
        self.model.resize(symbols)?;
        let decided =
            decision.and_then(|at| plan::plan(&self.model, self.target, Some(&self.decisions[at].1)).ok());
        match decided {
            Some(plan) => Ok(plan),
            // What is decided elsewhere in the bucket cannot be kept up here.
            None => plan::plan(&self.model, self.target, None),
        }
    }

    /// Index of the decision for a size's bucket; none where the bucket's upper end cannot be planned.
    fn decision(&mut self, symbols: &[i64]) -> Option<usize> {
        let round = |(&n, s): (&i64, &tandem_schemas::symbols::Symbol)| {
            let power = u64::try_from(n).ok().and_then(u64::checked_next_power_of_two);
            power.map_or(s.max, |n| i64::try_from(n).unwrap_or(i64::MAX)).clamp(s.min, s.max)
        };
        let bucket: Vec<i64> = symbols.iter().zip(self.model.symbols.symbols()).map(round).collect();
        if let Some(known) = self.decisions.iter().position(|(of, _)| *of == bucket) {
            let decision = self.decisions.remove(known);
            self.decisions.push(decision);
            return Some(self.decisions.len() - 1);
        }
        self.model.resize(&bucket).ok()?;
        let decision = plan::decide(&self.model, self.target).ok()?;
        if self.decisions.len() == DECISIONS {
            self.decisions.remove(0);
        }
        self.decisions.push((bucket, decision));
        Some(self.decisions.len() - 1)
    }
}

/// `Ok` where there are as many tensors as the program has.
pub(crate) fn count(what: &str, have: usize, want: usize) -> Result<(), Error> {
    if have == want { Ok(()) } else { Err(argument(format!("{have} {what}, the program has {want}"))) }
}

fn wrong_size(name: &str, dim: usize, have: i64, want: i64) -> Error {
    argument(format!("dimension {dim} of input {name} is {have}, not {want}"))
}

fn argument(what: String) -> Error {
    Error::Argument { what }
}
