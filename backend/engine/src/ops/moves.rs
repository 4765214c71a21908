//! Concat, Pad, PixelShuffle, and the copies the planner could not avoid.

use tandem_base::Strided;
use tandem_base::strided::MAX_RANK;
use tandem_kernels::moves::{self, Args, Edge, Move, Problem};
use tandem_schemas::program::{ConcatT, PadKind, PadT, PixelShuffleT};

use crate::error::Error;
use crate::layout::{Layouts, channels_last};
use crate::model::{Model, width};
use crate::ops::{Operator, Reads, need_same_dtype, need_sizes};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

/// Source and destination of a move.
pub(crate) struct Operands {
    pub src: Operand,
    pub dst: Operand,
    pub width: usize,
}

impl Bind<Move> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        Some(Args { src: run.bytes(&self.src, self.width)?, dst: run.bytes_mut(&self.dst, self.width)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

impl Operator for ConcatT {
    fn reads(&self) -> Reads {
        Reads::of(&self.src)
    }

    fn verify(&self, model: &Model, out: usize) -> Result<(), String> {
        let (whole, dim) = (&model.values[out], self.dim as usize);
        let mut sum = 0;
        for &part in &self.src {
            let part = &model.values[part as usize];
            let same = part.sizes.len() == whole.sizes.len()
                && dim < whole.sizes.len()
                && part.sizes.iter().zip(&whole.sizes).enumerate().all(|(d, (a, b))| d == dim || a == b);
            if !same || part.dtype != whole.dtype {
                return Err(format!("concat of {:?} along {dim} into {:?}", part.sizes, whole.sizes));
            }
            sum += part.sizes[dim];
        }
        if self.src.is_empty() || sum != whole.sizes[dim] {
            return Err(format!("concat gives {sum} along {dim} of {:?}", whole.sizes));
        }
        Ok(())
    }

    fn apart(&self) -> bool {
        true
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        let largest = self.src.iter().max_by_key(|&&s| layouts.elements(s));
        layouts.like(largest.copied().unwrap_or_default(), out)
    }

    /// Parts are written where they belong.
    fn place(&self, p: &mut Planner<'_>, out: usize) {
        let whole = p.output(out);
        let mut at = 0;
        for &src in &self.src {
            let sizes = &p.value(src as usize).sizes;
            let part = Strided::new(sizes, whole.shape.strides());
            let skip = at * whole.shape.stride(self.dim as usize);
            at += sizes[self.dim as usize];
            p.claim(src as usize, whole.skip(skip).with(part));
        }
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let whole = p.output(out);
        let (dim, mut at) = (self.dim as usize, 0);
        for &src in &self.src {
            let sizes = &p.value(src as usize).sizes;
            let part = whole.skip(at * whole.shape.stride(dim));
            p.part(site, src as usize, part.with(Strided::new(sizes, whole.shape.strides())))?;
            at += sizes[dim];
        }
        Ok(())
    }
}

impl Operator for PadT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (src, dst) = (p.input(self.src as usize), p.output(out));
        let dtype = p.value(out).dtype;
        let rank = src.shape.rank();
        if self.before.len() != rank || dst.shape.rank() != rank || p.value(self.src as usize).dtype != dtype
        {
            return Err(Error::program(
                site.name,
                format!("{:?} around {:?}", self.before, src.shape.sizes()),
            ));
        }
        let mut before = [0isize; MAX_RANK];
        for (to, &from) in before.iter_mut().zip(&self.before) {
            *to = from as isize;
        }
        let value = (self.value as f32).to_bits();
        if value != 0 && dtype != tandem_schemas::program::DType::F32 {
            return Err(Error::unsupported(site.name, "padding other than 0 of other than f32"));
        }
        let edge = match self.kind {
            PadKind::Constant => Edge::Constant(u64::from(value)),
            PadKind::Reflect => Edge::Reflect,
            PadKind::Replicate => Edge::Replicate,
            PadKind::Circular => Edge::Circular,
            other => return Err(Error::program(site.name, format!("pad kind {}", other.0))),
        };
        for (d, &before) in before[..rank].iter().enumerate() {
            let (n, out) = (src.shape.size(d) as isize, dst.shape.size(d) as isize);
            let reach = before.max(out - n - before);
            let fits = match edge {
                Edge::Constant(_) => true,
                Edge::Reflect => reach < n,
                Edge::Replicate => n > 0,
                Edge::Circular => reach <= n,
            };
            if !fits {
                return Err(Error::program(site.name, format!("{edge:?} by {reach} of {n}")));
            }
        }
        let problem = Problem { src: src.shape, dst: dst.shape, width: width(dtype), before, edge };
        let shape = format!("{:?} → {:?}", src.shape.sizes(), dst.shape.sizes());
        let about = About { category: Category::DataMovement, shape, src, dst, why: "pad" };
        p.kernel(site, about, moves::KERNELS, problem, Operands { src, dst, width: width(dtype) })
    }
}

impl Operator for PixelShuffleT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, _: &Layouts<'_>, out: &[usize]) -> Strided {
        channels_last(out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        need_same_dtype(p, site, self.src as usize, out)?;
        let (src, dst) = (p.input(self.src as usize), p.output(out));
        let r = self.factor as usize;
        let (deep, wide) = if self.inverse { (dst, src) } else { (src, dst) };
        let &[n, c, h, w] = deep.shape.sizes() else {
            return Err(Error::program(site.name, format!("pixel shuffle of {:?}", src.shape.sizes())));
        };
        if r == 0 || r > 64 || c % (r * r) != 0 {
            return Err(Error::program(site.name, format!("factor {r} of {c} channels")));
        }
        need_sizes(site, "image", wide.shape.sizes(), &[n, c / (r * r), h * r, w * r])?;
        let deep6 =
            deep.shape.reshaped(&[n, c / (r * r), r, r, h, w]).map(|s| s.permuted(&[0, 1, 4, 2, 5, 3]));
        let wide6 = wide.shape.reshaped(&[n, c / (r * r), h, r, w, r]);
        let (Some(deep6), Some(wide6)) = (deep6, wide6) else {
            return Err(Error::unsupported(site.name, format!("strides {:?}", src.shape)));
        };
        let (src, dst) = if self.inverse {
            (src.with(wide6), dst.with(deep6))
        } else {
            (src.with(deep6), dst.with(wide6))
        };
        p.copy(site, p.value(out).dtype, src, dst, "a pixel shuffle that no convolution stores")
    }
}
