//! Channels-last rows on vectors: lanes along channels, a run of neighbouring outputs in registers.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::store::{Output, finish, in_registers, store};
use super::sums::{Lane, RUN, Window, sums};
use super::{Args, Depthwise, Problem};
use crate::epilogue::Epilogue;
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::simd::{Simd, entries};

/// Weights of a tile's channels stay in L1 beside what they meet.
const WEIGHT_BYTES: usize = 12 << 10;
/// Work of a tile worth a claim, in multiply-adds.
const LEAST_WORK: usize = 200_000;
/// Fewest tiles to aim for: a few for each of a handful of threads.
const TILES: usize = 24;

/// How a problem is cut: ranges of output rows (of all images) times ranges of panels.
struct Split {
    rows: usize,
    panels: usize,
    channels: usize,
    row_parts: usize,
    panel_parts: usize,
}

impl Split {
    fn new(p: &Problem) -> Self {
        let (rows, channels) = (p.dst.size(0) * p.dst.size(2), p.dst.size(1));
        let panels = panels::count(channels);
        let taps = p.kernel[0] * p.kernel[1];
        let fitting = (WEIGHT_BYTES / (4 * panels::PANEL * taps)).max(1);
        let panel_parts = panels.div_ceil(fitting);
        let wanted = (p.dst.elements() * taps / LEAST_WORK).clamp(1, TILES);
        // Fewer rows than this and neighbours read most source rows twice.
        let most = rows.div_ceil(4);
        let row_parts = wanted.div_ceil(panel_parts.max(1)).min(most);
        Self { rows, panels, channels, row_parts, panel_parts }
    }

    fn tiles(&self) -> usize {
        if self.channels == 0 { 0 } else { self.row_parts * self.panel_parts }
    }

    fn part(n: usize, parts: usize, index: usize) -> Range<usize> {
        n * index / parts..n * (index + 1) / parts
    }

    /// Output rows and channels of a tile.
    fn tile(&self, index: usize) -> [Range<usize>; 2] {
        let rows = Self::part(self.rows, self.row_parts, index / self.panel_parts);
        let panels = Self::part(self.panels, self.panel_parts, index % self.panel_parts);
        let end = (panels.end * panels::PANEL).min(self.channels);
        [rows, panels.start * panels::PANEL..end]
    }

    /// Most channels of a tile, padded.
    fn widest(&self) -> usize {
        self.panels.div_ceil(self.panel_parts.max(1)) * panels::PANEL
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let contiguous = |s: &tandem_base::Strided| s.stride(1) == 1 || s.size(1) == 1;
    match &p.epilogue.residual {
        _ if !contiguous(&p.src) || !contiguous(&p.dst) => Err("channels are not contiguous"),
        Some(residual) if !contiguous(residual) => Err("channels of the residual are not contiguous"),
        _ => Ok(()),
    }
}

/// Whole vectors at a share of the peak, or the stream of operands; and what a run and a tile cost besides.
fn ns(p: &Problem, rates: &Rates, lanes: usize) -> f64 {
    let pixels = p.dst.size(0) * p.dst.size(2) * p.dst.size(3);
    let channels = p.dst.size(1).next_multiple_of(lanes);
    let flops = (2 * pixels * channels * p.kernel[0] * p.kernel[1]) as f64;
    let sliding = matches!((p.kernel[1], p.stride[1], p.dilation[1]), (3 | 5, 1 | 2, 1));
    // Half the lanes pay twice for what a run costs besides its products, of which few taps have few and a stride reads more.
    let share = match (sliding, p.kernel[1], p.stride[1]) {
        (false, ..) => 0.55,
        (true, 5, 1) => 0.85,
        (true, ..) => 0.65,
    } * if lanes < 16 { 0.7 } else { 1.0 };
    let stores = 4.0 * (pixels * channels) as f64 / rates.l2_gbs;
    let acts = rates.epilogue_ns(&p.epilogue, p.dst.elements());
    let compute = flops / (share * rates.fma_gflops) + stores + acts + (pixels.div_ceil(RUN) * 10) as f64;
    let operands = [Some(p.src), Some(p.dst), p.epilogue.residual].into_iter().flatten();
    compute.max(operands.map(|shape| rates.stream_ns(4.0 * shape.elements() as f64)).sum())
}

fn workspace(p: &Problem) -> Workspace {
    let per_worker = if in_registers(&p.epilogue) { 0 } else { 4 * RUN * Split::new(p).widest() };
    Workspace { shared: 0, per_worker }
}

#[inline(always)]
unsafe fn run<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let split = Split::new(p);
    for tile in tiles {
        let [rows, channels] = split.tile(tile);
        let block = Block { p, args, channels, scratch: scratch.ptr().cast(), widest: split.widest() };
        for row in rows {
            // SAFETY: `Depthwise::check` passed, channels are contiguous, and the entry point has the instructions.
            unsafe { block.line::<V>(row) }
        }
    }
}

/// Channels of a tile.
struct Block<'a> {
    p: &'a Problem,
    args: &'a Args<'a>,
    channels: Range<usize>,
    /// Sums of a run, `widest` elements a pixel, where the epilogue is not applied in registers.
    scratch: *mut f32,
    widest: usize,
}

/// A run's source and weights at channel 0.
struct Run {
    window: Window,
    src: *const f32,
    first_tap: usize,
    /// Whether taps lie outside the image.
    edge: bool,
}

