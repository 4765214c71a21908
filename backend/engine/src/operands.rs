//! The indices of every op: in range, defined before use, written once.

use tandem_schemas::program::{EpilogueT, OpKindT, ValueKind};

use crate::error::Error;
use crate::model::Model;

/// Checks the value and constant indices of every op, and that every output of the program is defined.
pub(crate) fn check(model: &Model) -> Result<(), Error> {
    let mut defined: Vec<bool> =
        model.values.iter().map(|v| matches!(v.kind, ValueKind::Input | ValueKind::Constant)).collect();
    for &input in &model.inputs {
        defined[input] = true;
    }
    for (v, value) in model.values.iter().enumerate() {
        if value.kind == ValueKind::Input && !model.inputs.contains(&v) {
            return Err(Error::program(&value.name, "an input value that is not among the inputs"));
        }
    }
    for op in &model.ops {
        let (values, constants) = references(&op.kind);
        for v in values {
            let ready = usize::try_from(v).ok().and_then(|v| defined.get(v)).copied();
            if ready != Some(true) {
                return Err(Error::program(&op.name, format!("reads value {v}, which is not defined there")));
            }
        }
        for c in constants {
            if usize::try_from(c).ok().is_none_or(|c| c >= model.constants.len()) {
                return Err(Error::program(&op.name, format!("constant {c} of {}", model.constants.len())));
            }
        }
        if op.outputs.len() != 1 {
            return Err(Error::program(&op.name, format!("{} outputs, one expected", op.outputs.len())));
        }
        let out = usize::try_from(op.outputs[0]).ok().filter(|&o| o < defined.len());
        let out = out.ok_or_else(|| Error::program(&op.name, format!("output value {}", op.outputs[0])))?;
        if std::mem::replace(&mut defined[out], true) {
            return Err(Error::program(&op.name, format!("writes value {} again", model.values[out].name)));
        }
        check_rank(model, op)?;
    }
    match model.outputs.iter().find(|&&o| !defined[o]) {
        Some(&o) => Err(Error::program(&model.values[o].name, "an output that no op defines")),
        None => Ok(()),
    }
}

/// Structure that placing values relies on before ops are planned.
fn check_rank(model: &Model, op: &tandem_schemas::program::OpT) -> Result<(), Error> {
    let out = &model.values[op.outputs[0] as usize].sizes;
    let wrong = |what: String| Err(Error::program(&op.name, what));
    let moves = matches!(
        op.kind,
        OpKindT::Reshape(_)
            | OpKindT::Permute(_)
            | OpKindT::Slice(_)
            | OpKindT::Expand(_)
            | OpKindT::PixelShuffle(_)
    );
    let dtype = |v: i32| model.values[v as usize].dtype;
    if moves && references(&op.kind).0.iter().any(|&v| dtype(v) != dtype(op.outputs[0])) {
        return wrong("a view into another element type".to_owned());
    }
    match &op.kind {
        OpKindT::Concat(c) => {
            let dim = c.dim as usize;
            let mut sum = 0;
            for &s in &c.src {
                let sizes = &model.values[s as usize].sizes;
                let same = sizes.len() == out.len()
                    && dim < out.len()
                    && sizes.iter().zip(out).enumerate().all(|(d, (a, b))| d == dim || a == b);
                if !same {
                    return wrong(format!("concat of {sizes:?} along {dim} into {out:?}"));
                }
                sum += sizes[dim];
            }
            if c.src.is_empty() || sum != out[dim] {
                return wrong(format!("concat gives {sum} along {dim} of {out:?}"));
            }
        }
        OpKindT::Permute(p) => {
            let sizes = &model.values[p.src as usize].sizes;
            let mut sorted = p.order.clone();
            sorted.sort_unstable();
            let is_permutation = sorted.iter().copied().eq(0..sizes.len() as u32) && sizes.len() == out.len();
            if !is_permutation || p.order.iter().zip(out).any(|(&from, &o)| sizes[from as usize] != o) {
                return wrong(format!("permute {:?} of {sizes:?} into {out:?}", p.order));
            }
        }
        OpKindT::Reshape(r) => {
            let sizes = &model.values[r.src as usize].sizes;
            if sizes.iter().product::<usize>() != out.iter().product::<usize>() {
                return wrong(format!("reshape of {sizes:?} into {out:?}"));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Indices of the values and of the constants an op reads; absent optional ones (-1) left out.
pub(crate) fn references(kind: &OpKindT) -> (Vec<i32>, Vec<i32>) {
    let epilogue = |e: &Option<Box<EpilogueT>>, mut values: Vec<i32>, mut constants: Vec<i32>| {
        if let Some(e) = e {
            values.extend((e.residual >= 0).then_some(e.residual));
            constants.extend([e.bias, e.scale, e.shift].into_iter().filter(|&c| c >= 0));
        }
        (values, constants)
    };
    let some = |list: &[i32]| list.iter().copied().filter(|&c| c >= 0).collect::<Vec<_>>();
    match kind {
        OpKindT::Conv(o) => epilogue(&o.epilogue, o.src.clone(), vec![o.weight]),
        OpKindT::Depthwise(o) => epilogue(&o.epilogue, vec![o.src], vec![o.weight]),
        OpKindT::ConvTranspose(o) => epilogue(&o.epilogue, vec![o.src], vec![o.weight]),
        OpKindT::Linear(o) => epilogue(&o.epilogue, vec![o.src], vec![o.weight]),
        OpKindT::MatMul(o) => epilogue(&o.epilogue, vec![o.a, o.b], vec![]),
        OpKindT::Attention(o) => ([vec![o.q, o.k, o.v], some(&[o.mask])].concat(), vec![]),
        OpKindT::Pool(o) => (vec![o.src], vec![]),
        OpKindT::AdaptivePool(o) => (vec![o.src], vec![]),
        OpKindT::Reduce(o) => (vec![o.src], vec![]),
        OpKindT::Softmax(o) => (vec![o.src], vec![]),
        OpKindT::Norm(o) => (vec![o.src], some(&[o.scale, o.shift])),
        OpKindT::Affine(o) => (vec![o.src], some(&[o.scale, o.shift])),
        OpKindT::Unary(o) => (vec![o.src], vec![]),
        OpKindT::Binary(o) => (vec![o.a, o.b], vec![]),
        OpKindT::Select(o) => (vec![o.cond, o.a, o.b], vec![]),
        OpKindT::Resize(o) => (vec![o.src], vec![]),
        OpKindT::Pad(o) => (vec![o.src], vec![]),
        OpKindT::Reshape(o) => (vec![o.src], vec![]),
        OpKindT::Permute(o) => (vec![o.src], vec![]),
        OpKindT::Slice(o) => (vec![o.src], vec![]),
        OpKindT::Expand(o) => (vec![o.src], vec![]),
        OpKindT::Concat(o) => (o.src.clone(), vec![]),
        OpKindT::PixelShuffle(o) => (vec![o.src], vec![]),
        _ => (vec![-1], vec![]),
    }
}
