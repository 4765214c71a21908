//! Direct convolution on the unit, over planar slabs: every tap and every output channel reads the same one.
//!
//! A task is a band of output rows. Where it is the only one, a first phase makes its slab, by channels, and a second one
//! multiplies it, by panels of columns.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::drive::{Columns, Output, Place, cut, split, tasks};
use super::finish::Stages;
use super::slab::{Slab, Tables, Window};
use super::tables::{Parts, bytes};
use super::{Product, Run, Segment, Unit};
use crate::conv::{Args, Conv, Problem};
use crate::element::{Element, Packed};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::simd::Simd;

/// The cut of a problem.
#[derive(Clone, Copy, Debug)]
struct Plan {
    slab: Slab,
    /// Whether one pixel is all a position reads: slabs are groups then, as those of a matrix.
    pixel: bool,
    /// Images times bands.
    bands: usize,
    /// Parts of a band.
    split: usize,
}

pub(super) fn window(p: &Problem) -> Window {
    Window {
        out: p.out_size(),
        input: p.in_size(),
        kernel: p.kernel,
        stride: p.stride,
        dilation: p.dilation,
        padding: [p.padding[0], p.padding[1]],
    }
}

impl Plan {
    fn new<U: Unit, E: Element>(p: &Problem) -> Self {
        let slab = Slab::new(window(p), words::<E>(p), 2 * U::lanes());
        let pixel = p.kernel == [1, 1] && p.src.len() == 1 && p.src[0].stride(1) == 1;
        let bands = if p.dst.elements() == 0 { 0 } else { p.batch() * slab.bands() };
        let plan = Self { slab, pixel, bands, split: 1 };
        Self { split: split(bands, plan.flops(p), panels(p)), ..plan }
    }

    fn phases(&self) -> usize {
        if self.split > 1 { 2 } else { 1 }
    }

    /// Multiply-adds of whole groups, 2 each.
    fn flops(&self, p: &Problem) -> f64 {
        let (parts, columns) = p.column_groups();
        let whole = self.bands * self.slab.widest() * parts * columns.next_multiple_of(self.slab.group);
        2.0 * whole as f64 * p.k() as f64
    }

    /// Words from one k to the next and from one group to the next, of `k` words.
    fn steps(&self, k: usize) -> (usize, usize) {
        let group = self.slab.group;
        if self.pixel { (group, group * k) } else { (self.slab.step, group) }
    }

    fn runs(p: &Problem) -> usize {
        p.kernel[0] * p.kernel[1] * p.src.len()
    }

    fn scratch<E: Element>(&self, p: &Problem, stages: &Stages) -> usize {
        let (rows, columns) = (self.slab.widest(), self.columns(p));
        bytes::<*const E>(self.slab.step)
            + bytes::<*mut E>(rows.max(columns))
            + bytes::<*const E>(stages.residuals(&p.epilogue, rows))
            + bytes::<Run>(Self::runs(p))
            + bytes::<Segment>(if planar(p) { self.slab.segments() } else { 0 })
            + if self.split > 1 { 0 } else { bytes::<u32>(self.slab.words(words::<E>(p))) }
            + bytes::<E>(p.in_channels())
            + bytes::<E>(columns)
            + bytes::<f32>(stages.sums(rows, columns))
    }

    /// Bytes of a band's slab that several tiles make and read.
    fn shared<E: Element>(&self, p: &Problem) -> usize {
        if self.split > 1 { bytes::<u32>(self.slab.words(words::<E>(p))) } else { 0 }
    }

    /// Columns of a column group, padded to panels and groups.
    fn columns(&self, p: &Problem) -> usize {
        panels::padded(p.column_groups().1).next_multiple_of(self.slab.group)
    }
}

/// Panels of all column groups.
fn panels(p: &Problem) -> usize {
    let (parts, columns) = p.column_groups();
    parts * panels::count(columns)
}

/// Words of a pixel, segment after segment.
pub(super) fn words<E: Packed>(p: &Problem) -> usize {
    p.src.iter().map(|s| s.size(1).div_ceil(E::PER_WORD)).sum()
}

/// Whether pixels of the destination are contiguous, and channels are not.
pub(super) fn planar(p: &Problem) -> bool {
    p.dst.stride(1) != 1 && p.dst.size(1) > 1
}

