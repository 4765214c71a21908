//! Unary, Binary, Affine.

use tandem_base::{Span, Strided};
use tandem_kernels::elementwise::{self, Args, Elementwise, Func, Problem};
use tandem_schemas::program::{AffineT, BinaryKind, BinaryT, DType, Format, UnaryKind, UnaryT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::model::Model;
use crate::ops::{
    Halves, Operator, Reads, element, epilogue, float, halved, mixed, need_element, need_elements, need_f32,
    need_sizes, spread,
};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Vec<Operand>,
    dst: Operand,
}

impl Bind<Elementwise> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        let mut src = [Span::empty(); 3];
        for (span, operand) in src.iter_mut().zip(&self.src) {
            *span = run.f32(operand)?;
        }
        Some(Args { src, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        self.src.iter().chain([&self.dst]).map(|o| o.buffer).collect()
    }
}

fn push(
    p: &mut Planner<'_>,
    site: Site<'_>,
    func: Func,
    act: tandem_kernels::Act,
    src: Vec<Operand>,
    (out, dst): (usize, Operand),
) -> Result<(), Error> {
    let of = element(p, site, out)?;
    let problem = Problem { func, src: src.iter().map(|s| s.shape).collect(), dst: dst.shape, act };
    let shape = format!("{:?}", dst.shape.sizes());
    let about = About { category: Category::Elementwise, shape, src: src[0], dst, why: "" };
    halved!(elementwise of of,
        rows => p.kernel(site, about, rows, problem, Halves::of(&src, dst)),
        p.kernel(site, about, elementwise::KERNELS, problem, Operands { src, dst })
    )
}

/// Whether an op gives what it reads.
fn is_identity(o: &UnaryT, model: &Model, out: usize) -> bool {
    let (src, out) = (&model.values[o.src as usize], &model.values[out]);
    let same = src.dtype == out.dtype && src.sizes == out.sizes;
    let plain = matches!(o.kind, UnaryKind::Identity | UnaryKind::Cast);
    plain && same && o.act.as_ref().is_none_or(|a| a.kind.0 == 0)
}

impl Operator for UnaryT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn relabel(&self, model: &Model, out: usize, src: Strided) -> Option<(usize, Strided)> {
        is_identity(self, model, out).then_some((0, src))
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let src = self.src as usize;
        need_sizes(site, "output", &p.value(out).sizes, &p.value(src).sizes)?;
        let plain = self.act.as_ref().is_none_or(|a| a.kind.0 == 0);
        if is_identity(self, p.model, out) {
            let place = p.input(src);
            return p.view(site, out, place);
        }
        let of = p.value(out).dtype;
        let half = matches!(of, DType::F16 | DType::BF16) && self.kind != UnaryKind::Cast;
        let numbers = p.value(src).dtype == of && (of == DType::F32 || half);
        if !numbers && plain {
            return mixed::unary(self, p, site, out);
        }
        need_element(p, site, float(p, site, out)?, &[src])?;
        let a = self.a as f32;
        let func = match self.kind {
            UnaryKind::Identity | UnaryKind::Activation => Func::Act(epilogue::act(site, self.act.as_ref())?),
            UnaryKind::Neg => Func::Neg,
            UnaryKind::Abs => Func::Abs,
            UnaryKind::Exp => Func::Exp,
            UnaryKind::Log => Func::Log,
            UnaryKind::Sqrt => Func::Sqrt,
            UnaryKind::Rsqrt => Func::Rsqrt,
            UnaryKind::Reciprocal => Func::Reciprocal,
            UnaryKind::Square => Func::Square,
            UnaryKind::Sin => Func::Sin,
            UnaryKind::Cos => Func::Cos,
            UnaryKind::Erf => Func::Erf,
            UnaryKind::Floor => Func::Floor,
            UnaryKind::Ceil => Func::Ceil,
            UnaryKind::Round => Func::Round,
            UnaryKind::Trunc => Func::Trunc,
            UnaryKind::Log2 => Func::Log2,
            UnaryKind::Log10 => Func::Log10,
            UnaryKind::Log1p => Func::Log1p,
            UnaryKind::Expm1 => Func::Expm1,
            UnaryKind::Tan => Func::Tan,
            UnaryKind::Asin => Func::Asin,
            UnaryKind::Acos => Func::Acos,
            UnaryKind::Atan => Func::Atan,
            UnaryKind::Sinh => Func::Sinh,
            UnaryKind::Cosh => Func::Cosh,
            UnaryKind::Asinh => Func::Asinh,
            UnaryKind::Acosh => Func::Acosh,
            UnaryKind::Atanh => Func::Atanh,
            UnaryKind::Sign => Func::Sign,
            UnaryKind::PowScalar => Func::PowScalar(a),
            UnaryKind::AddScalar => Func::AddScalar(a),
            UnaryKind::MulScalar => Func::MulScalar(a),
            other => return Err(Error::unsupported(site.name, format!("{other:?}"))),
        };
        let act = match func {
            Func::Act(_) => tandem_kernels::Act::None,
            _ => epilogue::act(site, self.act.as_ref())?,
        };
        let (src, dst) = (p.input(src), p.output_over(out, &[src], &[]));
        push(p, site, func, act, vec![src], (out, dst))
    }
}

