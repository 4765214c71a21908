//! Measuring this machine: a profile of what its kernels reach.

mod unit;

use std::hint::black_box;
use std::time::{Duration, Instant};

use tandem_base::strided::MAX_RANK;
use tandem_base::team::cost;
use tandem_base::{AlignedBuf, Isa, Scratch, Span, SpanMut, Strided, Team, cpu, sme};
use tandem_kernels::elementwise::{self, Func};
use tandem_kernels::moves::{self, Edge};
use tandem_kernels::{Act, Family, Kernel, Rates, gemm, panels, peak, select};

use super::{Confidence, CoreRates, Cores, Device, Figure, Memory, Sme, Team as Costs, entry, find};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Repetitions of a measurement, whose best counts, what else runs on the machine only slowing one down; of memory, which it
    /// shares, the median does.
    pub rounds: usize,
    /// Time given to one repetition.
    pub time: Duration,
    /// Bytes of an operand that does not stay in any cache.
    pub memory: usize,
    /// Edge of a product that is large enough to reach a matrix unit's rate.
    pub edge: usize,
}

impl Default for Effort {
    /// Some ten seconds in all.
    fn default() -> Self {
        Self { rounds: 7, time: Duration::from_millis(60), memory: 128 << 20, edge: 768 }
    }
}

/// Bytes of an operand that stays in L2 with two others.
const IN_L2: usize = 96 << 10;

/// Where the figures come from.
const SOURCE: &str = "tandem characterize";

/// Measures this machine with up to so many threads. `progress` is told what is measured next and which part of the whole
/// is done.
pub fn characterize(threads: usize, effort: Effort, progress: &mut dyn FnMut(&str, f64)) -> Device {
    let (isa, nearest) = (Isa::detect(), find::class(Isa::detect()));
    let tiers: Vec<Isa> = tiers(isa);
    let parts = (tiers.len() + 3) as f64;
    let mut rates = Vec::new();
    for (i, &tier) in tiers.iter().enumerate() {
        progress(&format!("one thread with {tier}"), i as f64 / parts);
        rates.push(effort.core(tier));
    }
    progress("memory from all cores", (parts - 3.0) / parts);
    let dram_gbs = effort.typical(|| effort.copy_gbs(isa, effort.memory, threads));
    progress("threads that meet", (parts - 2.0) / parts);
    let memory = memory(dram_gbs, &nearest.memory);
    let team = costs(threads, effort.rounds, &nearest.team);
    progress("matrix unit", (parts - 1.0) / parts);
    let sme = isa.has(Isa::SME2).then(|| effort.unit(nearest.sme.as_ref()));
    progress("done", 1.0);
    Device {
        name: "this-machine".to_owned(),
        about: format!("{}, {threads} threads, measured", cpu::name()),
        chips: vec![cpu::name()],
        cores: vec![Cores { kind: "core".to_owned(), count: threads, rates }],
        memory,
        sme,
        team,
    }
}

/// Instruction sets to measure one after the other, the most first.
fn tiers(isa: Isa) -> Vec<Isa> {
    let steps = [Isa::AVX512, Isa::AVX2, Isa::NEON];
    let found = steps.into_iter().filter(|step| isa.has(*step));
    found.map(|step| if step == Isa::AVX512 { step | Isa::AVX2 } else { step }).chain([Isa::SCALAR]).collect()
}

fn memory(dram_gbs: Figure, nearest: &Memory) -> Memory {
    let known = |bytes: usize, class: &Figure| match bytes {
        0 => Figure { confidence: Confidence::Assumed, ..class.clone() },
        bytes => {
            let source = "the system's description of its caches".to_owned();
            Figure { value: bytes as f64, confidence: Confidence::Published, source, spread: None }
        }
    };
    let [l1, l2, llc] = cpu::caches();
    Memory {
        l1_bytes: known(l1, &nearest.l1_bytes),
        l2_bytes: known(l2, &nearest.l2_bytes),
        llc_bytes: known(llc, &nearest.llc_bytes),
        dram_gbs,
    }
}

