//! A case at kernel level: all the work of an operator on given operands, once to warm and once more between marks that
//! `cargo xtask arm count` counts instructions by.
//!
//! `count CASE [--isa neon,…] [--row part of a row's name]`; without arguments it lists the cases. It prints the rows it
//! ran.

use tandem_base::team::{Scratch, Team};
use tandem_base::{AlignedBuf, Isa, Span, SpanMut, Strided, Task};
use tandem_kernels::quant::Affine;
use tandem_kernels::{Element, Epilogue, EpilogueArgs, Family, Kernel, Pipelined, Rates, select};
use tandem_kernels::{attention, conv, convert, depthwise, gemm, panels, qconv, qgemm, softmax};

/// A case's name and the steps it takes.
type Case = (&'static str, fn(&mut Op));

const CASES: &[Case] = &[
    ("linear_f32", |op| linear(op, gemm::KERNELS, [256, 1024, 1024])),
    ("linear_f32_turned", |op| linear_to(op, gemm::KERNELS, [256, 1024, 1024], &[0, 2, 1])),
    ("gemv_f32", |op| linear(op, gemm::KERNELS, [1, 1024, 1024])),
    ("linear_f16", |op| linear(op, gemm::KERNELS_F16, [256, 1024, 1024])),
    ("linear_bf16", |op| linear(op, gemm::KERNELS_BF16, [256, 1024, 1024])),
    ("conv_f32", |op| conv(op, conv::KERNELS, image([1, 64, 56, 56], NCHW))),
    ("conv_f32_nhwc", |op| conv(op, conv::KERNELS, image([1, 64, 56, 56], NHWC))),
    ("conv_f16", |op| conv(op, conv::KERNELS_F16, image([1, 64, 56, 56], NCHW))),
    ("conv_f16_nhwc", |op| conv(op, conv::KERNELS_F16, image([1, 64, 56, 56], NHWC))),
    ("conv_bf16", |op| conv(op, conv::KERNELS_BF16, image([1, 64, 56, 56], NCHW))),
    ("matmul_f32", |op| matmul(op, gemm::KERNELS, [8, 256, 64, 256])),
    ("matmul_f16", |op| matmul(op, gemm::KERNELS_F16, [8, 256, 64, 256])),
    ("linear_dynamic_int8", |op| linear_q(op, [256, 1024, 1024], qgemm::Weights::I8, qgemm::Scheme::Dynamic)),
    ("linear_dynamic_int8_both", |op| linear_both(op, [256, 1024, 1024], qgemm::Weights::I8)),
    ("linear_static_int8", |op| linear_q(op, [256, 1024, 1024], qgemm::Weights::I8, STATIC)),
    ("linear_dynamic_int4", |op| linear_q(op, [256, 1024, 1024], qgemm::Weights::I4, qgemm::Scheme::Dynamic)),
    ("linear_8da4w_g32", |op| {
        linear_q(op, [256, 1024, 1024], qgemm::Weights::I4Groups { size: 32 }, qgemm::Scheme::Dynamic)
    }),
    ("gemv_dynamic_int8", |op| linear_q(op, [1, 1024, 1024], qgemm::Weights::I8, qgemm::Scheme::Dynamic)),
    ("gemv_dynamic_int4", |op| linear_q(op, [1, 1024, 1024], qgemm::Weights::I4, qgemm::Scheme::Dynamic)),
    ("gemv_8da4w_g32", |op| {
        linear_q(op, [1, 1024, 1024], qgemm::Weights::I4Groups { size: 32 }, qgemm::Scheme::Dynamic)
    }),
    ("conv_static_int8", |op| conv_q(op, image([1, 64, 56, 56], NCHW))),
    ("conv_static_int8_nhwc", |op| conv_q(op, image([1, 64, 56, 56], NHWC))),
    ("attention_f32", |op| attention_f32(op, [1, 12, 197, 64], &[0, 2, 1, 3])),
    ("attention_f32_turned", |op| attention_f32(op, [1, 12, 197, 64], &[0, 1, 3, 2])),
    ("softmax_f32", |op| softmax_f32(op, &[256, 1024])),
    ("depthwise_f32", |op| depthwise_f32(op, image([1, 64, 56, 56], NCHW))),
    ("depthwise_f32_nhwc", |op| depthwise_f32(op, image([1, 64, 56, 56], NHWC))),
];

/// i8 values in and out, f32 around them.
const STATIC: qgemm::Scheme = qgemm::Scheme::Static {
    lhs: qgemm::Affine { scale: 1.0 / 128.0, zero: 3 },
    dst: qgemm::Affine { scale: 0.25, zero: -5 },
};
const NCHW: [u8; 4] = [0, 1, 2, 3];
const NHWC: [u8; 4] = [0, 2, 3, 1];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = args.first() else {
        return CASES.iter().for_each(|(name, _)| println!("{name}"));
    };
    let option = |key: &str| {
        args.iter().position(|a| a == key).map(|at| args.get(at + 1).expect("an option has a value").as_str())
    };
    let (_, steps) = CASES.iter().find(|(case, _)| case == name).expect("a case of the list");
    let enabled = option("--isa").map_or_else(Isa::detect, |list| Isa::parse(list).expect("known features"));
    let row = option("--row").unwrap_or_default().to_owned();
    let mut op = Op { isa: enabled & Isa::detect(), row, steps: Vec::new() };
    steps(&mut op);
    op.run();
}

