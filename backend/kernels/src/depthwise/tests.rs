//! Every row against the definition in f64.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, KERNELS, Problem};
use crate::epilogue::{Act, Epilogue, EpilogueArgs};
use crate::panels;
use crate::testing::{CANARY, Random, SameBits, outcome, rows, run, sample};

const CHANNELS: [usize; 12] = [1, 7, 8, 15, 16, 17, 31, 32, 33, 48, 72, 100];

/// Channels innermost, with or without a gap behind those of each pixel; or any other order.
fn image(r: &mut Random, sizes: &[usize; 4]) -> Strided {
    let [n, c, h, w] = *sizes;
    let pixel = c + r.pick(&[0, 0, 3]);
    let last = Strided::new(&[n, c, h, w], &[h * w * pixel, 1, w * pixel, pixel]);
    if r.below(8) == 0 { r.layout(sizes) } else { last }
}

fn epilogue(r: &mut Random, dst: &[usize; 4]) -> Epilogue {
    let acts =
        [Act::None, Act::Relu, Act::Clamp { lo: -0.5, hi: 1.5 }, Act::HardSwish, Act::Silu, Act::Sigmoid];
    Epilogue {
        bias: r.below(3) > 0,
        act: r.pick(&acts),
        scale_shift: r.below(4) == 0,
        residual: (r.below(3) == 0).then(|| image(r, dst)),
        act2: if r.below(3) == 0 { r.pick(&acts) } else { Act::None },
    }
}

/// A random problem whose windows reach the padded image.
fn problem(r: &mut Random) -> Problem {
    loop {
        let sizes = [r.pick(&[1, 2]), r.pick(&CHANNELS), 1 + r.below(17), 1 + r.below(24)];
        let square = r.pick(&[[3, 3], [5, 5], [3, 3], [1, 3], [5, 3], [2, 4], [7, 7], [1, 1]]);
        let stride = r.pick(&[[1, 1], [2, 2], [1, 1], [2, 2], [1, 2], [3, 1], [2, 3]]);
        let dilation = r.pick(&[[1, 1], [1, 1], [1, 1], [2, 1], [1, 2], [2, 3]]);
        let padding = [(); 4].map(|()| r.below(4));
        let out = [0, 1].map(|a| {
            let room = sizes[a + 2] + padding[a] + padding[a + 2];
            room.checked_sub(dilation[a] * (square[a] - 1) + 1).map(|room| room / stride[a] + 1)
        });
        if let [Some(oh), Some(ow)] = out {
            let dst = [sizes[0], sizes[1], oh, ow];
            return Problem {
                src: image(r, &sizes),
                dst: image(r, &dst),
                kernel: square,
                stride,
                padding,
                dilation,
                epilogue: epilogue(r, &dst),
            };
        }
    }
}

struct Data {
    src: Vec<f32>,
    /// `[channel][tap]`
    filters: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    residual: Vec<f32>,
}

impl Data {
    fn new(r: &mut Random, p: &Problem) -> Self {
        let (taps, channels) = (p.kernel[0] * p.kernel[1], p.dst.size(1));
        let filters = r.floats(taps * channels);
        let columns = panels::padded(channels);
        Self {
            src: r.floats(p.src.extent()),
            weight: panels::pack(taps, channels, |tap, c| filters[c * taps + tap]),
            filters,
            bias: r.floats(columns),
            scale: r.floats(columns),
            shift: r.floats(columns),
            residual: r.floats(p.epilogue.residual.map_or(0, |s| s.extent())),
        }
    }

    fn args<'a>(&'a self, dst: &'a mut [f32]) -> Args<'a> {
        let operands = EpilogueArgs {
            bias: Span::from(&self.bias[..]),
            scale: Span::from(&self.scale[..]),
            shift: Span::from(&self.shift[..]),
            residual: Span::from(&self.residual[..]),
        };
        let (src, weight) = (Span::from(&self.src[..]), Span::from(&self.weight[..]));
        Args { src, weight, epilogue: operands, dst: SpanMut::from(dst) }
    }

    /// The value at one place and the sum of magnitudes that bounds its rounding errors.
    fn definition(&self, p: &Problem, [n, c, oy, ox]: [usize; 4]) -> (f64, f64) {
        let at = |s: &Strided, y: usize, x: usize| {
            n * s.stride(0) + c * s.stride(1) + y * s.stride(2) + x * s.stride(3)
        };
        let (mut sum, mut size) = (0f64, 1f64);
        for ky in 0..p.kernel[0] {
            for kx in 0..p.kernel[1] {
                let y = (oy * p.stride[0] + ky * p.dilation[0]).checked_sub(p.padding[0]);
                let x = (ox * p.stride[1] + kx * p.dilation[1]).checked_sub(p.padding[1]);
                let (Some(y), Some(x)) = (y, x) else { continue };
                if y < p.src.size(2) && x < p.src.size(3) {
                    let tap = c * p.kernel[0] * p.kernel[1] + ky * p.kernel[1] + kx;
                    let product = f64::from(self.src[at(&p.src, y, x)]) * f64::from(self.filters[tap]);
                    (sum, size) = (sum + product, size + product.abs());
                }
            }
        }
        let e = &p.epilogue;
        let act = |a: Act, x: f64| match a {
            Act::None => x,
            Act::Relu => x.max(0.0),
            Act::Clamp { lo, hi } => x.clamp(f64::from(lo), f64::from(hi)),
            Act::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Act::Silu => x / (1.0 + (-x).exp()),
            Act::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            other => unreachable!("{other:?}"),
        };
        if e.bias {
            sum += f64::from(self.bias[c]);
        }
        sum = act(e.act, sum);
        if e.scale_shift {
            sum = sum * f64::from(self.scale[c]) + f64::from(self.shift[c]);
        }
        if let Some(shape) = &e.residual {
            sum += f64::from(self.residual[at(shape, oy, ox)]);
        }
        // Slopes of scale and activations are below 2 and 1.6 each.
        (act(e.act2, sum), 6.0 * size)
    }
}

