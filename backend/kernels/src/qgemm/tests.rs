//! Every row against the definition in f64, on random problems with remainders of every tile and panel size.

use tandem_base::{Span, SpanMut, Strided};

use super::*;
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

/// Operands of a problem; column arrays hold rubbish behind n.
pub struct Case {
    pub problem: Problem,
    weights: Vec<i8>,
    lhs: Vec<f32>,
    rhs: Vec<u8>,
    sums: Vec<i32>,
    scaled_sums: Vec<f32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    pub fn new(r: &mut Random, [m, n, k]: [usize; 3], weights: Weights) -> Self {
        let groups = matches!(weights, Weights::I4Groups { .. });
        let dynamic = groups || r.below(2) == 0;
        let affine = |r: &mut Random| Affine { scale: [0.015, 0.02][r.below(2)], zero: r.next() as i8 / 2 };
        let scheme = if dynamic {
            Scheme::Dynamic
        } else {
            let lhs = affine(r);
            Scheme::Static { lhs, dst: Affine { scale: 0.03, ..affine(r) } }
        };
        let matrix = |r: &mut Random, [rows, columns]: [usize; 2]| {
            let gap = r.pick(&[0, 0, 3]);
            Strided::new(&[rows, columns], &[columns + gap, 1])
        };
        let problem = Problem {
            lhs: matrix(r, [m, k]),
            dst: matrix(r, [m, n]),
            weights,
            scheme,
            bias: r.below(3) > 0,
            clamp: r.pick(&[[f32::NEG_INFINITY, f32::INFINITY], [0.0, f32::INFINITY], [-0.5, 0.75]]),
        };
        let limit = if weights == Weights::I8 { 128 } else { 8 };
        let weight: Vec<i8> = (0..k * n).map(|_| (r.below(2 * limit) as i32 - limit as i32) as i8).collect();
        let at = |row: usize, column: usize| weight[row * n + column];
        let rhs = if weights == Weights::I8 { panels::pack_i8(k, n, at) } else { panels::pack_i4(k, n, at) };
        let columns = panels::padded(n);
        let mut sums = vec![i32::MAX; columns];
        for (j, sum) in sums.iter_mut().enumerate().take(n) {
            *sum = (0..k).map(|kk| i32::from(at(kk, j))).sum();
        }
        let scales = problem.scales();
        let step = 1.0 / (limit as f32 * (k as f32).sqrt());
        let scale: Vec<f32> = r.floats(scales * columns).iter().map(|x| (x.abs() + 0.1) * step).collect();
        let mut scaled_sums = vec![f32::NAN; columns];
        for (j, sum) in scaled_sums.iter_mut().enumerate().take(n) {
            let of = |kk: usize| f64::from(at(kk, j)) * f64::from(scale[kk * scales / k * columns + j]);
            *sum = (0..k).map(of).sum::<f64>() as f32;
        }
        Self {
            lhs: r.floats(problem.lhs.extent()),
            bias: r.floats(columns),
            problem,
            weights: weight,
            rhs,
            sums,
            scaled_sums,
            scale,
        }
    }

    pub fn args<'a>(&'a self, dst: &'a mut [f32]) -> Args<'a> {
        Args {
            lhs: Span::from(&self.lhs[..]),
            rhs: Span::from(&self.rhs[..]),
            sums: Span::from(&self.sums[..]),
            scaled_sums: Span::from(&self.scaled_sums[..]),
            scale: Span::from(&self.scale[..]),
            bias: Span::from(&self.bias[..]),
            dst: SpanMut::from(dst),
        }
    }

    /// The definition, and how far a rounding may carry from it.
    fn expected(&self, i: usize, j: usize) -> [f64; 2] {
        let p = &self.problem;
        let [_, n, k] = p.sizes();
        let row = &self.lhs[i * p.lhs.stride(0)..][..k];
        let params = match p.scheme {
            Scheme::Dynamic => Parameters::of(row),
            Scheme::Static { lhs, .. } => Parameters::new(lhs),
        };
        let dynamic = p.scheme == Scheme::Dynamic;
        let byte = |x: f32| i64::from(if dynamic { params.fused(x) } else { params.rounded(x) });
        let scale = |kk: usize| f64::from(self.scale[kk * p.scales() / k * panels::padded(n) + j]);
        let term = |(kk, &x): (usize, &f32)| {
            (byte(x) - i64::from(params.zero)) as f64 * f64::from(self.weights[kk * n + j]) * scale(kk)
        };
        let bias = if p.bias { f64::from(self.bias[j]) } else { 0.0 };
        let sum: f64 = row.iter().enumerate().map(term).sum();
        let value = sum * f64::from(params.scale) + bias;
        // What cancels: the bias, and where k has groups the zero point's part.
        let mut size = value.abs() + bias.abs();
        if p.scales() > 1 || matches!(p.weights, Weights::I4Groups { .. }) {
            size += row.iter().enumerate().map(|x| term(x).abs()).sum::<f64>() * f64::from(params.scale);
            size += 128.0 * f64::from(self.scaled_sums[j].abs() * params.scale);
        }
        let bound = |x: f64| x.max(f64::from(p.clamp[0])).min(f64::from(p.clamp[1]));
        match p.scheme {
            Scheme::Dynamic => [bound(value), 1e-6 * size + 1e-7],
            Scheme::Static { dst, .. } => {
                let unit = f64::from(dst.scale);
                let zero = f64::from(dst.zero);
                let near = (value / unit).round_ties_even().clamp(-128.0 - zero, 127.0 - zero) * unit;
                [near, unit * 1.001]
            }
        }
    }
}

