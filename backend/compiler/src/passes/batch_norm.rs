//! A scale and a shift behind a product, per column or of one number: folded into its weight and bias where they follow
//! the sum, stages of its epilogue behind an activation.

use tandem_schemas::program::{ActT, OpKindT, UnaryKind};

use crate::error::Reason;
use crate::graph::{GraphEdit, Op, OpId, ValueId, epilogue, epilogue_mut};
use crate::tensor::{Tensor, elements};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some((producer, line)) = candidate(edit, id) else { continue };
        if edit.op(producer).is_some_and(direct) {
            fold(edit, producer, line);
        } else {
            stage(edit, producer, line);
        }
        edit.absorb(producer, id);
    }
    Ok(())
}

/// x * scale + shift, then an activation; one number per column, in the order of the weight's.
struct Line {
    scale: Vec<f32>,
    shift: Vec<f32>,
    act: Option<ActT>,
}

impl Line {
    fn scales(&self) -> bool {
        self.scale.iter().any(|&x| x != 1.0)
    }

    fn shifts(&self) -> bool {
        self.shift.iter().any(|&x| x != 0.0)
    }

    /// The line's numbers for columns that are `numbers` before.
    fn of(&self, numbers: &[f32]) -> Vec<f32> {
        numbers
            .iter()
            .zip(&self.scale)
            .zip(&self.shift)
            .map(|((x, scale), shift)| x * scale + shift)
            .collect()
    }
}

/// The product whose result only `id` reads, and what `id` does to its columns, if there is room for that.
fn candidate(edit: &GraphEdit<'_, '_>, id: OpId) -> Option<(OpId, Line)> {
    let op = edit.op(id)?;
    let src = match &op.kind {
        OpKindT::Affine(op) => op.src,
        OpKindT::Unary(op) if matches!(op.kind, UnaryKind::AddScalar | UnaryKind::MulScalar) => op.src,
        _ => return None,
    };
    let (producer, before) = edit.sole_producer(src)?;
    let line = line(edit, &op.kind, before)?;
    let stages = epilogue(&before.kind)?;
    let open = stages.residual < 0 && stages.act2.is_none();
    // A product of values has no weight to scale by column.
    let fits = !matches!(before.kind, OpKindT::MatMul(_))
        || (direct(before) && line.scale.windows(2).all(|pair| pair[0] == pair[1]));
    (open && fits).then_some((producer, line))
}

/// What an op does to the columns of `before`, whose result it reads.
fn line(edit: &GraphEdit<'_, '_>, kind: &OpKindT, before: &Op) -> Option<Line> {
    let shape = edit.shape(before.output);
    let (dim, parities) = match &before.kind {
        OpKindT::Linear(_) | OpKindT::MatMul(_) => (shape.len() - 1, 1),
        OpKindT::Conv(conv) => (1, (conv.shuffle * conv.shuffle) as usize),
        OpKindT::Depthwise(_) | OpKindT::ConvTranspose(_) => (1, 1),
        _ => return None,
    };
    let same = |number: f32| vec![number; shape[dim] * parities];
    match kind {
        OpKindT::Affine(op) if op.dim as usize == dim => {
            let spread = |numbers: Vec<f32>| {
                numbers.into_iter().flat_map(|x| std::iter::repeat_n(x, parities)).collect()
            };
            let scale = column(edit, op.scale).map_or_else(|| same(1.0), spread);
            let shift = column(edit, op.shift).map_or_else(|| same(0.0), spread);
            Some(Line { scale, shift, act: op.act.clone() })
        }
        OpKindT::Unary(op) if op.kind == UnaryKind::MulScalar => {
            Some(Line { scale: same(op.a as f32), shift: same(0.0), act: None })
        }
        OpKindT::Unary(op) if op.kind == UnaryKind::AddScalar => {
            Some(Line { scale: same(1.0), shift: same(op.a as f32), act: None })
        }
        _ => None,
    }
}

/// Whether nothing stands between the sum and what follows the op.
fn direct(op: &Op) -> bool {
    epilogue(&op.kind).is_some_and(|e| e.act.is_none() && e.scale < 0)
}