/// Every index of `[n, c, h, w]` and its offset.
fn places(s: &Strided) -> Vec<([usize; 4], usize)> {
    let [n, c, h, w] = [s.size(0), s.size(1), s.size(2), s.size(3)];
    (0..n * c * h * w)
        .map(|i| {
            let at = [i / (c * h * w), i / (h * w) % c, i / w % h, i % w];
            (at, at.iter().zip(s.strides()).map(|(i, s)| i * s).sum())
        })
        .collect()
}

fn check(p: &Problem, data: &Data) {
    let want: Vec<_> = places(&p.dst).into_iter().map(|(at, o)| (o, data.definition(p, at))).collect();
    let mut written = vec![false; p.dst.extent() + 16];
    want.iter().for_each(|(o, _)| written[*o] = true);
    let canary = vec![CANARY; written.len()];
    let mut bits = SameBits::default();
    for row in rows(KERNELS, p) {
        let got = outcome(&canary, row.name, |dst, split| run(row, p, data.args(dst), split));
        bits.of(row, p, &got);
        for &(at, (want, size)) in &want {
            let error = (f64::from(got[at]) - want).abs();
            // 2^-23 for every rounding of up to 49 products, most of them far below the largest.
            assert!(error <= 1e-6 * size, "{} at {at}: {} for {want} of {p:?}", row.name, got[at]);
        }
        for (i, x) in got.iter().enumerate().filter(|(i, _)| !written[*i]) {
            assert!(*x == CANARY, "{} wrote {x} at {i}, outside {p:?}", row.name);
        }
    }
}

#[test]
fn random_problems() {
    let mut r = Random::new(11);
    for _ in sample(0..600) {
        let p = problem(&mut r);
        check(&p, &Data::new(&mut r, &p));
    }
}

fn plain([n, c, h, w]: [usize; 4], kernel: usize, stride: usize, padding: usize) -> Problem {
    let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    Problem {
        src: Strided::with_order(&[n, c, h, w], &[0, 2, 3, 1]),
        dst: Strided::with_order(&[n, c, out(h), out(w)], &[0, 2, 3, 1]),
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 4],
        dilation: [1, 1],
        epilogue: Epilogue { bias: true, act: Act::Relu, ..Epilogue::default() },
    }
}

#[test]
fn several_tiles_of_models_shapes() {
    let mut r = Random::new(12);
    for (shape, kernel, stride) in
        [([1, 96, 56, 56], 3, 2), ([1, 960, 7, 7], 5, 1), ([2, 144, 29, 28], 3, 1), ([1, 672, 14, 14], 5, 2)]
    {
        let p = plain(shape, kernel, stride, kernel / 2);
        check(&p, &Data::new(&mut r, &p));
    }
}

#[test]
fn some_row_is_wide() {
    let p = plain([1, 32, 8, 8], 3, 1, 1);
    let wide =
        rows(KERNELS, &p).filter(|row| row.isa != tandem_base::Isa::SCALAR && !row.isa.in_unit()).count();
    let isa = tandem_base::Isa::detect();
    assert!(wide > 0 || !(isa.has(tandem_base::Isa::AVX2) || isa.has(tandem_base::Isa::NEON)));
}

#[test]
fn residual_in_place() {
    let mut r = Random::new(13);
    for act in [Act::Relu, Act::Silu] {
        let mut p = plain([1, 40, 9, 18], 3, 1, 1);
        p.epilogue = Epilogue { bias: true, act, residual: Some(p.dst), ..Epilogue::default() };
        let data = Data::new(&mut r, &p);
        for row in rows(KERNELS, &p) {
            let apart = outcome(&data.residual, row.name, |dst, split| run(row, &p, data.args(dst), split));
            let in_place = outcome(&data.residual, row.name, |dst, split| {
                let mut args = data.args(dst);
                args.epilogue.residual = args.dst.as_span();
                run(row, &p, args, split);
            });
            assert_eq!(apart, in_place, "{}", row.name);
        }
    }
}

#[test]
fn nan_and_infinity_reach_their_windows_only() {
    let mut r = Random::new(14);
    let p = plain([1, 33, 12, 12], 3, 1, 1);
    let mut data = Data::new(&mut r, &p);
    data.weight.iter_mut().for_each(|w| *w = w.abs() + 0.1);
    let at = |c: usize, y: usize, x: usize| (y * 12 + x) * 33 + c;
    data.src[at(5, 4, 4)] = f32::NAN;
    data.src[at(32, 8, 8)] = f32::INFINITY;
    for row in rows(KERNELS, &p) {
        let got =
            outcome(&vec![0.0; p.dst.extent()], row.name, |dst, split| run(row, &p, data.args(dst), split));
        for ([_, c, y, x], o) in places(&p.dst) {
            let near = |a: usize, b: usize| a.abs_diff(b) <= 1;
            let nan = c == 5 && near(y, 4) && near(x, 4);
            let infinite = c == 32 && near(y, 8) && near(x, 8);
            assert_eq!(got[o].is_nan(), nan, "{}: {} at {c} {y} {x}", row.name, got[o]);
            assert_eq!(got[o].is_infinite(), infinite, "{}: {} at {c} {y} {x}", row.name, got[o]);
        }
    }
}
