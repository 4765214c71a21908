//! Every row against the definition in f64.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, KERNELS, Problem};
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

/// `[batch, heads, tokens, d]`: heads side by side in a token's row, one after the other, or any order.
fn operand(r: &mut Random, sizes: [usize; 4]) -> Strided {
    match r.below(5) {
        0 => r.layout(&sizes),
        1 => Strided::contiguous(&sizes),
        _ => Strided::with_order(&sizes, &[0, 2, 1, 3]),
    }
}

pub(super) fn problem(r: &mut Random, keys: &[usize]) -> Problem {
    let (batch, kv_heads, group) = (r.pick(&[1, 2]), r.pick(&[1, 2, 3]), r.pick(&[1, 1, 2, 3]));
    let (t, s) = (r.pick(&[0, 1, 2, 5, 7, 14, 15, 57, 120]), r.pick(keys));
    let (d, dv) = (r.pick(&[1, 8, 16, 33]), r.pick(&[1, 8, 16, 31, 48]));
    let heads = kv_heads * group;
    let mask = match r.below(3) {
        0 => Some(Strided::contiguous(&[t, s]).broadcast_to(&[batch, heads, t, s]).expect("leading sizes")),
        1 if s > 0 => Some(r.layout(&[batch, heads, t, s])),
        _ => None,
    };
    Problem {
        q: operand(r, [batch, heads, t, d]),
        k: match r.below(4) {
            // Keys are neighbours.
            0 => Strided::with_order(&[batch, kv_heads, s, d], &[0, 1, 3, 2]),
            _ => operand(r, [batch, kv_heads, s, d]),
        },
        v: operand(r, [batch, kv_heads, s, dv]),
        mask,
        dst: operand(r, [batch, heads, t, dv]),
        scale: 1.0 / (d as f32).sqrt(),
        causal: r.below(3) == 0,
    }
}

pub(super) struct Data {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
    pub mask: Vec<f32>,
}

impl Data {
    pub fn new(p: &Problem, r: &mut Random) -> Self {
        let mut mask = r.floats(p.mask.map_or(0, |m| m.extent()));
        // Masks of models hold -inf.
        mask.iter_mut().filter(|x| **x < -1.0).for_each(|x| *x = f32::NEG_INFINITY);
        let [q, k, v] = [p.q, p.k, p.v].map(|s| r.floats(s.extent()));
        Self { q, k, v, mask }
    }
}

pub(super) fn at(shape: &Strided, index: [usize; 4]) -> usize {
    index.iter().zip(shape.strides()).map(|(i, s)| i * s).sum()
}

/// A row of results.
pub(super) fn definition(p: &Problem, data: &Data, [b, h, i]: [usize; 3]) -> Vec<f64> {
    let kv = h / (p.q.size(1) / p.k.size(1));
    let seen = if p.causal { p.k.size(2).min(i + 1) } else { p.k.size(2) };
    let score = |j: usize| {
        let product =
            |c| f64::from(data.q[at(&p.q, [b, h, i, c])]) * f64::from(data.k[at(&p.k, [b, kv, j, c])]);
        let mask = p.mask.map_or(0.0, |m| f64::from(data.mask[at(&m, [b, h, i, j])]));
        (0..p.q.size(3)).map(product).sum::<f64>() * f64::from(p.scale) + mask
    };
    let scores: Vec<f64> = (0..seen).map(score).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return vec![0.0; p.v.size(3)];
    }
    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let value = |c: usize| {
        weights.iter().enumerate().map(|(j, w)| w * f64::from(data.v[at(&p.v, [b, kv, j, c])])).sum::<f64>()
            / sum
    };
    (0..p.v.size(3)).map(value).collect()
}

fn check(p: &Problem, r: &mut Random) {
    let data = Data::new(p, r);
    let [batch, heads, t, dv] = [0, 1, 2, 3].map(|i| p.dst.size(i));
    let mut want = vec![None; p.dst.extent()];
    for index in 0..batch * heads * t {
        let (b, h, i) = (index / t / heads, index / t % heads, index % t);
        let row = definition(p, &data, [b, h, i]);
        (0..dv).for_each(|c| want[at(&p.dst, [b, h, i, c])] = Some(row[c]));
    }
    for row in rows(KERNELS, p) {
        let got = outcome(&vec![CANARY; p.dst.extent()], row.name, |dst, split| {
            let [q, k, v, mask] = [&data.q, &data.k, &data.v, &data.mask].map(|x| Span::from(&x[..]));
            run(row, p, Args { q, k, v, mask, dst: SpanMut::from(dst) }, split);
        });
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            match want {
                // Weights of a few ulp on values below 2 in magnitude.
                Some(want) => {
                    assert!(
                        (f64::from(*got) - want).abs() <= 1e-5,
                        "{} at {i}: {got} for {want} of {p:?}",
                        row.name
                    )
                }
                None => assert!(*got == CANARY, "{} wrote {got} at {i}", row.name),
            }
        }
    }
}

#[test]
fn random_problems() {
    let mut r = Random::new(61);
    for _ in sample(0..80) {
        let p = problem(&mut r, &[0, 1, 2, 7, 16, 31, 33, 100]);
        check(&p, &mut r);
    }
}

#[test]
fn several_blocks_of_keys() {
    let mut r = Random::new(62);
    for (keys, causal) in [(1023, false), (1025, false), (2100, true), (3000, false)] {
        let mut p = problem(&mut r, &[keys]);
        (p.causal, p.q) = (causal, Strided::contiguous(&[1, 2, 17, 8]));
        (p.k, p.v) = (Strided::contiguous(&[1, 1, keys, 8]), Strided::contiguous(&[1, 1, keys, 24]));
        (p.dst, p.mask) = (Strided::with_order(&[1, 2, 17, 24], &[0, 2, 1, 3]), None);
        check(&p, &mut r);
        // Few queries, by runs of keys that some of them do not see.
        let few = Problem {
            q: Strided::contiguous(&[1, 2, 3, 8]),
            dst: Strided::with_order(&[1, 2, 3, 24], &[0, 2, 1, 3]),
            ..p.clone()
        };
        check(&few, &mut r);
        let mask = Strided::contiguous(&[3, keys]).broadcast_to(&[1, 2, 3, keys]);
        check(&Problem { mask, causal: false, ..few }, &mut r);
        // The first block is masked away wholly; the second has the largest scores.
        let mask = Strided::contiguous(&[keys]).broadcast_to(&[1, 2, 17, keys]).expect("leading sizes");
        let data = Data::new(&p, &mut r);
        p.mask = Some(mask);
        let mut hidden = Data { mask: vec![0.0; keys], ..data };
        hidden.mask[..1000.min(keys)].fill(f32::NEG_INFINITY);
        for row in rows(KERNELS, &p) {
            let got = outcome(&vec![CANARY; p.dst.extent()], row.name, |dst, split| {
                let [q, k, v, mask] =
                    [&hidden.q, &hidden.k, &hidden.v, &hidden.mask].map(|x| Span::from(&x[..]));
                run(row, &p, Args { q, k, v, mask, dst: SpanMut::from(dst) }, split);
            });
            for (h, i) in [(0, 0), (1, 9), (1, 16)] {
                let want = definition(&p, &hidden, [0, h, i]);
                for (c, want) in want.iter().enumerate() {
                    let got = f64::from(got[at(&p.dst, [0, h, i, c])]);
                    assert!((got - want).abs() <= 1e-5, "{}: {got} for {want}", row.name);
                }
            }
        }
    }
}
