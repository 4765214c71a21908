//! Direct convolutions and GEMMs against the FMA peak, in one run: least time of many, rows in turn, one thread.
//!
//! `cargo bench -p tandem-kernels --bench product -- [part of a case's name] [part of a row's name]`

use std::time::{Duration, Instant};

use tandem_base::{AlignedBuf, Isa, Span, SpanMut, Strided, Task};
use tandem_kernels::peak::fma_gflops;
use tandem_kernels::{Act, Epilogue, EpilogueArgs, Family, Kernel, conv, gemm, panels};

/// Time spent on each row of a case.
const BUDGET: Duration = Duration::from_millis(120);

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with("--")).unwrap_or_default();
    let isa = Isa::detect();
    let peak = fma_gflops(isa);
    println!("FMA peak {peak:.1} GFLOP/s ({isa})\n");
    println!("{:<34} {:<24} {:>9} {:>9} {:>7}", "case", "row", "µs", "GFLOP/s", "peak");
    for case in CONVS {
        if case.name.contains(&filter) {
            convolution(case, isa, peak);
        }
    }
    for &(name, [batch, m, n, k], packed) in GEMMS {
        if name.contains(&filter) {
            product(name, [batch, m, n, k], packed, isa, peak);
        }
    }
}

/// A convolution: source segments, plane, kernel, stride, columns, pixel shuffle, whether the source is channels-last.
struct Case {
    name: &'static str,
    src: &'static [usize],
    plane: usize,
    kernel: usize,
    stride: usize,
    columns: usize,
    shuffle: usize,
    last: bool,
}

const fn case(
    name: &'static str,
    src: &'static [usize],
    plane: usize,
    kernel: usize,
    stride: usize,
    columns: usize,
) -> Case {
    Case { name, src, plane, kernel, stride, columns, shuffle: 1, last: true }
}

const CONVS: &[Case] = &[
    case("3x3 64→64 @256", &[64], 256, 3, 1, 64),
    case("3x3 128→128 @128", &[128], 128, 3, 1, 128),
    case("3x3 64+64→64 @256", &[64, 64], 256, 3, 1, 64),
    case("3x3 256→256 @14", &[256], 14, 3, 1, 256),
    case("3x3 512→512 @7", &[512], 7, 3, 1, 512),
    case("3x3 s2 64→128 @56", &[64], 56, 3, 2, 128),
    case("3x3 s2 256→512 @14", &[256], 14, 3, 2, 512),
    case("3x3 292→164 @16", &[128, 164], 16, 3, 1, 164),
    case("1x1 64→256 @56", &[64], 56, 1, 1, 256),
    case("1x1 256→64 @56", &[256], 56, 1, 1, 64),
    case("1x1 512→2048 @7", &[512], 7, 1, 1, 2048),
    case("1x1 2048→512 @7", &[2048], 7, 1, 1, 512),
    case("1x1 s2 256→512 @56", &[256], 56, 1, 2, 512),
    case("1x1 16→96 @112", &[16], 112, 1, 1, 96),
    case("1x1 96→24 @56", &[96], 56, 1, 1, 24),
    case("1x1 96→576 @14", &[96], 14, 1, 1, 576),
    case("1x1 24→144 @56", &[24], 56, 1, 1, 144),
    case("1x1 576→96 @14", &[576], 14, 1, 1, 96),
    case("1x1 960→320 @7", &[960], 7, 1, 1, 320),
    Case { shuffle: 2, ..case("1x1 128→64 shuffle @128", &[128], 128, 1, 1, 64) },
    case("7x7 s2 3→64 @224", &[3], 224, 7, 2, 64),
    Case { last: false, ..case("7x7 s2 3→64 @224 nchw", &[3], 224, 7, 2, 64) },
    Case { last: false, ..case("3x3 s2 3→32 @224 nchw", &[3], 224, 3, 2, 32) },
    Case { last: false, ..case("2x2 s2 5→64 @512 nchw", &[5], 512, 2, 2, 64) },
    Case { last: false, ..case("16x16 s16 3→768 @224 nchw", &[3], 224, 16, 16, 768) },
];

/// Name (`turned` where the destination's rows are contiguous), batch, m, n, k, whether rhs comes in panels.
const GEMMS: &[(&str, [usize; 4], bool)] = &[
    ("gemm 112x32x256", [1, 112, 32, 256], true),
    ("gemm 112x32x250", [1, 112, 32, 250], true),
    ("gemm 14x32x256", [1, 14, 32, 256], true),
    ("gemm 1024x1024x1024", [1, 1024, 1024, 1024], true),
    ("gemm 197x768x768", [1, 197, 768, 768], true),
    ("gemm 197x768x768 turned", [1, 197, 768, 768], true),
    ("gemm 197x64x64", [1, 197, 64, 64], true),
    ("gemm 197x64x64 turned", [1, 197, 64, 64], true),
    ("gemm 197x3072x768", [1, 197, 3072, 768], true),
    ("gemm 197x768x3072", [1, 197, 768, 3072], true),
    ("gemm 197x2304x768", [1, 197, 2304, 768], true),
    ("gemm 197x768x3088", [1, 197, 768, 3088], true),
    ("gemm 1024x1024x1040", [1, 1024, 1024, 1040], true),
    ("gemm 256x1024x1024", [1, 256, 1024, 1024], true),
    ("gemv 1x1000x2048", [1, 1, 1000, 2048], true),
    ("gemv 4x1000x2048", [1, 4, 1000, 2048], true),
    ("matmul 12x197x197x64", [12, 197, 197, 64], false),
    ("matmul 1x65536x4x64", [1, 65536, 4, 64], false),
];

