//! Matrix products.

use tandem_schemas::program::{BinaryKind, DType, EpilogueT, LinearT, MatMulT, OpKindT, UnaryKind};

use super::binary::binary;
use super::unary::map;
use super::{Row, reshape, reshaped};
use crate::error::Reason;
use crate::graph::{ValueId, broadcast, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.linear.default", linear),
    ("aten.addmm.default", addmm),
    ("aten.addmv.default", addmv),
    ("aten.mm.default", |c| product(c, "self", "mat2")),
    ("aten.bmm.default", |c| product(c, "self", "mat2")),
    ("aten.matmul.default", |c| product(c, "self", "other")),
];

fn linear(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (src, bias) = (call.tensor("input")?, call.optional("bias")?);
    let (weight, tensor) = call.constant("weight")?;
    if bias >= 0 {
        call.constant("bias")?;
    }
    let [n, k] = tensor.shape[..] else { return Err(format!("weight {:?} is not [n, k]", tensor.shape)) };
    if call.shape(src).len() == 1 {
        let row = call.temp(&[1, k], reshape(src))?;
        let product = call.temp(&[1, n], linear_of(row, weight, bias))?;
        return call.emit(reshape(product));
    }
    call.emit(linear_of(src, weight, bias))
}

pub(super) fn linear_of(src: ValueId, weight: ValueId, bias: ValueId) -> OpKindT {
    OpKindT::Linear(table(|op: &mut LinearT| {
        (op.src, op.weight) = (src, weight);
        op.epilogue = Some(table(|e: &mut EpilogueT| e.bias = bias));
    }))
}

pub(super) fn matmul(a: ValueId, b: ValueId) -> OpKindT {
    OpKindT::MatMul(table(|op: &mut MatMulT| {
        (op.a, op.b, op.scale) = (a, b, 1.0);
        op.epilogue = Some(Box::default());
    }))
}

fn addmm(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (added, a, b) = (call.tensor("self")?, call.tensor("mat1")?, call.tensor("mat2")?);
    let out = call.out_shape(0)?;
    let product = call.temp(&out, matmul(a, b))?;
    weighted(call, product, added)
}

/// A matrix times a vector, added to a vector.
fn addmv(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let (added, a, b) = (call.tensor("self")?, call.tensor("mat")?, call.tensor("vec")?);
    let (out, k) = (call.out_shape(0)?, call.shape(b).to_vec());
    let column = reshaped(call, b, &[&k[..], &[1]].concat())?;
    let product = call.temp(&[&out[..], &[1]].concat(), matmul(a, column))?;
    let product = reshaped(call, product, &out)?;
    weighted(call, product, added)
}

/// Emits beta * added + alpha * product.
fn weighted(call: &mut Call<'_, '_>, mut product: ValueId, added: ValueId) -> Result<(), Reason> {
    let (beta, alpha) = (call.number_or("beta", 1.0)?, call.number_or("alpha", 1.0)?);
    if alpha != 1.0 {
        product = map(call, product, UnaryKind::MulScalar, alpha)?;
    }
    // NaN in what is added with a factor of 0 does not count.
    if beta == 0.0 {
        return call.emit(reshape(product));
    }
    let added = call.cast(added, DType::F32)?;
    call.emit(binary(product, added, BinaryKind::Add, beta))
}

/// Operands of equal rank multiply as they are; PyTorch's other forms are reshaped to that.
fn product(call: &mut Call<'_, '_>, a: &str, b: &str) -> Result<(), Reason> {
    let (a, b) = (call.tensor(a)?, call.tensor(b)?);
    let (sa, sb) = (call.shape(a).to_vec(), call.shape(b).to_vec());
    if sa.is_empty() || sb.is_empty() {
        return Err(format!("cannot multiply {sa:?} by {sb:?}"));
    }
    if sa.len() == sb.len() && sa.len() >= 2 {
        return call.emit(matmul(a, b));
    }
    let (mut ra, mut rb) = (sa.clone(), sb.clone());
    if sa.len() == 1 {
        ra.insert(0, 1);
    }
    if sb.len() == 1 {
        rb.push(1);
    }
    let rank = ra.len().max(rb.len());
    for shape in [&mut ra, &mut rb] {
        shape.splice(0..0, std::iter::repeat_n(1, rank - shape.len()));
    }
    let mut out = broadcast(&[&ra[..rank - 2], &rb[..rank - 2]])?;
    out.extend([ra[rank - 2], rb[rank - 1]]);
    let mut aligned = |id, from: &[usize], to: &[usize]| {
        if from == to { Ok(id) } else { call.temp(to, reshape(id)) }
    };
    let (a, b) = (aligned(a, &sa, &ra)?, aligned(b, &sb, &rb)?);
    let product = call.temp(&out, matmul(a, b))?;
    call.emit(reshape(product))
}
