//! Every row against the definition in f64, and against PyTorch's conventions.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, KERNELS, Kind, PLACES, PlacesArgs, Problem, Window};
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

/// Mostly channels innermost, now and then planes or any order.
fn image(r: &mut Random, sizes: &[usize; 4]) -> Strided {
    let [n, c, h, w] = *sizes;
    let pixel = c + r.pick(&[0, 0, 5]);
    match r.below(6) {
        0 => r.layout(sizes),
        1 => Strided::contiguous(sizes),
        _ => Strided::new(&[n, c, h, w], &[h * w * pixel, 1, w * pixel, pixel]),
    }
}

/// Output extent of a fixed window; in ceil mode windows start inside the image or its leading padding.
fn out(
    size: usize,
    [kernel, stride, dilation]: [usize; 3],
    [before, after]: [usize; 2],
    ceil: bool,
) -> Option<usize> {
    let room = (size + before + after).checked_sub(dilation * (kernel - 1) + 1)?;
    let up = if ceil { room.div_ceil(stride) } else { room / stride };
    Some(if up * stride >= size + before { up } else { up + 1 })
}

fn problem(r: &mut Random) -> Problem {
    loop {
        let channels = r.pick(&[1, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100, 192]);
        let sizes = [r.pick(&[1, 2]), channels, 1 + r.below(20), 1 + r.below(40)];
        let kind = r.pick(&[Kind::Max, Kind::Average]);
        if r.below(3) == 0 {
            let dst = [sizes[0], channels, 1 + r.below(8), 1 + r.below(8)];
            let dst = if r.below(3) == 0 { [sizes[0], channels, 1, 1] } else { dst };
            return Problem { src: image(r, &sizes), dst: image(r, &dst), kind, window: Window::Adaptive };
        }
        let kernel = [1 + r.below(5), 1 + r.below(5)];
        let stride = [1 + r.below(3), 1 + r.below(3)];
        let dilation = if kind == Kind::Max { r.pick(&[[1, 1], [2, 1], [1, 3], [2, 2]]) } else { [1, 1] };
        let half = [0, 1].map(|a| r.below(kernel[a] / 2 + 1));
        let padding = [half[0], half[1], half[0], half[1]];
        let ceil = r.below(2) == 0;
        let size = |a: usize| {
            let steps = [kernel[a], stride[a], dilation[a]];
            out(sizes[a + 2], steps, [padding[a], padding[a + 2]], ceil).filter(|&n| n > 0)
        };
        if let (Some(oh), Some(ow)) = (size(0), size(1)) {
            let (count_include_pad, divisor) = (r.below(2) == 0, r.pick(&[0, 0, 0, 7]));
            let window = Window::Fixed { kernel, stride, padding, dilation, count_include_pad, divisor };
            let dst = [sizes[0], channels, oh, ow];
            return Problem { src: image(r, &sizes), dst: image(r, &dst), kind, window };
        }
    }
}

/// Positions of a window along an axis, in source indices that may lie outside, and what its padded image ends at.
fn positions(p: &Problem, axis: usize, at: usize) -> (Vec<isize>, isize) {
    let (size, out) = (p.src.size(axis + 2), p.dst.size(axis + 2));
    match p.window {
        Window::Adaptive => {
            let from = (at as f64 * size as f64 / out as f64).floor() as isize;
            let to = ((at + 1) as f64 * size as f64 / out as f64).ceil() as isize;
            ((from..to).collect(), size as isize)
        }
        Window::Fixed { kernel, stride, padding, dilation, .. } => {
            let start = (at * stride[axis]) as isize - padding[axis] as isize;
            let all = (0..kernel[axis]).map(|k| start + (k * dilation[axis]) as isize).collect();
            (all, (size + padding[axis + 2]) as isize)
        }
    }
}

