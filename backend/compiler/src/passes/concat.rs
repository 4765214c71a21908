//! A concatenation of channels that only convolutions read becomes their source segments.

use tandem_schemas::program::OpKindT;

use crate::error::Reason;
use crate::graph::{GraphEdit, MAX_SEGMENTS, OpId, ValueId};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some(op) = edit.op(id) else { continue };
        let OpKindT::Concat(concat) = &op.kind else { continue };
        let (whole, parts) = (op.output, concat.src.clone());
        let image = concat.dim == 1 && edit.shape(whole).len() == 4 && !edit.is_output(whole);
        let users = edit.users(whole).to_vec();
        if !image || users.is_empty() || !users.iter().all(|&user| takes(edit, user, whole, parts.len())) {
            continue;
        }
        for user in users {
            edit.modify(user, |kind| {
                if let OpKindT::Conv(conv) = kind {
                    conv.src = conv
                        .src
                        .iter()
                        .flat_map(|&s| if s == whole { parts.clone() } else { vec![s] })
                        .collect();
                }
            });
        }
        edit.remove(id);
    }
    Ok(())
}

/// Whether an op is a convolution that can read `parts` segments in place of `whole`, and reads it as a source only.
fn takes(edit: &GraphEdit<'_, '_>, user: OpId, whole: ValueId, parts: usize) -> bool {
    let Some(OpKindT::Conv(conv)) = edit.op(user).map(|op| &op.kind) else { return false };
    let residual = conv.epilogue.as_ref().is_some_and(|e| e.residual == whole);
    let segments: usize = conv.src.iter().map(|&s| if s == whole { parts } else { 1 }).sum();
    conv.groups == 1 && !residual && segments <= MAX_SEGMENTS
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::Activation;

    use crate::graph::ValueId;
    use crate::testing::{Build, check, check_untouched};

    /// Two images joined along `dim`.
    fn joined(dim: usize) -> (Build, ValueId) {
        let mut b = Build::new();
        let (x, y) = (b.input("x", &[1, 2, 4, 4]), b.input("y", &[1, 2, 4, 4]));
        let whole = b.concat("whole", &[x, y], dim);
        (b, whole)
    }

    #[test]
    fn of_channels_is_read_in_segments() {
        let (mut b, whole) = joined(1);
        let (w, v) = (b.constant("w", &[3, 4, 3, 3]), b.constant("v", &[3, 4, 1, 1]));
        let (p, q) = (b.conv("p", whole, w, -1), b.conv("q", whole, v, -1));
        b.output(p);
        b.output(q);
        check(
            "concat",
            b,
            "p[1, 3, 4, 4] = Conv(x, y; weight w, kernel [3, 3], padding [1, 1, 1, 1])
             q[1, 3, 4, 4] = Conv(x, y; weight v, kernel [1, 1])
             return p, q",
        );
    }

    #[test]
    fn of_rows_stays() {
        let (mut b, whole) = joined(2);
        let w = b.constant("w", &[3, 2, 3, 3]);
        let y = b.conv("p", whole, w, -1);
        b.output(y);
        check_untouched("concat", b);
    }

    #[test]
    fn read_in_groups_stays() {
        let (mut b, whole) = joined(1);
        let w = b.constant("w", &[4, 2, 3, 3]);
        let y = b.grouped("p", whole, w, -1, 2);
        b.output(y);
        check_untouched("concat", b);
    }

    #[test]
    fn read_elsewhere_stays() {
        let (mut b, whole) = joined(1);
        let w = b.constant("w", &[4, 4, 3, 3]);
        let y = b.conv("p", whole, w, -1);
        let z = b.act("z", whole, Activation::Relu);
        b.output(y);
        b.output(z);
        check_untouched("concat", b);
    }

    #[test]
    fn of_too_many_stays() {
        let mut b = Build::new();
        let x = b.input("x", &[1, 1, 2, 2]);
        let whole = b.concat("whole", &[x; super::MAX_SEGMENTS + 1], 1);
        let w = b.constant("w", &[1, super::MAX_SEGMENTS + 1, 1, 1]);
        let y = b.conv("p", whole, w, -1);
        b.output(y);
        check_untouched("concat", b);
    }
}
