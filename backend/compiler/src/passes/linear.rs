//! A product with a constant matrix is a `Linear`, whose weight can be packed.

use tandem_schemas::program::{LinearT, OpKindT};

use crate::error::Reason;
use crate::graph::{GraphEdit, table};
use crate::tensor::Tensor;

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some(op) = edit.op(id) else { continue };
        let OpKindT::MatMul(product) = &op.kind else { continue };
        let Some(tensor) = edit.constant(product.b) else { continue };
        let [batch @ .., k, n] = &tensor.shape[..] else { continue };
        if batch.iter().any(|&size| size != 1) || edit.constant(product.a).is_some() {
            continue;
        }
        let weight = Tensor::owned(&[*n, *k], transposed(&tensor.f32(), *k, *n, product.scale));
        let name = format!("{}.weight", op.name);
        let (src, epilogue) = (product.a, product.epilogue.clone());
        let weight = edit.add_constant(name, weight);
        edit.modify(id, |kind| {
            *kind = OpKindT::Linear(table(|op: &mut LinearT| {
                (op.src, op.weight, op.epilogue) = (src, weight, epilogue);
            }));
        });
    }
    Ok(())
}

fn transposed(matrix: &[f32], k: usize, n: usize, scale: f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(k * n);
    for column in 0..n {
        out.extend((0..k).map(|row| matrix[row * n + column] * scale));
    }
    out
}
