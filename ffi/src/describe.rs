//! The engine's report and specifications with strings that C can read.

use std::ffi::CString;

use tandem_engine::{Method, PartReport, StepReport, TensorSpec, ValueReport};

use crate::abi;
use crate::status::c_string;

/// Everything the accessors point into: a method as its present plan has it.
pub struct Described {
    plan: u64,
    isa: CString,
    basis: CString,
    arena_bytes: u64,
    live_bytes: u64,
    scratch_bytes: u64,
    weight_bytes: u64,
    verify_ns: u64,
    plan_ns: u64,
    inputs: Vec<Spec>,
    outputs: Vec<Spec>,
    steps: Vec<Step>,
    values: Vec<Value>,
    symbols: Vec<(CString, i64)>,
}

struct Spec {
    name: CString,
    dtype: u8,
    sizes: Vec<usize>,
    dim_order: Vec<u8>,
}

/// Strings in the order of [`abi::Step`].
struct Step {
    texts: [CString; 9],
    flops: f64,
    bytes: f64,
    predicted_ns: f64,
    debug_handles: Vec<u32>,
    parts: Vec<Part>,
}

/// Name, engine and category, then the numbers.
struct Part {
    texts: [CString; 3],
    start_ns: f64,
    ns: f64,
    share: f64,
}

impl Described {
    pub(crate) fn new(method: &Method) -> Self {
        let report = method.report();
        Self {
            plan: method.plan_number(),
            isa: c_string(&report.isa.to_string()),
            basis: c_string(&report.basis),
            arena_bytes: report.arena_bytes as u64,
            live_bytes: report.live_bytes as u64,
            scratch_bytes: report.scratch_bytes as u64,
            weight_bytes: report.weight_bytes as u64,
            verify_ns: report.verify_ns,
            plan_ns: report.plan_ns,
            inputs: method.inputs().iter().map(Spec::new).collect(),
            outputs: method.outputs().iter().map(Spec::new).collect(),
            steps: report.steps.iter().map(Step::new).collect(),
            values: report.values.iter().map(Value::new).collect(),
            symbols: report.symbols.iter().map(|(name, value)| (c_string(name), *value)).collect(),
        }
    }

    /// The plan it tells of.
    pub(crate) fn plan(&self) -> u64 {
        self.plan
    }

    pub(crate) fn report(&self) -> abi::Report {
        abi::Report {
            isa: self.isa.as_ptr(),
            num_inputs: self.inputs.len(),
            num_outputs: self.outputs.len(),
            num_steps: self.steps.len(),
            arena_bytes: self.arena_bytes,
            live_bytes: self.live_bytes,
            scratch_bytes: self.scratch_bytes,
            weight_bytes: self.weight_bytes,
            verify_ns: self.verify_ns,
            plan_ns: self.plan_ns,
            num_values: self.values.len(),
            num_symbols: self.symbols.len(),
            basis: self.basis.as_ptr(),
        }
    }

    pub(crate) fn step(&self, index: usize) -> Option<abi::Step> {
        self.steps.get(index).map(Step::view)
    }

    pub(crate) fn part(&self, step: usize, index: usize) -> Option<abi::Part> {
        self.steps.get(step)?.parts.get(index).map(Part::view)
    }

    pub(crate) fn value(&self, index: usize) -> Option<abi::Value> {
        self.values.get(index).map(Value::view)
    }

    pub(crate) fn symbol(&self, index: usize) -> Option<abi::Symbol> {
        self.symbols.get(index).map(|(name, value)| abi::Symbol { name: name.as_ptr(), value: *value })
    }

    pub(crate) fn input(&self, index: usize) -> Option<abi::TensorSpec> {
        self.inputs.get(index).map(Spec::view)
    }

    pub(crate) fn output(&self, index: usize) -> Option<abi::TensorSpec> {
        self.outputs.get(index).map(Spec::view)
    }
}

/// Strings in the order of [`abi::Value`].
struct Value {
    texts: [CString; 5],
    bytes: u64,
}

impl Value {
    fn new(value: &ValueReport) -> Self {
        let shape = format!("{:?}", value.sizes);
        let texts = [&value.name, &shape, &value.layout, &value.copy, &value.decided];
        Self { texts: texts.map(|text| c_string(text)), bytes: value.bytes as u64 }
    }

    fn view(&self) -> abi::Value {
        let [name, shape, layout, copy, decided] = self.texts.each_ref().map(|text| text.as_ptr());
        abi::Value { name, shape, layout, copy, decided, bytes: self.bytes }
    }
}

impl Spec {
    fn new(spec: &TensorSpec) -> Self {
        Self {
            name: c_string(&spec.name),
            dtype: spec.dtype.0,
            sizes: spec.sizes.to_vec(),
            dim_order: spec.dim_order.to_vec(),
        }
    }

    fn view(&self) -> abi::TensorSpec {
        abi::TensorSpec {
            name: self.name.as_ptr(),
            dtype: i32::from(self.dtype),
            rank: self.sizes.len() as u32,
            sizes: self.sizes.as_ptr(),
            dim_order: self.dim_order.as_ptr(),
        }
    }
}

impl Step {
    fn new(step: &StepReport) -> Self {
        let category = step.category.to_string();
        let texts: [&str; 9] = [
            &step.name,
            step.op,
            &category,
            &step.shape,
            &step.kernel,
            step.engine,
            &step.layout_in,
            &step.layout_out,
            &step.reason,
        ];
        Self {
            texts: texts.map(c_string),
            flops: step.flops,
            bytes: step.bytes,
            predicted_ns: step.predicted_ns,
            debug_handles: step.debug_handles.clone(),
            parts: step.parts.iter().map(Part::new).collect(),
        }
    }

    fn view(&self) -> abi::Step {
        let [name, op, category, shape, kernel, engine, layout_in, layout_out, reason] =
            self.texts.each_ref().map(|text| text.as_ptr());
        abi::Step {
            name,
            op,
            category,
            shape,
            kernel,
            engine,
            layout_in,
            layout_out,
            reason,
            flops: self.flops,
            bytes: self.bytes,
            predicted_ns: self.predicted_ns,
            debug_handles: self.debug_handles.as_ptr(),
            num_debug_handles: self.debug_handles.len(),
            num_parts: self.parts.len(),
        }
    }
}

impl Part {
    fn new(part: &PartReport) -> Self {
        let category = part.category.to_string();
        let texts = [part.name, part.engine, &category].map(c_string);
        Self { texts, start_ns: part.start_ns, ns: part.ns, share: part.share }
    }

    fn view(&self) -> abi::Part {
        let [name, engine, category] = self.texts.each_ref().map(|text| text.as_ptr());
        abi::Part { name, engine, category, start_ns: self.start_ns, ns: self.ns, share: self.share }
    }
}
