//! Attention by matrix units and cores together: units multiply while cores take exponentials.
//!
//! Phase 0 packs keys and values as the row of cores does. From then on groups of queries move through three stages, a phase
//! each: a unit computes the scores of one group and the weighted values of the one two phases ahead of it, cores turn the
//! scores of the group between them to weights. Scores lie in three buffers in turn, about a quarter of a MiB each, so that
//! what a stage reads is in L2. Every stage is what the row of cores does, with blocks of as many keys, and the products sum in
//! its order; so the bits are that row's, whoever computes what.

mod cut;

use std::ops::Range;

use tandem_base::mem::ALIGN;
use tandem_base::{Engine, Isa, SpanMut, Strided};

use super::blocked::{self, Block, KEYS, Sizes};
use super::right::{self, Right, Side};
use super::{Args, Attention, Problem};
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::gemm::{self, Gemm};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::pipeline::{Pipelined, Stages, units};
use crate::product::Tile;
use crate::simd::{Simd, entries};
use crate::widen;
use cut::{Cut, SCORES, Stage, UNIT_ROWS};

/// Groups that are on their way at a time, each with scores of its own.
const BUFFERS: usize = 3;

/// Some queries of a block in a stage.
struct Piece {
    stage: Stage,
    /// Number of the block and of the block of keys.
    block: usize,
    key_block: usize,
    /// Where the block's scores are, in blocks.
    at: usize,
    /// Queries of the block.
    rows: Range<usize>,
}

