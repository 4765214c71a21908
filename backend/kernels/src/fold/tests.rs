//! The row against sums and searches over an array of f64.

use tandem_base::{Span, SpanMut, Strided};

use super::*;
use crate::elementwise::offset;
use crate::testing::{Random, outcome, rows, run, sample};
use crate::types::{Convert, cast, with_type};

const KINDS: [Kind; 9] = [
    Kind::Sum,
    Kind::Prod,
    Kind::Mean,
    Kind::Max,
    Kind::Min,
    Kind::Any,
    Kind::All,
    Kind::ArgMax,
    Kind::ArgMin,
];

fn want(kind: Kind, x: &[f64]) -> f64 {
    let truth = |t: bool| f64::from(u8::from(t));
    let extreme = |sign: f64| {
        let nan = x.iter().position(|x| x.is_nan());
        let first = |best: usize, i: usize| if sign * x[i] > sign * x[best] { i } else { best };
        nan.unwrap_or_else(|| (0..x.len()).fold(0, first))
    };
    match kind {
        Kind::Sum => x.iter().sum(),
        Kind::Prod => x.iter().product(),
        Kind::Mean => x.iter().sum::<f64>() / x.len() as f64,
        Kind::Max => x[extreme(1.0)],
        Kind::Min => x[extreme(-1.0)],
        Kind::Any => truth(x.iter().any(|x| *x != 0.0)),
        Kind::All => truth(x.iter().all(|x| *x != 0.0)),
        Kind::ArgMax => extreme(1.0) as f64,
        Kind::ArgMin => extreme(-1.0) as f64,
    }
}

/// Sums and products of small integers are exact in all types wider than a byte; truth values add to "or".
fn check(r: &mut Random, kind: Kind, of: Type) {
    let sizes = r.sizes(1..5, 40);
    let src = r.layout(&sizes);
    let dims = r.below(1 << sizes.len()) as u32;
    let kept: Vec<usize> = (0..sizes.len()).map(|d| if dims >> d & 1 == 1 { 1 } else { sizes[d] }).collect();
    let p = Problem { src, of, dims, dst: r.layout(&kept), kind };
    // Of nothing there is no extreme.
    if rows(KERNELS, &p).next().is_none() {
        return;
    }
    let mut bytes = vec![];
    let mut values = vec![];
    for _ in 0..src.extent() {
        let x = if of.is_float() && r.below(60) == 0 { f64::NAN } else { r.below(3) as f64 - 1.0 };
        with_type!(of, T => {
            let x: T = cast(x);
            values.push(x.to_f64());
            bytes.extend(bytemuck::bytes_of(&x));
        });
    }
    let to = kind.result(of);
    let mut expected = vec![0.0; p.dst.extent()];
    for index in 0..p.dst.elements() {
        let parts: Vec<f64> = (0..src.elements())
            .filter(|&i| {
                let keep: Vec<usize> = (0..sizes.len()).map(|d| if kept[d] == 1 { 0 } else { 1 }).collect();
                let mut rest = i;
                let mut own = 0;
                let mut factor = 1;
                for d in (0..sizes.len()).rev() {
                    own += rest % sizes[d] * keep[d] * factor;
                    factor *= kept[d];
                    rest /= sizes[d];
                }
                own == index
            })
            .map(|i| values[offset(&src, i)])
            .collect();
        let value = want(kind, &parts);
        let exact = if kind == Kind::Mean { value } else { value as i64 as f64 };
        expected[offset(&p.dst, index)] = with_type!(to, T => cast::<f64, T>(exact).to_f64());
        if value.is_nan() {
            expected[offset(&p.dst, index)] = value;
        }
    }
    for row in rows(KERNELS, &p) {
        let dst = outcome(&vec![0u8; p.dst.extent() * to.width()], row.name, |dst, split| {
            run(row, &p, Args { src: Span::from(&bytes[..]), dst: SpanMut::from(dst) }, split);
        });
        for (i, want) in expected.iter().enumerate() {
            let at = &dst[i * to.width()..][..to.width()];
            let got = with_type!(to, T => bytemuck::pod_read_unaligned::<T>(at).to_f64());
            assert!(got == *want || (got.is_nan() && want.is_nan()), "{i}: {got}, not {want}\n{p:?}");
        }
    }
}

#[test]
fn rows_reduce_as_defined() {
    for seed in sample(0..60) {
        let mut r = Random::new(seed);
        for kind in KINDS {
            let of = r.pick(&[Type::F32, Type::F64, Type::I16, Type::I32, Type::I64, Type::Bool]);
            let of = if kind == Kind::Mean { Type::F64 } else { of };
            check(&mut r, kind, of);
        }
    }
}

#[test]
fn nothing_has_no_extreme() {
    let (src, dst) = (Strided::contiguous(&[0]), Strided::contiguous(&[1]));
    let p = |kind| Problem { src, of: Type::I64, dims: 1, dst, kind };
    assert_eq!(rows(KERNELS, &p(Kind::ArgMax)).count(), 0);
    assert_eq!(rows(KERNELS, &p(Kind::Sum)).count(), 1);
}