fn linear<E: Element>(op: &mut Op, rows: &'static [Kernel<gemm::Gemm<E>>], sizes: [usize; 3]) {
    linear_to(op, rows, sizes, &[0, 1, 2]);
}

/// To a destination with some order of axes.
fn linear_to<E: Element>(
    op: &mut Op,
    rows: &'static [Kernel<gemm::Gemm<E>>],
    [m, n, k]: [usize; 3],
    order: &[u8],
) {
    let problem = gemm::Problem {
        lhs: Strided::contiguous(&[1, m, k]),
        rhs: gemm::Rhs::Panels,
        dst: Strided::with_order(&[1, m, n], order),
        alpha: 1.0,
        epilogue: Epilogue { bias: true, ..Epilogue::default() },
    };
    let epilogue = EpilogueArgs { bias: floats(panels::padded(n)), ..EpilogueArgs::none() };
    let (lhs, rhs) = (numbers(m * k), numbers(k.next_multiple_of(E::PER_WORD) * panels::padded(n)));
    op.step(rows, problem, gemm::Args { lhs, rhs, epilogue, dst: room(m * n) });
}

/// f32 in and out, quantised weights.
fn linear_q(op: &mut Op, sizes: [usize; 3], weights: qgemm::Weights, scheme: qgemm::Scheme) {
    let (problem, args) = quantised(sizes, weights, scheme);
    op.step(qgemm::KERNELS, problem, args);
}

/// The same by units and cores.
fn linear_both(op: &mut Op, sizes: [usize; 3], weights: qgemm::Weights) {
    let (problem, args) = quantised(sizes, weights, qgemm::Scheme::Dynamic);
    let ns = |all: &qgemm::Pipeline| all.stages(&Rates::default()).on_core;
    let all = qgemm::Pipeline::all(&problem, op.isa).into_iter().min_by(|a, b| ns(a).total_cmp(&ns(b)));
    let all: &'static qgemm::Pipeline = Box::leak(Box::new(all.expect("a unit")));
    println!("qgemm {}", all.rows().join("+"));
    let shared = buffer(all.workspace().shared);
    op.steps.push(Box::new(all.bind(args, shared, None).expect("operands fit")));
}

fn quantised(
    [m, n, k]: [usize; 3],
    weights: qgemm::Weights,
    scheme: qgemm::Scheme,
) -> (qgemm::Problem, qgemm::Args<'static>) {
    let problem = qgemm::Problem {
        lhs: Strided::contiguous(&[m, k]),
        dst: Strided::contiguous(&[m, n]),
        weights,
        scheme,
        bias: true,
        clamp: [f32::NEG_INFINITY, f32::INFINITY],
    };
    let columns = panels::padded(n);
    // Any bytes will do for what is counted.
    let rhs = floats(problem.words() * columns).cast().expect("bytes");
    let sums = floats(columns).cast().expect("as wide");
    let (lhs, bias) = (floats(m * k), floats(columns));
    let (scale, scaled_sums) = (floats(problem.scales() * columns), floats(columns));
    (problem, qgemm::Args { lhs, rhs, sums, scaled_sums, scale, bias, dst: room(m * n) })
}

