//! Padding by a constant, or by the tensor's own edge.

use tandem_schemas::program::{OpKindT, PadKind, PadT};

use super::Row;
use crate::error::Reason;
use crate::graph::table;
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.constant_pad_nd.default", |c| pad(c, "pad", PadKind::Constant)),
    ("aten.reflection_pad1d.default", |c| pad(c, "padding", PadKind::Reflect)),
    ("aten.reflection_pad2d.default", |c| pad(c, "padding", PadKind::Reflect)),
    ("aten.reflection_pad3d.default", |c| pad(c, "padding", PadKind::Reflect)),
    ("aten.replication_pad1d.default", |c| pad(c, "padding", PadKind::Replicate)),
    ("aten.replication_pad2d.default", |c| pad(c, "padding", PadKind::Replicate)),
    ("aten.replication_pad3d.default", |c| pad(c, "padding", PadKind::Replicate)),
    ("aten.pad.default", named),
];

fn named(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let kind = match call.string("mode")? {
        "" | "constant" => PadKind::Constant,
        "reflect" => PadKind::Reflect,
        "replicate" => PadKind::Replicate,
        "circular" => PadKind::Circular,
        mode => return Err(format!("argument mode = {mode:?} is not known")),
    };
    pad(call, "pad", kind)
}

/// ATen gives before and after in pairs, the last dimension first.
fn pad(call: &mut Call<'_, '_>, amounts: &str, kind: PadKind) -> Result<(), Reason> {
    let (src, amounts, value) = (call.tensor("self")?, call.ints(amounts)?, call.number_or("value", 0.0)?);
    let (shape, out) = (call.shape(src).to_vec(), call.out_shape(0)?);
    let given = || format!("padding {amounts:?} of {shape:?} does not give {out:?}");
    if amounts.len() % 2 != 0 || amounts.len() / 2 > shape.len() || out.len() != shape.len() {
        return Err(given());
    }
    let mut before = vec![0; shape.len()];
    let mut expected: Vec<i128> = shape.iter().map(|&s| s as i128).collect();
    for (i, pair) in amounts.chunks(2).enumerate() {
        let dim = shape.len() - 1 - i;
        before[dim] = i32::try_from(pair[0]).map_err(|_| given())?;
        expected[dim] += i128::from(pair[0]) + i128::from(pair[1]);
        let edge = match kind {
            PadKind::Reflect => shape[dim] as i64 - 1,
            PadKind::Circular => shape[dim] as i64,
            _ => i64::MAX,
        };
        if pair.iter().any(|&p| p > edge || (kind != PadKind::Constant && p < 0)) {
            return Err(given());
        }
    }
    if out.iter().zip(&expected).any(|(&o, &e)| o as i128 != e) {
        return Err(given());
    }
    call.emit(OpKindT::Pad(table(|op: &mut PadT| {
        (op.src, op.kind, op.before, op.value) = (src, kind, before, value);
    })))
}
