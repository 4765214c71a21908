//! A loaded program: constants, plan, memory; and running it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tandem_base::{AlignedBuf, Entries, Entry, Scratch, SpanMut, Team};
use tandem_schemas::program::DType;

use crate::error::Error;
use crate::knobs::{LoadOptions, Power};
use crate::model::{self, Model, Value};
use crate::plan::Target;
use crate::plans::{Plans, Ready, count};
use crate::report::{Report, Seen};
use crate::step::{Fault, Run, internal, now_ns, origin};

/// Where constants come from; alive as long as the method.
pub trait Constants: Send + Sync {
    /// Bytes of a named-data entry. Asked for at load and again at every execute, so the answer must not move or change.
    ///
    /// # Errors
    /// The host's reason for not having it.
    fn entry(&self, key: &str) -> Result<&[u8], String>;
}

/// What the program expects of an input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// For messages.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Logical sizes.
    pub sizes: Vec<usize>,
    /// Axes, outermost first.
    pub dim_order: Vec<u8>,
}

/// A dense tensor of the host, to read.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Element type.
    pub dtype: DType,
    /// Logical sizes.
    pub sizes: &'a [usize],
    /// Axes, outermost first.
    pub dim_order: &'a [u8],
    /// At least the elements, aligned to one.
    pub bytes: &'a [u8],
}

/// A dense tensor of the host, to write.
#[derive(Debug)]
pub struct Output<'a> {
    /// Element type.
    pub dtype: DType,
    /// Logical sizes.
    pub sizes: &'a [usize],
    /// Axes, outermost first.
    pub dim_order: &'a [u8],
    /// At least the elements, aligned to one.
    pub bytes: &'a mut [u8],
}

/// Sees each step's time and who was in matrix units, on the executing thread.
pub trait Tracer {
    /// Step `index` of the report had a thread in a matrix unit, on the clock of steps. Told before the step's own time, in the
    /// order entries ended.
    fn entry(&mut self, _index: usize, _entry: Entry) {}

    /// Step `index` of the report ran from `start_ns` to `end_ns` of a monotonic clock.
    fn step(&mut self, index: usize, start_ns: u64, end_ns: u64);
}

/// Ends executes of a method, from any thread.
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// Lets the execute that is running, if any, end with an error before its next step; a later one is not touched.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A program planned for this machine, with the memory it runs in.
pub struct Method {
    constants: Aligned,
    plans: Plans,
    /// As large as the largest plan that ran; at load, of a program of fixed sizes, as its plan.
    arena: AlignedBuf,
    scratch: Scratch,
    cancelled: Canceller,
    /// Of a step that is traced; there from the first execute that is.
    entries: Option<Entries>,
    /// Most threads of an execute.
    threads: usize,
    power: Power,
}

impl Method {
    /// Verifies and plans a program. Nothing is packed and no constant copied.
    ///
    /// # Errors
    /// A blob that is damaged or too new, an op no kernel takes, a constant the host lacks.
    pub fn load(blob: &[u8], constants: Box<dyn Constants>, options: &LoadOptions) -> Result<Self, Error> {
        let start = now_ns();
        let model = Model::new(tandem_schemas::read_program(blob)?)?;
        let mut constants = Aligned { host: constants, copies: HashMap::new() };
        for (key, length) in &model.entries {
            constants.check(key, *length)?;
        }
        let verified = now_ns();
        let (target, means) = Target::new(options)?;
        if model.outputs.len() > MAX_OUTPUTS {
            let what = format!("{} outputs, {MAX_OUTPUTS} at most", model.outputs.len());
            return Err(Error::unsupported("program", what));
        }
        let (threads, power) = (means.threads, options.power);
        let plans = Plans::new(model, target, means.basis, verified - start)?;
        let (scratch, arena) = (Scratch::default(), AlignedBuf::try_zeroed(0));
        let arena = arena.ok_or_else(|| internal("program", "no room".to_owned()))?;
        let cancelled = Canceller::default();
        let mut method = Self { constants, plans, arena, scratch, cancelled, entries: None, threads, power };
        if !method.plans.is_dynamic() {
            method.grow()?;
        }
        Ok(method)
    }

    /// Makes room for the current plan.
    fn grow(&mut self) -> Result<(), Error> {
        let bytes = self.plans.current().plan.arena.bytes;
        if bytes > self.arena.bytes().len() {
            let room = AlignedBuf::try_zeroed(bytes);
            self.arena = room.ok_or_else(|| internal("program", format!("no room for {bytes} bytes")))?;
        }
        Ok(())
    }

