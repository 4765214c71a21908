//! Every row against the definition, on random layouts and every type.

use tandem_base::{Span, SpanMut, Strided};

use super::*;
use crate::elementwise::offset;
use crate::testing::{Random, outcome, rows, run, sample};
use crate::types::{Bool, Convert, Number, cast, with_type};

const FUNCS: [Func; 25] = [
    Func::Neg,
    Func::Abs,
    Func::Sign,
    Func::Not,
    Func::Add,
    Func::Sub,
    Func::Mul,
    Func::Max,
    Func::Min,
    Func::FloorDiv,
    Func::TruncDiv,
    Func::Remainder,
    Func::Fmod,
    Func::And,
    Func::Or,
    Func::Xor,
    Func::ShiftLeft,
    Func::ShiftRight,
    Func::Eq,
    Func::Ne,
    Func::Lt,
    Func::Le,
    Func::Gt,
    Func::Ge,
    Func::Select,
];

/// Bytes of small numbers and, of floats, NaN and infinities.
fn data(r: &mut Random, of: Type, n: usize) -> Vec<u8> {
    let mut bytes = vec![];
    for _ in 0..n {
        let x = match r.below(30) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => -1e6,
            _ => (r.below(41) as f64 - 20.0) / r.pick(&[1.0, 1.0, 4.0]),
        };
        with_type!(of, T => bytes.extend(bytemuck::bytes_of(&cast::<f64, T>(x))));
    }
    bytes
}

/// An element as what it is: f64 holds all of these.
fn number(of: Type, bytes: &[u8], index: usize) -> f64 {
    with_type!(of, T => bytemuck::pod_read_unaligned::<T>(&bytes[index * of.width()..][..of.width()]).to_f64())
}

/// By the definition on one element.
fn expected(p: &Problem, x: &[f64]) -> f64 {
    if p.func == Func::Select {
        return if x[0] != 0.0 { x[1] } else { x[2] };
    }
    let y = x.get(1).copied().unwrap_or_default();
    let truth = |t: bool| f64::from(u8::from(t));
    match p.func {
        Func::Eq => truth(x[0] == y),
        Func::Ne => truth(x[0] != y),
        Func::Lt => truth(x[0] < y),
        Func::Le => truth(x[0] <= y),
        Func::Gt => truth(x[0] > y),
        Func::Ge => truth(x[0] >= y),
        _ => {
            with_type!(computed p.of, T => arithmetic::<T>(p.func, T::from_f64(x[0]), T::from_f64(y)).to_f64(), 0.0)
        }
    }
}

fn arithmetic<T: Number>(func: Func, x: T, y: T) -> T {
    match func {
        Func::Neg => x.neg(),
        Func::Abs => x.abs(),
        Func::Sign => x.sign(),
        Func::Not => x.not(),
        Func::Add => x.add(y),
        Func::Sub => x.sub(y),
        Func::Mul => x.mul(y),
        Func::Max => x.max(y),
        Func::Min => x.min(y),
        Func::FloorDiv => x.floor_div(y),
        Func::TruncDiv => x.trunc_div(y),
        Func::Remainder => x.remainder(y),
        Func::Fmod => x.fmod(y),
        Func::And => x.and(y),
        Func::Or => x.or(y),
        Func::Xor => x.xor(y),
        Func::ShiftLeft => x.shift_left(y),
        Func::ShiftRight => x.shift_right(y),
        other => panic!("{other:?} is no arithmetic"),
    }
}

/// Shapes of operands, some of them broadcast.
fn operands(r: &mut Random, sizes: &[usize], arity: usize) -> Vec<Strided> {
    let one = |r: &mut Random| {
        let own: Vec<usize> = sizes.iter().map(|&n| if r.below(5) == 0 { 1 } else { n }).collect();
        r.layout(&own).broadcast_to(sizes).expect("sizes of 1 broadcast")
    };
    (0..arity).map(|_| one(r)).collect()
}

fn check(r: &mut Random, p: &Problem) {
    let src: Vec<Vec<u8>> =
        p.src.iter().enumerate().map(|(i, s)| data(r, p.operand(i), s.extent())).collect();
    let width = p.to.width();
    let mut want = vec![7u8; p.dst.extent() * width];
    for i in 0..p.dst.elements() {
        let x: Vec<f64> =
            p.src.iter().enumerate().map(|(o, s)| number(p.operand(o), &src[o], offset(s, i))).collect();
        let value = if p.func == Func::Cast { x[0] } else { expected(p, &x) };
        let at = offset(&p.dst, i) * width;
        // Every number of these tests is exact in f64, where a cast rounds as from the type itself.
        with_type!(p.to, T => {
            let value: T = with_type!(p.of, S => if p.func == Func::Cast { cast(S::from_f64(value)) } else { cast(value) });
            want[at..at + width].copy_from_slice(bytemuck::bytes_of(&value));
        });
    }
    for row in rows(KERNELS, p) {
        let dst = outcome(&vec![7u8; want.len()], row.name, |dst, split| {
            let mut spans = [Span::empty(); 3];
            spans.iter_mut().zip(&src).for_each(|(span, src)| *span = Span::from(&src[..]));
            run(row, p, Args { src: spans, dst: SpanMut::from(dst) }, split);
        });
        let same = (0..p.dst.extent()).all(|i| {
            let (a, b) = (number(p.to, &dst, i), number(p.to, &want, i));
            a == b || (a.is_nan() && b.is_nan())
        });
        assert!(same, "{}\n{p:?}", row.name);
    }
}

#[test]
fn rows_compute_as_defined() {
    for seed in sample(0..40) {
        let mut r = Random::new(seed);
        for func in FUNCS {
            let of = r.pick(&Type::ALL);
            let Some(to) = func.result(of) else { continue };
            let sizes = r.sizes(0..5, 260);
            let (src, dst) = (operands(&mut r, &sizes, func.arity()), r.layout(&sizes));
            check(&mut r, &Problem { func, src, of, dst, to });
        }
    }
}

#[test]
fn rows_cast_between_all_types() {
    for seed in 0..3 {
        let mut r = Random::new(seed);
        for (of, to) in Type::ALL.into_iter().flat_map(|of| Type::ALL.map(|to| (of, to))) {
            let sizes = r.sizes(1..4, 260);
            let (src, dst) = (operands(&mut r, &sizes, 1), r.layout(&sizes));
            check(&mut r, &Problem { func: Func::Cast, src, of, dst, to });
        }
    }
}

#[test]
fn functions_without_meaning_are_refused() {
    let shape = Strided::contiguous(&[4]);
    for (func, of) in [(Func::Not, Type::F32), (Func::Add, Type::F16), (Func::Neg, Type::Bool)] {
        let src = vec![shape; func.arity()];
        let p = Problem { func, src, of, dst: shape, to: of };
        assert_eq!(rows(KERNELS, &p).count(), 0, "{func:?} of {of:?}");
    }
    let truth: Bool = true.into();
    assert!(truth.get());
}
