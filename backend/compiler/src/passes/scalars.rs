//! Arithmetic with a constant number becomes unary, arithmetic with one constant per channel an `Affine`: the forms
//! that epilogues take.

use tandem_schemas::program::{AffineT, BinaryKind, BinaryT, DType, OpKindT, UnaryKind, UnaryT};

use crate::error::Reason;
use crate::graph::{GraphEdit, Op, ValueId, table};
use crate::tensor::{Tensor, elements};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let Some(linear) = edit.op(id).and_then(|op| Linear::of(edit, op)) else { continue };
        let name = edit.op(id).map_or(String::new(), |op| op.name.clone());
        let kind = linear.kind(edit, &name);
        edit.modify(id, |old| *old = kind);
    }
    Ok(())
}

/// src * factor, or src + summand, one number for every index of `dim`.
struct Linear {
    src: ValueId,
    dim: usize,
    numbers: Vec<f64>,
    multiplies: bool,
}

impl Linear {
    fn of(edit: &GraphEdit<'_, '_>, op: &Op) -> Option<Self> {
        let OpKindT::Binary(binary) = &op.kind else { return None };
        let out = edit.shape(op.output);
        let (src, constant, on_right) = match (edit.constant(binary.a), edit.constant(binary.b)) {
            (None, Some(_)) => (binary.a, binary.b, true),
            (Some(_), None) => (binary.b, binary.a, false),
            _ => return None,
        };
        let tensor = edit.constant(constant)?;
        let floats = [src, constant, op.output].iter().all(|&v| edit.graph().value(v).dtype == DType::F32);
        if !floats || binary.act.is_some() || edit.shape(src) != out || tensor.shape.len() > out.len() {
            return None;
        }
        let offset = out.len() - tensor.shape.len();
        let mut wide = (0..tensor.shape.len()).filter(|&i| tensor.shape[i] > 1);
        let dim = match (wide.next(), wide.next()) {
            (None, _) => 0,
            (Some(i), None) => i + offset,
            _ => return None,
        };
        let meaning = meaning(binary, on_right)?;
        let numbers = tensor.f32().iter().map(|&v| meaning.of(f64::from(v))).collect();
        Some(Self { src, dim, numbers, multiplies: meaning.multiplies })
    }

    fn kind(self, edit: &mut GraphEdit<'_, '_>, name: &str) -> OpKindT {
        let Self { src, dim, numbers, multiplies } = self;
        if let [number] = numbers[..] {
            let kind = if multiplies { UnaryKind::MulScalar } else { UnaryKind::AddScalar };
            return OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind, op.a) = (src, kind, number)));
        }
        debug_assert_eq!(numbers.len(), elements(&edit.shape(src)[dim..=dim]));
        let what = if multiplies { "scale" } else { "shift" };
        let tensor = Tensor::vector(numbers.iter().map(|&n| n as f32).collect());
        let constant = edit.add_constant(format!("{name}.{what}"), tensor);
        OpKindT::Affine(table(|op: &mut AffineT| {
            (op.src, op.dim) = (src, dim as u32);
            (op.scale, op.shift) = if multiplies { (constant, -1) } else { (-1, constant) };
        }))
    }
}

struct Meaning {
    multiplies: bool,
    inverts: bool,
    factor: f64,
}

impl Meaning {
    fn of(&self, value: f64) -> f64 {
        self.factor * if self.inverts { 1.0 / value } else { value }
    }
}

/// What a binary op does with its constant operand.
fn meaning(binary: &BinaryT, on_right: bool) -> Option<Meaning> {
    let (multiplies, inverts, factor) = match binary.kind {
        BinaryKind::Add if on_right => (false, false, binary.alpha),
        BinaryKind::Add if binary.alpha == 1.0 => (false, false, 1.0),
        BinaryKind::Sub if on_right => (false, false, -binary.alpha),
        BinaryKind::Mul => (true, false, 1.0),
        BinaryKind::Div if on_right => (true, true, 1.0),
        _ => return None,
    };
    Some(Meaning { multiplies, inverts, factor })
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::BinaryKind;

    use crate::testing::{Build, check, check_untouched};

    /// One op of `[1, 3, 4, 5]` and a constant.
    fn arithmetic(kind: BinaryKind, constant: &[usize], on_right: bool, alpha: f64) -> Build {
        let mut b = Build::new();
        let x = b.input("x", &[1, 3, 4, 5]);
        let c = b.numbers("c", constant, (0..constant.iter().product()).map(|i| 2.0 + i as f32).collect());
        let (left, right) = if on_right { (x, c) } else { (c, x) };
        let y = b.binary_alpha("y", kind, left, right, alpha);
        b.output(y);
        b
    }

    #[test]
    fn with_one_number() {
        use BinaryKind as B;
        for (kind, shape, on_right, alpha, expected) in [
            (B::Add, &[][..], true, 1.0, "AddScalar, 2"),
            (B::Add, &[1, 1], false, 1.0, "AddScalar, 2"),
            (B::Add, &[], true, 3.0, "AddScalar, 6"),
            (B::Sub, &[1], true, 0.5, "AddScalar, -1"),
            (B::Mul, &[], false, 1.0, "MulScalar, 2"),
            (B::Div, &[], true, 1.0, "MulScalar, 0.5"),
        ] {
            let text = format!("y[1, 3, 4, 5] = Unary(x; {expected})\nreturn y");
            check("scalars", arithmetic(kind, shape, on_right, alpha), &text);
        }
    }

    #[test]
    fn with_a_number_per_channel() {
        use BinaryKind as B;
        for (kind, shape, expected) in [
            (B::Mul, &[1, 3, 1, 1][..], "dim 1, scale y.scale"),
            (B::Div, &[3, 1, 1], "dim 1, scale y.scale"),
            (B::Add, &[4, 1], "dim 2, shift y.shift"),
            (B::Sub, &[5], "dim 3, shift y.shift"),
        ] {
            let text = format!("y[1, 3, 4, 5] = Affine(x; {expected})\nreturn y");
            check("scalars", arithmetic(kind, shape, true, 1.0), &text);
        }
    }

    #[test]
    fn constants_of_several_dimensions_stay() {
        check_untouched("scalars", arithmetic(BinaryKind::Add, &[4, 5], true, 1.0));
    }

    #[test]
    fn what_is_not_linear_stays() {
        check_untouched("scalars", arithmetic(BinaryKind::Div, &[3, 1, 1], false, 1.0));
        check_untouched("scalars", arithmetic(BinaryKind::Sub, &[], false, 1.0));
        check_untouched("scalars", arithmetic(BinaryKind::Add, &[], false, 2.0));
        check_untouched("scalars", arithmetic(BinaryKind::Max, &[], true, 1.0));
    }

    #[test]
    fn constants_that_widen_the_result_stay() {
        check_untouched("scalars", arithmetic(BinaryKind::Add, &[1, 1, 1, 1, 1], true, 1.0));
        check_untouched("scalars", arithmetic(BinaryKind::Add, &[2, 1, 1, 1], true, 1.0));
    }
}
