//! Every row against the definition in f64, which scatters sources instead of gathering outputs.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, KERNELS, Problem};
use crate::epilogue::{Act, Epilogue, EpilogueArgs};
use crate::panels;
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

/// Channels innermost, with or without a gap; or any other order.
fn image(r: &mut Random, sizes: &[usize; 4]) -> Strided {
    let [n, c, h, w] = *sizes;
    let pixel = c + r.pick(&[0, 0, 3]);
    let last = Strided::new(&[n, c, h, w], &[h * w * pixel, 1, w * pixel, pixel]);
    if r.below(6) == 0 { r.layout(sizes) } else { last }
}

fn problem(r: &mut Random) -> Problem {
    loop {
        let groups = r.pick(&[1, 1, 1, 2, 3]);
        let [from, to] = [(); 2].map(|()| groups * r.pick(&[1, 2, 5, 15, 16, 17, 31, 32, 33, 48]));
        let sizes = [r.pick(&[1, 2]), from, 1 + r.below(9), 1 + r.below(12)];
        let kernel = r.pick(&[[2, 2], [3, 3], [4, 4], [1, 1], [2, 3], [5, 4], [1, 7]]);
        let stride = r.pick(&[[2, 2], [2, 2], [1, 1], [3, 2], [2, 1], [4, 3]]);
        let dilation = r.pick(&[[1, 1], [1, 1], [1, 1], [2, 1], [1, 2], [3, 3]]);
        let padding = [(); 4].map(|()| r.below(3));
        let out = [0, 1].map(|a| {
            let extra = r.below(stride[a].max(dilation[a]));
            let full = (sizes[a + 2] - 1) * stride[a] + dilation[a] * (kernel[a] - 1) + 1 + extra;
            full.checked_sub(padding[a] + padding[a + 2]).filter(|&n| n > 0)
        });
        if let [Some(oh), Some(ow)] = out {
            let dst = [sizes[0], to, oh, ow];
            let acts = [Act::None, Act::Relu, Act::Clamp { lo: -0.5, hi: 3.0 }, Act::HardSwish];
            let epilogue = Epilogue {
                bias: r.below(3) > 0,
                act: r.pick(&acts),
                scale_shift: r.below(4) == 0,
                residual: (r.below(3) == 0).then(|| image(r, &dst)),
                act2: if r.below(3) == 0 { r.pick(&acts) } else { Act::None },
            };
            let (src, dst) = (image(r, &sizes), image(r, &dst));
            return Problem { src, dst, kernel, stride, padding, dilation, groups, epilogue };
        }
    }
}

struct Data {
    src: Vec<f32>,
    /// `[source channel][column of its group][ky][kx]`, as ATen has them.
    filters: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    residual: Vec<f32>,
}

