//! softmax(scale * q k + mask) v, written as products and a softmax, becomes one op.

use tandem_schemas::program::{AttentionT, BinaryKind, EpilogueT, MatMulT, OpKindT, PermuteT, ReshapeT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, ValueId, table};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        if let Some(found) = find(edit, id) {
            found.rewrite(edit, id);
        }
    }
    Ok(())
}

/// Operands of `[batch, heads, …]` or `[batch, …]`; `k` is `[…, d, s]`.
struct Found {
    q: ValueId,
    k: ValueId,
    v: ValueId,
    mask: ValueId,
    scale: f32,
}

fn plain(product: &MatMulT) -> bool {
    product.epilogue.as_deref().is_none_or(|e| *e == EpilogueT::default())
}

fn find(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<Found> {
    let OpKindT::MatMul(values) = &edit.op(id)?.kind else { return None };
    let rank = edit.shape(values.a).len();
    let OpKindT::Softmax(softmax) = &edit.sole_producer(values.a)?.1.kind else { return None };
    if !plain(values) || values.scale != 1.0 || softmax.log || softmax.dim as usize != rank - 1 {
        return None;
    }
    let (mut scores, mut mask) = (softmax.src, -1);
    if let OpKindT::Binary(add) = &edit.sole_producer(scores)?.1.kind {
        let sum = add.kind == BinaryKind::Add && add.alpha == 1.0 && add.act.is_none();
        if !sum || edit.shape(add.a) != edit.shape(scores) {
            return None;
        }
        (scores, mask) = (add.a, add.b);
    }
    let OpKindT::MatMul(product) = &edit.sole_producer(scores)?.1.kind else { return None };
    let found = Found { q: product.a, k: product.b, v: values.b, mask, scale: product.scale };
    (plain(product) && found.fits(edit)).then_some(found)
}

impl Found {
    fn fits(&self, edit: &GraphEdit<'_, '_>) -> bool {
        let (q, k, v) = (edit.shape(self.q), edit.shape(self.k), edit.shape(self.v));
        match q.len() {
            4 => q[0] == k[0] && k[..2] == v[..2] && (k[1] == q[1] || k[1] == 1),
            3 => q[0] == k[0] && k[0] == v[0],
            _ => false,
        }
    }

    fn rewrite(&self, edit: &mut GraphEdit<'_, '_>, id: OpId) {
        let mut shape = edit.shape(self.k).to_vec();
        let rank = shape.len();
        shape.swap(rank - 1, rank - 2);
        let mut order: Vec<u32> = (0..rank as u32).collect();
        order.swap(rank - 1, rank - 2);
        let transpose = OpKindT::Permute(table(|op: &mut PermuteT| (op.src, op.order) = (self.k, order)));
        let k = edit.insert(id, "k", &shape, transpose);
        let [q, k, v] = [(self.q, "q"), (k, "k4"), (self.v, "v")].map(|(value, name)| {
            let shape = edit.shape(value).to_vec();
            if rank == 4 {
                return value;
            }
            let reshape = OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = value));
            edit.insert(id, name, &[&[1], &shape[..]].concat(), reshape)
        });
        let attention = OpKindT::Attention(table(|op: &mut AttentionT| {
            (op.q, op.k, op.v, op.mask, op.scale) = (q, k, v, self.mask, self.scale);
        }));
        if rank == 4 {
            return edit.modify(id, |kind| *kind = attention);
        }
        let out = edit.op(id).map_or(vec![], |op| [&[1], edit.shape(op.output)].concat());
        let (old, new) = edit.replace(id, "heads", &out, attention);
        let back = OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = new));
        edit.insert_for(id, "reshape", old, back);
    }
}
