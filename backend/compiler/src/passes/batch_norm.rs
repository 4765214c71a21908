//! A scale and shift per channel behind a product: folded into its weight and bias where it follows directly, a stage
//! of its epilogue behind an activation.

use tandem_schemas::program::{AffineT, OpKindT};

use crate::error::Reason;
use crate::graph::{GraphEdit, Op, OpId, ValueId, epilogue, epilogue_mut};
use crate::tensor::Tensor;

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some((producer, affine)) = candidate(edit, id) else { continue };
        let folded = edit.op(producer).is_some_and(folds);
        if folded {
            fold(edit, producer, &affine)
        } else {
            stage(edit, producer, &affine)
        }
        edit.absorb(producer, id);
    }
    Ok(())
}

/// The product whose result only the affine `id` reads along its columns, with room for a scale and a shift.
fn candidate(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<(OpId, Box<AffineT>)> {
    let op = edit.op(id)?;
    let OpKindT::Affine(affine) = &op.kind else { return None };
    let (producer, before) = edit.sole_producer(affine.src)?;
    let columns = match &before.kind {
        OpKindT::Linear(_) => edit.shape(affine.src).len().checked_sub(1)?,
        OpKindT::Conv(conv) if conv.shuffle > 1 => return None,
        OpKindT::Conv(_) | OpKindT::Depthwise(_) | OpKindT::ConvTranspose(_) => 1,
        _ => return None,
    };
    let stages = epilogue(&before.kind)?;
    let open =
        stages.scale < 0 && stages.residual < 0 && stages.act2.is_none() && affine.dim as usize == columns;
    open.then(|| (producer, affine.clone()))
}

/// Whether the weight's first dimension is the columns and nothing stands between the sum and the scale.
fn folds(op: &Op) -> bool {
    let direct = epilogue(&op.kind).is_some_and(|e| e.act.is_none());
    direct && matches!(op.kind, OpKindT::Conv(_) | OpKindT::Depthwise(_) | OpKindT::Linear(_))
}

/// Column values of a scale or shift, `missing` where there is none.
fn column(edit: &GraphEdit<'_, '_>, id: ValueId, n: usize, missing: f32) -> Vec<f32> {
    match usize::try_from(id).ok().and_then(|_| edit.constant(id)) {
        Some(tensor) => tensor.f32().to_vec(),
        None => vec![missing; n],
    }
}

fn weight(kind: &mut OpKindT) -> Option<&mut ValueId> {
    match kind {
        OpKindT::Conv(op) => Some(&mut op.weight),
        OpKindT::Depthwise(op) => Some(&mut op.weight),
        OpKindT::Linear(op) => Some(&mut op.weight),
        _ => None,
    }
}

/// weight * scale, bias * scale + shift; an activation of the affine follows.
fn fold(edit: &mut GraphEdit<'_, '_>, producer: OpId, affine: &AffineT) {
    let Some(op) = edit.op(producer) else { return };
    let Some(old) = weight(&mut op.kind.clone()).map(|w| *w) else { return };
    let (Some(tensor), bias) = (edit.constant(old), epilogue(&op.kind).map_or(-1, |e| e.bias)) else {
        return;
    };
    let (n, shape) = (tensor.shape[0], tensor.shape.clone());
    let (scale, shift) = (column(edit, affine.scale, n, 1.0), column(edit, affine.shift, n, 0.0));
    let mut data = tensor.f32().to_vec();
    let row = data.len() / n.max(1);
    for (values, scale) in data.chunks_mut(row.max(1)).zip(&scale) {
        values.iter_mut().for_each(|x| *x *= scale);
    }
    let bias = column(edit, bias, n, 0.0);
    let bias = bias.iter().zip(&scale).zip(&shift).map(|((b, scale), shift)| b * scale + shift).collect();
    let name = op.name.clone();
    let new_weight = edit.add_constant(format!("{name}.weight"), Tensor::owned(&shape, data));
    let new_bias = edit.add_constant(format!("{name}.bias"), Tensor::vector(bias));
    let act = affine.act.clone();
    edit.modify(producer, |kind| {
        if let Some(weight) = weight(kind) {
            *weight = new_weight;
        }
        if let Some(stages) = epilogue_mut(kind) {
            (stages.bias, stages.act) = (new_bias, act);
        }
    });
}

/// scale and shift as stages; an activation of the affine is the second one.
fn stage(edit: &mut GraphEdit<'_, '_>, producer: OpId, affine: &AffineT) {
    let Some(op) = edit.op(producer) else { return };
    let dim = affine.dim as usize;
    let (n, name) = (edit.shape(op.output)[dim], op.name.clone());
    let columns = [(affine.scale, 1.0, "scale"), (affine.shift, 0.0, "shift")].map(|(id, missing, what)| {
        let data = column(edit, id, n, missing);
        edit.add_constant(format!("{name}.{what}"), Tensor::vector(data))
    });
    let act = affine.act.clone();
    edit.modify(producer, |kind| {
        if let Some(stages) = epilogue_mut(kind) {
            [stages.scale, stages.shift] = columns;
            stages.act2 = act;
        }
    });
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::Activation;

    use crate::graph::ValueId;
    use crate::testing::{Build, check, check_untouched};

    /// A scale and a shift of `n` channels along `dim`.
    fn affine(b: &mut Build, src: ValueId, dim: usize, n: usize) -> ValueId {
        let (scale, shift) = (b.constant("scale", &[n]), b.constant("shift", &[n]));
        b.affine("norm", src, dim, scale, shift)
    }

    #[test]
    fn is_folded_into_a_convolution() {
        let mut b = Build::new();
        let (x, w, bias) =
            (b.input("x", &[1, 4, 4, 4]), b.constant("w", &[6, 2, 3, 3]), b.constant("b", &[6]));
        let y = b.grouped("y", x, w, bias, 2);
        let y = affine(&mut b, y, 1, 6);
        b.output(y);
        check(
            "batch_norm",
            b,
            "norm[1, 6, 4, 4] = Conv(x; weight y.weight, kernel [3, 3], padding [1, 1, 1, 1], groups 2, bias y.bias)
             return norm",
        );
    }

    #[test]
    fn is_folded_into_a_depthwise_convolution_and_a_linear_layer() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[1, 4, 4, 4]), b.constant("w", &[4, 1, 3, 3]));
        let y = b.depthwise("y", x, w, -1);
        let y = affine(&mut b, y, 1, 4);
        b.output(y);
        let (x, w) = (b.input("z", &[2, 3]), b.constant("w", &[5, 3]));
        let y = b.linear("l", x, w, -1);
        let y = affine(&mut b, y, 1, 5);
        b.output(y);
        check(
            "batch_norm",
            b,
            "norm[1, 4, 4, 4] = Depthwise(x; weight y.weight, kernel [3, 3], padding [1, 1, 1, 1], bias y.bias)
             norm[2, 5] = Linear(z; weight l.weight, bias l.bias)
             return norm, norm",
        );
    }

    #[test]
    fn is_a_stage_behind_an_activation() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[1, 3, 4, 4]), b.constant("w", &[4, 3, 1, 1]));
        let y = b.conv("y", x, w, -1);
        let y = b.act("r", y, Activation::Relu);
        let y = affine(&mut b, y, 1, 4);
        let y = b.act("s", y, Activation::Silu);
        b.output(y);
        check(
            "activation batch_norm activation",
            b,
            "s[1, 4, 4, 4] = Conv(x; weight w, kernel [1, 1], act Relu, scale y.scale, shift y.shift, act2 Silu)
             return s",
        );
    }

    #[test]
    fn is_a_stage_of_a_transposed_convolution() {
        let mut b = Build::new();
        let (x, w, bias) =
            (b.input("x", &[1, 2, 3, 3]), b.constant("w", &[2, 4, 3, 3]), b.constant("b", &[4]));
        let y = b.conv_transpose("y", x, w, bias);
        let y = affine(&mut b, y, 1, 4);
        b.output(y);
        check(
            "batch_norm",
            b,
            "norm[1, 4, 6, 6] = ConvTranspose(x; weight w, kernel [3, 3], stride [2, 2], padding [1, 1, 1, 1], \
             output_padding [1, 1], bias b, scale y.scale, shift y.shift)
             return norm",
        );
    }

    #[test]
    fn along_another_dimension_stays() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[1, 4, 4, 4]), b.constant("w", &[4, 4, 1, 1]));
        let y = b.conv("y", x, w, -1);
        let y = affine(&mut b, y, 2, 4);
        b.output(y);
        check_untouched("batch_norm", b);
    }

    #[test]
    fn of_a_result_read_elsewhere_stays() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[1, 4, 4, 4]), b.constant("w", &[4, 4, 1, 1]));
        let y = b.conv("y", x, w, -1);
        let norm = affine(&mut b, y, 1, 4);
        let sum = b.add("sum", y, norm);
        b.output(sum);
        check_untouched("batch_norm", b);
    }
}
