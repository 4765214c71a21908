//! Every row against the definition in f64, and against PyTorch's results.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, KERNELS, Kind, Problem};
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

/// Channels innermost, planes, or any order.
fn image(r: &mut Random, sizes: &[usize; 4]) -> Strided {
    let [n, c, h, w] = *sizes;
    let pixel = c + r.pick(&[0, 0, 5]);
    match r.below(5) {
        0 => r.layout(sizes),
        1 | 2 => Strided::contiguous(sizes),
        _ => Strided::new(&[n, c, h, w], &[h * w * pixel, 1, w * pixel, pixel]),
    }
}

fn problem(r: &mut Random) -> Problem {
    let channels = r.pick(&[1, 3, 8, 15, 16, 17, 31, 32, 33, 48, 100]);
    let size = |r: &mut Random| r.pick(&[1, 2, 3, 7, 8, 14, 15, 16, 17, 33]);
    let src = [r.pick(&[1, 2]), channels, size(r), size(r)];
    let dst = [src[0], channels, size(r), size(r)];
    let kind = r.pick(&[Kind::Nearest, Kind::Bilinear, Kind::Bicubic]);
    let align_corners = kind != Kind::Nearest && r.below(2) == 0;
    // A factor that gives the output its size, but not exactly.
    let step = [0, 1].map(|a| {
        let step = src[a + 2] as f64 / (dst[a + 2] as f64 + 0.4);
        (r.below(3) == 0).then_some(step)
    });
    Problem { src: image(r, &src), dst: image(r, &dst), kind, align_corners, step }
}

/// Source indices and weights along an axis.
fn taps(p: &Problem, axis: usize, at: usize) -> Vec<(usize, f64)> {
    let (size, out) = (p.src.size(axis + 2), p.dst.size(axis + 2));
    let clamp = |i: f64| i.clamp(0.0, size as f64 - 1.0) as usize;
    let step = p.step[axis].unwrap_or(size as f64 / out as f64);
    if p.kind == Kind::Nearest {
        // Rounding decides here, so it is the same as PyTorch's.
        let step = p.step[axis].map_or(size as f32 / out as f32, |s| s as f32);
        let scaled =
            if out == size || out == 2 * size { at * size / out } else { (at as f32 * step) as usize };
        return vec![(scaled.min(size - 1), 1.0)];
    }
    let center = match p.align_corners {
        true if out == 1 => 0.0,
        true => at as f64 * (size as f64 - 1.0) / (out as f64 - 1.0),
        false => (at as f64 + 0.5) * step - 0.5,
    };
    if p.kind == Kind::Bilinear {
        let center = center.max(0.0);
        let first = center.floor().min(size as f64 - 1.0);
        let t = (center - first).min(1.0);
        return vec![(clamp(first), 1.0 - t), (clamp(first + 1.0), t)];
    }
    let cubic = |x: f64| match x.abs() {
        x if x <= 1.0 => 1.25 * x.powi(3) - 2.25 * x.powi(2) + 1.0,
        x if x < 2.0 => -0.75 * x.powi(3) + 3.75 * x.powi(2) - 6.0 * x + 3.0,
        _ => 0.0,
    };
    let first = center.floor();
    [-1.0, 0.0, 1.0, 2.0].map(|i| (clamp(first + i), cubic(center - first - i))).to_vec()
}

fn definition(p: &Problem, src: &[f32], [n, c, oy, ox]: [usize; 4]) -> f64 {
    let s = p.src.strides();
    let mut sum = 0.0;
    for (y, wy) in taps(p, 0, oy) {
        for (x, wx) in taps(p, 1, ox) {
            sum += wy * wx * f64::from(src[n * s[0] + c * s[1] + y * s[2] + x * s[3]]);
        }
    }
    sum
}

/// Every index of `[n, c, h, w]` and its offset.
fn places(s: &Strided) -> Vec<([usize; 4], usize)> {
    let [_, c, h, w] = [s.size(0), s.size(1), s.size(2), s.size(3)];
    (0..s.elements())
        .map(|i| {
            let at = [i / (c * h * w), i / (h * w) % c, i / w % h, i % w];
            (at, at.iter().zip(s.strides()).map(|(i, s)| i * s).sum())
        })
        .collect()
}

fn results(p: &Problem, src: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let canary = vec![CANARY; p.dst.extent() + 16];
    rows(KERNELS, p)
        .map(|row| {
            let call = |dst: &mut [f32], split| {
                run(row, p, Args { src: Span::from(src), dst: SpanMut::from(dst) }, split);
            };
            (row.name, outcome(&canary, row.name, call))
        })
        .collect()
}

fn check(p: &Problem, src: &[f32]) {
    let mut written = vec![false; p.dst.extent() + 16];
    let want: Vec<_> = places(&p.dst).into_iter().map(|(at, o)| (o, definition(p, src, at))).collect();
    want.iter().for_each(|(o, _)| written[*o] = true);
    // Coordinates up to 200 in f32 are off by 2^-17 at most, values by slopes of up to 4 x 2.25 along each axis.
    let tolerance = if p.kind == Kind::Nearest { 0.0 } else { 5e-5 };
    for (name, got) in results(p, src) {
        for &(at, want) in &want {
            let error = (f64::from(got[at]) - want).abs();
            assert!(error <= tolerance, "{name} at {at}: {} for {want} of {p:?}", got[at]);
        }
        for (i, x) in got.iter().enumerate().filter(|(i, _)| !written[*i]) {
            assert!(*x == CANARY, "{name} wrote {x} at {i}, outside {p:?}");
        }
    }
}

