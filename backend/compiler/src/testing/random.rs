//! Random graphs compute the same with all passes, and with all but one.

use proptest::prelude::*;
use tandem_schemas::program::{Activation, BinaryKind, UnaryKind};

use super::build::{Build, number};
use super::{difference, inputs, interpret};
use crate::dynamic::Dims;
use crate::graph::{Graph, ValueId, text};
use crate::tensor::elements;
use crate::{Options, emit, passes};

/// Most elements of a value.
const MAX_ELEMENTS: usize = 1024;

/// Numbers that decide one step.
type Dice = [u8; 6];

/// A graph that grows by one pattern at a time.
struct Grow {
    b: Build,
    values: Vec<ValueId>,
    names: usize,
}

impl Grow {
    fn new(dice: &[Dice]) -> Self {
        let mut b = Build::new();
        let values = vec![b.input("x", &[2, 6, 8]), b.input("y", &[1, 8, 4, 4]), b.input("z", &[1, 4, 4, 4])];
        let mut grow = Self { b, values, names: 0 };
        for (i, dice) in dice.iter().enumerate() {
            let back = usize::from(dice[1] % 8).saturating_sub(4).min(grow.values.len() - 1);
            let src = grow.values[grow.values.len() - 1 - back];
            let value = if i % 4 == 0 { grow.product(*dice, src) } else { grow.follower(*dice, src) };
            if let Some(value) = value.filter(|&v| elements(&grow.b.shape(v)) <= MAX_ELEMENTS) {
                grow.values.push(value);
                if dice[5].is_multiple_of(8) {
                    grow.b.output(value);
                }
            }
        }
        let last = grow.values[grow.values.len() - 1];
        grow.b.output(last);
        grow
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    /// Made-up numbers that keep sums of `terms` products near 1.
    fn constant(&mut self, shape: &[usize], terms: usize) -> ValueId {
        let (name, factor) = (self.name(), (3.0 / terms as f32).sqrt());
        let seed = 733 * self.names;
        let data = (0..elements(shape)).map(|i| number(seed + i) * factor).collect();
        self.b.numbers(&name, shape, data)
    }

    /// A vector of `n`, or none.
    fn maybe(&mut self, wanted: bool, n: usize) -> ValueId {
        if wanted { self.constant(&[n], 3) } else { -1 }
    }

    /// A product that reads `src`, if it is one that fits.
    fn product(&mut self, dice: Dice, src: ValueId) -> Option<ValueId> {
        match (dice[0] % 8, self.b.shape(src).len()) {
            (0..=2, 4) => self.conv(dice, src),
            (3, 4) => self.spatial(dice, src),
            (4, 4) => Some(self.pointwise(dice, src)),
            (5, 3..=4) => Some(self.attention(dice, src)),
            (_, 2..) => Some(self.linear(dice, src)),
            _ => None,
        }
    }

    /// Something that follows products and reads `src`, if it is one that fits.
    fn follower(&mut self, dice: Dice, src: ValueId) -> Option<ValueId> {
        let name = self.name();
        match (dice[0] % 12, self.b.shape(src).len()) {
            (0..=2, _) => {
                let kinds =
                    [Activation::Relu, Activation::HardSwish, Activation::GeluTanh, Activation::Sigmoid];
                Some(self.b.act(&name, src, kinds[usize::from(dice[2]) % 4]))
            }
            (3, 2..) => Some(self.affine(dice, src)),
            (4, 1..) => self.arithmetic(dice, src),
            (5..=6, _) => self.sum(dice, src),
            (7, 4) => self.pixel_shuffle(dice, src),
            (8, 2..) => self.concat(dice, src),
            (9..=10, 2..) => self.view(dice, src),
            (_, 1..) => Some(self.b.norm(&name, src)),
            _ => None,
        }
    }

    fn conv(&mut self, dice: Dice, src: ValueId) -> Option<ValueId> {
        let c = self.b.shape(src)[1];
        let groups = if dice[2].is_multiple_of(4) && c.is_multiple_of(2) { 2 } else { 1 };
        let (n, side) = (4 << (dice[3] % 2), 1 + usize::from(dice[3] & 2));
        let w = self.constant(&[n, c / groups, side, side], c * side * side / groups);
        let (bias, name) = (self.maybe(dice[4].is_multiple_of(2), n), self.name());
        Some(self.b.grouped(&name, src, w, bias, groups as u32))
    }

    /// A depthwise or a transposed convolution.
    fn spatial(&mut self, dice: Dice, src: ValueId) -> Option<ValueId> {
        let shape = self.b.shape(src);
        let c = shape[1];
        let bias = self.maybe(dice[4].is_multiple_of(2), c);
        if dice[2].is_multiple_of(2) {
            let w = self.constant(&[c, 1, 3, 3], 9);
            let name = self.name();
            return Some(self.b.depthwise(&name, src, w, bias));
        }
        let groups = if dice[3].is_multiple_of(2) && c.is_multiple_of(2) { 2 } else { 1 };
        let w = self.constant(&[c, c / groups, 3, 3], 9 * c / groups);
        let name = self.name();
        (shape[2] * shape[3] <= 16).then(|| self.b.conv_transpose(&name, src, w, bias, groups as u32))
    }

    /// A linear layer, or a product with a constant matrix.
    fn linear(&mut self, dice: Dice, src: ValueId) -> ValueId {
        let shape = self.b.shape(src);
        let (k, n) = (shape[shape.len() - 1], 4 << (dice[2] % 2));
        if dice[3].is_multiple_of(3) {
            let mut matrix = vec![1; shape.len() - 2];
            matrix.extend([k, n]);
            let m = self.constant(&matrix, k);
            let name = self.name();
            return self.b.matmul(&name, src, m, 0.5);
        }
        let (w, bias) = (self.constant(&[n, k], k), self.maybe(dice[4].is_multiple_of(2), n));
        let name = self.name();
        self.b.linear(&name, src, w, bias)
    }

    fn affine(&mut self, dice: Dice, src: ValueId) -> ValueId {
        let shape = self.b.shape(src);
        let dim = if dice[2].is_multiple_of(4) { shape.len() - 1 } else { 1 };
        let scale = self.maybe(!dice[3].is_multiple_of(3), shape[dim]);
        let shift = self.maybe(dice[3] % 3 != 1, shape[dim]);
        let name = self.name();
        self.b.affine(&name, src, dim, scale, shift)
    }

    /// With a constant that broadcasts.
    fn arithmetic(&mut self, dice: Dice, src: ValueId) -> Option<ValueId> {
        let shape = self.b.shape(src);
        let rank = shape.len();
        let other = match dice[2] % 5 {
            0 => vec![],
            1 => vec![1; rank],
            2 => vec![shape[rank - 1]],
            3 if rank >= 2 => (1..rank).map(|d| if d == 1 { shape[1] } else { 1 }).collect(),
            _ => shape,
        };
        let other = self.constant(&other, 3);
        let (a, b) = if dice[3].is_multiple_of(2) { (src, other) } else { (other, src) };
        let kind =
            [BinaryKind::Add, BinaryKind::Mul, BinaryKind::Sub, BinaryKind::Max][usize::from(dice[4]) % 4];
        let name = self.name();
        Some(self.b.binary(&name, kind, a, b))
    }

    fn concat(&mut self, dice: Dice, src: ValueId) -> Option<ValueId> {
        let shape = self.b.shape(src);
        let dim = if dice[2].is_multiple_of(4) { shape.len() - 1 } else { 1 };
        let fits = |other: &[usize]| {
            other.len() == shape.len() && (0..shape.len()).all(|d| d == dim || shape[d] == other[d])
        };
        let others: Vec<ValueId> = self.values.iter().copied().filter(|&v| fits(&self.b.shape(v))).collect();
        let other = others[usize::from(dice[3]) % others.len()];
        let name = self.name();
        Some(self.b.concat(&name, &[src, other], dim))
    }

    /// With another value, or with a part of this one spread over it.
    fn sum(&mut self, dice: Dice, src: ValueId) -> Option<ValueId> {
        let shape = self.b.shape(src);
        let others: Vec<ValueId> =
            self.values.iter().copied().filter(|&v| self.b.shape(v) == shape).collect();
        let mut other = others[usize::from(dice[2]) % others.len()];
        if dice[3].is_multiple_of(4) && !shape.is_empty() {
            let (slice, expand) = (self.name(), self.name());
            let part = self.b.slice(&slice, other, shape.len() - 1, [0, 1, 1]);
            other = self.b.expand(&expand, part, &shape);
        }
        let name = self.name();
        let (a, b) = if dice[4].is_multiple_of(2) { (src, other) } else { (other, src) };
        Some(self.b.binary_alpha(&name, BinaryKind::Add, a, b, if dice[5] % 8 == 1 { 0.5 } else { 1.0 }))
    }

    fn pixel_shuffle(&mut self, dice: Dice, src: ValueId) -> Option<ValueId> {
        let [n, c, h, w] = self.b.shape(src)[..] else { return None };
        let [split, turned, name] = [self.name(), self.name(), self.name()];
        if !c.is_multiple_of(4) {
            return None;
        }
        if dice[2].is_multiple_of(2) {
            return Some(self.b.pixel_shuffle(&name, src, 2));
        }
        let value = self.b.reshape(&split, src, &[n, c / 4, 2, 2, h, w]);
        let value = self.b.permute(&turned, value, &[0, 1, 4, 2, 5, 3]);
        Some(self.b.reshape(&name, value, &[n, c / 4, 2 * h, 2 * w]))
    }

    /// Self-attention of an image's pixels or of rows, in two heads or none.
    fn attention(&mut self, dice: Dice, src: ValueId) -> ValueId {
        let shape = self.b.shape(src);
        let (t, c) = (shape[1], shape[2..].iter().product::<usize>());
        let heads = dice[2].is_multiple_of(2) && c.is_multiple_of(2);
        let [split, turned, key, scores, masked, weights, out] = [(); 7].map(|()| self.name());
        let (q, back) = if heads {
            let rows = self.b.reshape(&split, src, &[shape[0], t, 2, c / 2]);
            (self.b.permute(&turned, rows, &[0, 2, 1, 3]), vec![0, 1, 3, 2])
        } else {
            (self.b.reshape(&split, src, &[shape[0], t, c]), vec![0, 2, 1])
        };
        let k = self.b.permute(&key, q, &back);
        let scale = if dice[3].is_multiple_of(2) { 0.25 } else { 1.0 };
        let mut value = self.b.matmul(&scores, q, k, scale);
        match dice[4] % 4 {
            0 => {
                let mask = self.constant(&[t, t], 3);
                value = self.b.add(&masked, value, mask);
            }
            1 => {
                let mask = self.constant(&[t], 3);
                value = self.b.add(&masked, value, mask);
            }
            2 => value = self.b.unary(&masked, value, UnaryKind::MulScalar, 0.5),
            _ => {}
        }
        let value = self.b.softmax(&weights, value, back.len() - 1);
        self.b.matmul(&out, value, q, 1.0)
    }

    fn view(&mut self, dice: Dice, src: ValueId) -> Option<ValueId> {
        let (shape, name) = (self.b.shape(src), self.name());
        let rank = shape.len();
        let mut order: Vec<usize> = (0..rank).collect();
        match dice[2] % 8 {
            0 => Some(self.b.reshape(&name, src, &[&[shape[0] * shape[1]], &shape[2..]].concat())),
            1 if rank < 5 => Some(self.b.reshape(&name, src, &[&[1], &shape[..]].concat())),
            2 if shape[rank - 1].is_multiple_of(2) && rank < 5 => {
                Some(self.b.reshape(&name, src, &[&shape[..rank - 1], &[2, shape[rank - 1] / 2]].concat()))
            }
            3 => {
                order.swap(rank - 1, rank - 2);
                Some(self.b.permute(&name, src, &order))
            }
            4 => {
                order.swap(0, usize::from(dice[3]) % rank);
                Some(self.b.permute(&name, src, &order))
            }
            5..=6 => {
                let (dim, step) = (usize::from(dice[3]) % rank, 1 + usize::from(dice[4] % 2));
                let start = usize::from(shape[dim] > 1);
                Some(self.b.slice(&name, src, dim, [start, (shape[dim] - start).div_ceil(step), step]))
            }
            _ => Some(self.b.unary(&name, src, UnaryKind::Identity, 0.0)),
        }
    }

    /// A linear layer on channels between permutations.
    fn pointwise(&mut self, dice: Dice, src: ValueId) -> ValueId {
        let [last, first] = [self.name(), self.name()];
        let value = self.b.permute(&last, src, &[0, 2, 3, 1]);
        let value = self.linear(dice, value);
        if dice[5].is_multiple_of(4) { value } else { self.b.permute(&first, value, &[0, 3, 1, 2]) }
    }
}

/// The graph with all passes, or all but one.
fn optimized(graph: &Graph<'static>, without: Option<&str>) -> Graph<'static> {
    let mut graph = graph.clone();
    passes::run(&mut graph, &Options { without: without.map(str::to_owned).into_iter().collect() }).unwrap();
    graph
}

fn emitted(graph: &Graph<'_>) -> bool {
    let mut graph = graph.clone();
    emit::separate_outputs(&mut graph);
    emit::emit(&graph, &Dims::default()).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn passes_keep_results(dice in prop::collection::vec(any::<Dice>(), 1..20)) {
        let graph = Grow::new(&dice).b.graph();
        let inputs = inputs(&graph);
        let expected = interpret(&graph, &inputs);
        for without in std::iter::once(None).chain(passes::names().map(Some)) {
            let rewritten = optimized(&graph, without);
            let difference = difference(&expected, &interpret(&rewritten, &inputs));
            let texts = || format!("without {without:?}\n{}\n{}", text(&graph), text(&rewritten));
            prop_assert!(difference < 1e-4, "results differ by {difference}, {}", texts());
            for pass in passes::names().filter(|&name| Some(name) != without) {
                prop_assert_eq!(passes::run_one(&mut rewritten.clone(), pass).unwrap(), 0, "{}, {}", pass, texts());
            }
            prop_assert!(emitted(&rewritten), "{}", texts());
        }
    }
}
