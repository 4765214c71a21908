//! Concat, Pad, PixelShuffle, and the copies the planner could not avoid.

use tandem_base::strided::MAX_RANK;
use tandem_kernels::moves::{self, Args, Edge, Move, Problem};
use tandem_schemas::program::{ConcatT, PadKind, PadT, PixelShuffleT};

use crate::error::Error;
use crate::model::width;
use crate::ops::need_sizes;
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

/// Concat: parts that were not written in place are copied there.
pub(crate) fn concat<'m>(
    p: &mut Planner<'m>,
    site: Site<'m>,
    o: &'m ConcatT,
    out: usize,
) -> Result<(), Error> {
    let whole = p.output(out);
    let (dim, mut at) = (o.dim as usize, 0);
    for &src in &o.src {
        let src = src as usize;
        let value = p.value(src);
        if value.dtype != p.value(out).dtype {
            return Err(Error::program(site.name, format!("{} has another element type", value.name)));
        }
        let (part, have) = (whole.skip(at * whole.shape.stride(dim)), p.input(src));
        let part = part.with(tandem_base::Strided::new(&value.sizes, whole.shape.strides()));
        if have != part {
            p.copy(site, value.dtype, have, part, "a concatenated part also lies elsewhere")?;
        }
        at += value.sizes[dim];
    }
    Ok(())
}

/// Pad.
pub(crate) fn pad<'m>(p: &mut Planner<'m>, site: Site<'m>, o: &'m PadT, out: usize) -> Result<(), Error> {
    let (src, dst) = (p.input(o.src as usize), p.output(out));
    let dtype = p.value(out).dtype;
    let rank = src.shape.rank();
    if o.before.len() != rank || dst.shape.rank() != rank || p.value(o.src as usize).dtype != dtype {
        return Err(Error::program(site.name, format!("{:?} around {:?}", o.before, src.shape.sizes())));
    }
    let mut before = [0isize; MAX_RANK];
    for (to, &from) in before.iter_mut().zip(&o.before) {
        *to = from as isize;
    }
    let value = (o.value as f32).to_bits();
    if value != 0 && dtype != tandem_schemas::program::DType::F32 {
        return Err(Error::unsupported(site.name, "padding other than 0 of other than f32"));
    }
    let edge = match o.kind {
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

/// PixelShuffle and its inverse, as one strided copy over six dimensions.
pub(crate) fn pixel_shuffle<'m>(
    p: &mut Planner<'m>,
    site: Site<'m>,
    o: &'m PixelShuffleT,
    out: usize,
) -> Result<(), Error> {
    let (src, dst) = (p.input(o.src as usize), p.output(out));
    let r = o.factor as usize;
    let (deep, wide) = if o.inverse { (dst, src) } else { (src, dst) };
    let &[n, c, h, w] = deep.shape.sizes() else {
        return Err(Error::program(site.name, format!("pixel shuffle of {:?}", src.shape.sizes())));
    };
    if r == 0 || r > 64 || c % (r * r) != 0 {
        return Err(Error::program(site.name, format!("factor {r} of {c} channels")));
    }
    need_sizes(site, "image", wide.shape.sizes(), &[n, c / (r * r), h * r, w * r])?;
    let deep6 = deep.shape.reshaped(&[n, c / (r * r), r, r, h, w]).map(|s| s.permuted(&[0, 1, 4, 2, 5, 3]));
    let wide6 = wide.shape.reshaped(&[n, c / (r * r), h, r, w, r]);
    let (Some(deep6), Some(wide6)) = (deep6, wide6) else {
        return Err(Error::unsupported(site.name, format!("strides {:?}", src.shape)));
    };
    let (src, dst) =
        if o.inverse { (src.with(wide6), dst.with(deep6)) } else { (src.with(deep6), dst.with(wide6)) };
    p.copy(site, p.value(out).dtype, src, dst, "a pixel shuffle that no convolution stores")
}
