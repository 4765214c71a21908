//! Every row of the vector families on shapes of real models: time on one thread, share of a memcpy of the same bytes
//! (GB/s counts bytes read and written), and for attention share of the multiply-add peak.
//!
//! `cargo bench -p tandem-kernels --bench vector -- [--scalar] [part of a name]`. Neighbours on the machine only slow a run down, so the
//! fastest of many counts, and memcpy and peak are measured in the same run.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tandem_base::strided::MAX_RANK;
use tandem_base::{AlignedBuf, Isa, Span, SpanMut, Strided, Task};
use tandem_kernels::elementwise::{self, Func};
use tandem_kernels::moves::{self, Edge};
use tandem_kernels::{Act, Family, Kernel, Rates, attention, peak, select, softmax};

/// Time given to one row on one shape.
const BUDGET: Duration = Duration::from_millis(80);

fn least(mut f: impl FnMut()) -> f64 {
    f();
    let (begin, mut least) = (Instant::now(), f64::INFINITY);
    while begin.elapsed() < BUDGET {
        let start = Instant::now();
        f();
        least = least.min(start.elapsed().as_secs_f64());
    }
    least
}

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

fn span_mut(buf: &mut AlignedBuf) -> SpanMut<'_, f32> {
    SpanMut::from(buf.bytes_mut()).cast().expect("aligned")
}

struct Bench {
    filter: Option<String>,
    /// Whether scalar rows are timed too.
    scalar: bool,
    peak: f64,
}

