//! Every row against its stages one after the other, bit for bit, and against the definition in f64.

use tandem_base::{Isa, Span, SpanMut, Strided};

use super::cut::Limits;
use super::run::row;
use super::{Args, Chain, KERNELS, Problem, Stage};
use crate::conv::{self, MAX_SEGMENTS};
use crate::depthwise;
use crate::epilogue::{Act, Epilogue, EpilogueArgs};
use crate::kernel::{Family, Kernel};
use crate::panels;
use crate::testing::{CANARY, Random, Split, outcome, rows, run, sample};

/// The family's rows, with so little held at a time that small problems have many bands and blocks.
static SMALL: &[Kernel<Chain>] = &[
    #[cfg(target_arch = "x86_64")]
    row!("avx512-chain-small", AVX512, Limits { held: 1500, work: 10_000, tiles: 6 }),
    #[cfg(target_arch = "x86_64")]
    row!("avx2-chain-small", AVX2, Limits { held: 900, work: 10_000, tiles: 9 }),
    #[cfg(target_arch = "aarch64")]
    row!("neon-chain-small", NEON, Limits { held: 1500, work: 10_000, tiles: 6 }),
    row!("scalar-chain-small", SCALAR, Limits { held: 1, work: 1, tiles: 50 }),
];

fn all(p: &Problem) -> impl Iterator<Item = &'static Kernel<Chain>> {
    rows(KERNELS, p).chain(rows(SMALL, p))
}

/// Channels innermost, with or without a gap behind those of each pixel; or any other order.
fn image(r: &mut Random, sizes: &[usize; 4]) -> Strided {
    let [n, c, h, w] = *sizes;
    let pixel = c + r.pick(&[0, 0, 3]);
    let last = Strided::new(&[n, c, h, w], &[h * w * pixel, 1, w * pixel, pixel]);
    if r.below(6) == 0 { r.layout(sizes) } else { last }
}

fn epilogue(r: &mut Random, dst: &[usize; 4], added: bool) -> Epilogue {
    let acts =
        [Act::None, Act::Relu, Act::Clamp { lo: -0.5, hi: 1.5 }, Act::HardSwish, Act::Silu, Act::Sigmoid];
    Epilogue {
        bias: r.below(3) > 0,
        act: r.pick(&acts),
        scale_shift: r.below(5) == 0,
        residual: added.then(|| image(r, dst)),
        act2: if r.below(3) == 0 { r.pick(&acts) } else { Act::None },
    }
}

/// A window's place: kernel, stride, padding and dilation; sizes of what it gives.
type Window = ([usize; 2], [usize; 2], [usize; 4], [usize; 2]);

fn window(r: &mut Random, kernel: [usize; 2], size: [usize; 2]) -> Option<(Window, [usize; 2])> {
    let stride = r.pick(&[[1, 1], [2, 2], [1, 1], [2, 2], [1, 2], [3, 2]]);
    let dilation = r.pick(&[[1, 1], [1, 1], [1, 1], [2, 1]]);
    let reach = [0, 1].map(|a| dilation[a] * (kernel[a] - 1) + 1);
    let padding = [0, 1, 2, 3].map(|side| r.below(reach[side % 2].min(4)));
    let mut out = [0; 2];
    for a in 0..2 {
        out[a] = (size[a] + padding[a] + padding[a + 2]).checked_sub(reach[a])? / stride[a] + 1;
    }
    Some(((kernel, stride, padding, dilation), out))
}

fn conv(
    src: Vec<Strided>,
    dst: Strided,
    (kernel, stride, padding, dilation): Window,
    epilogue: Epilogue,
) -> conv::Problem {
    let src = src.into_iter().collect();
    conv::Problem {
        src,
        dst,
        kernel,
        stride,
        padding,
        dilation,
        groups: 1,
        shuffle: 1,
        epilogue,
        fast_math: false,
    }
}

