//! Parts computed by units and cores in any mixture give the bits of one row on the whole; of 16-bit floats, those values
//! within a rounding.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ThreadId;

use tandem_base::{AlignedBuf, Scratch, Span, Strided, Team, sme};

use super::*;
use crate::epilogue::{Act, Epilogue, EpilogueArgs};
use crate::testing::{CANARY, Random, sample};
use crate::{bf16, conv, f16, gemm, panels};

/// A row of units and one of cores that take a problem.
fn pair<F: Divide>(
    rows: &'static [Kernel<F>],
    p: &F::Problem,
    random: &mut Random,
) -> Option<[&'static Kernel<F>; 2]> {
    let here = || crate::testing::rows(rows, p);
    let cores = here().filter(|row| !row.isa.in_unit() && row.isa != Isa::SCALAR && F::shares(row));
    let (units, cores): (Vec<_>, Vec<_>) =
        (here().filter(|row| row.isa.in_unit()).collect(), cores.collect());
    (!units.is_empty() && !cores.is_empty()).then(|| [random.pick(&units), random.pick(&cores)])
}

/// Computes a problem by a row of cores, then in parts, in a random order and each by a random engine; whether it comes apart.
fn check<F: Divide>(
    rows: &'static [Kernel<F>],
    p: &F::Problem,
    elements: usize,
    random: &mut Random,
    args: impl Fn(SpanMut<'static, F::Element>) -> F::Args<'static>,
) -> bool {
    let Some([unit, core]) = pair(rows, p, random) else { return false };
    let Ok(both) = Both::new(p.clone(), unit, core, &Rates::default()) else { return false };
    let [mut whole, mut parts] =
        [(); 2].map(|()| AlignedBuf::zeroed(size_of::<F::Element>() * (elements + 1)));
    for dst in [&mut whole, &mut parts] {
        bytemuck::cast_slice_mut(dst.bytes_mut()).fill(F::Element::from_f32(CANARY));
    }
    let dst = |block: &mut AlignedBuf| {
        // SAFETY: both blocks live until the tasks on them have ended.
        SpanMut::from(unsafe {
            std::slice::from_raw_parts_mut(block.bytes_mut().as_mut_ptr().cast(), elements)
        })
    };
    crate::testing::run(core, p, args(dst(&mut whole)), crate::testing::Split::Whole);
    let task = both.bind(args(dst(&mut parts))).unwrap();
    let mut order: Vec<usize> = (0..both.parts()).collect();
    (1..order.len()).rev().for_each(|i| order.swap(i, random.below(i + 1)));
    for part in order {
        let engine = random.pick(&[Engine::Core, Engine::Unit]);
        let mut scratch = AlignedBuf::zeroed(both.scratch());
        scratch.bytes_mut().fill(0xFF);
        // SAFETY: every part once, with the scratch asked for.
        unsafe { task.run(engine, 0, part..part + 1, SpanMut::from(scratch.bytes_mut())) }
    }
    let differ = || format!("{} and {} differ from {} in\n{p:?}", unit.name, core.name, core.name);
    if F::EXACT {
        assert!(whole.bytes() == parts.bytes(), "{}", differ());
    } else {
        let [whole, parts] = [&whole, &parts].map(|all| bytemuck::cast_slice::<u8, F::Element>(all.bytes()));
        assert!(whole.iter().zip(parts).all(|(&a, &b)| near(a, b)), "{}", differ());
    }
    true
}

/// Whether values are one or two roundings apart, or what f32 sums in another order leave of a sum that cancels.
fn near<E: Element>(a: E, b: E) -> bool {
    let rounding = if E::FORMAT == Format::F16 { 1.0 / 1024.0 } else { 1.0 / 128.0 };
    let (a, b) = (a.to_f32(), b.to_f32());
    a == b || (a - b).abs() <= 2.0 * rounding * a.abs().max(b.abs()) + 1e-3
}

/// Values that stay while tasks run.
fn lasting<E: Element>(values: Vec<f32>) -> Span<'static, E> {
    Span::from(&*values.into_iter().map(E::from_f32).collect::<Vec<_>>().leak())
}

fn epilogue<E: Element>(
    random: &mut Random,
    dst: Strided,
    padded: usize,
) -> (Epilogue, EpilogueArgs<'static, E>) {
    let epilogue = Epilogue {
        bias: random.below(2) == 0,
        act: random.pick(&[Act::None, Act::Relu, Act::HardSwish, Act::Clamp { lo: -0.5, hi: 1.5 }]),
        scale_shift: random.below(4) == 0,
        residual: (random.below(3) == 0).then_some(dst),
        act2: random.pick(&[Act::None, Act::Relu]),
    };
    let [bias, scale, shift] = [(); 3].map(|()| lasting::<f32>(random.floats(padded)));
    (epilogue, EpilogueArgs { bias, scale, shift, residual: lasting(random.floats(dst.extent())) })
}

