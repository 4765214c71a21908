//! Winograd by matrix units and cores together: units multiply while cores transform.
//!
//! Phase 0 transforms the filters. From then on groups of tiles move through three stages, a phase each: cores transform the
//! inputs of one group, a unit multiplies those of the group before it, frequency by frequency, and cores transform the
//! products of the one before that and store them. What lies between stages has two buffers that take turns. Transforms are
//! those of the row of cores, and products sum in its order of channels; so the bits are that row's, whoever computes what.
//!
//! A unit reads inputs channel by channel: where they lie so, it copies none to a slab, and cores turn them instead.

use std::ops::Range;

use tandem_base::mem::ALIGN;
use tandem_base::{Isa, SpanMut, Strided};

use super::plan::{BLOCK, FREQUENCIES, Plan, odd_lines};
use super::run::{Engine, Job};
use super::{Costs, ROWS, engine, supports};
use crate::conv::{Args, Conv, Problem, Rows};
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::gemm::{self, Gemm};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::pipeline::{Pipelined, Stages, units};
use crate::widen;

/// Bytes of transformed inputs, or of products, that a group has about: with their other buffer they stay in L2.
const GROUP_BYTES: usize = 1 << 20;
/// A multiple of the positions a unit takes at a time, at up to 512 bits.
const POSITIONS: usize = 32;
/// Groups that planes are cut to where their tiles suffice: fewer would leave the ends of the pipeline in the way.
const GROUPS: usize = 4;
/// Tiles of an image that cores transform at a time, and that they transform and turn.
const TOGETHER: usize = 4;
const TURNED: usize = 16;
/// Buffers of transformed inputs, and of products.
const BUFFERS: usize = 2;

/// What is done to a group, in the order of a phase's tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Multiply,
    Output,
    Input,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Multiply, Self::Output, Self::Input];

    /// Phase in which group 0 is there.
    fn first_phase(self) -> usize {
        match self {
            Self::Input => 1,
            Self::Multiply => 2,
            Self::Output => 3,
        }
    }
}

/// Some of a group in a stage: frequencies of products, or tiles of the image.
struct Piece {
    stage: Stage,
    group: usize,
    of: Range<usize>,
}

type OnCores<T> = unsafe fn(&Pipeline<T>, &Args<'_, T>, usize, Range<usize>, [SpanMut<'_, u8>; 2]);

/// A convolution that units and cores compute together.
pub struct Pipeline<T: Rows = f32> {
    problem: Problem,
    plan: Plan,
    /// Tiles of a group.
    group: usize,
    /// Whether inputs lie channel by channel, not tile by tile.
    turned: bool,
    unit: &'static Kernel<Gemm>,
    /// Multiplies where no unit is free.
    cores: &'static Kernel<Gemm>,
    row: &'static Kernel<Conv<T>>,
    costs: Costs,
    on_cores: OnCores<T>,
    workspace: Workspace,
}

/// Transforms compiled for a row's vectors, and what they cost.
fn on_cores<T: Rows>(isa: Isa) -> Option<(OnCores<T>, Costs)> {
    #[cfg(target_arch = "x86_64")]
    let of: [(Isa, OnCores<T>, Costs); 2] = [
        (Isa::AVX512, transform::<engine::Zmm, T>, engine::Zmm::COSTS),
        (Isa::AVX2, transform::<engine::Ymm, T>, engine::Ymm::COSTS),
    ];
    #[cfg(target_arch = "aarch64")]
    let of: [(Isa, OnCores<T>, Costs); 1] = [(Isa::NEON, transform::<engine::Neon, T>, engine::Neon::COSTS)];
    of.into_iter().find(|(vectors, ..)| *vectors == isa).map(|(_, stages, costs)| (stages, costs))
}

