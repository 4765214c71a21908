//! An addition to the result of a product becomes its residual.

use tandem_schemas::program::{BinaryKind, OpKindT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, ValueId, epilogue, epilogue_mut};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    let order = edit.order()?;
    let mut place = vec![0; edit.graph().ops.len()];
    for (i, &id) in order.iter().enumerate() {
        place[id] = i;
    }
    for add in order {
        if let Some((product, other)) = candidate(edit, add, &place) {
            let act = match edit.op(add).map(|op| &op.kind) {
                Some(OpKindT::Binary(op)) => op.act.clone(),
                _ => None,
            };
            edit.modify(product, |kind| {
                if let Some(stages) = epilogue_mut(kind) {
                    (stages.residual, stages.act2) = (other, act);
                }
            });
            edit.absorb(product, add);
        }
    }
    Ok(())
}

/// The product an addition can be part of and the other operand; of two, the one that runs later, whose residual is
/// ready by then. The other operand cannot depend on the product, which only the addition reads.
fn candidate(edit: &GraphEdit<'_, '_>, add: OpId, place: &[usize]) -> Option<(OpId, ValueId)> {
    let op = edit.op(add)?;
    let OpKindT::Binary(binary) = &op.kind else { return None };
    let shape = edit.shape(op.output);
    let fits = binary.kind == BinaryKind::Add
        && binary.alpha == 1.0
        && edit.shape(binary.a) == shape
        && edit.shape(binary.b) == shape;
    let open = |src: ValueId, other: ValueId| {
        let (id, producer) = edit.sole_producer(src)?;
        if matches!(producer.kind, OpKindT::MatMul(_)) {
            return None;
        }
        let stages = epilogue(&producer.kind)?;
        (stages.residual < 0 && stages.act2.is_none()).then_some((id, other))
    };
    if !fits {
        return None;
    }
    let both = [open(binary.a, binary.b), open(binary.b, binary.a)];
    both.into_iter().flatten().max_by_key(|&(id, _)| place.get(id))
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::{Activation, BinaryKind};

    use crate::graph::ValueId;
    use crate::testing::{Build, check, check_untouched};

    /// A 1×1 convolution of `src` to 2 channels.
    fn conv(b: &mut Build, name: &str, src: ValueId) -> ValueId {
        let w = b.constant("w", &[2, 2, 1, 1]);
        b.conv(name, src, w, -1)
    }

    fn start() -> (Build, ValueId, ValueId) {
        let mut b = Build::new();
        let x = b.input("x", &[1, 2, 3, 3]);
        let y = conv(&mut b, "y", x);
        (b, x, y)
    }

    #[test]
    fn sum_with_a_product_on_either_side() {
        for swapped in [false, true] {
            let (mut b, x, y) = start();
            let sum = if swapped { b.add("sum", x, y) } else { b.add("sum", y, x) };
            b.output(sum);
            check(
                "residual",
                b,
                "sum[1, 2, 3, 3] = Conv(x; weight w, kernel [1, 1], residual x)
                 return sum",
            );
        }
    }

    #[test]
    fn of_two_products_the_later_takes_the_sum() {
        let (mut b, x, y) = start();
        let z = b.act("z", x, Activation::Relu);
        let z = conv(&mut b, "zc", z);
        let sum = b.add("sum", y, z);
        b.output(sum);
        check(
            "residual",
            b,
            "y[1, 2, 3, 3] = Conv(x; weight w, kernel [1, 1])
             z[1, 2, 3, 3] = Unary(x; Relu)
             sum[1, 2, 3, 3] = Conv(z; weight w, kernel [1, 1], residual y)
             return sum",
        );
    }

    #[test]
    fn product_waits_for_a_residual_computed_later() {
        let (mut b, x, y) = start();
        let z = b.act("z", x, Activation::Silu);
        let sum = b.add("sum", y, z);
        b.output(sum);
        check(
            "residual",
            b,
            "z[1, 2, 3, 3] = Unary(x; Silu)
             sum[1, 2, 3, 3] = Conv(x; weight w, kernel [1, 1], residual z)
             return sum",
        );
    }

    #[test]
    fn sum_with_itself_stays() {
        let (mut b, _, y) = start();
        let sum = b.add("sum", y, y);
        b.output(sum);
        check_untouched("residual", b);
    }

    #[test]
    fn broadcast_sum_stays() {
        let (mut b, _, y) = start();
        let z = b.input("z", &[1, 2, 1, 1]);
        let sum = b.add("sum", y, z);
        b.output(sum);
        check_untouched("residual", b);
    }

    #[test]
    fn difference_and_weighted_sum_stay() {
        let (mut b, x, y) = start();
        let sum = b.binary("difference", BinaryKind::Sub, y, x);
        b.output(sum);
        check_untouched("residual", b);
        let (mut b, x, y) = start();
        let sum = b.binary_alpha("sum", BinaryKind::Add, y, x, 2.0);
        b.output(sum);
        check_untouched("residual", b);
    }

    #[test]
    fn product_read_elsewhere_stays() {
        let (mut b, x, y) = start();
        let sum = b.add("sum", x, y);
        b.output(sum);
        b.output(y);
        check_untouched("residual", b);
    }

    #[test]
    fn sum_behind_the_last_stage_stays() {
        let (mut b, x, y) = start();
        let y = b.act("r", y, Activation::Relu);
        let (scale, shift) = (b.constant("scale", &[2]), b.constant("shift", &[2]));
        let y = b.affine("n", y, 1, scale, shift);
        let y = b.act("s", y, Activation::Silu);
        let sum = b.add("sum", y, x);
        b.output(sum);
        check(
            "activation batch_norm activation residual",
            b,
            "s[1, 2, 3, 3] = Conv(x; weight w, kernel [1, 1], act Relu, scale y.scale, shift y.shift, act2 Silu)
             sum[1, 2, 3, 3] = Binary(s, x; Add)
             return sum",
        );
    }
}
