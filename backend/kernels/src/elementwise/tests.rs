//! Every row against the definition in f64 on random shapes, strides and functions.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, Func, KERNELS, Problem, offset};
use crate::epilogue::Act;
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

fn act(act: Act, x: f64) -> f64 {
    match act {
        Act::None => x,
        Act::Relu => x.max(0.0),
        Act::Clamp { lo, hi } => x.max(f64::from(lo)).min(f64::from(hi)),
        Act::Silu => x / (1.0 + (-x).exp()),
        Act::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        other => unreachable!("{other:?} is tested on vectors"),
    }
}

fn reference(func: Func, [x, y, z]: [f64; 3]) -> f64 {
    match func {
        Func::Act(a) => act(a, x),
        Func::Neg => -x,
        Func::Abs => x.abs(),
        Func::Exp => x.exp(),
        Func::Log => x.ln(),
        Func::Sqrt => x.sqrt(),
        Func::Rsqrt => 1.0 / x.sqrt(),
        Func::Reciprocal => 1.0 / x,
        Func::Square => x * x,
        Func::Sin => x.sin(),
        Func::Cos => x.cos(),
        Func::Erf => libm::erf(x),
        Func::Log2 => x.log2(),
        Func::Log10 => x.log10(),
        Func::Log1p => x.ln_1p(),
        Func::Expm1 => x.exp_m1(),
        Func::Tan => x.tan(),
        Func::Asin => x.asin(),
        Func::Acos => x.acos(),
        Func::Atan => x.atan(),
        Func::Sinh => x.sinh(),
        Func::Cosh => x.cosh(),
        Func::Asinh => x.asinh(),
        Func::Acosh => x.acosh(),
        Func::Atanh => x.atanh(),
        Func::Floor => x.floor(),
        Func::Ceil => x.ceil(),
        Func::Round => x.round_ties_even(),
        Func::Trunc => x.trunc(),
        Func::Sign => f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
        Func::PowScalar(a) => x.powf(f64::from(a)),
        Func::AddScalar(a) => x + f64::from(a),
        Func::MulScalar(a) => x * f64::from(a),
        Func::Add(a) => x + f64::from(a) * y,
        Func::Sub(a) => x - f64::from(a) * y,
        Func::Mul => x * y,
        Func::Div => x / y,
        Func::Max => x.max(y),
        Func::Min => x.min(y),
        Func::Pow => x.powf(y),
        Func::Atan2 => x.atan2(y),
        Func::MulAdd => x * y + z,
    }
}

const FUNCS: [Func; 52] = [
    Func::Act(Act::None),
    Func::Act(Act::Relu),
    Func::Act(Act::Silu),
    Func::Act(Act::Gelu),
    Func::Neg,
    Func::Abs,
    Func::Exp,
    Func::Log,
    Func::Sqrt,
    Func::Rsqrt,
    Func::Reciprocal,
    Func::Square,
    Func::Sin,
    Func::Cos,
    Func::Erf,
    Func::Log2,
    Func::Log10,
    Func::Log1p,
    Func::Expm1,
    Func::Tan,
    Func::Asin,
    Func::Acos,
    Func::Atan,
    Func::Sinh,
    Func::Cosh,
    Func::Asinh,
    Func::Acosh,
    Func::Atanh,
    Func::Floor,
    Func::Ceil,
    Func::Round,
    Func::Trunc,
    Func::Sign,
    Func::PowScalar(0.5),
    Func::PowScalar(2.0),
    Func::PowScalar(3.0),
    Func::PowScalar(-0.5),
    Func::PowScalar(-1.0),
    Func::PowScalar(-2.0),
    Func::PowScalar(1.7),
    Func::AddScalar(0.3),
    Func::MulScalar(-1.5),
    Func::Add(1.0),
    Func::Add(0.25),
    Func::Sub(1.0),
    Func::Mul,
    Func::Div,
    Func::Max,
    Func::Min,
    Func::Pow,
    Func::Atan2,
    Func::MulAdd,
];

/// The sizes, or some of them 1, broadcast.
fn operand(random: &mut Random, sizes: &[usize]) -> Strided {
    let keep = random.below(3);
    let own: Vec<usize> =
        sizes.iter().map(|&n| if keep == 0 || (keep == 1 && random.below(2) == 0) { n } else { 1 }).collect();
    let own = if keep == 0 { sizes.to_vec() } else { own };
    random.layout(&own).broadcast_to(sizes).unwrap()
}

fn check(problem: &Problem, random: &mut Random) {
    let inside = |x: f32| match problem.func {
        Func::Log | Func::Log2 | Func::Log10 | Func::Sqrt | Func::Rsqrt => x.abs() + 0.01,
        Func::PowScalar(_) | Func::Pow => x.abs() + 0.01,
        Func::Log1p | Func::Asin | Func::Acos | Func::Atanh => 0.49 * x,
        Func::Acosh => 1.0 + x.abs(),
        _ => x,
    };
    let src: Vec<Vec<f32>> =
        problem.src.iter().map(|s| random.floats(s.extent()).into_iter().map(inside).collect()).collect();
    let dst = vec![CANARY; problem.dst.extent() + 3];
    for row in rows(KERNELS, problem) {
        let got = outcome(&dst, row.name, |dst, split| {
            let mut spans = [Span::empty(); 3];
            for (span, src) in spans.iter_mut().zip(&src) {
                *span = Span::from(&src[..]);
            }
            run(row, problem, Args { src: spans, dst: SpanMut::from(dst) }, split);
        });
        let mut want = dst.iter().map(|x| (f64::from(*x), 0.0)).collect::<Vec<_>>();
        for index in 0..problem.dst.elements() {
            let mut x = [0f64; 3];
            for ((x, shape), src) in x.iter_mut().zip(&problem.src).zip(&src) {
                *x = f64::from(src[offset(shape, index)]);
            }
            let y = reference(problem.func, x);
            // 8 ulp of the largest term that enters a sum.
            let scale = x.iter().fold(y.abs(), |a, b| a.max(b.abs() * 2.0));
            want[offset(&problem.dst, index)] = (act(problem.act, y), 8.0 * scale / (1u64 << 23) as f64);
        }
        for (i, (got, (want, tolerance))) in got.iter().zip(want).enumerate() {
            let error = (f64::from(*got) - want).abs();
            assert!(error <= tolerance, "{}: {problem:?} at {i}: {got}, not {want}", row.name);
        }
    }
}