    /// What ends its executes.
    pub fn canceller(&self) -> Canceller {
        self.cancelled.clone()
    }

    /// The call's inputs. Where sizes are symbolic, they are those of the last call or, before any, the largest that were
    /// planned at load: the upper bounds, unless these are beyond what can be planned.
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.plans.current().inputs
    }

    /// The call's outputs; sizes as of [`Method::inputs`].
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.plans.current().outputs
    }

    /// The plan and its memory; sizes as of [`Method::inputs`].
    pub fn report(&self) -> &Report {
        &self.plans.current().report
    }

    /// What the engines that share a step of the current plan were seen to take, where that corrects how they share it.
    pub fn seen(&self, step: usize) -> Option<Seen> {
        self.plans.current().plan.steps.get(step)?.seen()
    }

    /// A number of the current plan's own.
    pub fn plan_number(&self) -> u64 {
        self.plans.current().number
    }

    /// Whether any size is symbolic.
    pub fn is_dynamic(&self) -> bool {
        self.plans.is_dynamic()
    }

    /// Plans for inputs of these sizes, unless that plan is kept, and gives what the outputs are then.
    ///
    /// Elements are not looked at, but for those of integers.
    ///
    /// # Errors
    /// Sizes that do not go together, are out of bounds or cannot be planned; the method stays usable.
    pub fn prepare(&mut self, inputs: &[Input<'_>]) -> Result<&[TensorSpec], Error> {
        count("inputs", inputs.len(), self.inputs().len())?;
        self.plans.find(inputs)?;
        Ok(self.outputs())
    }

    /// Runs the program once on up to `threads` threads, the caller included, and as the option `power` allows. The answer does
    /// not depend on them.
    ///
    /// # Errors
    /// A tensor that does not fit its specification, or [`Canceller::cancel`]; the method stays usable. What outputs hold after
    /// the latter is undefined.
    pub fn execute(
        &mut self,
        inputs: &[Input<'_>],
        outputs: &mut [Output<'_>],
        threads: usize,
        mut tracer: Option<&mut dyn Tracer>,
    ) -> Result<(), Error> {
        self.cancelled.0.store(false, Ordering::Relaxed);
        self.plans.find(inputs)?;
        self.check_arguments(inputs, outputs)?;
        self.grow()?;
        let entries = tracer.is_some().then(|| {
            let entries = self.entries.get_or_insert_with(|| Entries::new(origin(), ENTRIES));
            // Those of a step that failed.
            let _ = entries.take(|_| {});
            &*entries
        });
        let Ready { plan, report, .. } = self.plans.current();
        let threads = threads.clamp(1, self.threads);
        let mut crew = match self.power {
            Power::Balanced => Team::global().enter(threads),
            Power::Low => Team::global().enter_asleep(threads),
        };
        if !self.scratch.reserve(crew.wanted(), plan.scratch) {
            let what = format!("no room for scratch of {} threads", crew.wanted());
            return Err(internal("program", what));
        }
        let mut spans = [const { None }; MAX_OUTPUTS];
        for (span, output) in spans.iter_mut().zip(outputs.iter_mut()) {
            *span = Some(SpanMut::from(&mut *output.bytes));
        }
        let mut run = Run {
            lease: &self.arena.lease(),
            places: &plan.places,
            constants: &self.constants,
            inputs,
            outputs: &spans,
            crew: &mut crew,
            scratch: &mut self.scratch,
            entries,
        };
        for (index, step) in plan.steps.iter().enumerate() {
            if self.cancelled.0.load(Ordering::Relaxed) {
                return Err(Error::Cancelled { op: report.steps[index].name.clone() });
            }
            let start = if tracer.is_some() { now_ns() } else { 0 };
            step.run(&mut run).map_err(|fault| {
                let op = &report.steps[index].name;
                match fault {
                    Fault::Argument(what) => Error::Argument { what: format!("{op}: {what}") },
                    Fault::Plan(what) => internal(op, what),
                }
            })?;
            let end = if tracer.is_some() { now_ns() } else { 0 };
            if let (Some(tracer), Some(entries)) = (tracer.as_deref_mut(), entries) {
                let lost = entries.take(|entry| tracer.entry(index, entry));
                if lost > 0 {
                    let op = &report.steps[index].name;
                    log::warn!("trace: {op} entered matrix units {lost} times more than can be kept");
                }
                tracer.step(index, start, end);
            }
        }
        Ok(())
    }

    fn check_arguments(&self, inputs: &[Input<'_>], outputs: &[Output<'_>]) -> Result<(), Error> {
        count("inputs", inputs.len(), self.inputs().len())?;
        count("outputs", outputs.len(), self.outputs().len())?;
        for (spec, t) in self.inputs().iter().zip(inputs) {
            check_tensor("input", spec, (t.dtype, t.sizes, t.dim_order), t.bytes)?;
        }
        for (spec, t) in self.outputs().iter().zip(outputs) {
            check_tensor("output", spec, (t.dtype, t.sizes, t.dim_order), t.bytes)?;
        }
        Ok(())
    }
}

/// Most entries into matrix units that are kept of a step.
const ENTRIES: usize = 4096;

/// Most outputs of a program.
pub(crate) const MAX_OUTPUTS: usize = 256;

pub(crate) fn spec(value: &Value) -> TensorSpec {
    TensorSpec {
        name: value.name.clone(),
        dtype: value.dtype,
        sizes: value.sizes.clone(),
        dim_order: value.dim_order.clone(),
    }
}

/// The host's constants, with copies of those at odd addresses.
struct Aligned {
    host: Box<dyn Constants>,
    copies: HashMap<String, AlignedBuf>,
}

/// What loads of an element need; kernels ask for no more.
const ELEMENT_ALIGN: usize = 8;

impl Aligned {
    /// Checks an entry's length and makes sure of its alignment.
    fn check(&mut self, key: &str, length: usize) -> Result<(), Error> {
        let error = |what: String| Error::Constant { key: key.to_owned(), what };
        let bytes = self.host.entry(key).map_err(error)?;
        if bytes.len() < length {
            return Err(error(format!("{} bytes, the program needs {length}", bytes.len())));
        }
        if !bytes.as_ptr().addr().is_multiple_of(ELEMENT_ALIGN) {
            let copy = AlignedBuf::try_zeroed(bytes.len());
            let mut copy =
                copy.ok_or_else(|| error(format!("no room for a copy of {} bytes", bytes.len())))?;
            copy.bytes_mut().copy_from_slice(bytes);
            self.copies.insert(key.to_owned(), copy);
        }
        Ok(())
    }
}

impl Constants for Aligned {
    fn entry(&self, key: &str) -> Result<&[u8], String> {
        if !self.copies.is_empty()
            && let Some(copy) = self.copies.get(key)
        {
            return Ok(copy.bytes());
        }
        self.host.entry(key)
    }
}

/// Whether two orders of axes lay out `sizes` the same way: axes of one element lie anywhere.
fn same_order(sizes: &[usize], a: &[u8], b: &[u8]) -> bool {
    let told = |order: &'_ [u8]| {
        let axes = order.iter().copied();
        axes.filter(|&d| sizes.get(usize::from(d)).is_some_and(|&n| n != 1))
            .fold((0u64, 0), |(bits, n), d| (bits << 8 | u64::from(d), n + 1))
    };
    a.len() == sizes.len() && told(a) == told(b)
}

fn check_tensor(
    role: &str,
    spec: &TensorSpec,
    (dtype, sizes, dim_order): (DType, &[usize], &[u8]),
    bytes: &[u8],
) -> Result<(), Error> {
    let width = model::width(spec.dtype);
    let need = spec.sizes.iter().product::<usize>() * width;
    let same_order = dim_order == spec.dim_order || same_order(sizes, dim_order, &spec.dim_order);
    let fits = dtype == spec.dtype && sizes == spec.sizes && (same_order || need == 0);
    if !fits {
        let what = format!(
            "{role} {} is {} {sizes:?} in order {dim_order:?}, the program takes {} {:?} in order {:?}",
            spec.name,
            model::dtype_name(dtype),
            model::dtype_name(spec.dtype),
            spec.sizes,
            spec.dim_order,
        );
        return Err(Error::Argument { what });
    }
    if bytes.len() < need || !bytes.as_ptr().addr().is_multiple_of(width) {
        let what =
            format!("{role} {}: {} bytes at {:p}, {need} needed", spec.name, bytes.len(), bytes.as_ptr());
        return Err(Error::Argument { what });
    }
    Ok(())
}
