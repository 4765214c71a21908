//! From a checked program to steps: where every value lies, which kernel computes it, and why.

mod chains;
mod conversions;
pub(crate) mod engines;
mod target;
pub(crate) mod xnnpack;

use tandem_base::{Isa, Strided, mem::ALIGN};
use tandem_kernels::{Choice, Cost, Family, Kernel, Workspace, moves, price, select};
use tandem_schemas::program::{DType, OpKindT, OpT, ValueKind};

use crate::arena::{self, Arena, Lifetime};
use crate::error::Error;
use crate::knobs::Stack;
use crate::layout::{self, Assignment, Decision};
use crate::model::{self, Model, Value};
use crate::operands;
use crate::ops;
use crate::report::{Category, PartReport, StepReport, ValueReport};
use crate::step::{Bind, Buffer, KernelStep, Operand, Places, Step};
pub(crate) use target::Target;

/// Steps with their memory.
pub(crate) struct Plan {
    pub steps: Vec<Box<dyn Step>>,
    pub reports: Vec<StepReport>,
    pub arena: Arena,
    pub places: Places,
    pub scratch: usize,
    pub values: Vec<ValueReport>,
}

struct Planned {
    step: Box<dyn Step>,
    report: StepReport,
    buffers: Vec<usize>,
    scratch: usize,
}

/// Most bytes of intermediate values a plan may want.
const MAX_ARENA: usize = 1 << 36;

/// The op being planned: its name, handles and output value.
#[derive(Clone, Copy)]
pub(crate) struct Site<'m> {
    pub name: &'m str,
    pub op: &'static str,
    pub handles: &'m [i32],
}

/// The planner's state.
pub(crate) struct Planner<'m> {
    pub model: &'m Model,
    pub target: Target,
    /// How values are to lie.
    layouts: Assignment,
    /// Last op that needs each value.
    last_uses: Vec<usize>,
    /// Index of the op being planned.
    now: usize,
    /// Where values lie.
    operands: Vec<Option<Operand>>,
    /// Copies of values in another layout.
    relaid: Vec<(usize, Operand)>,
    /// Copies that the op being planned reads instead of the values.
    reading: Vec<(usize, Operand)>,
    /// Predicted time so far of an op planned on trial, of which nothing stays.
    trial: Option<f64>,
    /// Bytes of every buffer of the arena.
    buffers: Vec<usize>,
    steps: Vec<Planned>,
}

/// Plans a program, its values laid out as decided, or as is best.
pub(crate) fn plan(model: &Model, target: Target, decision: Option<&Decision>) -> Result<Plan, Error> {
    let mut planner = Planner::new(model, target)?;
    planner.layouts = match decision {
        Some(decision) => decision.replay(model),
        None => layout::assign(&mut planner, target.layout),
    };
    planner.place_host_values();
    planner.place_backwards();
    let mut now = 0;
    while let Some(op) = model.ops.get(now) {
        planner.now = now;
        now += match planner.chain(now)? {
            0 => {
                planner.op(now, op)?;
                1
            }
            chained => chained,
        };
    }
    planner.deliver_outputs()?;
    planner.finish()
}

/// Decides how values lie, for this and like sizes.
pub(crate) fn decide(model: &Model, target: Target) -> Result<Decision, Error> {
    let mut planner = Planner::new(model, target)?;
    Ok(Decision::of(layout::assign(&mut planner, target.layout)))
}

impl<'m> Planner<'m> {
    fn new(model: &'m Model, target: Target) -> Result<Self, Error> {
        operands::check(model)?;
        Ok(Self {
            model,
            target,
            layouts: Assignment::default(),
            last_uses: operands::last_uses(model),
            now: 0,
            operands: vec![None; model.values.len()],
            relaid: Vec::new(),
            reading: Vec::new(),
            trial: None,
            buffers: Vec::new(),
            steps: Vec::new(),
        })
    }

