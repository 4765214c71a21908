//! Channels-last rows on vectors: each parity is a product over its panels.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::parity::{Part, parts};
use super::{Args, Deconv, Problem};
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::product::{Geometry, Segment, Split, Tile, run_tiles};
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
use crate::simd::entries;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};

fn supports(p: &Problem) -> Result<(), Refusal> {
    match () {
        () if p.src.stride(1) != 1 && p.src.size(1) > 1 => Err("channels are not contiguous"),
        () if p.dst.size(1) == 0 || p.src.size(1) == 0 => Err("no channels"),
        () => Ok(()),
    }
}

fn split<V: Tile>(p: &Problem, part: &Part) -> Split {
    let channels = p.src.size(1) / p.groups;
    let panels = panels::count(p.dst.size(1) / p.groups);
    Split::new(part.positions(p), 4 * channels, panels, part.k(p), V::ROWS, false)
}

/// Tiles of all parts.
fn tiles<V: Tile>(p: &Problem) -> usize {
    parts(p).map(|part| split::<V>(p, &part).tiles()).sum()
}

/// Multiply-adds with padded columns at a share of the peak, and what every register tile costs besides.
fn ns<V: Tile>(p: &Problem, rates: &Rates, share: f64) -> f64 {
    let columns = p.padded_columns() / p.groups;
    let compute: f64 = parts(p)
        .map(|part| {
            let tiles = (part.positions(p).div_ceil(V::ROWS) * columns.div_ceil(V::COLUMNS)) as f64;
            let flops = 2.0 * (part.positions(p) * columns * part.k(p)) as f64;
            flops / (share * rates.fma_gflops) + tiles * (15.0 + 6.0 * (part.taps[0] * part.taps[1]) as f64)
        })
        .sum();
    compute.max(rates.stream_ns(Deconv::cost(p).bytes)) + rates.epilogue_ns(&p.epilogue, p.dst.elements())
}

#[inline(always)]
unsafe fn run<V: Tile>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let mut before = 0;
    for part in parts(p) {
        let split = split::<V>(p, &part);
        let mine = tiles.start.max(before)..tiles.end.min(before + split.tiles());
        if !mine.is_empty() {
            let segment = segment(p, args, &part);
            let geometry = geometry(p, args, &part, &segment);
            for tile in mine {
                // SAFETY: `Deconv::check` passed, channels are contiguous, and the entry point has the instructions.
                unsafe { run_tiles::<V>(&geometry, &split.tile(tile - before), SpanMut::empty()) }
            }
        }
        before += split.tiles();
    }
}

/// The part's source: its group's channels. None are read where no tap has its parity.
fn segment(p: &Problem, args: &Args<'_>, part: &Part) -> [Segment; 1] {
    let channels = p.src.size(1) / p.groups;
    let s = p.src.strides();
    [Segment {
        ptr: args.src.ptr().wrapping_add(part.group * channels * s[1]),
        channels: if part.k(p) == 0 { 0 } else { channels },
        strides: [s[0], s[1], s[2], s[3]],
    }]
}

/// The part as a convolution, its outputs `stride` apart in the destination.
fn geometry<'a>(p: &Problem, args: &Args<'a>, part: &Part, segments: &'a [Segment]) -> Geometry<'a> {
    let columns = p.dst.size(1) / p.groups;
    let first = |s: &[usize]| part.group * columns * s[1] + part.first[0] * s[2] + part.first[1] * s[3];
    let apart = |s: &[usize]| [s[0], s[1], p.stride[0] * s[2], p.stride[1] * s[3]];
    let e = &args.epilogue;
    let skip = part.group * panels::padded(columns);
    let [bias, scale, shift] = [e.bias, e.scale, e.shift].map(|s| s.skip(skip).unwrap_or(s));
    let residual = p.epilogue.residual.map_or(Some(e.residual), |r| e.residual.skip(first(r.strides())));
    Geometry {
        segments,
        in_size: [p.src.size(2), p.src.size(3)],
        out: [p.dst.size(0), part.size[0], part.size[1]],
        kernel: part.taps.map(|n| n.max(1)),
        stride: [1, 1],
        padding: part.padding,
        dilation: part.step,
        groups: 1,
        shuffle: 1,
        columns,
        weight: args.weight.ptr().wrapping_add(part.weight),
        weight_step: None,
        alpha: 1.0,
        epilogue: Epilogue {
            residual: p.epilogue.residual.map(|r| Strided::new(r.sizes(), &apart(r.strides()))),
            ..p.epilogue
        },
        operands: EpilogueArgs { bias, scale, shift, residual: residual.unwrap_or(e.residual) },
        dst: args.dst.ptr().wrapping_add(first(p.dst.strides())),
        dst_strides: apart(p.dst.strides()),
    }
}

entries!(Problem, Args<'_>, run);

/// 14 positions x 32 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX512: Kernel<Deconv> = Kernel {
    name: "avx512-parity-14x32",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns::<Avx512>(p, rates, 0.9),
    phases: |_| 1,
    tiles: |p, _| tiles::<Avx512>(p),
    workspace: |_| Workspace::default(),
    run: avx512,
};

/// 6 positions x 16 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: Kernel<Deconv> = Kernel {
    name: "avx2-parity-6x16",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns::<Avx2>(p, rates, 0.8),
    phases: |_| 1,
    tiles: |p, _| tiles::<Avx2>(p),
    workspace: |_| Workspace::default(),
    run: avx2,
};

/// 6 positions x 16 columns.
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: Kernel<Deconv> = Kernel {
    name: "neon-parity-6x16",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns::<Neon>(p, rates, 0.8),
    phases: |_| 1,
    tiles: |p, _| tiles::<Neon>(p),
    workspace: |_| Workspace::default(),
    run: neon,
};
