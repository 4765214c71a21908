//! Depthwise and transposed convolution, pooling and resampling on shapes of real models: time on one thread, share of
//! the multiply-add peak and of a memcpy of the same bytes (GB/s counts bytes read and written).
//!
//! `cargo bench -p tandem-kernels --bench spatial -- [--scalar] [part of a name]`. Neighbours on the machine only slow a
//! run down, so the fastest of many counts, rows take turns, and peak and memcpy are measured in the same run.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tandem_base::{AlignedBuf, Isa, Span, SpanMut, Strided, Task};
use tandem_kernels::pool::Window;
use tandem_kernels::{
    Act, Epilogue, EpilogueArgs, Family, Kernel, Rates, deconv, depthwise, panels, peak, pool, resize, select,
};

/// Time given to the rows of one shape.
const BUDGET: Duration = Duration::from_millis(250);

/// Numbers in -1..1.
fn floats(n: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(n * 4);
    let mut state = 1u32;
    for bytes in buf.bytes_mut().chunks_exact_mut(4) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.copy_from_slice(&((state >> 8) as f32 / (1 << 23) as f32 - 1.0).to_le_bytes());
    }
    buf
}

fn span(buf: &AlignedBuf) -> Span<'_, f32> {
    Span::from(buf.bytes()).cast().expect("aligned")
}