fn matmul<E: Element>(op: &mut Op, rows: &'static [Kernel<gemm::Gemm<E>>], [batch, m, k, n]: [usize; 4]) {
    let rhs = Strided::contiguous(&[batch, k, n]);
    let problem = gemm::Problem {
        lhs: Strided::contiguous(&[batch, m, k]),
        rhs: gemm::Rhs::Strided(rhs),
        dst: Strided::contiguous(&[batch, m, n]),
        alpha: 1.0,
        epilogue: Epilogue::default(),
    };
    let (lhs, rhs) = (numbers(batch * m * k), numbers(batch * k * n));
    let args = gemm::Args { lhs, rhs, epilogue: EpilogueArgs::none(), dst: room(batch * m * n) };
    op.step(rows, problem, args);
}

/// 3×3, padding 1, as many channels out as in.
fn conv_problem(image: Strided) -> conv::Problem {
    conv::Problem {
        src: [image].into_iter().collect(),
        dst: image,
        kernel: [3; 2],
        stride: [1; 2],
        padding: [1; 4],
        dilation: [1; 2],
        groups: 1,
        shuffle: 1,
        epilogue: Epilogue { bias: true, ..Epilogue::default() },
        fast_math: false,
    }
}

fn conv<E: Element>(op: &mut Op, rows: &'static [Kernel<conv::Conv<E>>], image: Strided) {
    let problem = conv_problem(image);
    let columns = problem.padded_columns();
    let mut src = [Span::empty(); conv::MAX_SEGMENTS];
    src[0] = numbers(image.extent());
    let args = conv::Args {
        src,
        weight: numbers(E::PER_WORD * problem.words(E::PER_WORD) * columns),
        epilogue: EpilogueArgs { bias: floats(columns), ..EpilogueArgs::none() },
        dst: room(image.extent()),
    };
    op.step(rows, problem, args);
}

/// f32 in and out, i8 between them: 3×3, padding 1, as many channels out as in.
fn conv_q(op: &mut Op, image: Strided) {
    let (src, dst) = (Affine { scale: 1.0 / 128.0, zero: 3 }, Affine { scale: 0.25, zero: -5 });
    let problem = qconv::Problem { conv: conv_problem(image), src, dst };
    let columns = problem.conv.padded_columns();
    let n = image.extent();
    let [quantised, result] = [buffer(n), buffer(n)];
    let step = convert::Problem { src: image, dst: image, affine: src };
    let into = quantised.cast().expect("bytes");
    op.step(convert::QUANTISE, step, convert::Args { src: floats(n), dst: into });
    let mut segments = [Span::empty(); conv::MAX_SEGMENTS];
    segments[0] = into.read();
    let args = qconv::Args {
        src: segments,
        // Any bytes will do for what is counted.
        weight: floats(qconv::WORD * problem.conv.words(qconv::WORD) * columns / 4).cast().expect("bytes"),
        sums: floats(columns).cast().expect("as wide"),
        scale: floats(columns),
        bias: floats(columns),
        dst: result.cast().expect("bytes"),
    };
    let result = args.dst.read();
    op.step(qconv::KERNELS, problem, args);
    let step = convert::Problem { src: image, dst: image, affine: dst };
    op.step(convert::DEQUANTISE, step, convert::Args { src: result, dst: room(n) });
}

/// 3×3, padding 1.
fn depthwise_f32(op: &mut Op, image: Strided) {
    let problem = depthwise::Problem {
        src: image,
        dst: image,
        kernel: [3; 2],
        stride: [1; 2],
        padding: [1; 4],
        dilation: [1; 2],
        epilogue: Epilogue { bias: true, ..Epilogue::default() },
    };
    let columns = panels::padded(image.size(1));
    let args = depthwise::Args {
        src: floats(image.extent()),
        weight: floats(9 * columns),
        epilogue: EpilogueArgs { bias: floats(columns), ..EpilogueArgs::none() },
        dst: room(image.extent()),
    };
    op.step(depthwise::KERNELS, problem, args);
}

