//! Slices of one value that are joined again, in any order and between any views, are a gather of its rows: one copy in
//! place of one for every slice. So are gathers at constant places and the permutations around them. A shift that wraps
//! around, windows of a shifted image and pixels that become channels are all of this kind.

use std::collections::{HashMap, HashSet};

use tandem_schemas::program::{DType, GatherT, OpKindT, ReshapeT};

use crate::error::Reason;
use crate::graph::{GraphEdit, Op, OpId, ValueId, sources, table};
use crate::tensor::{Tensor, elements};

/// Most elements that are followed.
const MOST: usize = 1 << 22;
/// Shortest row, in elements: kernels copy shorter ones better as they are.
const SHORTEST: usize = 16;
/// Most rows: each is a place in a constant.
const MOST_ROWS: usize = 1 << 16;

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    let (order, mut seen) = (edit.order()?, HashSet::new());
    for (at, &last) in order.iter().enumerate().rev() {
        if seen.contains(&last) || !edit.op(last).is_some_and(|op| moves(edit, op)) {
            continue;
        }
        let region = Region::above(edit, &order[..=at]);
        seen.extend(region.ops.iter().copied());
        if let Some((root, rows)) = region.rows(edit) {
            rows.insert(edit, last, root);
        }
    }
    Ok(())
}

/// Whether an op's result is its source's elements at places that are known.
fn moves(edit: &GraphEdit<'_, '_>, op: &Op) -> bool {
    match &op.kind {
        OpKindT::Reshape(_) | OpKindT::Permute(_) | OpKindT::Slice(_) | OpKindT::Concat(_) => true,
        OpKindT::Gather(gather) => edit.constant(gather.index).is_some_and(|index| {
            // One place for all that lies beside the dimension.
            index.shape.get(gather.dim as usize) == Some(&elements(&index.shape))
        }),
        _ => false,
    }
}

/// What an op moves.
fn moved(op: &Op) -> Vec<ValueId> {
    match &op.kind {
        OpKindT::Gather(gather) => vec![gather.src],
        kind => sources(kind),
    }
}

/// Ops that only move elements, for one result.
struct Region {
    /// In execution order.
    ops: Vec<OpId>,
}

impl Region {
    /// The last op and those above it that nothing else reads.
    fn above(edit: &GraphEdit<'_, '_>, order: &[OpId]) -> Self {
        let mut inside: HashSet<OpId> = order.last().copied().into_iter().collect();
        for &id in order.iter().rev() {
            let Some(op) = edit.op(id) else { continue };
            let users = edit.users(op.output);
            if !users.is_empty()
                && users.iter().all(|user| inside.contains(user))
                && !edit.is_output(op.output)
                && moves(edit, op)
            {
                inside.insert(id);
            }
        }
        Self { ops: order.iter().copied().filter(|id| inside.contains(id)).collect() }
    }

    /// The one value that all elements are of, and its rows that make the result; where that saves copies.
    fn rows(&self, edit: &GraphEdit<'_, '_>) -> Option<(ValueId, Rows)> {
        let ops: Vec<&Op> = self.ops.iter().filter_map(|&id| edit.op(id)).collect();
        let (mut gathers, mut others) = (0, 0);
        for op in &ops {
            match &op.kind {
                OpKindT::Concat(_) => gathers += 2,
                OpKindT::Gather(_) => gathers += 1,
                OpKindT::Reshape(_) => {}
                _ => others += 1,
            }
        }
        if gathers == 0 || gathers + others < 2 {
            return None;
        }
        let made: HashSet<ValueId> = ops.iter().map(|op| op.output).collect();
        let mut roots = ops.iter().flat_map(|op| moved(op)).filter(|value| !made.contains(value));
        let root = roots.next()?;
        let small = |value: ValueId| elements(edit.shape(value)) <= MOST;
        if roots.any(|value| value != root)
            || edit.constant(root).is_some()
            || !small(root)
            || !ops.iter().all(|op| small(op.output))
        {
            return None;
        }
        let mut places = HashMap::from([(root, (0..elements(edit.shape(root)) as u32).collect())]);
        for op in &ops {
            let moved = places_of(edit, op, &places)?;
            places.insert(op.output, moved);
        }
        Some((root, Rows::of(edit.shape(root), places.get(&ops.last()?.output)?)?))
    }
}

