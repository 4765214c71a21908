//! Depthwise convolution on the unit: planar slabs, in which a tap of a channel is one weight times neighbouring
//! positions; sums go back through ZA where the destination has channels innermost.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::drive::list;
use super::finish::{Row, Stages, finish};
use super::slab::{Slab, Tables, Window};
use super::tables::{Parts, bytes};
use super::{Copy, Taps, Unit, Unpack};
use crate::depthwise::{Args, Depthwise, Problem};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::simd::Simd;

/// Channels of a task: one panel of weights.
const CHANNELS: usize = panels::PANEL;

fn channels_inner(s: &tandem_base::Strided) -> bool {
    s.stride(1) == 1 || s.size(1) == 1
}

fn slab<U: Unit>(p: &Problem) -> Slab {
    let size = |s: &tandem_base::Strided| [s.size(2), s.size(3)];
    let window = Window {
        out: size(&p.dst),
        input: size(&p.src),
        kernel: p.kernel,
        stride: p.stride,
        dilation: p.dilation,
        padding: [p.padding[0], p.padding[1]],
    };
    Slab::new(window, CHANNELS.min(p.dst.size(1)), 4 * U::lanes())
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let inner = |s: &tandem_base::Strided| channels_inner(s) || s.stride(3) == 1 || s.size(3) == 1;
    let planes = p.stride[0].min(p.kernel[0]) * p.stride[1].min(p.kernel[1]);
    let refusals = [
        (p.kernel.contains(&0), "no taps"),
        (planes > 16, "too many planes"),
        (!inner(&p.src), "neither channels nor columns of src are contiguous"),
        (!inner(&p.dst), "neither channels nor columns of dst are contiguous"),
        (
            !channels_inner(&p.dst) && !Stages::of(&p.epilogue, 1.0, false).all(),
            "an epilogue for cores, to planes",
        ),
    ];
    refusals.into_iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, why)| Err(why))
}

/// Positions of all channels at the unit's rate of multi-vector multiply-adds, and the copies.
fn ns<U: Unit>(p: &Problem, rates: &Rates) -> f64 {
    let slab = slab::<U>(p);
    let tiles = tiles::<U>(p) as f64;
    let positions = tiles * (slab.widest() * CHANNELS.min(p.dst.size(1))) as f64;
    let taps = (p.kernel[0] * p.kernel[1]) as f64;
    let copied = Depthwise::cost(p).bytes / 4.0;
    let unit = &rates.unit;
    2.0 * positions * taps / unit.vector_gflops
        + copied / unit.copy_gelems
        + tiles * unit.entry_ns
        + rates.epilogue_ns(&p.epilogue, p.dst.elements())
}

fn blocks(p: &Problem) -> usize {
    p.dst.size(1).div_ceil(CHANNELS)
}

fn tiles<U: Unit>(p: &Problem) -> usize {
    if p.dst.elements() == 0 { 0 } else { p.dst.size(0) * blocks(p) * slab::<U>(p).bands() }
}

fn scratch<U: Unit>(p: &Problem) -> usize {
    if p.dst.elements() == 0 {
        return 0;
    }
    let slab = slab::<U>(p);
    let (rows, channels) = (slab.widest(), panels::padded(p.dst.size(1)));
    let floats = [slab.words(CHANNELS), channels, CHANNELS * rows, channels, CHANNELS * rows];
    bytes::<*const f32>(slab.step)
        + bytes::<*mut f32>(rows)
        + bytes::<usize>(p.kernel[0] * p.kernel[1])
        + floats.iter().map(|&n| bytes::<f32>(n)).sum::<usize>()
}

/// The row for a unit; cores finish what it leaves with vectors of `V`.
pub(crate) const fn row<U: Unit, V: Simd>(name: &'static str, isa: Isa) -> Kernel<Depthwise> {
    Kernel {
        name,
        isa,
        supports,
        ns: ns::<U>,
        phases: |_| 1,
        tiles: |p, _| tiles::<U>(p),
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
    let slab = slab::<U>(p);
    let (blocks, start) = (blocks(p), tiles.start);
    for tile in tiles {
        let (rest, block) = (tile / blocks, tile % blocks);
        let (batch, band) = (rest / slab.bands(), rest % slab.bands());
        let channel = block * CHANNELS;
        let channels = CHANNELS.min(p.dst.size(1) - channel);
        let listed = tile > start && block > 0;
        let band = Band { p, args, slab: &slab, batch, channel, channels, rows: slab.rows(band), listed };
        // SAFETY: `Depthwise::check` passed and the scratch has the size `scratch` says.
        unsafe { band.run::<U, V>(Parts::new(scratch)) }
    }
}

/// Some output rows of some channels of one image.
struct Band<'a> {
    p: &'a Problem,
    args: &'a Args<'a>,
    slab: &'a Slab,
    batch: usize,
    channel: usize,
    channels: usize,
    rows: Range<usize>,
    /// Whether the scratch has the tables already: those of the channels in front.
    listed: bool,
}

