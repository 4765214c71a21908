//! Which dtypes go together.

use tandem_kernels::mixed::Func;
use tandem_kernels::types::Type;
use tandem_schemas::program::*;

use super::{Graph, Role, ValueId, visit};
use crate::error::Reason;
use crate::tensor::element;

/// The dtype an op gives for operands of theirs; `declared`, its output's, where any will do.
///
/// # Errors
/// Operands that do not go together.
pub(crate) fn result(graph: &Graph<'_>, kind: &OpKindT, declared: DType) -> Result<DType, Reason> {
    use OpKindT as K;
    let of = |id: ValueId| graph.value(id).dtype;
    let all = |ids: &[ValueId], dtype: DType| same(graph, ids, dtype);
    match kind {
        K::Reshape(_) | K::Permute(_) | K::Slice(_) | K::Expand(_) | K::Concat(_) | K::PixelShuffle(_) => {
            all(&super::sources(kind), declared)
        }
        K::Pad(op) => all(&[op.src], declared),
        K::Unary(op) => unary(op, of(op.src), declared),
        K::Binary(op) => all(&[op.b], of(op.a)).and_then(|dtype| binary(op, dtype)),
        K::Select(op) => {
            all(&[op.cond], DType::Bool)?;
            all(&[op.b], of(op.a))
        }
        K::Reduce(op) => reduce(op, of(op.src)),
        K::Scan(op) => match op.kind {
            ScanKind::ArgMax | ScanKind::ArgMin => computed(of(op.src)).map(|_| DType::I64),
            ScanKind::LogSumExp => all(&[op.src], DType::F32),
            _ => computed(of(op.src)),
        },
        K::Pool(op) if op.kind == PoolKind::ArgMax => all(&[op.src], DType::F32).map(|_| DType::I64),
        K::AdaptivePool(op) if op.kind == PoolKind::ArgMax => all(&[op.src], DType::F32).map(|_| DType::I64),
        K::ArgSort(op) => computed(of(op.src)).map(|_| DType::I64),
        K::Gather(op) => all(&[op.index], DType::I64).map(|_| of(op.src)),
        K::Scatter(op) => {
            all(&[op.index], DType::I64)?;
            if op.kind != ScatterKind::Put {
                computed(of(op.src))?;
            }
            all(&[op.value], of(op.src))
        }
        _ => {
            let mut ids = vec![];
            visit(kind, |_, &id| ids.push(id));
            all(&ids, DType::F32)
        }
    }
}

/// Whether it is a 16-bit float.
pub(crate) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Whether an op reads and writes 16-bit floats as they are stored. Its weights are f32 in a graph, and 16-bit when they are
/// packed.
pub(crate) fn takes_halves(kind: &OpKindT) -> bool {
    use OpKindT as K;
    match kind {
        K::Conv(_) | K::Linear(_) | K::MatMul(_) | K::Depthwise(_) | K::Attention(_) | K::Softmax(_) => true,
        K::Pool(op) => op.kind != PoolKind::ArgMax,
        K::AdaptivePool(op) => op.kind != PoolKind::ArgMax,
        K::Norm(op) => matches!(op.kind, NormKind::Layer | NormKind::Rms),
        K::Unary(op) => {
            use UnaryKind as U;
            !matches!(op.kind, U::Cast | U::Identity | U::LogicalNot | U::BitwiseNot)
        }
        K::Binary(op) => takes_activation(op.kind),
        _ => super::moves(kind),
    }
}

/// The dtype of an op's output where all it reads is stored as `declared`, a 16-bit float.
pub(super) fn stored(graph: &Graph<'_>, kind: &OpKindT, declared: DType) -> Option<DType> {
    let mut fits = is_half(declared) && takes_halves(kind);
    visit(kind, |role, &id| {
        fits &= graph.value(id).dtype == if role == Role::Source { declared } else { DType::F32 };
    });
    fits.then_some(declared)
}

/// `dtype`, which all of `ids` must have.
fn same(graph: &Graph<'_>, ids: &[ValueId], dtype: DType) -> Result<DType, Reason> {
    let other = ids.iter().map(|&id| graph.value(id)).find(|value| value.dtype != dtype);
    other.map_or(Ok(dtype), |value| Err(format!("{} is {:?}, not {dtype:?}", value.name, value.dtype)))
}

/// Refuses what no arithmetic is done in: 16-bit floats, which are computed as f32.
fn computed(dtype: DType) -> Result<DType, Reason> {
    if is_half(dtype) { Err(format!("no arithmetic in {dtype:?}")) } else { Ok(dtype) }
}

fn mixed(func: Func, dtype: DType) -> Result<DType, Reason> {
    let result = element(dtype).and_then(|of| func.result(of));
    match result {
        Some(Type::Bool) => Ok(DType::Bool),
        Some(_) => Ok(dtype),
        None => Err(format!("{func:?} of {dtype:?} is not defined")),
    }
}

