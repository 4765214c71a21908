//! Reduce.

use tandem_base::Strided;
use tandem_kernels::reduce::{self, Args, Kind, Problem};
use tandem_schemas::program::{ReduceKind, ReduceT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Operator, Reads, need_f32, need_sizes};
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

impl Operator for ReduceT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let value = self.src as usize;
        need_f32(p, site, &[value, out])?;
        let sizes = p.value(value).sizes.clone();
        let kind = match self.kind {
            ReduceKind::Sum => Kind::Sum,
            ReduceKind::Mean => Kind::Mean,
            ReduceKind::Max => Kind::Max,
            ReduceKind::Min => Kind::Min,
            ReduceKind::Prod => Kind::Prod,
            other => return Err(Error::unsupported(site.name, format!("{other:?}"))),
        };
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
        let problem = Problem { src: src.shape, dims, dst: to, kind };
        let about =
            About { category: Category::Other, shape: format!("{sizes:?} → {kept:?}"), src, dst, why: "" };
        p.kernel(site, about, reduce::KERNELS, problem, Operands { src, dst })
    }
}
