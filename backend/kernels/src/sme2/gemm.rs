//! Matrix products on the unit: lhs becomes slabs, rhs is read where it lies.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::drive::{Columns, Output, Place, list};
use super::finish::Stages;
use super::tables::{Parts, bytes};
use super::{Pack, Product, Run, Unit};
use crate::gemm::{Args, Gemm, Problem, Rhs};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::simd::Simd;

/// Bytes of lhs a task holds: they stay in L2 while panel after panel passes.
const SLAB_BYTES: usize = 512 << 10;

/// How lhs is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lhs {
    /// k is contiguous: packed to slabs.
    Rows,
    /// Positions are contiguous: read as it lies.
    Columns,
}

/// The cut of a problem.
#[derive(Clone, Copy, Debug)]
struct Plan {
    lhs: Lhs,
    /// Whether k of rhs is contiguous, which makes it be packed as well.
    turned: bool,
    /// Parts with a right-hand side or an lhs matrix of their own, and the positions of one.
    parts: usize,
    positions: usize,
    /// Positions of a task, a multiple of a group's.
    task: usize,
    group: usize,
    n: usize,
    k: usize,
}

impl Plan {
    fn new<U: Unit>(p: &Problem) -> Self {
        let [batch, m, n, k] = p.sizes();
        let lhs = if p.lhs.stride(2) == 1 || k == 1 { Lhs::Rows } else { Lhs::Columns };
        let (turned, shared) = match p.rhs {
            Rhs::Panels => (false, true),
            Rhs::Strided(r) => (r.stride(2) != 1 && n > 1, r.stride(0) == 0 || batch == 1),
        };
        let (parts, positions) = if shared && lhs == Lhs::Rows { (1, batch * m) } else { (batch, m) };
        let group = 2 * U::lanes();
        let fitting = SLAB_BYTES / (4 * k.max(1)) / group * group;
        Self { lhs, turned, parts, positions, task: fitting.max(group), group, n, k }
    }

    fn tasks(&self) -> usize {
        self.positions.div_ceil(self.task)
    }

    fn tiles(&self) -> usize {
        if self.n == 0 { 0 } else { self.parts * self.tasks() }
    }

    /// Positions of the largest task, whole groups.
    fn widest(&self) -> usize {
        self.task.min(self.positions.next_multiple_of(self.group))
    }

    /// Elements of lhs slabs and of rhs slabs, with the room packing writes beyond.
    fn slabs(&self) -> [usize; 2] {
        let lhs = if self.lhs == Lhs::Rows { self.widest() * self.k } else { 0 };
        let rhs = if self.turned { self.n.next_multiple_of(self.group) * self.k } else { 0 };
        [lhs, rhs]
    }

    /// Rows one call packs at most.
    fn table(&self) -> usize {
        self.widest().max(if self.turned { self.n.next_multiple_of(self.group) } else { 0 })
    }

