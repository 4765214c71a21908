//! What the model has as 16-bit floats is stored as such wherever the ops around it take that; in front of others it is
//! widened, behind them rounded. Until here it is f32, so that no other pass knows of it.

use std::collections::{HashMap, HashSet};

use tandem_schemas::program::{DType, OpKindT, UnaryKind, UnaryT};

use crate::error::Reason;
use crate::graph::{
    GraphEdit, OpId, Role, ValueId, is_half, moves, sources, table, takes_halves, visit, visit_mut,
};

/// Weights beyond it stay f32, and their op.
const LARGEST_F16: f32 = 65504.0;

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    let order = edit.order()?;
    let rounded = rounded(edit, &order);
    if rounded.is_empty() {
        return Ok(());
    }
    let taking = taking(edit, &rounded, &order);
    let stored: HashMap<ValueId, DType> =
        rounded.iter().filter(|(v, _)| beside(edit, &taking, **v)).map(|(&v, &dtype)| (v, dtype)).collect();
    for &id in &order {
        match takes(edit, &rounded, id).filter(|_| taking.contains(&id)) {
            Some(dtype) => as_halves(edit, &stored, id, dtype),
            None => in_f32(edit, &stored, id),
        }
    }
    for (&value, &dtype) in &stored {
        edit.store_as(value, dtype);
    }
    for id in order {
        drop_rounding(edit, id);
    }
    Ok(())
}

/// Ops that are to read and write 16-bit floats: those that compute, and moves of what they read or write.
fn taking(edit: &GraphEdit<'_, '_>, rounded: &HashMap<ValueId, DType>, order: &[OpId]) -> HashSet<OpId> {
    let able = order.iter().copied().filter(|&id| takes(edit, rounded, id).is_some());
    let is_move = |id: &OpId| edit.op(*id).is_some_and(|op| moves(&op.kind));
    let (mut left, computing): (Vec<OpId>, Vec<OpId>) = able.partition(is_move);
    let mut taking: HashSet<OpId> = computing.into_iter().collect();
    loop {
        let joins = |id: &OpId| {
            let op = edit.op(*id);
            let values = op.map(|op| [sources(&op.kind), vec![op.output]].concat());
            values.is_some_and(|values| values.iter().any(|&v| beside(edit, &taking, v)))
        };
        let (more, rest): (Vec<OpId>, Vec<OpId>) = left.into_iter().partition(joins);
        if more.is_empty() {
            return taking;
        }
        taking.extend(more);
        left = rest;
    }
}

/// Whether one of these ops writes or reads a value.
fn beside(edit: &GraphEdit<'_, '_>, ops: &HashSet<OpId>, value: ValueId) -> bool {
    let written = edit.producer(value).is_some_and(|(id, _)| ops.contains(&id));
    written || edit.users(value).iter().any(|id| ops.contains(id))
}

/// Values of f32 that may be stored as 16-bit floats without another rounding than the model's.
fn rounded(edit: &GraphEdit<'_, '_>, order: &[OpId]) -> HashMap<ValueId, DType> {
    let mut known = HashMap::new();
    for &id in order {
        let Some(op) = edit.op(id) else { continue };
        if edit.graph().value(op.output).dtype != DType::F32 || edit.is_output(op.output) {
            continue;
        }
        let noted = edit.graph().rounded.get(&op.output).copied();
        let moved = || {
            let first = sources(&op.kind).into_iter().find_map(|v| dtype_of(edit, &known, v));
            first.filter(|_| moves(&op.kind)).filter(|&dtype| reads(edit, &known, &op.kind, dtype))
        };
        if let Some(dtype) = noted.or_else(|| read_rounded(edit, op.output)).or_else(moved) {
            known.insert(op.output, dtype);
        }
    }
    known
}

/// What a value that nothing else reads is rounded to.
fn read_rounded(edit: &GraphEdit<'_, '_>, value: ValueId) -> Option<DType> {
    let &[reader] = edit.users(value) else { return None };
    let op = edit.op(reader).filter(|_| !edit.is_output(value))?;
    let dtype = edit.graph().value(op.output).dtype;
    (cast_source(&op.kind).is_some() && is_half(dtype)).then_some(dtype)
}

