//! Chains of views become one, and broadcasting replaces explicit expansion.

use tandem_schemas::program::{OpKindT, ReshapeT};

use crate::error::Reason;
use crate::graph::{GraphEdit, Op, OpId, ValueId, broadcast, table};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some(op) = edit.op(id) else { continue };
        let rewritten = match &op.kind {
            OpKindT::Reshape(_) | OpKindT::Permute(_) | OpKindT::Slice(_) => merged(edit, op),
            OpKindT::Binary(_) => broadcasting(edit, op),
            _ => None,
        };
        if let Some(kind) = rewritten {
            edit.modify(id, |old| *old = kind);
        }
        as_reshape(edit, id);
    }
    Ok(())
}

/// A view of a view as a view of the first one's source.
fn merged(edit: &GraphEdit<'_, '_>, op: &Op) -> Option<OpKindT> {
    let producer = |src: ValueId| edit.producer(src).map(|(_, op)| &op.kind);
    let mut kind = op.kind.clone();
    match &mut kind {
        OpKindT::Reshape(outer) => {
            let Some(OpKindT::Reshape(inner)) = producer(outer.src) else { return None };
            outer.src = inner.src;
        }
        OpKindT::Permute(outer) => {
            let Some(OpKindT::Permute(inner)) = producer(outer.src) else { return None };
            outer.src = inner.src;
            outer.order = outer.order.iter().map(|&d| inner.order[d as usize]).collect();
        }
        OpKindT::Slice(outer) => match producer(outer.src) {
            Some(OpKindT::Slice(inner)) if inner.dim == outer.dim => {
                outer.start = inner.start + outer.start * inner.step;
                (outer.src, outer.step) = (inner.src, outer.step * inner.step);
            }
            _ => return None,
        },
        _ => return None,
    }
    Some(kind)
}

/// A permutation that keeps the order of all dimensions above 1 moves nothing.
fn as_reshape(edit: &mut GraphEdit<'_, '_>, id: OpId) {
    let Some(OpKindT::Permute(op)) = edit.op(id).map(|op| &op.kind) else { return };
    let (src, shape) = (op.src, edit.shape(op.src));
    let moved: Vec<u32> = op.order.iter().copied().filter(|&d| shape[d as usize] > 1).collect();
    if moved.is_sorted() && !op.order.is_sorted() {
        edit.modify(id, |kind| *kind = OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = src)));
    }
}

/// A binary op reads behind expansions where its other operand spans the result.
fn broadcasting(edit: &GraphEdit<'_, '_>, op: &Op) -> Option<OpKindT> {
    let OpKindT::Binary(binary) = &op.kind else { return None };
    let behind = |value: ValueId| match edit.producer(value).map(|(_, op)| &op.kind) {
        Some(OpKindT::Expand(expand)) => expand.src,
        _ => value,
    };
    let mut rewritten = binary.clone();
    for (a, b) in
        [(behind(binary.a), behind(binary.b)), (behind(binary.a), binary.b), (binary.a, behind(binary.b))]
    {
        let shape = broadcast(&[edit.shape(a), edit.shape(b)]).ok()?;
        if (a, b) != (binary.a, binary.b) && shape == edit.shape(op.output) {
            (rewritten.a, rewritten.b) = (a, b);
            return Some(OpKindT::Binary(rewritten));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::{Activation, BinaryKind};

    use crate::testing::{Build, check, check_untouched};

    #[test]
    fn chains_start_at_their_first_source() {
        let mut b = Build::new();
        let x = b.input("x", &[2, 3, 4]);
        let r = b.reshape("r1", x, &[24]);
        let r = b.reshape("r2", r, &[4, 6]);
        let p = b.permute("p1", x, &[1, 2, 0]);
        let p = b.permute("p2", p, &[1, 0, 2]);
        let s = b.slice("s1", x, 2, [1, 2, 2]);
        let s = b.slice("s2", s, 2, [1, 1, 1]);
        [r, p, s].into_iter().for_each(|y| b.output(y));
        check(
            "views",
            b,
            "r1[24] = Reshape(x)
             r2[4, 6] = Reshape(x)
             p1[3, 4, 2] = Permute(x; [1, 2, 0])
             p2[4, 3, 2] = Permute(x; [2, 1, 0])
             s1[2, 3, 2] = Slice(x; dim 2, start 1, step 2)
             s2[2, 3, 1] = Slice(x; dim 2, start 3, step 2)
             return r2, p2, s2",
        );
    }

    #[test]
    fn permutation_of_ones_is_a_reshape() {
        let mut b = Build::new();
        let x = b.input("x", &[2, 1, 3]);
        let y = b.permute("y", x, &[0, 2, 1]);
        b.output(y);
        check("views", b, "y[2, 3, 1] = Reshape(x)\nreturn y");
    }

    #[test]
    fn arithmetic_broadcasts_in_place_of_an_expansion() {
        let mut b = Build::new();
        let (x, y) = (b.input("x", &[2, 3]), b.input("y", &[1, 3]));
        let e = b.expand("e", y, &[2, 3]);
        let sum = b.add("sum", e, x);
        b.output(sum);
        check(
            "views",
            b,
            "e[2, 3] = Expand(y)
             sum[2, 3] = Binary(y, x; Add)
             return sum",
        );
    }

    #[test]
    fn expansion_that_makes_the_result_wide_stays() {
        let mut b = Build::new();
        let (x, y) = (b.input("x", &[1, 3]), b.input("y", &[1, 3]));
        let e = b.expand("e", y, &[2, 3]);
        let sum = b.binary("product", BinaryKind::Mul, e, x);
        b.output(sum);
        check_untouched("views", b);
    }

    #[test]
    fn different_views_stay() {
        let mut b = Build::new();
        let x = b.input("x", &[2, 3, 4]);
        let y = b.permute("p", x, &[1, 0, 2]);
        let y = b.slice("s", y, 0, [1, 2, 1]);
        let y = b.slice("t", y, 1, [1, 1, 1]);
        let y = b.reshape("r", y, &[4, 2]);
        let y = b.act("a", y, Activation::Relu);
        let y = b.reshape("u", y, &[8]);
        b.output(y);
        check_untouched("views", b);
    }
}
