//! GridSample.

use tandem_base::Strided;
use tandem_kernels::grid::{self, Args, Grid, Kind, Padding, Problem};
use tandem_schemas::program::{GridPadding, GridSampleT, ResizeKind};

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Operator, Reads, need_f32};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Operand,
    grid: Operand,
    dst: Operand,
}

impl Bind<Grid> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        Some(Args { src: run.f32(&self.src)?, grid: run.f32(&self.grid)?, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.grid.buffer, self.dst.buffer]
    }
}

impl Operator for GridSampleT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src, self.grid])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (src, places) = (self.src as usize, self.grid as usize);
        need_f32(p, site, &[src, places, out])?;
        let kind = match self.kind {
            ResizeKind::Nearest => Kind::Nearest,
            ResizeKind::Bilinear => Kind::Bilinear,
            ResizeKind::Bicubic => Kind::Bicubic,
            other => return Err(Error::program(site.name, format!("resize kind {}", other.0))),
        };
        let padding = match self.padding {
            GridPadding::Zeros => Padding::Zeros,
            GridPadding::Border => Padding::Border,
            GridPadding::Reflection => Padding::Reflection,
            other => return Err(Error::program(site.name, format!("grid padding {}", other.0))),
        };
        let (src, places, dst) = (p.input(src), p.input(places), p.output(out));
        let shape = format!("{:?} at {:?}", src.shape.sizes(), places.shape.sizes());
        let problem = Problem {
            src: src.shape,
            grid: places.shape,
            dst: dst.shape,
            kind,
            padding,
            align_corners: self.align_corners,
        };
        let about = About { category: Category::Other, shape, src, dst, why: "" };
        p.kernel(site, about, grid::KERNELS, problem, Operands { src, grid: places, dst })
    }
}
