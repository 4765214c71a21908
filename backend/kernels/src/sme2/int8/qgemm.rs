//! Quantised matrix products on the unit: tasks of rows become slabs of i8 and pass over all panels.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{ByteUnit, ProductGroups, ProductI8, Quantise, columns};
use crate::kernel::{Kernel, Rates, Workspace};
use crate::panels;
use crate::qgemm::slabs::{PARAMETERS, Slabs, parameters, slab_bytes};
use crate::qgemm::{Affine, Args, Parameters, Problem, Qgemm, Scheme, Weights, bounds};
use crate::sme2::tables::{Parts, bytes};

/// Bytes of lhs a task holds: they stay in L2 while panel after panel passes.
const SLAB_BYTES: usize = 512 << 10;

/// The cut of a problem.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Positions of a task, a multiple of a group's.
    task: usize,
    group: usize,
    /// Columns with their padding.
    columns: usize,
    /// Bytes of a row between quantising and packing: whole vectors.
    step: usize,
    /// Bytes of a group's slab.
    slab: usize,
    fixed: bool,
}

impl Plan {
    fn new<U: ByteUnit>(p: &Problem) -> Self {
        let [m, n, k] = p.sizes();
        let group = 2 * U::lanes();
        let fitting = (SLAB_BYTES / k.max(1)).min(m.next_multiple_of(group)) / group * group;
        Self {
            task: fitting.max(group),
            group,
            columns: panels::padded(n),
            step: k.next_multiple_of(2 * group),
            slab: slab_bytes(k, group),
            fixed: p.scheme != Scheme::Dynamic,
        }
    }

    /// Of a task of so many positions.
    fn of_positions<U: ByteUnit>(p: &Problem, positions: usize) -> Self {
        let plan = Self::new::<U>(p);
        Self { task: positions.next_multiple_of(plan.group), ..plan }
    }

    fn tasks(&self, p: &Problem) -> usize {
        let [m, n, _] = p.sizes();
        if n == 0 { 0 } else { m.div_ceil(self.task) }
    }

    fn scratch(&self) -> usize {
        let groups = self.task / self.group;
        bytes::<*const f32>(self.task)
            + bytes::<i8>(groups * self.slab)
            + bytes::<i8>(self.group * self.step)
            + bytes::<f32>(groups * self.group * PARAMETERS)
            + self.multiply_scratch()
    }

    fn multiply_scratch(&self) -> usize {
        let columns = bytes::<f32>(self.columns);
        bytes::<*mut f32>(self.task) + if self.fixed { 3 * columns } else { columns }
    }
}

/// What pipelines need of a unit.
pub(crate) const fn slabs<U: ByteUnit>(name: &'static str, isa: Isa) -> Slabs {
    Slabs {
        name,
        isa,
        group: || 2 * U::lanes(),
        scratch: |p, positions| Plan::of_positions::<U>(p, positions).multiply_scratch(),
        ns: product_ns::<U>,
        multiply: of_slabs::<U>,
    }
}

unsafe fn of_slabs<U: ByteUnit>(
    p: &Problem,
    args: &Args<'_>,
    positions: Range<usize>,
    (slab, params): (*const i8, *const f32),
    scratch: SpanMut<'_, u8>,
) {
    let plan = Plan::of_positions::<U>(p, positions.len());
    // SAFETY: the caller's.
    unsafe { rows::<U>(p, args, &plan, positions, (slab, params), &mut Parts::new(scratch)) }
}

/// Multiply-adds of whole groups and blocks at the unit's rate, without quantising.
fn product_ns<U: ByteUnit>(p: &Problem, rates: &Rates) -> f64 {
    let plan = Plan::new::<U>(p);
    let [m, n, k] = p.sizes();
    let whole = m.next_multiple_of(plan.group) * n.next_multiple_of(plan.group);
    let product = 2.0 * whole as f64 * k as f64 / rates.unit.i8_gops;
    let weights = rates.unit.read_ns((4 * p.words() * plan.columns) as f64);
    product.max(weights) + rates.unit.entry_ns
}

/// And quantising.
fn ns<U: ByteUnit>(p: &Problem, rates: &Rates) -> f64 {
    let [m, _, k] = p.sizes();
    product_ns::<U>(p, rates) + (m * k) as f64 / rates.vector_gelems + rates.unit.entry_ns
}

/// The row for a unit.
pub(crate) const fn row<U: ByteUnit>(name: &'static str, isa: Isa) -> Kernel<Qgemm> {
    Kernel {
        name,
        isa,
        supports: Problem::in_rows,
        ns: ns::<U>,
        phases: |_| 1,
        tiles: |p, _| Plan::new::<U>(p).tasks(p),
        workspace: |p| Workspace { shared: 0, per_worker: Plan::new::<U>(p).scratch() },
        run: run::<U>,
    }
}

unsafe fn run<U: ByteUnit>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let plan = Plan::new::<U>(p);
    for tile in tiles {
        let start = tile * plan.task;
        let positions = start..(start + plan.task).min(p.sizes()[0]);
        // SAFETY: `Qgemm::check` passed and the scratch has the size `Plan::scratch` says.
        unsafe { task::<U>(p, args, &plan, positions, Parts::new(scratch)) }
    }
}

