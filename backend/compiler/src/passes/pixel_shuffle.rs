//! A pixel shuffle written as view, permutation and view is recognised, and one behind a convolution becomes the
//! pattern of its store.

use tandem_schemas::program::{OpKindT, PixelShuffleT};

use crate::error::Reason;
use crate::graph::{GraphEdit, OpId, ValueId, table};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        if let Some((src, factor)) = written_out(edit, id) {
            edit.modify(id, |kind| {
                *kind = OpKindT::PixelShuffle(table(|op: &mut PixelShuffleT| {
                    (op.src, op.factor) = (src, factor);
                }));
            });
        }
        if let Some((conv, factor)) = stored(edit, id) {
            edit.modify(conv, |kind| {
                if let OpKindT::Conv(op) = kind {
                    op.shuffle = factor;
                }
            });
            edit.absorb(conv, id);
        }
    }
    Ok(())
}

/// Source and factor where `id` is the last of `[n, c·r·r, h, w]` → `[n, c, r, r, h, w]` → `[n, c, h, r, w, r]` →
/// `[n, c, h·r, w·r]`.
fn written_out(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<(ValueId, u32)> {
    let op = edit.op(id)?;
    let OpKindT::Reshape(last) = &op.kind else { return None };
    let OpKindT::Permute(permute) = &edit.producer(last.src)?.1.kind else { return None };
    let OpKindT::Reshape(first) = &edit.producer(permute.src)?.1.kind else { return None };
    let [n, c, ry, rx, h, w] = *edit.shape(permute.src) else { return None };
    let fits = permute.order == [0, 1, 4, 2, 5, 3]
        && ry == rx
        && (2..=256).contains(&ry)
        && *edit.shape(first.src) == [n, c * ry * rx, h, w]
        && *edit.shape(op.output) == [n, c, h * ry, w * rx];
    fits.then_some((first.src, ry as u32))
}

/// The convolution whose result only the pixel shuffle `id` reads.
fn stored(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<(OpId, u32)> {
    let OpKindT::PixelShuffle(shuffle) = &edit.op(id)?.kind else { return None };
    let (producer, op) = edit.sole_producer(shuffle.src)?;
    let OpKindT::Conv(conv) = &op.kind else { return None };
    let plain =
        conv.shuffle == 1 && conv.groups == 1 && conv.epilogue.as_ref().is_none_or(|e| e.residual < 0);
    (plain && !shuffle.inverse).then_some((producer, shuffle.factor))
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::Activation;

    use crate::graph::ValueId;
    use crate::testing::{Build, check, check_untouched};

    /// A pixel shuffle by 2 as a permutation between two views.
    fn written_out(b: &mut Build, src: ValueId, order: &[usize]) -> ValueId {
        let y = b.reshape("split", src, &[1, 3, 2, 2, 4, 5]);
        let y = b.permute("turned", y, order);
        b.reshape("image", y, &[1, 3, 8, 10])
    }

    /// A convolution to 12 channels.
    fn conv(b: &mut Build) -> ValueId {
        let (x, w, bias) =
            (b.input("x", &[1, 2, 4, 5]), b.constant("w", &[12, 2, 3, 3]), b.constant("b", &[12]));
        b.conv("y", x, w, bias)
    }

    #[test]
    fn written_out_is_recognised() {
        let mut b = Build::new();
        let x = b.input("x", &[1, 12, 4, 5]);
        let y = written_out(&mut b, x, &[0, 1, 4, 2, 5, 3]);
        b.output(y);
        check(
            "pixel_shuffle",
            b,
            "split[1, 3, 2, 2, 4, 5] = Reshape(x)
             turned[1, 3, 4, 2, 5, 2] = Permute(split; [0, 1, 4, 2, 5, 3])
             image[1, 3, 8, 10] = PixelShuffle(x; factor 2)
             return image",
        );
    }

    #[test]
    fn is_the_pattern_of_a_store() {
        let mut b = Build::new();
        let y = conv(&mut b);
        let z = b.pixel_shuffle("z", y, 2);
        b.output(z);
        check(
            "pixel_shuffle",
            b,
            "z[1, 3, 8, 10] = Conv(x; weight w, kernel [3, 3], padding [1, 1, 1, 1], shuffle 2, bias b)
             return z",
        );
    }

    #[test]
    fn other_permutation_stays() {
        let mut b = Build::new();
        let x = b.input("x", &[1, 12, 4, 5]);
        let y = written_out(&mut b, x, &[0, 1, 4, 3, 5, 2]);
        b.output(y);
        check_untouched("pixel_shuffle", b);
    }

    #[test]
    fn of_a_result_read_elsewhere_stays() {
        let mut b = Build::new();
        let y = conv(&mut b);
        let (z, r) = (b.pixel_shuffle("z", y, 2), b.act("r", y, Activation::Relu));
        b.output(z);
        b.output(r);
        check_untouched("pixel_shuffle", b);
    }

    #[test]
    fn behind_groups_stays() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[1, 4, 4, 5]), b.constant("w", &[8, 2, 1, 1]));
        let y = b.grouped("y", x, w, -1, 2);
        let z = b.pixel_shuffle("z", y, 2);
        b.output(z);
        check_untouched("pixel_shuffle", b);
    }

    #[test]
    fn behind_a_residual_stays() {
        let mut b = Build::new();
        let y = conv(&mut b);
        let z = b.input("z", &[1, 12, 4, 5]);
        let y = b.add("sum", y, z);
        let y = b.pixel_shuffle("image", y, 2);
        b.output(y);
        check(
            "residual pixel_shuffle",
            b,
            "sum[1, 12, 4, 5] = Conv(x; weight w, kernel [3, 3], padding [1, 1, 1, 1], bias b, residual z)
             image[1, 3, 8, 10] = PixelShuffle(sum; factor 2)
             return image",
        );
    }
}
