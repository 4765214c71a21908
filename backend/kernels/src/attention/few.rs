//! Attention of few queries, as when a language model tells token after token: keys and values are read once, where they lie.
//!
//! A tile is some keys and values of a head with all queries of the heads that use it; where a head has several such runs of keys,
//! a second phase puts their sums together. Nothing is packed: scores are sums along a key's elements, or along keys where these
//! are neighbours; weighted values are sums over keys, lanes along their elements.

use std::ops::Range;

use tandem_base::mem::ALIGN;
use tandem_base::{Isa, SpanMut};

#[cfg(target_arch = "aarch64")]
use super::blocked::WORK_NEON;
use super::blocked::{self, Block};
#[cfg(target_arch = "x86_64")]
use super::blocked::{WORK_AVX2, WORK_AVX512};
use super::{Args, Attention, Problem};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::simd::{Simd, entries};
use crate::softmax::row::vectors;

/// Most queries of a head of keys: more are better packed for.
const MOST: usize = 16;
/// Queries that go through keys and values together.
const TOGETHER: usize = 4;
/// Keys of a tile: enough tiles for all threads in long contexts of few heads.
const RUN: usize = 512;

/// Sizes of a problem.
#[derive(Clone, Copy)]
struct Sizes {
    kv_heads: usize,
    /// Heads of queries that use one of keys.
    group: usize,
    queries: usize,
    keys: usize,
    d: usize,
    dv: usize,
    /// Distance of two rows of scores.
    step: usize,
}

impl Sizes {
    fn new(p: &Problem) -> Self {
        let [kv_heads, keys, dv] = [p.k.size(1), p.k.size(2), p.v.size(3)];
        let (group, queries, d) = (p.q.size(1) / kv_heads.max(1), p.q.size(2), p.q.size(3));
        Self { kv_heads, group, queries, keys, d, dv, step: keys.min(RUN).next_multiple_of(16) + 16 }
    }

    /// Runs of keys of a head.
    fn runs(&self) -> usize {
        self.keys.div_ceil(RUN).max(1)
    }

    /// Elements that a run leaves of a query: its largest score, the sum of its weights, from the sixteenth on its values.
    fn part(&self) -> usize {
        16 + self.dv.next_multiple_of(16)
    }

    fn workspace(&self, p: &Problem) -> Workspace {
        let parts = p.k.size(0) * self.kv_heads * self.runs() * self.rows();
        let shared = if self.runs() > 1 { 4 * parts * self.part() } else { 0 };
        Workspace { shared, per_worker: self.bytes() }
    }

    /// Queries of a tile.
    fn rows(&self) -> usize {
        self.group * self.queries
    }

    /// Bytes of scores, and of a maximum and a sum of every row.
    fn bytes(&self) -> usize {
        4 * (self.rows() * self.step + (2 * self.rows()).next_multiple_of(16)) + ALIGN
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    match () {
        () if Sizes::new(p).rows() > MOST => Err("more than 16 queries of a head of keys"),
        () if p.q.stride(3) != 1 && p.q.size(3) > 1 => Err("queries are not contiguous"),
        () if p.k.stride(3) != 1 && p.k.size(3) > 1 && p.k.stride(2) != 1 => Err("keys are not contiguous"),
        () if p.v.stride(3) != 1 && p.v.size(3) > 1 => Err("values are not contiguous"),
        () if p.dst.stride(3) != 1 && p.dst.size(3) > 1 => Err("results are not contiguous"),
        () => Ok(()),
    }
}

/// Multiply-adds, or reading keys and values for every few queries anew, out of L2 or from memory.
fn ns(p: &Problem, rates: &Rates, share: f64, work: f64) -> f64 {
    /// What a head of keys takes besides.
    const HEAD_NS: f64 = 100.0;
    let s = Sizes::new(p);
    let heads = (p.k.size(0) * s.kv_heads) as f64;
    let passes = s.rows().div_ceil(TOGETHER) as f64;
    let (rows, keys, depth) = (s.rows() as f64, s.keys as f64, (s.d + s.dv) as f64);
    let products = 2.0 * rows * keys * depth / (share * rates.fma_gflops);
    let read = 4.0 * passes * keys * depth / rates.l2_gbs;
    let head = products.max(read) + blocked::weights_ns(work, rows, keys, rates) + HEAD_NS * s.runs() as f64;
    (heads * head).max(rates.read_ns(4.0 * heads * keys * depth))
}

/// What a tile works with.
struct Tile<'a> {
    p: &'a Problem,
    args: &'a Args<'a>,
    s: Sizes,
    /// Batch and head of keys.
    at: [usize; 2],
    keys: Range<usize>,
    scores: *mut f32,
    /// What runs leave of the head's queries, where there are several.
    parts: Option<*mut f32>,
}

