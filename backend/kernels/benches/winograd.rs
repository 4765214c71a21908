//! Winograd rows against the other rows and the FMA peak, in one run: least time of many, taken in turn. Weights come
//! from memory as in a model: every execute takes another copy.
//!
//! `cargo bench -p tandem-kernels --bench winograd -- [part of a case's name]`

use std::time::{Duration, Instant};

use tandem_base::{AlignedBuf, Isa, Scratch, Span, SpanMut, Strided, Team};
use tandem_kernels::conv::{Args, Conv, KERNELS, MAX_SEGMENTS, Problem};
use tandem_kernels::peak::fma_gflops;
use tandem_kernels::{Act, Epilogue, EpilogueArgs, Family, Kernel, Rates, panels};

/// Source segments, plane, output channels.
type Case = (&'static [usize], usize, usize);

const CASES: &[Case] = &[
    (&[64], 256, 64),
    (&[64, 64], 256, 64),
    (&[64], 128, 128),
    (&[128], 128, 128),
    (&[128, 64], 128, 128),
    (&[128], 64, 128),
    (&[128, 64], 64, 128),
    (&[128], 32, 128),
    (&[128, 64], 32, 128),
    (&[128], 16, 164),
    (&[164], 16, 164),
    (&[82, 128], 16, 128),
    (&[82, 210], 16, 164),
    (&[256], 8, 256),
    (&[256], 4, 256),
    (&[256], 2, 256),
    (&[64], 56, 64),
    (&[128], 28, 128),
    (&[256], 14, 256),
    (&[512], 7, 512),
    (&[3], 224, 64),
    (&[16], 128, 16),
    (&[20], 56, 40),
    (&[64], 128, 3),
    (&[32], 12, 32),
    (&[64], 6, 64),
];

fn problem((segments, size, columns): Case) -> Problem {
    let image = |c| Strided::with_order(&[1, c, size, size], &[0, 2, 3, 1]);
    Problem {
        src: segments.iter().map(|&c| image(c)).collect(),
        dst: image(columns),
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1; 4],
        dilation: [1, 1],
        groups: 1,
        shuffle: 1,
        epilogue: Epilogue { bias: true, act: Act::Relu, ..Epilogue::default() },
        fast_math: true,
    }
}

fn whole(buf: &mut AlignedBuf) -> SpanMut<'_, f32> {
    let len = buf.len();
    buf.lease().span_mut(0..len).expect("a line's alignment is enough for f32")
}

/// More than a last-level cache holds.
const WEIGHT_BYTES: usize = 96 << 20;

/// Operands of a problem and the memory of every row.
struct Bench {
    problem: Problem,
    src: Vec<AlignedBuf>,
    weight: AlignedBuf,
    turn: usize,
    bias: AlignedBuf,
    dst: AlignedBuf,
    shared: AlignedBuf,
    scratch: Scratch,
}

impl Bench {
    fn new(problem: Problem) -> Self {
        let floats = |n: usize| {
            let mut buf = AlignedBuf::zeroed(n * 4);
            for (i, v) in buf.bytes_mut().chunks_exact_mut(4).enumerate() {
                v.copy_from_slice(&((i * 37 % 101) as f32 / 101.0 - 0.5).to_le_bytes());
            }
            buf
        };
        let want = KERNELS
            .iter()
            .filter(|row| (row.supports)(&problem).is_ok())
            .map(|row| (row.workspace)(&problem));
        let shared = want.map(|w| w.shared).max().unwrap_or(0);
        Self {
            src: problem.src.iter().map(|s| floats(s.extent())).collect(),
            weight: floats((WEIGHT_BYTES / 4).next_multiple_of(problem.k() * problem.padded_columns())),
            turn: 0,
            bias: floats(panels::padded(problem.dst.size(1))),
            dst: floats(problem.dst.extent()),
            shared: AlignedBuf::zeroed(shared),
            scratch: Scratch::default(),
            problem,
        }
    }

    /// Time of one execute, in ns.
    fn time(&mut self, row: &'static Kernel<Conv>, threads: usize) -> f64 {
        let mut src = [Span::empty(); MAX_SEGMENTS];
        for (span, buf) in src.iter_mut().zip(&mut self.src) {
            *span = whole(buf).as_span();
        }
        let epilogue = EpilogueArgs { bias: whole(&mut self.bias).as_span(), ..EpilogueArgs::none() };
        let weights = whole(&mut self.weight).as_span();
        let one = self.problem.k() * self.problem.padded_columns();
        self.turn = (self.turn + 1) % (weights.len() / one);
        let weight = weights.skip(self.turn * one).expect("a copy");
        let dst = whole(&mut self.dst);
        let args = Args { src, weight, epilogue, dst };
        let shared = SpanMut::from(self.shared.bytes_mut());
        let task = row.bind(&self.problem, args, shared).expect("fits");
        let mut crew = Team::global().enter(threads);
        let start = Instant::now();
        crew.run(&task, &mut self.scratch);
        start.elapsed().as_nanos() as f64
    }
}

fn main() {
    let wanted = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let isa = Isa::detect();
    let rows: Vec<_> = KERNELS.iter().filter(|row| isa.has(row.isa) && row.isa != Isa::SCALAR).collect();
    println!("direct-equivalent GFLOP/s; share is of the FMA peak of the row's vectors");
    for &case in CASES {
        let name = format!("{:?}->{} @{}", case.0, case.2, case.1);
        if !name.contains(&wanted) {
            continue;
        }
        let mut bench = Bench::new(problem(case));
        let flops = <Conv>::cost(&bench.problem).flops;
        let rows: Vec<_> = rows.iter().filter(|row| (row.supports)(&bench.problem).is_ok()).collect();
        let mut best = vec![[f64::INFINITY; 2]; rows.len()];
        let end = Instant::now() + Duration::from_millis(1500);
        while Instant::now() < end {
            for (row, best) in rows.iter().zip(&mut best) {
                for (best, threads) in best.iter_mut().zip([1, 2]) {
                    *best = best.min(bench.time(row, threads));
                }
            }
        }
        println!("{name}");
        for (row, [ns, two]) in rows.iter().zip(best) {
            let peak = fma_gflops(row.isa);
            let rate = flops / ns;
            let predicted = (row.ns)(&bench.problem, &Rates { fma_gflops: peak, ..Rates::default() });
            println!(
                "  {:28} {:8.3} ms  {rate:6.1} GFLOP/s  {:5.1} % of {peak:.0}  predicted {:8.3} ms  2 threads {:8.3} ms",
                row.name,
                ns / 1e6,
                100.0 * rate / peak,
                predicted / 1e6,
                two / 1e6,
            );
        }
    }
}
