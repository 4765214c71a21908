//! Gather and Scatter.

use tandem_base::{Strided, strided::MAX_RANK};
use tandem_kernels::gather::{self, Args, Problem, Write};
use tandem_kernels::types::Type;
use tandem_schemas::program::{GatherT, ScatterKind, ScatterT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::ops::{Operator, Reads, element, need_element, spread};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Operand,
    index: Operand,
    dst: Operand,
    width: usize,
}

/// The operands of either family.
macro_rules! bind {
    ($($family:ident),*) => {$(
        impl Bind<gather::$family> for Operands {
            fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
                let index = run.bytes(&self.index, Type::I64.width())?.cast()?;
                let (src, dst) = (run.bytes(&self.src, self.width)?, run.bytes_mut(&self.dst, self.width)?);
                Some(Args { src, index, dst })
            }
            fn buffers(&self) -> Vec<Buffer> {
                vec![self.src.buffer, self.index.buffer, self.dst.buffer]
            }
        }
    )*};
}
bind!(Gather, Scatter);

/// `whole` as far as the other dimensions than `dim` reach, all of `dim`.
fn part(site: Site<'_>, whole: Operand, sizes: &[usize], dim: usize) -> Result<Operand, Error> {
    let shape = &whole.shape;
    let fits = shape.rank() == sizes.len()
        && dim < sizes.len()
        && (0..sizes.len()).all(|d| d == dim || sizes[d] <= shape.size(d));
    if !fits {
        let what = format!("places {sizes:?} along {dim} of {:?}", shape.sizes());
        return Err(Error::program(site.name, what));
    }
    let mut own = [0; MAX_RANK];
    own[..sizes.len()].copy_from_slice(sizes);
    own[dim] = shape.size(dim);
    Ok(whole.with(Strided::new(&own[..sizes.len()], shape.strides())))
}

impl Operator for GatherT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src, self.index])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (src, index, dim) = (self.src as usize, self.index as usize, self.dim as usize);
        let of = element(p, site, out)?;
        need_element(p, site, of, &[src])?;
        need_element(p, site, Type::I64, &[index])?;
        let sizes = p.value(out).sizes.clone();
        let index = spread(p, site, index, &sizes)?;
        let src = part(site, p.input(src), &sizes, dim)?;
        let dst = p.output(out);
        let problem =
            Problem { src: src.shape, index: index.shape, dst: dst.shape, dim, of, write: Write::Put };
        let shape = format!("{:?} at {sizes:?} along {dim}", src.shape.sizes());
        let about = About { category: Category::DataMovement, shape, src, dst, why: "" };
        p.kernel(site, about, gather::GATHER, problem, Operands { src, index, dst, width: of.width() })
    }
}

impl Operator for ScatterT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src, self.index, self.value])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (src, index, value) = (self.src as usize, self.index as usize, self.value as usize);
        let dim = self.dim as usize;
        let write = match self.kind {
            ScatterKind::Put => Write::Put,
            ScatterKind::Add => Write::Add,
            ScatterKind::Mul => Write::Mul,
            ScatterKind::Max => Write::Max,
            ScatterKind::Min => Write::Min,
            other => return Err(Error::program(site.name, format!("scatter kind {}", other.0))),
        };
        let of = element(p, site, out)?;
        need_element(p, site, of, &[src, value])?;
        need_element(p, site, Type::I64, &[index])?;
        let (a, b) = (&p.value(index).sizes, &p.value(value).sizes);
        let sizes: Vec<usize> = a.iter().zip(b).map(|(&a, &b)| if a == 1 { b } else { a }).collect();
        let (index, value) = (spread(p, site, index, &sizes)?, spread(p, site, value, &sizes)?);
        let (before, whole) = (p.input(src), p.output(out));
        if before.shape.sizes() != whole.shape.sizes() {
            let what = format!("{:?} into {:?}", before.shape.sizes(), whole.shape.sizes());
            return Err(Error::program(site.name, what));
        }
        p.copy(site, p.value(out).dtype, before, whole, "what no place names stays")?;
        let dst = part(site, whole, &sizes, dim)?;
        let problem = Problem { src: value.shape, index: index.shape, dst: dst.shape, dim, of, write };
        let shape = format!("{sizes:?} along {dim} of {:?}", whole.shape.sizes());
        let about = About { category: Category::DataMovement, shape, src: value, dst, why: "" };
        p.kernel(
            site,
            about,
            gather::SCATTER,
            problem,
            Operands { src: value, index, dst, width: of.width() },
        )
    }
}