    /// Inputs, constants and outputs lie where the host has them.
    fn place_host_values(&mut self) {
        let host = |value: &Value| Strided::with_order(&value.sizes, &value.dim_order);
        for (i, &v) in self.model.inputs.iter().enumerate() {
            let shape = host(&self.model.values[v]);
            self.operands[v] = Some(Operand { buffer: Buffer::Input(i), offset: 0, shape });
        }
        for (v, value) in self.model.values.iter().enumerate() {
            if let Some(constant) = value.constant {
                let shape = Strided::contiguous(&value.sizes);
                self.operands[v] = Some(Operand { buffer: Buffer::Constant(constant), offset: 0, shape });
            }
        }
        for (i, &v) in self.model.outputs.iter().enumerate() {
            let shape = host(&self.model.values[v]);
            if self.operands[v].is_none() && layout::same_places(&shape, &self.layouts.homes[v]) {
                self.operands[v] = Some(Operand { buffer: Buffer::Output(i), offset: 0, shape });
            }
        }
    }

    /// Lets producers write straight to where a view or a concatenation would put their result.
    fn place_backwards(&mut self) {
        let model = self.model;
        for op in model.ops.iter().rev() {
            if let Some(operator) = ops::operator(&op.kind) {
                operator.place(self, op.outputs[0] as usize);
            }
        }
    }

    /// Gives a value a place, unless it has one, is the host's, or is to lie in another order.
    pub fn claim(&mut self, value: usize, place: Operand) {
        let free = self.operands[value].is_none() && self.model.values[value].kind == ValueKind::Temp;
        if free && layout::same_order(&place.shape, &self.layouts.homes[value]) {
            self.operands[value] = Some(place);
        }
    }

    /// Takes back the place a concatenation gave to a value whose op reads between what it would write: another part of
    /// the same concatenation. The concatenation then copies it.
    fn keep_apart(&mut self, op: &OpT) {
        use OpKindT::{Concat, Expand, Permute, Reshape, Slice};
        let out = op.outputs[0] as usize;
        let view = matches!(op.kind, Concat(_) | Reshape(_) | Permute(_) | Slice(_) | Expand(_));
        let Some(place) = self.operands[out] else { return };
        if view || self.model.values[out].kind != ValueKind::Temp {
            return;
        }
        let reads = ops::operator(&op.kind).map_or_else(Vec::new, |o| o.reads().values);
        let crossing = |&v: &i32| self.operands[v as usize].is_some_and(|src| src.crosses(&place));
        if reads.iter().any(crossing) {
            self.operands[out] = None;
        }
    }

    fn op(&mut self, index: usize, op: &'m OpT) -> Result<(), Error> {
        self.keep_apart(op);
        let site = site(op);
        for (value, layout) in std::mem::take(&mut self.layouts.copies[index]) {
            self.read_copy(site, value, layout)?;
        }
        self.bring_back(site, op)?;
        let operator = ops::operator(&op.kind).expect("operands::check: a known kind");
        operator.plan(self, site, op.outputs[0] as usize)?;
        self.reading.clear();
        self.deliver(site, op.outputs[0] as usize)
    }

    /// Host outputs whose value lies elsewhere (an input, a constant, or another output) are copied at the end.
    fn deliver_outputs(&mut self) -> Result<(), Error> {
        for (i, &v) in self.model.outputs.iter().enumerate() {
            let value = &self.model.values[v];
            let (src, dst) = (self.input(v), self.host_output(i));
            if src.buffer == dst.buffer || self.relaid.iter().any(|(_, place)| place.buffer == dst.buffer) {
                continue;
            }
            let site = Site { name: &value.name, op: "Copy", handles: &[] };
            self.copy(
                site,
                value.dtype,
                src,
                dst,
                "the host's output is also an input, a constant or another output",
            )?;
        }
        Ok(())
    }

