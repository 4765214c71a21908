//! Direct convolution on the unit, over planar slabs: every tap and every output channel reads the same one.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::drive::{Columns, Output, Place};
use super::finish::Stages;
use super::slab::{Slab, Tables, Window};
use super::tables::{Parts, bytes};
use super::{Product, Run, Segment, Unit};
use crate::conv::{Args, Conv, Problem};
use crate::epilogue::EpilogueArgs;
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::simd::Simd;

/// The cut of a problem.
#[derive(Clone, Copy, Debug)]
struct Plan {
    slab: Slab,
    /// Whether one pixel is all a position reads: slabs are groups then, as those of a matrix.
    pixel: bool,
}

fn window(p: &Problem) -> Window {
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
    fn new<U: Unit>(p: &Problem) -> Self {
        let slab = Slab::new(window(p), p.in_channels(), 2 * U::lanes());
        Self { slab, pixel: p.kernel == [1, 1] && p.src.len() == 1 && p.src[0].stride(1) == 1 }
    }

    /// Elements from one k to the next and from one group to the next.
    fn steps(&self, k: usize) -> (usize, usize) {
        let group = self.slab.group;
        if self.pixel { (group, group * k) } else { (self.slab.step, group) }
    }

    fn runs(p: &Problem) -> usize {
        p.kernel[0] * p.kernel[1] * p.src.len()
    }

    /// Segments of a band: of every block one, one more for every row it begins, and its end.
    fn segments(&self, p: &Problem) -> usize {
        if planar(p) { 2 * self.slab.widest() / self.slab.group + self.slab.band + 1 } else { 0 }
    }

    fn scratch(&self, p: &Problem, stages: &Stages) -> usize {
        let (rows, columns) = (self.slab.widest(), self.columns(p));
        let channels = p.in_channels();
        let floats = [self.slab.elements(channels), channels, columns, stages.sums(rows, columns)];
        bytes::<*const f32>(self.slab.step)
            + bytes::<*mut f32>(rows.max(columns))
            + bytes::<Run>(Self::runs(p))
            + bytes::<Segment>(self.segments(p))
            + floats.iter().map(|&n| bytes::<f32>(n)).sum::<usize>()
    }

    /// Columns of a part, padded to panels and groups.
    fn columns(&self, p: &Problem) -> usize {
        panels::padded(p.column_groups().1).next_multiple_of(self.slab.group)
    }
}

/// Whether pixels of the destination are contiguous, and channels are not.
fn planar(p: &Problem) -> bool {
    p.dst.stride(1) != 1 && p.dst.size(1) > 1
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let inner = |s: &Strided, axis: usize| s.stride(axis) == 1 || s.size(axis) == 1;
    let refusals = [
        (p.groups != 1, "groups"),
        (p.in_channels() == 0 || p.src.iter().any(|s| s.size(1) == 0), "no channels"),
        (!window(p).fits(), "too many planes"),
        (
            !p.src.iter().all(|s| inner(s, 1) || inner(s, 3)),
            "neither channels nor columns of src are contiguous",
        ),
        (planar(p) && !inner(&p.dst, 3), "neither channels nor columns of dst are contiguous"),
        (planar(p) && p.shuffle != 1, "pixel shuffle to planes"),
        (planar(p) && !Stages::of(&p.epilogue, 1.0).all(), "an epilogue for cores, to planes"),
    ];
    refusals.into_iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, why)| Err(why))
}

/// Multiply-adds of whole groups at the unit's rate, the copies to slabs, and entries.
fn ns<U: Unit>(p: &Problem, rates: &Rates) -> f64 {
    let plan = Plan::new::<U>(p);
    let bands = (p.batch() * plan.slab.bands()) as f64;
    let (parts, columns) = p.column_groups();
    let whole = bands * (plan.slab.widest() * parts * columns.next_multiple_of(plan.slab.group)) as f64;
    let product = 2.0 * whole * p.k() as f64 / super::GFLOPS;
    let copied = bands * (plan.slab.step * p.in_channels()) as f64;
    let weights = 4.0 * (p.k() * p.padded_columns()) as f64;
    product.max(weights / rates.dram_gbs) + copied / super::COPY_GELEMS + bands * super::ENTRY_NS
}

/// The row for a unit; cores finish what it leaves with vectors of `V`.
pub(crate) const fn row<U: Unit, V: Simd>(name: &'static str, isa: Isa) -> Kernel<Conv> {
    Kernel {
        name,
        isa,
        supports,
        ns: ns::<U>,
        phases: |_| 1,
        tiles: |p, _| if p.dst.elements() == 0 { 0 } else { p.batch() * Plan::new::<U>(p).slab.bands() },
        workspace: |p| Workspace { shared: 0, per_worker: scratch::<U>(p) },
        run: run::<U, V>,
    }
}

