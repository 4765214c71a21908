//! Graph → Program: execution order, packed constants, and only values that something reads.

mod dump;
mod pack;
mod store;

use std::collections::HashMap;

use tandem_schemas::program::*;

use crate::dynamic::Dims;
use crate::error::{LowerError, Reason, Stage};
use crate::graph::{
    Graph, Op, Origin, Role, ValueId, execution_order, is_half, kind_name, table, verify, visit, visit_mut,
};
use crate::tensor::Tensor;

pub use dump::dump;
use pack::Columns;
pub use store::Entry;
use store::Store;

/// Writes the program and packs its constants.
pub(crate) fn emit(graph: &Graph<'_>, dims: &Dims) -> Result<(ProgramT, Vec<Entry>), LowerError> {
    let whole = |message| LowerError::Graph { stage: Stage::Emit, message };
    verify(graph, Stage::Emit)?;
    let order = execution_order(graph).map_err(whole)?;
    let mut emitter = Emitter::new(graph, dims);
    let mut ops = vec![];
    let mut names = HashMap::new();
    for id in &order {
        let Some(op) = &graph.ops[*id] else { continue };
        let mut emitted = emitter.op(op).map_err(|message| LowerError::Node {
            stage: Stage::Emit,
            op: kind_name(&op.kind).to_owned(),
            node: op.name.clone(),
            message,
        })?;
        // Profiles tell ops apart by their names.
        let uses = names.entry(op.name.clone()).and_modify(|n| *n += 1).or_insert(1);
        if *uses > 1 {
            emitted.name = format!("{}#{uses}", op.name);
        }
        ops.push(emitted);
    }
    let (inputs, outputs) = emitter.ends();
    let (constants, entries) = emitter.store.finish();
    let mut program = ProgramT::default();
    program.producer = Some(concat!("tandem ", env!("CARGO_PKG_VERSION")).to_owned());
    program.entries = entries.iter().map(Entry::table).collect();
    program.constants = constants;
    program.values = emitter.values;
    program.ops = ops;
    (program.inputs, program.outputs) = (inputs, outputs);
    if !dims.symbols.symbols().is_empty() {
        (program.symbols, program.exprs) = (Some(dims.symbol_tables()), Some(dims.expr_tables()));
    }
    Ok((program, entries))
}

/// Every place of the result gets a value of its own that an op computes.
pub(crate) fn separate_outputs(graph: &mut Graph<'_>) {
    let mut computed: HashMap<ValueId, usize> = HashMap::new();
    for (id, op) in graph.live() {
        computed.insert(op.output, id);
    }
    for i in 0..graph.outputs.len() {
        let output = graph.outputs[i].clone();
        let own = computed.contains_key(&output.value)
            && graph.outputs[..i].iter().all(|other| other.value != output.value);
        if own {
            continue;
        }
        let mut value = graph.value(output.value).clone();
        (value.name, value.origin) = (output.name.clone(), Origin::Op);
        let copy = graph.add_value(value);
        let kind =
            OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind) = (output.value, UnaryKind::Identity)));
        let (name, order) = (output.name, usize::MAX);
        graph.ops.push(Some(Op { name, kind, output: copy, order, debug_handles: vec![] }));
        graph.outputs[i].value = copy;
    }
}

struct Emitter<'g, 'a> {
    graph: &'g Graph<'a>,
    dims: &'g Dims,
    store: Store,
    values: Vec<ValueT>,
    /// Program value of a graph value.
    numbers: HashMap<ValueId, i32>,
    /// Constants as linear layers of a dtype read them: those of a recurrent layer, at every step.
    packed: HashMap<(ValueId, u8), i32>,
}

impl<'g, 'a> Emitter<'g, 'a> {
    fn new(graph: &'g Graph<'a>, dims: &'g Dims) -> Self {
        let (numbers, packed) = (HashMap::new(), HashMap::new());
        let mut emitter = Self { graph, dims, store: Store::default(), values: vec![], numbers, packed };
        for &id in &graph.inputs {
            let integer = matches!(graph.value(id).origin, Origin::Integer);
            let number = emitter.add(id, if integer { ValueKind::SymInt } else { ValueKind::Input });
            emitter.values[number as usize].dim_order = order_of(&graph.value(id).dim_order);
        }
        emitter
    }