/// Medians: a thread that is late is part of what it costs.
fn costs(threads: usize, rounds: usize, nearest: &Costs) -> Costs {
    let (hand_offs, wakes) = if threads > 1 {
        (cost::hand_offs(300 * rounds), cost::wakes(30 * rounds))
    } else {
        (vec![], vec![])
    };
    let figure = |mut times: Vec<f64>, class: &Figure| {
        times.sort_by(f64::total_cmp);
        match times.len() {
            0 => Figure { confidence: Confidence::Assumed, ..class.clone() },
            n => {
                let (median, quartiles) = (times[n / 2], times[n * 3 / 4] - times[n / 4]);
                measured(median, quartiles / median)
            }
        }
    };
    let steps = entry::times(rounds).unwrap_or_default();
    Costs {
        hand_off_ns: figure(hand_offs, &nearest.hand_off_ns),
        wake_ns: figure(wakes, &nearest.wake_ns),
        step_ns: figure(steps, &nearest.step_ns),
    }
}

fn measured(value: f64, spread: f64) -> Figure {
    Figure { value, confidence: Confidence::Measured, source: SOURCE.to_owned(), spread: Some(spread) }
}

fn pick<F: Family>(rows: &'static [Kernel<F>], p: &F::Problem, isa: Isa) -> &'static Kernel<F> {
    select(rows, p, isa, &Rates::default()).expect("a scalar row").kernel
}

fn span<T: bytemuck::Pod>(buf: &AlignedBuf) -> Span<'_, T> {
    Span::from(bytemuck::cast_slice(buf.bytes()))
}

/// Bytes that lie somewhere: pages nobody wrote to may all be the same one.
fn written(bytes: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(bytes);
    buf.bytes_mut().fill(1);
    buf
}

impl Effort {
    fn core(self, isa: Isa) -> CoreRates {
        CoreRates {
            isa: isa.to_string(),
            fma_gflops: self.best(|| peak::fma_gflops(isa)),
            vector_gelems: self.best(|| self.add_gelems(isa)),
            l2_gbs: self.best(|| self.copy_gbs(isa, IN_L2, 1)),
            dram_gbs: self.typical(|| self.copy_gbs(isa, self.memory, 1)),
            read_gbs: self.typical(|| self.read_gbs(isa)),
        }
    }

    /// One unit through its kernels; what no kernel shows on its own is of the nearest profile.
    fn unit(self, nearest: Option<&Sme>) -> Sme {
        let class = find::unit();
        let class = nearest.unwrap_or(&class);
        let kept = |figure: &Figure| Figure { confidence: Confidence::Assumed, ..figure.clone() };
        Sme {
            units: sme::units(),
            svl_bits: 8 * sme::svl_bytes().unwrap_or(class.svl_bits / 8),
            f32_gflops: self.best(|| self.product_gflops::<f32>(gemm::KERNELS)),
            f16_gflops: self.best(|| self.product_gflops::<tandem_kernels::f16>(gemm::KERNELS_F16)),
            i8_gops: self.best(|| self.product_gops(Isa::SME2)),
            vector_gflops: self.best(|| self.thin_gflops(Isa::SME2)),
            copy_gelems: self.best(|| peak::unit(Isa::SME2).copy_gelems),
            l2_gbs: kept(&class.l2_gbs),
            l2_bytes: kept(&class.l2_bytes),
            dram_gbs: kept(&class.dram_gbs),
            entry_ns: self.least(|| peak::unit(Isa::SME2).entry_ns),
        }
    }

    /// The median of several measurements: what neighbours on the machine leave of its memory.
    fn typical(self, measure: impl Fn() -> f64) -> Figure {
        let mut all: Vec<f64> = (0..self.rounds).map(|_| measure()).collect();
        all.sort_by(f64::total_cmp);
        let (median, last) = (all[all.len() / 2], all.len() - 1);
        measured(median, (all[last] - all[0]) / all[last])
    }

    /// The largest of several measurements.
    fn best(self, measure: impl Fn() -> f64) -> Figure {
        let all: Vec<f64> = (0..self.rounds).map(|_| measure()).collect();
        let [least, most] = [f64::min, f64::max].map(|of| all.iter().copied().reduce(of).unwrap_or(f64::NAN));
        measured(most, (most - least) / most)
    }