fn stages<E: Element>(p: &Problem) -> Stages {
    let contiguous = |s: Strided| s.stride(1) == 1 || s.size(1) == 1;
    let adds = E::PER_WORD == 1 && !planar(p) && p.epilogue.residual.is_some_and(contiguous);
    Stages::of(&p.epilogue, 1.0, adds)
}

fn supports<E: Element>(p: &Problem) -> Result<(), Refusal> {
    let inner = |s: &Strided, axis: usize| s.stride(axis) == 1 || s.size(axis) == 1;
    let refusals = [
        (p.groups > 1 && p.in_channels() < 4 * p.groups, "groups of fewer than 4 channels"),
        (
            p.groups > 1 && !(p.in_channels() / p.groups).is_multiple_of(E::PER_WORD),
            "groups that share a word",
        ),
        (p.in_channels() == 0 || p.src.iter().any(|s| s.size(1) == 0), "no channels"),
        (!window(p).fits(), "too many planes"),
        (
            !p.src.iter().all(|s| inner(s, 1) || inner(s, 3)),
            "neither channels nor columns of src are contiguous",
        ),
        (planar(p) && !inner(&p.dst, 3), "neither channels nor columns of dst are contiguous"),
        (planar(p) && p.shuffle != 1, "pixel shuffle to planes"),
        (planar(p) && !stages::<E>(p).all(), "an epilogue for cores, to planes"),
    ];
    refusals.into_iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, why)| Err(why))
}

/// Multiply-adds of whole groups at the unit's rate, the copies to slabs, and entries.
fn ns<U: Unit, E: Element>(p: &Problem, rates: &Rates) -> f64 {
    let plan = Plan::new::<U, E>(p);
    let bands = plan.bands as f64;
    let copied = bands * (plan.slab.step * words::<E>(p)) as f64;
    let weights = 4.0 * (p.words(E::PER_WORD) * p.padded_columns()) as f64;
    let unit = &rates.unit;
    (plan.flops(p) / unit.gflops(size_of::<E>())).max(unit.read_ns(weights))
        + copied / unit.copy_gelems
        + bands * unit.entry_ns
        + rates.epilogue_ns(&p.epilogue, p.dst.elements())
}

/// The row for a unit; cores finish what it leaves with vectors of `V`.
pub(crate) const fn row<U: Unit, V: Simd, E: Element>(name: &'static str, isa: Isa) -> Kernel<Conv<E>> {
    Kernel {
        name,
        isa,
        supports: supports::<E>,
        ns: ns::<U, E>,
        phases: |p| Plan::new::<U, E>(p).phases(),
        tiles: |p, _| {
            let plan = Plan::new::<U, E>(p);
            plan.bands * plan.split
        },
        workspace: workspace::<U, E>,
        run: run::<U, V, E>,
    }
}

fn workspace<U: Unit, E: Element>(p: &Problem) -> Workspace {
    let plan = Plan::new::<U, E>(p);
    let per_worker = if plan.bands == 0 { 0 } else { plan.scratch::<E>(p, &stages::<E>(p)) };
    Workspace { shared: plan.bands * plan.shared::<E>(p), per_worker }
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
    for (band, part) in tasks(tiles, plan.split) {
        let (batch, rows) = (band / plan.slab.bands(), plan.slab.rows(band % plan.slab.bands()));
        let mut parts = Parts::new(scratch);
        let slab: *mut E = if plan.split > 1 {
            shared.ptr().wrapping_add(band * plan.shared::<E>(p)).cast()
        } else {
            parts.take::<u32>(plan.slab.words(words::<E>(p))).cast()
        };
        let band = Band { p, args, plan: &plan, batch, rows, slab };
        // SAFETY: `Conv::check` passed, scratch and shared memory have the sizes `workspace` says.
        unsafe {
            if phase == 0 {
                let group = plan.slab.group;
                band.fill::<U>(cut(words::<E>(p), plan.split, group, &part), &mut parts);
            }
            if phase + 1 == plan.phases() {
                band.multiply::<U, V>(cut(panels(p), plan.split, 1, &part), &mut parts);
            }
        }
    }
}

/// Some output rows of one image.
struct Band<'a, E> {
    p: &'a Problem,
    args: &'a Args<'a, E>,
    plan: &'a Plan,
    batch: usize,
    rows: Range<usize>,
    slab: *mut E,
}

