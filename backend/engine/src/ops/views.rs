//! Reshape, Permute, Slice, Expand: relabellings wherever strides allow.

use tandem_base::Strided;
use tandem_schemas::program::{ExpandT, PermuteT, ReshapeT, SliceT};

use crate::error::Error;
use crate::model::width;
use crate::ops::need_sizes;
use crate::plan::{Planner, Site};

/// Reshape.
pub(crate) fn reshape<'m>(
    p: &mut Planner<'m>,
    site: Site<'m>,
    o: &'m ReshapeT,
    out: usize,
) -> Result<(), Error> {
    let (src, value) = (p.input(o.src as usize), p.value(out));
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

/// Permute.
pub(crate) fn permute<'m>(
    p: &mut Planner<'m>,
    site: Site<'m>,
    o: &'m PermuteT,
    out: usize,
) -> Result<(), Error> {
    let src = p.input(o.src as usize);
    let order: Vec<usize> = o.order.iter().map(|&d| d as usize).collect();
    p.view(site, out, src.with(src.shape.permuted(&order)))
}

/// Slice.
pub(crate) fn slice<'m>(p: &mut Planner<'m>, site: Site<'m>, o: &'m SliceT, out: usize) -> Result<(), Error> {
    let (src, sizes) = (p.input(o.src as usize), &p.value(out).sizes);
    let dim = o.dim as usize;
    let (start, step) = (usize::try_from(o.start), usize::try_from(o.step));
    let (Ok(start), Ok(step @ 1..)) = (start, step) else {
        return Err(Error::program(site.name, format!("start {} step {}", o.start, o.step)));
    };
    let have = src.shape.sizes();
    let same_rank = sizes.len() == have.len() && dim < have.len();
    let others = same_rank && (0..have.len()).all(|d| d == dim || have[d] == sizes[d]);
    let reach =
        |n: usize| n.checked_sub(1).and_then(|n| n.checked_mul(step)).and_then(|n| n.checked_add(start));
    if !others || (sizes[dim] > 0 && reach(sizes[dim]).is_none_or(|last| last >= have[dim])) {
        return Err(Error::program(
            site.name,
            format!("{start}.. by {step} along {dim} of {have:?} into {sizes:?}"),
        ));
    }
    let mut strides = src.shape.strides().to_vec();
    strides[dim] *= step;
    let first = if sizes.iter().product::<usize>() == 0 { 0 } else { start * src.shape.stride(dim) };
    p.view(site, out, src.skip(first).with(Strided::new(sizes, &strides)))
}

/// Expand.
pub(crate) fn expand<'m>(
    p: &mut Planner<'m>,
    site: Site<'m>,
    o: &'m ExpandT,
    out: usize,
) -> Result<(), Error> {
    let (src, sizes) = (p.input(o.src as usize), &p.value(out).sizes);
    let Some(shape) = src.shape.broadcast_to(sizes) else {
        return need_sizes(site, "expanded value", src.shape.sizes(), sizes);
    };
    p.view(site, out, src.with(shape))
}