fn cast_source(kind: &OpKindT) -> Option<ValueId> {
    match kind {
        OpKindT::Unary(op) if op.kind == UnaryKind::Cast => Some(op.src),
        _ => None,
    }
}

/// The 16-bit float a value has or may have.
fn dtype_of(edit: &GraphEdit<'_, '_>, rounded: &HashMap<ValueId, DType>, value: ValueId) -> Option<DType> {
    let own = |v: ValueId| Some(edit.graph().value(v).dtype).filter(|&dtype| is_half(dtype));
    rounded.get(&value).copied().or_else(|| own(value)).or_else(|| own(before_widening(edit, value)?))
}

/// What a value was before it was widened.
fn before_widening(edit: &GraphEdit<'_, '_>, value: ValueId) -> Option<ValueId> {
    let widened = edit.graph().value(value).dtype == DType::F32;
    edit.producer(value).filter(|_| widened).and_then(|(_, op)| cast_source(&op.kind))
}

/// Whether all that an op reads is or may be stored as `dtype`.
fn reads(edit: &GraphEdit<'_, '_>, rounded: &HashMap<ValueId, DType>, kind: &OpKindT, dtype: DType) -> bool {
    let mut all = true;
    visit(kind, |role, &v| {
        let constant = edit.constant(v);
        all &= match (role, constant) {
            (Role::Source, Some(_)) => exactly(edit, v, dtype),
            (Role::Source, None) => dtype_of(edit, rounded, v) == Some(dtype),
            (Role::Weight, Some(tensor)) if dtype == DType::F16 => {
                tensor.f32().iter().all(|x| x.abs() <= LARGEST_F16)
            }
            _ => true,
        };
    });
    all
}

/// Whether a constant is one of a dtype.
fn exactly(edit: &GraphEdit<'_, '_>, value: ValueId, dtype: DType) -> bool {
    edit.constant(value).is_some_and(|tensor| {
        tensor.dtype == dtype
            || (tensor.dtype == DType::F32 && tensor.cast(dtype).cast(DType::F32).f32() == tensor.f32())
    })
}

/// The dtype an op reads and writes, if it takes 16-bit floats and all around it may be.
fn takes(edit: &GraphEdit<'_, '_>, rounded: &HashMap<ValueId, DType>, id: OpId) -> Option<DType> {
    let op = edit.op(id)?;
    let dtype = rounded.get(&op.output).copied()?;
    (takes_halves(&op.kind) && reads(edit, rounded, &op.kind, dtype)).then_some(dtype)
}

/// An op reads what it reads as 16-bit floats.
fn as_halves(edit: &mut GraphEdit<'_, '_>, stored: &HashMap<ValueId, DType>, id: OpId, dtype: DType) {
    let Some(op) = edit.op(id) else { return };
    let mut others = vec![];
    visit(&op.kind, |role, &v| {
        if role == Role::Source && !stored.contains_key(&v) && edit.graph().value(v).dtype != dtype {
            others.push(v);
        }
    });
    let mut known: HashMap<ValueId, ValueId> = HashMap::new();
    for v in others {
        let constant = edit.constant(v).map(|tensor| tensor.cast(dtype));
        let half = match constant {
            Some(tensor) => {
                let name = edit.graph().value(v).name.clone();
                *known.entry(v).or_insert_with(|| edit.add_constant(name, tensor))
            }
            None => before_widening(edit, v).unwrap_or(v),
        };
        known.insert(v, half);
    }
    if known.is_empty() {
        return;
    }
    edit.modify(id, |kind| replace(kind, &known));
}

fn replace(kind: &mut OpKindT, by: &HashMap<ValueId, ValueId>) {
    visit_mut(kind, |role, v| {
        if let Some(&other) = by.get(v).filter(|_| role == Role::Source) {
            *v = other;
        }
    });
}

