//! Matrix products on the unit: lhs becomes slabs, rhs is read where it lies, if it lies in words of k.
//!
//! A task is a run of positions. Where it is the only one, a first phase makes its slab and a second one multiplies it, by
//! columns.

mod turned;

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::drive::{Columns, Output, Place, cut, list, split, tasks};
use super::finish::Stages;
use super::tables::{Parts, bytes};
use super::{Copy, Pack, Product, Run, Unit};
use crate::element::Element;
use crate::gemm::{Args, Gemm, Problem, Rhs};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::simd::Simd;
use turned::turned;

/// Bytes of lhs a task holds: they stay in L2 while panel after panel passes.
const SLAB_BYTES: usize = 512 << 10;

/// How lhs is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lhs {
    /// k is contiguous: packed to slabs.
    Rows,
    /// Positions are contiguous: read as it lies, or its k put together to words.
    Columns,
}

/// Slabs of rhs, if it needs any.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slabs {
    /// Panels, or rows of single k: read as they lie.
    None,
    /// k is contiguous: packed as lhs.
    Packed,
    /// Columns are contiguous: k put together to words.
    Paired,
}

/// The cut of a problem.
#[derive(Clone, Copy, Debug)]
struct Plan {
    lhs: Lhs,
    rhs: Slabs,
    /// Parts with a right-hand side or an lhs matrix of their own, and the positions of one.
    parts: usize,
    positions: usize,
    /// Positions of a task, a multiple of a group's.
    task: usize,
    group: usize,
    n: usize,
    k: usize,
    /// Words of k.
    words: usize,
    /// Whether positions of the destination are contiguous.
    turned: bool,
    /// Parts of a task.
    split: usize,
}

impl Plan {
    fn new<U: Unit, E: Element>(p: &Problem) -> Self {
        let [batch, m, n, k] = p.sizes();
        let lhs = if p.lhs.stride(2) == 1 || k == 1 { Lhs::Rows } else { Lhs::Columns };
        let (rhs, shared) = match p.rhs {
            Rhs::Panels => (Slabs::None, true),
            Rhs::Strided(r) => {
                let slabs = match r.stride(2) == 1 || n == 1 {
                    true if E::PER_WORD == 1 => Slabs::None,
                    true => Slabs::Paired,
                    false => Slabs::Packed,
                };
                (slabs, r.stride(0) == 0 || batch == 1)
            }
        };
        let turned = turned(p);
        let merges = shared && lhs == Lhs::Rows && !turned;
        let (parts, positions) = if merges { (1, batch * m) } else { (batch, m) };
        let group = 2 * U::lanes();
        let words = k.div_ceil(E::PER_WORD);
        let fitting = SLAB_BYTES / (4 * words.max(1)) / group * group;
        let task = fitting.max(group);
        let plan = Self { lhs, rhs, parts, positions, task, group, n, k, words, turned, split: 1 };
        // Columns put together to words are so all at once.
        let units = if rhs == Slabs::Paired { 1 } else { n.div_ceil(plan.unit()) };
        Self { split: split(plan.parts * plan.tasks(), plan.flops(), units), ..plan }
    }

    /// Multiply-adds of whole groups and blocks, 2 each.
    fn flops(&self) -> f64 {
        let whole =
            self.parts * self.positions.next_multiple_of(self.group) * self.n.next_multiple_of(self.group);
        2.0 * whole as f64 * self.k as f64
    }

    /// Columns that a part has a multiple of.
    fn unit(&self) -> usize {
        panels::PANEL.max(self.group)
    }

    fn phases<E: Element>(&self) -> usize {
        if self.split > 1 && self.slabs::<E>()[0] > 0 { 2 } else { 1 }
    }

    /// Tasks of a part with an operand of its own.
    fn tasks(&self) -> usize {
        self.positions.div_ceil(self.task)
    }

    fn tiles(&self) -> usize {
        if self.n == 0 { 0 } else { self.parts * self.tasks() * self.split }
    }

    /// Bytes of a task's slab that several tiles make and read.
    fn shared<E: Element>(&self) -> usize {
        if self.phases::<E>() > 1 { bytes::<u32>(self.slabs::<E>()[0]) } else { 0 }
    }

    /// Positions of the largest task, whole groups.
    fn widest(&self) -> usize {
        self.task.min(self.positions.next_multiple_of(self.group))
    }

