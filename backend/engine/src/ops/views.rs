//! Reshape, Permute, Slice, Expand: relabellings wherever strides allow.

use tandem_base::Strided;
use tandem_schemas::program::{ExpandT, PermuteT, ReshapeT, SliceT};

use crate::error::Error;
use crate::model::{Model, Value, width};
use crate::ops::{Operator, Reads};
use crate::plan::{Planner, Site};

fn pair(model: &Model, src: i32, out: usize) -> Result<(&Value, &Value), String> {
    let (src, out) = (&model.values[src as usize], &model.values[out]);
    if src.dtype == out.dtype { Ok((src, out)) } else { Err("a view into another element type".to_owned()) }
}

/// Plans a view that any strides allow.
fn relabelled(
    view: &dyn Operator,
    p: &mut Planner<'_>,
    site: Site<'_>,
    (src, out): (i32, usize),
) -> Result<(), Error> {
    let src = p.input(src as usize);
    let (first, shape) = view.relabel(p.model, out, src.shape).expect("verified");
    p.view(site, out, src.skip(first).with(shape))
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

    fn relabel(&self, model: &Model, out: usize, src: Strided) -> Option<(usize, Strided)> {
        Some((0, src.reshaped(&model.values[out].sizes)?))
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
        if let Some((_, shape)) = self.relabel(p.model, out, src.shape) {
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

    fn relabel(&self, _: &Model, _: usize, src: Strided) -> Option<(usize, Strided)> {
        Some((0, src.permuted(&axes(self))))
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
        relabelled(self, p, site, (self.src, out))
    }
}

/// Most elements a slice steps over.
const LONGEST_STEP: usize = 1 << 31;

/// First index of a slice at the model's sizes.
fn start(slice: &SliceT, model: &Model) -> Option<i64> {
    if slice.start_expr < 0 { Some(slice.start) } else { model.number(slice.start_expr) }
}

impl Operator for SliceT {
    fn reads(&self) -> Reads {
        Reads::of(&[self.src])
    }

    fn verify(&self, model: &Model, out: usize) -> Result<(), String> {
        let (src, out) = pair(model, self.src, out)?;
        let (have, sizes, dim) = (&src.sizes, &out.sizes, self.dim as usize);
        let wrong = || {
            let (start, step) = (start(self, model), self.step);
            Err(format!("{start:?}.. by {step} along {dim} of {have:?} into {sizes:?}"))
        };
        let start = start(self, model).and_then(|start| usize::try_from(start).ok());
        let step = usize::try_from(self.step);
        let (Some(start), Ok(step @ 1..=LONGEST_STEP)) = (start, step) else { return wrong() };
        let same_rank = sizes.len() == have.len() && dim < have.len();
        let others = same_rank && (0..have.len()).all(|d| d == dim || have[d] == sizes[d]);
        let last = |n: usize| (n - 1).checked_mul(step).and_then(|n| n.checked_add(start));
        if !others || (sizes[dim] > 0 && last(sizes[dim]).is_none_or(|last| last >= have[dim])) {
            return wrong();
        }
        Ok(())
    }

    fn relabel(&self, model: &Model, out: usize, src: Strided) -> Option<(usize, Strided)> {
        let sizes = &model.values[out].sizes;
        let (dim, step) = (self.dim as usize, self.step as usize);
        let start = start(self, model)? as usize;
        let first = if sizes.iter().product::<usize>() == 0 { 0 } else { start * src.stride(dim) };
        let mut strides = src.strides().to_vec();
        strides[dim] *= step;
        Some((first, Strided::new(sizes, &strides)))
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        relabelled(self, p, site, (self.src, out))
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

    fn relabel(&self, model: &Model, out: usize, src: Strided) -> Option<(usize, Strided)> {
        Some((0, src.broadcast_to(&model.values[out].sizes)?))
    }

    fn plan(&self, p: &mut Planner<'_>, site: Site<'_>, out: usize) -> Result<(), Error> {
        relabelled(self, p, site, (self.src, out))
    }
}
