//! The row against sums over all that came before.

use tandem_base::{Span, SpanMut};

use super::*;
use crate::elementwise::offset;
use crate::testing::{Random, outcome, rows, run, sample};

#[test]
fn rows_run_as_defined() {
    for seed in sample(0..150) {
        let mut r = Random::new(seed);
        let sizes = r.sizes(1..4, 60);
        let dim = r.below(sizes.len());
        let kind = r.pick(&[Kind::Sum, Kind::Prod]);
        let p = Problem { src: r.layout(&sizes), dst: r.layout(&sizes), of: Type::I32, dim, kind };
        let values: Vec<i32> = (0..p.src.extent()).map(|_| r.below(5) as i32 - 2).collect();
        let mut want = vec![-77i32; p.dst.extent()];
        let inner: usize = sizes[dim + 1..].iter().product();
        for i in 0..p.src.elements() {
            let place = i / inner % sizes[dim];
            let before = (0..=place).map(|k| values[offset(&p.src, i - k * inner)]);
            let total = if kind == Kind::Sum {
                before.fold(0i32, i32::wrapping_add)
            } else {
                before.fold(1i32, i32::wrapping_mul)
            };
            want[offset(&p.dst, i)] = total;
        }
        for row in rows(KERNELS, &p) {
            let got = outcome(&vec![-77i32; p.dst.extent()], row.name, |dst, split| {
                let src = Span::from(bytemuck::cast_slice::<i32, u8>(&values));
                let dst = SpanMut::from(bytemuck::cast_slice_mut::<i32, u8>(dst));
                run(row, &p, Args { src, dst }, split);
            });
            assert_eq!(got, want, "{p:?}");
        }
    }
}

#[test]
fn long_sums_of_f32_stay_exact() {
    let n = 1 << 20;
    let shape = Strided::contiguous(&[n]);
    let p = Problem { src: shape, dst: shape, of: Type::F32, dim: 0, kind: Kind::Sum };
    let values = vec![0.1f32; n];
    for row in rows(KERNELS, &p) {
        let got = outcome(&vec![0f32; n], row.name, |dst, split| {
            let src = Span::from(bytemuck::cast_slice::<f32, u8>(&values));
            let dst = SpanMut::from(bytemuck::cast_slice_mut::<f32, u8>(dst));
            run(row, &p, Args { src, dst }, split);
        });
        // The sum in f64 is off by far less than the one rounding to f32.
        assert_eq!(got[n - 1], (n as f64 * f64::from(0.1f32)) as f32);
    }
}

/// Results of a line under every row, as elements of T.
fn line<S: bytemuck::Pod, T: bytemuck::Pod>(p: &Problem, values: &[S], zero: T) -> Vec<Vec<T>> {
    let line = |row| {
        outcome(&vec![zero; values.len()], "line", |dst, split| {
            let src = Span::from(bytemuck::cast_slice::<S, u8>(values));
            let dst = SpanMut::from(bytemuck::cast_slice_mut::<T, u8>(dst));
            run(row, p, Args { src, dst }, split);
        })
    };
    rows(KERNELS, p).map(line).collect()
}

#[test]
fn places_are_of_the_last_extreme_and_of_nan() {
    let shape = Strided::contiguous(&[7]);
    let problem = |kind, of| Problem { src: shape, dst: shape, of, dim: 0, kind };
    for got in line(&problem(Kind::ArgMax, Type::I32), &[3, 1, 3, 2, 5, 4, 5], 0i64) {
        assert_eq!(got, [0, 0, 2, 2, 4, 4, 6]);
    }
    let values = [3.0, 1.0, 2.0, f32::NAN, 0.0, f32::NAN, -1.0];
    for got in line(&problem(Kind::ArgMin, Type::F32), &values, 0i64) {
        assert_eq!(got, [0, 1, 1, 3, 3, 5, 5]);
    }
}

#[test]
fn exponentials_do_not_overflow() {
    let mut r = Random::new(5);
    let values: Vec<f32> = r.floats(200).into_iter().map(|x| 300.0 * x).collect();
    let shape = Strided::contiguous(&[200]);
    let p = Problem { src: shape, dst: shape, of: Type::F32, dim: 0, kind: Kind::LogSumExp };
    for got in line(&p, &values, 0f32) {
        for i in 0..200 {
            let largest = values[..=i].iter().fold(f64::NEG_INFINITY, |m, &x| m.max(f64::from(x)));
            let sum: f64 = values[..=i].iter().map(|&x| (f64::from(x) - largest).exp()).sum();
            let want = largest + sum.ln();
            assert!((f64::from(got[i]) - want).abs() <= 1e-6 * want.abs(), "{i}: {} for {want}", got[i]);
        }
    }
    let few = Strided::contiguous(&[4]);
    let p = Problem { src: few, dst: few, ..p };
    for got in line(&p, &[f32::NEG_INFINITY, 1.0, f32::INFINITY, f32::INFINITY], 0f32) {
        assert_eq!(got, [f32::NEG_INFINITY, 1.0, f32::INFINITY, f32::INFINITY]);
    }
}