#[test]
fn any_shape_and_function() {
    let mut random = Random::new(1);
    for i in sample(0..600) {
        let sizes = random.sizes(0..5, if i % 50 == 0 { 2049 } else { 33 });
        let func = FUNCS[i % FUNCS.len()];
        let src = (0..func.arity()).map(|_| operand(&mut random, &sizes)).collect();
        let act = random.pick(&[Act::None, Act::None, Act::Relu, Act::Clamp { lo: -0.5, hi: 1.0 }]);
        let problem = Problem { func, src, dst: random.layout(&sizes), act };
        check(&problem, &mut random);
    }
}

#[test]
fn several_tiles() {
    let mut random = Random::new(2);
    let image = Strided::with_order(&[1, 24, 48, 50], &[0, 2, 3, 1]);
    let channels = Strided::contiguous(&[24, 1, 1]).broadcast_to(image.sizes()).unwrap();
    let tokens = Strided::contiguous(&[197, 300]);
    let row = Strided::contiguous(&[300]).broadcast_to(tokens.sizes()).unwrap();
    let column = Strided::contiguous(&[197, 1]).broadcast_to(tokens.sizes()).unwrap();
    for (func, src, dst) in [
        (Func::MulAdd, vec![image, channels, channels], image),
        (Func::Add(1.0), vec![tokens, row], tokens),
        (Func::Mul, vec![tokens, column], tokens),
        (Func::Mul, vec![column, row], tokens),
        (Func::Add(1.0), vec![image, Strided::contiguous(image.sizes())], image),
    ] {
        check(&Problem { func, src: src.into(), dst, act: Act::Relu }, &mut random);
    }
}

#[test]
fn in_place() {
    let mut random = Random::new(3);
    for shape in
        [Strided::contiguous(&[7, 2500]), Strided::new(&[3, 5, 40], &[400, 50, 1]), random.layout(&[5, 6, 7])]
    {
        let row = Strided::contiguous(&[shape.size(shape.rank() - 1)]).broadcast_to(shape.sizes()).unwrap();
        let bias = random.floats(row.extent());
        let start = random.floats(shape.extent());
        let problem = Problem {
            func: Func::Add(1.0),
            src: [shape, row].into_iter().collect(),
            dst: shape,
            act: Act::Relu,
        };
        for kernel in rows(KERNELS, &problem) {
            let got = outcome(&start, kernel.name, |dst, split| {
                let dst = SpanMut::from(dst);
                let src = [dst.as_span(), Span::from(&bias[..]), Span::empty()];
                run(kernel, &problem, Args { src, dst }, split);
            });
            let mut want = start.clone();
            for i in 0..shape.elements() {
                let at = offset(&shape, i);
                want[at] = (start[at] + bias[offset(&row, i)]).max(0.0);
            }
            assert_eq!(got, want, "{}", kernel.name);
        }
    }
}

#[test]
fn nan_and_infinity_follow_pytorch() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [nan, 1.0, inf, -inf, nan, -0.0, 2.0];
    let y = [1.0, nan, -inf, inf, nan, 0.0, 2.5];
    let cases = [
        (Func::Max, [nan, nan, inf, inf, nan, 0.0, 2.5]),
        (Func::Min, [nan, nan, -inf, -inf, nan, -0.0, 2.0]),
        (Func::Act(Act::Relu), [nan, 1.0, inf, 0.0, nan, -0.0, 2.0]),
        (Func::Sign, [0.0, 1.0, 1.0, -1.0, 0.0, 0.0, 1.0]),
        (Func::Reciprocal, [nan, 1.0, 0.0, -0.0, nan, -inf, 0.5]),
        (Func::Mul, [nan, nan, -inf, -inf, nan, -0.0, 5.0]),
        (Func::PowScalar(2.0), [nan, 1.0, inf, inf, nan, 0.0, 4.0]),
    ];
    let shape = Strided::contiguous(&[x.len()]);
    for (func, want) in cases {
        let problem = Problem { func, src: vec![shape; func.arity()].into(), dst: shape, act: Act::None };
        for row in rows(KERNELS, &problem) {
            let got = outcome(&[0f32; 7], row.name, |dst, split| {
                let src = [Span::from(&x[..]), Span::from(&y[..]), Span::empty()];
                run(row, &problem, Args { src, dst: SpanMut::from(dst) }, split);
            });
            for (i, (got, want)) in got.iter().zip(want).enumerate() {
                let same = (got.is_nan() && want.is_nan()) || *got == want;
                assert!(same, "{}: {func:?} at {i}: {got}, not {want}", row.name);
            }
        }
    }
}