    /// Shortest time of a task by a row, its shared memory in `shared`, in s.
    fn time<'a, F: Family>(
        self,
        kernel: &'static Kernel<F>,
        p: &F::Problem,
        args: F::Args<'a>,
        shared: SpanMut<'a, u8>,
        threads: usize,
    ) -> f64 {
        let task = kernel.bind(p, args, shared).expect("operands fit");
        let (mut crew, mut scratch) = (Team::global().enter(threads), Scratch::default());
        crew.run(&task, &mut scratch);
        let (begin, mut least) = (Instant::now(), f64::INFINITY);
        while least.is_infinite() || begin.elapsed() < self.time {
            let start = Instant::now();
            crew.run(black_box(&task), &mut scratch);
            least = least.min(start.elapsed().as_secs_f64());
        }
        least
    }

    /// Sums of two arrays in L2, in Gelement/s.
    fn add_gelems(self, isa: Isa) -> f64 {
        let n = IN_L2 / size_of::<f32>();
        let shape = Strided::contiguous(&[n]);
        let p = elementwise::Problem {
            func: Func::Add(1.0),
            src: [shape; 2].into_iter().collect(),
            dst: shape,
            act: Act::None,
        };
        let [a, b, mut dst] = [(); 3].map(|()| written(IN_L2));
        let mut src = [Span::empty(); 3];
        (src[0], src[1]) = (span(&a), span(&b));
        let dst = SpanMut::from(bytemuck::cast_slice_mut::<u8, f32>(dst.bytes_mut()));
        n as f64
            / self.time(
                pick(elementwise::KERNELS, &p, isa),
                &p,
                elementwise::Args { src, dst },
                SpanMut::empty(),
                1,
            )
            * 1e-9
    }

    /// Bytes read and written by a copy, in GB/s.
    fn copy_gbs(self, isa: Isa, bytes: usize, threads: usize) -> f64 {
        let shape = Strided::contiguous(&[bytes / 4096, 1024]);
        let p = moves::Problem {
            src: shape,
            dst: shape,
            width: 4,
            before: [0; MAX_RANK],
            edge: Edge::Constant(0),
        };
        let [src, mut dst] = [(); 2].map(|()| written(bytes));
        let args = moves::Args { src: Span::from(src.bytes()), dst: SpanMut::from(dst.bytes_mut()) };
        2.0 * bytes as f64 / self.time(pick(moves::KERNELS, &p, isa), &p, args, SpanMut::empty(), threads)
            * 1e-9
    }

    /// Bytes of panels that a product of a single row reads out of memory, in GB/s.
    fn read_gbs(self, isa: Isa) -> f64 {
        let k = 1024;
        let n = panels::padded(self.memory / size_of::<f32>() / k);
        let p = gemm::Problem {
            lhs: Strided::contiguous(&[1, 1, k]),
            rhs: gemm::Rhs::Panels,
            dst: Strided::contiguous(&[1, 1, n]),
            alpha: 1.0,
            epilogue: tandem_kernels::Epilogue::default(),
        };
        let row = pick(gemm::KERNELS, &p, isa);
        let [lhs, rhs, mut dst] = [k, k * n, n].map(|len| written(len * size_of::<f32>()));
        let mut shared = AlignedBuf::zeroed((row.workspace)(&p).shared);
        let args = gemm::Args {
            lhs: span(&lhs),
            rhs: span(&rhs),
            epilogue: tandem_kernels::EpilogueArgs::none(),
            dst: SpanMut::from(bytemuck::cast_slice_mut::<u8, f32>(dst.bytes_mut())),
        };
        rhs.bytes().len() as f64 / self.time(row, &p, args, SpanMut::from(shared.bytes_mut()), 1) * 1e-9
    }

    /// A product of square matrices by the unit's row, in GFLOP/s.
    fn product_gflops<E: tandem_kernels::Element>(self, rows: &'static [Kernel<gemm::Gemm<E>>]) -> f64 {
        let shape = Strided::contiguous(&[1, self.edge, self.edge]);
        let p = gemm::Problem {
            lhs: shape,
            rhs: gemm::Rhs::Panels,
            dst: shape,
            alpha: 1.0,
            epilogue: tandem_kernels::Epilogue::default(),
        };
        let Some(row) = rows.iter().find(|row| row.isa.has(Isa::SME2) && (row.supports)(&p).is_ok()) else {
            return f64::MIN_POSITIVE;
        };
        let elements = self.edge * panels::padded(self.edge);
        let [lhs, rhs, mut dst] = [(); 3].map(|()| AlignedBuf::zeroed(elements * size_of::<E>()));
        let mut shared = AlignedBuf::zeroed((row.workspace)(&p).shared);
        let args = gemm::Args {
            lhs: span(&lhs),
            rhs: span(&rhs),
            epilogue: tandem_kernels::EpilogueArgs::none(),
            dst: SpanMut::from(bytemuck::cast_slice_mut::<u8, E>(dst.bytes_mut())),
        };
        2.0 * (self.edge * self.edge * self.edge) as f64
            / self.time(row, &p, args, SpanMut::from(shared.bytes_mut()), 1)
            * 1e-9
    }
}
