//! Inverted bottlenecks of real models: their steps one by one against chains of them, on one thread, in turn.
//!
//! `cargo bench -p tandem-kernels --bench chain -- [part of a name]`. Medians of the times and of their ratios.

use std::time::{Duration, Instant};

use tandem_base::{AlignedBuf, Isa, Span, SpanMut, Strided, Task};
use tandem_kernels::chain::{self, Stage};
use tandem_kernels::{
    Act, Epilogue, EpilogueArgs, Family, Kernel, Rates, Taken, conv, depthwise, panels, select,
};

/// Time given to a block.
const BUDGET: Duration = Duration::from_millis(600);

/// Channels in, between and out; source size; kernel and stride of the depthwise convolution.
struct Block {
    name: &'static str,
    channels: [usize; 3],
    size: usize,
    kernel: usize,
    stride: usize,
}

const fn block(name: &'static str, channels: [usize; 3], size: usize, kernel: usize, stride: usize) -> Block {
    Block { name, channels, size, kernel, stride }
}

const BLOCKS: [Block; 13] = [
    block("v2 stem", [3, 32, 16], 224, 3, 1),
    block("v2 1", [16, 96, 24], 112, 3, 2),
    block("v2 2", [24, 144, 24], 56, 3, 1),
    block("v2 3", [24, 144, 32], 56, 3, 2),
    block("v2 4", [32, 192, 32], 28, 3, 1),
    block("v2 6", [32, 192, 64], 28, 3, 2),
    block("v2 7", [64, 384, 64], 14, 3, 1),
    block("v2 11", [96, 576, 96], 14, 3, 1),
    block("v2 13", [96, 576, 160], 14, 3, 2),
    block("v2 14", [160, 960, 160], 7, 3, 1),
    block("v3 2", [16, 64, 24], 112, 3, 2),
    block("v3 3", [24, 72, 24], 56, 3, 1),
    block("v3 4", [24, 72, 40], 56, 5, 2),
];

struct Data(Vec<AlignedBuf>);

impl Data {
    fn floats(&mut self, n: usize) -> usize {
        let mut buf = AlignedBuf::zeroed(n * 4);
        let mut state = self.0.len() as u32 + 1;
        for bytes in buf.bytes_mut().chunks_exact_mut(4) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.copy_from_slice(&((state >> 8) as f32 / (1 << 23) as f32 - 1.0).to_le_bytes());
        }
        self.0.push(buf);
        self.0.len() - 1
    }
    fn span(&self, index: usize) -> Span<'_, f32> {
        Span::from(self.0[index].bytes()).cast().expect("aligned")
    }
    fn dst(&mut self, index: usize) -> SpanMut<'static, f32> {
        let bytes = self.0[index].bytes_mut();
        // SAFETY: the buffers outlive every call.
        let bytes = unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr(), bytes.len()) };
        SpanMut::from(bytes).cast().expect("aligned")
    }
}

fn image(c: usize, size: usize) -> Strided {
    Strided::with_order(&[1, c, size, size], &[0, 2, 3, 1])
}

fn picked<F: Family>(rows: &'static [Kernel<F>], p: &F::Problem) -> Taken<F> {
    select(rows, p, Isa::detect(), &Rates::default()).expect("a row").kernel.take(p.clone())
}