/// Places in the root of all elements of an op's result.
fn places_of(edit: &GraphEdit<'_, '_>, op: &Op, known: &HashMap<ValueId, Vec<u32>>) -> Option<Vec<u32>> {
    let shape = edit.shape(op.output);
    let from = |src: ValueId| Some((edit.shape(src), known.get(&src)?));
    // The source's element at each index of the result.
    let pick = |src: ValueId, at: &dyn Fn(usize, usize) -> usize, order: Option<&[u32]>| {
        let (sizes, places) = from(src)?;
        let strides = row_major(sizes);
        let stride = |d: usize| strides[order.map_or(d, |order| order[d] as usize)];
        let mut index = vec![0; shape.len()];
        let mut picked = Vec::with_capacity(elements(shape));
        for _ in 0..elements(shape) {
            let place: usize = (0..shape.len()).map(|d| at(d, index[d]) * stride(d)).sum();
            picked.push(*places.get(place)?);
            advance(&mut index, shape);
        }
        Some(picked)
    };
    match &op.kind {
        OpKindT::Reshape(op) => from(op.src).map(|(_, places)| places.clone()),
        OpKindT::Permute(op) => pick(op.src, &|_, i| i, Some(&op.order)),
        OpKindT::Slice(op) => {
            let (dim, start, step) = (op.dim as usize, usize::try_from(op.start).ok()?, op.step as usize);
            pick(op.src, &|d, i| if d == dim { start + i * step } else { i }, None)
        }
        OpKindT::Gather(op) => {
            let index = edit.constant(op.index)?.cast(DType::I64);
            let index: Vec<i64> = bytemuck::pod_collect_to_vec(index.bytes());
            let (dim, extent) = (op.dim as usize, edit.shape(op.src)[op.dim as usize] as i64);
            let index: Vec<usize> = index
                .iter()
                .map(|&i| usize::try_from(if i < 0 { i + extent } else { i }).ok())
                .collect::<Option<_>>()?;
            pick(op.src, &|d, i| if d == dim { index[i] } else { i }, None)
        }
        OpKindT::Concat(op) => {
            let dim = op.dim as usize;
            let run = |sizes: &[usize]| elements(&sizes[dim..]);
            let parts = op.src.iter().map(|&src| from(src)).collect::<Option<Vec<_>>>()?;
            let mut joined = Vec::with_capacity(elements(shape));
            for outer in 0..elements(&shape[..dim]) {
                for (sizes, places) in &parts {
                    joined.extend(places.get(outer * run(sizes)..(outer + 1) * run(sizes))?);
                }
            }
            Some(joined)
        }
        _ => None,
    }
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    strides
}

/// The next index in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (i, &size) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < size {
            return;
        }
        *i = 0;
    }
}

/// A value seen as `[batch, count, length]`, and which of the rows of each batch are wanted.
#[derive(Debug, PartialEq, Eq)]
struct Rows {
    batch: usize,
    count: usize,
    length: usize,
    places: Vec<u32>,
}