unsafe fn task<U: ByteUnit>(
    p: &Problem,
    args: &Args<'_>,
    plan: &Plan,
    positions: Range<usize>,
    mut parts: Parts,
) {
    let [_, _, k] = p.sizes();
    let groups = positions.len().div_ceil(plan.group);
    let from: *mut *const f32 = parts.take(plan.task);
    let slab: *mut i8 = parts.take(plan.task / plan.group * plan.slab);
    let bytes: *mut i8 = parts.take(plan.group * plan.step);
    let params: *mut f32 = parts.take(plan.task * PARAMETERS);
    // SAFETY: positions lie in lhs and dst, all else in the scratch.
    unsafe {
        for i in 0..groups * plan.group {
            let position = (positions.start + i).min(positions.end - 1);
            from.add(i).write(args.lhs.ptr().add(position * p.lhs.stride(0)));
        }
        if let Scheme::Static { lhs, .. } = p.scheme {
            given(lhs, plan.group, groups, params);
        }
        U::quantise(&Quantise {
            rows: from,
            groups,
            k,
            dst: slab,
            group: plan.slab,
            params,
            bytes,
            step: plan.step,
            fixed: usize::from(plan.fixed),
        });
        rows::<U>(p, args, plan, positions, (slab, params), &mut parts);
    }
}

/// Multiplies positions that are quantised.
unsafe fn rows<U: ByteUnit>(
    p: &Problem,
    args: &Args<'_>,
    plan: &Plan,
    positions: Range<usize>,
    (slab, params): (*const i8, *const f32),
    parts: &mut Parts,
) {
    let rows: *mut *mut f32 = parts.take(plan.task);
    let spare: *mut f32 = parts.take(plan.columns);
    let groups = positions.len().div_ceil(plan.group);
    // SAFETY: the caller's; positions lie in dst, all else in the scratch.
    unsafe {
        for i in 0..groups * plan.group {
            let wanted = args.dst.ptr().wrapping_add((positions.start + i) * p.dst.stride(0));
            rows.add(i).write(if i < positions.len() { wanted } else { spare });
        }
        let product = ProductI8 {
            lhs: slab,
            lhs_group: plan.slab,
            groups,
            words: p.words(),
            rhs: args.rhs.ptr(),
            rhs_panel: 4 * p.words() * panels::PANEL,
            panels: panels::count(p.sizes()[1]),
            width: panels::PANEL,
            nibbles: usize::from(p.weights != Weights::I8),
            rows,
            first: 0,
            columns: p.sizes()[1],
            params,
            sums: args.sums.ptr(),
            scale: args.scale.ptr(),
            bias: if p.bias { args.bias.ptr() } else { std::ptr::null() },
            clamp: &raw const p.clamp,
            dst_scale: std::ptr::null(),
        };
        multiply::<U>(p, args, plan, product, parts);
    }
}

/// The parameters of rows that all have the same.
unsafe fn given(of: Affine, group: usize, groups: usize, params: *mut f32) {
    let values = parameters(&Parameters::new(of), true);
    for i in 0..groups * PARAMETERS {
        for lane in 0..group {
            // SAFETY: the caller's: room for all arrays.
            unsafe { params.add(i * group + lane).write(values[i % PARAMETERS]) }
        }
    }
}

/// All panels; the static scheme's columns are made first.
unsafe fn multiply<U: ByteUnit>(
    p: &Problem,
    args: &Args<'_>,
    plan: &Plan,
    mut product: ProductI8,
    parts: &mut Parts,
) {
    let n = product.columns;
    let clamp;
    if let Scheme::Static { lhs, dst } = &p.scheme {
        let (scale, bias): (*mut f32, *mut f32) = (parts.take(plan.columns), parts.take(plan.columns));
        // SAFETY: the caller's; column arrays and the scratch's reach n.
        unsafe { columns([*lhs, *dst], n, [product.scale, product.bias], [scale, bias]) }
        clamp = bounds(*dst, p.clamp);
        product =
            ProductI8 { scale, bias, clamp: &raw const clamp, dst_scale: &raw const dst.scale, ..product };
    }
    let narrow = panels::width(n, product.panels - 1) < panels::PANEL;
    let full = product.panels - usize::from(narrow);
    let first = full * panels::PANEL;
    let product_of = |product: ProductI8| {
        let sums = args.scaled_sums.ptr();
        // SAFETY: the caller's.
        unsafe {
            match p.weights {
                Weights::I4Groups { size } => {
                    let (scale_step, scale_words) = (plan.columns, size / 8);
                    U::product_groups(&ProductGroups { product, scale_step, scale_words, sums });
                }
                _ => U::product_i8(&product),
            }
        }
    };
    if full > 0 {
        product_of(ProductI8 { panels: full, columns: n.min(first), ..product });
    }
    if narrow {
        // The last panel begins where its columns do.
        let rhs = args.rhs.ptr().wrapping_add(full * product.rhs_panel);
        product_of(ProductI8 { rhs, panels: 1, width: panels::NARROW, first, ..product });
    }
}
