//! From a checked program to steps: where every value lies, which kernel computes it, and why.

use tandem_base::{Isa, Strided, mem::ALIGN};
use tandem_kernels::{Family, Kernel, Rates, moves, select};
use tandem_schemas::program::{DType, OpKindT, OpT, ValueKind};

use crate::arena::{self, Arena, Lifetime};
use crate::error::Error;
use crate::layout::{self, Order};
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
    orders: Vec<Order>,
    operands: Vec<Option<Operand>>,
    buffers: Vec<usize>,
    steps: Vec<Planned>,
}

/// Plans a program.
pub(crate) fn plan(model: &Model, target: Target) -> Result<Plan, Error> {
    operands::check(model)?;
    let mut planner = Planner {
        model,
        target,
        orders: layout::assign(model),
        operands: vec![None; model.values.len()],
        buffers: Vec::new(),
        steps: Vec::new(),
    };
    planner.place_host_values();
    planner.place_backwards();
    for op in &model.ops {
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
        for op in self.model.ops.iter().rev() {
            let out = op.outputs[0] as usize;
            match &op.kind {
                OpKindT::Concat(concat) => {
                    let whole = self.output(out);
                    let dim = concat.dim as usize;
                    let mut at = 0;
                    for &src in &concat.src {
                        let src = src as usize;
                        let sizes = &self.model.values[src].sizes;
                        let part = Strided::new(sizes, whole.shape.strides());
                        self.claim(src, whole.skip(at * whole.shape.stride(dim)).with(part));
                        at += sizes[dim];
                    }
                }
                OpKindT::Reshape(view) => {
                    let src = view.src as usize;
                    if let Some(whole) = self.operands[out]
                        && let Some(shape) = whole.shape.reshaped(&self.model.values[src].sizes)
                    {
                        self.claim(src, whole.with(shape));
                    }
                }
                OpKindT::Permute(view) => {
                    let src = view.src as usize;
                    if let Some(whole) = self.operands[out] {
                        let mut back = vec![0; view.order.len()];
                        for (to, &from) in view.order.iter().enumerate() {
                            back[from as usize] = to;
                        }
                        self.claim(src, whole.with(whole.shape.permuted(&back)));
                    }
                }
                _ => {}
            }
        }
    }

    /// Gives a value a place, unless it has one or is the host's.
    fn claim(&mut self, value: usize, place: Operand) {
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
        let (reads, _) = operands::references(&op.kind);
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
        ops::plan(self, site, op)
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
        let (sizes, dtype) = (&self.model.values[value].sizes, self.model.values[value].dtype);
        let shape = Strided::with_order(sizes, &self.orders[value]);
        let place = self.buffer(shape, model::width(dtype));
        self.operands[value] = Some(place);
        place
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
        let problem = moves::Problem {
            src: src.shape,
            dst: dst.shape,
            width: model::width(dtype),
            before: [0; tandem_base::strided::MAX_RANK],
            edge: moves::Edge::Constant(0),
        };
        let sizes = format!("{:?}", src.shape.sizes());
        self.kernel(
            site,
            About { category: Category::DataMovement, shape: sizes, src, dst, why },
            moves::KERNELS,
            problem,
            ops::moves::Operands { src, dst, width: model::width(dtype) },
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
