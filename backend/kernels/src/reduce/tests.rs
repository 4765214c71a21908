//! Every row against the definition in f64.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, KERNELS, Kind, Problem};
use crate::elementwise::offset;
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

fn results(p: &Problem, src: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let result = |row: &'static crate::Kernel<super::Reduce>| {
        let got = outcome(&vec![CANARY; p.dst.extent()], row.name, |dst, split| {
            run(row, p, Args { src: Span::from(src), dst: SpanMut::from(dst) }, split);
        });
        (row.name, got)
    };
    rows(KERNELS, p).map(result).collect()
}

/// The values behind every result, with the result's offset.
fn values(p: &Problem, src: &[f32]) -> Vec<(usize, Vec<f64>)> {
    let mut all: Vec<_> = (0..p.dst.elements()).map(|i| (offset(&p.dst, i), Vec::new())).collect();
    for i in 0..p.src.elements() {
        let (mut left, mut result, mut step) = (i, 0, 1);
        for d in (0..p.src.rank()).rev() {
            let at = left % p.src.size(d);
            left /= p.src.size(d);
            if p.dims >> d & 1 == 0 {
                result += at * step;
                step *= p.src.size(d);
            }
        }
        all[result].1.push(f64::from(src[offset(&p.src, i)]));
    }
    all
}

fn definition(kind: Kind, values: &[f64]) -> f64 {
    match kind {
        Kind::Sum => values.iter().sum(),
        Kind::Mean => values.iter().sum::<f64>() / values.len() as f64,
        Kind::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Kind::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Kind::Prod => values.iter().product(),
    }
}

const KINDS: [Kind; 5] = [Kind::Sum, Kind::Mean, Kind::Max, Kind::Min, Kind::Prod];

#[test]
fn random_problems() {
    let mut r = Random::new(51);
    for _ in sample(0..400) {
        let big = r.pick(&[8, 16, 32, 64, 128, 300]);
        let sizes = r.sizes(1..5, big);
        let dims = r.below(1 << sizes.len()) as u32;
        let kept: Vec<usize> =
            sizes.iter().enumerate().map(|(d, &n)| if dims >> d & 1 == 1 { 1 } else { n }).collect();
        let p = Problem { src: r.layout(&sizes), dims, dst: r.layout(&kept), kind: r.pick(&KINDS) };
        let src = r.floats(p.src.extent());
        for (name, got) in results(&p, &src) {
            for (at, values) in values(&p, &src) {
                let (got, want) = (f64::from(got[at]), definition(p.kind, &values));
                // f32 sums of at most 256 values before they are widened; products round once per factor.
                let size: f64 = values.iter().map(|x| x.abs()).sum();
                let bound = match p.kind {
                    Kind::Max | Kind::Min => 0.0,
                    Kind::Prod => want.abs() * 1e-6 * values.len().max(4) as f64 + 1e-37,
                    Kind::Sum => 4e-6 * size.max(1e-3),
                    Kind::Mean => 4e-6 * (size / values.len() as f64).max(1e-3),
                };
                let same = got == want || (got.is_nan() && want.is_nan());
                let overflow = p.kind == Kind::Prod && want.abs() > 1e37;
                assert!(same || overflow || (got - want).abs() <= bound, "{name}: {got} for {want} of {p:?}");
            }
        }
    }
}

#[test]
fn long_sums_keep_their_digits() {
    let mut r = Random::new(52);
    let sizes = [3, 40, 90, 100];
    for (order, dims) in [([0, 1, 2, 3], 0b1100), ([0, 2, 3, 1], 0b1100), ([0, 1, 2, 3], 0b1111)] {
        let kept = [0, 1, 2, 3].map(|d| if dims >> d & 1 == 1 { 1 } else { sizes[d] });
        let src = Strided::with_order(&sizes, &order);
        let p = Problem { src, dims, dst: Strided::contiguous(&kept), kind: Kind::Mean };
        let data: Vec<f32> = r.floats(src.extent()).into_iter().map(|x| 100.0 + x).collect();
        for (name, got) in results(&p, &data) {
            for (at, values) in values(&p, &data) {
                let want = definition(Kind::Mean, &values);
                assert!((f64::from(got[at]) - want).abs() <= 4e-6 * want, "{name}: {} for {want}", got[at]);
            }
        }
    }
}

#[test]
fn nan_wins_an_extreme() {
    for (order, dims) in [([0, 1], 0b10), ([1, 0], 0b10)] {
        for kind in [Kind::Max, Kind::Min] {
            for at in [0, 5, 36, 69] {
                let src = Strided::with_order(&[20, 70], &order);
                let p = Problem { src, dims, dst: Strided::contiguous(&[20, 1]), kind };
                let mut data = vec![1.0; src.extent()];
                data[3 * src.stride(0) + at * src.stride(1)] = f32::NAN;
                for (name, got) in results(&p, &data) {
                    for (row, got) in got.iter().enumerate() {
                        assert!(got.is_nan() == (row == 3), "{name}: {got} in row {row}");
                    }
                }
            }
        }
    }
}