    fn add(&mut self, id: ValueId, kind: ValueKind) -> i32 {
        let from = self.graph.value(id);
        let mut value = ValueT::default();
        (value.name, value.kind, value.dtype) = (from.name.clone(), kind, from.dtype);
        value.shape = Some(self.dims.shape(id, &from.shape));
        value.constant = -1;
        self.values.push(value);
        let number = (self.values.len() - 1) as i32;
        self.numbers.insert(id, number);
        number
    }

    /// Number of a value an op reads; constants are stored when first read.
    fn source(&mut self, op: &Op, id: ValueId) -> Result<i32, Reason> {
        if let Some(&number) = self.numbers.get(&id) {
            return Ok(number);
        }
        let value = self.graph.value(id);
        let Origin::Constant(tensor) = &value.origin else {
            return Err(format!("reads {} before it is computed", value.name));
        };
        let constant = self.store.plain(&value.name, &op.name, tensor);
        let number = self.add(id, ValueKind::Constant);
        self.values[number as usize].constant = constant;
        Ok(number)
    }

    fn op(&mut self, op: &Op) -> Result<OpT, Reason> {
        let mut fields = vec![];
        visit(&op.kind, |role, &id| fields.push((role, id)));
        let mut numbers = vec![];
        for (role, id) in fields {
            numbers.push(match role {
                Role::Source => self.source(op, id)?,
                _ => self.constant(op, role, id)?,
            });
        }
        let mut kind = op.kind.clone();
        let mut numbers = numbers.into_iter();
        visit_mut(&mut kind, |_, id| *id = numbers.next().unwrap_or(-1));
        if let OpKindT::Slice(slice) = &mut kind {
            slice.start = self.dims.upper(slice.start_expr).unwrap_or(slice.start);
        }
        let is_output = self.graph.outputs.iter().find(|o| o.value == op.output);
        let output =
            self.add(op.output, if is_output.is_some() { ValueKind::Output } else { ValueKind::Temp });
        if let Some(host) = is_output {
            let value = &mut self.values[output as usize];
            (value.name, value.dim_order) = (host.name.clone(), order_of(&host.dim_order));
        }
        let mut emitted = OpT::default();
        (emitted.name, emitted.kind, emitted.outputs) = (op.name.clone(), kind, vec![output]);
        emitted.debug_handles = (!op.debug_handles.is_empty()).then(|| op.debug_handles.clone());
        Ok(emitted)
    }

    /// Number of a weight, column array or parameter, stored in the format of its role.
    fn constant(&mut self, op: &Op, role: Role, id: ValueId) -> Result<i32, Reason> {
        let tensor = self.tensor(id)?;
        let name = &self.graph.value(id).name;
        let columns = Columns::of(&op.kind, self.graph);
        let linear = matches!(op.kind, OpKindT::Linear(_));
        let dtype = self.graph.value(op.output).dtype;
        let key = (id, dtype.0);
        if let Some(&number) = self.packed.get(&key).filter(|_| linear) {
            return Ok(number);
        }
        let number = match role {
            Role::Weight => {
                let panels = pack::weight(&op.kind, tensor)?;
                if is_half(dtype) && matches!(op.kind, OpKindT::Conv(_) | OpKindT::Linear(_)) {
                    let words = columns.words(&op.kind, self.graph, &panels);
                    self.store.halves(name, &op.name, &words, dtype)
                } else {
                    self.store.panels(name, &op.name, &panels, columns.format())
                }
            }
            Role::Column => self.store.columns(name, &columns.pack(&tensor.f32())),
            _ => self.store.plain(name, &op.name, tensor),
        };
        if linear {
            self.packed.insert(key, number);
        }
        Ok(number)
    }

    fn tensor(&self, id: ValueId) -> Result<&'g Tensor<'a>, Reason> {
        let graph: &'g Graph<'a> = self.graph;
        graph.constant(id).ok_or_else(|| format!("{} is not a constant", graph.value(id).name))
    }

    /// Program values of the call's inputs and outputs.
    fn ends(&self) -> (Vec<i32>, Vec<i32>) {
        let number = |id: ValueId| self.numbers.get(&id).copied().unwrap_or(-1);
        let inputs = self.graph.inputs.iter().map(|&id| number(id)).collect();
        (inputs, self.graph.outputs.iter().map(|o| number(o.value)).collect())
    }
}

fn order_of(order: &[u8]) -> Option<Vec<u8>> {
    (!order.is_empty()).then(|| order.to_vec())
}
