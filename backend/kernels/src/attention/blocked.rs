//! Attention in register tiles: blocks of queries against blocks of keys with the online softmax.
//!
//! Source: Dao et al., "FlashAttention" (2022). Phase 0 packs every block of keys (turned) and of values to panels;
//! phase 1 takes a block of one head's queries through all blocks: scores into scratch, their exponentials in place,
//! weighted values added to the destination, which is rescaled where a row's maximum grows and divided at the end.

use std::ops::Range;

use tandem_base::mem::ALIGN;
use tandem_base::{Isa, Span, SpanMut};

use super::right::{self, Right, Side};
use super::{Args, Attention, Problem};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::product::Tile;
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Simd, entries};
use crate::softmax::row;

/// Keys of a block, and the distance between its rows of scores: no power of two, so that rows share no cache set.
pub(super) const KEYS: usize = 1024;
const STEP: usize = KEYS + 16;
/// Register tiles of queries in a block.
const TILES: usize = 4;

/// Sizes of a problem.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub d: usize,
    pub dv: usize,
    /// Queries of a block.
    pub block: usize,
    /// Distances of rows of turned keys and of values that products read where they lie.
    pub steps: [Option<usize>; 2],
}

impl Sizes {
    fn new<V: Tile>(p: &Problem) -> Self {
        Self::with_blocks(p, TILES * V::ROWS)
    }

    pub fn with_blocks(p: &Problem, block: usize) -> Self {
        let [batch, heads, queries, d] = [0, 1, 2, 3].map(|i| p.q.size(i));
        let [kv_heads, keys, dv] = [p.k.size(1), p.k.size(2), p.v.size(3)];
        Self { batch, heads, kv_heads, queries, keys, d, dv, block, steps: right::steps(p) }
    }

    pub fn key_blocks(&self) -> usize {
        self.keys.div_ceil(KEYS)
    }

    pub fn query_blocks(&self) -> usize {
        self.queries.div_ceil(self.block)
    }

    /// Elements of the packed keys, then of the packed values, of a block. Of keys in place only the last block has some.
    pub fn packed(&self) -> [usize; 2] {
        let (keys, last) = (self.keys.min(KEYS), self.keys - (self.key_blocks().max(1) - 1) * KEYS);
        let turned = if self.steps[0].is_some() { last } else { keys };
        let left = |side, columns| panels::padded(columns - self.in_place(side, columns));
        [self.d * left(Side::Keys, turned), keys * left(Side::Values, self.dv)]
    }

    /// Columns of a side that products read where they lie.
    pub fn in_place(&self, side: Side, columns: usize) -> usize {
        right::in_place(self.steps[side as usize], columns)
    }

    /// Blocks of keys and values that are packed.
    pub fn blocks(&self) -> usize {
        if self.packed() == [0, 0] { 0 } else { self.batch * self.kv_heads * self.key_blocks() }
    }

    fn workspace(&self) -> Workspace {
        let row = self.keys.min(STEP).next_multiple_of(16) + 16;
        Workspace {
            shared: 4 * self.blocks() * self.packed().iter().sum::<usize>(),
            per_worker: 4 * self.block * (row + 2) + ALIGN,
        }
    }

