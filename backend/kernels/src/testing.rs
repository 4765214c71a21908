//! What the families' tests share: data, layouts, and running a row under different splits with guarded memory.

use std::ops::Range;

use tandem_base::{AlignedBuf, Isa, SpanMut, Strided, Task};

use crate::kernel::{Family, Kernel};

/// What a destination holds before a kernel runs.
pub const CANARY: f32 = -12345.5;

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

/// The rows this CPU can run and that take the problem.
pub fn rows<'a, F: Family>(
    kernels: &'static [Kernel<F>],
    problem: &'a F::Problem,
) -> impl Iterator<Item = &'static Kernel<F>> + 'a {
    let isa = Isa::detect();
    kernels.iter().filter(move |row| isa.has(row.isa) && (row.supports)(problem).is_ok())
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
            unsafe { task.run(phase, range, span) }
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