/// A random problem: stages by `kind`, windows that reach the padded image.
fn problem(r: &mut Random, kind: usize) -> Problem {
    loop {
        let (batch, size) = (r.pick(&[1, 1, 2]), [1 + r.below(20), 1 + r.below(24)]);
        let channels = r.pick(&[1, 7, 16, 17, 31, 32, 33, 48, 72, 100]);
        let (front, behind) = (kind != 1, kind != 0);
        let added = r.below(3);
        let (mut expand, mut plane) = (None, size);
        if front {
            let kernel = r.pick(&[[1, 1], [1, 1], [3, 3], [2, 3]]);
            let Some((window, out)) = window(r, kernel, size) else { continue };
            let src = (0..r.pick(&[1, 1, 2])).map(|_| {
                let channels = r.pick(&[1, 3, 5, 16, 24]);
                image(r, &[batch, channels, size[0], size[1]])
            });
            let src = src.collect();
            plane = out;
            let dst = [batch, channels, out[0], out[1]];
            let also = added == 1 && r.below(2) == 0;
            let stages = epilogue(r, &dst, also);
            expand = Some(conv(src, last(dst), window, stages));
        }
        let kernel = r.pick(&[[3, 3], [5, 5], [3, 3], [1, 3], [2, 4]]);
        let Some(((kernel, stride, padding, dilation), out)) = window(r, kernel, plane) else { continue };
        let dst = [batch, channels, out[0], out[1]];
        let mid = [batch, channels, plane[0], plane[1]];
        let depthwise = depthwise::Problem {
            src: if front { last(mid) } else { image(r, &mid) },
            dst: if behind { last(dst) } else { image(r, &dst) },
            kernel,
            stride,
            padding,
            dilation,
            epilogue: epilogue(r, &dst, added == 1),
        };
        let project = behind.then(|| {
            let to = [batch, r.pick(&[1, 8, 24, 40]), out[0], out[1]];
            let stages = epilogue(r, &to, added == 2);
            let one = ([1, 1], [1, 1], [0; 4], [1, 1]);
            conv(vec![last(dst)], image(r, &to), one, stages)
        });
        return Problem { expand, depthwise, project };
    }
}

/// Constants of a stage and what it adds.
struct Constants {
    /// `[column][k]`, and packed.
    rows: Vec<f32>,
    weight: Vec<f32>,
    columns: [Vec<f32>; 3],
    residual: Vec<f32>,
}

impl Constants {
    fn new(r: &mut Random, k: usize, columns: usize, epilogue: &Epilogue) -> Self {
        let scale = (k as f32).sqrt().recip();
        let rows: Vec<f32> = r.floats(k * columns).into_iter().map(|x| x * scale).collect();
        Self {
            weight: panels::pack(k, columns, |k_at, column| rows[column * k + k_at]),
            rows,
            columns: [(); 3].map(|()| r.floats(panels::padded(columns))),
            residual: r.floats(epilogue.residual.map_or(0, |shape| shape.extent())),
        }
    }

    fn stage(&self) -> Stage<'_> {
        let [bias, scale, shift] = self.columns.each_ref().map(|c| Span::from(&c[..]));
        let residual = Span::from(&self.residual[..]);
        Stage {
            weight: Span::from(&self.weight[..]),
            epilogue: EpilogueArgs { bias, scale, shift, residual },
        }
    }
}

struct Data {
    src: Vec<Vec<f32>>,
    expand: Option<Constants>,
    depthwise: Constants,
    project: Option<Constants>,
}

impl Data {
    fn new(r: &mut Random, p: &Problem) -> Self {
        let src = p.src().iter().map(|s| r.floats(s.extent())).collect();
        let mut of = |c: &conv::Problem| Constants::new(r, c.k(), c.dst.size(1), &c.epilogue);
        let (expand, project) = (p.expand.as_ref().map(&mut of), p.project.as_ref().map(&mut of));
        let d = &p.depthwise;
        let depthwise = Constants::new(r, d.kernel[0] * d.kernel[1], d.dst.size(1), &d.epilogue);
        Self { src, expand, depthwise, project }
    }

    fn src(&self) -> [Span<'_, f32>; MAX_SEGMENTS] {
        let mut spans = [Span::empty(); MAX_SEGMENTS];
        for (span, src) in spans.iter_mut().zip(&self.src) {
            *span = Span::from(&src[..]);
        }
        spans
    }

