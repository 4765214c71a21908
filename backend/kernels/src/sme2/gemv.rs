//! Products of few rows on the unit: every weight is read once, times an element of each row, into vector groups of ZA.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::drive;
use super::finish::{Row, Stages, finish};
use super::tables::{Parts, bytes};
use super::{BLOCKS, Thin, Unit};
use crate::gemm::{Args, Gemm, Problem, Rhs};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::simd::Simd;

/// Most rows.
const ROWS: usize = 4;
/// Columns of a task: several units or cores share the weights of one product.
const TASK: usize = 8 * panels::PANEL;
/// Most columns of an entry: a worker's tasks that follow each other.
const ENTRY: usize = 8 * TASK;

fn supports(p: &Problem) -> Result<(), Refusal> {
    let [_, m, n, k] = p.sizes();
    let refusals = [
        (m > ROWS, "more than 4 rows"),
        (k == 0, "nothing to sum"),
        (p.lhs.stride(2) != 1 && k > 1, "k of lhs is not contiguous"),
        (p.dst.stride(2) != 1 && n > 1, "columns of dst are not contiguous"),
        (matches!(p.rhs, Rhs::Strided(r) if r.stride(2) != 1 && n > 1), "columns of rhs are not contiguous"),
    ];
    refusals.into_iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, why)| Err(why))
}

fn stages(p: &Problem) -> Stages {
    Stages::of(&p.epilogue, p.alpha, false)
}

fn tasks(p: &Problem) -> usize {
    p.sizes()[2].div_ceil(TASK)
}

/// Weights out of L2 or memory, multiply-adds at the rate of multi-vector instructions, and entries.
fn ns<U: Unit>(p: &Problem, rates: &Rates) -> f64 {
    let [batch, m, n, k] = p.sizes();
    let calls = (batch * n.div_ceil(ENTRY) * m.div_ceil(rows::<U>())) as f64;
    let weights = (batch * n.next_multiple_of(2 * U::lanes()) * k) as f64;
    let read = rates.unit.read_ns(4.0 * weights * m.div_ceil(rows::<U>()) as f64);
    read.max(2.0 * weights * m as f64 / rates.unit.vector_gflops)
        + calls * rates.unit.entry_ns
        + rates.epilogue_ns(&p.epilogue, p.dst.elements())
}

/// Rows of an entry.
fn rows<U: Unit>() -> usize {
    ROWS.min(U::lanes() / 4)
}

/// Pointers of an entry's blocks, filled up to whole passes.
fn table<U: Unit>() -> usize {
    (ENTRY / panels::NARROW.min(2 * U::lanes())).next_multiple_of(BLOCKS)
}

fn scratch<U: Unit>(p: &Problem) -> usize {
    let sums = if stages(p).all() { 0 } else { p.sizes()[1] * ENTRY };
    bytes::<*const f32>(table::<U>()) + bytes::<f32>(sums)
}

/// The row for a unit; cores finish what it leaves with vectors of `V`.
pub(crate) const fn row<U: Unit, V: Simd>(name: &'static str, isa: Isa) -> Kernel<Gemm> {
    Kernel {
        name,
        isa,
        supports,
        ns: ns::<U>,
        phases: |_| 1,
        tiles: |p, _| if p.sizes()[1] == 0 { 0 } else { p.sizes()[0] * tasks(p) },
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
    let ([_, m, n, k], stages) = (p.sizes(), stages(p));
    for (part, here) in drive::tasks(tiles, tasks(p).max(1)) {
        let end = n.min(here.end * TASK);
        for first in (here.start * TASK..end).step_by(ENTRY) {
            let columns = first..end.min(first + ENTRY);
            let entry = Entry { p, args, sizes: [m, n, k], stages: &stages, part, columns };
            // SAFETY: `Gemm::check` passed and the scratch has the size `scratch` says.
            unsafe { entry.run::<U, V>(Parts::new(scratch)) }
        }
    }
}

/// Some columns of one matrix.
struct Entry<'a> {
    p: &'a Problem,
    args: &'a Args<'a>,
    /// m, n, k
    sizes: [usize; 3],
    stages: &'a Stages,
    part: usize,
    columns: Range<usize>,
}