#[test]
fn random_problems() {
    let mut r = Random::new(31);
    for _ in sample(0..600) {
        let p = problem(&mut r);
        let src = r.floats(p.src.extent());
        check(&p, &src);
    }
}

#[test]
fn several_tiles() {
    let mut r = Random::new(32);
    for kind in [Kind::Nearest, Kind::Bilinear, Kind::Bicubic] {
        for (c, order) in [(40, [0, 2, 3, 1]), (2, [0, 1, 2, 3])] {
            let shape = |size: usize| Strided::with_order(&[2, c, size, size + 1], &order);
            let p = Problem { src: shape(48), dst: shape(100), kind, align_corners: false, step: [None; 2] };
            check(&p, &r.floats(p.src.extent()));
        }
    }
}

/// 0, 1, 4, 9, 16 as PyTorch 2.14 interpolates them: kind, align_corners, scale factor, results.
#[test]
fn coordinates_are_pytorchs() {
    type Case = (Kind, bool, Option<f64>, &'static [f32]);
    let cases: &[Case] = &[
        (Kind::Bilinear, false, None, &[0.333_333_3, 4.0, 13.666_667]),
        (Kind::Bilinear, false, None, &[0.0, 0.4375, 1.1875, 3.0625, 5.5625, 8.6875, 12.9375, 16.0]),
        (Kind::Bilinear, false, None, &[4.0]),
        (
            Kind::Bilinear,
            false,
            Some(1.7),
            &[0.0, 0.382_353, 0.970_588_3, 2.676_470_8, 4.735_295, 7.676_471_7, 11.264_707, 15.382_354],
        ),
        (Kind::Bilinear, true, None, &[0.0, 4.0, 16.0]),
        (
            Kind::Bilinear,
            true,
            Some(1.7),
            &[0.0, 0.571_428_6, 1.428_571_6, 3.142_857_6, 5.428_571_7, 8.285_716, 12.000_002, 16.0],
        ),
        (Kind::Bilinear, true, None, &[0.0]),
        (Kind::Bicubic, false, None, &[0.148_149, 4.0, 14.074_071]),
        (
            Kind::Bicubic,
            false,
            None,
            &[
                -0.092_834_47,
                0.187_561_04,
                1.176_513_7,
                2.619_384_8,
                5.441_650_4,
                8.471_436,
                13.395_081,
                16.649_841,
            ],
        ),
        (
            Kind::Bicubic,
            false,
            Some(1.7),
            &[
                -0.097_375_87,
                0.165_294_11,
                0.914_964_14,
                2.263_154,
                4.768_505_6,
                7.155_534,
                11.684_723,
                15.524_918,
            ],
        ),
        (
            Kind::Bicubic,
            true,
            None,
            &[0.0, 0.265_306_6, 1.376_094_3, 2.705_539_5, 5.341_11, 7.883_379, 12.463_56, 16.0],
        ),
        // Twice the size repeats each element whatever the factor; so does no change.
        (Kind::Nearest, false, Some(2.19), &[0.0, 0.0, 1.0, 1.0, 4.0, 4.0, 9.0, 9.0, 16.0, 16.0]),
        (Kind::Nearest, false, Some(1.19), &[0.0, 1.0, 4.0, 9.0, 16.0]),
        (Kind::Nearest, false, Some(1.7), &[0.0, 0.0, 1.0, 1.0, 4.0, 4.0, 9.0, 16.0]),
    ];
    for &(kind, align_corners, scale, want) in cases {
        for order in [[0, 2, 3, 1], [0, 1, 2, 3]] {
            let shape = |w: usize| Strided::with_order(&[1, 17, 1, w], &order);
            let step = [None, scale.map(|s| 1.0 / s)];
            let p = Problem { src: shape(5), dst: shape(want.len()), kind, align_corners, step };
            let mut src = vec![0.0; p.src.extent()];
            places(&p.src).into_iter().for_each(|([_, _, _, x], o)| src[o] = (x * x) as f32);
            for (name, got) in results(&p, &src) {
                for ([_, _, _, x], o) in places(&p.dst) {
                    assert!((got[o] - want[x]).abs() <= 1e-5, "{name} {kind:?} {scale:?} at {x}: {}", got[o]);
                }
            }
        }
    }
}

#[test]
fn nan_and_infinity_stay_near() {
    for order in [[0, 2, 3, 1], [0, 1, 2, 3]] {
        for (kind, reach) in [(Kind::Nearest, 1), (Kind::Bilinear, 2), (Kind::Bicubic, 4)] {
            let shape = |size: usize| Strided::with_order(&[1, 3, size, size], &order);
            let (from, to) = (shape(10), shape(20));
            let p = Problem { src: from, dst: to, kind, align_corners: false, step: [None; 2] };
            for value in [f32::NAN, f32::INFINITY] {
                let mut src = vec![1.0; from.extent()];
                let (_, o) = places(&from)[155];
                src[o] = value;
                for (name, got) in results(&p, &src) {
                    for ([_, c, y, x], o) in places(&to) {
                        let inside = |at: usize, center: usize| at.abs_diff(2 * center) < 2 * reach;
                        if c != 1 || !inside(y, 5) || !inside(x, 5) {
                            assert!((got[o] - 1.0).abs() < 1e-5, "{name} {kind:?}: {} at {y} {x}", got[o]);
                        }
                    }
                    let hit = places(&to).iter().filter(|(_, o)| !got[*o].is_finite()).count();
                    assert_eq!(hit, 4 * reach * reach, "{name} {kind:?}");
                }
            }
        }
    }
}