#[test]
fn convolutions() {
    convolutions_of::<f32>(conv::KERNELS, 500);
    convolutions_of::<f16>(conv::KERNELS_F16, 200);
    convolutions_of::<bf16>(conv::KERNELS_BF16, 100);
}

fn convolutions_of<E: Element>(rows: &'static [Kernel<conv::Conv<E>>], cases: u64) {
    let mut came_apart = 0;
    let cases = || sample(0..cases);
    for seed in cases() {
        let random = &mut Random::new(seed + 1);
        let (batch, size) = (random.pick(&[1, 1, 2]), [1 + random.below(20), 1 + random.below(40)]);
        let kernel = random.pick(&[[1, 1], [3, 3], [2, 3], [5, 5]]);
        let (stride, dilation) =
            (random.pick(&[[1, 1], [2, 2], [1, 2]]), random.pick(&[[1, 1], [1, 1], [2, 1]]));
        let padding: [usize; 4] = std::array::from_fn(|i| random.below(kernel[i % 2] + 1));
        let groups = random.pick(&[1, 1, 1, 2]);
        let shuffle = if groups == 1 { random.pick(&[1, 1, 2]) } else { 1 };
        let segments = if groups == 1 { 1 + random.below(3) } else { 1 };
        let out: [usize; 2] = std::array::from_fn(|d| {
            let reach = dilation[d] * (kernel[d] - 1) + 1;
            (size[d] + padding[d] + padding[d + 2] + 1).saturating_sub(reach) / stride[d]
        });
        let columns = groups * random.pick(&[1, 8, 31, 33, 64, 70]);
        let order = random.pick(&[[0u8, 2, 3, 1], [0, 2, 3, 1], [0, 1, 2, 3]]);
        let image = |c: usize, h: usize, w: usize| Strided::with_order(&[batch, c, h, w], &order);
        let dst = Strided::with_order(&[batch, columns, out[0] * shuffle, out[1] * shuffle], &[0, 2, 3, 1]);
        let src: Vec<Strided> =
            (0..segments).map(|_| image(groups * random.pick(&[3, 8, 16, 17]), size[0], size[1])).collect();
        let mut p = conv::Problem {
            src: src.iter().copied().collect(),
            dst,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            shuffle,
            epilogue: Epilogue::default(),
            fast_math: true,
        };
        let padded = p.padded_columns();
        let (stages, columns) = epilogue(random, dst, padded);
        p.epilogue = stages;
        let mut spans = [Span::empty(); conv::MAX_SEGMENTS];
        spans.iter_mut().zip(&src).for_each(|(span, s)| *span = lasting(random.floats(s.extent())));
        let weight = lasting(random.floats(E::PER_WORD * p.words(E::PER_WORD) * padded));
        let args = move |dst| conv::Args { src: spans, weight, epilogue: columns, dst };
        came_apart += usize::from(check(rows, &p, dst.extent(), random, args));
    }
    assert!(!has_units() || came_apart > cases().count() / 3, "{came_apart} came apart");
}

#[test]
fn products() {
    products_of::<f32>(gemm::KERNELS, 500);
    products_of::<f16>(gemm::KERNELS_F16, 200);
    products_of::<bf16>(gemm::KERNELS_BF16, 100);
}

fn products_of<E: Element>(rows: &'static [Kernel<gemm::Gemm<E>>], cases: u64) {
    let mut came_apart = 0;
    let cases = || sample(0..cases);
    for seed in cases() {
        let random = &mut Random::new(seed + 1);
        let (batch, m) = (random.pick(&[1, 1, 2, 3]), random.pick(&[1, 2, 7, 12, 13, 31, 64, 100]));
        let (n, k) = (random.pick(&[1, 31, 32, 33, 65, 96, 130]), random.pick(&[1, 5, 16, 33, 100, 300]));
        let matrix = |rows: usize, columns: usize| Strided::contiguous(&[batch, rows, columns]);
        let (dst, turned) = (matrix(m, n), Strided::with_order(&[batch, k, n], &[0, 2, 1]));
        let (stages, columns) = epilogue(random, dst, panels::padded(n));
        let rhs =
            random.pick(&[gemm::Rhs::Panels, gemm::Rhs::Strided(matrix(k, n)), gemm::Rhs::Strided(turned)]);
        let p =
            gemm::Problem { lhs: matrix(m, k), rhs, dst, alpha: random.pick(&[1.0, 0.25]), epilogue: stages };
        let words = k.next_multiple_of(E::PER_WORD);
        let elements = if rhs == gemm::Rhs::Panels { words * panels::padded(n) } else { batch * k * n };
        let (lhs, rhs) = (lasting(random.floats(batch * m * k)), lasting(random.floats(elements)));
        let args = move |dst| gemm::Args { lhs, rhs, epilogue: columns, dst };
        came_apart += usize::from(check(rows, &p, dst.extent(), random, args));
    }
    assert!(!has_units() || came_apart > cases().count() / 3, "{came_apart} came apart");
}