/// Numbers of a constant, if there is one.
fn column(edit: &GraphEdit<'_, '_>, id: ValueId) -> Option<Vec<f32>> {
    usize::try_from(id).ok().and_then(|_| edit.constant(id)).map(|tensor| tensor.f32().into_owned())
}

/// weight * scale, bias * scale + shift; the line's activation follows.
fn fold(edit: &mut GraphEdit<'_, '_>, producer: OpId, line: Line) {
    let Some(op) = edit.op(producer) else { return };
    let (name, mut kind) = (op.name.clone(), op.kind.clone());
    if let OpKindT::MatMul(product) = &mut kind {
        product.scale *= line.scale[0];
    } else if line.scales() {
        scale_weight(edit, &name, &mut kind, &line.scale);
    }
    if let Some(stages) = epilogue_mut(&mut kind) {
        if stages.bias >= 0 || line.shifts() {
            let bias = column(edit, stages.bias).unwrap_or_else(|| vec![0.0; line.shift.len()]);
            stages.bias = edit.add_constant(format!("{name}.bias"), Tensor::vector(line.of(&bias)));
        }
        stages.act = line.act;
    }
    edit.modify(producer, |old| *old = kind);
}

/// Columns lie along a weight's first dimension; of a transposed convolution, group by group along its second.
fn scale_weight(edit: &mut GraphEdit<'_, '_>, name: &str, kind: &mut OpKindT, scale: &[f32]) {
    let (weight, groups) = match kind {
        OpKindT::Conv(op) => (&mut op.weight, None),
        OpKindT::Depthwise(op) => (&mut op.weight, None),
        OpKindT::Linear(op) => (&mut op.weight, None),
        OpKindT::ConvTranspose(op) => (&mut op.weight, Some(op.groups as usize)),
        _ => return,
    };
    let Some(tensor) = edit.constant(*weight) else { return };
    let shape = tensor.shape.clone();
    let mut data = tensor.f32().into_owned();
    let run = elements(&shape[if groups.is_some() { 2 } else { 1 }..]);
    for (i, numbers) in data.chunks_mut(run.max(1)).enumerate() {
        let column = groups.map_or(i, |groups| {
            let (channel, column) = (i / shape[1], i % shape[1]);
            channel * groups / shape[0] * shape[1] + column
        });
        numbers.iter_mut().for_each(|x| *x *= scale[column]);
    }
    *weight = edit.add_constant(format!("{name}.weight"), Tensor::owned(&shape, data));
}