impl Rows {
    /// Of places in a value of `shape`; rows are parts of its last dimension, batches its first one where they are alike.
    fn of(shape: &[usize], places: &[u32]) -> Option<Self> {
        let all = elements(shape);
        let (&first, &last) = (shape.first()?, shape.last()?);
        let whole = |length: usize| {
            places.len().is_multiple_of(length)
                && places.chunks(length).all(|row| {
                    (row[0] as usize).is_multiple_of(length)
                        && row.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1))
                })
        };
        let length = (SHORTEST..=last).rev().find(|&length| last.is_multiple_of(length) && whole(length))?;
        let mut rows: Vec<u32> = places.iter().step_by(length).map(|place| place / length as u32).collect();
        let (mut batch, mut count) = (1, all / length);
        if first > 1 && count.is_multiple_of(first) && rows.len().is_multiple_of(first) {
            let (size, each) = (count / first, rows.len() / first);
            let alike = |(i, &row): (usize, &u32)| row as usize == rows[i % each] as usize + i / each * size;
            if (rows[..each].iter().all(|&row| (row as usize) < size)) && rows.iter().enumerate().all(alike) {
                (batch, count) = (first, size);
                rows.truncate(each);
            }
        }
        (rows.len() <= MOST_ROWS).then_some(Self { batch, count, length, places: rows })
    }

    /// Makes the last op of a region a view of the rows.
    fn insert(self, edit: &mut GraphEdit<'_, '_>, last: OpId, root: ValueId) {
        let Some(name) = edit.op(last).map(|op| op.name.clone()) else { return };
        let places: Vec<f64> = self.places.iter().map(|&place| f64::from(place)).collect();
        let index = Tensor::numbers(DType::I64, &[1, places.len(), 1], &places);
        let index = edit.add_constant(format!("{name}.places"), index);
        let view = |src: ValueId| OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = src));
        let rows = edit.insert(last, "rows", &[self.batch, self.count, self.length], view(root));
        let gather = OpKindT::Gather(table(|op: &mut GatherT| (op.src, op.index, op.dim) = (rows, index, 1)));
        let moved = edit.insert(last, "moved", &[self.batch, places.len(), self.length], gather);
        edit.modify(last, |kind| *kind = view(moved));
    }
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::Activation;

    use super::*;
    use crate::testing::{Build, check, check_untouched};

    /// A value `by` places on along a dimension, what leaves at the end back at the start.
    fn rolled(b: &mut Build, name: &str, src: ValueId, dim: usize, by: usize) -> ValueId {
        let size = b.shape(src)[dim];
        let back = b.slice(&format!("{name}.back"), src, dim, [size - by, by, 1]);
        let front = b.slice(&format!("{name}.front"), src, dim, [0, size - by, 1]);
        b.concat(name, &[back, front], dim)
    }

    #[test]
    fn windows_of_a_shifted_image_are_one_gather() {
        let mut b = Build::new();
        let x = b.input("x", &[2, 4, 4, 16]);
        let a = b.act("a", x, Activation::Relu);
        let r = rolled(&mut b, "r", a, 1, 1);
        let s = rolled(&mut b, "s", r, 2, 3);
        let v = b.reshape("v", s, &[2, 2, 2, 2, 2, 16]);
        let p = b.permute("p", v, &[0, 1, 3, 2, 4, 5]);
        let w = b.reshape("w", p, &[8, 4, 16]);
        b.output(w);
        check(
            "moves dead",
            b,
            "a[2, 4, 4, 16] = Unary(x; Relu)
             w.rows[2, 16, 16] = Reshape(a)
             w.moved[2, 16, 16] = Gather(w.rows, w.places; dim 1)
             w[8, 4, 16] = Reshape(w.moved)
             return w",
        );
    }

    #[test]
    fn pixels_become_channels_in_one_gather() {
        let mut b = Build::new();
        let x = b.input("x", &[1, 4, 2, 16]);
        let even = b.slice("even", x, 1, [0, 2, 2]);
        let odd = b.slice("odd", x, 1, [1, 2, 2]);
        let y = b.concat("y", &[even, odd], 3);
        b.output(y);
        check(
            "moves dead",
            b,
            "y.rows[1, 8, 16] = Reshape(x)
             y.moved[1, 8, 16] = Gather(y.rows, y.places; dim 1)
             y[1, 2, 2, 32] = Reshape(y.moved)
             return y",
        );
    }

    #[test]
    fn short_rows_several_sources_and_lone_slices_stay() {
        let mut b = Build::new();
        let x = b.input("x", &[4, 4, 8]);
        let y = rolled(&mut b, "y", x, 0, 1);
        b.output(y);
        check_untouched("moves", b);
        let mut b = Build::new();
        let (x, y) = (b.input("x", &[4, 16]), b.input("y", &[4, 16]));
        let part = b.slice("part", x, 0, [1, 2, 1]);
        let both = b.concat("both", &[part, y], 0);
        b.output(both);
        check_untouched("moves", b);
        let mut b = Build::new();
        let x = b.input("x", &[4, 6, 16]);
        let p = b.permute("p", x, &[1, 0, 2]);
        let s = b.slice("s", p, 0, [1, 2, 1]);
        b.output(s);
        check_untouched("moves", b);
    }

    #[test]
    fn what_others_read_stays() {
        let mut b = Build::new();
        let x = b.input("x", &[4, 16]);
        let part = b.slice("part", x, 0, [1, 2, 1]);
        let y = b.concat("y", &[part, x], 0);
        b.output(part);
        b.output(y);
        check_untouched("moves", b);
    }

    #[test]
    fn batches_share_their_places() {
        let places: Vec<u32> = [16, 48].iter().flat_map(|&start| start..start + 16).collect();
        let rows = Rows::of(&[2, 2, 16], &places);
        assert_eq!(rows, Some(Rows { batch: 2, count: 2, length: 16, places: vec![1] }));
        let places: Vec<u32> = [16, 32].iter().flat_map(|&start| start..start + 16).collect();
        let rows = Rows::of(&[2, 2, 16], &places);
        assert_eq!(rows, Some(Rows { batch: 1, count: 4, length: 16, places: vec![1, 2] }));
    }
}