fn softmax_f32(op: &mut Op, sizes: &[usize]) {
    let shape = Strided::contiguous(sizes);
    let problem = softmax::Problem { src: shape, dst: shape, dim: sizes.len() - 1, log: false };
    let args = softmax::Args { src: floats(shape.extent()), dst: room(shape.extent()) };
    op.step(softmax::KERNELS, problem, args);
}

/// As many keys as queries, heads side by side, keys in some order of axes: by units and cores where `--isa` has both and no row is asked for.
fn attention_f32(op: &mut Op, sizes: [usize; 4], keys: &[u8]) {
    let all = Strided::with_order(&sizes, &[0, 2, 1, 3]);
    let scale = 1.0 / (sizes[3] as f32).sqrt();
    let k = Strided::with_order(&sizes, keys);
    let problem = attention::Problem { q: all, k, v: all, mask: None, dst: all, scale, causal: false };
    let [q, k, v] = [(); 3].map(|()| floats(all.extent()));
    let args = attention::Args { q, k, v, mask: Span::empty(), dst: room(all.extent()) };
    let unit = gemm::KERNELS.iter().find(|row| row.isa == Isa::SME2 && op.isa.has(row.isa));
    let core = select(attention::KERNELS, &problem, op.isa, &Rates::default()).map(|choice| choice.kernel);
    let Some((unit, core)) = unit.zip(core).filter(|_| op.row.is_empty()) else {
        return op.step(attention::KERNELS, problem, args);
    };
    println!("attention {}+{}", unit.name, core.name);
    let all = attention::Pipeline::new(problem, unit, core).expect("for both");
    let all: &'static attention::Pipeline = Box::leak(Box::new(all));
    let shared = buffer(all.workspace().shared);
    op.steps.push(Box::new(all.bind(args, shared, None).expect("operands fit")));
}

fn image(sizes: [usize; 4], order: [u8; 4]) -> Strided {
    Strided::with_order(&sizes, &order)
}

/// Steps on operands that live as long as the program.
struct Op {
    isa: Isa,
    row: String,
    steps: Vec<Box<dyn Task>>,
}

impl Op {
    /// Adds a step: the best row of the enabled instructions, or the one asked for.
    fn step<F: Family>(&mut self, rows: &'static [Kernel<F>], problem: F::Problem, args: F::Args<'static>) {
        let problem: &'static F::Problem = Box::leak(Box::new(problem));
        let asked = rows.iter().find(|row| !self.row.is_empty() && row.name.contains(&self.row));
        let best = || select(rows, problem, self.isa, &Rates::default()).map(|choice| choice.kernel);
        let row = asked.or_else(best).expect("a row takes the problem");
        println!("{} {}", F::NAME, row.name);
        let shared = buffer((row.workspace)(problem).shared);
        self.steps.push(Box::new(row.bind(problem, args, shared).expect("operands fit")));
    }

    /// Runs all steps on this thread, twice: phase 2, then phase 3, which is the one to count.
    fn run(self) {
        let (mut crew, mut scratch) = (Team::global().enter(1), Scratch::default());
        for number in [2, 3] {
            phase(number);
            self.steps.iter().for_each(|step| crew.run(step.as_ref(), &mut scratch));
            phase(4);
        }
    }
}

/// Tells the counting emulator that another phase begins; a kernel does not know the call and refuses it.
fn phase(number: libc::c_long) {
    // SAFETY: no system call has this number.
    unsafe { libc::syscall(0x1c0de, number) };
}

fn buffer(bytes: usize) -> SpanMut<'static, u8> {
    SpanMut::from(Box::leak(Box::new(AlignedBuf::zeroed(bytes))).bytes_mut())
}

/// Room for a result.
fn room<E: Element>(elements: usize) -> SpanMut<'static, E> {
    buffer(elements * size_of::<E>()).cast().expect("aligned")
}

fn floats(elements: usize) -> Span<'static, f32> {
    numbers(elements)
}

/// Numbers in -1..1.
fn numbers<E: Element>(elements: usize) -> Span<'static, E> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        E::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    let numbers: Vec<E> = (0..elements).map(|_| next()).collect();
    let buf = Box::leak(Box::new(AlignedBuf::zeroed(elements * size_of::<E>())));
    buf.bytes_mut().copy_from_slice(bytemuck::cast_slice(&numbers));
    Span::from(buf.bytes()).cast().expect("aligned")
}