    /// A value.
    pub fn value(&self, index: usize) -> &'m Value {
        &self.model.values[index]
    }

    /// Where a value that has been computed lies.
    pub fn input(&self, value: usize) -> Operand {
        if let Some(&(_, copy)) = self.reading.iter().find(|(v, _)| *v == value) {
            return copy;
        }
        self.operands[value].expect("operands::check: values are defined before use")
    }

    /// Where a value is to be written: its place, or a new buffer in its layout.
    pub fn output(&mut self, value: usize) -> Operand {
        if let Some(place) = self.operands[value] {
            return place;
        }
        let place = self.fresh(value);
        self.operands[value] = Some(place);
        place
    }

    /// Where a value lies or must lie, if that is settled.
    pub fn placed(&self, value: usize) -> Option<Operand> {
        self.operands[value]
    }

    /// Like [`Planner::output`], but in place of one of the values `over`, which the op reads element by element, where
    /// that is not needed any more and shares no memory with `apart`, which the op reads otherwise.
    pub fn output_over(&mut self, out: usize, over: &[usize], apart: &[usize]) -> Operand {
        if self.operands[out].is_none() {
            let fits = |&&v: &&usize| self.may_overwrite(v, over, apart, out);
            self.operands[out] = over.iter().find(fits).map(|&v| self.input(v));
        }
        self.output(out)
    }

    fn may_overwrite(&self, value: usize, over: &[usize], apart: &[usize], out: usize) -> bool {
        let place = self.input(value);
        let Buffer::Arena(buffer) = place.buffer else { return false };
        let same_kind = self.value(value).dtype == self.value(out).dtype;
        let whole = place.shape.elements() * model::width(self.value(value).dtype) == self.buffers[buffer];
        let dense = place.offset == 0 && whole && layout::is_dense(&place.shape);
        if !same_kind || !dense || !layout::same_places(&place.shape, &self.layouts.homes[out]) {
            return false;
        }
        let lies = |o: &Operand| o.buffer == place.buffer;
        let inside = |v: usize| self.operands[v].as_ref().is_some_and(lies);
        let copies = |v: usize| self.relaid.iter().any(|(of, o)| *of == v && lies(o));
        let needed =
            (0..self.operands.len()).any(|v| self.last_uses[v] > self.now && (inside(v) || copies(v)));
        let read = |v: usize| Some(self.input(v)).filter(lies);
        let other = over.iter().any(|&v| read(v).is_some_and(|o| o != place));
        !needed && !other && apart.iter().all(|&v| read(v).is_none())
    }

    /// Price of a problem, infinite where no row takes it: what layouts and chains are decided by.
    pub fn ns<F: Family>(&self, rows: &'static [Kernel<F>], problem: &F::Problem) -> f64 {
        price(rows, problem, self.target.isa, &self.target.rates).unwrap_or(f64::INFINITY)
    }

    /// A new buffer for a value, in the order it is to lie in.
    fn fresh(&mut self, value: usize) -> Operand {
        let home = &self.layouts.homes[value];
        let dense = Strided::with_order(home.sizes(), &layout::order(home));
        self.buffer(dense, model::width(self.value(value).dtype))
    }

    /// Predicted time of copying a value from one layout to another.
    pub fn copy_ns(&self, value: usize, src: Strided, dst: Strided) -> f64 {
        self.ns(moves::KERNELS, &move_problem(src, dst, model::width(self.value(value).dtype)))
    }

    /// A new dense buffer.
    pub fn buffer(&mut self, shape: Strided, width: usize) -> Operand {
        self.buffers.push(shape.elements() * width);
        Operand { buffer: Buffer::Arena(self.buffers.len() - 1), offset: 0, shape }
    }

    /// A view: relabels `src` as `out` where `out` is to lie like that, else copies.
    pub fn view(&mut self, site: Site<'_>, out: usize, src: Operand) -> Result<(), Error> {
        if let (Some(ns), Some(place)) = (&mut self.trial, self.operands[out]) {
            // Copies are priced as what they are, conversions of the value, not with the view.
            *ns += if layout::same_order(&src.shape, &place.shape) { 0.0 } else { f64::INFINITY };
            return Ok(());
        }
        let place = match self.operands[out] {
            Some(place) => place,
            None if layout::same_order(&src.shape, &self.layouts.homes[out]) => src,
            None => self.fresh(out),
        };
        self.operands[out] = Some(place);
        if place == src {
            return Ok(());
        }
        self.copy(site, self.value(out).dtype, src, place, "the view's result has a place of its own")
    }

    /// A part of a concatenation, which has a place in the whole: copied unless it was written there.
    pub fn part(&mut self, site: Site<'_>, value: usize, place: Operand) -> Result<(), Error> {
        let value_of = self.value(value);
        if self.trial.is_some() {
            let Some(src) = self.operands[value] else { return Ok(()) };
            // It would be written there, if that is left to the planner; other parts are on trial apart.
            if value_of.kind == ValueKind::Temp && layout::same_order(&src.shape, &place.shape) {
                return Ok(());
            }
        }
        let src = self.input(value);
        if src == place {
            return Ok(());
        }
        self.copy(site, value_of.dtype, src, place, "a concatenated part also lies elsewhere")
    }

    /// A stand-alone copy: the last resort.
    pub fn copy(
        &mut self,
        site: Site<'_>,
        dtype: DType,
        src: Operand,
        dst: Operand,
        why: &str,
    ) -> Result<(), Error> {
        if src.crosses(&dst) {
            let apart = self.buffer(Strided::contiguous(src.shape.sizes()), model::width(dtype));
            self.copy(site, dtype, src, apart, "its elements lie between those it would be copied to")?;
            return self.copy(site, dtype, apart, dst, why);
        }
        let problem = move_problem(src.shape, dst.shape, model::width(dtype));
        let sizes = format!("{:?}", src.shape.sizes());
        self.kernel(
            site,
            About { category: Category::DataMovement, shape: sizes, src, dst, why },
            moves::KERNELS,
            problem,
            ops::MoveOperands { src, dst, width: model::width(dtype) },
        )
    }

    /// Picks a row for a problem and appends the step.
    pub fn kernel<F: Family, B: Bind<F> + 'static>(
        &mut self,
        site: Site<'_>,
        about: About<'_>,
        rows: &'static [Kernel<F>],
        problem: F::Problem,
        operands: B,
    ) -> Result<(), Error> {
        let choice = select(rows, &problem, self.target.isa, &self.target.rates).ok_or_else(|| {
            Error::unsupported(site.name, format!("no {} kernel takes {problem:?}", F::NAME))
        })?;
        if let Some(ns) = &mut self.trial {
            *ns += choice.price;
            return Ok(());
        }
        let choice = self.candidate(choice, rows, &problem);
        let engine = engines::name(choice.kernel.engine());
        let (work, kernel) = match self.target.stack {
            Stack::Tandem => {
                let reason = engines::candidates(&choice);
                let work =
                    Work::of_one(F::cost(&problem), (choice.together_ns, engine), about.category, reason);
                (work, (choice.kernel.name.to_owned(), engine))
            }
            Stack::Xnnpack => {
                let (work, engine) = self.xnnpack(&about, rows, &problem, &choice);
                (work, ("xnnpack".to_owned(), engine))
            }
        };
        let taken = choice.kernel.take(problem);
        let workspace = taken.workspace();
        let shared = self.shared(workspace);
        let buffers = operands.buffers().into_iter().chain(shared.map(|s| s.buffer)).collect();
        let step = Box::new(KernelStep { taken, operands, shared });
        self.push(site, about, kernel, work, Memory { buffers, scratch: workspace.per_worker }, step);
        Ok(())
    }

    /// The choice of another row, where [`Target::candidate`] asks for one.
    fn candidate<F: Family>(
        &self,
        choice: Choice<F>,
        rows: &'static [Kernel<F>],
        problem: &F::Problem,
    ) -> Choice<F> {
        let Target { isa, rates, candidate, .. } = &self.target;
        if *candidate == 0 {
            return choice;
        }
        let named = |row: &Kernel<F>| row.name == choice.kernel.name;
        let answers = rows.iter().zip(&choice.candidates).enumerate();
        let taken = answers.filter_map(|(i, (row, (_, answer)))| Some((i, row, (*answer).ok()?)));
        let mut taken: Vec<_> = taken.filter(|(_, row, _)| named(row) || row.isa != Isa::SCALAR).collect();
        taken.sort_by(|a, b| named(b.1).cmp(&named(a.1)).then(a.2.total_cmp(&b.2)));
        let at = taken.get(*candidate).or(taken.last()).map(|&(i, ..)| i);
        at.and_then(|i| select(&rows[i..=i], problem, *isa, rates)).unwrap_or(choice)
    }

    /// A buffer for what workers share.
    fn shared(&mut self, workspace: Workspace) -> Option<Operand> {
        (workspace.shared > 0).then(|| self.buffer(Strided::contiguous(&[workspace.shared]), 1))
    }

    /// Appends a step.
    fn push(
        &mut self,
        site: Site<'_>,
        about: About<'_>,
        (kernel, engine): (String, &'static str),
        work: Work,
        memory: Memory,
        step: Box<dyn Step>,
    ) {
        // Entering a step comes before what it does.
        let entry = self.target.rates.team.step_ns;
        let parts = work.parts.into_iter();
        let parts = parts.map(|part| PartReport { start_ns: entry + part.start_ns, ..part }).collect();
        let why = if about.why.is_empty() { String::new() } else { format!("{}; ", about.why) };
        let report = StepReport {
            name: site.name.to_owned(),
            op: site.op,
            category: about.category,
            shape: about.shape,
            kernel,
            engine,
            layout_in: layout::describe(&about.src.shape),
            layout_out: layout::describe(&about.dst.shape),
            flops: work.cost.flops,
            bytes: work.cost.bytes,
            predicted_ns: entry + work.ns,
            parts,
            reason: why + &work.reason,
            debug_handles: site.handles.iter().filter_map(|&h| u32::try_from(h).ok()).collect(),
        };
        let arena = |b: Buffer| if let Buffer::Arena(i) = b { Some(i) } else { None };
        let buffers = memory.buffers.into_iter().filter_map(arena).collect();
        self.steps.push(Planned { buffers, report, scratch: memory.scratch, step });
    }

    fn finish(self) -> Result<Plan, Error> {
        let mut lifetimes: Vec<Option<Lifetime>> = vec![None; self.buffers.len()];
        for (at, planned) in self.steps.iter().enumerate() {
            for &b in &planned.buffers {
                let life =
                    lifetimes[b].get_or_insert(Lifetime { bytes: self.buffers[b], first: at, last: at });
                life.last = at;
            }
        }
        let used: Vec<usize> = (0..lifetimes.len()).filter(|&b| lifetimes[b].is_some()).collect();
        let arena = arena::place(&used.iter().filter_map(|&b| lifetimes[b]).collect::<Vec<_>>());
        if arena.bytes > MAX_ARENA {
            let what = format!("{} bytes of intermediate values", arena.bytes);
            return Err(Error::unsupported("program", what));
        }
        let mut places = Places { arena: vec![(0, 0); self.buffers.len()], constants: Vec::new() };
        for (&b, &offset) in used.iter().zip(&arena.offsets) {
            places.arena[b] = (offset, self.buffers[b].next_multiple_of(ALIGN));
        }
        for c in &self.model.constants {
            places.constants.push((self.model.entries[c.entry].0.clone(), c.offset, c.length));
        }
        let scratch = self.steps.iter().map(|p| p.scratch).max().unwrap_or(0);
        let (steps, reports) = self.steps.into_iter().map(|p| (p.step, p.report)).unzip();
        Ok(Plan { steps, reports, arena, places, scratch, values: self.layouts.values })
    }
}

