//! Rows of a table, joined bag by bag.

use tandem_schemas::program::{BinaryKind, ConcatT, DType, MatMulT, OpKindT, ReduceKind, SliceT};

use super::binary::{binary, choose};
use super::index::gather;
use super::reduce::reduction;
use super::{Row, reshape};
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;
use crate::tensor::Tensor;

pub(super) const OPS: &[Row] = &[
    ("aten._embedding_bag.default", embedding_bag),
    ("aten._embedding_bag_forward_only.default", embedding_bag),
];

/// Most elements of the array in which maxima are looked for.
const MAX_ELEMENTS: usize = 1 << 22;

/// Which rows are in which bag is a matrix of 0 and 1: sums are a product with it.
fn embedding_bag(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    if let Some(i) = (1..call.output_count()).find(|&i| call.output(i).is_some()) {
        return Err(format!("output {i}, an intermediate result, is used"));
    }
    if call.int_or("padding_idx", -1)? >= 0 {
        return Err("argument padding_idx is given".into());
    }
    let (weight, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    let (weight, indices) = (call.cast(weight, DType::F32)?, call.cast(indices, DType::I64)?);
    let (&[_, width], &[n]) = (call.shape(weight), call.shape(indices)) else {
        return Err(format!("weight {:?}, indices {:?}", call.shape(weight), call.shape(indices)));
    };
    let index = call.temp_of(DType::I64, &[n, 1], reshape(indices))?;
    let rows = call.temp(&[n, width], gather(weight, index, 0))?;
    let bags = Bags::of(call, n)?;
    let sizes = [call.shape(bags.inside)[0], n, width];
    match call.int_or("mode", 0)? {
        2 => maxima(call, rows, bags.inside, sizes),
        mode => sums(call, rows, &bags, sizes, mode == 1),
    }
}

/// The bags of n rows.
struct Bags {
    /// Whether bag b has row i, `[bags, n]`.
    inside: ValueId,
    /// What a mean divides by, I64 `[bags, 1]`: in PyTorch the last bag counts to the last row, wherever it ends.
    counts: ValueId,
}

impl Bags {
    fn of(call: &mut Call<'_, '_>, n: usize) -> Result<Self, Reason> {
        let offsets = call.tensor("offsets")?;
        let offsets = call.cast(offsets, DType::I64)?;
        let [count] = *call.shape(offsets) else { return Err(format!("offsets {:?}", call.shape(offsets))) };
        let part = |start: usize| {
            OpKindT::Slice(table(|op: &mut SliceT| (op.src, op.start, op.step) = (offsets, start as i64, 1)))
        };
        let later = if count > 1 { Some(call.temp_of(DType::I64, &[count - 1], part(1))?) } else { None };
        let end = call.add_constant("end", Tensor::numbers(DType::I64, &[1], &[n as f64]));
        let ends = |before: Option<ValueId>| {
            let src: Vec<ValueId> = before.into_iter().chain([end]).collect();
            OpKindT::Concat(table(|op: &mut ConcatT| op.src = src))
        };
        let (bags, first, last, counted) = if call.flag("include_last_offset")? {
            let last = later.ok_or("a single offset, which is the last one")?;
            let bags = count - 1;
            let inner = if bags > 1 { Some(call.temp_of(DType::I64, &[bags - 1], part(1))?) } else { None };
            let counted = call.temp_of(DType::I64, &[bags], ends(inner))?;
            (bags, call.temp_of(DType::I64, &[bags], part(0))?, last, counted)
        } else {
            let last = call.temp_of(DType::I64, &[count], ends(later))?;
            (count, offsets, last, last)
        };
        let counts = call.temp_of(DType::I64, &[bags], binary(counted, first, BinaryKind::Sub, 1.0))?;
        let counts = call.temp_of(DType::I64, &[bags, 1], reshape(counts))?;
        let positions: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let positions = call.add_constant("positions", Tensor::numbers(DType::I64, &[1, n], &positions));
        let first = call.temp_of(DType::I64, &[bags, 1], reshape(first))?;
        let last = call.temp_of(DType::I64, &[bags, 1], reshape(last))?;
        let begun = call.temp_of(DType::Bool, &[bags, n], binary(positions, first, BinaryKind::Ge, 1.0))?;
        let open = call.temp_of(DType::Bool, &[bags, n], binary(positions, last, BinaryKind::Lt, 1.0))?;
        let inside = call.temp_of(DType::Bool, &[bags, n], binary(begun, open, BinaryKind::And, 1.0))?;
        Ok(Self { inside, counts })
    }
}

fn sums(
    call: &mut Call<'_, '_>,
    rows: ValueId,
    of: &Bags,
    [bags, n, width]: [usize; 3],
    mean: bool,
) -> Result<(), Reason> {
    let mut factors = call.cast(of.inside, DType::F32)?;
    if call.has("per_sample_weights") {
        let weights = call.tensor("per_sample_weights")?;
        factors = call.temp(&[bags, n], binary(factors, weights, BinaryKind::Mul, 1.0))?;
    }
    let product = OpKindT::MatMul(table(|op: &mut MatMulT| {
        (op.a, op.b, op.scale) = (factors, rows, 1.0);
        op.epilogue = Some(Box::default());
    }));
    if !mean {
        return call.emit(product);
    }
    let sum = call.temp(&[bags, width], product)?;
    // An empty bag's mean is 0.
    let counts = call.cast(of.counts, DType::F32)?;
    let one = call.add_number("one", DType::F32, 1.0);
    let counts = call.temp(&[bags, 1], binary(counts, one, BinaryKind::Max, 1.0))?;
    call.emit(binary(sum, counts, BinaryKind::Div, 1.0))
}

fn maxima(
    call: &mut Call<'_, '_>,
    rows: ValueId,
    inside: ValueId,
    [bags, n, width]: [usize; 3],
) -> Result<(), Reason> {
    if bags * n * width > MAX_ELEMENTS {
        return Err(format!("maxima of {bags} bags among {n} rows of {width}"));
    }
    let mask = call.temp_of(DType::Bool, &[bags, n, 1], reshape(inside))?;
    let least = call.add_number("least", DType::F32, f64::NEG_INFINITY);
    let candidates = call.temp(&[bags, n, width], choose(mask, rows, least))?;
    let found = call.temp(&[bags, width], reduction(candidates, ReduceKind::Max, &[1]))?;
    let any = call.temp_of(DType::Bool, &[bags, 1], reduction(inside, ReduceKind::Any, &[1]))?;
    let zero = call.add_number("zero", DType::F32, 0.0);
    call.emit(choose(any, found, zero))
}
