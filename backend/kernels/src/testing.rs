//! What the families' tests share: data, layouts, and running a row under different splits with guarded memory.

use std::ops::Range;

use tandem_base::{AlignedBuf, Isa, SpanMut, Strided, Task};

use crate::element::Element;
use crate::kernel::{Family, Kernel, available};

/// What a destination holds before a kernel runs.
pub const CANARY: f32 = -12345.5;

/// Whether the environment asks for few tests, as emulators do.
fn few() -> bool {
    std::env::var_os("TANDEM_TEST_FEW").is_some()
}

/// Random cases to test: every eleventh, in step with no cycle of kinds, where few are asked for.
pub fn sample<T>(all: Range<T>) -> impl Iterator<Item = T>
where
    Range<T>: Iterator<Item = T>,
{
    all.step_by(if few() { 11 } else { 1 })
}

/// A deterministic source of numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// 0..n
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 33) % n as u64) as usize
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// Uniform in -2..2.
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.next() >> 40) as f32 / (1u64 << 22) as f32 - 2.0).collect()
    }

    /// The sizes in a random order of dimensions, sometimes with gaps.
    pub fn layout(&mut self, sizes: &[usize]) -> Strided {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        if self.below(3) > 0 {
            for i in (1..order.len()).rev() {
                order.swap(i, self.below(i + 1));
            }
        }
        let gaps = self.below(3) == 0;
        let mut strides = vec![0; sizes.len()];
        let mut stride = if gaps { self.pick(&[1, 1, 2]) } else { 1 };
        for &d in order.iter().rev() {
            strides[d] = stride;
            stride = stride * sizes[d].max(1) + if gaps { self.below(3) } else { 0 };
        }
        Strided::new(sizes, &strides)
    }

    /// Between 1 and 4 small sizes, rarely a 0 among them, one of them sometimes around `big`.
    pub fn sizes(&mut self, ranks: Range<usize>, big: usize) -> Vec<usize> {
        let rank = ranks.start + self.below(ranks.len());
        let mut sizes: Vec<usize> = (0..rank).map(|_| self.pick(&[1, 2, 3, 4, 5, 7])).collect();
        if rank > 0 && self.below(2) == 0 {
            let at = self.below(rank);
            sizes[at] = big - 1 + self.below(3);
        }
        if rank > 0 && self.below(25) == 0 {
            let at = self.below(rank);
            sizes[at] = 0;
        }
        sizes
    }
}

/// Distance from 1 to the next larger value: what rounding to an element may cost, twice.
pub fn epsilon<E: Element>() -> f32 {
    let halves = (1..).map(|i| 0.5f32.powi(i));
    halves.into_iter().find(|e| E::from_f32(1.0 + e / 2.0).to_f32() == 1.0).unwrap_or_default()
}

/// Elements from numbers.
pub fn elements<E: Element>(values: Vec<f32>) -> Vec<E> {
    values.into_iter().map(E::from_f32).collect()
}

/// How the tiles of a phase are shared out.
#[derive(Clone, Copy, Debug)]
pub enum Split {
    /// All in one call.
    Whole,
    /// One a call, last first.
    Single,
    /// Runs of 3.
    Threes,
}

pub const SPLITS: [Split; 3] = [Split::Whole, Split::Single, Split::Threes];

/// The rows that can run here and that take the problem, emulated units among them unless few tests are asked for: those
/// are the same scalar code everywhere.
pub fn rows<'a, F: Family>(
    kernels: &'static [Kernel<F>],
    problem: &'a F::Problem,
) -> impl Iterator<Item = &'static Kernel<F>> + 'a {
    let isa = if few() { Isa::detect() } else { available() };
    kernels.iter().filter(move |row| isa.has(row.isa) && (row.supports)(problem).is_ok())
}

/// Checks that rows of f32 give the same bits: all but the definition sum in order of k with fused multiply-adds. Those of
/// 16-bit elements may sum in pairs.
pub struct SameBits<T>(Option<(&'static str, Vec<T>)>);

impl<T> Default for SameBits<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Copy + bytemuck::Pod> SameBits<T> {
    /// Takes a row's answer.
    pub fn of<F: Family>(&mut self, row: &Kernel<F>, problem: &F::Problem, answer: &[T]) {
        if row.isa == Isa::SCALAR || size_of::<T>() != size_of::<f32>() {
            return;
        }
        let (first, bits) = self.0.get_or_insert_with(|| (row.name, answer.to_vec()));
        let bytes = bytemuck::bytes_of::<T>;
        let differs = answer.iter().zip(bits).position(|(a, b)| bytes(a) != bytes(b));
        assert_eq!(differs, None, "{} and {first} differ in\n{problem:?}", row.name);
    }
}

const GUARD: usize = 64;

/// A poisoned block (every f32 and f64 NaN) with a guard behind it.
fn poisoned(bytes: usize) -> AlignedBuf {
    let mut block = AlignedBuf::zeroed(bytes + GUARD);
    block.bytes_mut().fill(0xFF);
    block
}

fn assert_guard(block: &AlignedBuf, name: &str) {
    let guard = &block.bytes()[block.len() - GUARD..];
    assert!(guard.iter().all(|b| *b == 0xFF), "{name} wrote behind its workspace");
}

/// Runs a row to its end, tiles shared out as `split` says, every call with poisoned scratch.
pub fn run<F: Family>(row: &'static Kernel<F>, problem: &F::Problem, args: F::Args<'_>, split: Split) {
    let workspace = (row.workspace)(problem);
    let mut shared = poisoned(workspace.shared);
    // SAFETY: the block is dropped behind the task that works in it.
    let block = unsafe { std::slice::from_raw_parts_mut(shared.bytes_mut().as_mut_ptr(), workspace.shared) };
    let task = row.bind(problem, args, SpanMut::from(block)).expect("arguments fit");
    for phase in 0..task.phases() {
        let tiles = task.tiles(phase);
        let call = |range: Range<usize>| {
            let mut scratch = poisoned(workspace.per_worker);
            let span = SpanMut::from(&mut scratch.bytes_mut()[..workspace.per_worker]);
            // SAFETY: every tile of every phase runs once, in order of phases, on memory of its own.
            unsafe { task.run(tandem_base::Engine::Core, phase, range, span) }
            assert_guard(&scratch, row.name);
        };
        match split {
            Split::Whole => call(0..tiles),
            Split::Single => (0..tiles).rev().for_each(|t| call(t..t + 1)),
            Split::Threes => (0..tiles).step_by(3).for_each(|t| call(t..(t + 3).min(tiles))),
        }
    }
    drop(task);
    assert_guard(&shared, row.name);
}

/// Runs a row under every split on a copy of `dst` and gives the result, the same bits each time.
pub fn outcome<T: Copy + bytemuck::Pod>(dst: &[T], name: &str, run: impl Fn(&mut [T], Split)) -> Vec<T> {
    let results = SPLITS.map(|split| {
        let mut dst = dst.to_vec();
        run(&mut dst, split);
        dst
    });
    for (result, split) in results.iter().zip(SPLITS).skip(1) {
        let same = bytemuck::cast_slice::<T, u8>(result) == bytemuck::cast_slice::<T, u8>(&results[0]);
        assert!(same, "{name}: bits differ under {split:?}");
    }
    let [first, ..] = results;
    first
}