impl Tile<'_> {
    fn key(&self, j: usize) -> *const f32 {
        let k = self.p.k.strides();
        self.args.k.ptr().wrapping_add(self.at[0] * k[0] + self.at[1] * k[1] + (self.keys.start + j) * k[2])
    }

    fn value(&self, j: usize) -> *const f32 {
        let v = self.p.v.strides();
        self.args.v.ptr().wrapping_add(self.at[0] * v[0] + self.at[1] * v[1] + (self.keys.start + j) * v[2])
    }

    /// What a run leaves of a query.
    fn part(&self, parts: *mut f32, run: usize, row: usize) -> *mut f32 {
        let s = &self.s;
        let head = (self.at[0] * s.kv_heads + self.at[1]) * s.runs();
        parts.wrapping_add(((head + run) * s.rows() + row) * s.part())
    }

    /// Where weighted values of a query go.
    fn out(&self, row: usize) -> *mut f32 {
        self.parts.map_or_else(
            || self.dst(row),
            |parts| self.part(parts, self.keys.start / RUN, row).wrapping_add(16),
        )
    }

    /// Head and number of a query of the tile.
    fn query(&self, row: usize) -> [usize; 2] {
        [self.at[1] * self.s.group + row / self.s.queries, row % self.s.queries]
    }

    fn lhs(&self, row: usize) -> *const f32 {
        let (q, [head, query]) = (self.p.q.strides(), self.query(row));
        self.args.q.ptr().wrapping_add(self.at[0] * q[0] + head * q[1] + query * q[2])
    }

    fn dst(&self, row: usize) -> *mut f32 {
        let (d, [head, query]) = (self.p.dst.strides(), self.query(row));
        self.args.dst.ptr().wrapping_add(self.at[0] * d[0] + head * d[1] + query * d[2])
    }

    fn row(&self, row: usize) -> *mut f32 {
        self.scores.wrapping_add(row * self.s.step)
    }

    /// Scores of `ROWS` queries, times the scale.
    #[inline(always)]
    unsafe fn score<V: Simd, const ROWS: usize>(&self, first: usize) {
        let mut q = [self.lhs(first); ROWS];
        let mut to = [self.row(first); ROWS];
        for r in 0..ROWS {
            (q[r], to[r]) = (self.lhs(first + r), self.row(first + r));
        }
        // SAFETY: the caller's.
        unsafe {
            if self.p.k.stride(3) == 1 || self.s.d == 1 {
                let whole = self.keys.len() / 2 * 2;
                for j in (0..whole).step_by(2) {
                    self.dots::<V, ROWS, 2>(&q, &to, j);
                }
                if whole < self.keys.len() {
                    self.dots::<V, ROWS, 1>(&q, &to, whole);
                }
            } else {
                self.across::<V, ROWS>(&q, &to);
            }
        }
    }

    /// Sums along the elements of `KEYS` keys.
    #[inline(always)]
    unsafe fn dots<V: Simd, const ROWS: usize, const KEYS: usize>(
        &self,
        q: &[*const f32; ROWS],
        to: &[*mut f32; ROWS],
        j: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[V::splat(0.0); KEYS]; ROWS];
            let mut k = [self.key(j); KEYS];
            for (i, k) in k.iter_mut().enumerate() {
                *k = self.key(j + i);
            }
            vectors!(V, self.s.d, |c, lanes| {
                let mut keys = [V::splat(0.0); KEYS];
                for (key, from) in keys.iter_mut().zip(&k) {
                    *key = V::load_first(from.add(c), lanes);
                }
                for (sums, q) in sums.iter_mut().zip(q) {
                    let x = V::load_first(q.add(c), lanes);
                    for (sum, key) in sums.iter_mut().zip(keys) {
                        *sum = x.mul_add(key, *sum);
                    }
                }
            });
            for (to, sums) in to.iter().zip(&sums) {
                for (i, sum) in sums.iter().enumerate() {
                    *to.add(j + i) = self.p.scale * sum.sum();
                }
            }
        }
    }

    /// Sums in lanes along neighbouring keys.
    #[inline(always)]
    unsafe fn across<V: Simd, const ROWS: usize>(&self, q: &[*const f32; ROWS], to: &[*mut f32; ROWS]) {
        let (step, scale) = (self.p.k.stride(3), self.p.scale);
        // SAFETY: the caller's.
        unsafe {
            let scale = V::splat(scale);
            vectors!(V, self.keys.len(), |j, lanes| {
                let mut sums = [V::splat(0.0); ROWS];
                for c in 0..self.s.d {
                    let keys = V::load_first(self.key(j).add(c * step), lanes);
                    for r in 0..ROWS {
                        sums[r] = V::splat(*q[r].add(c)).mul_add(keys, sums[r]);
                    }
                }
                for r in 0..ROWS {
                    (sums[r] * scale).store_first(to[r].add(j), lanes);
                }
            });
        }
    }

    /// Values of `ROWS` queries, weighted, times `shares`.
    #[inline(always)]
    unsafe fn sum<V: Simd, const ROWS: usize>(&self, first: usize, shares: *const f32) {
        let mut c = 0;
        // SAFETY: the caller's.
        unsafe {
            // As many sums as leave registers for what is added.
            let wide = V::LANES == 16 || ROWS < TOGETHER;
            while wide && self.s.dv - c >= 4 * V::LANES {
                self.columns::<V, ROWS, 4>(first, shares, (c, V::LANES));
                c += 4 * V::LANES;
            }
            while !wide && self.s.dv - c >= 2 * V::LANES {
                self.columns::<V, ROWS, 2>(first, shares, (c, V::LANES));
                c += 2 * V::LANES;
            }
            while c < self.s.dv {
                self.columns::<V, ROWS, 1>(first, shares, (c, V::LANES.min(self.s.dv - c)));
                c += V::LANES;
            }
        }
    }

    /// Columns of values, `VECTORS` vectors from `c` on, `lanes` of the last one.
    #[inline(always)]
    unsafe fn columns<V: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        first: usize,
        shares: *const f32,
        (c, lanes): (usize, usize),
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
            let mut weights = [self.row(first).cast_const(); ROWS];
            for (r, weights) in weights.iter_mut().enumerate() {
                *weights = self.row(first + r);
            }
            let lanes = |v| if v + 1 < VECTORS { V::LANES } else { lanes };
            for j in 0..self.keys.len() {
                let from = self.value(j).add(c);
                let mut values = [V::splat(0.0); VECTORS];
                for (v, values) in values.iter_mut().enumerate() {
                    *values = V::load_first(from.add(v * V::LANES), lanes(v));
                }
                for (sums, weights) in sums.iter_mut().zip(&weights) {
                    let weight = V::splat(*weights.add(j));
                    for (sum, values) in sums.iter_mut().zip(values) {
                        *sum = weight.mul_add(values, *sum);
                    }
                }
            }
            for (r, row) in sums.iter().enumerate() {
                let (to, share) = (self.out(first + r).add(c), V::splat(*shares.add(first + r)));
                for (v, sum) in row.iter().enumerate() {
                    (*sum * share).store_first(to.add(v * V::LANES), lanes(v));
                }
            }
        }
    }

    /// Puts the head's runs together.
    #[inline(always)]
    unsafe fn join<V: Simd>(&self, parts: *mut f32) {
        let runs = 0..self.s.runs();
        for row in 0..self.s.rows() {
            let part = |run| self.part(parts, run, row);
            // SAFETY: the caller's.
            unsafe {
                let largest = runs.clone().fold(f32::NEG_INFINITY, |most, run| most.max(*part(run)));
                let about = if largest == f32::NEG_INFINITY { 0.0 } else { largest };
                let shrink = |run| (*part(run) - about).exp();
                let sum: f32 = runs.clone().map(|run| shrink(run) * *part(run).add(1)).sum();
                let (share, to) = (blocked::share(sum), self.dst(row));
                for run in runs.clone() {
                    let (weight, from) = (V::splat(share * shrink(run)), part(run).add(16));
                    vectors!(V, self.s.dv, |c, lanes| {
                        let before = if run > 0 { V::load_first(to.add(c), lanes) } else { V::splat(0.0) };
                        V::load_first(from.add(c), lanes)
                            .mul_add(weight, before)
                            .store_first(to.add(c), lanes);
                    });
                }
            }
        }
    }

    /// All of a run of keys; `rest` has room for a maximum and a sum of every query.
    #[inline(always)]
    unsafe fn run<V: Simd>(&self, rest: *mut f32) {
        let (s, rows) = (&self.s, self.s.rows());
        let (largest, sums) = (rest, rest.wrapping_add(rows));
        // SAFETY: the caller's.
        unsafe {
            let mut first = 0;
            while first < rows {
                first += match rows - first {
                    TOGETHER.. => (self.score::<V, TOGETHER>(first), TOGETHER).1,
                    2.. => (self.score::<V, 2>(first), 2).1,
                    _ => (self.score::<V, 1>(first), 1).1,
                };
            }
            for head in 0..s.group {
                let row = head * s.queries;
                let at = [self.at[0], self.at[1] * s.group + head, 0, s.queries];
                let [largest, sums] = [largest, sums].map(|of| of.add(row));
                let block = Block {
                    at,
                    scores: self.row(row),
                    step: s.step,
                    scale: 1.0,
                    fresh: true,
                    largest,
                    sums,
                    dst: self.dst(row),
                };
                blocked::weights::<V>(self.p, self.args, &block, self.keys.clone());
            }
            for row in 0..rows {
                let sum = &mut *sums.add(row);
                match self.parts {
                    None => *sum = blocked::share(*sum),
                    Some(parts) => {
                        let part = self.part(parts, self.keys.start / RUN, row);
                        (*part, *part.add(1), *sum) = (*largest.add(row), *sum, 1.0);
                    }
                }
            }
            let mut first = 0;
            while first < rows {
                first += match rows - first {
                    TOGETHER.. => (self.sum::<V, TOGETHER>(first, sums), TOGETHER).1,
                    2.. => (self.sum::<V, 2>(first, sums), 2).1,
                    _ => (self.sum::<V, 1>(first, sums), 1).1,
                };
            }
        }
    }
}

