//! Subgraph → graph: one op, or a few, per node.

use std::collections::HashMap;

use tandem_schemas::program::{DType, OpKindT};
use tandem_schemas::subgraph::{self, ArgValueT, NodeT, SubgraphT, ValueKind};

use crate::ConstantSource;
use crate::error::{LowerError, Reason, Stage};
use crate::graph::{Graph, Op, Origin, Output, Value, ValueId, verify_op};
use crate::ops;
use crate::tensor::{Tensor, width};

/// Highest rank.
const MAX_RANK: usize = tandem_base::strided::MAX_RANK;
/// Most elements of a value.
const MAX_ELEMENTS: u64 = 1 << 40;

/// Reads every node of a subgraph.
pub(crate) fn import<'a>(
    subgraph: &SubgraphT,
    constants: &'a dyn ConstantSource,
) -> Result<Graph<'a>, LowerError> {
    let whole = |message| LowerError::Graph { stage: Stage::Import, message };
    if subgraph.mutations.as_ref().is_some_and(|m| !m.is_empty()) {
        return Err(whole("state that a call changes is not supported".into()));
    }
    let mut import = Import { graph: Graph::default(), defined: vec![], order: 0 };
    for (i, value) in subgraph.values.iter().enumerate() {
        import.value(value, constants).map_err(|m| whole(format!("value {i} \"{}\": {m}", value.name)))?;
    }
    import.inputs(subgraph).map_err(whole)?;
    for (order, node) in subgraph.nodes.iter().enumerate() {
        import.order = order;
        import.node(node).map_err(|message| LowerError::Node {
            stage: Stage::Import,
            op: node.op.clone(),
            node: node.name.clone(),
            message,
        })?;
    }
    import.outputs(subgraph).map_err(whole)?;
    Ok(import.graph)
}

struct Import<'a> {
    graph: Graph<'a>,
    /// Whether a value is known at the node being read.
    defined: Vec<bool>,
    order: usize,
}

impl<'a> Import<'a> {
    fn value(&mut self, value: &subgraph::ValueT, constants: &'a dyn ConstantSource) -> Result<(), Reason> {
        let dtype = dtype(value.dtype)?;
        let shape = shape(value)?;
        let dim_order = value.dim_order.clone().unwrap_or_default();
        check_order(&dim_order, shape.len())?;
        let origin = match value.kind {
            ValueKind::Input => Origin::Input,
            ValueKind::Node => Origin::Op,
            ValueKind::Constant => {
                if !dim_order.is_empty() && !dim_order.is_sorted() {
                    return Err(format!("dim order {dim_order:?} of a constant; they are row-major"));
                }
                Origin::Constant(constant(value, dtype, &shape, constants)?)
            }
            kind => return Err(format!("{kind:?} values are not supported")),
        };
        self.defined.push(matches!(origin, Origin::Constant(_)));
        self.graph.add_value(Value { name: value.name.clone(), dtype, shape, dim_order, origin });
        Ok(())
    }

    fn inputs(&mut self, subgraph: &SubgraphT) -> Result<(), Reason> {
        for &id in &subgraph.inputs {
            let value = usize::try_from(id).ok().and_then(|i| self.graph.values.get(i));
            let Some(Value { origin: Origin::Input, .. }) = value else {
                return Err(format!("input {id} is not an Input among {} values", self.graph.values.len()));
            };
            if std::mem::replace(&mut self.defined[id as usize], true) {
                return Err(format!("input {id} is listed twice"));
            }
            self.graph.inputs.push(id);
        }
        Ok(())
    }

    fn outputs(&mut self, subgraph: &SubgraphT) -> Result<(), Reason> {
        for &id in &subgraph.outputs {
            if !usize::try_from(id).is_ok_and(|i| self.defined.get(i) == Some(&true)) {
                return Err(format!("output {id} is computed by no node"));
            }
            let Value { name, dim_order, .. } = self.graph.value(id).clone();
            self.graph.outputs.push(Output { value: id, name, dim_order });
        }
        Ok(())
    }

    fn node(&mut self, node: &NodeT) -> Result<(), Reason> {
        let Some(parse) = ops::find(&node.op) else {
            return Err("is not among the operators this library lowers".into());
        };
        let outputs = node.outputs.clone().unwrap_or_default();
        for &id in outputs.iter().filter(|&&id| id != -1) {
            let value = usize::try_from(id).ok().and_then(|i| self.graph.values.get(i));
            let Some(Value { origin: Origin::Op, .. }) = value else {
                return Err(format!("output {id} is not a Node among {} values", self.graph.values.len()));
            };
            if self.defined[id as usize] {
                return Err(format!("output {id} is computed twice"));
            }
        }
        let args = node.args.iter().flatten().map(|a| (&a.name[..], &a.value)).collect();
        let mut call = Call { import: self, node, args, outputs, parts: 0 };
        parse(&mut call)?;
        let missing = call.outputs.iter().find(|&&id| id != -1 && !call.import.defined[id as usize]).copied();
        missing.map_or(Ok(()), |id| Err(format!("output {id} is not one this operator can give")))
    }
}

fn dtype(dtype: subgraph::DType) -> Result<DType, Reason> {
    let known = DType(dtype.0);
    known.variant_name().map(|_| known).ok_or_else(|| format!("dtype {} is not known", dtype.0))
}

