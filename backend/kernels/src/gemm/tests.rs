//! Every row against the definition in f64, on random problems with remainders of every tile and panel size.

use proptest::prelude::*;
use tandem_base::{AlignedBuf, Span, SpanMut, Strided, Task};

use super::*;
use crate::epilogue::Act;
use crate::testing::{self, elements, epsilon, sample};

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

/// Panels whose weights behind k are zero, as the format has them.
fn panels_of<E: Element>(k: usize, n: usize) -> Vec<E> {
    let values = values(k * panels::padded(n), 2);
    panels::pack_words(E::PER_WORD, k, panels::padded(n), |k, column| {
        E::from_f32(values[k * panels::padded(n) + column])
    })
}

fn check<E: Element>(of: &'static [Kernel<Gemm<E>>], p: &Problem) {
    check_named(of, p, "");
}

/// Rows whose names contain `name`.
fn check_named<E: Element>(of: &'static [Kernel<Gemm<E>>], p: &Problem, name: &str) {
    let [batch, m, n, k] = p.sizes();
    let columns = panels::padded(n);
    let [lhs, residual] = [(p.lhs, 1), (p.dst, 6)].map(|(s, seed)| elements::<E>(values(s.extent(), seed)));
    let rhs = match p.rhs {
        Rhs::Panels => panels_of(k, n),
        Rhs::Strided(r) => elements(values(r.extent(), 2)),
    };
    let operands = [3, 4, 5].map(|seed| values(columns, seed));
    let [bias, scale, shift] = operands.each_ref().map(|o| Span::from(&o[..]));
    let epilogue = EpilogueArgs { bias, scale, shift, residual: Span::from(&residual[..]) };
    let canary = E::from_f32(-7.5);
    let mut bits = testing::SameBits::default();
    for row in testing::rows(of, p).filter(|row| row.name.contains(name)) {
        let mut dst = vec![canary; p.dst.extent() + 8];
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
                unsafe {
                    task.run(
                        tandem_base::Engine::Core,
                        phase,
                        tile..tile + 1,
                        SpanMut::from(scratch.bytes_mut()),
                    )
                }
            }
        }
        assert!(
            dst[p.dst.extent()..].iter().all(|&x| x == canary),
            "{} writes behind its destination",
            row.name
        );
        bits.of(row, p, &dst);
        // k roundings of sums of terms of at most 1/4; gelu and the stages behind it at most double an error. The
        // destination's rounding, of a value that may lie on the other side of a tie.
        let tolerance = (1e-6 * (k as f64 + 8.0)) as f32;
        for (b, i, j) in (0..batch).flat_map(|b| (0..m).flat_map(move |i| (0..n).map(move |j| (b, i, j)))) {
            let at = |s: &Strided, x: usize, y: usize| b * s.stride(0) + x * s.stride(1) + y * s.stride(2);
            let weight = |kk: usize| match p.rhs {
                Rhs::Panels => rhs[panels::in_words(E::PER_WORD, k, n, kk, j)],
                Rhs::Strided(r) => rhs[at(&r, kk, j)],
            };
            let term = |kk| f64::from(lhs[at(&p.lhs, i, kk)].to_f32()) * f64::from(weight(kk).to_f32());
            let sum: f64 = (0..k).map(term).sum();
            let to = at(&p.dst, i, j);
            // SAFETY: the operands have the problem's sizes.
            let expected = unsafe { p.epilogue.eval(&epilogue, (sum * f64::from(p.alpha)) as f32, j, to) };
            let found = dst[to].to_f32();
            let tolerance = tolerance + epsilon::<E>() / 2.0 * (expected.abs() + tolerance);
            assert!(
                (found - expected).abs() <= tolerance,
                "{} at {b},{i},{j}: {found}, expected {expected}\n{p:?}",
                row.name
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: sample(0..128u32).count() as u32, ..ProptestConfig::default() })]
    #[test]
    fn rows_agree_with_the_definition(
        batch in 0usize..4, m in prop_oneof![0usize..4, 5usize..9, 13usize..17, 60usize..70],
        n in prop_oneof![0usize..4, 15usize..18, 31usize..34, 47usize..50], k in prop_oneof![0usize..4, 15usize..34],
        flags in 0usize..512,
    ) {
        let p = problem([batch, m, n, k], flags);
        check(KERNELS, &p);
        check(KERNELS_F16, &p);
        check(KERNELS_BF16, &p);
    }

    #[test]
    fn few_rows_of_many_columns(
        batch in 1usize..3, m in 1usize..6, n in prop_oneof![60usize..70, 120usize..150, 250usize..330],
        k in prop_oneof![1usize..6, 15usize..18], flags in 0usize..512,
    ) {
        check(KERNELS, &problem([batch, m, n, k], flags));
    }
}