/// An op computes in f32 as before, between conversions of what is stored as 16-bit floats.
fn in_f32(edit: &mut GraphEdit<'_, '_>, stored: &HashMap<ValueId, DType>, id: OpId) {
    let Some(op) = edit.op(id) else { return };
    let (output, kind) = (op.output, op.kind.clone());
    if cast_source(&kind).is_none() {
        let mut known = HashMap::new();
        for v in sources(&kind).into_iter().filter(|v| stored.contains_key(v)) {
            let shape = edit.shape(v).to_vec();
            known.entry(v).or_insert_with(|| edit.insert_as(id, "wide", DType::F32, &shape, cast(v)));
        }
        if !known.is_empty() {
            edit.modify(id, |kind| replace(kind, &known));
        }
    }
    if stored.contains_key(&output) && cast_source(&kind).is_none() {
        let shape = edit.shape(output).to_vec();
        let Some(kind) = edit.op(id).map(|op| op.kind.clone()) else { return };
        let (old, new) = edit.replace(id, "unrounded", &shape, kind);
        edit.insert_for(id, "narrow", old, cast(new));
    }
}

fn cast(src: ValueId) -> OpKindT {
    OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind) = (src, UnaryKind::Cast)))
}

/// A cast of what has the dtype already is none.
fn drop_rounding(edit: &mut GraphEdit<'_, '_>, id: OpId) {
    let Some((src, output)) = edit.op(id).and_then(|op| Some((cast_source(&op.kind)?, op.output))) else {
        return;
    };
    if edit.graph().value(src).dtype == edit.graph().value(output).dtype {
        edit.redirect(output, src);
        edit.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::{Activation, DType};

    use crate::testing::{Build, check, check_untouched};

    #[test]
    fn a_chain_of_products_is_stored_as_halves() {
        let mut b = Build::new();
        let x = b.input_of("x", DType::F16, &[2, 4]);
        let wide = b.cast("wide", x, DType::F32);
        let (v, w) = (b.constant("v", &[6, 4]), b.constant("w", &[3, 2]));
        let first = b.linear("first", wide, v, -1);
        let half = b.cast("half", first, DType::F16);
        let turned = b.permute("turned", half, &[1, 0]);
        let again = b.cast("again", turned, DType::F32);
        let second = b.linear("second", again, w, -1);
        let out = b.cast("out", second, DType::F16);
        b.output(out);
        check(
            "casts casts storage dead",
            b,
            "first[2, 6] = Linear(x; weight v)
             again[6, 2] = Permute(first; [1, 0])
             second[6, 3] = Linear(again; weight w)
             return second",
        );
    }

    #[test]
    fn what_computes_in_f32_stands_between_conversions() {
        let mut b = Build::new();
        let x = b.input_of("x", DType::BF16, &[2, 4]);
        let wide = b.cast("wide", x, DType::F32);
        let (v, w) = (b.constant("v", &[6, 4]), b.constant("w", &[3, 6]));
        let first = b.linear("first", wide, v, -1);
        let half = b.cast("half", first, DType::BF16);
        let again = b.cast("again", half, DType::F32);
        let (scale, shift) = (b.constant("scale", &[6]), b.constant("shift", &[6]));
        let act = b.affine("act", again, 1, scale, shift);
        let rounded = b.cast("rounded", act, DType::BF16);
        let last = b.cast("last", rounded, DType::F32);
        let second = b.linear("second", last, w, -1);
        let out = b.cast("out", second, DType::BF16);
        b.output(out);
        check(
            "casts casts storage dead",
            b,
            "first[2, 6] = Linear(x; weight v)
             act.wide[2, 6] = Unary(first; Cast)
             act.unrounded[2, 6] = Affine(act.wide; dim 1, scale scale, shift shift)
             act[2, 6] = Unary(act.unrounded; Cast)
             second[2, 3] = Linear(act; weight w)
             return second",
        );
    }

    #[test]
    fn what_the_model_has_in_f32_stays() {
        let mut b = Build::new();
        let x = b.input("x", &[2, 4]);
        let v = b.constant("v", &[6, 4]);
        let first = b.linear("first", x, v, -1);
        let act = b.act("act", first, Activation::Relu);
        let half = b.cast("half", first, DType::F16);
        b.output(act);
        b.output(half);
        check_untouched("storage", b);
    }
}
