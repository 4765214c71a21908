//! Views behind a linear layer, and gathers of its rows, that leave its columns alone move in front of it, where they meet
//! the views of its source; what follows then fuses into the layer.

use tandem_schemas::program::{GatherT, OpKindT, PermuteT, ReshapeT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, table};
use crate::tensor::elements;

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for view in edit.order()? {
        if let Some((linear, shape, kind)) = movable(edit, view) {
            let src = edit.insert(linear, "src", &shape, kind);
            edit.modify(linear, |kind| {
                if let OpKindT::Linear(op) = kind {
                    op.src = src;
                }
            });
            edit.absorb(linear, view);
        }
    }
    Ok(())
}

/// The layer a view can move in front of, and the view of its source that does the same.
fn movable(edit: &GraphEdit<'_, '_>, view: OpId) -> Option<(OpId, Vec<usize>, OpKindT)> {
    let op = edit.op(view)?;
    let src = match &op.kind {
        OpKindT::Reshape(op) => op.src,
        OpKindT::Permute(op) => op.src,
        OpKindT::Gather(op) => op.src,
        _ => return None,
    };
    let (id, producer) = edit.sole_producer(src)?;
    let OpKindT::Linear(linear) = &producer.kind else { return None };
    if linear.epilogue.as_ref().is_some_and(|e| e.residual >= 0) {
        return None;
    }
    let (before, after) = (edit.shape(src), edit.shape(op.output));
    let kind = match &op.kind {
        OpKindT::Permute(op) if op.order.last() == Some(&(before.len() as u32 - 1)) => {
            let order = op.order.clone();
            OpKindT::Permute(table(|op: &mut PermuteT| (op.src, op.order) = (linear.src, order)))
        }
        OpKindT::Reshape(_) if after.len() >= 2 && after.last() == before.last() => {
            OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = linear.src))
        }
        OpKindT::Gather(op) if of_rows(edit, op, before, after) => {
            let mut gather = op.clone();
            gather.src = linear.src;
            OpKindT::Gather(gather)
        }
        _ => return None,
    };
    let mut shape = after.to_vec();
    *shape.last_mut()? = *edit.shape(linear.src).last()?;
    Some((id, shape, kind))
}

/// Whether a gather at constant places takes rows as wholes, and no more of them than there are.
fn of_rows(edit: &GraphEdit<'_, '_>, op: &GatherT, before: &[usize], after: &[usize]) -> bool {
    edit.constant(op.index).is_some_and(|index| index.shape.last() == Some(&1))
        && op.dim as usize + 1 < before.len()
        && elements(after) <= elements(before)
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::Activation;

    use crate::graph::ValueId;
    use crate::testing::{Build, check, check_untouched};

    /// A linear layer from 3 to 5 columns of `[2, 4, 3]`.
    fn layer() -> (Build, ValueId) {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[2, 4, 3]), b.constant("w", &[5, 3]));
        let y = b.linear("y", x, w, -1);
        (b, y)
    }

    #[test]
    fn reshape_of_rows_moves_in_front() {
        let (mut b, y) = layer();
        let r = b.reshape("r", y, &[8, 5]);
        b.output(r);
        check(
            "hoist",
            b,
            "y.src[8, 3] = Reshape(x)
             r[8, 5] = Linear(y.src; weight w)
             return r",
        );
    }

    #[test]
    fn permutation_of_rows_moves_in_front() {
        let (mut b, y) = layer();
        let r = b.permute("r", y, &[1, 0, 2]);
        b.output(r);
        check(
            "hoist",
            b,
            "y.src[4, 2, 3] = Permute(x; [1, 0, 2])
             r[4, 2, 5] = Linear(y.src; weight w)
             return r",
        );
    }

    #[test]
    fn gather_of_rows_moves_in_front() {
        let (mut b, y) = layer();
        let r = b.gather("r", y, 1, &[3, 0, 1]);
        b.output(r);
        check(
            "hoist",
            b,
            "y.src[2, 3, 3] = Gather(x, r.places; dim 1)
             r[2, 3, 5] = Linear(y.src; weight w)
             return r",
        );
    }

    #[test]
    fn gathers_of_columns_or_of_more_rows_stay() {
        let (mut b, y) = layer();
        let r = b.gather("r", y, 2, &[3, 0, 1]);
        b.output(r);
        check_untouched("hoist", b);
        let (mut b, y) = layer();
        let r = b.gather("r", y, 1, &[3, 0, 1, 2, 3]);
        b.output(r);
        check_untouched("hoist", b);
    }

    #[test]
    fn views_of_columns_stay() {
        let (mut b, y) = layer();
        let r = b.reshape("r", y, &[2, 20]);
        b.output(r);
        check_untouched("hoist", b);
        let (mut b, y) = layer();
        let r = b.permute("r", y, &[0, 2, 1]);
        b.output(r);
        check_untouched("hoist", b);
    }

    #[test]
    fn view_of_a_result_read_elsewhere_stays() {
        let (mut b, y) = layer();
        let (r, s) = (b.reshape("r", y, &[8, 5]), b.act("s", y, Activation::Relu));
        b.output(r);
        b.output(s);
        check_untouched("hoist", b);
    }

    #[test]
    fn view_behind_a_residual_stays() {
        let (mut b, y) = layer();
        let z = b.input("z", &[2, 4, 5]);
        let sum = b.add("sum", y, z);
        let r = b.reshape("r", sum, &[8, 5]);
        b.output(r);
        check(
            "residual hoist",
            b,
            "sum[2, 4, 5] = Linear(x; weight w, residual z)
             r[8, 5] = Reshape(sum)
             return r",
        );
    }
}