fn filled(elements: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(4 * elements.max(1));
    for (i, x) in buf.bytes_mut().chunks_exact_mut(4).enumerate() {
        x.copy_from_slice(&(((i * 37) % 64) as f32 / 64.0 - 0.5).to_le_bytes());
    }
    buf
}

fn span(buf: &AlignedBuf) -> Span<'_, f32> {
    Span::from(buf.bytes()).cast().expect("aligned")
}

fn convolution(case: &Case, isa: Isa, peak: f64) {
    let pad = if case.stride == case.kernel || case.kernel == 1 { 0 } else { case.kernel / 2 };
    let out = (case.plane + 2 * pad - case.kernel) / case.stride + 1;
    let image = |c: usize, size: usize, last: bool| {
        Strided::with_order(&[1, c, size, size], if last { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] })
    };
    let problem = conv::Problem {
        src: case.src.iter().map(|&c| image(c, case.plane, case.last)).collect(),
        dst: image(case.columns, out * case.shuffle, true),
        kernel: [case.kernel; 2],
        stride: [case.stride; 2],
        padding: [pad; 4],
        dilation: [1, 1],
        groups: 1,
        shuffle: case.shuffle,
        epilogue: Epilogue { bias: true, act: Act::Relu, ..Epilogue::default() },
        fast_math: false,
    };
    let src: Vec<AlignedBuf> = problem.src.iter().map(|s| filled(s.extent())).collect();
    let (weight, bias) = (filled(problem.k() * problem.padded_columns()), filled(problem.padded_columns()));
    let mut dst = AlignedBuf::zeroed(4 * problem.dst.extent());
    let dst: SpanMut<'_, f32> = SpanMut::from(dst.bytes_mut()).cast().expect("aligned");
    let mut spans = [Span::empty(); conv::MAX_SEGMENTS];
    for (to, buf) in spans.iter_mut().zip(&src) {
        *to = span(buf);
    }
    let epilogue = EpilogueArgs { bias: span(&bias), ..EpilogueArgs::none() };
    let args = conv::Args { src: spans, weight: span(&weight), epilogue, dst };
    let mut shared = workspace(conv::KERNELS, &problem);
    rows(case.name, conv::KERNELS, (&problem, args, SpanMut::from(shared.bytes_mut())), isa, peak);
}

fn product(name: &str, [batch, m, n, k]: [usize; 4], packed: bool, isa: Isa, peak: f64) {
    let rhs_shape = Strided::contiguous(&[batch, k, n]);
    let problem = gemm::Problem {
        lhs: Strided::contiguous(&[batch, m, k]),
        rhs: if packed { gemm::Rhs::Panels } else { gemm::Rhs::Strided(rhs_shape) },
        dst: Strided::with_order(
            &[batch, m, n],
            if name.ends_with("turned") { &[0, 2, 1] } else { &[0, 1, 2] },
        ),
        alpha: 1.0,
        epilogue: Epilogue::default(),
    };
    let (lhs, rhs) = (filled(batch * m * k), filled(batch * k * panels::padded(n)));
    let mut dst = AlignedBuf::zeroed(4 * batch * m * n);
    let dst = SpanMut::from(dst.bytes_mut()).cast().expect("aligned");
    let args = gemm::Args { lhs: span(&lhs), rhs: span(&rhs), epilogue: EpilogueArgs::none(), dst };
    let mut shared = workspace(gemm::KERNELS, &problem);
    rows(name, gemm::KERNELS, (&problem, args, SpanMut::from(shared.bytes_mut())), isa, peak);
}

/// Enough shared memory for every row.
fn workspace<F: Family>(table: &[Kernel<F>], problem: &F::Problem) -> AlignedBuf {
    let fitting = table.iter().filter(|row| (row.supports)(problem).is_ok());
    AlignedBuf::zeroed(fitting.map(|row| (row.workspace)(problem).shared).max().unwrap_or(0))
}

/// Times every vector row that takes the problem.
fn rows<'a, F: Family>(
    name: &str,
    table: &'static [Kernel<F>],
    (problem, args, shared): (&F::Problem, F::Args<'a>, SpanMut<'a, u8>),
    isa: Isa,
    peak: f64,
) where
    F::Args<'a>: Copy,
{
    let fits = |row: &&Kernel<F>| {
        row.isa != Isa::SCALAR
            && isa.has(row.isa)
            && (row.supports)(problem).is_ok()
            && !row.name.contains("winograd")
            && std::env::args()
                .skip(1)
                .filter(|a| !a.starts_with("--"))
                .nth(1)
                .is_none_or(|a| row.name.contains(&a))
    };
    for row in table.iter().filter(fits) {
        let workspace = (row.workspace)(problem);
        let mut scratch = AlignedBuf::zeroed(workspace.per_worker);
        let task = row.bind(problem, args, shared).expect("fitting operands");
        let (mut best, start) = (f64::INFINITY, Instant::now());
        let mut runs = 0;
        while runs < 3 || start.elapsed() < BUDGET {
            let now = Instant::now();
            for phase in 0..task.phases() {
                // SAFETY: one call covers every tile of the phase, in order, on this thread.
                unsafe {
                    task.run(
                        tandem_base::Engine::Core,
                        phase,
                        0..task.tiles(phase),
                        SpanMut::from(scratch.bytes_mut()),
                    )
                }
            }
            best = best.min(now.elapsed().as_secs_f64());
            runs += 1;
        }
        let gflops = F::cost(problem).flops / best / 1e9;
        let tiles = task.tiles(task.phases() - 1);
        println!(
            "{name:<34} {:<24} {:>9.1} {gflops:>9.1} {:>6.1}%  {tiles} tiles",
            row.name,
            best * 1e6,
            100.0 * gflops / peak
        );
    }
}
