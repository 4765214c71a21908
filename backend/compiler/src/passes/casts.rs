//! What is computed in f32 between two ops stays f32: a result rounded to a 16-bit float is not read through the
//! rounding again. Moves in between move f32.

use tandem_schemas::program::{DType, OpKindT, UnaryKind, UnaryT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, ValueId, is_half, moves, sources, table, visit_mut};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some(src) = widened(edit, id) else { continue };
        let Some((producer, before)) = edit.producer(src) else { continue };
        let (output, kind) = (edit.op(id).map_or(-1, |op| op.output), before.kind.clone());
        match &kind {
            OpKindT::Unary(cast) if cast.kind == UnaryKind::Cast && rounded(edit, src) => {
                note(edit, producer, cast.src);
                edit.redirect(output, cast.src);
                edit.remove(id);
            }
            kind if moves(kind) && sources(kind).iter().any(|&s| rounded(edit, s)) => {
                let (dtype, kind) = (edit.graph().value(src).dtype, in_f32(edit, producer, kind.clone()));
                edit.modify(id, |old| *old = kind);
                edit.note_rounded(output, dtype);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Notes that a value is rounded by the model, unless it is read as it was as well.
fn note(edit: &mut GraphEdit<'_, '_>, rounding: OpId, value: ValueId) {
    let dtype = edit.op(rounding).map(|op| edit.graph().value(op.output).dtype);
    if let Some(dtype) = dtype.filter(|_| edit.users(value) == [rounding] && !edit.is_output(value)) {
        edit.note_rounded(value, dtype);
    }
}

/// What a cast of a 16-bit float to f32 reads.
fn widened(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<ValueId> {
    let op = edit.op(id)?;
    let OpKindT::Unary(cast) = &op.kind else { return None };
    let dtype = |value: ValueId| edit.graph().value(value).dtype;
    let widens = dtype(op.output) == DType::F32 && is_half(dtype(cast.src));
    (cast.kind == UnaryKind::Cast && widens).then_some(cast.src)
}

/// Whether a value is f32 rounded, or such a one moved.
fn rounded(edit: &GraphEdit<'_, '_>, value: ValueId) -> bool {
    match edit.producer(value).map(|(_, op)| &op.kind) {
        Some(OpKindT::Unary(op)) if op.kind == UnaryKind::Cast => {
            edit.graph().value(op.src).dtype == DType::F32
        }
        Some(kind) if moves(kind) => sources(kind).iter().any(|&s| rounded(edit, s)),
        _ => false,
    }
}

/// A move of its sources as f32.
fn in_f32(edit: &mut GraphEdit<'_, '_>, origin: OpId, mut kind: OpKindT) -> OpKindT {
    let mut known: Vec<(ValueId, ValueId)> = vec![];
    for source in sources(&kind) {
        if known.iter().all(|(from, _)| *from != source) {
            let shape = edit.shape(source).to_vec();
            let cast = OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind) = (source, UnaryKind::Cast)));
            known.push((source, edit.insert_as(origin, "wide", DType::F32, &shape, cast)));
        }
    }
    visit_mut(&mut kind, |_, id| {
        if let Some((_, wide)) = known.iter().find(|(from, _)| from == id) {
            *id = *wide;
        }
    });
    kind
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::{Activation, DType};

    use crate::testing::{Build, check, check_untouched};

    #[test]
    fn rounding_between_ops_goes() {
        let mut b = Build::new();
        let x = b.input("x", &[2, 3]);
        let y = b.act("y", x, Activation::Relu);
        let half = b.cast("half", y, DType::F16);
        let turned = b.permute("turned", half, &[1, 0]);
        let wide = b.cast("wide", turned, DType::F32);
        let z = b.act("z", wide, Activation::Silu);
        let out = b.cast("out", z, DType::F16);
        b.output(out);
        check(
            "casts casts dead",
            b,
            "y[2, 3] = Unary(x; Relu)
             wide[3, 2] = Permute(y; [1, 0])
             z[3, 2] = Unary(wide; Silu)
             out[3, 2] = Unary(z; Cast)
             return out",
        );
    }

    #[test]
    fn halves_from_outside_are_widened_once() {
        let mut b = Build::new();
        let x = b.input_of("x", DType::F16, &[2, 3]);
        let turned = b.permute("turned", x, &[1, 0]);
        let wide = b.cast("wide", turned, DType::F32);
        b.output(wide);
        check_untouched("casts", b);
    }
}
