//! Inverted bottlenecks of real models: their steps one by one against chains of them, on one thread, in turn.
//!
//! `cargo bench -p tandem-kernels --bench chain -- [part of a name]`. Medians of the times and of their ratios.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tandem_base::{AlignedBuf, Crew, Isa, Scratch, Span, SpanMut, Strided, Team};
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

/// A step and what it works on, called by a crew.
type Call<'a> = Box<dyn Fn(&mut Crew<'_>, &mut Scratch) + 'a>;

fn call<'a, F: Family>(row: Taken<F>, args: F::Args<'a>) -> Call<'a>
where
    F::Args<'a>: Copy,
{
    let shared = RefCell::new(AlignedBuf::zeroed(row.workspace().shared));
    Box::new(move |crew, scratch| {
        let mut shared = shared.borrow_mut();
        let bytes = shared.bytes_mut();
        // SAFETY: the block is the call's own and outlives the task.
        let block = unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr(), bytes.len()) };
        let task = row.bind(args, SpanMut::from(block)).expect("arguments fit");
        crew.run(&task, scratch);
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn bench(b: &Block, threads: usize) {
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
    let ns = |way: usize| {
        let rates = Rates::default();
        let chain = |i: usize| (picked(chain::KERNELS, &chains[i]).kernel().ns)(&chains[i], &rates);
        let [e, d, c] = [
            (r0.kernel().ns)(&expand, &rates),
            (r1.kernel().ns)(&depthwise, &rates),
            (r2.kernel().ns)(&project, &rates),
        ];
        [e + d + c, chain(0) + c, e + chain(1), chain(2)][way]
    };
    let predicted = [0, 1, 2, 3].map(ns);
    let tiles = chains.each_ref().map(|p| (picked(chain::KERNELS, p).kernel().tiles)(p, 0));
    let [front, behind, all] = chains.each_ref().map(|p| call(picked(chain::KERNELS, p), args(p)));
    let (c0, c1, c2) = (call(r0, a0), call(r1, a1), call(r2, a2));
    let ways: [&[&Call<'_>]; 4] = [&[&c0, &c1, &c2], &[&front, &c2], &[&c0, &behind], &[&all]];
    let mut times = [(); 4].map(|()| Vec::new());
    let mut scratch = Scratch::default();
    assert!(scratch.reserve(threads, 4 << 20));
    let begin = Instant::now();
    while begin.elapsed() < BUDGET || times[0].len() < 5 {
        for (way, times) in ways.iter().zip(&mut times) {
            let mut crew = Team::global().enter(threads);
            let at = Instant::now();
            way.iter().for_each(|call| call(&mut crew, &mut scratch));
            times.push(at.elapsed().as_secs_f64());
        }
    }
    let report = |way: usize| {
        let ratios = times[way].iter().zip(&times[0]).map(|(way, apart)| way / apart);
        let predicted = predicted[way] / predicted[0];
        format!("{:7.1} {:.3} as {predicted:.3}", median(times[way].clone()) * 1e6, median(ratios.collect()))
    };
    let apart = median(times[0].clone()) * 1e6;
    println!(
        "{:8} {:4}@{:3} | apart {apart:7.1} as {:7.1} µs | front {} ({:2} tiles) | behind {} ({:2}) | all {} ({:2})",
        b.name,
        between,
        b.size,
        predicted[0] / 1e3,
        report(1),
        tiles[0],
        report(2),
        tiles[1],
        report(3),
        tiles[2],
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let threads = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(1);
    let filter = arguments.iter().find(|a| a.parse::<usize>().is_err()).cloned().unwrap_or_default();
    BLOCKS.iter().filter(|b| b.name.contains(&filter)).for_each(|b| bench(b, threads));
}
