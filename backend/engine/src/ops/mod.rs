//! One file per op: checks its payload against the values' sizes, states the kernel's problem, names the operands.

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod elementwise;
pub(crate) mod epilogue;
pub(crate) mod matmul;
pub(crate) mod moves;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod softmax;
pub(crate) mod views;

use tandem_schemas::program::{DType, OpKindT, OpT};

use crate::error::Error;
use crate::model;
use crate::plan::{Planner, Site};

/// Plans one op whose indices have been checked.
pub(crate) fn plan<'m>(p: &mut Planner<'m>, site: Site<'m>, op: &'m OpT) -> Result<(), Error> {
    let out = op.outputs[0] as usize;
    match &op.kind {
        OpKindT::Conv(o) => conv::conv(p, site, o, out),
        OpKindT::Depthwise(o) => conv::depthwise(p, site, o, out),
        OpKindT::ConvTranspose(o) => conv::transposed(p, site, o, out),
        OpKindT::Linear(o) => matmul::linear(p, site, o, out),
        OpKindT::MatMul(o) => matmul::matmul(p, site, o, out),
        OpKindT::Attention(o) => attention::plan(p, site, o, out),
        OpKindT::Pool(o) => pool::pool(p, site, o, out),
        OpKindT::AdaptivePool(o) => pool::adaptive(p, site, o, out),
        OpKindT::Reduce(o) => reduce::plan(p, site, o, out),
        OpKindT::Softmax(o) => softmax::plan(p, site, o, out),
        OpKindT::Norm(o) => norm::plan(p, site, o, out),
        OpKindT::Affine(o) => elementwise::affine(p, site, o, out),
        OpKindT::Unary(o) => elementwise::unary(p, site, o, out),
        OpKindT::Binary(o) => elementwise::binary(p, site, o, out),
        OpKindT::Select(_) => Err(Error::unsupported(site.name, "select")),
        OpKindT::Resize(o) => resize::plan(p, site, o, out),
        OpKindT::Pad(o) => moves::pad(p, site, o, out),
        OpKindT::Reshape(o) => views::reshape(p, site, o, out),
        OpKindT::Permute(o) => views::permute(p, site, o, out),
        OpKindT::Slice(o) => views::slice(p, site, o, out),
        OpKindT::Expand(o) => views::expand(p, site, o, out),
        OpKindT::Concat(o) => moves::concat(p, site, o, out),
        OpKindT::PixelShuffle(o) => moves::pixel_shuffle(p, site, o, out),
        _ => Err(Error::program(site.name, "no such op")),
    }
}

/// All of `values` must be f32.
pub(crate) fn need_f32(p: &Planner<'_>, site: Site<'_>, values: &[usize]) -> Result<(), Error> {
    for &v in values {
        let value = p.value(v);
        if value.dtype != DType::F32 {
            let what = format!("{} of {}, f32 only", model::dtype_name(value.dtype), value.name);
            return Err(Error::unsupported(site.name, what));
        }
    }
    Ok(())
}

/// Exactly N unsigned numbers of a field.
pub(crate) fn numbers<const N: usize>(
    site: Site<'_>,
    field: &str,
    list: &[u32],
) -> Result<[usize; N], Error> {
    let list: Vec<usize> = list.iter().map(|&x| x as usize).collect();
    let too_big = list.iter().any(|&x| x > 1 << 20);
    match <[usize; N]>::try_from(list) {
        Ok(numbers) if !too_big => Ok(numbers),
        _ => Err(Error::program(site.name, format!("{field} is not {N} sensible numbers"))),
    }
}

/// `Ok` where sizes are as computed.
pub(crate) fn need_sizes(site: Site<'_>, what: &str, have: &[usize], want: &[usize]) -> Result<(), Error> {
    if have == want {
        return Ok(());
    }
    Err(Error::program(site.name, format!("{what} is {have:?}, the op gives {want:?}")))
}
