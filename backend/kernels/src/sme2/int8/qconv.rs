//! Direct convolution of i8 on the unit, over planar slabs of words: every tap and every output channel reads the same one.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{ByteUnit, Direct, zero_pair};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::qconv::{Args, MAX_K, Problem, Qconv, WORD};
use crate::sme2::conv::{self, planar, window};
use crate::sme2::drive::list;
use crate::sme2::slab::{Slab, Tables};
use crate::sme2::tables::{Parts, bytes};
use crate::sme2::{Run, Segment};

fn words(p: &Problem) -> usize {
    conv::words::<i8>(&p.conv)
}

fn slab<U: ByteUnit>(p: &Problem) -> Slab {
    Slab::new(window(&p.conv), words(p), 2 * U::lanes())
}

/// Words from a part's input channels to those of the next.
fn part_words(p: &Problem) -> usize {
    if p.conv.groups > 1 { words(p) / p.conv.groups } else { 0 }
}

fn runs(p: &Problem) -> usize {
    p.conv.kernel[0] * p.conv.kernel[1] * p.conv.src.len()
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    p.consistent()?;
    let (c, planar) = (&p.conv, planar(&p.conv));
    let refusals = [
        (c.groups > 1 && !(c.in_channels() / c.groups).is_multiple_of(WORD), "groups that share a word"),
        (c.in_channels() == 0 || c.src.iter().any(|s| s.size(1) == 0), "no channels"),
        (c.k() > MAX_K, "sums beyond their bound"),
        (!window(c).fits(), "too many planes"),
        (
            planar && c.dst.stride(3) != 1 && c.dst.size(3) != 1,
            "neither channels nor columns of dst are contiguous",
        ),
        (planar && c.shuffle != 1, "pixel shuffle to planes"),
    ];
    refusals.into_iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, why)| Err(why))
}

/// Multiply-adds of whole blocks at the unit's rate, the copies to slabs, and entries.
fn ns<U: ByteUnit>(p: &Problem, rates: &Rates) -> f64 {
    let slab = slab::<U>(p);
    let bands = (p.conv.batch() * slab.bands()) as f64;
    let (parts, columns) = p.conv.column_groups();
    let whole = bands * (slab.widest() * parts * columns.next_multiple_of(slab.group)) as f64;
    let k = (WORD * p.conv.words(WORD)) as f64;
    let weights = k * p.conv.padded_columns() as f64;
    let copied = bands * (slab.step * words(p)) as f64;
    let unit = &rates.unit;
    (2.0 * whole * k / unit.i8_gops).max(unit.read_ns(weights))
        + copied / unit.copy_gelems
        + bands * (parts * panels::count(columns)) as f64 * unit.entry_ns
}

/// The row for a unit.
pub(crate) const fn row<U: ByteUnit>(name: &'static str, isa: Isa) -> Kernel<Qconv> {
    Kernel {
        name,
        isa,
        supports,
        ns: ns::<U>,
        phases: |_| 1,
        tiles: |p, _| if p.conv.dst.elements() == 0 { 0 } else { p.conv.batch() * slab::<U>(p).bands() },
        workspace: |p| Workspace { shared: 0, per_worker: scratch::<U>(p) },
        run: run::<U>,
    }
}

fn scratch<U: ByteUnit>(p: &Problem) -> usize {
    if p.conv.dst.elements() == 0 {
        return 0;
    }
    let (slab, columns) = (slab::<U>(p), panels::padded(p.conv.column_groups().1));
    bytes::<u32>(slab.words(words(p)))
        + bytes::<Run>(runs(p))
        + bytes::<Segment>(slab.segments())
        + bytes::<*mut i8>(rows(&slab))
        + bytes::<*const i8>(slab.step)
        + bytes::<i8>(p.conv.in_channels())
        + 2 * bytes::<f32>(columns)
        + bytes::<i8>(columns)
}

/// Pointers to rows of the destination: to a band's positions, or to the channels of a panel in whole blocks.
fn rows(slab: &Slab) -> usize {
    slab.widest().max(panels::PANEL.next_multiple_of(slab.group))
}

unsafe fn run<U: ByteUnit>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let slab = slab::<U>(p);
    for tile in tiles {
        let (batch, rows) = (tile / slab.bands(), slab.rows(tile % slab.bands()));
        // SAFETY: `Qconv::check` passed and the scratch has the size `scratch` says.
        unsafe { Band { p, args, slab: &slab, batch, rows }.run::<U>(Parts::new(scratch)) }
    }
}

/// Some output rows of one image.
struct Band<'a> {
    p: &'a Problem,
    args: &'a Args<'a>,
    slab: &'a Slab,
    batch: usize,
    rows: Range<usize>,
}

/// Where results go.
struct Output {
    rows: *mut *mut i8,
    /// A row of channels nobody wants.
    spare: *mut i8,
}

