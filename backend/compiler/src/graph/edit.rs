//! The one way passes change a graph.

use tandem_schemas::program::{DType, OpKindT};

use super::{Graph, Op, OpId, Origin, Value, ValueId, execution_order, sources};
use crate::error::Reason;
use crate::tensor::Tensor;

/// A graph being rewritten: knows who produces and who uses each value, and keeps that true.
pub(crate) struct GraphEdit<'g, 'a> {
    graph: &'g mut Graph<'a>,
    producer: Vec<Option<OpId>>,
    /// Per value, each op once for every field that reads it.
    users: Vec<Vec<OpId>>,
    changes: usize,
}

impl<'g, 'a> GraphEdit<'g, 'a> {
    pub fn new(graph: &'g mut Graph<'a>) -> Self {
        let values = graph.values.len();
        let mut edit = Self { graph, producer: vec![None; values], users: vec![vec![]; values], changes: 0 };
        for id in 0..edit.graph.ops.len() {
            edit.link(id);
        }
        edit
    }

    /// How often the graph was changed.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Ops in execution order as it is now.
    pub fn order(&self) -> Result<Vec<OpId>, Reason> {
        execution_order(self.graph)
    }

    pub fn graph(&self) -> &Graph<'a> {
        self.graph
    }

    /// An op, unless it was removed.
    pub fn op(&self, id: OpId) -> Option<&Op> {
        self.graph.ops[id].as_ref()
    }

    pub fn shape(&self, value: ValueId) -> &[usize] {
        self.graph.shape(value)
    }

    pub fn constant(&self, value: ValueId) -> Option<&Tensor<'a>> {
        self.graph.constant(value)
    }

    /// The op that produces a value, if one does.
    pub fn producer(&self, value: ValueId) -> Option<(OpId, &Op)> {
        let id = self.producer[value as usize]?;
        self.op(id).map(|op| (id, op))
    }

    /// The op that produces a value which is read in one place only and not returned.
    pub fn sole_producer(&self, value: ValueId) -> Option<(OpId, &Op)> {
        if self.users[value as usize].len() == 1 && !self.is_output(value) {
            self.producer(value)
        } else {
            None
        }
    }

    pub fn users(&self, value: ValueId) -> &[OpId] {
        &self.users[value as usize]
    }

    pub fn is_output(&self, value: ValueId) -> bool {
        self.graph.outputs.iter().any(|o| o.value == value)
    }

    pub fn add_constant(&mut self, name: String, tensor: Tensor<'a>) -> ValueId {
        self.producer.push(None);
        self.users.push(vec![]);
        self.graph.add_constant(name, tensor)
    }

    /// Changes an op's payload.
    pub fn modify(&mut self, id: OpId, change: impl FnOnce(&mut OpKindT)) {
        self.unlink(id);
        if let Some(op) = &mut self.graph.ops[id] {
            change(&mut op.kind);
        }
        self.link(id);
        self.changes += 1;
    }

    /// A new op with a new value of `shape`, placed and named after `origin`.
    pub fn insert(&mut self, origin: OpId, suffix: &str, shape: &[usize], kind: OpKindT) -> ValueId {
        let output = self.add_value(origin, suffix, shape);
        self.insert_for(origin, suffix, output, kind);
        output
    }

    /// As [`GraphEdit::insert`], a value of a dtype of its own.
    pub fn insert_as(
        &mut self,
        origin: OpId,
        suffix: &str,
        dtype: DType,
        shape: &[usize],
        kind: OpKindT,
    ) -> ValueId {
        let output = self.add_value(origin, suffix, shape);
        self.graph.values[output as usize].dtype = dtype;
        self.insert_for(origin, suffix, output, kind);
        output
    }

    /// A new op for a value that none produces, placed and named after `origin`.
    pub fn insert_for(&mut self, origin: OpId, suffix: &str, output: ValueId, kind: OpKindT) {
        let Some(like) = self.op(origin) else { return };
        let name = format!("{}.{suffix}", like.name);
        let (order, debug_handles) = (like.order, like.debug_handles.clone());
        self.graph.ops.push(Some(Op { name, kind, output, order, debug_handles }));
        self.link(self.graph.ops.len() - 1);
        self.changes += 1;
    }

    /// Gives an op another payload and a new output of `shape`; returns its old output, which none produces now.
    pub fn replace(&mut self, id: OpId, suffix: &str, shape: &[usize], kind: OpKindT) -> (ValueId, ValueId) {
        let new = self.add_value(id, suffix, shape);
        self.unlink(id);
        let mut old = -1;
        if let Some(op) = &mut self.graph.ops[id] {
            old = std::mem::replace(&mut op.output, new);
            op.kind = kind;
            self.producer[old as usize] = None;
        }
        self.link(id);
        self.changes += 1;
        (old, new)
    }

    fn add_value(&mut self, origin: OpId, suffix: &str, shape: &[usize]) -> ValueId {
        let (name, dtype) = match self.op(origin) {
            Some(op) => (format!("{}.{suffix}", op.name), self.graph.value(op.output).dtype),
            None => (suffix.to_owned(), DType::F32),
        };
        self.producer.push(None);
        self.users.push(vec![]);
        let value = Value { name, dtype, shape: shape.to_vec(), dim_order: vec![], origin: Origin::Op };
        self.graph.add_value(value)
    }

    /// Notes that the model has a value of f32 as a 16-bit float.
    pub fn note_rounded(&mut self, value: ValueId, dtype: DType) {
        self.graph.rounded.insert(value, dtype);
    }

    /// Stores a value as another dtype; its producer and its readers are the caller's to answer for.
    pub fn store_as(&mut self, value: ValueId, dtype: DType) {
        self.graph.values[value as usize].dtype = dtype;
        self.changes += 1;
    }

    /// Makes everything that reads `old` read `new`.
    pub fn redirect(&mut self, old: ValueId, new: ValueId) {
        for id in self.users[old as usize].clone() {
            self.unlink(id);
            if let Some(op) = &mut self.graph.ops[id] {
                super::visit_mut(&mut op.kind, |_, value| {
                    if *value == old {
                        *value = new;
                    }
                });
            }
            self.link(id);
        }
        for output in self.graph.outputs.iter_mut().filter(|o| o.value == old) {
            output.value = new;
        }
        self.changes += 1;
    }

    pub fn remove(&mut self, id: OpId) {
        self.unlink(id);
        if let Some(op) = self.graph.ops[id].take() {
            self.producer[op.output as usize] = None;
        }
        self.changes += 1;
    }

    /// `id` computes what `next`, the only reader of its output, did; `next` is gone.
    pub fn absorb(&mut self, id: OpId, next: OpId) {
        let Some((output, handles)) = self.op(next).map(|op| (op.output, op.debug_handles.clone())) else {
            return;
        };
        self.remove(next);
        self.unlink(id);
        if let Some(op) = &mut self.graph.ops[id] {
            self.producer[op.output as usize] = None;
            op.output = output;
            for handle in handles {
                if !op.debug_handles.contains(&handle) {
                    op.debug_handles.push(handle);
                }
            }
        }
        self.link(id);
    }

    fn link(&mut self, id: OpId) {
        if let Some(op) = &self.graph.ops[id] {
            self.producer[op.output as usize] = Some(id);
            for value in sources(&op.kind) {
                self.users[value as usize].push(id);
            }
        }
    }

    fn unlink(&mut self, id: OpId) {
        if let Some(op) = &self.graph.ops[id] {
            for value in sources(&op.kind) {
                let users = &mut self.users[value as usize];
                if let Some(at) = users.iter().position(|&u| u == id) {
                    users.remove(at);
                }
            }
        }
    }
}