    /// Words of lhs slabs and of rhs slabs, with the room packing writes beyond.
    fn slabs<E: Element>(&self) -> [usize; 2] {
        let lhs = if self.lhs == Lhs::Rows || E::PER_WORD > 1 { self.widest() } else { 0 };
        let rhs = if self.rhs == Slabs::None { 0 } else { self.n.next_multiple_of(self.group) };
        [lhs * self.words, rhs * self.words]
    }

    /// Rows one call packs at most.
    fn table(&self) -> usize {
        self.widest().max(if self.rhs == Slabs::Packed { self.n.next_multiple_of(self.group) } else { 0 })
    }

    fn scratch<E: Element>(&self, p: &Problem) -> usize {
        let stages = stages::<E>(p);
        let sums = stages.sums(self.widest(), self.n);
        let tables = bytes::<*const f32>(self.table())
            + bytes::<*mut f32>(self.widest())
            + bytes::<*const f32>(stages.residuals(&p.epilogue, self.widest()));
        let [lhs, rhs] = self.slabs::<E>();
        let lhs = if self.phases::<E>() > 1 { 0 } else { lhs };
        let turned = if self.turned { self.turned_scratch::<E>() } else { 0 };
        turned
            + tables
            + [lhs, rhs, sums].iter().map(|&n| bytes::<u32>(n)).sum::<usize>()
            + bytes::<E>(self.n)
    }
}

fn stages<E: Element>(p: &Problem) -> Stages {
    let contiguous = |s: Strided| s.stride(2) == 1 || s.size(2) == 1;
    let adds = E::PER_WORD == 1 && p.epilogue.residual.is_some_and(contiguous);
    Stages::of(&p.epilogue, p.alpha, adds)
}

fn supports<E: Element>(p: &Problem) -> Result<(), Refusal> {
    let [_, m, n, k] = p.sizes();
    if turned(p) {
        turned::supports::<E>(p)?;
    } else if p.dst.stride(2) != 1 && n > 1 {
        return Err("neither rows nor columns of dst are contiguous");
    }
    if k == 0 {
        return Err("nothing to sum");
    }
    if p.lhs.stride(2) != 1 && k > 1 && p.lhs.stride(1) != 1 && m > 1 {
        return Err("neither k nor m of lhs is contiguous");
    }
    match p.rhs {
        Rhs::Strided(r) if r.stride(2) != 1 && n > 1 && r.stride(1) != 1 && k > 1 => {
            Err("neither k nor n of rhs is contiguous")
        }
        _ => Ok(()),
    }
}

/// Multiply-adds of whole groups and blocks at the unit's rate, and the copies to slabs.
fn ns<U: Unit, E: Element>(p: &Problem, rates: &Rates) -> f64 {
    let plan = Plan::new::<U, E>(p);
    let copied: usize = plan.slabs::<E>().iter().sum();
    let unit = &rates.unit;
    let weights = unit.read_ns(4.0 * (plan.words * plan.n) as f64);
    (plan.flops() / unit.gflops(size_of::<E>())).max(weights)
        + (plan.parts * plan.tasks() * copied) as f64 / unit.copy_gelems
        + unit.entry_ns
        + rates.epilogue_ns(&p.epilogue, p.dst.elements())
}

fn workspace<U: Unit, E: Element>(p: &Problem) -> Workspace {
    let plan = Plan::new::<U, E>(p);
    Workspace { shared: plan.parts * plan.tasks() * plan.shared::<E>(), per_worker: plan.scratch::<E>(p) }
}

/// The row for a unit; cores finish what it leaves with vectors of `V`.
pub(crate) const fn row<U: Unit, V: Simd, E: Element>(name: &'static str, isa: Isa) -> Kernel<Gemm<E>> {
    Kernel {
        name,
        isa,
        supports: supports::<E>,
        ns: ns::<U, E>,
        phases: |p| Plan::new::<U, E>(p).phases::<E>(),
        tiles: |p, _| Plan::new::<U, E>(p).tiles(),
        workspace: workspace::<U, E>,
        run: run::<U, V, E>,
    }
}

unsafe fn run<U: Unit, V: Simd, E: Element>(
    p: &Problem,
    args: &Args<'_, E>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let plan = Plan::new::<U, E>(p);
    for (task, cut) in tasks(tiles, plan.split) {
        let (part, start) = (task / plan.tasks(), task % plan.tasks() * plan.task);
        let positions = start..(start + plan.task).min(plan.positions);
        let mut parts = Parts::new(scratch);
        let table = parts.take(plan.table());
        let slab = if plan.phases::<E>() > 1 {
            shared.ptr().wrapping_add(task * plan.shared::<E>()).cast()
        } else {
            parts.take::<u32>(plan.slabs::<E>()[0]).cast()
        };
        let task = Task { p, args, plan: &plan, part, positions, table, slab };
        // SAFETY: `Gemm::check` passed, scratch and shared memory have the sizes `workspace` says.
        unsafe {
            if phase == 0 {
                task.fill::<U>(&cut);
            }
            if phase + 1 == plan.phases::<E>() {
                if plan.turned {
                    task.multiply_turned::<U>(&cut, &mut parts);
                } else {
                    task.multiply::<U, V>(&cut, &mut parts);
                }
            }
        }
    }
}

