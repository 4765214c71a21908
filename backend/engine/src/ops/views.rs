//! Reshape, Permute, Slice, Expand: relabellings wherever strides allow.

use tandem_base::Strided;
use tandem_schemas::program::{ExpandT, PermuteT, ReshapeT, SliceT};

use crate::error::Error;
use crate::layout::Layouts;
use crate::model::{Model, Value, width};
use crate::ops::{Operator, Reads};
use crate::plan::{Planner, Site};

fn pair(model: &Model, src: i32, out: usize) -> Result<(&Value, &Value), String> {
    let (src, out) = (&model.values[src as usize], &model.values[out]);
    if src.dtype == out.dtype { Ok((src, out)) } else { Err("a view into another element type".to_owned()) }
}

impl Operator for ReshapeT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn verify(&self, model: &Model, out: usize) -> Result<(), String> {
        let (src, out) = pair(model, self.src, out)?;
        let same = src.sizes.iter().product::<usize>() == out.sizes.iter().product();
        if same { Ok(()) } else { Err(format!("reshape of {:?} into {:?}", src.sizes, out.sizes)) }
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.of(self.src).reshaped(out).unwrap_or_else(|| Strided::contiguous(out))
    }

    fn place(&self, p: &mut Planner<'_>, out: usize) {
        let src = self.src as usize;
        if let Some(whole) = p.placed(out)
            && let Some(shape) = whole.shape.reshaped(&p.value(src).sizes)
        {
            p.claim(src, whole.with(shape));
        }
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let (src, value) = (p.input(self.src as usize), p.value(out));
        if let Some(shape) = src.shape.reshaped(&value.sizes) {
            return p.view(site, out, src.with(shape));
        }
        // The copy goes to the destination's own place where that can be seen under the source's sizes.
        let dst = p.output(out);
        if let Some(shape) = dst.shape.reshaped(src.shape.sizes()) {
            return p.copy(site, value.dtype, src, dst.with(shape), "strides do not allow the reshape");
        }
        let dense = p.buffer(Strided::contiguous(src.shape.sizes()), width(value.dtype));
        p.copy(site, value.dtype, src, dense, "strides do not allow the reshape")?;
        let relabelled = dense.with(Strided::contiguous(&value.sizes));
        p.copy(site, value.dtype, relabelled, dst, "the reshaped value has a place of its own")
    }
}

fn axes(o: &PermuteT) -> Vec<usize> {
    o.order.iter().map(|&d| d as usize).collect()
}

impl Operator for PermuteT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn verify(&self, model: &Model, out: usize) -> Result<(), String> {
        let (src, out) = pair(model, self.src, out)?;
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        let rank = src.sizes.len();
        let permutation = sorted.iter().copied().eq(0..rank as u32) && rank == out.sizes.len();
        if !permutation || axes(self).iter().zip(&out.sizes).any(|(&from, &o)| src.sizes[from] != o) {
            return Err(format!("permute {:?} of {:?} into {:?}", self.order, src.sizes, out.sizes));
        }
        Ok(())
    }

    fn layout(&self, layouts: &Layouts<'_>, _: &[usize]) -> Strided {
        layouts.of(self.src).permuted(&axes(self))
    }

    fn place(&self, p: &mut Planner<'_>, out: usize) {
        if let Some(whole) = p.placed(out) {
            let mut back = vec![0; self.order.len()];
            for (to, from) in axes(self).into_iter().enumerate() {
                back[from] = to;
            }
            p.claim(self.src as usize, whole.with(whole.shape.permuted(&back)));
        }
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let src = p.input(self.src as usize);
        p.view(site, out, src.with(src.shape.permuted(&axes(self))))
    }
}

/// First element and shape of a verified slice within the source's shape.
fn cut(o: &SliceT, src: &Strided, sizes: &[usize]) -> (usize, Strided) {
    let (dim, start, step) = (o.dim as usize, o.start as usize, o.step as usize);
    let first = if sizes.iter().product::<usize>() == 0 { 0 } else { start * src.stride(dim) };
    let mut strides = src.strides().to_vec();
    strides[dim] *= step;
    (first, Strided::new(sizes, &strides))
}

/// Most elements a slice steps over.
const LONGEST_STEP: usize = 1 << 31;

impl Operator for SliceT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn verify(&self, model: &Model, out: usize) -> Result<(), String> {
        let (src, out) = pair(model, self.src, out)?;
        let (have, sizes, dim) = (&src.sizes, &out.sizes, self.dim as usize);
        let wrong = || {
            let (start, step) = (self.start, self.step);
            Err(format!("{start}.. by {step} along {dim} of {have:?} into {sizes:?}"))
        };
        let (start, step) = (usize::try_from(self.start), usize::try_from(self.step));
        let (Ok(start), Ok(step @ 1..=LONGEST_STEP)) = (start, step) else { return wrong() };
        let same_rank = sizes.len() == have.len() && dim < have.len();
        let others = same_rank && (0..have.len()).all(|d| d == dim || have[d] == sizes[d]);
        let last = |n: usize| (n - 1).checked_mul(step).and_then(|n| n.checked_add(start));
        if !others || (sizes[dim] > 0 && last(sizes[dim]).is_none_or(|last| last >= have[dim])) {
            return wrong();
        }
        Ok(())
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let src = p.input(self.src as usize);
        let (first, shape) = cut(self, &src.shape, &p.value(out).sizes);
        p.view(site, out, src.skip(first).with(shape))
    }
}

impl Operator for ExpandT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn verify(&self, model: &Model, out: usize) -> Result<(), String> {
        let (src, out) = pair(model, self.src, out)?;
        match Strided::contiguous(&src.sizes).broadcast_to(&out.sizes) {
            Some(_) => Ok(()),
            None => Err(format!("{:?} broadcast to {:?}", src.sizes, out.sizes)),
        }
    }

    fn layout(&self, layouts: &Layouts<'_>, out: &[usize]) -> Strided {
        layouts.like(self.src, out)
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        let src = p.input(self.src as usize);
        let shape = src.shape.broadcast_to(&p.value(out).sizes).expect("verified");
        p.view(site, out, src.with(shape))
    }
}