impl Entry<'_> {
    unsafe fn run<U: Unit, V: Simd>(&self, mut parts: Parts) {
        let (p, first, end) = (self.p, self.columns.start, self.columns.end);
        let ([m, n, k], stages) = (self.sizes, self.stages);
        let bias =
            if stages.all() && p.epilogue.bias { self.args.epilogue.bias.ptr() } else { std::ptr::null() };
        let dst = self.args.dst.ptr().wrapping_add(self.part * p.dst.stride(0));
        let blocks: *mut *const f32 = parts.take(table::<U>());
        // Column 0 is where it would be if the sums had all columns.
        let sums = if stages.all() { dst } else { parts.take::<f32>(m * ENTRY).wrapping_sub(first) };
        let product = Thin {
            lhs: self.args.lhs.ptr().wrapping_add(self.part * p.lhs.stride(0)),
            lhs_row: p.lhs.stride(1),
            rows: m,
            k,
            dst: sums,
            dst_row: if stages.all() { p.dst.stride(1) } else { ENTRY },
            bias,
            clamp: stages.clamp(),
            ..Thin::NONE
        };
        let (rhs, vectors) = (self.args.rhs.ptr(), 2 * U::lanes());
        // SAFETY: the caller's; blocks lie in rhs, sums in the scratch.
        unsafe {
            match p.rhs {
                Rhs::Panels => {
                    let narrow = panels::width(n, (end - 1) / panels::PANEL) < panels::PANEL;
                    let wide = if narrow { (end - 1) / panels::PANEL * panels::PANEL } else { end };
                    for (columns, step) in [(first..wide, panels::PANEL), (wide..end, panels::NARROW)] {
                        let panel = rhs.wrapping_add(columns.start * k);
                        let width = vectors.min(step);
                        let layout = Blocks { rhs: panel, step, width, panel: step / width, next: step * k };
                        multiply::<U>(&product, blocks, columns, &layout);
                    }
                }
                Rhs::Strided(r) => {
                    let (rhs, step) = (rhs.wrapping_add(self.part * r.stride(0)), r.stride(1));
                    let whole = end - (end - first) % vectors;
                    for columns in [first..whole, whole..end] {
                        let (start, width) = (columns.start, columns.len().min(vectors));
                        let rhs = rhs.wrapping_add(start);
                        let layout = Blocks { rhs, step, width, panel: 1, next: width };
                        multiply::<U>(&product, blocks, columns, &layout);
                    }
                }
            }
            if !stages.all() {
                self.finish::<V>(sums, dst);
            }
        }
    }

    /// What the unit leaves of the epilogue.
    unsafe fn finish<V: Simd>(&self, sums: *const f32, dst: *mut f32) {
        let p = self.p;
        for i in 0..self.sizes[0] {
            let (residual, step) = p
                .epilogue
                .residual
                .map_or((0, 0), |r| (self.part * r.stride(0) + i * r.stride(1), r.stride(2)));
            let (sums, dst) = (sums.wrapping_add(i * ENTRY), dst.wrapping_add(i * p.dst.stride(1)));
            let row = Row { sums, dst, residual, step };
            // SAFETY: the caller's.
            unsafe { finish::<V, f32>(&p.epilogue, &self.args.epilogue, p.alpha, &row, self.columns.clone()) }
        }
    }
}

/// Where columns lie: blocks of `width`, `panel` of them side by side, `next` elements from the first of these to those
/// that follow; `step` from a k to the next.
struct Blocks {
    rhs: *const f32,
    step: usize,
    width: usize,
    panel: usize,
    next: usize,
}

impl Blocks {
    /// Writes where each of `count` blocks begins, the last one again until there are `whole`.
    ///
    /// # Safety
    /// The table has room for `whole`.
    unsafe fn list(&self, count: usize, whole: usize, table: *mut *const f32) {
        let (mut panel, mut inside) = (self.rhs, 0);
        for i in 0..whole {
            // SAFETY: the caller's.
            unsafe { table.add(i).write(panel.wrapping_add(inside * self.width)) }
            if i + 1 < count {
                inside += 1;
                if inside == self.panel {
                    (panel, inside) = (panel.wrapping_add(self.next), 0);
                }
            }
        }
    }
}

/// Some columns, `product.dst` and its bias being column 0's.
///
/// # Safety
/// As [`Unit::gemv`]; the table has room.
unsafe fn multiply<U: Unit>(product: &Thin, table: *mut *const f32, columns: Range<usize>, layout: &Blocks) {
    if columns.is_empty() {
        return;
    }
    let count = columns.len().div_ceil(layout.width);
    // SAFETY: the caller's.
    unsafe {
        layout.list(count, count.next_multiple_of(BLOCKS), table);
        for row in (0..product.rows).step_by(rows::<U>()) {
            U::gemv(&Thin {
                lhs: product.lhs.wrapping_add(row * product.lhs_row),
                rows: (product.rows - row).min(rows::<U>()),
                blocks: table,
                count,
                rhs_step: layout.step,
                width: layout.width,
                dst: product.dst.wrapping_add(row * product.dst_row + columns.start),
                columns: columns.len(),
                bias: if product.bias.is_null() { product.bias } else { product.bias.add(columns.start) },
                ..*product
            });
        }
    }
}
