//! Select, and Unary and Binary of other elements than f32 or with other results.

use tandem_base::{Span, Strided};
use tandem_kernels::mixed::{self, Args, Func, Mixed, Problem};
use tandem_kernels::types::Type;
use tandem_schemas::program::{BinaryKind, BinaryT, SelectT, UnaryKind, UnaryT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Operator, Reads, element, need_element, spread};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

/// Operands with the bytes of their elements.
struct Operands {
    src: Vec<(Operand, usize)>,
    dst: (Operand, usize),
}

impl Bind<Mixed> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        let mut src = [Span::empty(); 3];
        for (span, (operand, width)) in src.iter_mut().zip(&self.src) {
            *span = run.bytes(operand, *width)?;
        }
        Some(Args { src, dst: run.bytes_mut(&self.dst.0, self.dst.1)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        self.src.iter().chain([&self.dst]).map(|(o, _)| o.buffer).collect()
    }
}

/// Appends func(values), all broadcast to the output.
fn push(
    p: &mut Planner<'_>,
    site: Site<'_>,
    (func, of): (Func, Type),
    values: &[usize],
    out: usize,
) -> Result<(), Error> {
    let sizes = p.value(out).sizes.clone();
    let to = element(p, site, out)?;
    let src = values.iter().map(|&v| spread(p, site, v, &sizes)).collect::<Result<Vec<_>, _>>()?;
    let dst = p.output(out);
    let problem = Problem { func, src: src.iter().map(|s| s.shape).collect(), of, dst: dst.shape, to };
    let about =
        About { category: Category::Elementwise, shape: format!("{sizes:?}"), src: src[0], dst, why: "" };
    let src = src.into_iter().enumerate().map(|(i, s)| (s, problem.operand(i).width())).collect();
    p.kernel(site, about, mixed::KERNELS, problem, Operands { src, dst: (dst, to.width()) })
}

/// Plans a unary op without activation.
pub(super) fn unary(op: &UnaryT, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
    let src = op.src as usize;
    let of = element(p, site, src)?;
    let (func, values) = match op.kind {
        UnaryKind::Cast => (Func::Cast, vec![src]),
        UnaryKind::Neg => (Func::Neg, vec![src]),
        UnaryKind::Abs => (Func::Abs, vec![src]),
        UnaryKind::Sign => (Func::Sign, vec![src]),
        UnaryKind::LogicalNot | UnaryKind::BitwiseNot => (Func::Not, vec![src]),
        UnaryKind::Square => (Func::Mul, vec![src, src]),
        other => return Err(Error::unsupported(site.name, format!("{other:?} of {of:?}"))),
    };
    push(p, site, (func, of), &values, out)
}

/// Whether a function of two operands is computed here even of f32.
pub(super) fn only(kind: BinaryKind) -> bool {
    let f32 = matches!(
        kind,
        BinaryKind::Add
            | BinaryKind::Sub
            | BinaryKind::Mul
            | BinaryKind::Div
            | BinaryKind::Max
            | BinaryKind::Min
            | BinaryKind::Pow
            | BinaryKind::Atan2
    );
    !f32
}

/// Plans a binary op without activation or factor.
pub(super) fn binary(op: &BinaryT, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
    let (a, b) = (op.a as usize, op.b as usize);
    let of = element(p, site, a)?;
    need_element(p, site, of, &[b])?;
    let func = match op.kind {
        BinaryKind::Add => Func::Add,
        BinaryKind::Sub => Func::Sub,
        BinaryKind::Mul => Func::Mul,
        BinaryKind::Max => Func::Max,
        BinaryKind::Min => Func::Min,
        BinaryKind::Eq => Func::Eq,
        BinaryKind::Ne => Func::Ne,
        BinaryKind::Lt => Func::Lt,
        BinaryKind::Le => Func::Le,
        BinaryKind::Gt => Func::Gt,
        BinaryKind::Ge => Func::Ge,
        BinaryKind::And => Func::And,
        BinaryKind::Or => Func::Or,
        BinaryKind::Xor => Func::Xor,
        BinaryKind::FloorDiv => Func::FloorDiv,
        BinaryKind::TruncDiv => Func::TruncDiv,
        BinaryKind::Remainder => Func::Remainder,
        BinaryKind::Fmod => Func::Fmod,
        BinaryKind::ShiftLeft => Func::ShiftLeft,
        BinaryKind::ShiftRight => Func::ShiftRight,
        other => return Err(Error::unsupported(site.name, format!("{other:?} of {of:?}"))),
    };
    push(p, site, (func, of), &[a, b], out)
}

impl Operator for SelectT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.cond, self.a, self.b])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        let values = [self.a, self.b, self.cond];
        let largest = values.into_iter().rev().max_by_key(|&v| layouts.elements(v)).unwrap_or(self.a);
        layouts.like(largest, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let [cond, a, b] = [self.cond, self.a, self.b].map(|v| v as usize);
        need_element(p, site, Type::Bool, &[cond])?;
        let of = element(p, site, out)?;
        need_element(p, site, of, &[a, b])?;
        push(p, site, (Func::Select, of), &[cond, a, b], out)
    }
}