    fn scratch(&self, stages: &Stages) -> usize {
        let sums = stages.sums(self.widest(), self.n);
        let tables = bytes::<*const f32>(self.table()) + bytes::<*mut f32>(self.widest());
        let [lhs, rhs] = self.slabs();
        tables + [lhs, rhs, self.n, sums].iter().map(|&n| bytes::<f32>(n)).sum::<usize>()
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let [_, m, n, k] = p.sizes();
    if p.dst.stride(2) != 1 && n > 1 {
        return Err("columns of dst are not contiguous");
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
fn ns<U: Unit>(p: &Problem, rates: &Rates) -> f64 {
    let plan = Plan::new::<U>(p);
    let whole =
        plan.parts * plan.positions.next_multiple_of(plan.group) * plan.n.next_multiple_of(plan.group);
    let copied: usize = plan.slabs().iter().sum();
    let product = 2.0 * whole as f64 * plan.k as f64 / super::GFLOPS;
    let weights = 4.0 * (plan.k * plan.n) as f64 / rates.dram_gbs;
    product.max(weights) + (plan.parts * copied) as f64 / super::COPY_GELEMS + super::ENTRY_NS
}

fn scratch<U: Unit>(p: &Problem) -> usize {
    Plan::new::<U>(p).scratch(&Stages::of(&p.epilogue, p.alpha))
}

/// The row for a unit; cores finish what it leaves with vectors of `V`.
pub(crate) const fn row<U: Unit, V: Simd>(name: &'static str, isa: Isa) -> Kernel<Gemm> {
    Kernel {
        name,
        isa,
        supports,
        ns: ns::<U>,
        phases: |_| 1,
        tiles: |p, _| Plan::new::<U>(p).tiles(),
        workspace: |p| Workspace { shared: 0, per_worker: scratch::<U>(p) },
        run: run::<U, V>,
    }
}

unsafe fn run<U: Unit, V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let plan = Plan::new::<U>(p);
    for tile in tiles {
        let (part, task) = (tile / plan.tasks(), tile % plan.tasks());
        let start = task * plan.task;
        let positions = start..(start + plan.task).min(plan.positions);
        // SAFETY: `Gemm::check` passed and the scratch has the size `Plan::scratch` says.
        unsafe { task_tile::<U, V>(p, args, &plan, part, positions, Parts::new(scratch)) }
    }
}

/// Offset of a position's first element in a `[batch, rows, columns]` matrix.
fn offset(strides: &[usize], part: usize, position: usize, m: usize) -> usize {
    (part + position / m) * strides[0] + position % m * strides[1]
}

unsafe fn task_tile<U: Unit, V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    plan: &Plan,
    part: usize,
    positions: Range<usize>,
    mut parts: Parts,
) {
    let [_, m, n, k] = p.sizes();
    let groups = positions.len().div_ceil(plan.group);
    let rows = groups * plan.group;
    let stages = Stages::of(&p.epilogue, p.alpha);
    let from: *mut *const f32 = parts.take(plan.table());
    let [lhs_slab, rhs_slab] = plan.slabs().map(|slab| parts.take::<f32>(slab));
    let output = Output {
        epilogue: &p.epilogue,
        args: args.epilogue,
        alpha: p.alpha,
        rows: parts.take(rows),
        sums: parts.take(stages.sums(rows, n)),
        spare: parts.take(n),
        stages: &stages,
    };
    let (l, d) = (p.lhs.strides(), p.dst.strides());
    let lhs = |position| args.lhs.ptr().wrapping_add(offset(l, part, position, m));
    let places = stretches(positions.clone(), m).map(|Range { start, end }| {
        let (residual, next_residual, step) = p
            .epilogue
            .residual
            .map_or((0, 0, 0), |r| (offset(r.strides(), part, start, m), r.stride(1), r.stride(2)));
        let dst = args.dst.ptr().wrapping_add(offset(d, part, start, m));
        Place { count: end - start, dst, next: d[1], residual, next_residual, step }
    });
    // SAFETY: positions lie in lhs and dst, tables and slabs in the scratch.
    unsafe {
        let columns = rhs::<U>(p, args, plan, part, from, rhs_slab);
        let run = Run { offset: 0, count: k };
        let mut product = Product {
            lhs: lhs(positions.start),
            lhs_step: p.lhs.stride(2),
            lhs_group: plan.group,
            groups,
            runs: &raw const run,
            run_count: 1,
            positions: positions.len(),
            ..Product::NONE
        };
        if plan.lhs == Lhs::Rows {
            let mut to = from;
            for Range { start, end } in stretches(positions.clone(), m) {
                to = list(to, lhs(start), end - start, |row| row.wrapping_add(l[1]));
            }
            list(to, *from, rows - positions.len(), |row| row);
            let group = plan.group * k;
            U::pack(&Pack { rows: from, groups, k, dst: lhs_slab, step: plan.group, group });
            product =
                Product { lhs: lhs_slab, lhs_step: plan.group, lhs_group: group, positions: rows, ..product };
        }
        output.store::<U, V>(&product, &columns, places);
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

/// Where a part's rhs is read; packs it where its k are contiguous.
unsafe fn rhs<U: Unit>(
    p: &Problem,
    args: &Args<'_>,
    plan: &Plan,
    part: usize,
    rows: *mut *const f32,
    slab: *mut f32,
) -> Columns {
    let (rhs, n, k) = (args.rhs.ptr(), plan.n, plan.k);
    match p.rhs {
        Rhs::Panels => Columns::panels(rhs, plan.n, plan.k),
        Rhs::Strided(r) => {
            let rhs = rhs.wrapping_add(part * r.stride(0));
            if plan.turned {
                // SAFETY: the caller's: the table and the slab have room for whole groups.
                unsafe { turn::<U>(plan, rhs, r.stride(2), rows, slab) }
                let step = plan.group;
                Columns { rhs: slab, n, k, step, panel: step * k, width: step, packed: false }
            } else {
                Columns { rhs, n, k, step: r.stride(1), panel: 0, width: n, packed: false }
            }
        }
    }
}

/// Columns of rhs, whose k are contiguous, to slabs.
unsafe fn turn<U: Unit>(plan: &Plan, rhs: *const f32, column: usize, rows: *mut *const f32, slab: *mut f32) {
    let groups = plan.n.div_ceil(plan.group);
    // SAFETY: the caller's: the table and the slab have room for whole groups.
    unsafe {
        let to = list(rows, rhs, plan.n, |row| row.wrapping_add(column));
        list(to, rhs, groups * plan.group - plan.n, |row| row);
        let group = plan.group * plan.k;
        U::pack(&Pack { rows, groups, k: plan.k, dst: slab, step: plan.group, group });
    }
}
