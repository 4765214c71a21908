//! Reduce.

use tandem_base::Strided;
use tandem_kernels::fold;
use tandem_kernels::reduce::{self, Args, Kind, Problem};
use tandem_schemas::program::{DType, ReduceKind, ReduceT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Operator, Reads, element, need_sizes};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Operand,
    dst: Operand,
}

impl Bind<reduce::Reduce> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        Some(Args { src: run.f32(&self.src)?, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

struct FoldOperands {
    src: Operand,
    dst: Operand,
    widths: [usize; 2],
}

impl Bind<fold::Fold> for FoldOperands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<fold::Args<'a>> {
        let [from, to] = self.widths;
        Some(fold::Args { src: run.bytes(&self.src, from)?, dst: run.bytes_mut(&self.dst, to)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

/// What the kinds are called where f32 becomes f32, and where not.
trait Kinds {
    fn float(&self) -> Option<Kind>;
    fn fold(&self) -> Option<fold::Kind>;
}

impl Kinds for ReduceT {
    fn float(&self) -> Option<Kind> {
        Some(match self.kind {
            ReduceKind::Sum => Kind::Sum,
            ReduceKind::Mean => Kind::Mean,
            ReduceKind::Max => Kind::Max,
            ReduceKind::Min => Kind::Min,
            ReduceKind::Prod => Kind::Prod,
            _ => return None,
        })
    }

    fn fold(&self) -> Option<fold::Kind> {
        Some(match self.kind {
            ReduceKind::Sum => fold::Kind::Sum,
            ReduceKind::Mean => fold::Kind::Mean,
            ReduceKind::Max => fold::Kind::Max,
            ReduceKind::Min => fold::Kind::Min,
            ReduceKind::Prod => fold::Kind::Prod,
            ReduceKind::Any => fold::Kind::Any,
            ReduceKind::All => fold::Kind::All,
            ReduceKind::ArgMax => fold::Kind::ArgMax,
            ReduceKind::ArgMin => fold::Kind::ArgMin,
            _ => return None,
        })
    }
}

impl Operator for ReduceT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let value = self.src as usize;
        let sizes = p.value(value).sizes.clone();
        if self.dims.iter().any(|&d| d as usize >= sizes.len()) {
            return Err(Error::program(site.name, format!("dimensions {:?} of {sizes:?}", self.dims)));
        }
        let dims = self.dims.iter().fold(0u32, |bits, d| bits | 1 << d);
        let kept: Vec<usize> =
            (0..sizes.len()).map(|d| if dims >> d & 1 == 1 { 1 } else { sizes[d] }).collect();
        let (src, dst) = (p.input(value), p.output(out));
        let elements = dst.shape.elements();
        need_sizes(site, "output elements", &[elements], &[kept.iter().product()])?;
        let shape = dst.shape.reshaped(&kept).or_else(|| (elements <= 1).then(|| Strided::contiguous(&kept)));
        let to = shape.ok_or_else(|| Error::unsupported(site.name, format!("strides {:?}", dst.shape)))?;
        let about =
            About { category: Category::Other, shape: format!("{sizes:?} → {kept:?}"), src, dst, why: "" };
        if let (Some(kind), DType::F32, DType::F32) = (self.float(), p.value(value).dtype, p.value(out).dtype)
        {
            let problem = Problem { src: src.shape, dims, dst: to, kind };
            return p.kernel(site, about, reduce::KERNELS, problem, Operands { src, dst });
        }
        let (of, given) = (element(p, site, value)?, element(p, site, out)?);
        let kind = self.fold().filter(|kind| kind.result(of) == given);
        let wrong = || Error::unsupported(site.name, format!("{:?} of {of:?} to {given:?}", self.kind));
        let problem = fold::Problem { src: src.shape, of, dims, dst: to, kind: kind.ok_or_else(wrong)? };
        let operands = FoldOperands { src, dst, widths: [of.width(), given.width()] };
        p.kernel(site, about, fold::KERNELS, problem, operands)
    }
}
