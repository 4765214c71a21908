//! Direct convolution on the unit: bands of the image become planar slabs with a halo, in which a tap is an offset and
//! positions run on across rows. Every tap and every output channel reads the same slab.
//!
//! A slab is `[channel][plane][row][column]`; with stride s there is a plane for each remainder of input coordinates by
//! s that a tap uses. The columns of a row that only the halo reaches make outputs that nobody wants.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::drive::{Columns, Output, Place, list};
use super::finish::Stages;
use super::tables::{Parts, bytes};
use super::{Copy, Pack, Product, Run, Segment, Unit};
use crate::conv::{Args, Conv, Problem};
use crate::epilogue::EpilogueArgs;
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::simd::Simd;

/// Bytes of a slab to aim for: it stays in L2 while panel after panel passes.
const SLAB_BYTES: usize = 512 << 10;
/// Most planes of a slab.
const PLANES: usize = 16;

/// The cut of a problem.
#[derive(Clone, Copy, Debug)]
struct Plan {
    group: usize,
    /// Output rows of a band.
    band: usize,
    /// Rows and columns of a plane.
    plane: [usize; 2],
    /// Remainders of y and x that have a plane, in order.
    planes: [[usize; 2]; PLANES],
    count: usize,
    /// Elements from one channel to the next.
    step: usize,
    /// Whether one pixel is all a position reads: slabs are groups then, as those of a matrix.
    pixel: bool,
}

impl Plan {
    fn new<U: Unit>(p: &Problem) -> Self {
        let group = 2 * U::lanes();
        let [oh, ow] = p.out_size();
        let mut planes = [[0; 2]; PLANES];
        let mut count = 0;
        for ky in 0..p.kernel[0] {
            for kx in 0..p.kernel[1] {
                let at = remainders(p, [ky, kx]);
                if count < PLANES && !planes[..count].contains(&at) {
                    planes[count] = at;
                    count += 1;
                }
            }
        }
        let more = [0, 1].map(|d| (p.kernel[d] - 1) * p.dilation[d] / p.stride[d]);
        let width = ow + more[1];
        let bytes = 4 * p.in_channels().max(1) * count * width;
        let rows = (SLAB_BYTES / bytes.max(1)).saturating_sub(more[0]).max(4);
        let band = oh.div_ceil(oh.div_ceil(rows.clamp(1, oh.max(1))).max(1)).max(1);
        let plane = [band + more[0], width];
        let step = (count * plane[0] * plane[1]).next_multiple_of(group);
        let pixel = count == 1 && p.kernel == [1, 1] && p.src.len() == 1 && p.src[0].stride(1) == 1;
        Self { group, band, plane, planes, count, step, pixel }
    }

    fn bands(&self, p: &Problem) -> usize {
        p.out_size()[0].div_ceil(self.band)
    }

    /// Positions of a band of `rows` rows: up to the last one somebody wants.
    fn positions(&self, p: &Problem, rows: usize) -> usize {
        (rows - 1) * self.plane[1] + p.out_size()[1]
    }

    /// Where a tap's first position lies in a channel.
    fn tap(&self, p: &Problem, tap: [usize; 2]) -> usize {
        let at = remainders(p, tap);
        let plane = self.planes[..self.count].iter().position(|p| *p == at).unwrap_or(0);
        let [y, x] = [0, 1].map(|d| tap[d] * p.dilation[d] / p.stride[d]);
        (plane * self.plane[0] + y) * self.plane[1] + x
    }

    fn runs(p: &Problem) -> usize {
        p.kernel[0] * p.kernel[1] * p.src.len()
    }

    /// Elements of a slab; taps of the last channel reach up to a plane's halo and a group beyond.
    fn slab(&self, p: &Problem) -> usize {
        p.in_channels() * self.step + self.plane[1] * self.plane[0] + 2 * self.group
    }

    /// Positions of the largest band, whole groups.
    fn widest(&self, p: &Problem) -> usize {
        self.positions(p, self.band).next_multiple_of(self.group)
    }

    /// Segments of a band: of every block one, one more for every row it begins, and its end.
    fn segments(&self, p: &Problem) -> usize {
        if planar(p) { 2 * self.widest(p) / self.group + self.band + 1 } else { 0 }
    }

    fn scratch(&self, p: &Problem, stages: &Stages) -> usize {
        let (rows, columns) =
            (self.widest(p), panels::padded(p.column_groups().1).next_multiple_of(self.group));
        let floats = [self.slab(p), p.in_channels().max(1), columns, stages.sums(rows, columns)];
        bytes::<*const f32>(self.step)
            + bytes::<*mut f32>(rows.max(columns))
            + bytes::<Run>(Self::runs(p))
            + bytes::<Segment>(self.segments(p))
            + floats.iter().map(|&n| bytes::<f32>(n)).sum::<usize>()
    }
}

/// Remainders of a tap's input coordinates.
fn remainders(p: &Problem, tap: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|d| tap[d] * p.dilation[d] % p.stride[d])
}

