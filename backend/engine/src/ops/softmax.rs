//! Softmax.

use tandem_base::Strided;
use tandem_kernels::softmax::{self, Args, Problem};
use tandem_schemas::program::SoftmaxT;

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Halves, Operator, Reads, float, halved, need_element, need_sizes};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Operand,
    dst: Operand,
}

impl Bind<softmax::Softmax> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        Some(Args { src: run.f32(&self.src)?, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

impl Operator for SoftmaxT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let value = self.src as usize;
        let of = float(p, site, out)?;
        need_element(p, site, of, &[value])?;
        let sizes = p.value(value).sizes.clone();
        need_sizes(site, "output", &p.value(out).sizes, &sizes)?;
        let dim = self.dim as usize;
        if dim >= sizes.len() {
            return Err(Error::program(site.name, format!("dimension {dim} of {sizes:?}")));
        }
        let (src, dst) = (p.input(value), p.output_over(out, &[value], &[]));
        let problem = Problem { src: src.shape, dst: dst.shape, dim, log: self.log };
        let about =
            About { category: Category::Other, shape: format!("{sizes:?} along {dim}"), src, dst, why: "" };
        halved!(softmax of of,
            rows => p.kernel(site, about, rows, problem, Halves::of(&[src], dst)),
            p.kernel(site, about, softmax::KERNELS, problem, Operands { src, dst })
        )
    }
}