type OnCores = unsafe fn(&Pipeline, &Args<'_>, usize, Range<usize>, SpanMut<'_, u8>, SpanMut<'_, u8>);

/// A problem that units and cores compute together.
pub struct Pipeline {
    problem: Problem,
    sizes: Sizes,
    cut: Cut,
    unit: &'static Kernel<Gemm>,
    core: &'static Kernel<Attention>,
    on_cores: OnCores,
    /// Element-wise work of a score on cores.
    work: f64,
    workspace: Workspace,
}

/// Stages compiled for a row's vectors, and the work of a score.
fn on_cores(isa: Isa) -> Option<(OnCores, f64)> {
    let of: [(Isa, OnCores, f64); 3] = [
        (Isa::AVX512, avx512, blocked::WORK_AVX512),
        (Isa::AVX2, avx2, blocked::WORK_AVX2),
        (Isa::NEON, neon, blocked::WORK_NEON),
    ];
    of.into_iter().find(|(vectors, ..)| *vectors == isa).map(|(_, stages, work)| (stages, work))
}

impl Pipeline {
    /// Cuts a problem for a row of units and a row of cores.
    ///
    /// # Errors
    /// Why it is not for both: a size of 0, or a row that does not take it.
    pub fn new(
        problem: Problem,
        unit: &'static Kernel<Gemm>,
        core: &'static Kernel<Attention>,
    ) -> Result<Self, Refusal> {
        Self::of_groups(problem, unit, core, SCORES)
    }

    fn of_groups(
        problem: Problem,
        unit: &'static Kernel<Gemm>,
        core: &'static Kernel<Attention>,
        scores: usize,
    ) -> Result<Self, Refusal> {
        if problem.q.elements() == 0 || problem.k.elements() == 0 || problem.v.elements() == 0 {
            return Err("nothing to sum");
        }
        let (on_cores, work) = on_cores(core.isa).ok_or("no vectors")?;
        (core.supports)(&problem)?;
        let (cut, sizes) = Cut::new(&problem, scores);
        let workspace = Workspace::default();
        let mut all = Self { problem, sizes, cut, unit, core, on_cores, work, workspace };
        let mut per_worker = 0;
        for product in all.products() {
            (unit.supports)(&product)?;
            let Workspace { shared, per_worker: own } = (unit.workspace)(&product);
            per_worker = per_worker.max(shared.next_multiple_of(ALIGN) + own);
        }
        let [panels, scores, rows] = all.parts();
        all.workspace = Workspace { shared: 4 * (panels + scores + 2 * rows), per_worker };
        Ok(all)
    }

    /// f32 of packed keys and values, of scores, and of maxima or sums.
    fn parts(&self) -> [usize; 3] {
        let s = &self.sizes;
        let panels = s.blocks() * s.packed().iter().sum::<usize>();
        let scores = BUFFERS * self.cut.together * s.block * s.step();
        [panels, scores, (s.batch * s.heads * s.queries).next_multiple_of(ALIGN / 4)]
    }

    /// Batch, head, first query and number of queries of a block.
    fn place(&self, block: usize) -> [usize; 4] {
        let s = &self.sizes;
        let (head, first) = (block / s.query_blocks(), block % s.query_blocks() * s.block);
        [head / s.heads, head % s.heads, first, (s.queries - first).min(s.block)]
    }

    /// Keys that some query of a block sees.
    fn seen(&self, [_, _, first, rows]: [usize; 4]) -> usize {
        if self.problem.causal { self.sizes.keys.min(first + rows) } else { self.sizes.keys }
    }

    fn keys(&self, key_block: usize) -> Range<usize> {
        key_block * KEYS..self.sizes.keys.min((key_block + 1) * KEYS)
    }

    /// The group a stage has in a phase: its position, its blocks, their block of keys.
    fn group(&self, stage: Stage, phase: usize) -> Option<(usize, Range<usize>, usize)> {
        let position = phase.checked_sub(stage.first_phase()).filter(|at| *at < self.cut.positions())?;
        let (blocks, key_block) = self.cut.group(position);
        Some((position, blocks, key_block))
    }

    /// Tiles of a stage in a phase.
    fn in_stage(&self, stage: Stage, phase: usize) -> usize {
        let blocks = self.group(stage, phase).map_or(0, |(_, blocks, _)| blocks.len());
        blocks * self.sizes.block.div_ceil(self.cut.rows(stage))
    }

    /// What tiles of a phase behind the packing are, those of a block and a stage together.
    fn pieces(&self, phase: usize, tiles: Range<usize>) -> impl Iterator<Item = Piece> {
        let mut behind = 0;
        Stage::ALL.into_iter().flat_map(move |stage| {
            let first = behind;
            behind += self.in_stage(stage, phase);
            let here = tiles.start.clamp(first, behind) - first..tiles.end.clamp(first, behind) - first;
            let group = self.group(stage, phase).filter(|_| !here.is_empty());
            group.into_iter().flat_map(move |group| self.in_group(stage, group, here.clone()))
        })
    }

    /// What some tiles of a group in a stage are; nothing of blocks that see none of the keys.
    fn in_group(
        &self,
        stage: Stage,
        (position, blocks, key_block): (usize, Range<usize>, usize),
        tiles: Range<usize>,
    ) -> impl Iterator<Item = Piece> {
        let rows = self.cut.rows(stage);
        let each = self.sizes.block.div_ceil(rows);
        let pieces = (tiles.start / each..tiles.end.div_ceil(each)).map(move |i| {
            let (block, first) = (blocks.start + i, i * each);
            let [_, _, _, all] = self.place(block);
            let start = tiles.start.saturating_sub(first) * rows;
            let rows = start.min(all)..((tiles.end - first).min(each) * rows).min(all);
            Piece { stage, block, key_block, at: position % BUFFERS * self.cut.together + i, rows }
        });
        pieces.filter(|piece| {
            !piece.rows.is_empty() && piece.key_block * KEYS < self.seen(self.place(piece.block))
        })
    }

    /// The product of a unit's piece: its scores, or its share of the sums.
    fn scoring(&self, rows: usize, keys: usize) -> gemm::Problem {
        let s = &self.sizes;
        product([rows, keys, s.d], [self.problem.q.stride(2), s.step()], s.steps[0], false)
    }

    fn summing(&self, rows: usize, keys: usize, adds: bool) -> gemm::Problem {
        let s = &self.sizes;
        product([rows, s.dv, keys], [s.step(), self.problem.dst.stride(2)], s.steps[1], adds)
    }

    /// Every product a unit may be given.
    fn products(&self) -> Vec<gemm::Problem> {
        let s = &self.sizes;
        let last = s.queries - (s.query_blocks() - 1) * s.block;
        let cuts = |all: usize| (0..=all).step_by(UNIT_ROWS).flat_map(move |rows| [rows, all - rows]);
        let mut rows: Vec<usize> = cuts(s.block).chain(cuts(last)).filter(|rows| *rows > 0).collect();
        rows.sort_unstable();
        rows.dedup();
        let mut keys = vec![s.keys.min(KEYS), s.keys - (s.key_blocks() - 1) * KEYS];
        keys.dedup();
        let shapes = rows.iter().flat_map(|&rows| keys.iter().map(move |&keys| (rows, keys)));
        let all = shapes.flat_map(|(rows, keys)| {
            [self.scoring(rows, keys), self.summing(rows, keys, false), self.summing(rows, keys, true)]
        });
        all.collect()
    }
}

/// m x k rows times n columns, panels or rows `step` apart, or what is added to dst.
fn product([m, n, k]: [usize; 3], [lhs, dst]: [usize; 2], step: Option<usize>, adds: bool) -> gemm::Problem {
    let matrix = |columns, row| Strided::new(&[1, m, columns], &[0, row, 1]);
    let residual = adds.then(|| matrix(n, dst));
    let rhs =
        step.map_or(gemm::Rhs::Panels, |step| gemm::Rhs::Strided(Strided::new(&[1, k, n], &[0, step, 1])));
    let epilogue = Epilogue { residual, ..Epilogue::default() };
    gemm::Problem { lhs: matrix(k, lhs), rhs, dst: matrix(n, dst), alpha: 1.0, epilogue }
}

/// A piece's product with its operands.
struct Multiply<'a> {
    problem: gemm::Problem,
    args: gemm::Args<'a>,
    right: Right<'a>,
}

