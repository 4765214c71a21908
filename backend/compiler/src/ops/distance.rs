//! Distances between the rows of two tensors.

use tandem_schemas::program::{BinaryKind, DType, ReduceKind, UnaryKind};

use super::Row;
use super::binary::pair;
use super::reduce::reduction;
use super::unary::map;
use super::{reshape, reshaped};
use crate::error::Reason;
use crate::import::Call;
use crate::tensor::elements;

pub(super) const OPS: &[Row] = &[("aten._cdist_forward.default", cdist)];

/// Most differences of elements.
const MAX_DIFFERENCES: usize = 1 << 24;

/// The p-norm of the difference of every row `[..., p, m]` to every one of `[..., r, m]`.
fn cdist(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (a, b) = (call.tensor("x1")?, call.tensor("x2")?);
    let power = call.number("p")?;
    let (a, b) = (call.cast(a, DType::F32)?, call.cast(b, DType::F32)?);
    let (left, right) = (call.shape(a).to_vec(), call.shape(b).to_vec());
    let rank = left.len();
    if rank < 2 || right.len() < 2 {
        return Err(format!("distances of {left:?} and {right:?}"));
    }
    let rows = right[right.len() - 2];
    if elements(&left).saturating_mul(rows) > MAX_DIFFERENCES {
        return Err(format!("{left:?} and {right:?} have more than {MAX_DIFFERENCES} differences"));
    }
    let a = reshaped(call, a, &[&left[..rank - 1], &[1, left[rank - 1]]].concat())?;
    let b = reshaped(call, b, &[&right[..right.len() - 2], &[1], &right[right.len() - 2..]].concat())?;
    let apart = pair(call, a, b, BinaryKind::Sub)?;
    let mut terms = if power == 2.0 { apart } else { map(call, apart, UnaryKind::Abs, 0.0)? };
    terms = match power {
        0.0 => map(call, terms, UnaryKind::Sign, 0.0)?,
        2.0 => map(call, terms, UnaryKind::Square, 0.0)?,
        p if p == 1.0 || p.is_infinite() => terms,
        p => map(call, terms, UnaryKind::PowScalar, p)?,
    };
    let kind = if power.is_infinite() { ReduceKind::Max } else { ReduceKind::Sum };
    let mut shape = call.shape(terms).to_vec();
    let last = shape.len() - 1;
    shape[last] = 1;
    let sum = call.temp(&shape, reduction(terms, kind, &[last]))?;
    let root = match power {
        2.0 => map(call, sum, UnaryKind::Sqrt, 0.0)?,
        p if p == 0.0 || p == 1.0 || p.is_infinite() => sum,
        p => map(call, sum, UnaryKind::PowScalar, 1.0 / p)?,
    };
    call.emit(reshape(root))
}