/// scale and shift as stages; the line's activation is the second one.
fn stage(edit: &mut GraphEdit<'_, '_>, producer: OpId, line: Line) {
    let Some(op) = edit.op(producer) else { return };
    let (name, Some(stages)) = (op.name.clone(), epilogue(&op.kind)) else { return };
    let shift = column(edit, stages.shift).map_or_else(|| line.shift.clone(), |shift| line.of(&shift));
    let scale = match column(edit, stages.scale) {
        Some(scale) => scale.iter().zip(&line.scale).map(|(a, b)| a * b).collect(),
        None => line.scale,
    };
    let columns = [(scale, "scale"), (shift, "shift")]
        .map(|(data, what)| edit.add_constant(format!("{name}.{what}"), Tensor::vector(data)));
    edit.modify(producer, |kind| {
        if let Some(stages) = epilogue_mut(kind) {
            [stages.scale, stages.shift] = columns;
            stages.act2 = line.act;
        }
    });
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::{Activation, UnaryKind};

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
    fn is_folded_into_a_transposed_convolution() {
        let mut b = Build::new();
        let (x, w, bias) =
            (b.input("x", &[1, 4, 3, 3]), b.constant("w", &[4, 2, 3, 3]), b.constant("b", &[4]));
        let y = b.conv_transpose("y", x, w, bias, 2);
        let y = affine(&mut b, y, 1, 4);
        b.output(y);
        check(
            "batch_norm",
            b,
            "norm[1, 4, 6, 6] = ConvTranspose(x; weight y.weight, kernel [3, 3], stride [2, 2], padding [1, 1, 1, 1], \
             output_padding [1, 1], groups 2, bias y.bias)
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

    #[test]
    fn constants_are_folded_into_the_bias() {
        let mut b = Build::new();
        let (x, w, shift) = (b.input("x", &[2, 3]), b.constant("w", &[5, 3]), b.constant("shift", &[5]));
        let y = b.linear("y", x, w, -1);
        let y = b.affine("y.shift", y, 1, -1, shift);
        b.output(y);
        let (x, w, bias) =
            (b.input("i", &[1, 3, 2, 2]), b.constant("w", &[5, 3, 1, 1]), b.constant("b", &[5]));
        let z = b.conv("z", x, w, bias);
        let z = b.unary("z.shift", z, UnaryKind::AddScalar, 0.5);
        b.output(z);
        check(
            "batch_norm",
            b,
            "y.shift[2, 5] = Linear(x; weight w, bias y.bias)
             z.shift[1, 5, 2, 2] = Conv(i; weight w, kernel [1, 1], bias z.bias)
             return y.shift, z.shift",
        );
    }

    #[test]
    fn number_is_folded_into_the_weight() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[2, 3]), b.constant("w", &[5, 3]));
        let y = b.linear("y", x, w, -1);
        let y = b.unary("y.half", y, UnaryKind::MulScalar, 0.5);
        b.output(y);
        check("batch_norm", b, "y.half[2, 5] = Linear(x; weight y.weight)\nreturn y.half");
    }

    #[test]
    fn product_of_values_takes_a_number_and_a_bias() {
        let mut b = Build::new();
        let (x, y, shift) = (b.input("x", &[2, 3]), b.input("y", &[3, 4]), b.constant("shift", &[4]));
        let z = b.matmul("z", x, y, 3.0);
        let z = b.affine("z.shift", z, 1, -1, shift);
        let z = b.unary("z.half", z, UnaryKind::MulScalar, 0.5);
        b.output(z);
        check("batch_norm", b, "z.half[2, 4] = MatMul(x, y; scale 1.5, bias z.bias)\nreturn z.half");
    }

    #[test]
    fn scale_of_a_product_of_values_stays() {
        let mut b = Build::new();
        let (x, y) = (b.input("x", &[2, 3]), b.input("y", &[3, 4]));
        let z = b.matmul("z", x, y, 1.0);
        let z = affine(&mut b, z, 1, 4);
        b.output(z);
        check_untouched("batch_norm", b);
    }

    #[test]
    fn two_behind_an_activation_are_one_stage() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[2, 3]), b.constant("w", &[5, 3]));
        let y = b.linear("y", x, w, -1);
        let y = b.act("r", y, Activation::Relu);
        let y = affine(&mut b, y, 1, 5);
        let y = b.unary("half", y, UnaryKind::MulScalar, 0.5);
        let y = affine(&mut b, y, 1, 5);
        b.output(y);
        check(
            "activation batch_norm",
            b,
            "norm[2, 5] = Linear(x; weight w, act Relu, scale y.scale, shift y.shift)
             return norm",
        );
    }

    #[test]
    fn behind_a_pixel_shuffle_counts_its_channels() {
        let mut b = Build::new();
        let (x, w, bias) =
            (b.input("x", &[1, 2, 3, 3]), b.constant("w", &[8, 2, 1, 1]), b.constant("b", &[8]));
        let y = b.conv("y", x, w, bias);
        let y = b.pixel_shuffle("s", y, 2);
        let y = affine(&mut b, y, 1, 2);
        b.output(y);
        check(
            "pixel_shuffle batch_norm",
            b,
            "norm[1, 2, 6, 6] = Conv(x; weight y.weight, kernel [1, 1], shuffle 2, bias y.bias)
             return norm",
        );
    }

    #[test]
    fn behind_a_residual_stays() {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[2, 3]), b.constant("w", &[3, 3]));
        let y = b.linear("y", x, w, -1);
        let y = b.add("sum", y, x);
        let y = affine(&mut b, y, 1, 3);
        b.output(y);
        check(
            "residual batch_norm",
            b,
            "sum[2, 3] = Linear(x; weight w, residual x)
             norm[2, 3] = Affine(sum; dim 1, scale scale, shift shift)
             return norm",
        );
    }
}