    fn args<'a>(&'a self, dst: &'a mut [f32]) -> Args<'a> {
        let stage = |c: &'a Option<Constants>| c.as_ref().map_or(Stage::none(), Constants::stage);
        let (expand, project) = (stage(&self.expand), stage(&self.project));
        Args { src: self.src(), expand, depthwise: self.depthwise.stage(), project, dst: SpanMut::from(dst) }
    }

    /// The stages one after the other, by rows of an instruction set; `dst` is what the destination holds before.
    fn apart(&self, p: &Problem, isa: Isa, dst: &[f32]) -> Vec<f32> {
        let convolve = |p: &conv::Problem, constants: &Constants, src, dst: &[f32]| {
            let mut out = dst.to_vec();
            let Stage { weight, epilogue } = constants.stage();
            let args = conv::Args { src, weight, epilogue, dst: SpanMut::from(&mut out[..]) };
            run(row_of(conv::KERNELS, p, isa), p, args, Split::Whole);
            out
        };
        let (mut src, d) = (self.src(), &p.depthwise);
        let between = |shape: &Strided| vec![CANARY; shape.extent()];
        let stage = |p: &Option<conv::Problem>| p.clone();
        let front = stage(&p.expand)
            .map(|e| convolve(&e, self.expand.as_ref().expect("constants"), src, &between(&e.dst)));
        if let Some(front) = &front {
            src[0] = Span::from(&front[..]);
        }
        let mut out = if p.project.is_some() { between(&d.dst) } else { dst.to_vec() };
        let Stage { weight, epilogue } = self.depthwise.stage();
        let args = depthwise::Args { src: src[0], weight, epilogue, dst: SpanMut::from(&mut out[..]) };
        run(row_of(depthwise::KERNELS, d, isa), d, args, Split::Whole);
        let Some(project) = &p.project else { return out };
        src[0] = Span::from(&out[..]);
        convolve(project, self.project.as_ref().expect("constants"), src, dst)
    }
}

/// The first row of an instruction set, which has the bits of all of them.
fn row_of<F: Family>(table: &'static [Kernel<F>], p: &F::Problem, isa: Isa) -> &'static Kernel<F> {
    rows(table, p).find(|row| row.isa == isa).expect("a row for the stage")
}

/// Values and the magnitudes that bound their rounding errors, `[n, c, h, w]`.
struct Wide {
    sizes: [usize; 4],
    of: Vec<[f64; 2]>,
}

fn act(a: Act, x: f64) -> f64 {
    match a {
        Act::None => x,
        Act::Relu => x.max(0.0),
        Act::Clamp { lo, hi } => x.clamp(f64::from(lo), f64::from(hi)),
        Act::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Act::Silu => x / (1.0 + (-x).exp()),
        Act::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        other => unreachable!("{other:?}"),
    }
}

fn offset(shape: &Strided, at: [usize; 4]) -> usize {
    at.iter().zip(shape.strides()).map(|(at, stride)| at * stride).sum()
}

fn places([n, c, h, w]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..n * c * h * w).map(move |i| [i / w / h / c, i / w / h % c, i / w % h, i % w])
}

impl Wide {
    fn at(&self, [n, c, y, x]: [usize; 4]) -> [f64; 2] {
        let [_, channels, h, w] = self.sizes;
        if y < h && x < w { self.of[((n * channels + c) * h + y) * w + x] } else { [0.0; 2] }
    }

    fn source(p: &Problem, data: &Data) -> Self {
        let of = |segment: usize, at| [f64::from(data.src[segment][offset(&p.src()[segment], at)]); 2];
        let first = p.src()[0].sizes();
        let channels: Vec<usize> = p.src().iter().map(|s| s.size(1)).collect();
        let sizes = [first[0], channels.iter().sum(), first[2], first[3]];
        let value = |[n, mut c, y, x]: [usize; 4]| {
            let mut segment = 0;
            while c >= channels[segment] {
                c -= channels[segment];
                segment += 1;
            }
            let [x, _] = of(segment, [n, c, y, x]);
            [x, x.abs()]
        };
        Self { sizes, of: places(sizes).map(value).collect() }
    }