fn definition(p: &Problem, src: &[f32], [n, c, oy, ox]: [usize; 4]) -> f64 {
    let ((ys, bottom), (xs, right)) = (positions(p, 0, oy), positions(p, 1, ox));
    let s = p.src.strides();
    let (mut values, mut padded) = (Vec::new(), 0);
    for &y in &ys {
        for &x in &xs {
            padded += usize::from(y < bottom && x < right);
            if (0..p.src.size(2) as isize).contains(&y) && (0..p.src.size(3) as isize).contains(&x) {
                values.push(f64::from(src[n * s[0] + c * s[1] + y as usize * s[2] + x as usize * s[3]]));
            }
        }
    }
    match (p.kind, p.window) {
        (Kind::Max, _) => values.into_iter().fold(f64::NEG_INFINITY, f64::max),
        (_, Window::Fixed { divisor, .. }) if divisor > 0 => values.iter().sum::<f64>() / divisor as f64,
        (_, Window::Fixed { count_include_pad: true, .. }) => values.iter().sum::<f64>() / padded as f64,
        _ => values.iter().sum::<f64>() / values.len() as f64,
    }
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

#[test]
fn random_problems() {
    let mut r = Random::new(21);
    for _ in sample(0..600) {
        let p = problem(&mut r);
        let src = r.floats(p.src.extent());
        let mut written = vec![false; p.dst.extent() + 16];
        let want: Vec<_> = places(&p.dst).into_iter().map(|(at, o)| (o, definition(&p, &src, at))).collect();
        want.iter().for_each(|(o, _)| written[*o] = true);
        for (name, got) in results(&p, &src) {
            for &(at, want) in &want {
                // Maxima are exact; means of values below 2 in magnitude, summed by rows of at most 40.
                let same = f64::from(got[at]) == want || (got[at].is_nan() && want.is_nan());
                let near = p.kind == Kind::Average && (f64::from(got[at]) - want).abs() <= 3e-6;
                assert!(same || near, "{name} at {at}: {} for {want} of {p:?}", got[at]);
            }
            for (i, x) in got.iter().enumerate().filter(|(i, _)| !written[*i]) {
                assert!(*x == CANARY, "{name} wrote {x} at {i}, outside {p:?}");
            }
        }
    }
}

/// A row of images with a channel each, as channels or as planes.
fn line(src: &[f32], out: usize, kind: Kind, window: Window) -> Vec<Vec<f32>> {
    let (channels, width) = (17, src.len());
    let mut all = Vec::new();
    for order in [[0, 2, 3, 1], [0, 1, 2, 3]] {
        let shape = |w: usize| Strided::with_order(&[1, channels, 1, w], &order);
        let p = Problem { src: shape(width), dst: shape(out), kind, window };
        let mut data = vec![0.0; p.src.extent()];
        places(&p.src).into_iter().for_each(|([_, _, _, x], o)| data[o] = src[x]);
        for (_, got) in results(&p, &data) {
            for c in [0, channels - 1] {
                all.push((0..out).map(|x| got[c * p.dst.stride(1) + x * p.dst.stride(3)]).collect());
            }
        }
    }
    all
}

/// Averages of 1, 2, 4, ... as PyTorch 2.14's avg_pool2d gives them: kernel, stride, padding, count_include_pad,
/// divisor_override, width and result, all in ceil mode.
#[test]
fn divisors_are_pytorchs() {
    type Case = (usize, usize, usize, bool, usize, usize, &'static [f32]);
    let cases: &[Case] = &[
        (3, 2, 1, true, 0, 7, &[1.0, 14.0 / 3.0, 56.0 / 3.0, 32.0]),
        (3, 2, 1, true, 0, 6, &[1.0, 14.0 / 3.0, 56.0 / 3.0, 16.0]),
        (3, 2, 1, false, 0, 7, &[1.5, 14.0 / 3.0, 56.0 / 3.0, 48.0]),
        (3, 2, 1, false, 0, 6, &[1.5, 14.0 / 3.0, 56.0 / 3.0, 32.0]),
        (3, 3, 1, true, 0, 7, &[1.0, 28.0 / 3.0, 32.0]),
        (3, 3, 1, true, 0, 6, &[1.0, 28.0 / 3.0, 16.0]),
        (4, 3, 2, true, 0, 7, &[0.75, 7.5, 28.0]),
        (4, 3, 2, true, 0, 6, &[0.75, 7.5, 12.0]),
        (4, 3, 2, true, 5, 7, &[0.6, 6.0, 22.4]),
        (2, 2, 0, true, 0, 7, &[1.5, 6.0, 24.0, 64.0]),
        (5, 4, 2, true, 0, 7, &[1.4, 24.8, 64.0 / 3.0]),
        (5, 4, 2, true, 0, 6, &[1.4, 12.0]),
    ];
    for &(kernel, stride, padding, count_include_pad, divisor, width, want) in cases {
        let src: Vec<f32> = (0..width).map(|i| (1 << i) as f32).collect();
        let window = Window::Fixed {
            kernel: [1, kernel],
            stride: [1, stride],
            padding: [0, padding, 0, padding],
            dilation: [1, 1],
            count_include_pad,
            divisor,
        };
        for got in line(&src, want.len(), Kind::Average, window) {
            for (got, want) in got.iter().zip(want) {
                assert!(
                    (got - want).abs() <= 1e-6 * want,
                    "{got} for {want}: {kernel} {stride} {padding} {width}"
                );
            }
        }
    }
}

#[test]
fn adaptive_windows_are_pytorchs() {
    let count = |n: usize| (1..=n).map(|x| x as f32).collect::<Vec<_>>();
    for got in line(&count(7), 3, Kind::Average, Window::Adaptive) {
        assert_eq!(got, [2.0, 4.0, 6.0]);
    }
    for got in line(&count(3), 5, Kind::Average, Window::Adaptive) {
        assert_eq!(got, [1.0, 1.5, 2.0, 2.5, 3.0]);
    }
}

#[test]
fn nan_wins_a_maximum() {
    let fixed = |kernel, padding| Window::Fixed {
        kernel: [1, kernel],
        stride: [1, 1],
        padding: [0, padding, 0, padding],
        dilation: [1, 1],
        count_include_pad: true,
        divisor: 0,
    };
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let bits =
        |x: &[f32]| x.iter().map(|x| if x.is_nan() { f32::NAN } else { *x }.to_bits()).collect::<Vec<_>>();
    for got in line(&[1.0, nan, 3.0, inf, -2.0, -inf, -inf], 6, Kind::Max, fixed(2, 0)) {
        assert_eq!(bits(&got), bits(&[nan, nan, inf, inf, -2.0, -inf]));
    }
    for got in line(&[-inf; 4], 4, Kind::Max, fixed(3, 1)) {
        assert_eq!(got, [-inf; 4]);
    }
    // Wide windows: a NaN in a vector's middle, and one in what a vector leaves over.
    for at in [5, 36] {
        let mut src = vec![1.0; 37];
        src[at] = nan;
        for got in line(&src, 1, Kind::Max, Window::Adaptive) {
            assert!(got[0].is_nan());
        }
    }
}

#[test]
fn means_of_large_planes_keep_their_digits() {
    let mut r = Random::new(22);
    for order in [[0, 2, 3, 1], [0, 1, 2, 3]] {
        let src = Strided::with_order(&[1, 20, 160, 200], &order);
        let dst = Strided::contiguous(&[1, 20, 1, 1]);
        let p = Problem { src, dst, kind: Kind::Average, window: Window::Adaptive };
        let data: Vec<f32> = r.floats(src.extent()).into_iter().map(|x| 100.0 + x).collect();
        for (name, got) in results(&p, &data) {
            for (at, o) in places(&p.dst) {
                let want = definition(&p, &data, at);
                // 32,000 summands one after the other would lose up to 2e-3 of the mean.
                assert!((f64::from(got[o]) - want).abs() <= 4e-6 * want, "{name}: {} for {want}", got[o]);
            }
        }
    }
}

/// Where in the plane the largest element of a window is.
fn place(p: &Problem, src: &[f32], [n, c, oy, ox]: [usize; 4]) -> i64 {
    let s = p.src.strides();
    let inside = |at: isize, axis: usize| (0..p.src.size(axis + 2) as isize).contains(&at);
    let (mut largest, mut place) = (None::<f32>, 0);
    for y in positions(p, 0, oy).0.into_iter().filter(|&y| inside(y, 0)) {
        for x in positions(p, 1, ox).0.into_iter().filter(|&x| inside(x, 1)) {
            let value = src[n * s[0] + c * s[1] + y as usize * s[2] + x as usize * s[3]];
            if largest.is_none_or(|largest| value > largest || value.is_nan()) {
                (largest, place) = (Some(value), y as i64 * p.src.size(3) as i64 + x as i64);
            }
        }
    }
    place
}

#[test]
fn places_of_the_largest() {
    let mut r = Random::new(41);
    for round in sample(0..200) {
        let p = Problem { kind: Kind::Max, ..problem(&mut r) };
        // Few different numbers: many are equal; now and then none is one.
        let values = [-1.0, 0.5, 2.0, if round % 3 == 0 { f32::NAN } else { f32::NEG_INFINITY }];
        let src: Vec<f32> = (0..p.src.extent()).map(|_| r.pick(&values)).collect();
        let mut want = vec![-7i64; p.dst.extent()];
        places(&p.dst).into_iter().for_each(|(at, o)| want[o] = place(&p, &src, at));
        for row in rows(PLACES, &p) {
            let got = outcome(&vec![-7i64; want.len()], row.name, |dst, split| {
                run(row, &p, PlacesArgs { src: Span::from(&src[..]), dst: SpanMut::from(dst) }, split);
            });
            assert_eq!(got, want, "{} of {p:?}", row.name);
        }
    }
}
