//! An activation behind a convolution, a linear layer, a normalisation or arithmetic becomes a stage of it.

use tandem_schemas::program::{ActT, OpKindT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, as_activation, epilogue_mut, takes_activation};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some((producer, act)) = candidate(edit, id) else { continue };
        edit.modify(producer, |kind| {
            if let Some(slot) = slot(kind) {
                *slot = Some(act);
            }
        });
        edit.absorb(producer, id);
    }
    Ok(())
}

/// The op whose result only the activation `id` reads, and the activation.
fn candidate(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<(OpId, ActT)> {
    let op = edit.op(id)?;
    let act = as_activation(&op.kind)?;
    let OpKindT::Unary(unary) = &op.kind else { return None };
    let (producer, before) = edit.sole_producer(unary.src)?;
    let open = slot(&mut before.kind.clone()).is_some();
    open.then_some((producer, act))
}

/// Where the next activation of an op goes, if there is room.
fn slot(kind: &mut OpKindT) -> Option<&mut Option<ActT>> {
    let free = match kind {
        OpKindT::MatMul(_) => return None,
        OpKindT::Norm(op) => &mut op.act,
        OpKindT::Affine(op) => &mut op.act,
        OpKindT::Binary(op) if !takes_activation(op.kind) => return None,
        OpKindT::Binary(op) => &mut op.act,
        _ => {
            let stages = epilogue_mut(kind)?;
            let later = stages.scale >= 0 || stages.residual >= 0;
            if later { &mut stages.act2 } else { &mut stages.act }
        }
    };
    free.is_none().then_some(free)
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::{Activation, BinaryKind};

    use crate::graph::ValueId;
    use crate::testing::{Build, check, check_untouched};

    /// A convolution and a relu of it.
    fn conv_relu() -> (Build, ValueId, ValueId) {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[1, 3, 4, 4]), b.constant("w", &[2, 3, 3, 3]));
        let y = b.conv("y", x, w, -1);
        let r = b.act("r", y, Activation::Relu);
        (b, y, r)
    }

    #[test]
    fn is_a_stage_of_a_convolution() {
        let (mut b, _, r) = conv_relu();
        b.output(r);
        check(
            "activation",
            b,
            "r[1, 2, 4, 4] = Conv(x; weight w, kernel [3, 3], padding [1, 1, 1, 1], act Relu)
             return r",
        );
    }

    #[test]
    fn is_a_stage_of_a_normalisation_or_arithmetic() {
        let mut b = Build::new();
        let (x, scale) = (b.input("x", &[2, 4]), b.constant("scale", &[4]));
        let n = b.norm("n", x);
        let n = b.act("n.act", n, Activation::Silu);
        let a = b.affine("a", n, 1, scale, -1);
        let a = b.act("a.act", a, Activation::Relu);
        let s = b.binary("s", BinaryKind::Max, a, x);
        let s = b.act("s.act", s, Activation::HardSwish);
        b.output(s);
        check(
            "activation",
            b,
            "n.act[2, 4] = Norm(x; Layer 1, eps 0.1, act Silu)
             a.act[2, 4] = Affine(n.act; dim 1, scale scale, act Relu)
             s.act[2, 4] = Binary(a.act, x; Max, act HardSwish)
             return s.act",
        );
    }

    #[test]
    fn of_a_result_read_elsewhere_stays() {
        let (mut b, y, r) = conv_relu();
        let sum = b.add("sum", y, r);
        b.output(sum);
        check_untouched("activation", b);
    }

    #[test]
    fn of_a_returned_result_stays() {
        let (mut b, y, r) = conv_relu();
        b.output(r);
        b.output(y);
        check_untouched("activation", b);
    }

    #[test]
    fn second_one_stays() {
        let (mut b, _, r) = conv_relu();
        let s = b.act("s", r, Activation::Sigmoid);
        b.output(s);
        check(
            "activation",
            b,
            "r[1, 2, 4, 4] = Conv(x; weight w, kernel [3, 3], padding [1, 1, 1, 1], act Relu)
             s[1, 2, 4, 4] = Unary(r; Sigmoid)
             return s",
        );
    }

    #[test]
    fn behind_a_product_of_values_stays() {
        let mut b = Build::new();
        let x = b.input("x", &[4, 4]);
        let y = b.matmul("y", x, x, 1.0);
        let r = b.act("r", y, Activation::Relu);
        b.output(r);
        check_untouched("activation", b);
    }

    #[test]
    fn behind_a_residual_is_the_second_stage() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[1, 2, 4, 4]), b.constant("w", &[2, 2, 1, 1]));
        let y = b.conv("y", x, w, -1);
        let y = b.add("sum", y, x);
        let y = b.act("r", y, Activation::Relu);
        b.output(y);
        check(
            "residual activation",
            b,
            "r[1, 2, 4, 4] = Conv(x; weight w, kernel [1, 1], residual x, act2 Relu)
             return r",
        );
    }
}
