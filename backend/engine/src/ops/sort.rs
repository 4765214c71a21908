//! ArgSort.

use tandem_base::Strided;
use tandem_kernels::sort::{self, Args, Problem};
use tandem_kernels::types::Type;
use tandem_schemas::program::ArgSortT;

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Operator, Reads, element, need_element};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Operand,
    dst: Operand,
    width: usize,
}

impl Bind<sort::ArgSort> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        let dst = run.bytes_mut(&self.dst, Type::I64.width())?.cast()?;
        Some(Args { src: run.bytes(&self.src, self.width)?, dst })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

impl Operator for ArgSortT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let value = self.src as usize;
        let (of, dim) = (element(p, site, value)?, self.dim as usize);
        need_element(p, site, Type::I64, &[out])?;
        let (src, dst) = (p.input(value), p.output(out));
        let problem = Problem { src: src.shape, of, dst: dst.shape, dim, descending: self.descending };
        let shape = format!("{:?} along {dim}", src.shape.sizes());
        let about = About { category: Category::Other, shape, src, dst, why: "" };
        p.kernel(site, about, sort::KERNELS, problem, Operands { src, dst, width: of.width() })
    }
}
