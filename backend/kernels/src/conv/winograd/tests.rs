//! Every Winograd row against the direct sum in f64, on shapes with all kinds of edges.

use proptest::prelude::*;
use tandem_base::{AlignedBuf, Isa, Span, SpanMut, Strided, Task};

use crate::conv::{Args, Conv, KERNELS, MAX_SEGMENTS, Problem};
use crate::element::Element;
use crate::epilogue::{Act, Epilogue, EpilogueArgs};
use crate::kernel::{Family, Kernel, Rates};
use crate::panels;
use crate::select;
use crate::testing::sample;

pub const CANARY: f32 = -12345.5;

/// Uniform in -1..1, a function of seed and index.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

pub fn rows() -> impl Iterator<Item = &'static Kernel<Conv>> {
    let isa = Isa::detect();
    KERNELS.iter().filter(move |row| row.name.contains("winograd") && isa.has(row.isa))
}

#[derive(Clone, Debug)]
pub struct Case {
    batch: usize,
    segments: Vec<usize>,
    size: [usize; 2],
    padding: [usize; 4],
    columns: usize,
    /// Elements between the channels of one pixel and the next.
    gap: usize,
    epilogue: [bool; 3],
    acts: [Act; 2],
}

/// Channels innermost, `gap` elements behind those of each pixel.
fn image(n: usize, c: usize, [h, w]: [usize; 2], gap: usize) -> Strided {
    let pixel = c + gap;
    Strided::new(&[n, c, h, w], &[h * w * pixel, 1, w * pixel, pixel])
}

pub struct Data {
    pub problem: Problem,
    src: Vec<Vec<f32>>,
    /// `[column][row]`, row = (ky, kx, channel).
    filters: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    residual: Vec<f32>,
}

impl Case {
    pub fn data(&self) -> Data {
        let [top, left, bottom, right] = self.padding;
        let out = [self.size[0] + top + bottom - 2, self.size[1] + left + right - 2];
        let dst = image(self.batch, self.columns, out, self.gap);
        let residual_shape = image(self.batch, self.columns, out, 2 * self.gap + 1);
        let [bias, scale_shift, residual] = self.epilogue;
        let problem = Problem {
            src: self.segments.iter().map(|&c| image(self.batch, c, self.size, self.gap)).collect(),
            dst,
            kernel: [3, 3],
            stride: [1, 1],
            padding: self.padding,
            dilation: [1, 1],
            groups: 1,
            shuffle: 1,
            epilogue: Epilogue {
                bias,
                act: self.acts[0],
                scale_shift,
                residual: residual.then_some(residual_shape),
                act2: self.acts[1],
            },
            fast_math: true,
        };
        let k = problem.k();
        let filters = noise(7, k * self.columns);
        let weight = panels::pack(k, self.columns, |row, column| filters[column * k + row]);
        let columns = panels::padded(self.columns);
        Data {
            src: (0..).zip(&problem.src).map(|(i, s)| noise(100 + i, s.extent())).collect(),
            weight,
            filters,
            bias: noise(1, columns),
            scale: noise(2, columns),
            shift: noise(3, columns),
            residual: noise(4, residual_shape.extent()),
            problem,
        }
    }
}

/// What a problem reads, in another element.
pub struct Stored<T> {
    src: Vec<Vec<T>>,
    weight: Vec<T>,
    residual: Vec<T>,
}

impl Data {
    /// Rounded to another element, every segment of a tap in whole words.
    pub fn stored<T: Element>(&self) -> Stored<T> {
        let (p, g) = (&self.problem, T::PER_WORD);
        let round = |all: &[f32]| all.iter().map(|&x| T::from_f32(x)).collect::<Vec<T>>();
        let segments = p.src.iter().map(|s| s.size(1)).collect::<Vec<_>>();
        let channels =
            (0..9).flat_map(|_| &segments).flat_map(|&c| (0..c.next_multiple_of(g)).map(move |i| i < c));
        let mut rows = 0..;
        let rows: Vec<Option<usize>> =
            channels.map(|inside| if inside { rows.next() } else { None }).collect();
        let weight = |row: usize, column: usize| {
            T::from_f32(rows[row].map_or(0.0, |row| self.filters[column * p.k() + row]))
        };
        Stored {
            src: self.src.iter().map(|src| round(src)).collect(),
            weight: panels::pack_words(g, g * p.words(g), p.dst.size(1), weight),
            residual: round(&self.residual),
        }
    }

