//! What a step takes beside its work, measured on a small program.

use tandem_base::AlignedBuf;
use tandem_schemas::program::*;

use crate::error::Error;
use crate::knobs::LoadOptions;
use crate::method::{Constants, Input, Method, Output, TensorSpec, Tracer};

/// Small steps of the program.
const STEPS: usize = 16;
/// Elements of a small step: next to no work.
const SMALL: usize = 256;
/// Bytes a large step reads, and writes: what passes through the caches between two steps that share code or operands, in
/// models whose values do not stay there.
const PASSED: usize = 8 << 20;

/// Times on one thread, in ns, of steps with next to no work, each behind one that empties the caches: those of so
/// many executes.
///
/// # Errors
/// None but what the program's own form would cause.
pub(super) fn times(executes: usize) -> Result<Vec<f64>, Error> {
    let blob = tandem_schemas::write_program(&program(PASSED / size_of::<f32>()));
    // Any profile: one is being made.
    let options = LoadOptions { device: Some("x86-server".to_owned()), ..LoadOptions::default() };
    let mut method = Method::load(&blob, Box::new(Nothing), &options)?;
    let specs = [method.inputs().to_vec(), method.outputs().to_vec()];
    let [given, mut taken] = specs.each_ref().map(|specs| specs.iter().map(room).collect::<Vec<_>>());
    let small = method.report().steps.iter().map(|step| step.flops <= SMALL as f64).collect();
    let mut times = Times { small, ns: Vec::new() };
    for execute in 0..=executes {
        if execute == 1 {
            // The first touched what the others find.
            times.ns.clear();
        }
        let inputs: Vec<Input<'_>> = specs[0].iter().zip(&given).map(|(s, room)| input(s, room)).collect();
        let mut outputs: Vec<Output<'_>> =
            specs[1].iter().zip(&mut taken).map(|(s, room)| output(s, room)).collect();
        method.execute(&inputs, &mut outputs, 1, Some(&mut times))?;
    }
    Ok(times.ns)
}

/// Small steps with large ones between them.
fn program(large: usize) -> ProgramT {
    let mut program = ProgramT::default();
    let mut last = [SMALL, large].map(|elements| value(&mut program, ValueKind::Input, elements));
    program.inputs = last.to_vec();
    for step in 0..STEPS {
        let kind = if step + 1 < STEPS { ValueKind::Temp } else { ValueKind::Output };
        for (last, elements) in last.iter_mut().zip([SMALL, large]) {
            let out = value(&mut program, kind, elements);
            let mut unary = UnaryT::default();
            (unary.src, unary.kind) = (*last, UnaryKind::Square);
            let mut op = OpT::default();
            (op.name, op.kind, op.outputs) =
                (format!("step {step}"), OpKindT::Unary(Box::new(unary)), vec![out]);
            program.ops.push(op);
            *last = out;
        }
    }
    program.outputs = last.to_vec();
    program
}

fn value(program: &mut ProgramT, kind: ValueKind, elements: usize) -> i32 {
    let mut value = ValueT::default();
    (value.name, value.kind, value.constant) = (format!("v{}", program.values.len()), kind, -1);
    value.shape = Some(vec![Dim::new(elements as i64, -1).unpack()]);
    program.values.push(value);
    program.values.len() as i32 - 1
}

fn room(spec: &TensorSpec) -> AlignedBuf {
    AlignedBuf::zeroed(size_of::<f32>() * spec.sizes.iter().product::<usize>())
}

fn input<'a>(spec: &'a TensorSpec, room: &'a AlignedBuf) -> Input<'a> {
    Input { dtype: spec.dtype, sizes: &spec.sizes, dim_order: &spec.dim_order, bytes: room.bytes() }
}

fn output<'a>(spec: &'a TensorSpec, room: &'a mut AlignedBuf) -> Output<'a> {
    Output { dtype: spec.dtype, sizes: &spec.sizes, dim_order: &spec.dim_order, bytes: room.bytes_mut() }
}

/// The program has no constants.
struct Nothing;

impl Constants for Nothing {
    fn entry(&self, key: &str) -> Result<&[u8], String> {
        Err(format!("no entry {key}"))
    }
}

/// Times of the small steps.
struct Times {
    small: Vec<bool>,
    ns: Vec<f64>,
}

impl Tracer for Times {
    fn step(&mut self, index: usize, start_ns: u64, end_ns: u64) {
        if self.small[index] {
            self.ns.push(end_ns.saturating_sub(start_ns) as f64);
        }
    }
}
