//! Element-wise arithmetic behind views of a convolution moves in front of them, where it can become a stage.

use tandem_schemas::program::{AffineT, OpKindT, UnaryKind};

use crate::error::Reason;
use crate::graph::{GraphEdit, Op, OpId, ValueId, table};
use crate::tensor::{Tensor, elements};

pub(super) fn run(edit: &mut GraphEdit<'_, '_>) -> Result<(), Reason> {
    for id in edit.order()? {
        let mut next = Some(id);
        while let Some(id) = next {
            next = move_in_front(edit, id);
        }
    }
    Ok(())
}

/// Moves an op in front of the view it reads, if that may reach a convolution; gives the op that computes there.
fn move_in_front(edit: &mut GraphEdit<'_, '_>, id: OpId) -> Option<OpId> {
    let op = edit.op(id)?;
    let (name, src) = (op.name.clone(), arithmetic(op)?);
    let (view, viewed) = edit.sole_producer(src).and_then(|(view, op)| Some((view, source(op)?)))?;
    if !is_of_convolution(edit, viewed) {
        return None;
    }
    let mut kind = op.kind.clone();
    match &mut kind {
        OpKindT::Unary(unary) => unary.src = viewed,
        OpKindT::Affine(affine) => {
            let spread = Spread::of(edit, view, affine.dim as usize)?;
            let mut column = |id: ValueId, what: &str| {
                let tensor = usize::try_from(id).ok().and_then(|_| edit.constant(id))?;
                let tensor = Tensor::vector(spread.numbers(&tensor.f32()));
                Some(edit.add_constant(format!("{name}.{what}"), tensor))
            };
            let (scale, shift) = (column(affine.scale, "scale"), column(affine.shift, "shift"));
            let act = affine.act.clone();
            *affine = table(|op: &mut AffineT| {
                (op.src, op.dim, op.act) = (viewed, spread.dim as u32, act);
                (op.scale, op.shift) = (scale.unwrap_or(-1), shift.unwrap_or(-1));
            });
        }
        _ => return None,
    }
    let shape = edit.shape(viewed).to_vec();
    let front = edit.insert(id, "front", &shape, kind);
    edit.modify(view, |kind| {
        if let Some(src) = source_mut(kind) {
            *src = front;
        }
    });
    edit.absorb(view, id);
    edit.producer(front).map(|(id, _)| id)
}

/// What an op reads that an epilogue could compute.
fn arithmetic(op: &Op) -> Option<ValueId> {
    use UnaryKind as U;
    match &op.kind {
        OpKindT::Unary(op) if matches!(op.kind, U::Activation | U::AddScalar | U::MulScalar) => Some(op.src),
        OpKindT::Affine(op) => Some(op.src),
        _ => None,
    }
}

/// What a view reads.
fn source(op: &Op) -> Option<ValueId> {
    source_mut(&mut op.kind.clone()).map(|src| *src)
}

fn source_mut(kind: &mut OpKindT) -> Option<&mut ValueId> {
    match kind {
        OpKindT::Reshape(op) => Some(&mut op.src),
        OpKindT::Permute(op) => Some(&mut op.src),
        OpKindT::Slice(op) => Some(&mut op.src),
        _ => None,
    }
}

/// Whether a value that nothing else reads is a convolution's result, or a view of one.
fn is_of_convolution(edit: &GraphEdit<'_, '_>, mut value: ValueId) -> bool {
    use OpKindT::{Conv, ConvTranspose, Depthwise};
    while let Some((_, op)) = edit.sole_producer(value) {
        match source(op) {
            Some(src) => value = src,
            None => return matches!(op.kind, Conv(_) | Depthwise(_) | ConvTranspose(_)),
        }
    }
    false
}

/// How a dimension of a view's result lies in what it views: `size` runs of `run` indices of `dim`, over and over.
struct Spread {
    dim: usize,
    size: usize,
    run: usize,
    /// Indices of `dim`.
    all: usize,
}

impl Spread {
    fn of(edit: &GraphEdit<'_, '_>, view: OpId, dim: usize) -> Option<Self> {
        let op = edit.op(view)?;
        let (from, to) = (edit.shape(source(op)?), edit.shape(op.output));
        let size = to[dim];
        let whole = |dim| Some(Self { dim, size, run: 1, all: size });
        match &op.kind {
            OpKindT::Permute(op) => whole(op.order[dim] as usize),
            OpKindT::Slice(op) if op.dim as usize != dim => whole(dim),
            OpKindT::Reshape(_) => (0..from.len()).find_map(|d| {
                let (outer, inner) = (elements(&from[..d]), elements(&from[..=d]));
                let starts = (0..=dim).any(|i| elements(&to[..i]) == outer);
                let ends = (dim + 1..=to.len()).any(|i| elements(&to[..i]) == inner);
                let run = inner / elements(&to[..=dim]);
                (starts && ends).then_some(Self { dim: d, size, run, all: from[d] })
            }),
            _ => None,
        }
    }