    /// Operands of another element.
    pub fn args_of<'a, T: Element>(&'a self, stored: &'a Stored<T>, dst: &'a mut [T]) -> Args<'a, T> {
        let mut src = [Span::empty(); MAX_SEGMENTS];
        for (span, data) in src.iter_mut().zip(&stored.src) {
            *span = Span::from(&data[..]);
        }
        let [bias, scale, shift] =
            [&self.bias, &self.scale, &self.shift].map(|column| Span::from(&column[..]));
        let epilogue = EpilogueArgs { bias, scale, shift, residual: Span::from(&stored.residual[..]) };
        Args { src, weight: Span::from(&stored.weight[..]), epilogue, dst: SpanMut::from(dst) }
    }

    pub fn args<'a>(&'a self, dst: &'a mut [f32]) -> Args<'a> {
        let mut src = [Span::empty(); MAX_SEGMENTS];
        for (span, data) in src.iter_mut().zip(&self.src) {
            *span = Span::from(&data[..]);
        }
        Args {
            src,
            weight: Span::from(&self.weight[..]),
            epilogue: EpilogueArgs {
                bias: Span::from(&self.bias[..]),
                scale: Span::from(&self.scale[..]),
                shift: Span::from(&self.shift[..]),
                residual: Span::from(&self.residual[..]),
            },
            dst: SpanMut::from(dst),
        }
    }

    /// Runs a row with its tiles cut into ranges of `stride`, last range first, on dirty memory.
    pub fn run(&self, row: &'static Kernel<Conv>, stride: usize) -> Vec<f32> {
        let mut dst = vec![CANARY; self.problem.dst.extent() + 32];
        let want = (row.workspace)(&self.problem);
        let mut shared = AlignedBuf::zeroed(want.shared);
        let mut scratch = AlignedBuf::zeroed(want.per_worker);
        shared.bytes_mut().fill(0xff);
        let task = row.bind(&self.problem, self.args(&mut dst), SpanMut::from(shared.bytes_mut())).unwrap();
        for phase in 0..task.phases() {
            let tiles = task.tiles(phase);
            for start in (0..tiles).step_by(stride).rev() {
                scratch.bytes_mut().fill(0xff);
                let span = SpanMut::from(scratch.bytes_mut());
                // SAFETY: each tile runs once, phases in order, on memory that outlives the call.
                unsafe {
                    task.run(tandem_base::Engine::Core, phase, start..(start + stride).min(tiles), span)
                }
            }
        }
        dst
    }

    /// The direct sum in f64 at one output.
    fn direct(&self, b: usize, column: usize, y: usize, x: usize) -> f64 {
        let p = &self.problem;
        let (channels, [h, w]) = (p.in_channels(), p.in_size());
        let mut sum = 0.0;
        for tap in 0..9 {
            let (sy, sx) =
                ((y + tap / 3).wrapping_sub(p.padding[0]), (x + tap % 3).wrapping_sub(p.padding[1]));
            if sy >= h || sx >= w {
                continue;
            }
            let mut row = column * p.k() + tap * channels;
            for (shape, data) in p.src.iter().zip(&self.src) {
                let first = b * shape.stride(0) + sy * shape.stride(2) + sx * shape.stride(3);
                for c in 0..shape.size(1) {
                    sum += f64::from(data[first + c]) * f64::from(self.filters[row]);
                    row += 1;
                }
            }
        }
        sum
    }

    fn epilogue(&self, mut v: f64, [b, column, y, x]: [usize; 4]) -> f64 {
        let e = &self.problem.epilogue;
        let act = |v: f64, act: Act| match act {
            Act::None => v,
            Act::Relu => v.max(0.0),
            Act::Clamp { lo, hi } => v.clamp(lo.into(), hi.into()),
            other => f64::from(other.eval(v as f32)),
        };
        if e.bias {
            v += f64::from(self.bias[column]);
        }
        v = act(v, e.act);
        if e.scale_shift {
            v = v * f64::from(self.scale[column]) + f64::from(self.shift[column]);
        }
        if let Some(shape) = &e.residual {
            let at = [b, column, y, x].iter().zip(shape.strides()).map(|(i, s)| i * s).sum::<usize>();
            v += f64::from(self.residual[at]);
        }
        act(v, e.act2)
    }

    /// Checks every output and every element between them; returns the largest error.
    pub fn compare(&self, name: &str, got: &[f32]) -> f64 {
        let shape = &self.problem.dst;
        let mut touched = vec![false; got.len()];
        let e = &self.problem.epilogue;
        let gain = steepest(e.act) * steepest(e.act2);
        let (mut worst, tolerance) = (0.0f64, gain * tolerance(self.problem.in_channels()));
        let [batch, columns, oh, ow] = shape.sizes().try_into().unwrap();
        for i in 0..shape.elements() {
            let index = [i / (columns * oh * ow) % batch, i / (oh * ow) % columns, i / ow % oh, i % ow];
            let at = index.iter().zip(shape.strides()).map(|(i, s)| i * s).sum::<usize>();
            let [b, column, y, x] = index;
            let want = self.epilogue(self.direct(b, column, y, x), index);
            let error = (f64::from(got[at]) - want).abs();
            assert!(error <= tolerance, "{name}: {index:?} is {}, not {want}: {:?}", got[at], self.problem);
            worst = worst.max(error);
            touched[at] = true;
        }
        for (i, (v, touched)) in got.iter().zip(touched).enumerate() {
            assert!(touched || v.to_bits() == CANARY.to_bits(), "{name}: wrote element {i} between outputs");
        }
        worst
    }
}

