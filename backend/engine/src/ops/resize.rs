//! Resize.

use tandem_base::Strided;
use tandem_kernels::resize::{self, Args, Kind, Problem};
use tandem_schemas::program::{ResizeKind, ResizeT};

use crate::error::Error;
use crate::layout::{Layouts, channels_last};
use crate::ops::{Operator, Reads, need_f32, need_sizes};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Operand,
    dst: Operand,
}

impl Bind<resize::Resize> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        Some(Args { src: run.f32(&self.src)?, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

impl Operator for ResizeT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, _: &Layouts<'_>, out: &[usize]) -> Strided {
        channels_last(out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let value = self.src as usize;
        need_f32(p, site, &[value, out])?;
        let (src_sizes, dst_sizes) = (&p.value(value).sizes, &p.value(out).sizes);
        let images = src_sizes.len() == 4 && dst_sizes.len() == 4;
        if !images || (src_sizes[2] * src_sizes[3] == 0 && dst_sizes.iter().product::<usize>() > 0) {
            return Err(Error::program(site.name, format!("resize of {src_sizes:?} to {dst_sizes:?}")));
        }
        need_sizes(site, "output", &dst_sizes[..2], &src_sizes[..2])?;
        let kind = match self.kind {
            ResizeKind::Nearest => Kind::Nearest,
            ResizeKind::Bilinear => Kind::Bilinear,
            ResizeKind::Bicubic => Kind::Bicubic,
            other => return Err(Error::program(site.name, format!("resize kind {}", other.0))),
        };
        let step = match self.scale.as_deref().unwrap_or_default() {
            [] => [None; 2],
            &[y, x] if y > 0.0 && x > 0.0 => [Some(1.0 / y), Some(1.0 / x)],
            other => return Err(Error::program(site.name, format!("scale {other:?}"))),
        };
        let (src, dst) = (p.input(value), p.output(out));
        let shape = format!("{:?} → {:?}", src.shape.sizes(), dst.shape.sizes());
        let problem =
            Problem { src: src.shape, dst: dst.shape, kind, align_corners: self.align_corners, step };
        let about = About { category: Category::Other, shape, src, dst, why: "" };
        p.kernel(site, about, resize::KERNELS, problem, Operands { src, dst })
    }
}