fn check(case: &Case) {
    let p = &case.problem;
    let [m, n, _] = p.sizes();
    let canary = vec![CANARY; p.dst.extent()];
    let mut first: Option<Vec<f32>> = None;
    for row in rows(KERNELS, p) {
        let dst = outcome(&canary, row.name, |dst, split| run(row, p, case.args(dst), split));
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let found = dst[i * p.dst.stride(0) + j];
            if case.lhs[i * p.lhs.stride(0)..][..p.sizes()[2]].iter().all(|x| x.abs() < 1e30) {
                let [mut expected, tolerance] = case.expected(i, j);
                if p.scheme != Scheme::Dynamic {
                    expected =
                        expected.clamp(f64::from(p.clamp[0]) - tolerance, f64::from(p.clamp[1]) + tolerance);
                }
                let error = (f64::from(found) - expected).abs();
                assert!(error <= tolerance, "{} at {i},{j}: {found}, expected {expected}\n{p:?}", row.name);
            }
        }
        // All rows round at the same places: the same bits, NaN aside.
        let first = first.get_or_insert_with(|| dst.clone());
        for (i, (a, b)) in first.iter().zip(&dst).enumerate() {
            let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(same, "{} at {i}: {b}, the reference has {a}\n{p:?}", row.name);
        }
    }
}

const POSITIONS: [usize; 12] = [0, 1, 2, 7, 8, 9, 15, 17, 31, 32, 33, 66];
pub const COLUMNS: [usize; 12] = [0, 1, 7, 15, 16, 17, 31, 32, 33, 48, 49, 65];
pub const DEPTHS: [usize; 14] = [1, 3, 4, 5, 8, 31, 32, 33, 63, 64, 65, 96, 129, 260];

#[test]
fn rows_agree_with_the_definition() {
    for seed in sample(0..120) {
        let mut r = Random::new(seed);
        let sizes = [r.pick(&POSITIONS), r.pick(&COLUMNS), r.pick(&DEPTHS)];
        let weights = r.pick(&[Weights::I8, Weights::I4]);
        check(&Case::new(&mut r, sizes, weights));
    }
}

#[test]
fn rows_agree_where_k_has_groups() {
    for seed in sample(0..60) {
        let mut r = Random::new(seed);
        let size = r.pick(&[32, 64, 128]);
        let sizes = [r.pick(&POSITIONS), r.pick(&COLUMNS), size * r.pick(&[1, 2, 3])];
        check(&Case::new(&mut r, sizes, Weights::I4Groups { size }));
    }
}

#[test]
fn rows_agree_on_numbers_that_are_none() {
    for seed in sample(0..30) {
        let mut r = Random::new(seed);
        let mut case = if seed % 3 == 0 {
            Case::new(&mut r, [9, 17, 64], Weights::I4Groups { size: 32 })
        } else {
            Case::new(&mut r, [9, 17, 37], Weights::I8)
        };
        for _ in 0..4 {
            let at = r.below(case.lhs.len());
            case.lhs[at] = r.pick(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-45]);
        }
        check(&case);
    }
}

#[test]
fn a_row_is_quantised_as_pytorch_does() {
    let of = |row: &[f32]| {
        let p = Parameters::of(row);
        (p.scale, p.zero, row.iter().map(|&x| p.fused(x)).collect::<Vec<_>>())
    };
    assert_eq!(of(&[0.0, 255.0]), (1.0, -128, vec![-128, 127]));
    assert_eq!(of(&[-255.0, 0.0]), (1.0, 127, vec![-128, 127]));
    assert_eq!(of(&[-127.5, 127.5]), (1.0, 0, vec![-128, 127]));
    assert_eq!(of(&[1.0, 3.0]), (3.0 / 255.0, -128, vec![-43, 127]));
    assert_eq!(of(&[0.0, 0.0]), (f32::EPSILON, 127, vec![127, 127]));
}
