//! Norm.

use tandem_base::{Span, Strided};
use tandem_kernels::norm::{self, Args, Kind, Problem};
use tandem_schemas::program::{Format, NormKind, NormT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Halves, Operator, Reads, epilogue, float, halved, need_element, need_elements, need_sizes};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Operand,
    scale: Option<usize>,
    shift: Option<usize>,
    dst: Operand,
}

impl Bind<norm::Norm> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        let (scale, shift): (Span<'a, f32>, Span<'a, f32>) =
            (run.column(self.scale)?, run.column(self.shift)?);
        Some(Args { src: run.f32(&self.src)?, scale, shift, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

impl Operator for NormT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src]).constants(&[self.scale, self.shift])
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
        let (axes, groups) = (self.axes as usize, self.groups as usize);
        let channels = sizes.get(1).copied().unwrap_or(0);
        let kind = match self.kind {
            NormKind::Layer if (1..=sizes.len()).contains(&axes) => Kind::Layer { axes },
            NormKind::Rms if (1..=sizes.len()).contains(&axes) => Kind::Rms { axes },
            NormKind::Group if groups > 0 && channels > 0 && channels % groups == 0 => Kind::Group { groups },
            NormKind::Instance if channels > 0 => Kind::Group { groups: channels },
            kind => {
                let what = format!("{kind:?} over {axes} axes or {groups} groups of {sizes:?}");
                return Err(Error::program(site.name, what));
            }
        };
        let (src, dst) = (p.input(value), p.output_over(out, &[value], &[]));
        let act = epilogue::act(site, self.act.as_ref())?;
        let index = |c: i32| usize::try_from(c).ok();
        let (scale, shift) = (index(self.scale), index(self.shift));
        let problem = Problem {
            src: src.shape,
            dst: dst.shape,
            kind,
            eps: self.eps,
            scale: scale.is_some(),
            shift: shift.is_some(),
            act,
        };
        for c in [scale, shift].into_iter().flatten() {
            let constant = &p.model.constants[c];
            let plain = matches!(constant.format, Format::Plain | Format::Columns);
            if !plain {
                let what = format!("{} in {:?}, Plain expected", constant.name, constant.format);
                return Err(Error::program(site.name, what));
            }
            need_elements(site, constant, &[problem.parameters()], false)?;
        }
        let about = About { category: Category::Other, shape: format!("{sizes:?}"), src, dst, why: "" };
        halved!(norm of of,
            rows => {
                let operands = Halves { constants: vec![scale, shift], ..Halves::of(&[src], dst) };
                p.kernel(site, about, rows, problem, operands)
            },
            p.kernel(site, about, norm::KERNELS, problem, Operands { src, scale, shift, dst })
        )
    }
}