    /// One number per index of `dim`.
    fn numbers(&self, numbers: &[f32]) -> Vec<f32> {
        (0..self.all).map(|i| numbers[i / self.run % self.size]).collect()
    }
}

#[cfg(test)]
mod tests {
    use tandem_schemas::program::{Activation, UnaryKind};

    use crate::graph::ValueId;
    use crate::testing::{Build, check, check_untouched};

    /// A convolution to 4 channels of 2x3 pixels.
    fn start() -> (Build, ValueId) {
        let mut b = Build::new();
        let (x, w) = (b.input("x", &[1, 2, 2, 3]), b.constant("w", &[4, 2, 1, 1]));
        let y = b.conv("y", x, w, -1);
        (b, y)
    }

    fn affine(b: &mut Build, src: ValueId, dim: usize) -> ValueId {
        let n = b.shape(src)[dim];
        let (scale, shift) = (b.constant("scale", &[n]), b.constant("shift", &[n]));
        b.affine("n", src, dim, scale, shift)
    }

    #[test]
    fn moves_in_front_of_reshapes_and_permutations() {
        let (mut b, y) = start();
        let r = b.reshape("r", y, &[4, 6]);
        let p = b.permute("p", r, &[1, 0]);
        let n = affine(&mut b, p, 1);
        let a = b.act("a", n, Activation::Relu);
        b.output(a);
        check(
            "elementwise batch_norm elementwise activation",
            b,
            "a.front.front[1, 4, 2, 3] = Conv(x; weight y.weight, kernel [1, 1], bias y.bias, act Relu)
             a.front[4, 6] = Reshape(a.front.front)
             a[6, 4] = Permute(a.front; [1, 0])
             return a",
        );
    }

    #[test]
    fn numbers_of_a_part_of_the_channels_repeat() {
        for (sizes, dim) in [([2, 2, 6], 0), ([2, 2, 6], 1)] {
            let (mut b, y) = start();
            let r = b.reshape("r", y, &sizes);
            let n = affine(&mut b, r, dim);
            b.output(n);
            check(
                "elementwise",
                b,
                "y[1, 4, 2, 3] = Conv(x; weight w, kernel [1, 1])
                 n.front[1, 4, 2, 3] = Affine(y; dim 1, scale n.scale, shift n.shift)
                 n[2, 2, 6] = Reshape(n.front)
                 return n",
            );
        }
    }

    #[test]
    fn moves_in_front_of_a_slice_of_another_dimension() {
        let (mut b, y) = start();
        let s = b.slice("s", y, 2, [1, 1, 1]);
        let n = affine(&mut b, s, 1);
        b.output(n);
        check(
            "elementwise batch_norm",
            b,
            "n.front[1, 4, 2, 3] = Conv(x; weight y.weight, kernel [1, 1], bias y.bias)
             n[1, 4, 1, 3] = Slice(n.front; dim 2, start 1)
             return n",
        );
    }

    #[test]
    fn dimensions_that_are_not_one_of_the_source_stay() {
        let (mut b, y) = start();
        let r = b.reshape("r", y, &[8, 3]);
        let n = affine(&mut b, r, 0);
        b.output(n);
        check_untouched("elementwise", b);
        let (mut b, y) = start();
        let s = b.slice("s", y, 1, [1, 2, 1]);
        let n = affine(&mut b, s, 1);
        b.output(n);
        check_untouched("elementwise", b);
    }

    #[test]
    fn behind_views_of_other_ops_or_read_elsewhere_stays() {
        let mut b = Build::new();
        let x = b.input("x", &[2, 3]);
        let r = b.reshape("r", x, &[3, 2]);
        let y = b.unary("y", r, UnaryKind::MulScalar, 2.0);
        b.output(y);
        check_untouched("elementwise", b);
        let (mut b, y) = start();
        let r = b.reshape("r", y, &[4, 6]);
        let a = b.act("a", r, Activation::Relu);
        b.output(a);
        b.output(r);
        check_untouched("elementwise", b);
    }
}
