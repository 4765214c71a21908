//! Removes ops that give what they get: copies, and views that change nothing.

use tandem_schemas::program::{OpKindT, UnaryKind};

use crate::error::Reason;
use crate::graph::{GraphEdit, Op, ValueId};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some((src, output)) = edit.op(id).and_then(|op| Some((unchanged(edit, op)?, op.output))) else {
            continue;
        };
        edit.redirect(output, src);
        edit.remove(id);
    }
    Ok(())
}

/// The value an op only passes on.
fn unchanged(edit: &GraphEdit<'_, '_>, op: &Op) -> Option<ValueId> {
    let same = |src: ValueId| (edit.shape(src) == edit.shape(op.output)).then_some(src);
    match &op.kind {
        OpKindT::Unary(op) if op.kind == UnaryKind::Identity => Some(op.src),
        OpKindT::Reshape(op) => same(op.src),
        OpKindT::Expand(op) => same(op.src),
        OpKindT::Slice(op) if op.start == 0 && op.step == 1 => same(op.src),
        OpKindT::Permute(op) if op.order.is_sorted() => Some(op.src),
        OpKindT::Concat(op) if op.src.len() == 1 => Some(op.src[0]),
        OpKindT::Pad(op) if op.before.iter().all(|&b| b == 0) => same(op.src),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::{Activation, UnaryKind};

    use crate::testing::{Build, check, check_untouched};

    #[test]
    fn copies_and_views_that_change_nothing_go() {
        let mut b = Build::new();
        let x = b.input("x", &[2, 3]);
        let y = b.unary("copy", x, UnaryKind::Identity, 0.0);
        let y = b.reshape("reshape", y, &[2, 3]);
        let y = b.permute("permute", y, &[0, 1]);
        let y = b.slice("slice", y, 1, [0, 3, 1]);
        let y = b.expand("expand", y, &[2, 3]);
        let y = b.concat("concat", &[y], 0);
        let y = b.act("y", y, Activation::Relu);
        b.output(y);
        check("identity", b, "y[2, 3] = Unary(x; Relu)\nreturn y");
    }

    #[test]
    fn copy_of_an_input_is_the_input() {
        let mut b = Build::new();
        let x = b.input("x", &[2, 3]);
        let y = b.unary("copy", x, UnaryKind::Identity, 0.0);
        b.output(y);
        b.output(y);
        check("identity", b, "return x, x");
    }

    #[test]
    fn what_moves_or_repeats_elements_stays() {
        let mut b = Build::new();
        let x = b.input("x", &[3, 3]);
        let p = b.permute("p", x, &[1, 0]);
        let s = b.slice("s", p, 0, [1, 1, 1]);
        let e = b.expand("e", s, &[3, 3]);
        let c = b.concat("c", &[e, x], 0);
        let r = b.reshape("r", c, &[3, 6]);
        b.output(r);
        check_untouched("identity", b);
    }
}