/// Whether rows of units are tested here.
fn has_units() -> bool {
    let p = product([1, 40, 64, 40], gemm::Rhs::Panels);
    crate::testing::rows(gemm::KERNELS, &p).any(|row| row.isa.in_unit())
}

fn product([batch, m, n, k]: [usize; 4], rhs: gemm::Rhs) -> gemm::Problem {
    let matrix = |rows: usize, columns: usize| Strided::contiguous(&[batch, rows, columns]);
    gemm::Problem { lhs: matrix(m, k), rhs, dst: matrix(m, n), alpha: 1.0, epilogue: Epilogue::default() }
}

/// A task that keeps the threads which drove units, and tells everything else on.
struct Watched<'t> {
    task: &'t dyn Task,
    pace: Pace,
    drivers: Mutex<HashSet<ThreadId>>,
    of_cores: AtomicU64,
}

// SAFETY: the inner task's tiles.
unsafe impl Task for Watched<'_> {
    fn tiles(&self, phase: usize) -> usize {
        self.task.tiles(phase)
    }
    fn scratch(&self) -> usize {
        self.task.scratch()
    }
    fn engines(&self, _: usize) -> Engines {
        Engines::Both(self.pace)
    }
    unsafe fn run(&self, engine: Engine, phase: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>) {
        match engine {
            Engine::Core => drop(self.of_cores.fetch_add(tiles.len() as u64, Ordering::Relaxed)),
            Engine::Unit => drop(self.drivers.lock().unwrap().insert(std::thread::current().id())),
        }
        // SAFETY: the caller's.
        unsafe { self.task.run(engine, phase, tiles, scratch) }
    }
}

/// A thread that drives the unit and three cores: one thread is in the unit, and the bits are those of one engine.
#[test]
fn a_crew_shares_a_product() {
    let (mut crew, mut scratch) = (Team::global().enter(4), Scratch::default());
    let random = &mut Random::new(5);
    let (mut units, mut cores) = (0, 0);
    for round in sample(0..100) {
        let p = product(
            [1, 24 + random.below(80), 32 + random.below(40), 8 + random.below(60)],
            gemm::Rhs::Panels,
        );
        let [_, m, n, k] = p.sizes();
        let Some([unit, core]) = pair(gemm::KERNELS, &p, random) else { continue };
        let both = Both::new(p.clone(), unit, core, &Rates::default()).expect("large enough");
        let (lhs, rhs) = (random.floats(m * k), random.floats(k * panels::padded(n)));
        let [mut alone, mut together] = [vec![CANARY; m * n], vec![CANARY; m * n]];
        let args = |dst| gemm::Args {
            lhs: Span::from(&lhs[..]),
            rhs: Span::from(&rhs[..]),
            epilogue: EpilogueArgs::none(),
            dst,
        };
        crate::testing::run(core, &p, args(SpanMut::from(&mut alone[..])), crate::testing::Split::Whole);
        let task = both.bind(args(SpanMut::from(&mut together[..]))).unwrap();
        let pace = Pace { core: [1.0, 100.0][round % 2], unit: 10.0 };
        let watched = Watched { task: &task, pace, drivers: Mutex::default(), of_cores: AtomicU64::new(0) };
        crew.run(&watched, &mut scratch);
        let drivers = watched.drivers.into_inner().unwrap();
        assert!(drivers.len() <= sme::units(), "{} threads in {} units", drivers.len(), sme::units());
        units += drivers.len();
        cores += watched.of_cores.into_inner();
        assert!(alone.iter().zip(&together).all(|(a, b)| a.to_bits() == b.to_bits()), "{p:?}");
    }
    assert!(!has_units() || (units > 0 && cores > 0), "units {units} times, {cores} tiles of cores");
}
