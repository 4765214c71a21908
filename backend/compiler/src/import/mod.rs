//! Subgraph → graph: one op, or a few, per node.

mod call;

use std::collections::HashMap;

use tandem_schemas::program::DType;
use tandem_schemas::subgraph::{self, NodeT, SubgraphT, ValueKind};

use crate::ConstantSource;
use crate::error::{LowerError, Reason, Stage};
use crate::graph::{Graph, Origin, Output, Value, ValueId};
use crate::ops;
use crate::tensor::{Tensor, width};
pub(crate) use call::{Call, wrap};

/// Highest rank.
const MAX_RANK: usize = tandem_base::strided::MAX_RANK;
/// Most elements of a value.
const MAX_ELEMENTS: u64 = 1 << 40;

/// Shapes at the symbols' upper bounds, of the values that have symbolic sizes.
pub(crate) type Upper = HashMap<ValueId, Vec<usize>>;

/// Reads every node of a subgraph.
pub(crate) fn import<'a>(
    subgraph: &SubgraphT,
    constants: &'a dyn ConstantSource,
    upper: Upper,
) -> Result<Graph<'a>, LowerError> {
    let whole = |message| LowerError::Graph { stage: Stage::Import, message };
    if subgraph.mutations.as_ref().is_some_and(|m| !m.is_empty()) {
        return Err(whole("state that a call changes is not supported".into()));
    }
    let mut import =
        Import { graph: Graph::default(), defined: vec![], casts: HashMap::new(), upper, order: 0 };
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
    /// Values as other dtypes.
    casts: HashMap<(ValueId, u8), ValueId>,
    upper: Upper,
    order: usize,
}

impl<'a> Import<'a> {
    fn value(&mut self, value: &subgraph::ValueT, constants: &'a dyn ConstantSource) -> Result<(), Reason> {
        let dtype = dtype(value.dtype)?;
        let shape = if value.kind == ValueKind::SymInt { vec![] } else { shape(value)? };
        let dim_order = value.dim_order.clone().unwrap_or_default();
        check_order(&dim_order, shape.len())?;
        let origin = match value.kind {
            ValueKind::Input => Origin::Input,
            ValueKind::Node => Origin::Op,
            ValueKind::SymInt => Origin::Integer,
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
            let Some(Value { origin: Origin::Input | Origin::Integer, .. }) = value else {
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
