//! Every row against the definition in f64, on random layouts.

use tandem_base::{Span, SpanMut, Strided};

use super::*;
use crate::elementwise::offset;
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

fn problem(r: &mut Random) -> Problem {
    let sizes = r.sizes(1..5, 70);
    let src = r.layout(&sizes);
    let dst = match r.below(3) {
        0 => r.layout(&sizes),
        1 => Strided::contiguous(&sizes),
        _ => src,
    };
    // Steps that powers of two make exact, ties among them, and others.
    let scale = r.pick(&[0.0625, 0.013, 1.0]);
    Problem { src, dst, affine: Affine { scale, zero: r.next() as i8 } }
}

/// Also numbers beyond the range of i8 and none at all.
fn floats(r: &mut Random, n: usize) -> Vec<f32> {
    let mut values = r.floats(n);
    for value in &mut values {
        *value = match r.below(40) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => -1e30,
            3 => -0.0,
            _ => (*value * 64.0).round() / r.pick(&[32.0, 1.3, 0.4]),
        };
    }
    values
}

#[test]
fn rows_quantise_as_defined() {
    for seed in sample(0..150) {
        let mut r = Random::new(seed);
        let p = problem(&mut r);
        let src = floats(&mut r, p.src.extent());
        let mut expected = vec![77i8; p.dst.extent()];
        for i in 0..p.dst.elements() {
            // One rounding of the scale's reciprocal and one of the product come before the one to an integer.
            let x = src[offset(&p.src, i)] * (1.0 / p.affine.scale);
            let near = if x.is_nan() { 0.0 } else { f64::from(x).round_ties_even() };
            expected[offset(&p.dst, i)] = (near + f64::from(p.affine.zero)).clamp(-128.0, 127.0) as i8;
        }
        for row in rows(QUANTISE, &p) {
            let dst = outcome(&vec![77i8; p.dst.extent()], row.name, |dst, split| {
                run(row, &p, Args { src: Span::from(&src[..]), dst: SpanMut::from(dst) }, split);
            });
            assert!(dst == expected, "{}\n{p:?}", row.name);
        }
    }
}

#[test]
fn rows_dequantise_as_defined() {
    for seed in sample(0..150) {
        let mut r = Random::new(seed);
        let p = problem(&mut r);
        let src: Vec<i8> = (0..p.src.extent()).map(|_| r.next() as i8).collect();
        let mut expected = vec![CANARY; p.dst.extent()];
        for i in 0..p.dst.elements() {
            let q = f64::from(src[offset(&p.src, i)]) - f64::from(p.affine.zero);
            expected[offset(&p.dst, i)] = (q * f64::from(p.affine.scale)) as f32;
        }
        for row in rows(DEQUANTISE, &p) {
            let dst = outcome(&vec![CANARY; p.dst.extent()], row.name, |dst, split| {
                run(row, &p, Args { src: Span::from(&src[..]), dst: SpanMut::from(dst) }, split);
            });
            let same = dst.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{}\n{p:?}", row.name);
        }
    }
}