impl Band<'_> {
    unsafe fn run<U: ByteUnit>(&self, mut parts: Parts) {
        let (p, slab) = (&self.p.conv, self.slab);
        let (shuffles, n) = p.column_groups();
        let columns = panels::padded(n);
        let channels: *mut i8 = parts.take::<u32>(slab.words(words(self.p))).cast();
        let taps: *mut Run = parts.take(runs(self.p));
        let segments: *mut Segment = parts.take(slab.segments());
        let outside: *mut i8 = parts.take(p.in_channels());
        let pixels = Tables { pixels: parts.take(slab.step), listed: false, outside };
        let output = Output { rows: parts.take(rows(slab)), spare: parts.take(columns) };
        let (factor, shift): (*mut f32, *mut f32) = (parts.take(columns), parts.take(columns));
        let [lower, upper] = self.p.bounds();
        // SAFETY: the caller's; every part has the size its use asks for.
        unsafe {
            outside.write_bytes(self.p.src.zero as u8, p.in_channels());
            self.fill::<U>(channels, &pixels);
            // Those of the first group.
            slab.list_runs(p.src.iter().map(|s| (s.size(1) / p.groups).div_ceil(WORD)), taps);
            if planar(p) {
                let row = |y| (self.rows.start + y) * p.dst.stride(2);
                slab.list_segments(slab.positions(self.rows.len()), row, segments);
            }
            for part in 0..shuffles {
                let of =
                    [self.args.scale, self.args.bias].map(|span| span.ptr().wrapping_add(part * columns));
                let of = if p.epilogue.bias { of } else { [of[0], std::ptr::null()] };
                super::columns([self.p.src, self.p.dst], n, of, [factor, shift]);
                let direct = Direct {
                    slab: channels.add(WORD * part * part_words(self.p) * slab.step),
                    step: slab.step,
                    blocks: slab.positions(self.rows.len()).div_ceil(slab.group),
                    runs: taps,
                    run_count: runs(self.p),
                    weight: self.args.weight.ptr().add(part * WORD * p.words(WORD) * columns),
                    width: 0,
                    first: 0,
                    columns: n,
                    sums: self.args.sums.ptr().add(part * columns),
                    factor,
                    shift,
                    rows: output.rows,
                    segments: if planar(p) { segments } else { std::ptr::null() },
                    lower,
                    upper,
                    zero: i32::from(self.p.dst.zero),
                    src_zero: zero_pair(i32::from(self.p.src.zero)),
                };
                self.multiply::<U>(direct, part, &output);
            }
        }
    }

    /// Copies the band's inputs, the zero point around them, to the slab.
    unsafe fn fill<U: ByteUnit>(&self, mut to: *mut i8, tables: &Tables<i8>) {
        let slab = self.slab;
        for (shape, span) in self.p.conv.src.iter().zip(&self.args.src) {
            let source = (span.ptr().wrapping_add(self.batch * shape.stride(0)), shape, 0..shape.size(1));
            // SAFETY: the caller's.
            unsafe { slab.fill::<U, i8>(self.rows.start, source, (to, slab.step, slab.group), tables) }
            to = to.wrapping_add(shape.size(1).next_multiple_of(WORD) * slab.step);
        }
    }

    /// All panels of a part.
    unsafe fn multiply<U: ByteUnit>(&self, direct: Direct, part: usize, output: &Output) {
        let (p, n) = (&self.p.conv, direct.columns);
        // SAFETY: the caller's; wanted positions and channels lie in the destination.
        unsafe {
            if !planar(p) {
                self.list_pixels(part, output);
            }
            for panel in 0..panels::count(n) {
                let (first, width) = (panel * panels::PANEL, panels::width(n, panel));
                let columns = n.min(first + width);
                if planar(p) {
                    self.list_planes(part, first..columns, output);
                }
                let weight = direct.weight.add(first * WORD * p.words(WORD));
                U::direct(&Direct { weight, width, first, columns, ..direct });
            }
        }
    }

    /// Where channel 0 of every position goes, the halo's to the spare row.
    unsafe fn list_pixels(&self, part: usize, output: &Output) {
        let (p, slab, r) = (&self.p.conv, self.slab, self.p.conv.shuffle);
        let (image, part) = self.image(part);
        let ([_, ow], next) = (p.out_size(), r * p.dst.stride(3));
        let mut to = output.rows;
        let end = to.wrapping_add(slab.positions(self.rows.len()).next_multiple_of(slab.group));
        // SAFETY: the table has room for whole blocks.
        unsafe {
            for y in self.rows.clone() {
                let at = (y * r + part / r) * p.dst.stride(2) + part % r * p.dst.stride(3);
                to = list(to, image.wrapping_add(at), ow, |row| row.wrapping_add(next));
                to = list(to, output.spare, slab.halo().min(end.offset_from_unsigned(to)), |row| row);
            }
            list(to, output.spare, end.offset_from_unsigned(to), |row| row);
        }
    }

    /// First channel of a part in the destination, and which pixel of a shuffle's square it stores.
    fn image(&self, part: usize) -> (*mut i8, usize) {
        let (p, (_, n)) = (&self.p.conv, self.p.conv.column_groups());
        let (group, pixel) = if p.groups > 1 { (part, 0) } else { (0, part) };
        let at = self.batch * p.dst.stride(0) + group * n * p.dst.stride(1);
        (self.args.dst.ptr().wrapping_add(at), pixel)
    }

    /// Where position 0 of some channels goes, null behind them.
    unsafe fn list_planes(&self, part: usize, channels: Range<usize>, output: &Output) {
        let dst = &self.p.conv.dst;
        let (image, _) = self.image(part);
        let rest = panels::PANEL.next_multiple_of(self.slab.group) - channels.len();
        // SAFETY: the table has room for a panel in whole blocks.
        unsafe {
            let first = image.wrapping_add(channels.start * dst.stride(1));
            let to = list(output.rows, first, channels.len(), |row| row.wrapping_add(dst.stride(1)));
            list(to, std::ptr::null_mut(), rest, |row| row);
        }
    }
}
