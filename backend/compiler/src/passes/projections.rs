//! A linear layer that gives an attention's queries, keys and values side by side becomes a layer for each: each then lies as
//! attention reads it.

use tandem_schemas::program::OpKindT;

use super::slices::Cut;
use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, ValueId, epilogue};
use crate::tensor::elements;

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        if let Some(fused) = Fused::of(edit, id) {
            for (slice, role) in &fused.slices {
                fused.take(edit, *slice, role);
            }
        }
    }
    Ok(())
}

/// A view between the layer and its slices.
struct View {
    op: OpId,
    /// The dimension of its result that the slices cut, and the layer's columns of an index.
    dim: usize,
    columns: usize,
}

/// A layer read by slices only, which are operands of attention.
struct Fused {
    layer: OpId,
    /// From the layer on.
    views: Vec<View>,
    /// With the operand each is.
    slices: Vec<(OpId, &'static str)>,
    /// Columns of an index of the slices' dimension.
    columns: usize,
}

impl Fused {
    fn of(edit: &GraphEdit<'_, '_>, layer: OpId) -> Option<Self> {
        let op = edit.op(layer)?;
        let OpKindT::Linear(_) = op.kind else { return None };
        let (mut value, mut views) = (op.output, Vec::new());
        if epilogue(&op.kind).is_some_and(|e| e.residual >= 0) || elements(edit.shape(value)) == 0 {
            return None;
        }
        while let Some((view, result)) = only_view(edit, value) {
            views.push(View { op: view, dim: 0, columns: 1 });
            value = result;
        }
        let users = edit.users(value);
        if users.len() < 2 || edit.is_output(value) {
            return None;
        }
        let slices: Option<Vec<_>> = users.iter().map(|&id| Some((id, role(edit, id)?))).collect();
        let slices = slices?;
        let cuts: Option<Vec<Cut>> = users.iter().map(|&id| Cut::of(edit, id)).collect();
        let (cuts, mut dim, mut columns) = (cuts?, Cut::of(edit, users[0])?.dim, 1);
        if cuts.iter().any(|cut| cut.dim != dim || cut.step != 1) {
            return None;
        }
        for view in views.iter_mut().rev() {
            (view.dim, view.columns) = (dim, columns);
            let inner;
            (dim, inner) = source(edit, view.op, dim)?;
            columns *= inner;
        }
        (dim + 1 == edit.shape(op.output).len()).then_some(Self { layer, views, slices, columns })
    }

    /// Puts a layer of its own, and the views behind it, in place of a slice.
    fn take(&self, edit: &mut GraphEdit<'_, '_>, slice: OpId, role: &str) {
        let (Some(cut), Some(layer)) = (Cut::of(edit, slice), edit.op(self.layer)) else { return };
        let (mut kind, name, whole) = (layer.kind.clone(), format!("{}.{role}", layer.name), layer.output);
        let mut shape = edit.shape(whole).to_vec();
        let dim = shape.len() - 1;
        let (start, size) = (cut.start * self.columns as i64, cut.size * self.columns);
        if (Cut { src: whole, dim, start, step: 1, size }).columns(edit, &mut kind, &name).is_none() {
            return;
        }
        shape[dim] = size;
        let mut value = edit.insert(self.layer, role, &shape, kind);
        like(edit, whole, value);
        for view in &self.views {
            let Some(op) = edit.op(view.op) else { return };
            let (mut kind, whole) = (op.kind.clone(), op.output);
            let mut shape = edit.shape(whole).to_vec();
            shape[view.dim] = cut.size * view.columns;
            match &mut kind {
                OpKindT::Reshape(op) => op.src = value,
                OpKindT::Permute(op) => op.src = value,
                _ => return,
            }
            value = edit.insert(view.op, role, &shape, kind);
            like(edit, whole, value);
        }
        if let Some(old) = edit.op(slice).map(|op| op.output) {
            edit.redirect(old, value);
            edit.remove(slice);
        }
    }
}

/// A part of a value is rounded as the whole is.
fn like(edit: &mut GraphEdit<'_, '_>, whole: ValueId, part: ValueId) {
    if let Some(dtype) = edit.graph().rounded.get(&whole).copied() {
        edit.note_rounded(part, dtype);
    }
}

/// The view that is all that reads a value, and its result.
fn only_view(edit: &GraphEdit<'_, '_>, value: ValueId) -> Option<(OpId, ValueId)> {
    let &[user] = edit.users(value) else { return None };
    let op = edit.op(user).filter(|_| !edit.is_output(value))?;
    matches!(op.kind, OpKindT::Reshape(_) | OpKindT::Permute(_)).then_some((user, op.output))
}

/// The operand of attention that a slice is, behind views.
fn role(edit: &GraphEdit<'_, '_>, slice: OpId) -> Option<&'static str> {
    let op = edit.op(slice)?;
    let OpKindT::Slice(_) = op.kind else { return None };
    let mut value = op.output;
    while let Some((_, result)) = only_view(edit, value) {
        value = result;
    }
    let &[user] = edit.users(value) else { return None };
    let OpKindT::Attention(attention) = &edit.op(user).filter(|_| !edit.is_output(value))?.kind else {
        return None;
    };
    let operands = [(attention.q, "q"), (attention.k, "k"), (attention.v, "v")];
    operands.into_iter().find(|(operand, _)| *operand == value).map(|(_, role)| role)
}