impl Multiply<'_> {
    /// On this thread's core.
    #[inline(always)]
    unsafe fn on_core<V: Tile>(&self) {
        let ([_, rows, columns, k], p) = (self.problem.sizes(), &self.problem);
        let lhs = (self.args.lhs.ptr(), p.lhs.stride(1));
        let dst = (self.args.dst.ptr(), p.dst.stride(1));
        let residual = p.epilogue.residual.map(|_| self.args.epilogue.residual);
        // SAFETY: the caller's.
        unsafe { self.right.multiply::<V>(lhs, [rows, k, columns], 1.0, dst, residual) }
    }
}

impl Pipelined for Pipeline {
    type Of = Attention;

    fn all(problem: &Problem, isa: Isa) -> Vec<Self> {
        let cores = |unit| {
            let rows = super::blocks().filter(move |row| isa.has(row.isa));
            rows.filter_map(move |core| Self::new(problem.clone(), unit, core).ok())
        };
        units(isa).flat_map(cores).collect()
    }

    fn problem(&self) -> &Problem {
        &self.problem
    }

    fn rows(&self) -> [&'static str; 2] {
        [self.unit.name, self.core.name]
    }

    fn isa(&self) -> Isa {
        self.unit.isa | self.core.isa
    }

    fn groups(&self) -> usize {
        self.cut.positions()
    }

    fn workspace(&self) -> Workspace {
        self.workspace
    }

    fn stages(&self, rates: &Rates) -> Stages {
        let s = &self.sizes;
        let keys = s.keys.min(KEYS);
        let multiply = |product: &gemm::Problem| (self.unit.ns)(product, rates);
        let whole = [self.scoring(s.block, keys), self.summing(s.block, keys, s.keys > KEYS)];
        let rows = (self.cut.together * s.block) as f64;
        let seen = if self.problem.causal { 0.55 } else { 1.0 };
        Stages {
            first: blocked::packing_ns(*s, rates),
            products: self.cut.together as f64 * whole.iter().map(multiply).sum::<f64>(),
            on_core: blocked::products_ns(*s, rows, keys as f64, rates),
            around: blocked::weights_ns(self.work, rows, keys as f64 * seen, rates),
            groups: self.groups(),
            phases: self.phases(),
        }
    }

    fn phases(&self) -> usize {
        self.groups() + BUFFERS
    }

    fn tiles(&self, phase: usize) -> [usize; 2] {
        if phase == 0 {
            return [0, self.sizes.blocks()];
        }
        let of = |stage| self.in_stage(stage, phase);
        [of(Stage::Score) + of(Stage::Sum), Stage::ALL.into_iter().map(of).sum()]
    }

    unsafe fn run(
        &self,
        args: &Args<'_>,
        (engine, phase, tiles): (Engine, usize, Range<usize>),
        shared: SpanMut<'_, u8>,
        scratch: SpanMut<'_, u8>,
    ) {
        if engine == Engine::Core {
            // SAFETY: the caller's.
            unsafe { (self.on_cores)(self, args, phase, tiles, shared, scratch) }
            return;
        }
        for piece in self.pieces(phase, tiles) {
            // SAFETY: the caller's; the scratch has room for any of the products.
            unsafe {
                let product = multiply(self, args, &piece, shared);
                widen::compute(self.unit, &product.problem, &product.args, scratch);
                finish(self, args, &piece, shared);
            }
        }
    }
}

/// Stages on a core.
#[inline(always)]
unsafe fn run<V: Tile>(
    all: &Pipeline,
    args: &Args<'_>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    // SAFETY: the caller's: `Attention::check` passed and `shared` is as large as the workspace says.
    unsafe {
        if phase == 0 {
            for tile in tiles {
                right::pack_block::<V>(
                    &all.problem,
                    args,
                    all.sizes,
                    tile,
                    shared.cast().expect(right::INSIDE),
                );
            }
            return;
        }
        for piece in all.pieces(phase, tiles) {
            if piece.stage == Stage::Weigh {
                weigh::<V>(all, args, &piece, shared);
            } else {
                multiply(all, args, &piece, shared).on_core::<V>();
                finish(all, args, &piece, shared);
            }
        }
    }
}