    /// A stage by its definition; depthwise where a column reads its own channel alone.
    fn stage(&self, out: &[usize], window: Window, own: bool, e: &Epilogue, constants: &Constants) -> Self {
        let (kernel, stride, padding, dilation) = window;
        let sizes: [usize; 4] = out.try_into().expect("an image");
        let inputs = if own { 1 } else { self.sizes[1] };
        let value = |[n, column, oy, ox]: [usize; 4]| {
            let [mut sum, mut size] = [0f64, 1e-3];
            for i in 0..kernel[0] * kernel[1] * inputs {
                let (tap, c) = (i / inputs, if own { column } else { i % inputs });
                let y = (oy * stride[0] + tap / kernel[1] * dilation[0]).wrapping_sub(padding[0]);
                let x = (ox * stride[1] + tap % kernel[1] * dilation[1]).wrapping_sub(padding[1]);
                let [value, bound] = self.at([n, c, y, x]);
                let k = kernel[0] * kernel[1] * inputs;
                let weight = f64::from(constants.rows[column * k + i]);
                (sum, size) = (sum + value * weight, size + bound * weight.abs());
            }
            let [bias, scale, shift] = constants.columns.each_ref().map(|c| f64::from(c[column]));
            if e.bias {
                (sum, size) = (sum + bias, size + bias.abs());
            }
            sum = act(e.act, sum);
            if e.scale_shift {
                (sum, size) = (sum * scale + shift, size * scale.abs() + shift.abs());
            }
            if let Some(shape) = &e.residual {
                let added = f64::from(constants.residual[offset(shape, [n, column, oy, ox])]);
                (sum, size) = (sum + added, size + added.abs());
            }
            // Activations have slopes below 1.6 each.
            [act(e.act2, sum), size * 2.6]
        };
        Self { sizes, of: places(sizes).map(value).collect() }
    }

    fn chain(p: &Problem, data: &Data) -> Self {
        let mut image = Self::source(p, data);
        let window = |p: &conv::Problem| (p.kernel, p.stride, p.padding, p.dilation);
        if let (Some(e), Some(constants)) = (&p.expand, &data.expand) {
            image = image.stage(e.dst.sizes(), window(e), false, &e.epilogue, constants);
        }
        let d = &p.depthwise;
        let place = (d.kernel, d.stride, d.padding, d.dilation);
        image = image.stage(d.dst.sizes(), place, true, &d.epilogue, &data.depthwise);
        if let (Some(c), Some(constants)) = (&p.project, &data.project) {
            image = image.stage(c.dst.sizes(), window(c), false, &c.epilogue, constants);
        }
        image
    }
}

/// Every row against its own stages apart and against the definition; how many rows took the problem.
fn check(p: &Problem, data: &Data) -> usize {
    let wide = Wide::chain(p, data);
    let before = vec![CANARY; p.dst().extent()];
    let mut count = 0;
    for row in all(p) {
        let got = outcome(&before, row.name, |dst, split| run(row, p, data.args(dst), split));
        let apart = data.apart(p, row.isa, &before);
        let differs = got.iter().zip(&apart).position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(differs, None, "{} differs from its stages in\n{p:?}", row.name);
        for at in places(wide.sizes) {
            let [want, size] = wide.at(at);
            let found = f64::from(got[offset(p.dst(), at)]);
            assert!(
                (found - want).abs() <= 4e-6 * size,
                "{} at {at:?}: {found} for {want} ({size})\n{p:?}",
                row.name
            );
        }
        count += 1;
    }
    count
}

#[test]
fn random_problems() {
    let (mut r, mut cut) = (Random::new(31), 0);
    for i in sample(0..120) {
        let p = problem(&mut r, i % 3);
        let data = Data::new(&mut r, &p);
        assert!(check(&p, &data) >= 1, "no row takes\n{p:?}");
        cut += all(&p).filter(|row| (row.tiles)(&p, 0) > 2 * p.dst().size(0)).count();
    }
    assert!(cut > 10, "{cut} of the problems were cut");
}

fn last(sizes: [usize; 4]) -> Strided {
    Strided::with_order(&sizes, &[0, 2, 3, 1])
}

