//! A step of a plan: a kernel with its problem and where its operands lie.

use std::time::Instant;

use tandem_base::{Crew, Engine, Entries, Lease, Recorded, Scratch, Span, SpanMut, Strided, Task};
use tandem_kernels::{ArgError, Both, Divide, Element, Family, Paced, Pipelined, Taken};

use crate::error::Error;
use crate::method::{Constants, Input};
use crate::report::Seen;

/// Memory an operand lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Buffer {
    /// Input tensor of the call.
    Input(usize),
    /// Output tensor of the call.
    Output(usize),
    /// Constant of the program.
    Constant(usize),
    /// Buffer of the arena.
    Arena(usize),
}

/// A tensor in memory. Equal are those with the same elements in the same places: strides of extents of 1 say nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    /// The memory.
    pub buffer: Buffer,
    /// First element.
    pub offset: usize,
    /// Sizes and strides.
    pub shape: Strided,
}

impl PartialEq for Operand {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.shape, &other.shape);
        let strides = || (0..a.rank()).all(|d| a.size(d) == 1 || a.stride(d) == b.stride(d));
        self.buffer == other.buffer && self.offset == other.offset && a.sizes() == b.sizes() && strides()
    }
}

impl Operand {
    /// The same memory under another shape.
    pub fn with(self, shape: Strided) -> Self {
        Self { shape, ..self }
    }
    /// Starting `elements` further.
    pub fn skip(self, elements: usize) -> Self {
        Self { offset: self.offset + elements, ..self }
    }
    /// Whether the first to last elements of both share memory without being the very same tensor.
    pub fn crosses(&self, other: &Self) -> bool {
        let (a, b) = (self.offset + self.shape.extent(), other.offset + other.shape.extent());
        self.buffer == other.buffer && self != other && self.offset < b && other.offset < a
    }
}

/// Byte ranges of what a plan names: arena buffers in the arena, constants in their entries.
#[derive(Default)]
pub(crate) struct Places {
    /// Offset and bytes of every arena buffer.
    pub arena: Vec<(usize, usize)>,
    /// Key, offset and bytes of every constant.
    pub constants: Vec<(String, usize, usize)>,
}

/// What a step sees while it runs.
pub(crate) struct Run<'r, 'a> {
    pub lease: &'r Lease<'a>,
    pub places: &'r Places,
    pub constants: &'a dyn Constants,
    pub inputs: &'r [Input<'a>],
    pub outputs: &'r [Option<SpanMut<'a, u8>>],
    pub crew: &'r mut Crew<'a>,
    pub scratch: &'r mut Scratch,
    /// Where entries into matrix units are recorded, if they are.
    pub entries: Option<&'r Entries>,
}

impl<'a> Run<'_, 'a> {
    /// Runs a step's task to its end.
    fn task(&mut self, task: &dyn Task) {
        match self.entries {
            Some(entries) => self.crew.run(&Recorded { task, entries }, self.scratch),
            None => self.crew.run(task, self.scratch),
        }
    }

    /// An operand's bytes, to read.
    pub fn bytes(&self, operand: &Operand, width: usize) -> Option<Span<'a, u8>> {
        let skip = operand.offset * width;
        let rest = match operand.buffer {
            Buffer::Input(i) => Span::from(self.inputs.get(i)?.bytes).skip(skip),
            Buffer::Output(i) => self.outputs.get(i)?.as_ref()?.as_span().skip(skip),
            Buffer::Constant(i) => self.constant(i)?.skip(skip),
            Buffer::Arena(i) => {
                let &(at, len) = self.places.arena.get(i)?;
                self.lease.span(at..at + len)?.skip(skip)
            }
        };
        rest?.first(operand.shape.extent() * width)
    }

    /// An operand's bytes, to write.
    pub fn bytes_mut(&self, operand: &Operand, width: usize) -> Option<SpanMut<'a, u8>> {
        let skip = operand.offset * width;
        let rest = match operand.buffer {
            Buffer::Output(i) => self.outputs.get(i)?.as_ref()?.skip(skip),
            Buffer::Arena(i) => {
                let &(at, len) = self.places.arena.get(i)?;
                self.lease.span_mut(at..at + len)?.skip(skip)
            }
            Buffer::Input(_) | Buffer::Constant(_) => None,
        };
        rest?.first(operand.shape.extent() * width)
    }

    /// A constant's bytes.
    pub fn constant(&self, index: usize) -> Option<Span<'a, u8>> {
        let (key, at, len) = self.places.constants.get(index)?;
        let entry = self.constants.entry(key).ok()?;
        Some(Span::from(entry.get(*at..*at + *len)?))
    }

    /// An operand of a float, to read.
    pub fn elements<E: Element>(&self, operand: &Operand) -> Option<Span<'a, E>> {
        self.bytes(operand, size_of::<E>())?.cast()
    }

    /// An operand of a float, to write.
    pub fn elements_mut<E: Element>(&self, operand: &Operand) -> Option<SpanMut<'a, E>> {
        self.bytes_mut(operand, size_of::<E>())?.cast()
    }

    /// An f32 operand, to read.
    pub fn f32(&self, operand: &Operand) -> Option<Span<'a, f32>> {
        self.elements(operand)
    }

    /// An f32 operand, to write.
    pub fn f32_mut(&self, operand: &Operand) -> Option<SpanMut<'a, f32>> {
        self.elements_mut(operand)
    }

    /// What workers share, empty for `None`.
    pub fn shared(&self, operand: Option<&Operand>) -> Option<SpanMut<'a, u8>> {
        operand.map_or(Some(SpanMut::empty()), |operand| self.bytes_mut(operand, 1))
    }

    /// Weights of a float.
    pub fn weight<E: Element>(&self, constant: usize) -> Option<Span<'a, E>> {
        self.constant(constant)?.cast()
    }

    /// An f32 constant, empty for `None`.
    pub fn column(&self, constant: Option<usize>) -> Option<Span<'a, f32>> {
        match constant {
            Some(index) => self.constant(index)?.cast(),
            None => Some(Span::empty()),
        }
    }
}