/// Seconds of one call.
fn time(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

struct Bench {
    filter: String,
    /// Whether scalar rows are timed too.
    scalar: bool,
    peak: f64,
}

impl Bench {
    /// Times every row that takes the problem, in turn, against a copy of the same bytes.
    fn rows<'a, F: Family>(
        &self,
        name: &str,
        kernels: &'static [Kernel<F>],
        problem: &F::Problem,
        args: impl Fn() -> F::Args<'a>,
    ) {
        let name = format!("{:9} {name}", F::NAME);
        if !name.contains(&self.filter) {
            return;
        }
        let isa = Isa::detect();
        let rows: Vec<_> = kernels
            .iter()
            .filter(|row| isa.has(row.isa) && (row.isa != Isa::SCALAR || self.scalar))
            .filter(|row| (row.supports)(problem).is_ok())
            .collect();
        let cost = F::cost(problem);
        let (from, mut to) =
            (floats(cost.bytes as usize / 8), AlignedBuf::zeroed(cost.bytes as usize / 8 * 4));
        let (mut best, mut copy) = (vec![f64::INFINITY; rows.len()], f64::INFINITY);
        let begin = Instant::now();
        while begin.elapsed() < BUDGET {
            copy = copy.min(time(|| to.bytes_mut().copy_from_slice(black_box(from.bytes()))));
            for (row, best) in rows.iter().zip(&mut best) {
                let workspace = (row.workspace)(problem);
                let mut shared = AlignedBuf::zeroed(workspace.shared);
                let mut scratch = AlignedBuf::zeroed(workspace.per_worker);
                // SAFETY: the block is dropped behind the task that works in it.
                let block = unsafe {
                    std::slice::from_raw_parts_mut(shared.bytes_mut().as_mut_ptr(), workspace.shared)
                };
                let task = row.bind(problem, args(), SpanMut::from(block)).expect("arguments fit");
                // Twice: the first call brings back what other rows displaced.
                for _ in 0..2 {
                    *best = best.min(time(|| {
                        for phase in 0..task.phases() {
                            let scratch = SpanMut::from(scratch.bytes_mut());
                            // SAFETY: one call covers all tiles of a phase, in order of phases, on this thread.
                            unsafe {
                                task.run(tandem_base::Engine::Core, phase, 0..task.tiles(phase), scratch)
                            }
                        }
                    }));
                }
            }
        }
        let picked = select(kernels, problem, isa, &Rates::default()).map_or("", |c| c.kernel.name);
        for (row, time) in rows.iter().zip(best) {
            let predicted = (row.ns)(problem, &Rates { fma_gflops: self.peak, ..Rates::default() });
            println!(
                "{name:42} {:24} {:9.1} µs {:6.1} GB/s {:4.0} % of memcpy {:6.1} GFLOP/s {:3.0} % of peak  predicted {:9.1} µs{}",
                row.name,
                time * 1e6,
                cost.bytes / time * 1e-9,
                copy / time * 100.0,
                cost.flops / time * 1e-9,
                cost.flops / time * 1e-7 / self.peak,
                predicted * 1e-3,
                if row.name == picked { "  <" } else { "" },
            );
        }
    }

    fn depthwise(&self, [c, size, kernel, stride]: [usize; 4], act: Act) {
        let out = (size - 1) / stride + 1;
        let problem = depthwise::Problem {
            src: image([1, c, size, size]),
            dst: image([1, c, out, out]),
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 4],
            dilation: [1, 1],
            epilogue: Epilogue { bias: true, act, ..Epilogue::default() },
        };
        let src = floats(problem.src.extent());
        let weight = floats(kernel * kernel * panels::padded(c));
        let bias = floats(panels::padded(c));
        let mut out = floats(problem.dst.extent());
        let dst = SpanMut::from(out.bytes_mut()).cast().expect("aligned");
        let name = format!("{c} @{size} {kernel}x{kernel} s{stride} {act:?}");
        self.rows(&name[..name.find(" {").unwrap_or(name.len())], depthwise::KERNELS, &problem, || {
            let epilogue = EpilogueArgs { bias: span(&bias), ..EpilogueArgs::none() };
            depthwise::Args { src: span(&src), weight: span(&weight), epilogue, dst }
        });
    }

    fn deconv(&self, [from, to, size, kernel, padding]: [usize; 5]) {
        let out = (size - 1) * 2 + kernel - 2 * padding;
        let problem = deconv::Problem {
            src: image([1, from, size, size]),
            dst: image([1, to, out, out]),
            kernel: [kernel; 2],
            stride: [2, 2],
            padding: [padding; 4],
            dilation: [1, 1],
            groups: 1,
            epilogue: Epilogue { bias: true, act: Act::Relu, ..Epilogue::default() },
        };
        let src = floats(problem.src.extent());
        let weight = floats(kernel * kernel * from * panels::padded(to));
        let bias = floats(panels::padded(to));
        let mut out = floats(problem.dst.extent());
        let dst = SpanMut::from(out.bytes_mut()).cast().expect("aligned");
        self.rows(&format!("{from}->{to} @{size} {kernel}x{kernel} s2"), deconv::KERNELS, &problem, || {
            let epilogue = EpilogueArgs { bias: span(&bias), ..EpilogueArgs::none() };
            deconv::Args { src: span(&src), weight: span(&weight), epilogue, dst }
        });
    }

    fn pool(&self, name: &str, [src, dst]: [Strided; 2], kind: pool::Kind, window: Window) {
        let (data, mut out) = (floats(src.extent()), floats(dst.extent()));
        let to = SpanMut::from(out.bytes_mut()).cast().expect("aligned");
        let problem = pool::Problem { src, dst, kind, window };
        self.rows(name, pool::KERNELS, &problem, || pool::Args { src: span(&data), dst: to });
    }

    fn resize(&self, name: &str, [src, dst]: [Strided; 2], kind: resize::Kind) {
        let (data, mut out) = (floats(src.extent()), floats(dst.extent()));
        let to = SpanMut::from(out.bytes_mut()).cast().expect("aligned");
        let problem = resize::Problem { src, dst, kind, align_corners: false, step: [None; 2] };
        self.rows(name, resize::KERNELS, &problem, || resize::Args { src: span(&data), dst: to });
    }
}

fn image(sizes: [usize; 4]) -> Strided {
    Strided::with_order(&sizes, &[0, 2, 3, 1])
}