impl Data {
    fn new(r: &mut Random, p: &Problem) -> Self {
        let (channels, columns) = (p.src.size(1) / p.groups, p.dst.size(1) / p.groups);
        let [kh, kw] = p.kernel;
        let filters = r.floats(p.src.size(1) * columns * kh * kw);
        let mut weight = Vec::new();
        for group in 0..p.groups {
            for parity in 0..p.stride[0] * p.stride[1] {
                let (py, px) = (parity / p.stride[1], parity % p.stride[1]);
                let hit = |t: usize, axis: usize, of: usize| t * p.dilation[axis] % p.stride[axis] == of;
                let taps: Vec<usize> =
                    (0..kh * kw).filter(|t| hit(t / kw, 0, py) && hit(t % kw, 1, px)).collect();
                weight.extend(panels::pack(taps.len() * channels, columns, |k, column| {
                    let channel = group * channels + k % channels;
                    filters[(channel * columns + column) * kh * kw + taps[k / channels]]
                }));
            }
        }
        let padded = p.padded_columns();
        Self {
            src: r.floats(p.src.extent()),
            filters,
            weight,
            bias: r.floats(padded),
            scale: r.floats(padded),
            shift: r.floats(padded),
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

    /// The product at every output `[n, c, y, x]`, and the sum of magnitudes that bounds its rounding errors.
    fn products(&self, p: &Problem) -> Vec<(f64, f64)> {
        let (channels, columns) = (p.src.size(1) / p.groups, p.dst.size(1) / p.groups);
        let mut all = vec![(0f64, 1f64); p.dst.elements()];
        let [to, oh, ow] = [p.dst.size(1), p.dst.size(2), p.dst.size(3)];
        for ([n, i, iy, ix], at) in places(&p.src) {
            for tap in 0..p.kernel[0] * p.kernel[1] {
                let (ky, kx) = (tap / p.kernel[1], tap % p.kernel[1]);
                let oy = (iy * p.stride[0] + ky * p.dilation[0]).wrapping_sub(p.padding[0]);
                let ox = (ix * p.stride[1] + kx * p.dilation[1]).wrapping_sub(p.padding[1]);
                if oy >= oh || ox >= ow {
                    continue;
                }
                for column in 0..columns {
                    let c = i / channels * columns + column;
                    let filter = self.filters[(i * columns + column) * p.kernel[0] * p.kernel[1] + tap];
                    let product = f64::from(self.src[at]) * f64::from(filter);
                    let (sum, size) = &mut all[((n * to + c) * oh + oy) * ow + ox];
                    (*sum, *size) = (*sum + product, *size + product.abs());
                }
            }
        }
        all
    }

    fn finish(&self, p: &Problem, sum: f64, [n, c, y, x]: [usize; 4]) -> f64 {
        let act = |a: Act, x: f64| match a {
            Act::None => x,
            Act::Relu => x.max(0.0),
            Act::Clamp { lo, hi } => x.clamp(f64::from(lo), f64::from(hi)),
            Act::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            other => unreachable!("{other:?}"),
        };
        let columns = p.dst.size(1) / p.groups;
        let column = c / columns * panels::padded(columns) + c % columns;
        let e = &p.epilogue;
        let mut sum = if e.bias { sum + f64::from(self.bias[column]) } else { sum };
        sum = act(e.act, sum);
        if e.scale_shift {
            sum = sum * f64::from(self.scale[column]) + f64::from(self.shift[column]);
        }
        if let Some(s) = &e.residual {
            let at = n * s.stride(0) + c * s.stride(1) + y * s.stride(2) + x * s.stride(3);
            sum += f64::from(self.residual[at]);
        }
        act(e.act2, sum)
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

fn check(p: &Problem, data: &Data) {
    let products = data.products(p);
    let mut written = vec![false; p.dst.extent() + 16];
    let want: Vec<_> = places(&p.dst)
        .into_iter()
        .zip(products)
        .map(|((at, o), (sum, size))| (o, data.finish(p, sum, at), size))
        .collect();
    want.iter().for_each(|(o, ..)| written[*o] = true);
    let canary = vec![CANARY; written.len()];
    for row in rows(KERNELS, p) {
        let got = outcome(&canary, row.name, |dst, split| run(row, p, data.args(dst), split));
        for &(at, want, size) in &want {
            // Hundreds of products, roundings of 2^-24 of partial sums; slopes of scale and activations below 7.
            let error = (f64::from(got[at]) - want).abs();
            assert!(error <= 5e-6 * size, "{} at {at}: {} for {want} of {p:?}", row.name, got[at]);
        }
        for (i, x) in got.iter().enumerate().filter(|(i, _)| !written[*i]) {
            assert!(*x == CANARY, "{} wrote {x} at {i}, outside {p:?}", row.name);
        }
    }
}

#[test]
fn random_problems() {
    let mut r = Random::new(41);
    for _ in sample(0..400) {
        let p = problem(&mut r);
        check(&p, &Data::new(&mut r, &p));
    }
}

fn plain(from: usize, to: usize, size: usize, kernel: usize, padding: usize) -> Problem {
    let out = (size - 1) * 2 + kernel - 2 * padding;
    Problem {
        src: Strided::with_order(&[1, from, size, size], &[0, 2, 3, 1]),
        dst: Strided::with_order(&[1, to, out, out], &[0, 2, 3, 1]),
        kernel: [kernel; 2],
        stride: [2, 2],
        padding: [padding; 4],
        dilation: [1, 1],
        groups: 1,
        epilogue: Epilogue { bias: true, act: Act::Relu, ..Epilogue::default() },
    }
}

#[test]
fn several_tiles_of_models_shapes() {
    let mut r = Random::new(42);
    for (from, to, size, kernel, padding) in [(64, 32, 32, 2, 0), (40, 72, 20, 4, 1), (32, 64, 24, 3, 1)] {
        let p = plain(from, to, size, kernel, padding);
        check(&p, &Data::new(&mut r, &p));
    }
}

#[test]
fn residual_in_place() {
    let mut r = Random::new(43);
    let mut p = plain(20, 40, 9, 3, 1);
    p.epilogue.residual = Some(p.dst);
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

/// ATen's result of 1, 2, 3 by the filter 1, 10, 100 at stride 2, cropped by 1 on both sides, with and without output
/// padding.
#[test]
fn a_line_by_hand() {
    for (out, want) in
        [(5, vec![10.0, 102.0, 20.0, 203.0, 30.0]), (6, vec![10.0, 102.0, 20.0, 203.0, 30.0, 300.0])]
    {
        let shape = |w: usize| Strided::with_order(&[1, 1, 1, w], &[0, 2, 3, 1]);
        let p = Problem {
            src: shape(3),
            dst: shape(out),
            kernel: [1, 3],
            stride: [1, 2],
            padding: [0, 1, 0, 1],
            epilogue: Epilogue::default(),
            ..plain(1, 1, 1, 1, 0)
        };
        // Parity 0 has taps 0 and 2, parity 1 tap 1.
        let weight = [panels::pack(2, 1, |k, _| [1.0, 100.0][k]), panels::pack(1, 1, |_, _| 10.0)].concat();
        for row in rows(KERNELS, &p) {
            let mut dst = vec![0.0; out];
            let (src, weight) = (Span::from(&[1.0, 2.0, 3.0][..]), Span::from(&weight[..]));
            let args = Args { src, weight, epilogue: EpilogueArgs::none(), dst: SpanMut::from(&mut dst[..]) };
            run(row, &p, args, crate::testing::Split::Whole);
            assert_eq!(dst, want, "{}", row.name);
        }
    }
}
