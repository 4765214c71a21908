//! Scan.

use tandem_base::Strided;
use tandem_kernels::scan::{self, Args, Kind, Problem};
use tandem_schemas::program::{ScanKind, ScanT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Operator, Reads, element, need_element, need_sizes};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Operand,
    dst: Operand,
    widths: [usize; 2],
}

impl Bind<scan::Scan> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        let [from, to] = self.widths;
        Some(Args { src: run.bytes(&self.src, from)?, dst: run.bytes_mut(&self.dst, to)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

impl Operator for ScanT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let value = self.src as usize;
        let (of, dim) = (element(p, site, value)?, self.dim as usize);
        need_sizes(site, "output", &p.value(out).sizes, &p.value(value).sizes)?;
        let kind = match self.kind {
            ScanKind::Sum => Kind::Sum,
            ScanKind::Prod => Kind::Prod,
            ScanKind::LogSumExp => Kind::LogSumExp,
            ScanKind::ArgMax => Kind::ArgMax,
            ScanKind::ArgMin => Kind::ArgMin,
            other => return Err(Error::program(site.name, format!("scan kind {}", other.0))),
        };
        let (src, dst) = (p.input(value), p.output(out));
        let problem = Problem { src: src.shape, dst: dst.shape, of, dim, kind };
        need_element(p, site, problem.to(), &[out])?;
        let shape = format!("{:?} along {dim}", src.shape.sizes());
        let about = About { category: Category::Other, shape, src, dst, why: "" };
        let widths = [of.width(), problem.to().width()];
        p.kernel(site, about, scan::KERNELS, problem, Operands { src, dst, widths })
    }
}