/// Whether pixels of the destination are contiguous, and channels are not.
fn planar(p: &Problem) -> bool {
    p.dst.stride(1) != 1 && p.dst.size(1) > 1
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let inner = |s: &Strided, axis: usize| s.stride(axis) == 1 || s.size(axis) == 1;
    let planes = p.stride[0].min(p.kernel[0]) * p.stride[1].min(p.kernel[1]);
    let refusals = [
        (p.groups != 1, "groups"),
        (p.in_channels() == 0 || p.src.iter().any(|s| s.size(1) == 0), "no channels"),
        (planes > PLANES, "too many planes"),
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
    let bands = (p.batch() * plan.bands(p)) as f64;
    let (parts, columns) = p.column_groups();
    let whole = bands * (plan.widest(p) * parts * columns.next_multiple_of(plan.group)) as f64;
    let product = 2.0 * whole * p.k() as f64 / super::GFLOPS;
    let copied = bands * (plan.step * p.in_channels()) as f64;
    let weights = 4.0 * (p.k() * p.padded_columns()) as f64;
    product.max(weights / rates.dram_gbs) + copied / rates.vector_gelems + bands * super::ENTRY_NS
}

/// The row for a unit; cores finish what it leaves with vectors of `V`.
pub(crate) const fn row<U: Unit, V: Simd>(name: &'static str, isa: Isa) -> Kernel<Conv> {
    Kernel {
        name,
        isa,
        supports,
        ns: ns::<U>,
        phases: |_| 1,
        tiles: |p, _| if p.dst.elements() == 0 { 0 } else { p.batch() * Plan::new::<U>(p).bands(p) },
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
        let (batch, band) = (tile / plan.bands(p), tile % plan.bands(p));
        let y = band * plan.band;
        let rows = y..(y + plan.band).min(p.out_size()[0]);
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
        let columns = panels::padded(p.column_groups().1).next_multiple_of(plan.group);
        let slab: *mut f32 = parts.take(plan.slab(p));
        let zeros: *mut f32 = parts.take(p.in_channels());
        let pixels: *mut *const f32 = parts.take(plan.step);
        let runs: *mut Run = parts.take(Plan::runs(p));
        let segments: *mut Segment = parts.take(plan.segments(p));
        let rows = plan.widest(p);
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
            zeros.write_bytes(0, p.in_channels());
            self.fill::<U>(slab, pixels, zeros);
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
                    let offset = channel * plan.step + plan.tap(p, [ky, kx]);
                    // SAFETY: the table has room for all of them.
                    unsafe { to.add(index).write(Run { offset, count }) }
                    (channel, index) = (channel + count, index + 1);
                }
            }
        }
    }

    /// Row of the source at a plane's row, if there is one.
    fn row(&self, remainder: usize, y: usize) -> Option<usize> {
        let p = self.p;
        let y = ((self.rows.start + y) * p.stride[0] + remainder).checked_sub(p.padding[0])?;
        (y < p.in_size()[0]).then_some(y)
    }

    /// Columns of a plane that lie inside the source.
    fn columns(&self, remainder: usize) -> Range<usize> {
        let (p, width) = (self.p, self.plan.plane[1]);
        let end = (p.in_size()[1] + p.padding[1]).saturating_sub(remainder).div_ceil(p.stride[1]).min(width);
        p.padding[1].saturating_sub(remainder).div_ceil(p.stride[1]).min(end)..end
    }

    /// Copies the band's inputs, zeros around them, to the slab.
    unsafe fn fill<U: Unit>(&self, slab: *mut f32, pixels: *mut *const f32, zeros: *const f32) {
        let plan = self.plan;
        let mut channel = 0;
        for (shape, span) in self.p.src.iter().zip(&self.args.src) {
            let image = span.ptr().wrapping_add(self.batch * shape.stride(0));
            let to = slab.wrapping_add(channel * plan.step);
            channel += shape.size(1);
            // SAFETY: the caller's; rows and columns lie inside the source.
            unsafe {
                if shape.stride(1) == 1 || shape.size(1) == 1 {
                    self.fill_pixels::<U>(shape, image, to, pixels, zeros);
                } else {
                    self.fill_planes::<U>(shape, image, to);
                }
            }
        }
    }

    /// From channels-last pixels.
    unsafe fn fill_pixels<U: Unit>(
        &self,
        shape: &Strided,
        image: *const f32,
        slab: *mut f32,
        pixels: *mut *const f32,
        zeros: *const f32,
    ) {
        let plan = self.plan;
        let [height, width] = plan.plane;
        let (row, column) = (shape.stride(2), shape.stride(3));
        // SAFETY: the caller's; the table has an entry for every position of a channel.
        unsafe {
            let mut to = pixels;
            for &plane in &plan.planes[..plan.count] {
                let inside = self.columns(plane[1]);
                for y in 0..height {
                    let Some(y) = self.row(plane[0], y) else {
                        to = list(to, zeros, width, |row| row);
                        continue;
                    };
                    let first = inside.start * self.p.stride[1] + plane[1] - self.p.padding[1];
                    let pixel = image.wrapping_add(y * row + first * column);
                    to = list(to, zeros, inside.start, |row| row);
                    to = list(to, pixel, inside.len(), |p| p.wrapping_add(column * self.p.stride[1]));
                    to = list(to, zeros, width - inside.end, |row| row);
                }
            }
            list(to, zeros, plan.step - plan.count * height * width, |row| row);
            let (groups, k) = (plan.step / plan.group, shape.size(1));
            let (step, group) =
                if plan.pixel { (plan.group, plan.group * k) } else { (plan.step, plan.group) };
            U::pack(&Pack { rows: pixels, groups, k, dst: slab, step, group });
        }
    }

    /// From planes.
    unsafe fn fill_planes<U: Unit>(&self, shape: &Strided, image: *const f32, slab: *mut f32) {
        let (p, plan) = (self.p, self.plan);
        let ([height, width], step) = (plan.plane, p.stride[1] * shape.stride(3));
        // SAFETY: the caller's; rows and columns inside the image and the plane.
        unsafe {
            U::clear(slab, shape.size(1) * plan.step);
            for (i, &[py, px]) in plan.planes[..plan.count].iter().enumerate() {
                let inside = self.columns(px);
                let mut rows = (0..height).filter_map(|y| Some((y, self.row(py, y)?)));
                let (Some((first, y)), false) = (rows.next(), inside.is_empty()) else { continue };
                let x = inside.start * p.stride[1] + px - p.padding[1];
                let copy = Copy {
                    src: image.add(y * shape.stride(2) + x * shape.stride(3)),
                    dst: slab.add((i * height + first) * width + inside.start),
                    width: inside.len(),
                    rows: 1 + rows.count(),
                    src_row: p.stride[0] * shape.stride(2),
                    dst_row: width,
                    planes: shape.size(1),
                    src_plane: shape.stride(1),
                    dst_plane: plan.step,
                };
                if step == 1 {
                    U::copy(&copy);
                } else {
                    copy.every(step);
                }
            }
        }
    }

    /// The slab as lhs: columns of a position are contiguous in the destination.
    unsafe fn to_pixels<U: Unit, V: Simd>(&self, slab: *const f32, runs: *const Run, output: Output<'_>) {
        let (p, plan) = (self.p, self.plan);
        let count = plan.positions(p, self.rows.len());
        let (parts, n) = p.column_groups();
        let (k, padded) = (p.k(), panels::padded(n));
        let groups = count.div_ceil(plan.group);
        let (lhs_step, lhs_group) =
            if plan.pixel { (plan.group, plan.group * k) } else { (plan.step, plan.group) };
        let product = Product {
            lhs: slab,
            lhs_step,
            lhs_group,
            groups,
            runs,
            run_count: Plan::runs(p),
            positions: groups * plan.group,
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
            let halo =
                Place { count: plan.plane[1] - ow, dst: std::ptr::null_mut(), ..place(self.rows.start) };
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
        let (count, n, k) = (plan.positions(p, self.rows.len()), p.dst.size(1), p.k());
        let bias = if p.epilogue.bias { output.args.bias.ptr() } else { std::ptr::null() };
        let blocks = count.div_ceil(plan.group);
        // SAFETY: the caller's; segments and rows lie in the destination.
        unsafe {
            self.segments(count, segments);
            let image = self.args.dst.ptr().add(self.batch * p.dst.stride(0));
            for panel in 0..panels::count(n) {
                let (first, width) = (panel * panels::PANEL, panels::width(n, panel));
                let groups = width.div_ceil(plan.group);
                for i in 0..groups * plan.group {
                    let row = image.wrapping_add((first + i) * p.dst.stride(1));
                    let wanted = i < width && first + i < n;
                    output.rows.add(i).write(if wanted { row } else { std::ptr::null_mut() });
                }
                // A slab of one pixel's positions is in groups already; in another a block follows the other.
                let (rhs_step, rhs_panel, panels, width_of_panel) = if plan.pixel {
                    (plan.group, plan.group * k, blocks, plan.group)
                } else {
                    (plan.step, 0, 1, blocks * plan.group)
                };
                U::product(&Product {
                    lhs: self.args.weight.ptr().add(first * k),
                    lhs_step: width,
                    lhs_group: plan.group,
                    groups,
                    runs,
                    run_count: Plan::runs(p),
                    rhs: slab,
                    rhs_step,
                    rhs_panel,
                    panels,
                    width: width_of_panel,
                    rows: output.rows,
                    columns: blocks * plan.group,
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
        let (width, [_, ow]) = (plan.plane[1], p.out_size());
        for block in (0..count).step_by(plan.group) {
            let end = (block + plan.group).min(count);
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
