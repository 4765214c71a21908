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

/// The bias of a product with nothing behind it, -1 without.
fn bias_only(product: &MatMulT) -> Option<ValueId> {
    let mut stages = product.epilogue.as_deref().cloned().unwrap_or_default();
    let bias = std::mem::replace(&mut stages.bias, -1);
    (stages == EpilogueT::default()).then_some(bias)
}

fn product<'e>(edit: &'e GraphEdit<'_, '_>, value: ValueId) -> Option<&'e MatMulT> {
    match &edit.sole_producer(value)?.1.kind {
        OpKindT::MatMul(product) => Some(product),
        _ => None,
    }
}

fn find(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<Found> {
    let OpKindT::MatMul(values) = &edit.op(id)?.kind else { return None };
    let rank = edit.shape(values.a).len();
    let OpKindT::Softmax(softmax) = &edit.sole_producer(values.a)?.1.kind else { return None };
    let plain = bias_only(values) == Some(-1) && values.scale == 1.0;
    if !plain || softmax.log || softmax.dim as usize != rank - 1 {
        return None;
    }
    let (mut scores, mut mask) = (softmax.src, -1);
    if let OpKindT::Binary(add) = &edit.sole_producer(scores)?.1.kind {
        if add.kind != BinaryKind::Add || add.alpha != 1.0 || add.act.is_some() {
            return None;
        }
        let fits = |sum: ValueId| product(edit, sum).is_some() && edit.shape(sum) == edit.shape(scores);
        (scores, mask) = if fits(add.a) { (add.a, add.b) } else { (add.b, add.a) };
    }
    if edit.shape(scores) != edit.shape(softmax.src) {
        return None;
    }
    let product = product(edit, scores)?;
    // A bias along the keys masks them as a mask of one row does.
    let bias = bias_only(product)?;
    if mask >= 0 && bias >= 0 {
        return None;
    }
    let found = Found { q: product.a, k: product.b, v: values.b, mask: mask.max(bias), scale: product.scale };
    found.fits(edit).then_some(found)
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

#[cfg(test)]
mod tests {
    use tandem_schemas::program::UnaryKind;

    use crate::graph::ValueId;
    use crate::testing::{Build, check, check_untouched};

    /// What [`attention`] puts together.
    struct Case {
        q: &'static [usize],
        k: &'static [usize],
        v: &'static [usize],
        mask: Option<&'static [usize]>,
        dim: usize,
    }

    const HEADS: Case = Case { q: &[2, 2, 3, 4], k: &[2, 2, 4, 5], v: &[2, 2, 5, 6], mask: None, dim: 3 };

    /// softmax(q k / 2 + mask) v, and its scores.
    fn attention(case: &Case) -> (Build, ValueId) {
        let mut b = Build::new();
        let (q, k, v) = (b.input("q", case.q), b.input("k", case.k), b.input("v", case.v));
        let scores = b.matmul("scores", q, k, 0.5);
        let masked = match case.mask {
            Some(shape) => {
                let mask = b.input("mask", shape);
                b.add("masked", scores, mask)
            }
            None => scores,
        };
        let weights = b.softmax("weights", masked, case.dim);
        let out = b.matmul("out", weights, v, 1.0);
        b.output(out);
        (b, scores)
    }

    #[test]
    fn with_heads() {
        check(
            "attention",
            attention(&HEADS).0,
            "scores[2, 2, 3, 5] = MatMul(q, k; scale 0.5)
             weights[2, 2, 3, 5] = Softmax(scores; dim 3)
             out.k[2, 2, 5, 4] = Permute(k; [0, 1, 3, 2])
             out[2, 2, 3, 6] = Attention(q, out.k, v; scale 0.5)
             return out",
        );
    }

    #[test]
    fn with_a_mask() {
        check(
            "attention",
            attention(&Case { mask: Some(&[3, 5]), ..HEADS }).0,
            "scores[2, 2, 3, 5] = MatMul(q, k; scale 0.5)
             masked[2, 2, 3, 5] = Binary(scores, mask; Add)
             weights[2, 2, 3, 5] = Softmax(masked; dim 3)
             out.k[2, 2, 5, 4] = Permute(k; [0, 1, 3, 2])
             out[2, 2, 3, 6] = Attention(q, out.k, v; mask mask, scale 0.5)
             return out",
        );
    }

    #[test]
    fn without_heads() {
        check(
            "attention",
            attention(&Case { q: &[2, 3, 4], k: &[2, 4, 5], v: &[2, 5, 6], mask: None, dim: 2 }).0,
            "scores[2, 3, 5] = MatMul(q, k; scale 0.5)
             weights[2, 3, 5] = Softmax(scores; dim 2)
             out.k[2, 5, 4] = Permute(k; [0, 2, 1])
             out.q[1, 2, 3, 4] = Reshape(q)
             out.k4[1, 2, 5, 4] = Reshape(out.k)
             out.v[1, 2, 5, 6] = Reshape(v)
             out.heads[1, 2, 3, 6] = Attention(out.q, out.k4, out.v; scale 0.5)
             out[2, 3, 6] = Reshape(out.heads)
             return out",
        );
    }

    #[test]
    fn softmax_of_another_dimension_stays() {
        check_untouched("attention", attention(&Case { dim: 2, ..HEADS }).0);
    }

    #[test]
    fn one_query_head_for_many_keys_stays() {
        check_untouched("attention", attention(&Case { q: &[2, 1, 3, 4], ..HEADS }).0);
    }

    #[test]
    fn mask_that_widens_the_scores_stays() {
        let case = Case { q: &[1, 1, 3, 4], k: &[1, 1, 4, 5], v: &[1, 1, 5, 6], ..HEADS };
        check_untouched("attention", attention(&Case { mask: Some(&[1, 2, 3, 5]), ..case }).0);
    }

    #[test]
    fn returned_scores_stay() {
        let (mut b, scores) = attention(&HEADS);
        b.output(scores);
        check_untouched("attention", b);
    }

    #[test]
    fn with_the_mask_on_the_left() {
        let mut b = Build::new();
        let (x, mask) = (b.input("x", &[1, 1, 4, 4]), b.input("mask", &[4, 4]));
        let y = b.matmul("scores", x, x, 1.0);
        let y = b.add("masked", mask, y);
        let y = b.softmax("weights", y, 3);
        let y = b.matmul("out", y, x, 1.0);
        b.output(y);
        check(
            "attention dead",
            b,
            "out.k[1, 1, 4, 4] = Permute(x; [0, 1, 3, 2])
             out[1, 1, 4, 4] = Attention(x, out.k, x; mask mask, scale 1)
             return out",
        );
    }

    #[test]
    fn with_scores_scaled_and_masked_by_constants() {
        let mut b = Build::new();
        let (x, mask) = (b.input("x", &[1, 1, 4, 4]), b.constant("mask", &[4]));
        let y = b.matmul("scores", x, x, 1.0);
        let y = b.unary("scaled", y, UnaryKind::MulScalar, 0.5);
        let y = b.add("masked", y, mask);
        let y = b.softmax("weights", y, 3);
        let y = b.matmul("out", y, x, 1.0);
        b.output(y);
        check(
            "scalars batch_norm attention dead",
            b,
            "out.k[1, 1, 4, 4] = Permute(x; [0, 1, 3, 2])
             out[1, 1, 4, 4] = Attention(x, out.k, x; mask scores.bias, scale 0.5)
             return out",
        );
    }
}