impl Band<'_> {
    unsafe fn run<U: Unit, V: Simd>(&self, mut parts: Parts) {
        let (p, slab) = (self.p, self.slab);
        let stages = Stages::of(&p.epilogue, 1.0, false);
        let taps = p.kernel[0] * p.kernel[1];
        let plane: *mut f32 = parts.take(slab.words(CHANNELS));
        let (all, listed) = (panels::padded(p.dst.size(1)), self.listed);
        let zeros: *mut f32 = parts.take(all);
        let tables = Tables { pixels: parts.take(slab.step), listed, outside: zeros };
        let offsets: *mut usize = parts.take(taps);
        let (sums, step): (*mut f32, usize) = (parts.take(CHANNELS * slab.widest()), slab.widest());
        let groups = slab.positions(self.rows.len()).div_ceil(slab.group);
        let src = &p.src;
        let image = self.args.src.ptr().wrapping_add(self.batch * src.stride(0));
        let source = (image, src, self.channel..self.channel + self.channels);
        let bias = self.args.epilogue.bias.ptr().wrapping_add(self.channel);
        // SAFETY: the caller's; every part has the size its use asks for.
        unsafe {
            if !listed {
                zeros.write_bytes(0, all);
            }
            let to = (plane, slab.step, 2 * U::lanes());
            slab.fill::<U, f32>(self.rows.start, source, to, &tables);
            for tap in 0..taps {
                offsets.add(tap).write(slab.tap([tap / p.kernel[1], tap % p.kernel[1]]));
            }
            U::depthwise(&Taps {
                plane,
                step: slab.step,
                channels: self.channels,
                weight: self.args.weight.ptr().add(self.channel * taps),
                width: panels::width(p.dst.size(1), self.channel / panels::PANEL),
                offsets,
                count: taps,
                groups,
                dst: sums,
                dst_step: step,
                bias: if stages.all() && p.epilogue.bias { bias } else { std::ptr::null() },
                clamp: stages.clamp(),
            });
            if channels_inner(&p.dst) {
                self.to_pixels::<U, V>(sums, step, &stages, &mut parts);
            } else {
                self.to_planes::<U>(sums, step);
            }
        }
    }

    /// Channel 0 of the first output row.
    fn dst(&self) -> *mut f32 {
        let d = &self.p.dst;
        self.args.dst.ptr().wrapping_add(self.batch * d.stride(0) + self.rows.start * d.stride(2))
    }

    unsafe fn to_planes<U: Unit>(&self, sums: *const f32, step: usize) {
        let d = &self.p.dst;
        // SAFETY: the caller's; rows lie in the destination.
        unsafe {
            U::copy(&Copy {
                src: sums,
                dst: self.dst().wrapping_add(self.channel * d.stride(1)),
                width: d.size(3),
                step: 1,
                rows: self.rows.len(),
                src_row: self.slab.plane[1],
                dst_row: d.stride(2),
                planes: self.channels,
                src_plane: step,
                dst_plane: d.stride(1),
            });
        }
    }

    unsafe fn to_pixels<U: Unit, V: Simd>(
        &self,
        planes: *const f32,
        step: usize,
        stages: &Stages,
        parts: &mut Parts,
    ) {
        let (p, slab, d) = (self.p, self.slab, &self.p.dst);
        let rows: *mut *mut f32 = parts.take(slab.widest());
        let spare: *mut f32 = parts.take(panels::padded(d.size(1)));
        let sums: *mut f32 = parts.take(CHANNELS * slab.widest());
        let positions = slab.positions(self.rows.len());
        let groups = positions.div_ceil(2 * U::lanes());
        let end = rows.wrapping_add(groups * 2 * U::lanes());
        let (dst, next, width) = (self.dst(), d.stride(3), d.size(3));
        // SAFETY: the caller's; rows lie in the destination or the scratch.
        unsafe {
            if stages.all() {
                if !self.listed {
                    let mut to = rows;
                    for y in 0..self.rows.len() {
                        let dst = dst.wrapping_add(y * d.stride(2));
                        to = list(to, dst, width, |row| row.wrapping_add(next));
                        to = list(to, spare, slab.halo().min(end.offset_from_unsigned(to)), |row| row);
                    }
                    list(to, spare, end.offset_from_unsigned(to), |row| row);
                }
                let first = self.channel;
                U::unpack(&Unpack { planes, step, channels: self.channels, rows, first, groups });
                return;
            }
            if !self.listed {
                list(rows, sums, end.offset_from_unsigned(rows), |row| row.wrapping_add(CHANNELS));
            }
            U::unpack(&Unpack { planes, step, channels: self.channels, rows, first: 0, groups });
            for (y, x) in (0..self.rows.len()).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let (residual, step) = p.epilogue.residual.map_or((0, 0), |r| {
                    let y = (self.rows.start + y) * r.stride(2) + x * r.stride(3);
                    (self.batch * r.stride(0) + y, r.stride(1))
                });
                // Columns count from channel 0.
                let sums = sums.add((y * slab.plane[1] + x) * CHANNELS).wrapping_sub(self.channel);
                let dst = dst.wrapping_add(y * d.stride(2) + x * next);
                let row = Row { sums, dst, residual, step };
                let channels = self.channel..self.channel + self.channels;
                finish::<V, f32>(&p.epilogue, &self.args.epilogue, 1.0, &row, channels);
            }
        }
    }
}