/// Where a dimension of a view's result comes from, and how many of the source's indices one of it is.
fn source(edit: &GraphEdit<'_, '_>, view: OpId, dim: usize) -> Option<(usize, usize)> {
    let op = edit.op(view)?;
    let reshape = match &op.kind {
        OpKindT::Permute(permute) => return Some((permute.order[dim] as usize, 1)),
        OpKindT::Reshape(reshape) => reshape,
        _ => return None,
    };
    let (from, to) = (edit.shape(reshape.src), edit.shape(op.output));
    let inner = |j: usize| {
        let mut inner = (dim + 1..=to.len()).map(|end| elements(&to[dim + 1..end]));
        inner.find(|inner| from[j] == to[dim] * inner)
    };
    let starts = |j: &usize| from[*j] > 1 && elements(&from[..*j]) == elements(&to[..dim]);
    (0..from.len()).filter(starts).find_map(|j| Some((j, inner(j)?)))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Build, check, check_untouched};

    #[test]
    fn a_layer_for_each_operand() {
        let mut b = Build::new();
        let (x, w, bias) = (b.input("x", &[1, 3, 5]), b.constant("w", &[12, 5]), b.constant("bias", &[12]));
        let y = b.linear("y", x, w, bias);
        let r = b.reshape("r", y, &[3, 1, 3, 4]);
        let p = b.permute("p", r, &[2, 1, 0, 3]);
        let operands = [0, 1, 2].map(|i| {
            let s = b.slice(&format!("s{i}"), p, 0, [i, 1, 1]);
            let s = b.reshape(&format!("t{i}"), s, &[1, 3, 2, 2]);
            b.permute(&format!("h{i}"), s, &[0, 2, 1, 3])
        });
        let a = b.attention("a", operands);
        b.output(a);
        check(
            "projections dead views",
            b,
            "y.q[1, 3, 4] = Linear(x; weight y.q.part, bias y.q.part)
             y.k[1, 3, 4] = Linear(x; weight y.k.part, bias y.k.part)
             y.v[1, 3, 4] = Linear(x; weight y.v.part, bias y.v.part)
             r.q[3, 1, 1, 4] = Reshape(y.q)
             r.k[3, 1, 1, 4] = Reshape(y.k)
             r.v[3, 1, 1, 4] = Reshape(y.v)
             p.q[1, 1, 3, 4] = Reshape(r.q)
             p.k[1, 1, 3, 4] = Reshape(r.k)
             p.v[1, 1, 3, 4] = Reshape(r.v)
             t0[1, 3, 2, 2] = Reshape(r.q)
             h0[1, 2, 3, 2] = Permute(t0; [0, 2, 1, 3])
             t1[1, 3, 2, 2] = Reshape(r.k)
             h1[1, 2, 3, 2] = Permute(t1; [0, 2, 1, 3])
             t2[1, 3, 2, 2] = Reshape(r.v)
             h2[1, 2, 3, 2] = Permute(t2; [0, 2, 1, 3])
             a[1, 2, 3, 2] = Attention(h0, h1, h2; scale 0.5)
             return a",
        );
    }

    #[test]
    fn what_others_read_stays_one_layer() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[1, 2, 3, 5]), b.constant("w", &[12, 5]));
        let y = b.linear("y", x, w, -1);
        let operands = [0, 4, 8].map(|start| b.slice(&format!("s{start}"), y, 3, [start, 4, 1]));
        let a = b.attention("a", operands);
        [a, operands[2]].into_iter().for_each(|y| b.output(y));
        check_untouched("projections", b);
    }
}
