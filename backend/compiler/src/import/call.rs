//! One node's arguments and outputs, as its operator's file reads and computes them.

use std::collections::HashMap;

use tandem_schemas::program::{DType, OpKindT, UnaryKind, UnaryT};
use tandem_schemas::subgraph::{ArgValueT, NodeT};

use super::{Import, MAX_RANK};
use crate::error::Reason;
use crate::graph::{Op, Origin, Value, ValueId, is_half, result, table, verify_op, visit, visit_mut};
use crate::tensor::Tensor;

/// One node while its operator's file reads it.
pub(crate) struct Call<'i, 'a> {
    pub(super) import: &'i mut Import<'a>,
    pub(super) node: &'i NodeT,
    pub(super) args: HashMap<&'i str, &'i ArgValueT>,
    pub(super) outputs: Vec<ValueId>,
    pub(super) parts: usize,
}

/// Largest window, stride, padding or dilation.
const MAX_STEP: i64 = 1 << 20;

fn kind_of(value: &ArgValueT) -> &'static str {
    value.arg_value_type().variant_name().unwrap_or("?")
}

impl<'a> Call<'_, 'a> {
    /// ATen name of the operator.
    pub fn op(&self) -> &str {
        &self.node.op
    }

    /// Whether an argument is present (not None).
    pub fn has(&self, name: &str) -> bool {
        self.args.contains_key(name)
    }

    fn arg(&self, name: &str) -> Result<&ArgValueT, Reason> {
        self.args.get(name).copied().ok_or_else(|| format!("argument {name} is missing"))
    }

    fn wrong<T>(&self, name: &str, expected: &str) -> Result<T, Reason> {
        let found = self.args.get(name).map_or("None", |v| kind_of(v));
        Err(format!("argument {name} is {found}, expected {expected}"))
    }

    fn known(&self, name: &str, id: i32) -> Result<ValueId, Reason> {
        match usize::try_from(id).ok().and_then(|i| self.import.defined.get(i)) {
            Some(true) => Ok(id),
            Some(false) => {
                let value = &self.import.graph.value(id).name;
                Err(format!("argument {name} is value {id} \"{value}\", which is not computed yet"))
            }
            None => Err(format!("argument {name} is value {id} of {}", self.import.defined.len())),
        }
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Result<ValueId, Reason> {
        match self.arg(name)? {
            ArgValueT::TensorArg(arg) => self.known(name, arg.value),
            _ => self.wrong(name, "a tensor"),
        }
    }

    /// A tensor that may be None: -1.
    pub fn optional(&self, name: &str) -> Result<ValueId, Reason> {
        if self.has(name) { self.tensor(name) } else { Ok(-1) }
    }

    /// A list of tensors.
    pub fn tensors(&self, name: &str) -> Result<Vec<ValueId>, Reason> {
        match self.arg(name)? {
            ArgValueT::TensorListArg(arg) => {
                arg.values.iter().flatten().map(|&id| self.known(name, id)).collect()
            }
            _ => self.wrong(name, "a list of tensors"),
        }
    }

    /// A list of tensors that may be None: -1.
    pub fn optional_tensors(&self, name: &str) -> Result<Vec<ValueId>, Reason> {
        match self.arg(name)? {
            ArgValueT::TensorListArg(arg) => {
                let known = |&id: &i32| if id == -1 { Ok(-1) } else { self.known(name, id) };
                arg.values.iter().flatten().map(known).collect()
            }
            _ => self.wrong(name, "a list of tensors"),
        }
    }

    /// A tensor known at export.
    pub fn constant(&self, name: &str) -> Result<(ValueId, Tensor<'a>), Reason> {
        let id = self.tensor(name)?;
        match self.import.graph.constant(id) {
            Some(tensor) => Ok((id, tensor.clone())),
            None => {
                Err(format!("argument {name} \"{}\" is not a constant", self.import.graph.value(id).name))
            }
        }
    }

    /// Whether a value is known at export.
    pub fn is_constant(&self, id: ValueId) -> bool {
        self.import.graph.constant(id).is_some()
    }

    /// A list of tensors known at export, as f32.
    pub fn constants(&self, name: &str) -> Result<Vec<Tensor<'a>>, Reason> {
        let graph = &self.import.graph;
        let known = |id| match graph.constant(id) {
            Some(tensor) => Ok(tensor.cast(DType::F32)),
            None => Err(format!("argument {name} \"{}\" is not a constant", graph.value(id).name)),
        };
        self.tensors(name)?.into_iter().map(known).collect()
    }

    /// The elements of a vector known at export, as f32; None if absent.
    pub fn vector(&self, name: &str) -> Result<Option<Vec<f32>>, Reason> {
        if !self.has(name) {
            return Ok(None);
        }
        let (_, tensor) = self.constant(name)?;
        Ok(Some(tensor.cast(DType::F32).f32().into_owned()))
    }

    /// An integer.
    pub fn int(&self, name: &str) -> Result<i64, Reason> {
        match self.arg(name)? {
            ArgValueT::IntArg(arg) => Ok(arg.value),
            _ => self.wrong(name, "an integer"),
        }
    }

    /// An integer with a default for None.
    pub fn int_or(&self, name: &str, default: i64) -> Result<i64, Reason> {
        if self.has(name) { self.int(name) } else { Ok(default) }
    }

    /// A number of any kind.
    pub fn number(&self, name: &str) -> Result<f64, Reason> {
        match self.arg(name)? {
            ArgValueT::IntArg(arg) => Ok(arg.value as f64),
            ArgValueT::FloatArg(arg) => Ok(arg.value),
            ArgValueT::BoolArg(arg) => Ok(f64::from(u8::from(arg.value))),
            _ => self.wrong(name, "a number"),
        }
    }

    /// A number with a default for None.
    pub fn number_or(&self, name: &str, default: f64) -> Result<f64, Reason> {
        if self.has(name) { self.number(name) } else { Ok(default) }
    }

    /// Whether an argument is a number rather than a tensor.
    pub fn is_number(&self, name: &str) -> bool {
        let value = self.args.get(name);
        matches!(value, Some(ArgValueT::IntArg(_) | ArgValueT::FloatArg(_) | ArgValueT::BoolArg(_)))
    }

    /// The dtype PyTorch gives a number: I64, F32 or Bool.
    pub fn number_dtype(&self, name: &str) -> DType {
        match self.args.get(name) {
            Some(ArgValueT::FloatArg(_)) => DType::F32,
            Some(ArgValueT::BoolArg(_)) => DType::Bool,
            _ => DType::I64,
        }
    }

    /// A truth value; None is false.
    pub fn flag(&self, name: &str) -> Result<bool, Reason> {
        match self.args.get(name) {
            None => Ok(false),
            Some(ArgValueT::BoolArg(arg)) => Ok(arg.value),
            Some(ArgValueT::IntArg(arg)) => Ok(arg.value != 0),
            Some(_) => self.wrong(name, "a truth value"),
        }
    }

    /// A string; None is "".
    pub fn string(&self, name: &str) -> Result<&str, Reason> {
        match self.args.get(name) {
            None => Ok(""),
            Some(ArgValueT::StringArg(arg)) => Ok(&arg.value),
            Some(_) => self.wrong(name, "a string"),
        }
    }

    /// A list of integers; None is empty, one integer is a list of one.
    pub fn ints(&self, name: &str) -> Result<Vec<i64>, Reason> {
        match self.args.get(name) {
            None => Ok(vec![]),
            Some(ArgValueT::IntListArg(arg)) => Ok(arg.values.clone().unwrap_or_default()),
            Some(ArgValueT::IntArg(arg)) => Ok(vec![arg.value]),
            Some(_) => self.wrong(name, "a list of integers"),
        }
    }

    /// A list of numbers; None is empty.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, Reason> {
        match self.args.get(name) {
            None => Ok(vec![]),
            Some(ArgValueT::FloatListArg(arg)) => Ok(arg.values.clone().unwrap_or_default()),
            Some(_) => Ok(self.ints(name)?.iter().map(|&v| v as f64).collect()),
        }
    }

    /// Small non-negative integers for the last `axes` of [depth, y, x]: one stands for all of them, none for
    /// `default`, which the axes in front always have.
    pub fn axes(&self, name: &str, axes: usize, default: [u32; 3]) -> Result<[u32; 3], Reason> {
        let given = self.ints(name)?;
        if let Some(v) = given.iter().find(|v| !(0..=MAX_STEP).contains(v)) {
            return Err(format!("argument {name} {given:?}: {v} is not within 0..={MAX_STEP}"));
        }
        if !given.is_empty() && ![1, axes].contains(&given.len()) {
            return Err(format!("argument {name} {given:?} is not one or {axes} integers"));
        }
        let mut all = default;
        for (i, to) in all[3 - axes..].iter_mut().enumerate() {
            if let Some(&v) = given.get(i).or(given.last()) {
                *to = v as u32;
            }
        }
        Ok(all)
    }

    /// A dimension of `rank`, counted from the end where negative.
    pub fn dim(&self, name: &str, rank: usize) -> Result<usize, Reason> {
        wrap(name, self.int(name)?, rank)
    }

    /// Several dimensions.
    pub fn dims(&self, name: &str, rank: usize) -> Result<Vec<usize>, Reason> {
        self.ints(name)?.iter().map(|&d| wrap(name, d, rank)).collect()
    }

    /// Fails unless an argument is absent, false or 0.
    pub fn refuse(&self, name: &str) -> Result<(), Reason> {
        match self.args.get(name) {
            Some(ArgValueT::DTypeArg(_)) | None => Ok(()),
            Some(_) if self.number(name)? == 0.0 => Ok(()),
            Some(_) => Err(format!("argument {name} = {} is not supported", self.number(name)?)),
        }
    }

    pub fn shape(&self, id: ValueId) -> &[usize] {
        self.import.graph.shape(id)
    }

    /// Shape of output `index`, which the node has.
    pub fn out_shape(&self, index: usize) -> Result<Vec<usize>, Reason> {
        match self.output(index) {
            Some(id) => Ok(self.shape(id).to_vec()),
            None => Err(format!("output {index} is missing")),
        }
    }

    /// Shape of output `index` at the symbols' upper bounds, where it has symbolic sizes.
    pub fn upper_shape(&self, index: usize) -> Option<&[usize]> {
        self.upper(self.output(index)?)
    }

    /// Shape of a value at the symbols' upper bounds, where it has symbolic sizes.
    pub fn upper(&self, id: ValueId) -> Option<&[usize]> {
        self.import.upper.get(&id).map(|shape| &shape[..])
    }

    pub fn dtype(&self, id: ValueId) -> DType {
        self.import.graph.value(id).dtype
    }

    /// Dtype of output `index`, which the node has.
    pub fn out_dtype(&self, index: usize) -> Result<DType, Reason> {
        self.output(index).map(|id| self.dtype(id)).ok_or_else(|| format!("output {index} is missing"))
    }

    /// Value of output `index` if something reads it.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().filter(|&id| id >= 0)
    }

    /// Number of outputs the node lists.
    pub fn output_count(&self) -> usize {
        self.outputs.len()
    }

    /// A new constant.
    pub fn add_constant(&mut self, what: &str, tensor: Tensor<'a>) -> ValueId {
        let name = format!("{}.{what}", self.node.name);
        self.import.defined.push(true);
        self.import.graph.add_constant(name, tensor)
    }

    /// A new constant of one number.
    pub fn add_number(&mut self, what: &str, dtype: DType, number: f64) -> ValueId {
        self.add_constant(what, Tensor::numbers(dtype, &[], &[number]))
    }

    /// A value as another dtype: itself, a constant, or what a Cast gives.
    pub fn cast(&mut self, id: ValueId, dtype: DType) -> Result<ValueId, Reason> {
        if self.dtype(id) == dtype {
            return Ok(id);
        }
        if let Some(&known) = self.import.casts.get(&(id, dtype.0)) {
            return Ok(known);
        }
        let constant = self.import.graph.constant(id).map(|tensor| tensor.cast(dtype));
        let cast = match constant {
            Some(tensor) => {
                let name = self.import.graph.value(id).name.clone();
                self.import.defined.push(true);
                self.import.graph.add_constant(name, tensor)
            }
            None => {
                let shape = self.shape(id).to_vec();
                self.temp_of(dtype, &shape, cast(id))?
            }
        };
        self.import.casts.insert((id, dtype.0), cast);
        Ok(cast)
    }

    /// An op for an intermediate f32 value of `shape`.
    pub fn temp(&mut self, shape: &[usize], kind: OpKindT) -> Result<ValueId, Reason> {
        self.temp_of(DType::F32, shape, kind)
    }

    /// An op for an intermediate value of `shape` with the dtype of `like`.
    pub fn temp_like(&mut self, like: ValueId, shape: &[usize], kind: OpKindT) -> Result<ValueId, Reason> {
        self.temp_of(self.dtype(like), shape, kind)
    }

    /// An op for an intermediate value of `shape`.
    pub fn temp_of(&mut self, dtype: DType, shape: &[usize], kind: OpKindT) -> Result<ValueId, Reason> {
        if shape.len() > MAX_RANK {
            return Err(format!("takes an intermediate {shape:?} of more than {MAX_RANK} dimensions"));
        }
        let (name, id) = self.intermediate(dtype, shape);
        self.push(name, id, kind)?;
        Ok(id)
    }

    /// A value of the node's that no op defines yet, and its name.
    fn intermediate(&mut self, dtype: DType, shape: &[usize]) -> (String, ValueId) {
        self.parts += 1;
        let name = format!("{}.{}", self.node.name, self.parts);
        let shape = shape.to_vec();
        let value = Value { name: name.clone(), dtype, shape, dim_order: vec![], origin: Origin::Op };
        self.import.defined.push(false);
        (name, self.import.graph.add_value(value))
    }

    /// The op for output 0.
    pub fn emit(&mut self, kind: OpKindT) -> Result<(), Reason> {
        self.emit_at(0, kind)
    }

    /// The op for output `index`; nothing where no one reads it.
    pub fn emit_at(&mut self, index: usize, kind: OpKindT) -> Result<(), Reason> {
        let Some(id) = self.output(index) else { return Ok(()) };
        let name = if index == 0 { self.node.name.clone() } else { format!("{}.out{index}", self.node.name) };
        self.push(name, id, kind)
    }

    /// An op. What computes in f32 only is given 16-bit floats as f32, and its result rounded to them.
    fn push(&mut self, name: String, output: ValueId, mut kind: OpKindT) -> Result<(), Reason> {
        let declared = self.dtype(output);
        self.widen(&mut kind, declared)?;
        // What moves f32 to an output of 16-bit floats moves it first.
        let moved = |reason| {
            if is_half(declared) { result(&self.import.graph, &kind, DType::F32) } else { Err(reason) }
        };
        let given = result(&self.import.graph, &kind, declared).or_else(moved)?;
        if given == DType::F32 && is_half(declared) {
            let shape = self.shape(output).to_vec();
            let (wide_name, wide) = self.intermediate(given, &shape);
            self.define(wide_name, wide, kind)?;
            return self.define(name, output, cast(wide));
        }
        self.define(name, output, kind)
    }

    /// Replaces 16-bit floats that an op reads by f32, unless it only moves them to an output of theirs.
    fn widen(&mut self, kind: &mut OpKindT, declared: DType) -> Result<(), Reason> {
        if matches!(kind, OpKindT::Unary(op) if op.kind == UnaryKind::Cast) {
            return Ok(());
        }
        let mut halves = vec![];
        visit(kind, |_, &id| halves.extend(is_half(self.dtype(id)).then_some(id)));
        if halves.is_empty() || result(&self.import.graph, kind, declared) == Ok(declared) {
            return Ok(());
        }
        for half in halves {
            let wide = self.cast(half, DType::F32)?;
            visit_mut(kind, |_, id| {
                if *id == half {
                    *id = wide;
                }
            });
        }
        Ok(())
    }

    fn define(&mut self, name: String, output: ValueId, kind: OpKindT) -> Result<(), Reason> {
        let debug_handles = if self.node.debug_handle == 0 { vec![] } else { vec![self.node.debug_handle] };
        let op = Op { name, kind, output, order: self.import.order, debug_handles };
        verify_op(&self.import.graph, &op)?;
        if std::mem::replace(&mut self.import.defined[output as usize], true) {
            return Err(format!("output {output} is computed twice"));
        }
        self.import.graph.ops.push(Some(op));
        Ok(())
    }
}

fn cast(src: ValueId) -> OpKindT {
    OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind) = (src, UnaryKind::Cast)))
}

/// A dimension of `rank`, counted from the end where negative.
pub(crate) fn wrap(name: &str, dim: i64, rank: usize) -> Result<usize, Reason> {
    let span = rank.max(1) as i64;
    if (-span..span).contains(&dim) {
        Ok(dim.rem_euclid(span) as usize)
    } else {
        Err(format!("argument {name} = {dim} is no dimension of {rank}"))
    }
}
