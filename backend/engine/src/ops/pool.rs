//! Pool and AdaptivePool.

use tandem_base::Strided;
use tandem_kernels::pool::{self, Args, Kind, Places, PlacesArgs, Problem, Window};
use tandem_kernels::types::Type;
use tandem_schemas::program::{AdaptivePoolT, PoolKind, PoolT};

use crate::error::Error;
use crate::layout::{Layouts, channels_last};
use crate::ops::{
    Halves, Operator, Reads, element, float, halved, need_element, need_f32, need_sizes, numbers,
};
use crate::plan::{About, Planner, Site};
use crate::report::Category;
use crate::step::{Bind, Buffer, Operand, Run};

struct Operands {
    src: Operand,
    dst: Operand,
}

impl Bind<pool::Pool> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<Args<'a>> {
        Some(Args { src: run.f32(&self.src)?, dst: run.f32_mut(&self.dst)? })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

impl Bind<Places> for Operands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<PlacesArgs<'a>> {
        let dst = run.bytes_mut(&self.dst, Type::I64.width())?.cast()?;
        Some(PlacesArgs { src: run.f32(&self.src)?, dst })
    }
    fn buffers(&self) -> Vec<Buffer> {
        vec![self.src.buffer, self.dst.buffer]
    }
}

fn push(
    p: &mut Planner<'_>,
    site: Site<'_>,
    (src, out): (i32, usize),
    kind: PoolKind,
    window: Window,
) -> Result<(), Error> {
    let places = kind == PoolKind::ArgMax;
    let kind = match kind {
        PoolKind::Max | PoolKind::ArgMax => Kind::Max,
        PoolKind::Average => Kind::Average,
        other => return Err(Error::program(site.name, format!("pool kind {}", other.0))),
    };
    let of = element(p, site, out)?;
    let (src, dst) = (p.input(src as usize), p.output(out));
    let shape = format!("{:?} → {:?}", src.shape.sizes(), dst.shape.sizes());
    let problem = Problem { src: src.shape, dst: dst.shape, kind, window };
    let about = About { category: Category::Other, shape, src, dst, why: "" };
    if places {
        return p.kernel(site, about, pool::PLACES, problem, Operands { src, dst });
    }
    halved!(pool of of,
        rows => p.kernel(site, about, rows, problem, Halves::of(&[src], dst)),
        p.kernel(site, about, pool::KERNELS, problem, Operands { src, dst })
    )
}

fn images(
    p: &Planner<'_>,
    site: Site<'_>,
    (src, kind): (i32, PoolKind),
    out: usize,
) -> Result<([usize; 4], [usize; 4]), Error> {
    if kind == PoolKind::ArgMax {
        need_f32(p, site, &[src as usize])?;
        need_element(p, site, Type::I64, &[out])?;
    } else {
        need_element(p, site, float(p, site, out)?, &[src as usize])?;
    }
    let image = |v: usize| {
        let sizes = &p.value(v).sizes;
        <[usize; 4]>::try_from(sizes.as_slice())
            .map_err(|_| Error::program(site.name, format!("{sizes:?} is not an image of 4 dimensions")))
    };
    let (src, dst) = (image(src as usize)?, image(out)?);
    need_sizes(site, "output", &dst[..2], &src[..2])?;
    Ok((src, dst))
}

impl Operator for PoolT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, _: &Layouts<'_>, out: &[usize]) -> Strided {
        channels_last(out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (src, dst) = images(p, site, (self.src, self.kind), out)?;
        let kernel: [usize; 2] = numbers(site, "kernel", &self.kernel)?;
        let stride: [usize; 2] = numbers(site, "stride", &self.stride)?;
        let padding: [usize; 4] = numbers(site, "padding", &self.padding)?;
        let dilation: [usize; 2] = numbers(site, "dilation", &self.dilation)?;
        for axis in 0..2 {
            // Every window starts inside the image or its leading padding; ceil mode may let it end beyond.
            let last = dst[axis + 2].saturating_sub(1) * stride[axis];
            let fits = kernel[axis] > 0
                && stride[axis] > 0
                && dilation[axis] > 0
                && padding[axis] < kernel[axis] * dilation[axis];
            if !fits || (dst[axis + 2] > 0 && last >= src[axis + 2] + padding[axis]) {
                let what = format!(
                    "{kernel:?}/{stride:?} over {:?} padded by {padding:?} into {:?}",
                    &src[2..],
                    &dst[2..]
                );
                return Err(Error::program(site.name, what));
            }
        }
        let (count_include_pad, divisor) = (self.count_include_pad, self.divisor as usize);
        let window = Window::Fixed { kernel, stride, padding, dilation, count_include_pad, divisor };
        push(p, site, (self.src, out), self.kind, window)
    }
}

impl Operator for AdaptivePoolT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn layout(&self, _: &Layouts<'_>, out: &[usize]) -> Strided {
        channels_last(out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (src, dst) = images(p, site, (self.src, self.kind), out)?;
        if (src[2] == 0 || src[3] == 0) && dst.iter().product::<usize>() > 0 {
            return Err(Error::program(site.name, format!("{src:?} into {dst:?}")));
        }
        push(p, site, (self.src, out), self.kind, Window::Adaptive)
    }
}