    /// Distance of two rows of scores.
    pub fn step(&self) -> usize {
        (self.keys.min(KEYS).next_multiple_of(16) + 16).min(STEP)
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    match () {
        () if p.q.stride(3) != 1 && p.q.size(3) > 1 => Err("queries are not contiguous"),
        () if p.dst.stride(3) != 1 && p.dst.size(3) > 1 => Err("results are not contiguous"),
        () => Ok(()),
    }
}

fn ns<V: Tile>(p: &Problem, rates: &Rates, share: f64, work: f64) -> f64 {
    let s = Sizes::new::<V>(p);
    let heads = (s.batch * s.heads) as f64;
    let rows = heads * s.queries as f64;
    let (keys, columns) = (panels::padded(s.keys) as f64, panels::padded(s.dv) as f64);
    let seen = if p.causal { 0.55 } else { 1.0 };
    let flops = 2.0 * rows * keys * (s.d as f64 + columns) * seen;
    flops / (share * rates.fma_gflops)
        + weights_ns(work, rows, keys * seen, rates)
        + packing_ns(s, rates)
        + HEAD_NS * heads
}

/// Element-wise work that a score takes until it is a weight, of each instruction set: timed on AVX, counted on NEON.
pub(super) const WORK_AVX512: f64 = 1.8;
pub(super) const WORK_AVX2: f64 = 2.9;
pub(super) const WORK_NEON: f64 = 3.0;

/// What a head takes besides.
const HEAD_NS: f64 = 300.0;

/// Scores of `rows` of `keys` to weights, in ns.
pub(super) fn weights_ns(work: f64, rows: f64, keys: f64, rates: &Rates) -> f64 {
    rows * keys * work / rates.vector_gelems + 20.0 * rows
}

/// Products of `rows` of queries with `keys` and of their weights with values, in ns.
pub(super) fn products_ns(s: Sizes, rows: f64, keys: f64, rates: &Rates) -> f64 {
    2.0 * rows * keys * (s.d + panels::padded(s.dv)) as f64 / (0.8 * rates.fma_gflops)
}

/// All keys and values to panels, in ns.
pub(super) fn packing_ns(s: Sizes, rates: &Rates) -> f64 {
    let elements = (s.blocks() * s.packed().iter().sum::<usize>()) as f64;
    (0.25 * elements).max(rates.read_ns(4.0 * elements))
}

#[inline(always)]
unsafe fn run<V: Tile>(
    p: &Problem,
    args: &Args<'_>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let s = Sizes::new::<V>(p);
    let shared = shared.cast().expect(right::INSIDE);
    for tile in tiles {
        // SAFETY: `Attention::check` passed, both workspaces have the sizes `Sizes::workspace` names, and phase 1
        // reads what phase 0 packed.
        unsafe {
            if phase == 0 {
                right::pack_block::<V>(p, args, s, tile, shared);
            } else {
                queries::<V>(p, args, s, tile, (shared.as_span(), scratch.ptr().cast()));
            }
        }
    }
}

/// Some queries of one head, and where their scores go.
pub(super) struct Block {
    /// Batch, head, first query, number of queries.
    pub at: [usize; 4],
    pub scores: *mut f32,
    pub step: usize,
    /// What scores are to be multiplied with.
    pub scale: f32,
    /// Whether no keys came before.
    pub fresh: bool,
    /// Largest score of every row so far, and the sum of exponentials.
    pub largest: *mut f32,
    pub sums: *mut f32,
    pub dst: *mut f32,
}

#[inline(always)]
unsafe fn queries<V: Tile>(
    p: &Problem,
    args: &Args<'_>,
    s: Sizes,
    tile: usize,
    (shared, scratch): (Span<'_, f32>, *mut f32),
) {
    let (head, block) = (tile / s.query_blocks(), tile % s.query_blocks());
    let (b, h, first) = (head / s.heads, head % s.heads, block * s.block);
    let rows = (s.queries - first).min(s.block);
    let (q, d) = (p.q.strides(), p.dst.strides());
    let kv = b * s.kv_heads + h / (s.heads / s.kv_heads);
    // SAFETY: the caller's.
    unsafe {
        let scores = scratch.add((2 * s.block).next_multiple_of(16));
        let (largest, sums) = (scratch, scratch.add(s.block));
        let place = b * d[0] + h * d[1] + first * d[2];
        let (dst, sofar) = (args.dst.ptr().add(place), args.dst.read().skip(place));
        let at = [b, h, first, rows];
        let mut block = Block { at, scores, step: s.step(), scale: 1.0, fresh: true, largest, sums, dst };
        let seen = if p.causal { s.keys.min(first + rows) } else { s.keys };
        if seen == 0 {
            for row in 0..rows {
                dst.add(row * d[2]).write_bytes(0, s.dv);
            }
        }
        let lhs = args.q.ptr().add(b * q[0] + h * q[1] + first * q[2]);
        for start in (0..seen).step_by(KEYS) {
            let n = (s.keys - start).min(KEYS);
            let rights =
                [Side::Keys, Side::Values].map(|side| Right::new(p, args, s, side, (kv, start), shared));
            rights[0].multiply::<V>((lhs, q[2]), [rows, s.d, n], p.scale, (scores, block.step), None);
            weights::<V>(p, args, &block, start..start + n);
            block.fresh = false;
            let (lhs, sofar) = ((scores.cast_const(), block.step), if start > 0 { sofar } else { None });
            rights[1].multiply::<V>(lhs, [rows, n, s.dv], 1.0, (dst, d[2]), sofar);
        }
        for row in 0..if seen > 0 { rows } else { 0 } {
            row::scale::<V>(dst.add(row * d[2]), s.dv, share(*sums.add(row)));
        }
    }
}

/// What a sum of weighted values is to be multiplied with where the weights' sum is `sum`.
pub(super) fn share(sum: f32) -> f32 {
    if sum == 0.0 { 0.0 } else { 1.0 / sum }
}

/// From scores of keys `keys` to their exponentials; sums and destination follow where a
/// maximum grows.
///
/// # Safety
/// `Attention::check` passed; scores, maxima and sums have room for the block's rows, which nobody else uses.
#[inline(always)]
pub(super) unsafe fn weights<V: Simd>(p: &Problem, args: &Args<'_>, block: &Block, keys: Range<usize>) {
    let [b, h, first, rows] = block.at;
    for row in 0..rows {
        let n =
            if p.causal { keys.len().min((first + row + 1).saturating_sub(keys.start)) } else { keys.len() };
        // SAFETY: the caller's: rows of scores, maxima, sums and the destination are this tile's.
        unsafe {
            let scores = block.scores.add(row * block.step);
            let mut factor = block.scale;
            if let Some(mask) = &p.mask {
                let m = mask.strides();
                let at = b * m[0] + h * m[1] + (first + row) * m[2] + keys.start * m[3];
                add_mask::<V>(scores, factor, args.mask.ptr().add(at), m[3], n);
                factor = 1.0;
            } else if factor <= 0.0 {
                row::scale::<V>(scores, n, factor);
                factor = 1.0;
            }
            let (old, before) = match block.fresh {
                true => (f32::NEG_INFINITY, 0.0),
                false => (*block.largest.add(row), *block.sums.add(row)),
            };
            let largest = old.max(row::largest::<V>(scores, n) * factor);
            *block.largest.add(row) = largest;
            // Without a key to see every weight is 0; exponentials of -inf are.
            let about = if largest == f32::NEG_INFINITY { 0.0 } else { largest };
            let sum = row::exponentials::<V, true>(scores, scores, n, [factor, about]);
            scores.add(n).write_bytes(0, keys.len() - n);
            let shrink = if block.fresh || old == largest { 1.0 } else { (old - about).exp() };
            *block.sums.add(row) = before * shrink + sum;
            if shrink != 1.0 {
                row::scale::<V>(block.dst.add(row * p.dst.stride(2)), p.dst.size(3), shrink);
            }
        }
    }
}

/// x = factor * x + mask
#[inline(always)]
unsafe fn add_mask<V: Simd>(x: *mut f32, factor: f32, mask: *const f32, step: usize, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        if step != 1 {
            for i in 0..n {
                *x.add(i) = factor * *x.add(i) + *mask.add(i * step);
            }
            return;
        }
        let factor = V::splat(factor);
        row::vectors!(V, n, |i, lanes| {
            let y = V::load_first(x.add(i), lanes) * factor + V::load_first(mask.add(i), lanes);
            y.store_first(x.add(i), lanes);
        });
    }
}

entries!(Problem, Args<'_>, run);

fn tiles<V: Tile>(p: &Problem, phase: usize) -> usize {
    let s = Sizes::new::<V>(p);
    match phase {
        0 => s.blocks(),
        _ if s.dv == 0 => 0,
        _ => s.batch * s.heads * s.query_blocks(),
    }
}

/// 14 x 32 tiles.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX512: Kernel<Attention> = Kernel {
    name: "avx512-online-14x32",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns::<Avx512>(p, rates, 0.88, WORK_AVX512),
    phases: |_| 2,
    tiles: tiles::<Avx512>,
    workspace: |p| Sizes::new::<Avx512>(p).workspace(),
    run: avx512,
};

/// 6 x 16 tiles.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: Kernel<Attention> = Kernel {
    name: "avx2-online-6x16",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns::<Avx2>(p, rates, 0.85, WORK_AVX2),
    phases: |_| 2,
    tiles: tiles::<Avx2>,
    workspace: |p| Sizes::new::<Avx2>(p).workspace(),
    run: avx2,
};

/// 6 x 16 tiles.
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: Kernel<Attention> = Kernel {
    name: "neon-online-6x16",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns::<Neon>(p, rates, 0.75, WORK_NEON),
    phases: |_| 2,
    tiles: tiles::<Neon>,
    workspace: |p| Sizes::new::<Neon>(p).workspace(),
    run: neon,
};