fn run<F: Family>(row: &Taken<F>, args: F::Args<'_>, memory: &mut [AlignedBuf; 2]) {
    let [shared, scratch] = memory;
    let workspace = row.workspace();
    assert!(workspace.shared <= shared.len() && workspace.per_worker <= scratch.len(), "{workspace:?}");
    // SAFETY: the block outlives the task.
    let block = unsafe { std::slice::from_raw_parts_mut(shared.bytes_mut().as_mut_ptr(), workspace.shared) };
    let task = row.bind(args, SpanMut::from(block)).expect("arguments fit");
    for phase in 0..task.phases() {
        // SAFETY: one call covers all tiles of a phase, in order of phases, on this thread.
        unsafe { task.run(phase, 0..task.tiles(phase), SpanMut::from(scratch.bytes_mut())) }
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn bench(b: &Block) {
    let [from, between, to] = b.channels;
    let stem = from == 3;
    let size = if stem { b.size / 2 } else { b.size };
    let out = (size - 1) / b.stride + 1;
    let act = Act::Clamp { lo: 0.0, hi: 6.0 };
    let stages = |act| Epilogue { bias: true, act, ..Epilogue::default() };
    let conv = |src: Strided, dst: Strided, kernel: usize, stride: usize, act| conv::Problem {
        src: [src].into_iter().collect(),
        dst,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 4],
        dilation: [1, 1],
        groups: 1,
        shuffle: 1,
        epilogue: stages(act),
        fast_math: false,
    };
    let expand = if stem {
        conv(Strided::contiguous(&[1, 3, b.size, b.size]), image(between, size), 3, 2, act)
    } else {
        conv(image(from, size), image(between, size), 1, 1, act)
    };
    let depthwise = depthwise::Problem {
        src: image(between, size),
        dst: image(between, out),
        kernel: [b.kernel; 2],
        stride: [b.stride; 2],
        padding: [b.kernel / 2; 4],
        dilation: [1, 1],
        epilogue: stages(act),
    };
    let mut project = conv(image(between, out), image(to, out), 1, 1, Act::None);
    let mut data = Data(Vec::new());
    let src = data.floats(expand.src[0].extent());
    if from == to && b.stride == 1 {
        project.epilogue.residual = Some(expand.src[0]);
    }
    let (mid, deep, dst) = (
        data.floats(expand.dst.extent()),
        data.floats(depthwise.dst.extent()),
        data.floats(project.dst.extent()),
    );
    let weights = [
        expand.k() * panels::padded(between),
        b.kernel * b.kernel * panels::padded(between),
        between * panels::padded(to),
    ]
    .map(|n| data.floats(n));
    let bias = data.floats(2000);
    let [mid_to, deep_to, dst_to] = [mid, deep, dst].map(|i| data.dst(i));
    let [w0, w1, w2] = weights.map(|i| data.span(i));
    let epilogue = EpilogueArgs { bias: data.span(bias), ..EpilogueArgs::none() };
    let added = EpilogueArgs { residual: data.span(src), ..epilogue };
    let one = |span| {
        let mut src = [Span::empty(); conv::MAX_SEGMENTS];
        src[0] = span;
        src
    };
    let a0 = conv::Args { src: one(data.span(src)), weight: w0, epilogue, dst: mid_to };
    let a1 = depthwise::Args { src: data.span(mid), weight: w1, epilogue, dst: deep_to };
    let a2 = conv::Args { src: one(data.span(deep)), weight: w2, epilogue: added, dst: dst_to };
    let (r0, r1, r2) = (
        picked(conv::KERNELS, &expand),
        picked(depthwise::KERNELS, &depthwise),
        picked(conv::KERNELS, &project),
    );
    let stage = |weight, epilogue| Stage { weight, epilogue };
    let chains = [(true, false), (false, true), (true, true)].map(|(front, behind)| chain::Problem {
        expand: front.then(|| expand.clone()),
        depthwise: depthwise.clone(),
        project: behind.then(|| project.clone()),
    });
    let args = |p: &chain::Problem| chain::Args {
        src: one(data.span(if p.expand.is_some() { src } else { mid })),
        expand: stage(w0, epilogue),
        depthwise: stage(w1, epilogue),
        project: stage(w2, added),
        dst: if p.project.is_some() { dst_to } else { deep_to },
    };
    let rows = chains.each_ref().map(|p| picked(chain::KERNELS, p));
    let mut memory = [AlignedBuf::zeroed(4 << 20), AlignedBuf::zeroed(4 << 20)];
    let mut times = vec![Vec::new(); 6];
    let begin = Instant::now();
    let mut bits: Vec<Vec<u8>> = Vec::new();
    while begin.elapsed() < BUDGET || times[0].len() < 5 {
        let mut at = Instant::now();
        let mut lap = |times: &mut Vec<f64>| {
            let now = Instant::now();
            times.push((now - at).as_secs_f64());
            at = Instant::now();
        };
        run(&r0, a0, &mut memory);
        lap(&mut times[0]);
        run(&r1, a1, &mut memory);
        lap(&mut times[1]);
        run(&r2, a2, &mut memory);
        lap(&mut times[2]);
        if bits.is_empty() {
            bits.push(
                dst_to
                    .as_span()
                    .cast::<u8>()
                    .map(|s| unsafe { std::slice::from_raw_parts(s.ptr(), s.len()) }.to_vec())
                    .unwrap(),
            );
        }
        let only = std::env::var("ONLY").is_ok();
        for i in if only { 2..3 } else { 0..3 } {
            for _ in 0..if only { 1000 } else { 0 } {
                run(&rows[i], args(&chains[i]), &mut memory);
            }
            at = Instant::now();
            run(&rows[i], args(&chains[i]), &mut memory);
            let now = Instant::now();
            times[3 + i].push((now - at).as_secs_f64());
        }
    }
    let last = dst_to
        .as_span()
        .cast::<u8>()
        .map(|s| unsafe { std::slice::from_raw_parts(s.ptr(), s.len()) }.to_vec())
        .unwrap();
    assert!(bits[0] == last, "bits");
    let n = times[0].len();
    let sums =
        |parts: &[usize]| (0..n).map(|i| parts.iter().map(|&p| times[p][i]).sum()).collect::<Vec<f64>>();
    let ratio = |chain: usize, parts: &[usize]| {
        median(sums(parts).iter().zip(&times[chain]).map(|(s, c)| c / s).collect())
    };
    let us = |i: usize| median(times[i].clone()) * 1e6;
    println!(
        "{:8} {:4}@{:3} | {:7.1} {:7.1} {:7.1} = {:7.1} µs | front {:7.1} {:.3} ({:2} tiles) | behind {:7.1} {:.3} ({:2}) | all {:7.1} {:.3} ({:2}) of sum",
        b.name,
        between,
        b.size,
        us(0),
        us(1),
        us(2),
        median(sums(&[0, 1, 2])) * 1e6,
        us(3),
        ratio(3, &[0, 1]),
        (rows[0].kernel().tiles)(&chains[0], 0),
        us(4),
        ratio(4, &[1, 2]),
        (rows[1].kernel().tiles)(&chains[1], 0),
        us(5),
        ratio(5, &[0, 1, 2]),
        (rows[2].kernel().tiles)(&chains[2], 0),
    );
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    BLOCKS.iter().filter(|b| b.name.contains(&filter)).for_each(bench);
}
