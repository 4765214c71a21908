//! Removes ops whose results nobody reads.

use crate::error::Reason;
use crate::graph::GraphEdit;

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()?.into_iter().rev() {
        if edit.op(id).is_some_and(|op| edit.users(op.output).is_empty() && !edit.is_output(op.output)) {
            edit.remove(id);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::Activation;

    use crate::testing::{Build, check, check_untouched};

    #[test]
    fn what_nobody_reads_goes_with_what_it_read() {
        let mut b = Build::new();
        let x = b.input("x", &[2]);
        let kept = b.act("kept", x, Activation::Relu);
        let read = b.act("read", x, Activation::Silu);
        b.act("last", read, Activation::Relu);
        b.output(kept);
        check("dead", b, "kept[2] = Unary(x; Relu)\nreturn kept");
    }

    #[test]
    fn what_is_returned_or_read_stays() {
        let mut b = Build::new();
        let x = b.input("x", &[2]);
        let read = b.act("read", x, Activation::Relu);
        let last = b.act("last", read, Activation::Silu);
        b.output(last);
        check_untouched("dead", b);
    }
}