/// An inverted bottleneck: channels, size, kernel and stride.
fn bottleneck([from, between, to]: [usize; 3], [h, w]: [usize; 2], kernel: usize, stride: usize) -> Problem {
    let out = |n: usize| (n - 1) / stride + 1;
    let (src, mid) = (last([1, from, h, w]), last([1, between, h, w]));
    let (deep, dst) = (last([1, between, out(h), out(w)]), last([1, to, out(h), out(w)]));
    let stages = Epilogue { bias: true, act: Act::Clamp { lo: 0.0, hi: 6.0 }, ..Epilogue::default() };
    let one = ([1, 1], [1, 1], [0; 4], [1, 1]);
    let residual = (from == to && stride == 1).then_some(src);
    let linear = Epilogue { bias: true, residual, ..Epilogue::default() };
    Problem {
        expand: Some(conv(vec![src], mid, one, stages)),
        depthwise: depthwise::Problem {
            src: mid,
            dst: deep,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 4],
            dilation: [1, 1],
            epilogue: stages,
        },
        project: Some(conv(vec![deep], dst, one, linear)),
    }
}

#[test]
fn bands_and_blocks_of_models_shapes() {
    let mut r = Random::new(32);
    for (channels, size, kernel, stride) in
        [([16, 96, 24], [57, 56], 3, 2), ([24, 144, 24], [29, 28], 3, 1), ([40, 120, 48], [14, 28], 5, 1)]
    {
        let p = bottleneck(channels, size, kernel, stride);
        check(&p, &Data::new(&mut r, &p));
        let front = Problem { project: None, ..p.clone() };
        check(&front, &Data::new(&mut r, &front));
    }
}

#[test]
fn residual_in_place() {
    let mut r = Random::new(33);
    let mut p = bottleneck([24, 40, 24], [9, 14], 3, 1);
    p.expand = None;
    let data = Data::new(&mut r, &p);
    let constants = data.project.as_ref().expect("constants");
    for row in all(&p) {
        let apart = outcome(&constants.residual, row.name, |dst, split| run(row, &p, data.args(dst), split));
        let in_place = outcome(&constants.residual, row.name, |dst, split| {
            let mut args = data.args(dst);
            args.project.epilogue.residual = args.dst.as_span();
            run(row, &p, args, split);
        });
        assert_eq!(apart, in_place, "{}", row.name);
    }
}

#[test]
fn nothing_to_compute() {
    let mut r = Random::new(34);
    let mut p = bottleneck([3, 5, 4], [6, 6], 3, 1);
    let empty = |shape: &mut Strided| *shape = last([0, shape.size(1), shape.size(2), shape.size(3)]);
    if let (Some(e), Some(c)) = (&mut p.expand, &mut p.project) {
        [&mut e.src[0], &mut e.dst, &mut c.src[0], &mut c.dst].into_iter().for_each(empty);
    }
    [&mut p.depthwise.src, &mut p.depthwise.dst].into_iter().for_each(empty);
    assert!(check(&p, &Data::new(&mut r, &p)) > 0);
}

#[test]
fn the_destination_lies_apart_from_sources() {
    let mut r = Random::new(35);
    let p = bottleneck([16, 16, 16], [4, 4], 3, 1);
    let data = Data::new(&mut r, &p);
    let mut dst = vec![0.0; p.dst().extent()];
    let args = data.args(&mut dst);
    assert_eq!(Chain::check(&p, &args), Ok(()));
    let mut over = args;
    over.src[0] = over.dst.as_span();
    assert!(Chain::check(&p, &over).is_err());
    let mut short = args;
    short.project.weight = Span::empty();
    assert!(Chain::check(&p, &short).is_err());
}

#[test]
fn what_is_no_chain_is_refused() {
    let p = bottleneck([16, 16, 16], [8, 8], 3, 1);
    let refused = |p: &Problem| KERNELS.iter().all(|row| (row.supports)(p).is_err());
    assert!(!refused(&p));
    assert!(refused(&Problem { expand: None, project: None, ..p.clone() }));
    let mut far = p.clone();
    far.depthwise.padding[0] = 3;
    assert!(refused(&far));
    let mut wide = p;
    if let Some(project) = &mut wide.project {
        project.kernel = [3, 3];
    }
    assert!(refused(&wide));
}
