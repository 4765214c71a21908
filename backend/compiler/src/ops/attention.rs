//! softmax(scale * q k^T + mask) v.

use tandem_schemas::program::{AttentionT, OpKindT, ReshapeT};

use super::Row;
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[("aten.scaled_dot_product_attention.default", attention)];

fn attention(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    call.refuse("dropout_p")?;
    let [q, k, v] = ["query", "key", "value"].map(|name| call.tensor(name));
    let (q, k, v, mask) = (q?, k?, v?, call.optional("attn_mask")?);
    let shape = call.shape(q).to_vec();
    let Some(&depth) = shape.last() else { return Err("query has no dimensions".into()) };
    let default = 1.0 / (depth as f64).sqrt();
    let (scale, causal) = (call.number_or("scale", default)? as f32, call.flag("is_causal")?);
    if !call.flag("enable_gqa")?
        && shape.len() >= 3
        && call.shape(k).get(shape.len() - 3) != Some(&shape[shape.len() - 3])
    {
        return Err(format!(
            "query {shape:?} and key {:?} have different heads without enable_gqa",
            call.shape(k)
        ));
    }
    let kind = |q, k, v, mask| {
        OpKindT::Attention(table(|op: &mut AttentionT| {
            (op.q, op.k, op.v, op.mask) = (q, k, v, mask);
            (op.scale, op.causal) = (scale, causal);
        }))
    };
    if shape.len() == 4 {
        return call.emit(kind(q, k, v, mask));
    }
    let (q, k, v) = (lift(call, q)?, lift(call, k)?, lift(call, v)?);
    let mut out = call.out_shape(0)?;
    out.splice(0..0, std::iter::repeat_n(1, 4usize.saturating_sub(out.len())));
    let image = call.temp(&out, kind(q, k, v, mask))?;
    call.emit(OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = image)))
}

/// With leading dimensions of 1 up to `[batch, heads, t, d]`.
fn lift(call: &mut Call<'_, '_>, id: ValueId) -> Result<ValueId, Reason> {
    let mut shape = call.shape(id).to_vec();
    if !(2..=4).contains(&shape.len()) {
        return Err(format!("{shape:?} has not 2 to 4 dimensions"));
    }
    shape.splice(0..0, std::iter::repeat_n(1, 4 - shape.len()));
    call.temp(&shape, OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = id)))
}