/// What messages call an op.
fn site(op: &OpT) -> Site<'_> {
    Site {
        name: &op.name,
        op: op.kind.op_kind_type().variant_name().unwrap_or("?"),
        handles: op.debug_handles.as_deref().unwrap_or_default(),
    }
}

fn move_problem(src: Strided, dst: Strided, width: usize) -> moves::Problem {
    let before = [0; tandem_base::strided::MAX_RANK];
    moves::Problem { src, dst, width, before, edge: moves::Edge::Constant(0) }
}

/// What a step's report says beside its kernel.
pub(crate) struct About<'a> {
    pub category: Category,
    pub shape: String,
    pub src: Operand,
    pub dst: Operand,
    pub why: &'a str,
}

/// A step's arithmetic and traffic, its predicted time, and why it is so.
struct Work {
    cost: Cost,
    ns: f64,
    parts: Vec<PartReport>,
    reason: String,
}

impl Work {
    /// Of one part.
    fn of_one(cost: Cost, (ns, engine): (f64, &'static str), category: Category, reason: String) -> Self {
        let part = PartReport { name: "", engine, category, start_ns: 0.0, ns, share: 1.0 };
        Self { cost, ns, parts: vec![part], reason }
    }
}

/// What a step touches, and the scratch of each worker.
struct Memory {
    buffers: Vec<Buffer>,
    scratch: usize,
}