fn depthwise(b: &Bench) {
    let relu6 = Act::Clamp { lo: 0.0, hi: 6.0 };
    for (c, size, stride) in [
        (32, 112, 1),
        (96, 112, 2),
        (144, 56, 1),
        (144, 56, 2),
        (192, 28, 1),
        (192, 28, 2),
        (384, 14, 1),
        (576, 14, 1),
        (576, 14, 2),
        (960, 7, 1),
    ] {
        b.depthwise([c, size, 3, stride], relu6);
    }
    for (c, size, kernel, stride, act) in [
        (16, 112, 3, 1, Act::Relu),
        (64, 112, 3, 2, Act::Relu),
        (72, 56, 3, 1, Act::Relu),
        (72, 56, 5, 2, Act::Relu),
        (120, 28, 5, 1, Act::Relu),
        (240, 28, 3, 2, Act::HardSwish),
        (184, 14, 3, 1, Act::HardSwish),
        (672, 14, 5, 1, Act::HardSwish),
        (672, 14, 5, 2, Act::HardSwish),
        (960, 7, 5, 1, Act::HardSwish),
        (960, 7, 5, 1, Act::Silu),
        (96, 56, 7, 1, Act::None),
        (96, 33, 3, 1, Act::Relu),
    ] {
        b.depthwise([c, size, kernel, stride], act);
    }
}

fn deconv(b: &Bench) {
    for case in [
        [64, 64, 64, 2, 0],
        [128, 64, 64, 2, 0],
        [256, 128, 32, 2, 0],
        [64, 64, 64, 3, 1],
        [64, 64, 64, 4, 1],
        [128, 128, 32, 4, 1],
        [256, 256, 16, 4, 1],
    ] {
        b.deconv(case);
    }
}

fn pool(b: &Bench) {
    let fixed = |kernel: usize, stride: usize, padding: usize| Window::Fixed {
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 4],
        dilation: [1, 1],
        count_include_pad: true,
        divisor: 0,
    };
    let (max, mean) = (pool::Kind::Max, pool::Kind::Average);
    let square = |c, size| image([1, c, size, size]);
    b.pool("max 3x3 s2 64 @112", [square(64, 112), square(64, 56)], max, fixed(3, 2, 1));
    b.pool("max 2x2 s2 64 @256", [square(64, 256), square(64, 128)], max, fixed(2, 2, 0));
    b.pool("max 2x2 s2 128 @32", [square(128, 32), square(128, 16)], max, fixed(2, 2, 0));
    b.pool("mean 2x2 s2 128 @56", [square(128, 56), square(128, 28)], mean, fixed(2, 2, 0));
    b.pool("mean 3x3 s1 192 @28", [square(192, 28); 2], mean, fixed(3, 1, 1));
    b.pool("global mean 1280 @7", [square(1280, 7), square(1280, 1)], mean, Window::Adaptive);
    b.pool("global mean 960 @7", [square(960, 7), square(960, 1)], mean, Window::Adaptive);
    b.pool("global mean 72 @28", [square(72, 28), square(72, 1)], mean, Window::Adaptive);
    b.pool("global mean 480 @14", [square(480, 14), square(480, 1)], mean, Window::Adaptive);
    b.pool("adaptive mean 256 @32 to 6", [square(256, 32), square(256, 6)], mean, Window::Adaptive);
    let planes = |size| Strided::contiguous(&[1, 64, size, size]);
    b.pool("global mean NCHW 64 @56", [planes(56), planes(1)], mean, Window::Adaptive);
    b.pool("max 2x2 s2 NCHW 64 @112", [planes(112), planes(56)], max, fixed(2, 2, 0));
}

fn resize(b: &Bench) {
    use resize::Kind::{Bicubic, Bilinear, Nearest};
    let square = |c, size| image([1, c, size, size]);
    for (kind, name) in [(Nearest, "nearest"), (Bilinear, "bilinear"), (Bicubic, "bicubic")] {
        b.resize(&format!("{name} 64 @64 to 128"), [square(64, 64), square(64, 128)], kind);
        b.resize(&format!("{name} 256 @14 to 28"), [square(256, 14), square(256, 28)], kind);
        b.resize(&format!("{name} 1 @128 to 512"), [square(1, 128), square(1, 512)], kind);
        let planes = |size| Strided::contiguous(&[1, 3, size, size]);
        b.resize(&format!("{name} NCHW 3 @512 to 224"), [planes(512), planes(224)], kind);
    }
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let scalar = std::env::args().any(|a| a == "--scalar");
    let b = Bench { filter, scalar, peak: peak::fma_gflops(Isa::detect()) };
    println!("multiply-add peak {:.1} GFLOP/s; `<` marks the row selection picks", b.peak);
    depthwise(&b);
    deconv(&b);
    pool(&b);
    resize(&b);
}