fn unary(op: &UnaryT, of: DType, declared: DType) -> Result<DType, Reason> {
    match op.kind {
        UnaryKind::Identity => Ok(of),
        UnaryKind::Cast => Ok(declared),
        UnaryKind::Neg => mixed(Func::Neg, of),
        UnaryKind::Abs => mixed(Func::Abs, of),
        UnaryKind::Sign => mixed(Func::Sign, of),
        UnaryKind::Square => mixed(Func::Mul, of),
        UnaryKind::BitwiseNot => mixed(Func::Not, of),
        UnaryKind::LogicalNot if of == DType::Bool => Ok(of),
        _ if of == DType::F32 => Ok(of),
        kind => Err(format!("{kind:?} of {of:?} is not defined")),
    }
}

fn binary(op: &BinaryT, of: DType) -> Result<DType, Reason> {
    let plain = op.alpha == 1.0 && op.act.is_none();
    if !plain && (of != DType::F32 || !takes_activation(op.kind)) {
        return Err(format!("{:?} of {of:?} with a factor or an activation", op.kind));
    }
    let func = match op.kind {
        BinaryKind::Add => Func::Add,
        BinaryKind::Sub => Func::Sub,
        BinaryKind::Mul => Func::Mul,
        BinaryKind::Max => Func::Max,
        BinaryKind::Min => Func::Min,
        BinaryKind::Eq => Func::Eq,
        BinaryKind::Ne => Func::Ne,
        BinaryKind::Lt => Func::Lt,
        BinaryKind::Le => Func::Le,
        BinaryKind::Gt => Func::Gt,
        BinaryKind::Ge => Func::Ge,
        BinaryKind::And => Func::And,
        BinaryKind::Or => Func::Or,
        BinaryKind::Xor => Func::Xor,
        BinaryKind::FloorDiv => Func::FloorDiv,
        BinaryKind::Remainder => Func::Remainder,
        BinaryKind::TruncDiv => Func::TruncDiv,
        BinaryKind::Fmod => Func::Fmod,
        BinaryKind::ShiftLeft => Func::ShiftLeft,
        BinaryKind::ShiftRight => Func::ShiftRight,
        _ if of == DType::F32 => return Ok(of),
        kind => return Err(format!("{kind:?} of {of:?} is not defined")),
    };
    mixed(func, of)
}

/// Whether a function of two f32 may be followed by an activation in the same op.
pub(crate) fn takes_activation(kind: BinaryKind) -> bool {
    use BinaryKind as B;
    matches!(kind, B::Add | B::Sub | B::Mul | B::Div | B::Max | B::Min | B::Pow | B::Atan2)
}

fn reduce(op: &ReduceT, of: DType) -> Result<DType, Reason> {
    computed(of)?;
    match op.kind {
        ReduceKind::Any | ReduceKind::All => Ok(DType::Bool),
        ReduceKind::ArgMax | ReduceKind::ArgMin => Ok(DType::I64),
        ReduceKind::Mean if !matches!(of, DType::F32 | DType::F64) => {
            Err(format!("the mean of {of:?} is not defined"))
        }
        _ => Ok(of),
    }
}

/// The dtype in which PyTorch computes with two operands; a tensor of no dimensions only counts where its kind of number
/// (truth values, integers, floats) is the larger one.
pub(crate) fn promote((a, scalar_a): (DType, bool), (b, scalar_b): (DType, bool)) -> DType {
    let kind = |dtype: DType| match dtype {
        DType::Bool => 0,
        DType::F32 | DType::F16 | DType::BF16 | DType::F64 => 2,
        _ => 1,
    };
    match kind(a).cmp(&kind(b)) {
        _ if a == b => a,
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Equal if scalar_a != scalar_b => {
            if scalar_a {
                b
            } else {
                a
            }
        }
        std::cmp::Ordering::Equal => wider(a, b),
    }
}

/// The smallest dtype that holds both, of one kind and not the same.
fn wider(a: DType, b: DType) -> DType {
    let has = |dtype: DType| a == dtype || b == dtype;
    let order = [DType::F64, DType::F32, DType::I64, DType::I32, DType::I16];
    // f16 and bf16 hold parts of each other, as i8 and u8 do.
    let neither = if has(DType::F16) { DType::F32 } else { DType::I16 };
    order.into_iter().find(|&dtype| has(dtype)).unwrap_or(neither)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_promote_as_in_pytorch() {
        use DType as D;
        for (a, b, want) in [
            ((D::F32, false), (D::I64, false), D::F32),
            ((D::I32, false), (D::I64, true), D::I32),
            ((D::I32, true), (D::I64, false), D::I64),
            ((D::I64, false), (D::F32, true), D::F32),
            ((D::F16, false), (D::F32, true), D::F16),
            ((D::F16, false), (D::BF16, false), D::F32),
            ((D::U8, false), (D::I8, false), D::I16),
            ((D::Bool, false), (D::Bool, false), D::Bool),
            ((D::Bool, false), (D::U8, true), D::U8),
        ] {
            assert_eq!(promote(a, b), want, "{a:?} {b:?}");
        }
    }
}
