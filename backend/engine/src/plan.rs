//! From a checked program to steps: where every value lies, which kernel computes it, and why.

use tandem_base::{Isa, Strided, mem::ALIGN};
use tandem_kernels::{Family, Kernel, Rates, moves, select};
use tandem_schemas::program::{DType, OpKindT, OpT, ValueKind};

use crate::arena::{self, Arena, Lifetime};
use crate::error::Error;
use crate::layout;
use crate::model::{self, Model, Value};
use crate::operands;
use crate::ops;
use crate::report::{Category, StepReport};
use crate::step::{Bind, Buffer, KernelStep, Operand, Places, Step};

/// Instruction sets, rates and liberties a plan is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub isa: Isa,
    pub rates: Rates,
    pub fast_math: bool,
}

/// Steps with their memory.
pub(crate) struct Plan {
    pub steps: Vec<Box<dyn Step>>,
    pub reports: Vec<StepReport>,
    pub arena: Arena,
    pub places: Places,
    pub scratch: usize,
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
    /// How values lie that nothing else places.
    layouts: Vec<Strided>,
    /// Last op that needs each value.
    last_uses: Vec<usize>,
    /// Index of the op being planned.
    now: usize,
    /// Where values lie.
    operands: Vec<Option<Operand>>,
    /// Copies of values in another layout.
    relaid: Vec<(usize, Operand)>,
    /// Bytes of every buffer of the arena.
    buffers: Vec<usize>,
    steps: Vec<Planned>,
}

/// Plans a program.
pub(crate) fn plan(model: &Model, target: Target) -> Result<Plan, Error> {
    operands::check(model)?;
    let mut planner = Planner {
        model,
        target,
        layouts: layout::assign(model),
        last_uses: operands::last_uses(model),
        now: 0,
        operands: vec![None; model.values.len()],
        relaid: Vec::new(),
        buffers: Vec::new(),
        steps: Vec::new(),
    };
    planner.place_host_values();
    planner.place_backwards();
    for (now, op) in model.ops.iter().enumerate() {
        planner.now = now;
        planner.op(op)?;
    }
    planner.deliver_outputs()?;
    planner.finish()
}