fn shape(value: &subgraph::ValueT) -> Result<Vec<usize>, Reason> {
    let dims = value.shape.as_deref().unwrap_or_default();
    let sizes: Vec<i64> = dims.iter().map(|d| d.size_).collect();
    if dims.len() > MAX_RANK {
        return Err(format!("shape {sizes:?} has more than {MAX_RANK} dimensions"));
    }
    if dims.iter().any(|d| d.expr >= 0) {
        return Err(format!("shape {sizes:?} has symbolic sizes, which are not supported"));
    }
    if sizes.iter().any(|&s| s < 1) {
        return Err(format!("shape {sizes:?} is empty or negative"));
    }
    let total = sizes.iter().try_fold(1u64, |n, &s| n.checked_mul(s as u64).filter(|&n| n <= MAX_ELEMENTS));
    total.ok_or_else(|| format!("shape {sizes:?} is larger than anything"))?;
    Ok(sizes.iter().map(|&s| s as usize).collect())
}

fn check_order(order: &[u8], rank: usize) -> Result<(), Reason> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    let permutes = sorted.len() == rank && sorted.iter().enumerate().all(|(i, &d)| i == usize::from(d));
    if order.is_empty() || permutes {
        Ok(())
    } else {
        Err(format!("dim order {order:?} of {rank} dimensions"))
    }
}

fn constant<'a>(
    value: &subgraph::ValueT,
    dtype: DType,
    shape: &[usize],
    constants: &'a dyn ConstantSource,
) -> Result<Tensor<'a>, Reason> {
    let key = value.constant.as_deref().ok_or("a constant without a key")?;
    let bytes = constants.get(key).ok_or_else(|| format!("no bytes were given for constant {key:?}"))?;
    let expected = shape.iter().product::<usize>() * width(dtype);
    if bytes.len() != expected {
        return Err(format!("{key:?} has {} bytes, {dtype:?} {shape:?} takes {expected}", bytes.len()));
    }
    Ok(Tensor::borrowed(dtype, shape, bytes))
}

/// One node while its operator's file reads it.
pub(crate) struct Call<'i, 'a> {
    import: &'i mut Import<'a>,
    node: &'i NodeT,
    args: HashMap<&'i str, &'i ArgValueT>,
    outputs: Vec<ValueId>,
    parts: usize,
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

    /// The elements of an f32 vector known at export; None if absent.
    pub fn vector(&self, name: &str) -> Result<Option<Vec<f32>>, Reason> {
        if !self.has(name) {
            return Ok(None);
        }
        let (_, tensor) = self.constant(name)?;
        if tensor.dtype != DType::F32 {
            return Err(format!("argument {name} is {:?}, not F32", tensor.dtype));
        }
        Ok(Some(tensor.f32().into_owned()))
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

    /// Small non-negative integers [y, x]; one stands for both, none for `default`.
    pub fn pair(&self, name: &str, default: [u32; 2]) -> Result<[u32; 2], Reason> {
        let given = self.ints(name)?;
        if let Some(v) = given.iter().find(|v| !(0..=MAX_STEP).contains(v)) {
            return Err(format!("argument {name} {given:?}: {v} is not within 0..={MAX_STEP}"));
        }
        match given[..] {
            [] => Ok(default),
            [both] => Ok([both as u32; 2]),
            [y, x] => Ok([y as u32, x as u32]),
            _ => Err(format!("argument {name} {given:?} is not one or two integers")),
        }
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

    /// An op for an intermediate f32 value of `shape`.
    pub fn temp(&mut self, shape: &[usize], kind: OpKindT) -> Result<ValueId, Reason> {
        self.intermediate(DType::F32, shape, kind)
    }

    /// An op for an intermediate value of `shape` with the dtype of `like`.
    pub fn temp_like(&mut self, like: ValueId, shape: &[usize], kind: OpKindT) -> Result<ValueId, Reason> {
        self.intermediate(self.import.graph.value(like).dtype, shape, kind)
    }

    fn intermediate(&mut self, dtype: DType, shape: &[usize], kind: OpKindT) -> Result<ValueId, Reason> {
        self.parts += 1;
        let name = format!("{}.{}", self.node.name, self.parts);
        let shape = shape.to_vec();
        let value = Value { name: name.clone(), dtype, shape, dim_order: vec![], origin: Origin::Op };
        let id = self.import.graph.add_value(value);
        self.import.defined.push(false);
        self.push(name, id, kind)?;
        Ok(id)
    }

    /// The op for output 0.
    pub fn emit(&mut self, kind: OpKindT) -> Result<(), Reason> {
        self.emit_at(0, kind)
    }

    /// The op for output `index`; nothing where no one reads it.
    pub fn emit_at(&mut self, index: usize, kind: OpKindT) -> Result<(), Reason> {
        let Some(id) = self.output(index) else { return Ok(()) };
        let name = if index == 0 { self.node.name.clone() } else { format!("{}.{index}", self.node.name) };
        self.push(name, id, kind)
    }

    fn push(&mut self, name: String, output: ValueId, kind: OpKindT) -> Result<(), Reason> {
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

/// A dimension of `rank`, counted from the end where negative.
pub(crate) fn wrap(name: &str, dim: i64, rank: usize) -> Result<usize, Reason> {
    let span = rank.max(1) as i64;
    if (-span..span).contains(&dim) {
        Ok(dim.rem_euclid(span) as usize)
    } else {
        Err(format!("argument {name} = {dim} is no dimension of {rank}"))
    }
}