impl Operator for BinaryT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.a, self.b])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        let bigger = layouts.elements(self.b) > layouts.elements(self.a);
        layouts.like(if bigger { self.b } else { self.a }, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (a, b) = (self.a as usize, self.b as usize);
        let of = p.value(out).dtype;
        let half = matches!(of, DType::F16 | DType::BF16);
        let numbers = [a, b].iter().all(|&v| p.value(v).dtype == of) && (of == DType::F32 || half);
        let plain = self.act.as_ref().is_none_or(|a| a.kind.0 == 0) && self.alpha == 1.0;
        if plain && (!numbers || mixed::only(self.kind)) {
            return mixed::binary(self, p, site, out);
        }
        need_element(p, site, float(p, site, out)?, &[a, b])?;
        let alpha = self.alpha as f32;
        let func = match self.kind {
            BinaryKind::Add => Func::Add(alpha),
            BinaryKind::Sub => Func::Sub(alpha),
            BinaryKind::Mul => Func::Mul,
            BinaryKind::Div => Func::Div,
            BinaryKind::Max => Func::Max,
            BinaryKind::Min => Func::Min,
            BinaryKind::Pow => Func::Pow,
            BinaryKind::Atan2 => Func::Atan2,
            other => return Err(Error::unsupported(site.name, format!("{other:?}"))),
        };
        let sizes = p.value(out).sizes.clone();
        let src = vec![spread(p, site, a, &sizes)?, spread(p, site, b, &sizes)?];
        let act = epilogue::act(site, self.act.as_ref())?;
        let dst = p.output_over(out, &[a, b], &[]);
        push(p, site, func, act, src, (out, dst))
    }
}

impl Operator for AffineT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src]).constants(&[self.scale, self.shift])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let value = self.src as usize;
        need_f32(p, site, &[value, out])?;
        let sizes = p.value(value).sizes.clone();
        need_sizes(site, "output", &p.value(out).sizes, &sizes)?;
        let dim = self.dim as usize;
        if dim >= sizes.len() {
            return Err(Error::program(site.name, format!("dimension {dim} of {sizes:?}")));
        }
        let mut strides = vec![0; sizes.len()];
        strides[dim] = 1;
        let along = Strided::new(&sizes, &strides);
        let column = |index: i32| -> Result<Option<Operand>, Error> {
            let Ok(index) = usize::try_from(index) else { return Ok(None) };
            let constant = &p.model.constants[index];
            let plain = matches!(constant.format, Format::Plain | Format::Columns);
            if !plain {
                let what = format!("{} in {:?}, Plain expected", constant.name, constant.format);
                return Err(Error::program(site.name, what));
            }
            need_elements(site, constant, &[sizes[dim]], false)?;
            Ok(Some(Operand { buffer: Buffer::Constant(index), offset: 0, shape: along }))
        };
        let (scale, shift) = (column(self.scale)?, column(self.shift)?);
        let act = epilogue::act(site, self.act.as_ref())?;
        let (src, dst) = (p.input(value), p.output_over(out, &[value], &[]));
        let (func, operands) = match (scale, shift) {
            (Some(scale), Some(shift)) => (Func::MulAdd, vec![src, scale, shift]),
            (Some(scale), None) => (Func::Mul, vec![src, scale]),
            (None, Some(shift)) => (Func::Add(1.0), vec![src, shift]),
            (None, None) => (Func::MulScalar(1.0), vec![src]),
        };
        push(p, site, func, act, operands, (out, dst))
    }
}