impl Bench {
    /// Times every row that takes the problem; `args` is called once a row.
    fn rows<'a, F: Family>(
        &self,
        name: &str,
        kernels: &'static [Kernel<F>],
        problem: &F::Problem,
        args: impl Fn() -> F::Args<'a>,
    ) {
        if self.filter.as_ref().is_some_and(|f| !name.contains(f.as_str()) && !F::NAME.contains(f.as_str())) {
            return;
        }
        let cost = F::cost(problem);
        let (src, mut dst) = (floats(cost.bytes as usize / 8), AlignedBuf::zeroed(cost.bytes as usize / 2));
        let half = src.len();
        let copy = least(|| dst.bytes_mut()[..half].copy_from_slice(black_box(src.bytes())));
        let picked = select(kernels, problem, Isa::detect(), &Rates::default()).map_or("", |c| c.kernel.name);
        for row in
            kernels.iter().filter(|row| Isa::detect().has(row.isa) && (row.isa != Isa::SCALAR || self.scalar))
        {
            if let Err(why) = (row.supports)(problem) {
                println!("{:12} {name:38} {:22} {why}", F::NAME, row.name);
                continue;
            }
            let workspace = (row.workspace)(problem);
            let shared = Box::leak(Box::new(AlignedBuf::zeroed(workspace.shared)));
            let mut scratch = AlignedBuf::zeroed(workspace.per_worker);
            let task = row.bind(problem, args(), SpanMut::from(shared.bytes_mut())).expect("arguments fit");
            let time = least(|| {
                for phase in 0..task.phases() {
                    // SAFETY: one call covers all tiles of the phase, in order of phases, on this thread's scratch.
                    unsafe {
                        task.run(
                            tandem_base::Engine::Core,
                            phase,
                            0..task.tiles(phase),
                            SpanMut::from(scratch.bytes_mut()),
                        )
                    }
                }
            });
            let predicted = (row.ns)(problem, &Rates { fma_gflops: self.peak, ..Rates::default() });
            println!(
                "{:12} {name:38} {:22} {:10.1} µs {:7.1} GB/s {:5.0} % of memcpy {:6.1} GFLOP/s {:4.0} % of peak  predicted {:8.1} µs{}",
                F::NAME,
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

    fn elementwise(&self, name: &str, func: Func, src: &[Strided], dst: Strided) {
        let data: Vec<AlignedBuf> = src.iter().map(|s| floats(s.extent())).collect();
        let mut out = floats(dst.extent());
        let to = span_mut(&mut out);
        let problem = elementwise::Problem { func, src: src.iter().copied().collect(), dst, act: Act::None };
        self.rows(name, elementwise::KERNELS, &problem, || {
            let mut spans = [Span::empty(); 3];
            spans.iter_mut().zip(&data).for_each(|(s, d)| *s = span(d));
            elementwise::Args { src: spans, dst: to }
        });
    }

    fn moves(&self, name: &str, src: Strided, dst: Strided, before: [isize; MAX_RANK]) {
        let data = floats(src.extent());
        let mut out = floats(dst.extent());
        let to = SpanMut::from(out.bytes_mut());
        let problem = moves::Problem { src, dst, width: 4, before, edge: Edge::Constant(0) };
        self.rows(name, moves::KERNELS, &problem, || moves::Args { src: Span::from(data.bytes()), dst: to });
    }
}

fn image(sizes: [usize; 4]) -> Strided {
    Strided::with_order(&sizes, &[0, 2, 3, 1])
}

fn elementwise(b: &Bench) {
    let big = image([1, 64, 256, 256]);
    let small = image([1, 64, 56, 56]);
    let channels =
        |of: &Strided| Strided::contiguous(&[of.size(1), 1, 1]).broadcast_to(of.sizes()).expect("fits");
    let tokens = Strided::contiguous(&[197, 768]);
    let row = Strided::contiguous(&[768]).broadcast_to(tokens.sizes()).expect("fits");
    b.elementwise("relu [64,256,256]", Func::Act(Act::Relu), &[big], big);
    b.elementwise("add [64,256,256]", Func::Add(1.0), &[big, big], big);
    b.elementwise("add [64,56,56]", Func::Add(1.0), &[small, small], small);
    b.elementwise(
        "scale, shift NHWC [64,256,256]",
        Func::MulAdd,
        &[big, channels(&big), channels(&big)],
        big,
    );
    b.elementwise(
        "scale, shift NHWC [64,56,56]",
        Func::MulAdd,
        &[small, channels(&small), channels(&small)],
        small,
    );
    b.elementwise("bias [197,768]", Func::Add(1.0), &[tokens, row], tokens);
    b.elementwise(
        "gelu [197,3072]",
        Func::Act(Act::Gelu),
        &[Strided::contiguous(&[197, 3072])],
        Strided::contiguous(&[197, 3072]),
    );
    b.elementwise(
        "silu [197,3072]",
        Func::Act(Act::Silu),
        &[Strided::contiguous(&[197, 3072])],
        Strided::contiguous(&[197, 3072]),
    );
    b.elementwise(
        "add NCHW + NHWC [64,56,56]",
        Func::Add(1.0),
        &[small, Strided::contiguous(small.sizes())],
        small,
    );
}

fn movement(b: &Bench) {
    let none = [0; MAX_RANK];
    for sizes in [[1, 3, 256, 256], [1, 64, 56, 56], [1, 64, 256, 256]] {
        let (planes, nhwc) = (Strided::contiguous(&sizes), image(sizes));
        let [_, c, h, w] = sizes;
        b.moves(&format!("NCHW to NHWC [{c},{h},{w}]"), planes, nhwc, none);
        b.moves(&format!("NHWC to NCHW [{c},{h},{w}]"), nhwc, planes, none);
    }
    let heads = Strided::contiguous(&[197, 12, 64]).permuted(&[1, 0, 2]);
    b.moves("heads [12,197,64]", heads, Strided::contiguous(heads.sizes()), none);
    b.moves(
        "concat part NHWC [64,128,128]",
        image([1, 64, 128, 128]),
        Strided::new(&[1, 64, 128, 128], &[0, 1, 128 * 128, 128]),
        none,
    );
    let mut before = none;
    (before[2], before[3]) = (1, 1);
    b.moves("pad NHWC [64,128,128]", image([1, 64, 128, 128]), image([1, 64, 130, 130]), before);
    b.moves(
        "pad NCHW [3,256,256]",
        Strided::contiguous(&[1, 3, 256, 256]),
        Strided::contiguous(&[1, 3, 258, 258]),
        before,
    );
}

fn attending(b: &Bench) {
    for [rows, n] in [[256, 1024], [2364, 197]] {
        let shape = Strided::contiguous(&[rows, n]);
        let (data, mut out) = (floats(rows * n), floats(rows * n));
        let dst = span_mut(&mut out);
        let problem = softmax::Problem { src: shape, dst: shape, dim: 1, log: false };
        let args = || softmax::Args { src: span(&data), dst };
        b.rows(&format!("softmax [{rows},{n}]"), softmax::KERNELS, &problem, args);
    }
    let shapes = [
        [12, 12, 197, 197, 64],
        [8, 8, 1024, 1024, 64],
        [4, 4, 4096, 64, 16],
        [8, 8, 1, 1024, 64],
        [32, 8, 1, 1024, 128],
        [8, 8, 4, 512, 64],
        [8, 8, 8, 512, 64],
        [8, 8, 16, 512, 64],
        [8, 8, 1, 33, 16],
        [4, 1, 1, 4096, 256],
    ];
    for shape in shapes {
        attention_of(b, shape, &[("", [0, 2, 1, 3])]);
    }
    let orders = [("keys turned", [0, 1, 3, 2]), ("by heads", [0, 1, 2, 3])];
    for shape in
        [[12, 12, 197, 197, 64], [8, 8, 1024, 1024, 64], [12, 12, 64, 1024, 64], [12, 12, 32, 208, 64]]
    {
        attention_of(b, shape, &orders);
    }
}

/// Keys as the orders say, everything else with heads side by side in a token's row.
fn attention_of(b: &Bench, [heads, kv_heads, t, s, d]: [usize; 5], orders: &[(&str, [u8; 4])]) {
    for (name, order) in orders {
        let heads_of = |[heads, n]: [usize; 2]| Strided::with_order(&[1, heads, n, d], &[0, 2, 1, 3]);
        let [q, v] = [[heads, t], [kv_heads, s]].map(heads_of);
        let k = Strided::with_order(&[1, kv_heads, s, d], order);
        let [queries, keys, values] = [q, k, v].map(|of| floats(of.extent()));
        let mut out = floats(q.extent());
        let dst = span_mut(&mut out);
        let problem = attention::Problem { q, k, v, mask: None, dst: q, scale: 0.125, causal: false };
        let args = || attention::Args {
            q: span(&queries),
            k: span(&keys),
            v: span(&values),
            mask: Span::empty(),
            dst,
        };
        b.rows(
            &format!("attention {heads}/{kv_heads}x{t}x{s} d{d} {name}"),
            attention::KERNELS,
            &problem,
            args,
        );
    }
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let scalar = std::env::args().any(|a| a == "--scalar");
    let b = Bench { filter, scalar, peak: peak::fma_gflops(Isa::detect()) };
    println!("multiply-add peak {:.1} GFLOP/s; `<` marks the row selection picks", b.peak);
    elementwise(&b);
    movement(&b);
    attending(&b);
}