/// Tap rows of output row `oy` that lie inside the image.
fn tap_rows(p: &Problem, oy: usize) -> Range<usize> {
    let (start, step) = (oy * p.stride[0], p.dilation[0]);
    let first = p.padding[0].saturating_sub(start).div_ceil(step);
    let end = (p.src.size(2) + p.padding[0]).saturating_sub(start).div_ceil(step).min(p.kernel[0]);
    first.min(end)..end
}

impl Block<'_> {
    /// One output row (counted over all images).
    #[inline(always)]
    unsafe fn line<V: Simd>(&self, row: usize) {
        let p = self.p;
        let ([oh, ow], s) = ([p.dst.size(2), p.dst.size(3)], p.src.strides());
        let (n, oy) = (row / oh, row % oh);
        let taps = tap_rows(p, oy);
        let y = (oy * p.stride[0] + taps.start * p.dilation[0]).wrapping_sub(p.padding[0]);
        let src = self.args.src.ptr().wrapping_add((n * s[0]).wrapping_add(y.wrapping_mul(s[2])));
        let reach = (p.kernel[1] - 1) * p.dilation[1] + 1;
        let mut x = 0;
        while x < ow {
            let count = match ow - x {
                RUN.. => RUN,
                4.. => 4,
                _ => 1,
            };
            let ix = (x * p.stride[1]).wrapping_sub(p.padding[1]);
            let window = Window {
                rows: taps.len(),
                row: p.dilation[0] * s[2],
                pixel: s[3],
                x: ix,
                width: p.src.size(3),
                taps: [p.kernel[1], p.dilation[1]],
                stride: p.stride[1],
            };
            let last = ix.wrapping_add((count - 1) * p.stride[1] + reach - 1);
            let edge = ix >= window.width || last >= window.width;
            let src = src.wrapping_add(ix.wrapping_mul(s[3]));
            let run = Run { window, src, first_tap: taps.start * p.kernel[1], edge };
            // SAFETY: the caller's; the run lies in the row.
            unsafe {
                match count {
                    RUN => self.outputs::<V, RUN>(&run, [n, oy, x]),
                    4 => self.outputs::<V, 4>(&run, [n, oy, x]),
                    _ => self.outputs::<V, 1>(&run, [n, oy, x]),
                }
                if !in_registers(&p.epilogue) {
                    let sums = (self.scratch.cast_const(), self.widest);
                    let columns = (self.channels.start, self.channels.len());
                    finish::<V>(&self.output([n, oy, x]), sums, count, columns);
                }
            }
            x += count;
        }
    }

    /// Where outputs from (n, y, x) on go in the end.
    #[inline(always)]
    fn output(&self, [n, y, x]: [usize; 3]) -> Output<'_> {
        let at = |s: &[usize]| n * s[0] + y * s[2] + x * s[3];
        let d = self.p.dst.strides();
        let e = &self.args.epilogue;
        let residual =
            self.p.epilogue.residual.as_ref().map_or((e.residual.ptr(), 0), |r| {
                (e.residual.ptr().wrapping_add(at(r.strides())), r.stride(3))
            });
        Output {
            stages: &self.p.epilogue,
            operands: e,
            dst: (self.args.dst.ptr().wrapping_add(at(d)), d[3]),
            residual,
        }
    }

    /// `N` outputs from (n, y, x) on, to the destination or to the scratch.
    #[inline(always)]
    unsafe fn outputs<V: Simd, const N: usize>(&self, run: &Run, at: [usize; 3]) {
        let stages = Epilogue::default();
        let out = if in_registers(&self.p.epilogue) {
            self.output(at)
        } else {
            let dst = (self.scratch.wrapping_sub(self.channels.start), self.widest);
            Output { stages: &stages, dst, ..self.output(at) }
        };
        let taps = self.p.kernel[0] * self.p.kernel[1];
        let all = self.p.dst.size(1);
        for c in self.channels.clone().step_by(V::LANES) {
            let n = (self.channels.end - c).min(V::LANES);
            let panel = panels::width(all, c / panels::PANEL);
            let at = panels::index(taps, all, run.first_tap, c);
            let weight = self.args.weight.ptr().wrapping_add(at);
            let lane = Lane { src: run.src.wrapping_add(c), weight, panel, channels: n };
            // SAFETY: the caller's; without an edge all columns lie inside.
            unsafe {
                let sums = if run.edge || n < V::LANES {
                    sums::<V, N, true>(&run.window, &lane)
                } else {
                    sums::<V, N, false>(&run.window, &lane)
                };
                store::<V, N>(&out, sums, c, n);
            }
        }
    }
}

entries!(Problem, Args<'_>, run);

/// Runs of 7 outputs by 16 channels.
pub(super) const AVX512: Kernel<Depthwise> = Kernel {
    name: "avx512-sliding-7x16",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns(p, rates, 16),
    phases: |_| 1,
    tiles: |p, _| Split::new(p).tiles(),
    workspace,
    run: avx512,
};

/// Runs of 7 outputs by 8 channels.
pub(super) const AVX2: Kernel<Depthwise> = Kernel {
    name: "avx2-sliding-7x8",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| Split::new(p).tiles(),
    workspace,
    run: avx2,
};

/// Runs of 7 outputs by 8 channels.
pub(super) const NEON: Kernel<Depthwise> = Kernel {
    name: "neon-sliding-7x8",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns(p, rates, 8),
    phases: |_| 1,
    tiles: |p, _| Split::new(p).tiles(),
    workspace,
    run: neon,
};