impl<E: Element> Band<'_, E> {
    /// Sums and stores some panels of columns.
    unsafe fn multiply<U: Unit, V: Simd>(&self, panels: Range<usize>, parts: &mut Parts) {
        let (p, plan) = (self.p, self.plan);
        if panels.is_empty() {
            return;
        }
        let stages = stages::<E>(p);
        let (rows, columns) = (plan.slab.widest(), plan.columns(p));
        let runs: *mut Run = parts.take(Plan::runs(p));
        let segments: *mut Segment = parts.take(if planar(p) { plan.slab.segments() } else { 0 });
        let output = Output {
            epilogue: &p.epilogue,
            args: self.args.epilogue,
            alpha: 1.0,
            rows: parts.take(rows.max(columns)),
            residuals: parts.take(stages.residuals(&p.epilogue, rows)),
            sums: parts.take(stages.sums(rows, columns)),
            spare: parts.take(columns),
            stages: &stages,
        };
        // SAFETY: the caller's; every part has the size its use asks for.
        unsafe {
            // Those of the first group.
            plan.slab.list_runs(p.src.iter().map(|s| (s.size(1) / p.groups).div_ceil(E::PER_WORD)), runs);
            if planar(p) {
                self.to_planes::<U>(panels, runs, segments, &output);
            } else {
                self.to_pixels::<U, V>(panels, runs, output);
            }
        }
    }

    /// Copies some words of channels of the band's inputs, zeros around them, to the slab.
    unsafe fn fill<U: Unit>(&self, words_of: Range<usize>, parts: &mut Parts) {
        let (p, plan) = (self.p, self.plan);
        let zeros: *mut E = parts.take(p.in_channels());
        let tables = Tables { pixels: parts.take(plan.slab.step), listed: false, outside: zeros };
        let (step, group) = plan.steps(words::<E>(p));
        let mut first = 0;
        // SAFETY: the scratch has a pixel's zeros.
        unsafe { zeros.write_bytes(0, p.in_channels()) }
        for (shape, span) in p.src.iter().zip(&self.args.src) {
            let end = first + shape.size(1).div_ceil(E::PER_WORD);
            let here = words_of.start.max(first)..words_of.end.min(end);
            if !here.is_empty() {
                let image = span.ptr().wrapping_add(self.batch * shape.stride(0));
                let to = (self.slab.wrapping_add(E::PER_WORD * here.start * step), step, group);
                let channel = |word: usize| (E::PER_WORD * (word - first)).min(shape.size(1));
                let source = (image, shape, channel(here.start)..channel(here.end));
                // SAFETY: the caller's.
                unsafe { plan.slab.fill::<U, E>(self.rows.start, source, to, &tables) }
            }
            first = end;
        }
    }

    /// The slab as lhs: columns of a position are contiguous in the destination.
    unsafe fn to_pixels<U: Unit, V: Simd>(
        &self,
        panels: Range<usize>,
        runs: *const Run,
        output: Output<'_, E>,
    ) {
        let (p, plan) = (self.p, self.plan);
        let count = plan.slab.positions(self.rows.len());
        let (_, n) = p.column_groups();
        let (k, padded) = (p.words(E::PER_WORD), panels::padded(n));
        let groups = count.div_ceil(plan.slab.group);
        let (lhs_step, lhs_group) = plan.steps(words::<E>(p));
        let product = Product {
            lhs: self.slab,
            lhs_step,
            lhs_group,
            groups,
            runs,
            run_count: Plan::runs(p),
            positions: groups * plan.slab.group,
            ..Product::NONE
        };
        let [_, ow] = p.out_size();
        for (part, here) in tasks(panels, panels::count(n)) {
            let here = here.start * panels::PANEL..n.min(here.end * panels::PANEL);
            let weight = self.args.weight.ptr().wrapping_add(E::PER_WORD * part * k * padded);
            let columns = Columns::panels(weight, n, k);
            let output = Output { args: output.args.skip(part * padded), ..output };
            let (r, at) = (p.shuffle, self.pixel(&p.dst, part));
            let dst = self.args.dst.ptr().wrapping_add(at);
            let (residual, down, next_residual, step) = p.epilogue.residual.map_or((0, 0, 0, 0), |s| {
                (self.pixel(&s, part), r * s.stride(2), r * s.stride(3), s.stride(1))
            });
            let place = |y: usize| Place {
                count: ow,
                dst: dst.wrapping_add(y * r * p.dst.stride(2)),
                next: r * p.dst.stride(3),
                residual: residual + y * down,
                next_residual,
                step,
            };
            // The halo's positions lie between the rows; without one, rows that follow each other are one.
            let halo = Place { count: plan.slab.halo(), dst: std::ptr::null_mut(), ..place(self.rows.start) };
            let dense = |s: &Strided| p.shuffle == 1 && s.stride(2) == ow * s.stride(3);
            let one = plan.slab.halo() == 0 && dense(&p.dst) && p.epilogue.residual.is_none_or(|s| dense(&s));
            let (rows, last) =
                if one { (0, self.rows.start) } else { (self.rows.len() - 1, self.rows.end - 1) };
            let last = Place { count: if one { count } else { ow }, ..place(last) };
            let places = (0..rows).flat_map(|y| [place(self.rows.start + y), halo]).chain([last]);
            // SAFETY: the caller's; wanted positions lie in the destination.
            unsafe {
                let lhs = self.slab.add(E::PER_WORD * self.group(part) * lhs_step);
                output.store::<U, V>(&Product { lhs, ..product }, &columns, here, places)
            }
        }
    }

    /// First word of a part's input channels.
    fn group(&self, part: usize) -> usize {
        if self.p.groups > 1 { part * (words::<E>(self.p) / self.p.groups) } else { 0 }
    }

    /// Offset of a part's first channel of the image's first pixel, where a shuffle puts it.
    fn pixel(&self, s: &Strided, part: usize) -> usize {
        let (r, (_, n)) = (self.p.shuffle, self.p.column_groups());
        let inside = if self.p.groups > 1 {
            part * n * s.stride(1)
        } else {
            part / r * s.stride(2) + part % r * s.stride(3)
        };
        self.batch * s.stride(0) + inside
    }

    /// The slab as rhs: pixels of a channel are contiguous in the destination.
    unsafe fn to_planes<U: Unit>(
        &self,
        panels: Range<usize>,
        runs: *const Run,
        segments: *mut Segment,
        output: &Output<'_, E>,
    ) {
        let (p, plan) = (self.p, self.plan);
        let (count, (_, n)) = (plan.slab.positions(self.rows.len()), p.column_groups());
        let (k, blocks) = (p.words(E::PER_WORD), count.div_ceil(plan.slab.group));
        // A slab of one pixel's positions is in groups already; in another a block follows the other.
        let (rhs_step, rhs_group) = plan.steps(words::<E>(p));
        let (rhs_panel, rhs_panels, rhs_width) =
            if plan.pixel { (rhs_group, blocks, plan.slab.group) } else { (0, 1, blocks * plan.slab.group) };
        // SAFETY: the caller's; segments and rows lie in the destination.
        unsafe {
            plan.slab.list_segments(count, |y| (self.rows.start + y) * p.dst.stride(2), segments);
            let image = self.args.dst.ptr().add(self.batch * p.dst.stride(0));
            for (part, panel) in panels.map(|panel| (panel / panels::count(n), panel % panels::count(n))) {
                let (first, width) = (panel * panels::PANEL, panels::width(n, panel));
                let image = image.add(part * n * p.dst.stride(1));
                let bias = output.args.bias.ptr().wrapping_add(part * panels::padded(n) + first);
                let groups = width.div_ceil(plan.slab.group);
                for i in 0..groups * plan.slab.group {
                    let row = image.wrapping_add((first + i) * p.dst.stride(1));
                    let wanted = i < width && first + i < n;
                    output.rows.add(i).write(if wanted { row } else { std::ptr::null_mut() });
                }
                U::product(&Product {
                    lhs: self.args.weight.ptr().add(E::PER_WORD * (part * panels::padded(n) + first) * k),
                    lhs_step: width,
                    lhs_group: plan.slab.group,
                    groups,
                    runs,
                    run_count: Plan::runs(p),
                    rhs: self.slab.add(E::PER_WORD * self.group(part) * rhs_step),
                    rhs_step,
                    rhs_panel,
                    panels: rhs_panels,
                    width: rhs_width,
                    rows: output.rows,
                    residuals: std::ptr::null(),
                    columns: blocks * plan.slab.group,
                    positions: width,
                    bias: if p.epilogue.bias { bias } else { std::ptr::null() },
                    clamp: output.stages.clamp(),
                    first: 0,
                    segments,
                });
            }
        }
    }
}