/// Where a piece's scores, maxima and sums are, in f32.
fn memory<'a>(all: &Pipeline, piece: &Piece, shared: SpanMut<'a, u8>) -> [SpanMut<'a, f32>; 3] {
    let (s, [panels, scores, rows]) = (&all.sizes, all.parts());
    let [b, h, first, _] = all.place(piece.block);
    let row = (b * s.heads + h) * s.queries + first + piece.rows.start;
    let at = panels + (piece.at * s.block + piece.rows.start) * s.step();
    let shared = shared.cast::<f32>().expect(right::INSIDE);
    [at, panels + scores + row, panels + scores + rows + row].map(|at| shared.skip(at).expect(right::INSIDE))
}

/// A piece's product.
fn multiply<'a>(all: &Pipeline, args: &Args<'a>, piece: &Piece, shared: SpanMut<'a, u8>) -> Multiply<'a> {
    let (p, s) = (&all.problem, all.sizes);
    let ([b, h, first, _], rows) = (all.place(piece.block), piece.rows.len());
    let row = |of: &Strided| b * of.stride(0) + h * of.stride(1) + (first + piece.rows.start) * of.stride(2);
    let [scores, ..] = memory(all, piece, shared);
    let (head, keys) = (b * s.kv_heads + h / (s.heads / s.kv_heads), all.keys(piece.key_block));
    let panels = shared.cast::<f32>().expect(right::INSIDE).as_span();
    let side = if piece.stage == Stage::Score { Side::Keys } else { Side::Values };
    let right = Right::new(p, args, s, side, (head, keys.start), panels);
    let rhs = right.operand();
    if piece.stage == Stage::Score {
        let (lhs, problem) = (args.q.skip(row(&p.q)).expect(right::INSIDE), all.scoring(rows, keys.len()));
        let args = gemm::Args { lhs, rhs, epilogue: EpilogueArgs::none(), dst: scores };
        return Multiply { problem, args, right };
    }
    let dst = args.dst.skip(row(&p.dst)).expect(right::INSIDE);
    let epilogue = EpilogueArgs { residual: dst.read(), ..EpilogueArgs::none() };
    let problem = all.summing(rows, keys.len(), piece.key_block > 0);
    Multiply { problem, args: gemm::Args { lhs: scores.as_span(), rhs, epilogue, dst }, right }
}

/// Divides by the weights' sums behind the last keys.
///
/// # Safety
/// The contract of [`Pipelined::run`].
unsafe fn finish(all: &Pipeline, args: &Args<'_>, piece: &Piece, shared: SpanMut<'_, u8>) {
    let (place, d) = (all.place(piece.block), all.problem.dst.strides());
    if piece.stage != Stage::Sum || all.keys(piece.key_block).end < all.seen(place) {
        return;
    }
    let ([b, h, first, _], [_, _, sums]) = (place, memory(all, piece, shared));
    for row in 0..piece.rows.len() {
        let at = b * d[0] + h * d[1] + (first + piece.rows.start + row) * d[2];
        // SAFETY: the caller's: rows of results and their sums are this piece's.
        unsafe {
            let share = blocked::share(*sums.ptr().add(row));
            let row = std::slice::from_raw_parts_mut(args.dst.ptr().add(at), all.sizes.dv);
            row.iter_mut().for_each(|x| *x *= share);
        }
    }
}

/// A piece's scores to weights.
///
/// # Safety
/// As [`finish`]; the CPU has the vector's instructions.
#[inline(always)]
unsafe fn weigh<V: Simd>(all: &Pipeline, args: &Args<'_>, piece: &Piece, shared: SpanMut<'_, u8>) {
    let (p, d) = (&all.problem, all.problem.dst.strides());
    let [b, h, first, _] = all.place(piece.block);
    let (first, rows) = (first + piece.rows.start, piece.rows.len());
    let [scores, largest, sums] = memory(all, piece, shared).map(|part| part.ptr());
    let dst = args.dst.ptr().wrapping_add(b * d[0] + h * d[1] + first * d[2]);
    let (step, scale) = (all.sizes.step(), p.scale);
    let keys = all.keys(piece.key_block);
    let fresh = keys.start == 0;
    let block = Block { at: [b, h, first, rows], scores, step, scale, fresh, largest, sums, dst };
    // SAFETY: the caller's.
    unsafe { blocked::weights::<V>(p, args, &block, keys) }
}

entries!(Pipeline, Args<'_>, run);

#[cfg(test)]
mod tests;
