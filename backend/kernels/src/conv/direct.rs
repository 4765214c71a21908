//! Direct convolution over channels-last sources, on vectors.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Conv, MAX_SEGMENTS, Problem};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::product::{Geometry, Segment, Split, Tile, collide, run_tiles, spread_bytes};
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
use crate::simd::entries;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};

/// Segments with pointers, in the product's form.
pub(super) fn segments(p: &Problem, args: &Args<'_>) -> [Segment; MAX_SEGMENTS] {
    let mut segments = [Segment::NONE; MAX_SEGMENTS];
    for ((to, shape), src) in segments.iter_mut().zip(&p.src).zip(&args.src) {
        let s = shape.strides();
        *to = Segment { ptr: src.ptr(), channels: shape.size(1), strides: [s[0], s[1], s[2], s[3]] };
    }
    segments
}

pub(super) fn geometry<'a>(p: &Problem, args: &Args<'a>, segments: &'a [Segment]) -> Geometry<'a> {
    let (d, [oh, ow]) = (p.dst.strides(), p.out_size());
    Geometry {
        segments,
        in_size: p.in_size(),
        out: [p.batch(), oh, ow],
        kernel: p.kernel,
        stride: p.stride,
        padding: [p.padding[0], p.padding[1]],
        dilation: p.dilation,
        groups: p.groups,
        shuffle: p.shuffle,
        columns: p.column_groups().1,
        weight: args.weight.ptr(),
        weight_step: None,
        alpha: 1.0,
        epilogue: p.epilogue,
        operands: args.epilogue,
        dst: args.dst.ptr(),
        dst_strides: [d[0], d[1], d[2], d[3]],
    }
}

/// Panels of all parts.
pub(super) fn panel_count(p: &Problem) -> usize {
    let (parts, columns) = p.column_groups();
    parts * panels::count(columns)
}

pub(super) fn positions(p: &Problem) -> usize {
    p.batch() * p.out_size().iter().product::<usize>()
}

fn channels_contiguous(p: &Problem) -> bool {
    p.src.iter().all(|s| s.stride(1) == 1 || s.size(1) == 1)
}

/// Multiply-adds with padded columns at a share of the peak, and what every run and register tile costs besides.
fn ns<V: Tile>(p: &Problem, rates: &Rates, share: f64) -> f64 {
    product_ns::<V>(p, rates, share, p.kernel[0] * p.kernel[1] * p.src.len())
}

/// Prediction for a product whose k comes in so many runs.
pub(super) fn product_ns<V: Tile>(p: &Problem, rates: &Rates, share: f64, runs: usize) -> f64 {
    let tiles = (positions(p).div_ceil(V::ROWS) * p.padded_columns().div_ceil(V::COLUMNS)) as f64;
    let flops = 2.0 * (positions(p) * p.padded_columns()) as f64 * p.k() as f64;
    let weights = 4.0 * (p.k() * p.padded_columns()) as f64;
    let together = p.dst.stride(1) == 1 || p.dst.size(1) == 1;
    let scattered = if together { 0.0 } else { p.dst.elements() as f64 };
    let shuffled = if p.shuffle > 1 { 0.6 * p.dst.elements() as f64 } else { 0.0 };
    let compute = flops / (share * rates.fma_gflops) + tiles * (15.0 + 6.0 * runs as f64) + scattered;
    let (strips, parts) = (positions(p).div_ceil(V::ROWS), split::<V>(p).position_parts);
    let elements = p.dst.elements();
    let product = rates.product_ns(compute + shuffled, weights, strips, parts);
    product.max(<Conv>::cost(p).bytes / rates.l2_gbs)
        + rates.epilogue_ns(&p.epilogue, elements)
        + rates.written_ns(4.0 * elements as f64)
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    if channels_contiguous(p) { Ok(()) } else { Err("channels are not contiguous") }
}

fn split<V: Tile>(p: &Problem) -> Split {
    let bytes = 4 * p.in_channels() * p.stride[0].min(p.kernel[0]) * p.stride[1].min(p.kernel[1]);
    Split::new(positions(p), bytes, panel_count(p), p.k(), V::ROWS, collides(p))
}

/// Whether pixels of neighbouring positions share a cache set.
fn collides(p: &Problem) -> bool {
    let pixel = p.kernel == [1, 1] && p.src.len() == 1 && p.groups == 1 && p.shuffle == 1;
    pixel && collide(p.src[0].stride(3) * p.stride[1], p.k())
}

fn workspace<V: Tile>(p: &Problem) -> Workspace {
    Workspace {
        shared: 0,
        per_worker: if collides(p) { spread_bytes(split::<V>(p).widest(), p.k()) } else { 0 },
    }
}

#[inline(always)]
unsafe fn run<V: Tile>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let segments = segments(p, args);
    let g = geometry(p, args, &segments[..p.src.len()]);
    let split = split::<V>(p);
    for tile in tiles {
        // SAFETY: `Conv::check` passed, channels are contiguous, and the entry point has the instructions.
        unsafe { run_tiles::<V>(&g, &split.tile(tile), scratch) }
    }
}

entries!(Problem, Args<'_>, run);

/// Direct, 14 positions x 32 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX512: Kernel<Conv> = Kernel {
    name: "avx512-direct-14x32",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns::<Avx512>(p, rates, 0.93),
    phases: |_| 1,
    tiles: |p, _| split::<Avx512>(p).tiles(),
    workspace: workspace::<Avx512>,
    run: avx512,
};

/// Direct, 6 positions x 16 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: Kernel<Conv> = Kernel {
    name: "avx2-direct-6x16",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns::<Avx2>(p, rates, 0.8),
    phases: |_| 1,
    tiles: |p, _| split::<Avx2>(p).tiles(),
    workspace: workspace::<Avx2>,
    run: avx2,
};

/// Direct, 6 positions x 16 columns.
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: Kernel<Conv> = Kernel {
    name: "neon-direct-6x16",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns::<Neon>(p, rates, 0.8),
    phases: |_| 1,
    tiles: |p, _| split::<Neon>(p).tiles(),
    workspace: workspace::<Neon>,
    run: neon,
};