/// Finds the arguments of a kernel; `None` where an operand cannot be reached.
pub(crate) trait Bind<F: Family>: Send + Sync {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<F::Args<'a>>;
    /// Memory the step touches.
    fn buffers(&self) -> Vec<Buffer>;
}

/// Why a step did not run.
pub(crate) enum Fault {
    /// What the host passed names an element that does not exist.
    Argument(String),
    /// The plan is wrong.
    Plan(String),
}

/// Something to do in an execute.
pub(crate) trait Step: Send + Sync {
    fn run(&self, run: &mut Run<'_, '_>) -> Result<(), Fault>;
    /// What its engines were seen to take, where that corrects how they share it.
    fn seen(&self) -> Option<Seen> {
        None
    }
}

/// The one kind of step: a kernel row on operands.
pub(crate) struct KernelStep<F: Family, B> {
    pub taken: Taken<F>,
    pub operands: B,
    pub shared: Option<Operand>,
}

impl<F: Family, B: Bind<F>> Step for KernelStep<F, B> {
    fn run(&self, run: &mut Run<'_, '_>) -> Result<(), Fault> {
        on_row(&self.taken, &self.operands, self.shared.as_ref(), run)
    }
}

/// Runs a row.
fn on_row<F: Family, B: Bind<F>>(
    taken: &Taken<F>,
    operands: &B,
    shared: Option<&Operand>,
    run: &mut Run<'_, '_>,
) -> Result<(), Fault> {
    let unreachable = || Fault::Plan(format!("{}: an operand lies outside its memory", taken.kernel().name));
    let args = operands.args(run).ok_or_else(unreachable)?;
    let shared = run.shared(shared).ok_or_else(unreachable)?;
    let task = taken.bind(args, shared).map_err(|e| match e {
        ArgError::Place { .. } => Fault::Argument(e.to_string()),
        _ => Fault::Plan(format!("{}: {e}", taken.kernel().name)),
    })?;
    run.task(&task);
    Ok(())
}

/// A kernel's problem as a whole, on units or on cores: with the same bits, so that what is seen may change which.
pub(crate) struct EitherStep<F: Family, B> {
    pub cores: Taken<F>,
    pub units: Taken<F>,
    pub operands: B,
    pub shared: Option<Operand>,
    /// What the whole takes.
    pub paced: Paced,
}

impl<F: Family, B: Bind<F>> Step for EitherStep<F, B> {
    fn run(&self, run: &mut Run<'_, '_>) -> Result<(), Fault> {
        let engine = self.paced.quicker();
        let taken = if engine == Engine::Unit { &self.units } else { &self.cores };
        let start = Instant::now();
        on_row(taken, &self.operands, self.shared.as_ref(), run)?;
        self.paced.took(engine, start.elapsed().as_nanos() as f64);
        Ok(())
    }
    fn seen(&self) -> Option<Seen> {
        let predicted = self.paced.predicted();
        Some(Seen::new(&self.paced, if predicted.unit <= predicted.core { 1.0 } else { 0.0 }))
    }
}

/// A kernel's problem in parts, for units and cores.
pub(crate) struct BothStep<F: Divide, B> {
    pub both: Both<F>,
    pub operands: B,
    /// Of the parts, the units' share as predicted.
    pub share: f64,
}

impl<F: Divide, B: Bind<F>> Step for BothStep<F, B> {
    fn run(&self, run: &mut Run<'_, '_>) -> Result<(), Fault> {
        let fault = |what: String| Fault::Plan(format!("{}: {what}", F::NAME));
        let args = self.operands.args(run);
        let args = args.ok_or_else(|| fault("an operand lies outside its memory".to_owned()))?;
        let task = self.both.bind(args).map_err(|e| fault(e.to_string()))?;
        run.task(&task);
        Ok(())
    }
    fn seen(&self) -> Option<Seen> {
        (!self.both.settled()).then(|| Seen::new(self.both.paced(), self.share))
    }
}

/// A problem that units and cores compute as a pipeline.
pub(crate) struct PipelineStep<P, B> {
    pub pipeline: P,
    pub operands: B,
    pub shared: Option<Operand>,
    /// What the units' tiles take, where cores may help with them.
    pub paced: Option<Paced>,
    /// Of these, the units' share as predicted.
    pub share: f64,
}

impl<P: Pipelined, B: Bind<P::Of>> Step for PipelineStep<P, B> {
    fn run(&self, run: &mut Run<'_, '_>) -> Result<(), Fault> {
        let fault = |what: String| Fault::Plan(format!("{}: {what}", P::Of::NAME));
        let places = self.operands.args(run).zip(run.shared(self.shared.as_ref()));
        let (args, shared) = places.ok_or_else(|| fault("an operand lies outside its memory".to_owned()))?;
        let task = self.pipeline.bind(args, shared, self.paced.as_ref()).map_err(|e| fault(e.to_string()))?;
        run.task(&task);
        Ok(())
    }
    fn seen(&self) -> Option<Seen> {
        Some(Seen::new(self.paced.as_ref()?, self.share))
    }
}

/// When this process's clock began: at the first call.
pub(crate) fn origin() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Nanoseconds since then.
pub(crate) fn now_ns() -> u64 {
    origin().elapsed().as_nanos() as u64
}

/// For [`crate::error::Error::Internal`].
pub(crate) fn internal(op: &str, what: String) -> Error {
    Error::Internal { op: op.to_owned(), what }
}
