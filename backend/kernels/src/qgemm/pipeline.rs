//! Quantised products by matrix units and cores together: cores quantise the rows of one group while units multiply those of
//! the group before.
//!
//! All rows of the family round at the same places, so that the bits are any row's, whoever computes what.

use std::ops::Range;

use tandem_base::mem::ALIGN;
use tandem_base::{Engine, Isa, SpanMut, Strided};

use super::slabs::{PARAMETERS, Slabs, parameters, slab_bytes};
use super::{Args, KERNELS, Parameters, Problem, Qgemm, Scheme};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::pipeline::{Pipelined, Stages};
#[cfg(any(test, feature = "emulated"))]
use crate::sme2::Emulated;
#[cfg(any(target_arch = "aarch64", test, feature = "emulated"))]
use crate::sme2::slabs;
use crate::widen;

/// Units' parts.
const UNITS: &[Slabs] = &[
    #[cfg(target_arch = "aarch64")]
    slabs::<crate::sme2::Sme2>("sme2-outer", Isa::SME2),
    #[cfg(any(test, feature = "emulated"))]
    slabs::<Emulated<4>>("emulated-sme2-128", Isa::EMULATED_SME2_128),
    #[cfg(any(test, feature = "emulated"))]
    slabs::<Emulated<8>>("emulated-sme2-256", Isa::EMULATED_SME2_256),
    #[cfg(any(test, feature = "emulated"))]
    slabs::<Emulated<16>>("emulated-sme2-512", Isa::EMULATED_SME2_512),
];

/// Bytes of a group's rows, twice, stay in L2 while panel after panel passes.
const GROUP_BYTES: usize = 256 << 10;
/// Fewest groups, where rows suffice.
const GROUPS: usize = 4;
/// Least rows of a unit's tile, and rows of a tile of cores.
const UNIT_ROWS: usize = 64;
const CORE_ROWS: usize = 8;
/// Groups that are on their way at a time.
const BUFFERS: usize = 2;
/// Element-wise work that quantising an element takes: its extremes, then its rounding and store. Counted on NEON, in cycles of a
/// modelled M4.
const WORK: f64 = 0.65;

/// A problem that units and cores compute together.
pub struct Pipeline {
    problem: Problem,
    unit: Slabs,
    core: &'static Kernel<Qgemm>,
    /// Rows of a group, and of a unit's tile.
    group: usize,
    tile: usize,
    workspace: Workspace,
}

impl Pipeline {
    /// Cuts a problem for a unit and a row of cores, to groups of about so many bytes.
    ///
    /// # Errors
    /// Why it is not for both: a size of 0, or what either does not take.
    fn new(
        problem: Problem,
        unit: Slabs,
        core: &'static Kernel<Qgemm>,
        group_bytes: usize,
    ) -> Result<Self, Refusal> {
        let [m, n, k] = problem.sizes();
        if m == 0 || n == 0 {
            return Err("nothing to compute");
        }
        problem.in_rows()?;
        (core.supports)(&problem)?;
        let tile = UNIT_ROWS.next_multiple_of((unit.group)());
        let even = m.div_ceil(GROUPS).next_multiple_of(tile);
        let group = (group_bytes / k / tile * tile).clamp(tile, even);
        let mut all = Self { problem, unit, core, group, tile, workspace: Workspace::default() };
        let of_core = |rows| {
            let Workspace { shared, per_worker } = (core.workspace)(&all.of_rows(rows));
            shared.next_multiple_of(ALIGN) + per_worker
        };
        let per_worker =
            [tile, m % tile].into_iter().filter(|rows| *rows > 0).map(of_core).max().unwrap_or(0);
        let per_worker = per_worker.max((unit.scratch)(&all.problem, tile));
        all.workspace = Workspace { shared: BUFFERS * all.buffer(), per_worker };
        Ok(all)
    }

    /// The product of so many rows.
    fn of_rows(&self, rows: usize) -> Problem {
        let p = &self.problem;
        let of = |s: &Strided| Strided::new(&[rows, s.size(1)], s.strides());
        Problem { lhs: of(&p.lhs), dst: of(&p.dst), ..p.clone() }
    }

    /// Bytes of a row in a group's slab, and of its parameters.
    fn row_bytes(&self) -> [usize; 2] {
        let [_, _, k] = self.problem.sizes();
        [slab_bytes(k, 1), size_of::<[f32; PARAMETERS]>()]
    }

    /// Bytes of a group's slabs and parameters.
    fn buffer(&self) -> usize {
        (self.group * self.row_bytes().iter().sum::<usize>()).next_multiple_of(ALIGN)
    }

    /// Rows of a group.
    fn of_group(&self, group: usize) -> Range<usize> {
        let [m, ..] = self.problem.sizes();
        (group * self.group).min(m)..((group + 1) * self.group).min(m)
    }

    /// The group units multiply in a phase, and the one cores quantise.
    fn at(&self, phase: usize) -> [Range<usize>; 2] {
        [phase.checked_sub(1).map_or(0..0, |group| self.of_group(group)), self.of_group(phase)]
    }

    /// Slab and parameters of the unit's group that holds a row, which is its first.
    fn memory(&self, row: usize, shared: SpanMut<'_, u8>) -> (*mut i8, *mut f32) {
        let (buffer, [slab, params]) = (row / self.group % BUFFERS * self.buffer(), self.row_bytes());
        let row = row % self.group;
        let at = shared.ptr().wrapping_add(buffer);
        let first = at.wrapping_add(self.group * slab);
        (at.wrapping_add(row * slab).cast(), first.wrapping_add(row * params).cast())
    }

