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