#[inline(always)]
unsafe fn run<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let s = Sizes::new(p);
    let (rest, memory) = ((2 * s.rows()).next_multiple_of(16), scratch.ptr().cast::<f32>());
    let parts = (s.runs() > 1).then(|| shared.ptr().cast());
    for tile in tiles {
        let (head, run) = if phase == 0 { (tile / s.runs(), tile % s.runs()) } else { (tile, 0) };
        let at = [head / s.kv_heads, head % s.kv_heads];
        let keys = run * RUN..((run + 1) * RUN).min(s.keys);
        let tile = Tile { p, args, s, at, keys, scores: memory.wrapping_add(rest), parts };
        // SAFETY: `Attention::check` passed, both workspaces have the sizes `Sizes::workspace` names, a tile's queries or parts of
        // them are its own, and phase 1 reads what phase 0 left.
        unsafe {
            match parts {
                Some(parts) if phase > 0 => tile.join::<V>(parts),
                _ => tile.run::<V>(memory),
            }
        }
    }
}

entries!(Problem, Args<'_>, run);

fn tiles(p: &Problem, phase: usize) -> usize {
    let (s, heads) = (Sizes::new(p), p.k.size(0) * p.k.size(1));
    match phase {
        _ if s.queries == 0 || s.dv == 0 => 0,
        0 => heads * s.runs(),
        _ => heads,
    }
}

const ROW: Kernel<Attention> = Kernel {
    name: "",
    isa: Isa::SCALAR,
    supports,
    ns: |p, rates| ns(p, rates, 0.5, 1.0),
    phases: |p| Sizes::new(p).runs().min(2),
    tiles,
    workspace: |p| Sizes::new(p).workspace(p),
    run: avx2,
};

/// Sixteen lanes.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX512: Kernel<Attention> = Kernel {
    name: "avx512-few-queries",
    isa: Isa::AVX512,
    ns: |p, rates| ns(p, rates, 0.65, WORK_AVX512),
    run: avx512,
    ..ROW
};
/// Eight lanes.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: Kernel<Attention> =
    Kernel { name: "avx2-few-queries", isa: Isa::AVX2, ns: |p, rates| ns(p, rates, 0.5, WORK_AVX2), ..ROW };
/// Eight lanes.
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: Kernel<Attention> = Kernel {
    name: "neon-few-queries",
    isa: Isa::NEON,
    ns: |p, rates| ns(p, rates, 0.5, WORK_NEON),
    run: neon,
    ..ROW
};