/// Bound on the error for inputs and filters uniform in -1..1.
///
/// A rounding at frequency f reaches an output with weight |A_f|, and the values rounded have the size |B_f x| |G_f w|.
/// In one dimension the root of the sum of squares of |A_f| ‖B_f‖ ‖G_f‖ is at most 9.8 (last output), so 96 in two.
/// Variances are 1/3 for inputs and filters; each product ends some 6 roundings, and the sum over c channels rounds
/// partial sums of variance 1, 2 .. c, in all c²/2; a rounding has a third of eps² as variance. Five standard
/// deviations are allowed, and a few eps for bias and residual.
fn tolerance(channels: usize) -> f64 {
    let (eps, c) = (f64::from(f32::EPSILON) / 2.0, channels as f64);
    5.0 * 96.0 / 3.0 * eps * ((6.0 * c + c * c / 2.0) / 3.0).sqrt() + 8.0 * eps
}

/// The steepest slope of an activation: by how much it can enlarge an error (scales are within -1..1).
fn steepest(act: Act) -> f64 {
    match act {
        Act::HardSwish => 1.5,
        Act::Gelu => 1.13,
        Act::Silu => 1.1,
        _ => 1.0,
    }
}

fn acts() -> impl Strategy<Value = Act> {
    let usual = [Act::None, Act::Relu, Act::Clamp { lo: -0.5, hi: 1.5 }];
    let rare = [Act::Gelu, Act::Silu, Act::HardSwish, Act::LeakyRelu { slope: 0.1 }, Act::Tanh];
    prop_oneof![prop::sample::select(usual.to_vec()), prop::sample::select(rare.to_vec())]
}

pub fn cases() -> impl Strategy<Value = Case> {
    let shape = (1usize..3, prop::collection::vec(1usize..40, 1..=3), [0usize..14, 0usize..14]);
    let rest = ([0usize..3, 0usize..3, 0usize..3, 0usize..3], 1usize..70, 0usize..3);
    let epilogue = (any::<[bool; 3]>(), [acts(), acts()]);
    (shape, rest, epilogue).prop_filter_map(
        "no output",
        |((batch, segments, size), (padding, columns, gap), (epilogue, acts))| {
            let covers = size[0] + padding[0] + padding[2] > 2 && size[1] + padding[1] + padding[3] > 2;
            covers.then_some(Case { batch, segments, size, padding, columns, gap, epilogue, acts })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sample(0..60u32).count() as u32))]

    #[test]
    fn any_shape_matches_the_direct_sum(case in cases()) {
        let data = case.data();
        for row in rows() {
            prop_assert_eq!((row.supports)(&data.problem), Ok(()));
            data.compare(row.name, &data.run(row, usize::MAX));
        }
    }
}