impl<T: Rows> Pipeline<T> {
    /// Cuts a problem for a row of units and one of cores that multiply, and a Winograd row of these cores, to groups of
    /// about so many bytes.
    ///
    /// # Errors
    /// Why it is not for both: a size of 0, or a row that does not take it.
    fn new(
        problem: Problem,
        [unit, cores]: [&'static Kernel<Gemm>; 2],
        row: &'static Kernel<Conv<T>>,
        turned: bool,
        bytes: usize,
    ) -> Result<Self, Refusal> {
        supports(&problem)?;
        let (on_cores, costs) = on_cores(row.isa).ok_or("no vectors")?;
        if problem.dst.elements() == 0 || problem.src[0].elements() == 0 {
            return Err("nothing to sum");
        }
        let plan = Plan::with_panels(&problem);
        let widest = (plan.blocks() * BLOCK).max(panels::padded(plan.columns));
        let fitting = bytes / (4 * FREQUENCIES * widest);
        let even = plan.tiles().div_ceil(GROUPS);
        let group = fitting.min(even).max(1).next_multiple_of(POSITIONS).min(plan.tiles());
        let workspace = Workspace::default();
        let mut all = Self { problem, plan, group, turned, unit, cores, row, costs, on_cores, workspace };
        let mut per_worker = if turned { 4 * FREQUENCIES * all.turning_plane() } else { 0 };
        for tiles in [group, all.tiles_of(all.groups() - 1).len()] {
            let product = all.product(tiles);
            for row in [unit, cores] {
                (row.supports)(&product)?;
                let Workspace { shared, per_worker: own } = (row.workspace)(&product);
                per_worker = per_worker.max(shared.next_multiple_of(ALIGN) + own);
            }
        }
        let [filters, inputs, products] = all.parts();
        all.workspace = Workspace { shared: 4 * (filters + BUFFERS * (inputs + products)), per_worker };
        Ok(all)
    }

    /// f32 of the filters, of a group's inputs and of its products.
    fn parts(&self) -> [usize; 3] {
        let planes = [self.filter_plane(), self.input_plane(), self.product_plane()];
        planes.map(|plane| FREQUENCIES * plane)
    }

    /// Channels of inputs, each segment's filled up to whole blocks.
    fn channels(&self) -> usize {
        self.plan.blocks() * BLOCK
    }

    /// f32 of a row of products.
    fn width(&self) -> usize {
        panels::padded(self.plan.columns)
    }

    fn filter_plane(&self) -> usize {
        self.channels() * self.width()
    }

    /// f32 from one frequency of `[frequency][tile][channel]`, or `[frequency][channel][tile]`, to the next.
    fn input_plane(&self) -> usize {
        odd_lines(self.group * self.channels())
    }

    /// f32 from one frequency of `[frequency][block][tile][16]`, which are to be turned, to the next.
    fn turning_plane(&self) -> usize {
        odd_lines(TURNED * self.channels())
    }

    /// Tiles that a piece of a stage has.
    fn together(&self, stage: Stage) -> usize {
        if self.turned && stage == Stage::Input { TURNED } else { TOGETHER }
    }

    /// f32 from one frequency of `[frequency][tile][column]` to the next.
    fn product_plane(&self) -> usize {
        odd_lines(self.group * self.width())
    }

    fn tiles_of(&self, group: usize) -> Range<usize> {
        (group * self.group).min(self.plan.tiles())..((group + 1) * self.group).min(self.plan.tiles())
    }

    /// One frequency of a group of so many tiles.
    fn product(&self, tiles: usize) -> gemm::Problem {
        let matrix =
            |columns, steps: [usize; 2]| Strided::new(&[1, tiles, columns], &[0, steps[0], steps[1]]);
        let inputs = if self.turned { [1, self.group] } else { [self.channels(), 1] };
        gemm::Problem {
            lhs: matrix(self.channels(), inputs),
            rhs: gemm::Rhs::Panels,
            dst: matrix(self.plan.columns, [self.width(), 1]),
            alpha: 1.0,
            epilogue: Epilogue::default(),
        }
    }

    /// The group a stage has in a phase.
    fn group(&self, stage: Stage, phase: usize) -> Option<usize> {
        phase.checked_sub(stage.first_phase()).filter(|group| *group < self.groups())
    }

    /// Tiles of a stage in a phase.
    fn in_stage(&self, stage: Stage, phase: usize) -> usize {
        let Some(group) = self.group(stage, phase) else { return 0 };
        if stage == Stage::Multiply {
            return FREQUENCIES;
        }
        self.tiles_of(group).len().div_ceil(self.together(stage))
    }

    /// What tiles of a phase behind the filters are.
    fn pieces(&self, phase: usize, tiles: Range<usize>) -> impl Iterator<Item = Piece> {
        let mut behind = 0;
        Stage::ALL.into_iter().filter_map(move |stage| {
            let first = behind;
            behind += self.in_stage(stage, phase);
            let here = tiles.start.clamp(first, behind) - first..tiles.end.clamp(first, behind) - first;
            let group = self.group(stage, phase).filter(|_| !here.is_empty())?;
            let of = match stage {
                Stage::Multiply => here,
                Stage::Output | Stage::Input => {
                    let all = self.tiles_of(group);
                    let at = |piece: usize| (all.start + piece * self.together(stage)).min(all.end);
                    at(here.start)..at(here.end)
                }
            };
            Some(Piece { stage, group, of })
        })
    }

    /// Where a group's inputs and its products are, in f32.
    fn buffers(&self, group: usize) -> [usize; 2] {
        let [filters, inputs, products] = self.parts();
        let turn = group % BUFFERS;
        [filters + turn * inputs, filters + BUFFERS * inputs + turn * products]
    }

    /// Multiplies some frequencies of a group.
    ///
    /// # Safety
    /// The contract of [`Pipelined::run`].
    unsafe fn multiply(
        &self,
        row: &Kernel<Gemm>,
        piece: &Piece,
        shared: SpanMut<'_, u8>,
        scratch: SpanMut<'_, u8>,
    ) {
        const INSIDE: &str = "the workspace is as large as was checked";
        let problem = self.product(self.tiles_of(piece.group).len());
        let shared = shared.cast::<f32>().expect(INSIDE);
        let [inputs, products] = self.buffers(piece.group);
        for frequency in piece.of.clone() {
            let part = |at: usize, plane: usize| shared.skip(at + frequency * plane).expect(INSIDE);
            let args = gemm::Args {
                lhs: part(inputs, self.input_plane()).as_span(),
                rhs: part(0, self.filter_plane()).as_span(),
                epilogue: EpilogueArgs::none(),
                dst: part(products, self.product_plane()),
            };
            // SAFETY: the caller's; the scratch has room for either row's product.
            unsafe { widen::compute(row, &problem, &args, scratch) }
        }
    }
}

/// Filters, inputs and outputs on a core.
///
/// # Safety
/// The contract of [`Pipelined::run`]; the CPU has the engine's instructions.
unsafe fn transform<E: Engine, T: Rows>(
    all: &Pipeline<T>,
    args: &Args<'_, T>,
    phase: usize,
    tiles: Range<usize>,
    [shared, scratch]: [SpanMut<'_, u8>; 2],
) {
    let memory: *mut f32 = shared.ptr().cast();
    let none = std::ptr::null_mut();
    let job = Job { problem: &all.problem, args, plan: all.plan, shared: none, scratch: none };
    // SAFETY: the caller's; what is written lies where `parts` says, and belongs to these tiles.
    unsafe {
        if phase == 0 {
            tiles.for_each(|tile| filters::<E, T>(all, &job, tile, memory));
            return;
        }
        for piece in all.pieces(phase, tiles) {
            let first = all.tiles_of(piece.group).start;
            let [inputs, products] = all.buffers(piece.group);
            if piece.stage == Stage::Input && all.turned {
                for start in piece.of.clone().step_by(TURNED) {
                    let tiles = start..(start + TURNED).min(piece.of.end);
                    turn::<E, T>(all, &job, tiles, memory.add(inputs + start - first), scratch.ptr().cast());
                }
            } else if piece.stage == Stage::Input {
                for tile in piece.of {
                    let dst = memory.add(inputs + (tile - first) * all.channels());
                    job.inputs::<E>(tile, dst, [all.input_plane(), BLOCK]);
                }
            } else {
                let src = memory.add(products + (piece.of.start - first) * all.width());
                job.outputs::<E>(0..all.width(), piece.of, src, [all.product_plane(), all.width()]);
            }
        }
    }
}

/// Transforms the inputs of up to [`TURNED`] tiles and turns them to `dst`, where channels are a group's tiles apart.
///
/// # Safety
/// As [`transform`]; the scratch has room for [`FREQUENCIES`] turning planes.
unsafe fn turn<E: Engine, T: Rows>(
    all: &Pipeline<T>,
    job: &Job<'_, '_, T>,
    tiles: Range<usize>,
    dst: *mut f32,
    scratch: *mut f32,
) {
    let (plane, step, count) = (all.turning_plane(), TURNED * BLOCK, tiles.len());
    // SAFETY: the caller's.
    unsafe {
        for (slot, tile) in tiles.enumerate() {
            job.inputs::<E>(tile, scratch.add(slot * BLOCK), [plane, step]);
        }
        for frequency in 0..FREQUENCIES {
            for block in 0..all.plan.blocks() {
                let src = scratch.add(frequency * plane + block * step);
                let dst = dst.add(frequency * all.input_plane() + block * BLOCK * all.group);
                E::turn(src, (dst, all.group), count);
            }
        }
    }
}

/// Transforms one block of channels of one panel; what a block lacks to 16 channels is zero.
///
/// # Safety
/// As [`transform`].
unsafe fn filters<E: Engine, T: Rows>(
    all: &Pipeline<T>,
    job: &Job<'_, '_, T>,
    tile: usize,
    memory: *mut f32,
) {
    let plan = &all.plan;
    let (panel, block) = (tile / plan.blocks(), tile % plan.blocks());
    let (width, rows) = (plan.panel_width(panel), plan.rows(&(block..block + 1)));
    // SAFETY: the caller's.
    unsafe {
        let dst =
            memory.add(panels::index(all.channels(), plan.columns, block * BLOCK, panel * panels::PANEL));
        E::filter(job.filters(panel, &(block..block + 1), dst, all.filter_plane()));
        for frequency in 0..FREQUENCIES {
            let lacks = dst.add(frequency * all.filter_plane() + rows.len() * width);
            lacks.write_bytes(0, (BLOCK - rows.len()) * width);
        }
    }
}

impl<T: Rows> Pipelined for Pipeline<T> {
    type Of = Conv<T>;

    fn all(problem: &Problem, isa: Isa) -> Vec<Self> {
        let cores = |unit| {
            let rows = T::rows().iter().filter(move |row| ROWS.contains(&row.name) && isa.has(row.isa));
            rows.filter_map(move |row| {
                let cores = gemm::KERNELS.iter().find(|cores| cores.isa == row.isa)?;
                let new = |turned| Self::new(problem.clone(), [unit, cores], row, turned, GROUP_BYTES).ok();
                Some([false, true].into_iter().filter_map(new).collect::<Vec<_>>())
            })
        };
        units(isa).flat_map(cores).flatten().collect()
    }

    fn problem(&self) -> &Problem {
        &self.problem
    }

    fn rows(&self) -> [&'static str; 2] {
        [self.unit.name, self.row.name]
    }

    fn isa(&self) -> Isa {
        self.unit.isa | self.cores.isa | self.row.isa
    }

    fn groups(&self) -> usize {
        self.plan.tiles().div_ceil(self.group)
    }

    fn workspace(&self) -> Workspace {
        self.workspace
    }

    fn stages(&self, rates: &Rates) -> Stages {
        let (plan, costs) = (&self.plan, &self.costs);
        let (rows, columns) = (self.channels() as f64, (self.width() / BLOCK) as f64);
        let input = if self.turned { costs.input + costs.turn } else { costs.input };
        let transforms = plan.blocks() as f64 * input + columns * costs.output;
        // As in the row of cores, half the time of operands out of memory does not hide.
        let memory = 0.5 * Conv::<T>::cost(&self.problem).bytes / rates.dram_gbs;
        let acts = rates.epilogue_ns(&self.problem.epilogue, self.problem.dst.elements());
        Stages {
            first: rows * columns * costs.filter / rates.vector_gelems,
            products: FREQUENCIES as f64 * (self.unit.ns)(&self.product(self.group), rates),
            on_core: costs.products_ns(self.group as f64, rows, self.width() as f64, rates),
            around: self.group as f64 * transforms / rates.vector_gelems
                + (memory + acts) / self.groups() as f64,
            groups: self.groups(),
            phases: self.phases(),
        }
    }

    fn phases(&self) -> usize {
        self.groups() + Stage::ALL.len()
    }

    fn tiles(&self, phase: usize) -> [usize; 2] {
        if phase == 0 {
            return [0, self.plan.panels() * self.plan.blocks()];
        }
        let of = |stage| self.in_stage(stage, phase);
        [of(Stage::Multiply), Stage::ALL.into_iter().map(of).sum()]
    }

    unsafe fn run(
        &self,
        args: &Args<'_, T>,
        (engine, phase, tiles): (tandem_base::Engine, usize, Range<usize>),
        shared: SpanMut<'_, u8>,
        scratch: SpanMut<'_, u8>,
    ) {
        let [of_units, _] = self.tiles(phase);
        let split = of_units.clamp(tiles.start, tiles.end);
        let row = if engine == tandem_base::Engine::Unit { self.unit } else { self.cores };
        // SAFETY: the caller's.
        unsafe {
            for piece in self.pieces(phase, tiles.start..split) {
                self.multiply(row, &piece, shared, scratch);
            }
            (self.on_cores)(self, args, phase, split..tiles.end, [shared, scratch]);
        }
    }
}

#[cfg(test)]
mod tests;
