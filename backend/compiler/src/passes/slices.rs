//! A slice of a product computes only what is wanted: it moves in front of it, to the rows of its source, the columns
//! of its right-hand side or those of its weight.

use tandem_schemas::program::{EpilogueT, OpKindT, ReshapeT, SliceT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, ValueId, epilogue, epilogue_mut, table};
use crate::tensor::{Tensor, elements};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some(cut) = Cut::of(edit, id) else { continue };
        let Some((before, op)) = edit.sole_producer(cut.src) else { continue };
        let room = epilogue(&op.kind).is_none_or(|e| e.residual < 0);
        let done = room
            && match op.kind {
                OpKindT::Reshape(_) => cut.in_front_of_view(edit, before),
                OpKindT::MatMul(_) => cut.in_front_of_product(edit, before),
                OpKindT::Linear(_) => cut.in_front_of_layer(edit, before),
                _ => false,
            };
        if done {
            edit.absorb(before, id);
        }
    }
    Ok(())
}

/// `size` elements of `src` along `dim`.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub src: ValueId,
    pub dim: usize,
    pub start: i64,
    pub step: i64,
    pub size: usize,
}

impl Cut {
    pub fn of(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<Self> {
        let op = edit.op(id)?;
        let OpKindT::Slice(slice) = &op.kind else { return None };
        let dim = slice.dim as usize;
        let size = edit.shape(op.output)[dim];
        Some(Self { src: slice.src, dim, start: slice.start, step: slice.step, size })
    }

    /// The same cut of another value's dimension, as an op placed with `origin`.
    fn insert(&self, edit: &mut GraphEdit<'_, '_>, origin: OpId, src: ValueId, dim: usize) -> ValueId {
        let mut shape = edit.shape(src).to_vec();
        shape[dim] = self.size;
        let slice = OpKindT::Slice(table(|op: &mut SliceT| {
            (op.src, op.dim, op.start, op.step) = (src, dim as u32, self.start, self.step);
        }));
        edit.insert(origin, "part", &shape, slice)
    }

    /// In front of a reshape that keeps the dimension, where a product can take it from there.
    fn in_front_of_view(&self, edit: &mut GraphEdit<'_, '_>, view: OpId) -> bool {
        let Some(OpKindT::Reshape(reshape)) = edit.op(view).map(|op| &op.kind) else { return false };
        let src = reshape.src;
        let product = edit
            .sole_producer(src)
            .is_some_and(|(_, op)| matches!(op.kind, OpKindT::MatMul(_) | OpKindT::Linear(_)));
        let (from, to) = (edit.shape(src), edit.shape(self.src));
        let same =
            |dim: &usize| from[*dim] == to[self.dim] && elements(&from[..*dim]) == elements(&to[..self.dim]);
        let Some(dim) = (0..from.len()).find(same).filter(|_| product) else { return false };
        let part = self.insert(edit, view, src, dim);
        edit.modify(view, |kind| *kind = OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = part)));
        true
    }

    fn in_front_of_product(&self, edit: &mut GraphEdit<'_, '_>, product: OpId) -> bool {
        let Some(OpKindT::MatMul(op)) = edit.op(product).map(|op| &op.kind) else { return false };
        let (a, b) = (op.a, op.b);
        let plain = op.epilogue.as_deref().is_none_or(|e| *e == EpilogueT::default());
        let rank = edit.shape(self.src).len();
        let (value, rows) = match rank - self.dim {
            2 => (a, true),
            1 if plain => (b, false),
            _ => return false,
        };
        let dim = edit.shape(value).len() - (rank - self.dim);
        let part = self.insert(edit, product, value, dim);
        edit.modify(product, |kind| {
            if let OpKindT::MatMul(op) = kind {
                (op.a, op.b) = if rows { (part, b) } else { (a, part) };
            }
        });
        true
    }

    fn in_front_of_layer(&self, edit: &mut GraphEdit<'_, '_>, layer: OpId) -> bool {
        let Some(op) = edit.op(layer) else { return false };
        let (name, mut kind) = (op.name.clone(), op.kind.clone());
        let OpKindT::Linear(linear) = &mut kind else { return false };
        if self.dim + 1 < edit.shape(self.src).len() {
            linear.src = self.insert(edit, layer, linear.src, self.dim);
        } else if self.columns(edit, &mut kind, &name).is_none() {
            return false;
        }
        edit.modify(layer, |old| *old = kind);
        true
    }

    /// Leaves a linear layer these columns only.
    pub fn columns(&self, edit: &mut GraphEdit<'_, '_>, layer: &mut OpKindT, name: &str) -> Option<()> {
        let OpKindT::Linear(linear) = layer else { return None };
        linear.weight = self.of_constant(edit, linear.weight, name)?;
        if let Some(stages) = epilogue_mut(layer) {
            for column in [&mut stages.bias, &mut stages.scale, &mut stages.shift] {
                *column = self.of_constant(edit, *column, name).unwrap_or(-1);
            }
        }
        Some(())
    }

    /// The cut of a constant's first dimension.
    fn of_constant(&self, edit: &mut GraphEdit<'_, '_>, id: ValueId, name: &str) -> Option<ValueId> {
        let tensor = usize::try_from(id).ok().and_then(|_| edit.constant(id))?;
        let mut shape = tensor.shape.clone();
        let row = elements(&shape[1..]);
        shape[0] = self.size;
        let first = |i: usize| (self.start as usize + i * self.step as usize) * row;
        let data = tensor.f32();
        let part = (0..self.size).flat_map(|i| data[first(i)..first(i) + row].to_vec()).collect();
        let part = Tensor::owned(&shape, part);
        Some(edit.add_constant(format!("{name}.part"), part))
    }
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::Activation;

    use crate::testing::{Build, check, check_untouched};

    #[test]
    fn rows_of_a_product_come_from_rows_of_its_left_side() {
        let mut b = Build::new();
        let (x, y) = (b.input("x", &[1, 4, 3]), b.input("y", &[1, 3, 6]));
        let p = b.matmul("p", x, y, 1.0);
        let r = b.reshape("r", p, &[1, 4, 2, 3]);
        let s = b.slice("s", r, 1, [1, 3, 1]);
        b.output(s);
        check(
            "slices slices",
            b,
            "p.part[1, 3, 3] = Slice(x; dim 1, start 1)
             r.part[1, 3, 6] = MatMul(p.part, y)
             s[1, 3, 2, 3] = Reshape(r.part)
             return s",
        );
    }

    #[test]
    fn columns_of_a_product_come_from_columns_of_its_right_side() {
        let mut b = Build::new();
        let (x, y) = (b.input("x", &[4, 3]), b.input("y", &[3, 6]));
        let p = b.matmul("p", x, y, 1.0);
        let s = b.slice("s", p, 1, [0, 3, 2]);
        b.output(s);
        check(
            "slices",
            b,
            "p.part[3, 3] = Slice(y; dim 1, start 0, step 2)
             s[4, 3] = MatMul(x, p.part)
             return s",
        );
    }

    #[test]
    fn columns_of_a_layer_come_from_rows_of_its_weight() {
        let mut b = Build::new();
        let (x, w, bias) = (b.input("x", &[2, 3]), b.constant("w", &[5, 3]), b.constant("bias", &[5]));
        let y = b.linear("y", x, w, bias);
        let s = b.slice("s", y, 1, [1, 4, 1]);
        b.output(s);
        check(
            "slices",
            b,
            "s[2, 4] = Linear(x; weight y.part, bias y.part)
             return s",
        );
    }

    #[test]
    fn rows_of_a_layer_come_from_rows_of_its_source() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[2, 4, 3]), b.constant("w", &[5, 3]));
        let y = b.linear("y", x, w, -1);
        let s = b.slice("s", y, 1, [2, 1, 1]);
        b.output(s);
        check(
            "slices",
            b,
            "y.part[2, 1, 3] = Slice(x; dim 1, start 2)
             s[2, 1, 5] = Linear(y.part; weight w)
             return s",
        );
    }

    #[test]
    fn slices_of_what_others_read_or_of_batches_stay() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[2, 3]), b.constant("w", &[5, 3]));
        let y = b.linear("y", x, w, -1);
        let (s, r) = (b.slice("s", y, 1, [1, 4, 1]), b.act("r", y, Activation::Relu));
        b.output(s);
        b.output(r);
        check_untouched("slices", b);
        let mut b = Build::new();
        let (x, y) = (b.input("x", &[4, 2, 3]), b.input("y", &[1, 3, 6]));
        let p = b.matmul("p", x, y, 1.0);
        let s = b.slice("s", p, 0, [1, 2, 1]);
        b.output(s);
        check_untouched("slices", b);
    }

    #[test]
    fn slices_behind_a_residual_or_of_a_merged_dimension_stay() {
        let mut b = Build::new();
        let (x, y) = (b.input("x", &[1, 4, 3]), b.input("y", &[1, 3, 6]));
        let p = b.matmul("p", x, y, 1.0);
        let r = b.reshape("r", p, &[1, 2, 2, 6]);
        let s = b.slice("s", r, 1, [1, 1, 1]);
        b.output(s);
        check_untouched("slices", b);
    }
}