fn plain(segments: &[usize], size: usize, columns: usize) -> Case {
    Case {
        batch: 1,
        segments: segments.to_vec(),
        size: [size, size],
        padding: [1; 4],
        columns,
        gap: 0,
        epilogue: [true, true, false],
        acts: [Act::Relu, Act::None],
    }
}

/// Shapes that take every way through: filters or inputs first, several groups, several chunks, uneven last ones.
pub fn ways() -> Vec<Case> {
    vec![
        plain(&[16], 44, 48),
        plain(&[18, 33], 41, 33),
        plain(&[64], 40, 64),
        plain(&[82, 70], 16, 36),
        plain(&[130], 35, 16),
        plain(&[1], 1, 1),
        Case { batch: 3, ..plain(&[100, 20], 21, 40) },
        Case { batch: 65, ..plain(&[460], 2, 64) },
        Case { batch: 5, epilogue: [false, false, true], ..plain(&[256], 7, 64) },
    ]
}

#[test]
fn every_way_matches_the_direct_sum_and_any_split_gives_the_same_bits() {
    for case in ways() {
        let data = case.data();
        for row in rows() {
            let whole = data.run(row, usize::MAX);
            data.compare(row.name, &whole);
            for stride in [1, 2, 5] {
                let split = data.run(row, stride);
                let same = whole.iter().zip(&split).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{}: ranges of {stride} tiles give other bits: {case:?}", row.name);
            }
        }
    }
}

#[test]
fn error_stays_small_against_the_range() {
    let data = plain(&[128], 32, 64).data();
    for row in rows() {
        let got = data.run(row, usize::MAX);
        let range = got[..data.problem.dst.extent()].iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let share = data.compare(row.name, &got) / f64::from(range);
        assert!(share < 1e-5, "{}: error {share:e} of the range", row.name);
    }
}

#[test]
fn residual_may_be_the_destination() {
    let case = Case { epilogue: [true, false, true], ..plain(&[20], 13, 24) };
    for row in rows() {
        let mut data = case.data();
        data.problem.epilogue.residual = Some(data.problem.dst);
        let mut dst = data.residual[..data.problem.dst.extent()].to_vec();
        let mut shared = AlignedBuf::zeroed((row.workspace)(&data.problem).shared);
        let mut scratch = AlignedBuf::zeroed((row.workspace)(&data.problem).per_worker);
        let mut args = data.args(&mut dst);
        args.epilogue.residual = args.dst.as_span();
        let task = row.bind(&data.problem, args, SpanMut::from(shared.bytes_mut())).unwrap();
        for phase in 0..task.phases() {
            // SAFETY: each tile runs once, phases in order, on memory that outlives the call.
            unsafe {
                task.run(
                    tandem_base::Engine::Core,
                    phase,
                    0..task.tiles(phase),
                    SpanMut::from(scratch.bytes_mut()),
                )
            }
        }
        dst.extend([CANARY; 32]);
        data.compare(row.name, &dst);
    }
}

#[test]
fn nan_reaches_the_tiles_that_read_it_and_no_other() {
    let mut data = plain(&[16], 24, 16).data();
    data.problem.epilogue.act = Act::None;
    // Pixel (9, 9) lies in the patches of tiles 1 and 2 in each direction: outputs 4..12.
    let shape = data.problem.src[0];
    data.src[0][9 * shape.stride(2) + 9 * shape.stride(3) + 5] = f32::NAN;
    for row in rows() {
        let got = data.run(row, usize::MAX);
        let dst = &data.problem.dst;
        for (y, x) in (0..24).flat_map(|y| (0..24).map(move |x| (y, x))) {
            let v = got[y * dst.stride(2) + x * dst.stride(3)];
            if (4..12).contains(&y) && (4..12).contains(&x) {
                let reads = (8..11).contains(&y) && (8..11).contains(&x);
                assert!(v.is_nan() || !reads, "{}: NaN lost at {y}, {x}", row.name);
            } else {
                assert!(v.is_finite(), "{}: NaN leaked to {y}, {x}", row.name);
            }
        }
    }
}

