//! A linear layer on the channels of an image, written with permutations around it, is a 1×1 convolution.

use tandem_schemas::program::{ConvT, OpKindT, PermuteT};

use crate::error::Reason;
use crate::graph::{GraphEdit, table};

const TO_LAST: [u32; 4] = [0, 2, 3, 1];

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some(op) = edit.op(id) else { continue };
        let OpKindT::Linear(linear) = &op.kind else { continue };
        let Some((_, before)) = edit.producer(linear.src) else { continue };
        let OpKindT::Permute(permute) = &before.kind else { continue };
        let residual = linear.epilogue.as_ref().is_some_and(|e| e.residual >= 0);
        let Some(tensor) = edit.constant(linear.weight).filter(|_| permute.order == TO_LAST && !residual)
        else {
            continue;
        };
        let [b, h, w, n] = *edit.shape(op.output) else { continue };
        let (src, epilogue) = (permute.src, linear.epilogue.clone());
        let name = edit.graph().value(linear.weight).name.clone();
        let shape = [tensor.shape[0], tensor.shape[1], 1, 1];
        let weight = tensor.reshaped(&shape);
        let weight = edit.add_constant(name, weight);
        let conv = OpKindT::Conv(table(|op: &mut ConvT| {
            (op.src, op.weight, op.epilogue) = (vec![src], weight, epilogue);
            (op.kernel, op.stride, op.padding, op.dilation) =
                (vec![1; 2], vec![1; 2], vec![0; 4], vec![1; 2]);
        }));
        let (old, new) = edit.replace(id, "image", &[b, n, h, w], conv);
        let back = OpKindT::Permute(table(|op: &mut PermuteT| (op.src, op.order) = (new, TO_LAST.to_vec())));
        edit.insert_for(id, "permute", old, back);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Build, check, check_untouched};

    /// A linear layer on `[1, 4, 5, 3]`, a permutation of an image.
    fn layer(shape: &[usize], order: &[usize]) -> Build {
        let mut b = Build::new();
        let (x, w, bias) = (b.input("x", shape), b.constant("w", &[6, 3]), b.constant("b", &[6]));
        let y = b.permute("last", x, order);
        let y = b.linear("y", y, w, bias);
        b.output(y);
        b
    }

    #[test]
    fn layer_on_channels_is_a_convolution() {
        check(
            "pointwise",
            layer(&[1, 3, 4, 5], &[0, 2, 3, 1]),
            "last[1, 4, 5, 3] = Permute(x; [0, 2, 3, 1])
             y.image[1, 6, 4, 5] = Conv(x; weight w, kernel [1, 1], bias b)
             y[1, 4, 5, 6] = Permute(y.image; [0, 2, 3, 1])
             return y",
        );
    }

    #[test]
    fn layer_on_columns_stays() {
        check_untouched("pointwise", layer(&[1, 5, 4, 3], &[0, 2, 1, 3]));
    }
}