impl<'m> Planner<'m> {
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
            if self.operands[v].is_none() {
                let shape = host(&self.model.values[v]);
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

    /// Gives a value a place, unless it has one or is the host's.
    pub fn claim(&mut self, value: usize, place: Operand) {
        if self.operands[value].is_none() && self.model.values[value].kind == ValueKind::Temp {
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

    fn op(&mut self, op: &'m OpT) -> Result<(), Error> {
        self.keep_apart(op);
        let site = Site {
            name: &op.name,
            op: op.kind.op_kind_type().variant_name().unwrap_or("?"),
            handles: op.debug_handles.as_deref().unwrap_or_default(),
        };
        let operator = ops::operator(&op.kind).expect("operands::check: a known kind");
        operator.plan(self, site, op.outputs[0] as usize)
    }

    /// Host outputs whose value lies elsewhere (an input, a constant, or another output) are copied at the end.
    fn deliver_outputs(&mut self) -> Result<(), Error> {
        for (i, &v) in self.model.outputs.iter().enumerate() {
            let value = &self.model.values[v];
            let src = self.input(v);
            if src.buffer == Buffer::Output(i) {
                continue;
            }
            let shape = Strided::with_order(&value.sizes, &value.dim_order);
            let dst = Operand { buffer: Buffer::Output(i), offset: 0, shape };
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
        self.operands[value].expect("operands::check: values are defined before use")
    }

    /// Where a value is to be written: its place, or a new buffer in its layout.
    pub fn output(&mut self, value: usize) -> Operand {
        if let Some(place) = self.operands[value] {
            return place;
        }
        let place = self.buffer(self.layouts[value], model::width(self.value(value).dtype));
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
            self.operands[out] = over.iter().find(fits).and_then(|&v| self.operands[v]);
        }
        self.output(out)
    }

    fn may_overwrite(&self, value: usize, over: &[usize], apart: &[usize], out: usize) -> bool {
        let place = self.input(value);
        let Buffer::Arena(buffer) = place.buffer else { return false };
        let same_kind = self.value(value).dtype == self.value(out).dtype;
        let whole = place.shape.elements() * model::width(self.value(value).dtype) == self.buffers[buffer];
        let dense = place.offset == 0 && whole && layout::is_dense(&place.shape);
        if !same_kind || !dense || place.shape.sizes() != self.value(out).sizes {
            return false;
        }
        let inside = |v: usize| self.operands[v].filter(|o| o.buffer == place.buffer);
        let needed = (0..self.operands.len()).any(|v| self.last_uses[v] > self.now && inside(v).is_some());
        let other = over.iter().any(|&v| inside(v).is_some_and(|o| o != place));
        !needed && !other && apart.iter().all(|&v| inside(v).is_none())
    }

    /// A value the op reads: where it lies or, where a kernel is so much slower on that, a copy in the layout `better`.
    /// `problem` gives the problem for a layout of the value, or none where it cannot be stated.
    ///
    /// # Errors
    /// Those of [`Planner::copy`].
    pub fn read_as<F: Family, P: Into<Option<F::Problem>>>(
        &mut self,
        site: Site<'_>,
        value: usize,
        better: Strided,
        rows: &'static [Kernel<F>],
        mut problem: impl FnMut(Strided) -> P,
    ) -> Result<Operand, Error> {
        let src = self.input(value);
        if layout::same_places(&src.shape, &better) {
            return Ok(src);
        }
        let copied = self.relaid.iter().find(|(v, place)| *v == value && place.shape == better);
        let copied = copied.map(|(_, place)| *place);
        let mut ns = |shape| problem(shape).into().map_or(f64::INFINITY, |p| self.ns(rows, &p));
        let copy_ns = if copied.is_some() { 0.0 } else { self.copy_ns(src.shape, better) };
        if !pays(src.buffer, ns(src.shape), ns(better) + copy_ns) {
            return Ok(src);
        }
        if let Some(place) = copied {
            return Ok(place);
        }
        let dtype = self.value(value).dtype;
        let place = self.buffer(better, model::width(dtype));
        let why = format!("{} reads {} faster", F::NAME, layout::describe(&better));
        self.copy(site, dtype, src, place, &why)?;
        self.relaid.push((value, place));
        Ok(place)
    }

    /// Where an f32 output is to be written first: `dst`, or a buffer in the layout `better` where a kernel is so much
    /// slower on the former that a copy pays, which [`Planner::deliver`] makes.
    pub fn write_as<F: Family, P: Into<Option<F::Problem>>>(
        &mut self,
        dst: Operand,
        better: Strided,
        rows: &'static [Kernel<F>],
        mut problem: impl FnMut(Strided) -> P,
    ) -> Operand {
        if layout::same_places(&dst.shape, &better) {
            return dst;
        }
        let mut ns = |shape| problem(shape).into().map_or(f64::INFINITY, |p| self.ns(rows, &p));
        if pays(dst.buffer, ns(dst.shape), ns(better) + self.copy_ns(better, dst.shape)) {
            self.buffer(better, model::width(DType::F32))
        } else {
            dst
        }
    }

    /// Copies what a step wrote to `written` to where the value belongs, if that is elsewhere.
    ///
    /// # Errors
    /// Those of [`Planner::copy`].
    pub fn deliver(&mut self, site: Site<'_>, out: usize, written: Operand) -> Result<(), Error> {
        let place = self.output(out);
        if place.buffer == written.buffer && place.offset == written.offset {
            return Ok(());
        }
        let why = format!("{} is written faster", layout::describe(&written.shape));
        self.copy(site, self.value(out).dtype, written, place, &why)
    }

    /// Predicted time of a problem, infinite where no row takes it.
    pub fn ns<F: Family>(&self, rows: &'static [Kernel<F>], problem: &F::Problem) -> f64 {
        select(rows, problem, self.target.isa, &self.target.rates).map_or(f64::INFINITY, |choice| choice.ns)
    }

    fn copy_ns(&self, src: Strided, dst: Strided) -> f64 {
        self.ns(moves::KERNELS, &move_problem(src, dst, 4))
    }

    /// A new dense buffer.
    pub fn buffer(&mut self, shape: Strided, width: usize) -> Operand {
        self.buffers.push(shape.elements() * width);
        Operand { buffer: Buffer::Arena(self.buffers.len() - 1), offset: 0, shape }
    }

    /// A view: relabels `src` as `out` where `out` has no place of its own, else copies.
    pub fn view(&mut self, site: Site<'_>, out: usize, src: Operand) -> Result<(), Error> {
        match self.operands[out] {
            None => {
                self.operands[out] = Some(src);
                Ok(())
            }
            Some(place) if place == src => Ok(()),
            Some(place) => {
                self.copy(site, self.value(out).dtype, src, place, "the view's result has a place of its own")
            }
        }
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
        let workspace = (choice.kernel.workspace)(&problem);
        let shared = (workspace.shared > 0).then(|| self.buffer(Strided::contiguous(&[workspace.shared]), 1));
        let cost = F::cost(&problem);
        let mut reason = format!("{}: {}", choice.kernel.name, micros(choice.ns));
        let others = choice.candidates.iter().filter(|(name, _)| *name != choice.kernel.name);
        for (name, answer) in others {
            reason += &match answer {
                Ok(ns) => format!("; {name} {}", micros(*ns)),
                Err(why) => format!("; {name} not: {why}"),
            };
        }
        if !about.why.is_empty() {
            reason = format!("{}; {reason}", about.why);
        }
        let report = StepReport {
            name: site.name.to_owned(),
            op: site.op,
            category: about.category,
            shape: about.shape,
            kernel: choice.kernel.name.to_owned(),
            engine: "cpu",
            layout_in: layout::describe(&about.src.shape),
            layout_out: layout::describe(&about.dst.shape),
            flops: cost.flops,
            bytes: cost.bytes,
            predicted_ns: choice.ns,
            reason,
            debug_handles: site.handles.iter().filter_map(|&h| u32::try_from(h).ok()).collect(),
        };
        let mut buffers = operands.buffers();
        buffers.extend(shared.map(|s| s.buffer));
        let buffers =
            buffers.into_iter().filter_map(|b| if let Buffer::Arena(i) = b { Some(i) } else { None });
        self.steps.push(Planned {
            buffers: buffers.collect(),
            report,
            scratch: workspace.per_worker,
            step: Box::new(KernelStep { kernel: choice.kernel, problem, operands, shared }),
        });
        Ok(())
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
        Ok(Plan { steps, reports, arena, places, scratch })
    }
}

/// Whether a copy is worth it: by a margin, as times are predicted, and at the host's boundary, where converting rides
/// in a load or store, only to get away from a kernel that does it an element at a time.
fn pays(buffer: Buffer, plain: f64, copied: f64) -> bool {
    let margin = if matches!(buffer, Buffer::Arena(_)) { 1.25 } else { 4.0 };
    copied.is_finite() && plain > margin * copied
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

fn micros(ns: f64) -> String {
    format!("{:.1} µs", ns / 1e3)
}