#[test]
fn relu_and_clamp_pass_nan() {
    for act in [Act::Relu, Act::Clamp { lo: -1.0, hi: 1.0 }] {
        let mut data = Case { acts: [act, act], ..plain(&[4], 5, 7) }.data();
        data.src[0].fill(f32::NAN);
        for row in rows() {
            assert!(data.run(row, usize::MAX)[..data.problem.dst.extent()].iter().all(|v| v.is_nan()));
        }
    }
}

#[test]
fn refuses_what_it_does_not_compute() {
    let problem = plain(&[8], 8, 8).data().problem;
    let refused = [
        Problem { fast_math: false, ..problem.clone() },
        Problem { stride: [2, 1], ..problem.clone() },
        Problem { kernel: [3, 1], ..problem.clone() },
        Problem { groups: 2, ..problem.clone() },
        Problem { dst: Strided::contiguous(problem.dst.sizes()), ..problem.clone() },
    ];
    for row in rows() {
        assert_eq!((row.supports)(&problem), Ok(()));
        for p in &refused {
            assert!((row.supports)(p).is_err(), "{}: {p:?}", row.name);
        }
    }
}

#[test]
fn is_picked_where_it_pays() {
    let rates = Rates::default();
    let best = |p: &Problem| rows().map(|row| (row.ns)(p, &rates)).fold(f64::INFINITY, f64::min);
    // A direct row at 85 % of the multiply-add rate.
    let direct = |p: &Problem| <Conv>::cost(p).flops / (0.85 * rates.fma_gflops);
    let sizes = |channels: usize, size: usize, columns: usize| {
        let mut p = plain(&[1], 3, 1).data().problem;
        p.src = vec![image(1, channels, [size, size], 0)].into();
        p.dst = image(1, columns, [size, size], 0);
        p
    };
    if rows().next().is_none() {
        return;
    }
    for (channels, size, columns) in [(64, 256, 64), (128, 64, 128), (164, 16, 164), (512, 7, 512)] {
        let p = sizes(channels, size, columns);
        assert!(best(&p) < 0.8 * direct(&p), "{channels} -> {columns} @{size}");
    }
    for (channels, size, columns) in [(3, 224, 64), (256, 4, 256), (256, 2, 256), (64, 1, 64)] {
        let p = sizes(channels, size, columns);
        assert!(best(&p) > direct(&p), "{channels} -> {columns} @{size}");
    }
    if Isa::detect().has(Isa::AVX512) {
        let choice = select(KERNELS, &sizes(64, 56, 64), Isa::AVX512 | Isa::AVX2, &rates).unwrap();
        assert_eq!(choice.kernel.name, "avx512-winograd-4x4");
    }
}

#[test]
fn empty_output_is_nothing_to_do() {
    let mut problem = plain(&[8], 8, 8).data().problem;
    problem.dst = image(0, 8, [8, 8], 0);
    problem.src = vec![image(0, 8, [8, 8], 0)].into();
    assert_eq!(<Conv>::cost(&problem).flops, 0.0);
    for row in rows() {
        let tiles = (0..(row.phases)(&problem)).map(|phase| (row.tiles)(&problem, phase));
        assert!((row.workspace)(&problem).shared < 1 << 20 && tiles.clone().sum::<usize>() == 0);
    }
}

#[test]
fn workspace_stays_modest() {
    for (segments, size, columns) in [
        (vec![64, 64], 256, 64),
        (vec![128, 64], 128, 128),
        (vec![82, 210], 16, 164),
        (vec![256], 14, 256),
        (vec![512], 7, 512),
        (vec![128], 512, 128),
    ] {
        let problem = plain(&segments, size, columns);
        let [h, w] = problem.size;
        let shape = |c: usize| image(1, c, [h, w], 0);
        let mut p = plain(&[8], 8, 8).data().problem;
        p.src = segments.iter().map(|&c| shape(c)).collect();
        p.dst = shape(columns);
        for row in rows() {
            let want = (row.workspace)(&p);
            assert!(want.shared <= 5 << 20, "{}: {} shared for {p:?}", row.name, want.shared);
            assert!(want.per_worker <= 1 << 20, "{}: {} per worker for {p:?}", row.name, want.per_worker);
        }
    }
}