/// Offset of a position's first element in a `[batch, rows, columns]` matrix.
fn offset(strides: &[usize], part: usize, position: usize, m: usize) -> usize {
    (part + position / m) * strides[0] + position % m * strides[1]
}

/// Some positions of one matrix.
struct Task<'a, E> {
    p: &'a Problem,
    args: &'a Args<'a, E>,
    plan: &'a Plan,
    part: usize,
    positions: Range<usize>,
    /// [`Plan::table`] pointers.
    table: *mut *const E,
    /// Where lhs goes, if it has slabs.
    slab: *mut E,
}

impl<E: Element> Task<'_, E> {
    fn lhs(&self, position: usize) -> *const E {
        let [_, m, _, _] = self.p.sizes();
        self.args.lhs.ptr().wrapping_add(offset(self.p.lhs.strides(), self.part, position, m))
    }

    /// Makes what some parts have of the slab.
    unsafe fn fill<U: Unit>(&self, cut_of: &Range<usize>) {
        let (p, plan) = (self.p, self.plan);
        if plan.lhs == Lhs::Columns && E::PER_WORD > 1 {
            let lhs = (self.lhs(self.positions.start), p.lhs.stride(2), plan.k);
            let here = cut(plan.words, plan.split, 1, cut_of);
            // SAFETY: positions lie in lhs, the slab has room for them.
            unsafe { pair::<U, E>(lhs, here, self.positions.len(), self.slab) }
        } else if plan.lhs == Lhs::Rows {
            // SAFETY: the caller's.
            unsafe { self.pack::<U>(cut(self.positions.len(), plan.split, plan.group, cut_of)) }
        }
    }

    /// Packs positions, counted from the task's, whose k are contiguous.
    unsafe fn pack<U: Unit>(&self, here: Range<usize>) {
        let (plan, [_, m, _, k]) = (self.plan, self.p.sizes());
        let (groups, group) = (here.len().div_ceil(plan.group), plan.group * plan.words);
        if groups == 0 {
            return;
        }
        let dst = self.slab.wrapping_add(E::PER_WORD * here.start * plan.words);
        let positions = self.positions.start + here.start..self.positions.start + here.end;
        let next = self.p.lhs.stride(1);
        // SAFETY: positions lie in lhs, the table and the slab have room for whole groups.
        unsafe {
            let mut to = self.table;
            for Range { start, end } in stretches(positions.clone(), m) {
                to = list(to, self.lhs(start), end - start, |row| row.wrapping_add(next));
            }
            list(to, self.lhs(positions.start), groups * plan.group - positions.len(), |row| row);
            U::pack(&Pack { rows: self.table, first: 0, groups, k, dst, step: plan.group, group });
        }
    }

    /// Multiplies with the columns of some parts.
    unsafe fn multiply<U: Unit, V: Simd>(&self, cut_of: &Range<usize>, parts: &mut Parts) {
        let (p, args, plan) = (self.p, self.args, self.plan);
        let ([_, m, n, _], positions) = (p.sizes(), self.positions.clone());
        let here = cut(n, plan.split, plan.unit(), cut_of);
        if here.is_empty() {
            return;
        }
        let (rows, stages) = (positions.len().next_multiple_of(plan.group), stages::<E>(p));
        let rhs_slab: *mut E = parts.take::<u32>(plan.slabs::<E>()[1]).cast();
        let output = Output {
            epilogue: &p.epilogue,
            args: args.epilogue,
            alpha: p.alpha,
            rows: parts.take(rows),
            residuals: parts.take(stages.residuals(&p.epilogue, rows)),
            sums: parts.take(stages.sums(rows, n)),
            spare: parts.take(n),
            stages: &stages,
        };
        let d = p.dst.strides();
        let places = stretches(positions, m).map(|Range { start, end }| {
            let (residual, next_residual, step) = p
                .epilogue
                .residual
                .map_or((0, 0, 0), |r| (offset(r.strides(), self.part, start, m), r.stride(1), r.stride(2)));
            let dst = args.dst.ptr().wrapping_add(offset(d, self.part, start, m));
            Place { count: end - start, dst, next: d[1], residual, next_residual, step }
        });
        let run = Run { offset: 0, count: plan.words };
        let product = Product { runs: &raw const run, run_count: 1, ..self.product() };
        // SAFETY: positions lie in lhs and dst, tables and slabs in the scratch.
        unsafe {
            let rhs = self.rhs::<U>(&here, rhs_slab);
            output.store::<U, V>(&product, &rhs, here, places);
        }
    }

    /// The product's positions.
    fn product(&self) -> Product<E> {
        let (plan, positions) = (self.plan, self.positions.len());
        let (group, groups) = (plan.group, positions.div_ceil(plan.group));
        let product = Product { lhs: self.slab.cast_const(), groups, ..Product::NONE };
        match plan.lhs {
            Lhs::Rows => Product {
                lhs_step: group,
                lhs_group: group * plan.words,
                positions: groups * group,
                ..product
            },
            Lhs::Columns if E::PER_WORD > 1 => {
                Product { lhs_step: positions, lhs_group: group, positions, ..product }
            }
            Lhs::Columns => Product {
                lhs: self.lhs(self.positions.start),
                lhs_step: self.p.lhs.stride(2),
                lhs_group: group,
                positions,
                ..product
            },
        }
    }

    /// Where rhs is read; makes slabs of `columns` of it where it needs them.
    unsafe fn rhs<U: Unit>(&self, columns: &Range<usize>, slab: *mut E) -> Columns<E> {
        let (plan, rhs) = (self.plan, self.args.rhs.ptr());
        let Plan { n, group, words: k, .. } = *plan;
        let Rhs::Strided(r) = self.p.rhs else { return Columns::panels(rhs, n, k) };
        let rhs = rhs.wrapping_add(self.part * r.stride(0));
        match plan.rhs {
            Slabs::None => Columns { rhs, n, k, step: r.stride(1), panel: 0, width: n, packed: false },
            Slabs::Packed => {
                let first = rhs.wrapping_add(columns.start * r.stride(2));
                // SAFETY: the caller's: the table and the slab have room for whole groups.
                unsafe { self.turn::<U>((first, r.stride(2)), columns.len(), slab) }
                // The slab begins with the first of the columns.
                let rhs = slab.wrapping_sub(E::PER_WORD * columns.start * k);
                Columns { rhs, n, k, step: group, panel: group * k, width: group, packed: false }
            }
            Slabs::Paired => {
                // SAFETY: the caller's: the slab has room.
                unsafe { pair::<U, E>((rhs, r.stride(1), plan.k), 0..k, n, slab) }
                Columns { rhs: slab, n, k, step: n, panel: 0, width: n, packed: false }
            }
        }
    }

    /// Columns of rhs `step` apart, whose k are contiguous, to slabs.
    unsafe fn turn<U: Unit>(&self, (first, step): (*const E, usize), columns: usize, dst: *mut E) {
        let Plan { group, words, k, .. } = *self.plan;
        let groups = columns.div_ceil(group);
        // SAFETY: the caller's: the table and the slab have room for whole groups.
        unsafe {
            let to = list(self.table, first, columns, |row| row.wrapping_add(step));
            list(to, first, groups * group - columns, |row| row);
            let rows = self.table.cast_const();
            U::pack(&Pack { rows, first: 0, groups, k, dst, step: group, group: group * words });
        }
    }
}

/// Ranges of positions that lie in one batch each.
fn stretches(positions: Range<usize>, m: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let mut start = positions.start;
    std::iter::from_fn(move || {
        let end = ((start / m + 1) * m).min(positions.end);
        let stretch = start..end;
        start = end;
        (!stretch.is_empty()).then_some(stretch)
    })
}

/// Some words of `k` rows of `width` neighbours, `step` apart, to rows of words.
unsafe fn pair<U: Unit, E: Element>(
    (src, step, k): (*const E, usize, usize),
    words: Range<usize>,
    width: usize,
    dst: *mut E,
) {
    let first = E::PER_WORD * words.start;
    let copy = Copy {
        src: src.wrapping_add(first * step),
        dst: dst.wrapping_add(first * width),
        width,
        step: 1,
        rows: 1,
        src_row: 0,
        dst_row: 0,
        planes: k.min(E::PER_WORD * words.end) - first.min(k),
        src_plane: step,
        dst_plane: width,
    };
    if copy.planes > 0 {
        // SAFETY: the caller's.
        unsafe { U::copy(&copy) }
    }
}
