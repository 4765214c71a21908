//! Arithmetic with a constant number becomes unary, arithmetic with one constant per channel an `Affine`: the forms
//! that epilogues take.

use tandem_schemas::program::{AffineT, BinaryKind, BinaryT, OpKindT, UnaryKind, UnaryT};

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
        if binary.act.is_some() || edit.shape(src) != out || tensor.shape.len() > out.len() {
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
