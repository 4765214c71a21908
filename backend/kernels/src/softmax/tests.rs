//! Every row against the definition in f64.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, KERNELS, Problem};
use crate::elementwise::offset;
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

/// Offsets of the elements of every row, in source and destination.
fn lines(p: &Problem) -> Vec<Vec<[usize; 2]>> {
    let mut sizes = p.src.sizes().to_vec();
    let n = std::mem::replace(&mut sizes[p.dim], 1);
    let [from, to] = [p.src, p.dst].map(|s| Strided::new(&sizes, s.strides()));
    let line = |row| {
        let at = [offset(&from, row), offset(&to, row)];
        (0..n).map(|i| [at[0] + i * p.src.stride(p.dim), at[1] + i * p.dst.stride(p.dim)]).collect()
    };
    (0..from.elements()).map(line).collect()
}

fn results(p: &Problem, src: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let mut all = Vec::new();
    for row in rows(KERNELS, p) {
        all.push((
            row.name,
            outcome(&vec![CANARY; p.dst.extent()], row.name, |dst, split| {
                run(row, p, Args { src: Span::from(src), dst: SpanMut::from(dst) }, split);
            }),
        ));
        if p.src == p.dst {
            let whole = outcome(src, row.name, |dst, split| {
                let dst = SpanMut::from(dst);
                run(row, p, Args { src: dst.read(), dst }, split);
            });
            all.push((row.name, whole));
        }
    }
    all
}

#[test]
fn random_problems() {
    let mut r = Random::new(41);
    for _ in sample(0..300) {
        let big = r.pick(&[8, 16, 32, 64, 200]);
        let sizes = r.sizes(1..5, big);
        let (src, dim) = (r.layout(&sizes), r.below(sizes.len()));
        let dst = if r.below(2) == 0 { src } else { r.layout(&sizes) };
        let p = Problem { src, dst, dim, log: r.below(2) == 0 };
        let data: Vec<f32> = r.floats(src.extent()).into_iter().map(|x| x * 20.0).collect();
        for (name, got) in results(&p, &data) {
            for line in lines(&p) {
                let x: Vec<f64> = line.iter().map(|at| f64::from(data[at[0]])).collect();
                let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
                for (x, at) in x.iter().zip(&line) {
                    let want = if p.log { x - max - sum.ln() } else { (x - max).exp() / sum };
                    let got = f64::from(got[at[1]]);
                    // Exponentials to a few ulp of distances below 80; a logarithm's error is absolute.
                    let bound = if p.log { 2e-5 } else { 1e-5 * want + 1e-37 };
                    assert!((got - want).abs() <= bound, "{name}: {got} for {want} of {p:?}");
                }
            }
        }
    }
}

#[test]
fn infinities_and_nan_are_pytorchs() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    // PyTorch 2.14: a row of -inf and a row with inf or NaN give NaN, -inf beside numbers gives 0.
    for (dim, order) in [(1, [0, 1]), (0, [0, 1])] {
        let n = 37;
        for (special, all) in [(-inf, false), (-inf, true), (inf, false), (nan, false)] {
            let sizes = if dim == 1 { [17, n] } else { [n, 17] };
            let src = Strided::with_order(&sizes, &order);
            let p = Problem { src, dst: src, dim, log: false };
            let mut data = vec![if all { special } else { 0.5 }; src.extent()];
            data[0] = special;
            for (name, got) in results(&p, &data) {
                let dead = all || special != -inf;
                let want = if dead { nan } else { 0.0 };
                assert!(
                    got[0] == want || (got[0].is_nan() && want.is_nan()),
                    "{name}: {} for {special}",
                    got[0]
                );
                let next = got[src.stride(dim)];
                assert!(next.is_nan() == dead, "{name}: {next} beside {special}");
            }
        }
    }
}
