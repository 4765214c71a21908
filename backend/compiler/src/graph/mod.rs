//! The graph that passes rewrite: values and single-output ops whose payloads are the Program's own tables.
//!
//! In a graph every tensor field of a payload (sources, weights, bias, scale, shift) indexes `values`; weights and
//! columns are constants in ATen's form and order. Emitting packs them and turns their fields into indices of
//! `Program.constants`.

mod dtype;
mod edit;
mod kind;
mod order;
mod text;
mod verify;

use std::collections::HashMap;

use tandem_schemas::program::{DType, OpKindT};

pub(crate) use dtype::{is_half, promote, result, takes_activation, takes_halves};
pub(crate) use edit::GraphEdit;
pub(crate) use kind::{
    Role, activation, as_activation, epilogue, epilogue_mut, moves, sources, table, u32s, visit, visit_mut,
};
pub(crate) use order::execution_order;
pub(crate) use text::{Naming, kind_name, kind_text, op_text, text};
pub(crate) use verify::{MAX_SEGMENTS, broadcast, verify, verify_op};

use crate::tensor::Tensor;

/// Index of an op in [`Graph::ops`].
pub(crate) type OpId = usize;
/// Index of a value in [`Graph::values`], in the type that payloads store.
pub(crate) type ValueId = i32;

#[derive(Clone, Debug)]
pub(crate) enum Origin<'a> {
    Input,
    /// An integer argument of the call, which no op reads.
    Integer,
    Op,
    Constant(Tensor<'a>),
}

#[derive(Clone, Debug)]
pub(crate) struct Value<'a> {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// Inputs only; outermost first, empty = contiguous.
    pub dim_order: Vec<u8>,
    pub origin: Origin<'a>,
}

#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub name: String,
    pub kind: OpKindT,
    pub output: ValueId,
    /// Place of the node it came from; ops run in this order as far as their operands allow.
    pub order: usize,
    pub debug_handles: Vec<i32>,
}

/// What the call returns at one place.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub value: ValueId,
    pub name: String,
    pub dim_order: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Graph<'a> {
    pub values: Vec<Value<'a>>,
    /// Removed ops leave `None`.
    pub ops: Vec<Option<Op>>,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<Output>,
    /// Values of f32 that the model has as 16-bit floats, rounded where it computes them.
    pub rounded: HashMap<ValueId, DType>,
}

impl<'a> Graph<'a> {
    pub fn value(&self, id: ValueId) -> &Value<'a> {
        &self.values[id as usize]
    }

    pub fn shape(&self, id: ValueId) -> &[usize] {
        &self.value(id).shape
    }

    pub fn constant(&self, id: ValueId) -> Option<&Tensor<'a>> {
        match &self.value(id).origin {
            Origin::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    pub fn add_value(&mut self, value: Value<'a>) -> ValueId {
        self.values.push(value);
        (self.values.len() - 1) as ValueId
    }

    pub fn add_constant(&mut self, name: String, tensor: Tensor<'a>) -> ValueId {
        let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
        self.add_value(Value { name, dtype, shape, dim_order: vec![], origin: Origin::Constant(tensor) })
    }

    /// Live ops with their indices, in no particular order.
    pub fn live(&self) -> impl Iterator<Item = (OpId, &Op)> {
        self.ops.iter().enumerate().filter_map(|(i, op)| op.as_ref().map(|op| (i, op)))
    }
}