    /// Quantises a row of lhs.
    ///
    /// # Safety
    /// The contract of [`Pipelined::run`].
    unsafe fn quantise(&self, args: &Args<'_>, row: usize, shared: SpanMut<'_, u8>) {
        let ([_, _, k], wide) = (self.problem.sizes(), (self.unit.group)());
        let lane = row % self.group % wide;
        let (slab, params) = self.memory(row - lane, shared);
        let scheme = &self.problem.scheme;
        let fixed = *scheme != Scheme::Dynamic;
        // SAFETY: the caller's: the row lies in lhs, its lane of slab and parameters is this tile's.
        unsafe {
            let from = args.lhs.ptr().add(row * self.problem.lhs.stride(0));
            let made = quantised(from, k, scheme, slab.add(4 * lane), 4 * wide);
            for (i, value) in parameters(&made, fixed).into_iter().enumerate() {
                params.add(i * wide + lane).write(value);
            }
        }
    }

    /// Multiplies some rows, in the unit or on this thread's core.
    ///
    /// # Safety
    /// The contract of [`Pipelined::run`].
    unsafe fn multiply(
        &self,
        args: &Args<'_>,
        (engine, rows): (Engine, Range<usize>),
        [shared, scratch]: [SpanMut<'_, u8>; 2],
    ) {
        const INSIDE: &str = "rows lie in operands that were checked";
        let p = &self.problem;
        // SAFETY: the caller's; the scratch has room for either.
        unsafe {
            if engine == Engine::Unit {
                let (slab, params) = self.memory(rows.start, shared);
                (self.unit.multiply)(p, args, rows, (slab, params), scratch);
                return;
            }
            let lhs = args.lhs.skip(rows.start * p.lhs.stride(0)).expect(INSIDE);
            let dst = args.dst.skip(rows.start * p.dst.stride(0)).expect(INSIDE);
            widen::compute(self.core, &self.of_rows(rows.len()), &Args { lhs, dst, ..*args }, scratch);
        }
    }
}

/// Quantises a row of `k` f32 to words of four that begin `step` bytes apart.
///
/// # Safety
/// The row can be read, four words at a time be written.
unsafe fn quantised(from: *const f32, k: usize, scheme: &Scheme, to: *mut i8, step: usize) -> Parameters {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(target_arch = "aarch64")]
        return super::neon::quantise::row::<4>(from, k, scheme, to, step);
        #[cfg(not(target_arch = "aarch64"))]
        {
            let row = std::slice::from_raw_parts(from, k);
            let made = match *scheme {
                Scheme::Dynamic => Parameters::of(row),
                Scheme::Static { lhs, .. } => Parameters::new(lhs),
            };
            for (i, &x) in row.iter().enumerate() {
                let byte = if *scheme == Scheme::Dynamic { made.fused(x) } else { made.rounded(x) };
                to.add(i / 4 * step + i % 4).write(byte);
            }
            made
        }
    }
}

impl Pipelined for Pipeline {
    type Of = Qgemm;

    fn all(problem: &Problem, isa: Isa) -> Vec<Self> {
        let cores = |unit: &Slabs| {
            let rows = KERNELS.iter().filter(move |row| isa.has(row.isa) && !row.isa.in_unit());
            let unit = *unit;
            rows.filter_map(move |core| Self::new(problem.clone(), unit, core, GROUP_BYTES).ok())
        };
        UNITS.iter().filter(|unit| isa.has(unit.isa)).flat_map(cores).collect()
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
        self.problem.sizes()[0].div_ceil(self.group)
    }

    fn workspace(&self) -> Workspace {
        self.workspace
    }

    fn stages(&self, rates: &Rates) -> Stages {
        let [m, _, k] = self.problem.sizes();
        let group = self.of_rows(self.group.min(m));
        let around = (self.group.min(m) * k) as f64 * WORK / rates.vector_gelems;
        Stages {
            first: around,
            products: (self.unit.ns)(&group, rates),
            on_core: (self.core.ns)(&group, rates),
            around,
            groups: self.groups(),
            phases: self.phases(),
        }
    }

    fn phases(&self) -> usize {
        self.groups() + 1
    }

    fn tiles(&self, phase: usize) -> [usize; 2] {
        let [multiplied, quantised] = self.at(phase);
        let of_units = multiplied.len().div_ceil(self.tile);
        [of_units, of_units + quantised.len().div_ceil(CORE_ROWS)]
    }

    unsafe fn run(
        &self,
        args: &Args<'_>,
        (engine, phase, tiles): (Engine, usize, Range<usize>),
        shared: SpanMut<'_, u8>,
        scratch: SpanMut<'_, u8>,
    ) {
        let ([multiplied, quantised], [of_units, _]) = (self.at(phase), self.tiles(phase));
        for tile in tiles {
            // SAFETY: the caller's.
            unsafe {
                if tile < of_units {
                    let first = multiplied.start + tile * self.tile;
                    let rows = first..(first + self.tile).min(multiplied.end);
                    self.multiply(args, (engine, rows), [shared, scratch]);
                } else {
                    let first = quantised.start + (tile - of_units) * CORE_ROWS;
                    let rows = first..(first + CORE_ROWS).min(quantised.end);
                    rows.for_each(|row| self.quantise(args, row, shared));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
