//! Tensors joined along a dimension.

use tandem_schemas::program::{ConcatT, OpKindT};

use super::{Row, reshape};
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::{Call, wrap};

pub(super) const OPS: &[Row] = &[("aten.cat.default", cat), ("aten.stack.default", stack)];

pub(super) fn concat_of(src: Vec<ValueId>, dim: usize) -> OpKindT {
    OpKindT::Concat(table(|op: &mut ConcatT| (op.src, op.dim) = (src, dim as u32)))
}

fn cat(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensors("tensors")?;
    let Some(&first) = src.first() else { return Err("joins nothing".into()) };
    let dim = wrap("dim", call.int_or("dim", 0)?, call.shape(first).len())?;
    call.emit(concat_of(src, dim))
}

fn stack(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let src = call.tensors("tensors")?;
    let Some(&first) = src.first() else { return Err("joins nothing".into()) };
    let dim = wrap("dim", call.int_or("dim", 0)?, call.shape(first).len() + 1)?;
    let mut rows = vec![];
    for id in src {
        let mut shape = call.shape(id).to_vec();
        if dim > shape.len() {
            return Err(format!("stacks {shape:?} along {dim}"));
        }
        shape.insert(dim, 1);
        rows.push(call.temp_like(id, &shape, reshape(id))?);
    }
    call.emit(concat_of(rows, dim))
}
