//! The indices of every op: in range, defined before use, written once; and how long values are needed.

use tandem_schemas::program::{OpT, ValueKind};

use crate::error::Error;
use crate::model::Model;
use crate::ops;

/// Checks the value and constant indices of every op, the structure placing relies on, and that every output of the
/// program is defined.
pub(crate) fn check(model: &Model) -> Result<(), Error> {
    let mut defined: Vec<bool> = model.values.iter().map(|v| v.kind == ValueKind::Constant).collect();
    for &input in &model.inputs {
        defined[input] = true;
    }
    for (v, value) in model.values.iter().enumerate() {
        if value.is_argument() && !defined[v] {
            return Err(Error::program(&value.name, "an input value that is not among the inputs"));
        }
        if value.kind == ValueKind::Output && !model.outputs.contains(&v) {
            return Err(Error::program(&value.name, "an output value that is not among the outputs"));
        }
    }
    for op in &model.ops {
        check_op(model, op, &mut defined)?;
    }
    match model.outputs.iter().find(|&&o| !defined[o]) {
        Some(&o) => Err(Error::program(&model.values[o].name, "an output that no op defines")),
        None => Ok(()),
    }
}

fn check_op(model: &Model, op: &OpT, defined: &mut [bool]) -> Result<(), Error> {
    let wrong = |what: String| Error::program(&op.name, what);
    let operator = ops::operator(&op.kind).ok_or_else(|| wrong("an op of unknown kind".to_owned()))?;
    let reads = operator.reads();
    for v in reads.values {
        let ready = usize::try_from(v).ok().and_then(|v| defined.get(v)).copied();
        if ready != Some(true) {
            return Err(wrong(format!("reads value {v}, which is not defined there")));
        }
    }
    for c in reads.constants {
        if usize::try_from(c).ok().is_none_or(|c| c >= model.constants.len()) {
            return Err(wrong(format!("constant {c} of {}", model.constants.len())));
        }
    }
    let &[out] = op.outputs.as_slice() else {
        return Err(wrong(format!("{} outputs, one expected", op.outputs.len())));
    };
    let out = usize::try_from(out).ok().filter(|&o| o < defined.len());
    let out = out.ok_or_else(|| wrong(format!("output value {}", op.outputs[0])))?;
    if std::mem::replace(&mut defined[out], true) {
        return Err(wrong(format!("writes value {} again", model.values[out].name)));
    }
    operator.verify(model, out).map_err(wrong)
}

/// For every value the last op that reads or, unread, defines it; what the host takes is needed to the end.
pub(crate) fn last_uses(model: &Model) -> Vec<usize> {
    let mut last = vec![0; model.values.len()];
    for (at, op) in model.ops.iter().enumerate() {
        let reads = ops::operator(&op.kind).map_or_else(Vec::new, |o| o.reads().values);
        for v in reads.into_iter().chain([op.outputs[0]]) {
            last[v as usize] = at;
        }
    }
    for &output in &model.outputs {
        last[output] = usize::MAX;
    }
    last
}
