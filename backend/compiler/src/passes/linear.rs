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

#[cfg(test)]
mod tests {
    use crate::testing::{Build, check, check_untouched};

    #[test]
    fn product_with_a_constant_matrix() {
        let mut b = Build::new();
        let (x, m) = (b.input("x", &[2, 3, 4]), b.constant("m", &[1, 4, 5]));
        let y = b.matmul("y", x, m, 0.5);
        b.output(y);
        check("linear", b, "y[2, 3, 5] = Linear(x; weight y.weight)\nreturn y");
    }

    #[test]
    fn product_with_several_matrices_stays() {
        let mut b = Build::new();
        let (x, m) = (b.input("x", &[2, 3, 4]), b.constant("m", &[2, 4, 5]));
        let y = b.matmul("y", x, m, 1.0);
        b.output(y);
        check_untouched("linear", b);
    }

    #[test]
    fn product_of_a_constant_with_a_value_stays() {
        let mut b = Build::new();
        let (m, x) = (b.constant("m", &[3, 4]), b.input("x", &[4, 5]));
        let y = b.matmul("y", m, x, 1.0);
        b.output(y);
        check_untouched("linear", b);
    }
}
