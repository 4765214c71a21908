//! Every row against the definition in f64, on random problems with remainders of every tile and panel size.

use proptest::prelude::*;
use tandem_base::{AlignedBuf, Isa, Span, SpanMut, Strided, Task};

use super::*;
use crate::epilogue::Act;

/// Deterministic values in [-0.5, 0.5].
fn values(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 1009.0 - 0.5).collect()
}

/// Sizes `[batch, m, n, k]` and flags that choose strides and epilogue stages.
fn problem([batch, m, n, k]: [usize; 4], flags: usize) -> Problem {
    let matrix = |rows: usize, columns: usize, turned: bool| {
        Strided::with_order(&[batch, rows, columns], if turned { &[0, 2, 1] } else { &[0, 1, 2] })
    };
    let shared = Strided::new(&[batch, k, n], &[0, n, 1]);
    let rhs = match flags & 3 {
        0 => Rhs::Panels,
        1 => Rhs::Strided(matrix(k, n, false)),
        2 => Rhs::Strided(matrix(k, n, true)),
        _ => Rhs::Strided(shared),
    };
    let dst = matrix(m, n, flags & 8 == 8);
    let epilogue = Epilogue {
        bias: flags & 16 == 0,
        act: if flags & 32 == 0 { Act::Gelu } else { Act::None },
        scale_shift: flags & 64 == 0,
        residual: (flags & 128 == 0).then_some(dst),
        act2: Act::None,
    };
    Problem {
        lhs: matrix(m, k, flags & 4 == 4),
        rhs,
        dst,
        alpha: if flags & 256 == 0 { 1.0 } else { 0.125 },
        epilogue,
    }
}

fn check(p: &Problem) {
    let [batch, m, n, k] = p.sizes();
    let (lhs, columns) = (values(p.lhs.extent(), 1), panels::padded(n));
    let rhs = match p.rhs {
        Rhs::Panels => values(k * columns, 2),
        Rhs::Strided(r) => values(r.extent(), 2),
    };
    let operands = [values(columns, 3), values(columns, 4), values(columns, 5), values(p.dst.extent(), 6)];
    let [bias, scale, shift, residual] = operands.each_ref().map(|o| Span::from(&o[..]));
    let epilogue = EpilogueArgs { bias, scale, shift, residual };
    let here = KERNELS.iter().filter(|row| Isa::detect().has(row.isa));
    for row in here.chain(crate::sme2::tests::GEMM).filter(|row| (row.supports)(p).is_ok()) {
        let mut dst = vec![-7.5f32; p.dst.extent() + 8];
        let mut shared = AlignedBuf::zeroed((row.workspace)(p).shared);
        let (lhs_span, rhs_span) = (Span::from(&lhs[..]), Span::from(&rhs[..]));
        let args =
            Args { lhs: lhs_span, rhs: rhs_span, epilogue, dst: SpanMut::from(&mut dst[..p.dst.extent()]) };
        let mut scratch = AlignedBuf::zeroed((row.workspace)(p).per_worker);
        scratch.bytes_mut().fill(0xa5);
        let task = row.bind(p, args, SpanMut::from(shared.bytes_mut())).unwrap();
        for phase in 0..task.phases() {
            for tile in (0..task.tiles(phase)).rev() {
                // SAFETY: every tile of a phase once, phases in order, with the scratch the row wants.
                unsafe { task.run(phase, tile..tile + 1, SpanMut::from(scratch.bytes_mut())) }
            }
        }
        assert!(
            dst[p.dst.extent()..].iter().all(|&x| x == -7.5),
            "{} writes behind its destination",
            row.name
        );
        // k roundings of sums of terms of at most 1/4; gelu and the stages behind it at most double an error.
        let tolerance = (1e-6 * (k as f64 + 8.0)) as f32;
        for (b, i, j) in (0..batch).flat_map(|b| (0..m).flat_map(move |i| (0..n).map(move |j| (b, i, j)))) {
            let at = |s: &Strided, x: usize, y: usize| b * s.stride(0) + x * s.stride(1) + y * s.stride(2);
            let weight = |kk: usize| match p.rhs {
                Rhs::Panels => rhs[panels::index(k, n, kk, j)],
                Rhs::Strided(r) => rhs[at(&r, kk, j)],
            };
            let sum: f64 = (0..k).map(|kk| f64::from(lhs[at(&p.lhs, i, kk)]) * f64::from(weight(kk))).sum();
            let to = at(&p.dst, i, j);
            // SAFETY: the operands have the problem's sizes.
            let expected = unsafe { p.epilogue.eval(&epilogue, (sum * f64::from(p.alpha)) as f32, j, to) };
            let found = dst[to];
            assert!(
                (found - expected).abs() <= tolerance,
                "{} at {b},{i},{j}: {found}, expected {expected}\n{p:?}",
                row.name
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn rows_agree_with_the_definition(
        batch in 0usize..4, m in prop_oneof![0usize..4, 5usize..9, 13usize..17, 60usize..70],
        n in prop_oneof![0usize..4, 15usize..18, 31usize..34, 47usize..50], k in prop_oneof![0usize..4, 15usize..34],
        flags in 0usize..512,
    ) {
        check(&problem([batch, m, n, k], flags));
    }
}

/// What is not finite reaches the sums it is a part of, and no others; a clamp passes NaN on.
#[test]
fn values_that_are_not_finite() {
    let [m, n, k] = [37, 35, 9];
    for act in [Act::None, Act::Relu] {
        let p = Problem {
            lhs: Strided::contiguous(&[1, m, k]),
            rhs: Rhs::Panels,
            dst: Strided::contiguous(&[1, m, n]),
            alpha: 1.0,
            epilogue: Epilogue { act, ..Epilogue::default() },
        };
        let (mut lhs, mut rhs) = (values(m * k, 1), values(k * panels::padded(n), 2));
        lhs[2 * k + 3] = f32::NAN;
        lhs[36 * k] = f32::NEG_INFINITY;
        lhs[4 * k + 1] = 0.0;
        rhs[panels::index(k, n, 1, 7)] = f32::INFINITY;
        let here = KERNELS.iter().filter(|row| Isa::detect().has(row.isa));
        let answers: Vec<(&str, Vec<f32>)> = here
            .chain(crate::sme2::tests::GEMM)
            .filter(|row| (row.supports)(&p).is_ok())
            .map(|row| {
                let mut dst = vec![0f32; m * n];
                let (lhs, rhs) = (Span::from(&lhs[..]), Span::from(&rhs[..]));
                let args =
                    Args { lhs, rhs, epilogue: EpilogueArgs::none(), dst: SpanMut::from(&mut dst[..]) };
                crate::testing::run(row, &p, args, crate::testing::Split::Whole);
                (row.name, dst)
            })
            .collect();
        let expected = &answers.iter().find(|(name, _)| *name == "scalar-reference").unwrap().1;
        assert!(expected[2 * n..3 * n].iter().all(|x| x.is_nan()) && expected[4 * n + 7].is_nan());
        for (name, found) in &answers {
            for (i, (a, b)) in found.iter().zip(expected).enumerate() {
                let same = a.is_nan() == b.is_nan() && a.is_infinite() == b.is_infinite();
                assert!(same, "{name} at {}, {}: {a} for {b}, {act:?}", i / n, i % n);
            }
        }
    }
}