#[test]
fn few_positions_are_split() {
    // Panels and rhs of either order, both orders of lhs.
    for flags in [0, 1, 2, 4, 6] {
        let p = problem([1, 35, 150, 700], flags | 32 | 64);
        for row in testing::rows(KERNELS, &p).filter(|row| row.name.starts_with("emulated-sme2")) {
            assert!((row.tiles)(&p, 0) > 1, "{}", row.name);
        }
        check(KERNELS, &p);
    }
}

#[test]
fn contiguous_rows() {
    // Either order of lhs, with and without bias, batches, several tasks, parts of a task; one column lies both ways.
    let turned = 8 | 32 | 64 | 128;
    for (sizes, flags) in [
        ([1, 197, 70, 33], turned),
        ([2, 35, 33, 17], turned | 16),
        ([2, 35, 48, 17], turned | 4),
        ([1, 300, 34, 700], turned),
        ([1, 300, 34, 700], turned | 4),
        ([1, 33, 300, 130], turned),
        ([1, 2, 2, 1], turned),
        ([1, 33, 1, 9], turned),
        ([1, 1, 33, 9], turned),
    ] {
        let p = problem(sizes, flags);
        let mut units =
            KERNELS.iter().filter(|row| row.name.contains("sme2-") && !row.name.ends_with("gemv"));
        assert!(units.all(|row| (row.supports)(&p).is_ok()), "{p:?}");
        check(KERNELS, &p);
        check(KERNELS_F16, &p);
        check(KERNELS_BF16, &p);
    }
}

#[test]
fn widened_in_parts() {
    // Panels and rhs of either order, both orders of lhs, a residual in columns; batches that share rhs; few rows.
    for (sizes, flags) in [
        ([1, 300, 200, 601], 32),
        ([1, 300, 130, 600], 1),
        ([1, 300, 130, 600], 2 | 4 | 8),
        ([2, 130, 70, 700], 3),
        ([1, 3, 161, 701], 32),
    ] {
        let p = problem(sizes, flags);
        check_named(KERNELS_F16, &p, "widened");
        check_named(KERNELS_BF16, &p, "widened");
    }
}

/// What is not finite reaches the sums it is a part of, and no others; a clamp passes NaN on.
#[test]
fn values_that_are_not_finite() {
    not_finite(KERNELS);
    not_finite(KERNELS_F16);
    not_finite(KERNELS_BF16);
}

fn not_finite<E: Element>(of: &'static [Kernel<Gemm<E>>]) {
    let [m, n, k] = [37, 35, 9];
    for act in [Act::None, Act::Relu] {
        let p = Problem {
            lhs: Strided::contiguous(&[1, m, k]),
            rhs: Rhs::Panels,
            dst: Strided::contiguous(&[1, m, n]),
            alpha: 1.0,
            epilogue: Epilogue { act, ..Epilogue::default() },
        };
        let (mut lhs, mut rhs) = (elements::<E>(values(m * k, 1)), panels_of::<E>(k, n));
        lhs[2 * k + 3] = E::from_f32(f32::NAN);
        lhs[36 * k] = E::from_f32(f32::NEG_INFINITY);
        lhs[4 * k + 1] = E::from_f32(0.0);
        rhs[panels::in_words(E::PER_WORD, k, n, 1, 7)] = E::from_f32(f32::INFINITY);
        let answers: Vec<(&str, Vec<f32>)> = testing::rows(of, &p)
            .map(|row| {
                let mut dst = vec![E::default(); m * n];
                let (lhs, rhs) = (Span::from(&lhs[..]), Span::from(&rhs[..]));
                let args =
                    Args { lhs, rhs, epilogue: EpilogueArgs::none(), dst: SpanMut::from(&mut dst[..]) };
                testing::run(row, &p, args, testing::Split::Whole);
                (row.name, dst.into_iter().map(E::to_f32).collect())
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