fn scratch<U: Unit>(p: &Problem) -> usize {
    if p.dst.elements() == 0 { 0 } else { Plan::new::<U>(p).scratch(p, &Stages::of(&p.epilogue, 1.0)) }
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
        let (batch, band) = (tile / plan.slab.bands(), tile % plan.slab.bands());
        let rows = plan.slab.rows(band);
        // SAFETY: `Conv::check` passed and the scratch has the size `Plan::scratch` says.
        unsafe { Band { p, args, plan: &plan, batch, rows }.run::<U, V>(Parts::new(scratch)) }
    }
}

/// Some output rows of one image.
struct Band<'a> {
    p: &'a Problem,
    args: &'a Args<'a>,
    plan: &'a Plan,
    batch: usize,
    rows: Range<usize>,
}

impl Band<'_> {
    unsafe fn run<U: Unit, V: Simd>(&self, mut parts: Parts) {
        let (p, plan) = (self.p, self.plan);
        let stages = Stages::of(&p.epilogue, 1.0);
        let (rows, columns, channels) = (plan.slab.widest(), plan.columns(p), p.in_channels());
        let slab: *mut f32 = parts.take(plan.slab.elements(channels));
        let zeros: *mut f32 = parts.take(channels);
        let tables = Tables { pixels: parts.take(plan.slab.step), zeros };
        let runs: *mut Run = parts.take(Plan::runs(p));
        let segments: *mut Segment = parts.take(plan.segments(p));
        let output = Output {
            epilogue: &p.epilogue,
            args: self.args.epilogue,
            alpha: 1.0,
            rows: parts.take(rows.max(columns)),
            sums: parts.take(stages.sums(rows, columns)),
            spare: parts.take(columns),
            stages: &stages,
        };
        // SAFETY: the caller's; every part has the size its use asks for.
        unsafe {
            zeros.write_bytes(0, channels);
            self.fill::<U>(slab, &tables);
            self.runs(runs);
            if planar(p) {
                self.to_planes::<U>(slab, runs, segments, &output);
            } else {
                self.to_pixels::<U, V>(slab, runs, output);
            }
        }
    }

    /// Every tap of every segment.
    unsafe fn runs(&self, to: *mut Run) {
        let (p, plan) = (self.p, self.plan);
        let mut index = 0;
        for ky in 0..p.kernel[0] {
            for kx in 0..p.kernel[1] {
                let mut channel = 0;
                for src in &p.src {
                    let count = src.size(1);
                    let offset = channel * plan.slab.step + plan.slab.tap([ky, kx]);
                    // SAFETY: the table has room for all of them.
                    unsafe { to.add(index).write(Run { offset, count }) }
                    (channel, index) = (channel + count, index + 1);
                }
            }
        }
    }

    /// Copies the band's inputs, zeros around them, to the slab.
    unsafe fn fill<U: Unit>(&self, slab: *mut f32, tables: &Tables) {
        let plan = self.plan;
        let mut channel = 0;
        for (shape, span) in self.p.src.iter().zip(&self.args.src) {
            let source = (span.ptr().wrapping_add(self.batch * shape.stride(0)), shape, shape.size(1));
            let (step, group) = plan.steps(shape.size(1));
            let to = (slab.wrapping_add(channel * plan.slab.step), step, group);
            // SAFETY: the caller's.
            unsafe { plan.slab.fill::<U>(self.rows.start, source, to, tables) }
            channel += shape.size(1);
        }
    }

    /// The slab as lhs: columns of a position are contiguous in the destination.
    unsafe fn to_pixels<U: Unit, V: Simd>(&self, slab: *const f32, runs: *const Run, output: Output<'_>) {
        let (p, plan) = (self.p, self.plan);
        let count = plan.slab.positions(self.rows.len());
        let (parts, n) = p.column_groups();
        let (k, padded) = (p.k(), panels::padded(n));
        let groups = count.div_ceil(plan.slab.group);
        let (lhs_step, lhs_group) = plan.steps(k);
        let product = Product {
            lhs: slab,
            lhs_step,
            lhs_group,
            groups,
            runs,
            run_count: Plan::runs(p),
            positions: groups * plan.slab.group,
            ..Product::NONE
        };
        let [_, ow] = p.out_size();
        for part in 0..parts {
            let columns = Columns::panels(self.args.weight.ptr().wrapping_add(part * k * padded), n, k);
            let e = &output.args;
            let [bias, scale, shift] =
                [e.bias, e.scale, e.shift].map(|span| span.skip(part * padded).unwrap_or(span));
            let here = Output { args: EpilogueArgs { bias, scale, shift, ..*e }, ..output };
            let place = |y: usize| {
                let at = |s: &Strided| self.batch * s.stride(0) + self.pixel(s, part, y);
                let r = p.shuffle;
                let (residual, next_residual, step) =
                    p.epilogue.residual.map_or((0, 0, 0), |s| (at(&s), r * s.stride(3), s.stride(1)));
                let dst = self.args.dst.ptr().wrapping_add(at(&p.dst));
                Place { count: ow, dst, next: r * p.dst.stride(3), residual, next_residual, step }
            };
            // The halo's positions lie between the rows.
            let halo = Place { count: plan.slab.halo(), dst: std::ptr::null_mut(), ..place(self.rows.start) };
            let last = self.rows.end - 1;
            let places = (self.rows.start..last).flat_map(|y| [place(y), halo]).chain([place(last)]);
            // SAFETY: the caller's; wanted positions lie in the destination.
            unsafe { here.store::<U, V>(&product, &columns, places) }
        }
    }

    /// Offset of the first pixel of an output row, where a shuffle puts it.
    fn pixel(&self, s: &Strided, part: usize, y: usize) -> usize {
        let r = self.p.shuffle;
        (y * r + part / r) * s.stride(2) + part % r * s.stride(3)
    }

    /// The slab as rhs: pixels of a channel are contiguous in the destination.
    unsafe fn to_planes<U: Unit>(
        &self,
        slab: *const f32,
        runs: *const Run,
        segments: *mut Segment,
        output: &Output<'_>,
    ) {
        let (p, plan) = (self.p, self.plan);
        let (count, n, k) = (plan.slab.positions(self.rows.len()), p.dst.size(1), p.k());
        let bias = if p.epilogue.bias { output.args.bias.ptr() } else { std::ptr::null() };
        let blocks = count.div_ceil(plan.slab.group);
        // SAFETY: the caller's; segments and rows lie in the destination.
        unsafe {
            self.segments(count, segments);
            let image = self.args.dst.ptr().add(self.batch * p.dst.stride(0));
            for panel in 0..panels::count(n) {
                let (first, width) = (panel * panels::PANEL, panels::width(n, panel));
                let groups = width.div_ceil(plan.slab.group);
                for i in 0..groups * plan.slab.group {
                    let row = image.wrapping_add((first + i) * p.dst.stride(1));
                    let wanted = i < width && first + i < n;
                    output.rows.add(i).write(if wanted { row } else { std::ptr::null_mut() });
                }
                // A slab of one pixel's positions is in groups already; in another a block follows the other.
                let (rhs_step, rhs_panel, panels, width_of_panel) = if plan.pixel {
                    (plan.slab.group, plan.slab.group * k, blocks, plan.slab.group)
                } else {
                    (plan.slab.step, 0, 1, blocks * plan.slab.group)
                };
                U::product(&Product {
                    lhs: self.args.weight.ptr().add(first * k),
                    lhs_step: width,
                    lhs_group: plan.slab.group,
                    groups,
                    runs,
                    run_count: Plan::runs(p),
                    rhs: slab,
                    rhs_step,
                    rhs_panel,
                    panels,
                    width: width_of_panel,
                    rows: output.rows,
                    columns: blocks * plan.slab.group,
                    positions: width,
                    bias: if bias.is_null() { bias } else { bias.add(first) },
                    clamp: output.stages.clamp(),
                    first: 0,
                    segments,
                });
            }
        }
    }

    /// Which positions of each block lie in which image row.
    unsafe fn segments(&self, count: usize, mut to: *mut Segment) {
        let (p, plan) = (self.p, self.plan);
        let (width, [_, ow]) = (plan.slab.plane[1], p.out_size());
        for block in (0..count).step_by(plan.slab.group) {
            let end = (block + plan.slab.group).min(count);
            let mut at = block;
            while at < end {
                let (y, x) = (at / width, at % width);
                let last = end.min(y * width + ow);
                if at < last {
                    let row = (self.rows.start + y) * p.dst.stride(2);
                    let offset = row as isize + x as isize - (at - block) as isize;
                    // SAFETY: the table has room for one a block and one a row, and the blocks' ends.
                    unsafe { to.write(Segment { first: at - block, end: last - block, offset }) }
                    to = to.wrapping_add(1);
                }
                at = (y + 1) * width;
            }
            // SAFETY: as above.
            unsafe { to.write(Segment::default()) }
            to = to.wrapping_add(1);
        }
    }
}
