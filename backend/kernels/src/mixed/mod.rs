//! Element-wise functions on elements of any type, and conversions between types.

mod run;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, Refusal, check_disjoint, check_len};
use crate::types::Type;

/// The family.
pub struct Mixed;

/// What is computed from x (and y), both of one type; the result has it too where nothing else is said. Arithmetic of
/// integers wraps, quotients by 0 are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Func {
    /// x as the destination's type: toward zero and by their low bits to integers, by comparison with 0 to truth values.
    Cast,
    /// -x
    Neg,
    /// |x|
    Abs,
    /// -1, 0 or 1; 0 for NaN
    Sign,
    /// Each bit, or the truth value, inverted.
    Not,
    /// x + y
    Add,
    /// x - y
    Sub,
    /// x * y
    Mul,
    /// larger (NaN wins)
    Max,
    /// smaller (NaN wins)
    Min,
    /// x / y toward negative infinity
    FloorDiv,
    /// x / y toward zero
    TruncDiv,
    /// What FloorDiv leaves: the sign of y.
    Remainder,
    /// What TruncDiv leaves: the sign of x.
    Fmod,
    /// Each bit, or truth values.
    And,
    /// Each bit, or truth values.
    Or,
    /// Each bit, or truth values.
    Xor,
    /// x * 2^y
    ShiftLeft,
    /// x / 2^y toward negative infinity
    ShiftRight,
    /// x == y, a truth value
    Eq,
    /// x != y, a truth value
    Ne,
    /// x < y, a truth value
    Lt,
    /// x <= y, a truth value
    Le,
    /// x > y, a truth value
    Gt,
    /// x >= y, a truth value
    Ge,
    /// y where the truth value x is set, else z
    Select,
}

impl Func {
    /// Number of operands.
    pub fn arity(self) -> usize {
        match self {
            Self::Cast | Self::Neg | Self::Abs | Self::Sign | Self::Not => 1,
            Self::Select => 3,
            _ => 2,
        }
    }

    /// Type of the result for operands of a type; none where there is no such function. `Cast` goes to any type.
    pub fn result(self, of: Type) -> Option<Type> {
        let whole = of.is_integer() || of == Type::Bool;
        let half = matches!(of, Type::F16 | Type::Bf16);
        let exists = match self {
            Self::Cast | Self::Select => true,
            Self::Not | Self::And | Self::Or | Self::Xor => whole,
            Self::ShiftLeft | Self::ShiftRight => of.is_integer(),
            Self::Neg | Self::Abs | Self::Sign | Self::Sub => of != Type::Bool && !half,
            Self::FloorDiv | Self::TruncDiv | Self::Remainder | Self::Fmod => of != Type::Bool && !half,
            _ => !half,
        };
        let compares = matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge);
        exists.then_some(if compares { Type::Bool } else { of })
    }
}

/// dst = func(x, y, z), all of the destination's sizes; operands broadcast by strides of 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The function.
    pub func: Func,
    /// One shape per operand, each of the destination's sizes.
    pub src: Vec<Strided>,
    /// Of the operands; the first of [`Func::Select`] is a truth value.
    pub of: Type,
    /// Destination, any strides but 0.
    pub dst: Strided,
    /// Of the destination.
    pub to: Type,
}

impl Problem {
    /// Type of an operand.
    pub fn operand(&self, index: usize) -> Type {
        if self.func == Func::Select && index == 0 { Type::Bool } else { self.of }
    }
}

/// Operands of a [`Problem`], as bytes aligned to their elements.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// As many as the function has operands; the rest empty. Each is disjoint from dst.
    pub src: [Span<'a, u8>; 3],
    /// Destination.
    pub dst: SpanMut<'a, u8>,
}

impl Family for Mixed {
    const NAME: &'static str = "mixed";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let read = p.src.iter().enumerate();
        let read: usize = read.map(|(i, s)| p.operand(i).width() * s.extent().min(s.elements())).sum();
        Cost { flops: p.dst.elements() as f64, bytes: (read + p.to.width() * p.dst.elements()) as f64 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("dst", args.dst.len(), p.dst.extent() * p.to.width())?;
        for (i, (shape, span)) in p.src.iter().zip(&args.src).enumerate() {
            check_len("src", span.len(), shape.extent() * p.operand(i).width())?;
            check_disjoint("src", span, &args.dst)?;
        }
        Ok(())
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    match p.func.result(p.of) {
        _ if p.src.len() != p.func.arity() => Err("has another number of operands"),
        None => Err("is not defined for this type"),
        Some(to) if to != p.to && p.func != Func::Cast => Err("gives another type"),
        Some(_) => Ok(()),
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Mixed>] = &[run::AVX512, run::AVX2, run::NEON, run::SCALAR];
