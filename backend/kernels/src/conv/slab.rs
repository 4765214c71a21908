//! Direct convolution over a padded channels-last copy of the source rows a tile needs: any source strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::direct::{geometry, panel_count, positions, product_ns, segments};
use super::{Args, Conv, Problem};
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::product::{Geometry, Panels, Slab, TURNED, Tile, part, run_tiles};
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
use crate::simd::entries;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};

/// Elements of a slab at most, so that it stays in L2.
const SLAB_ELEMENTS: usize = 48 << 10;
/// Multiply-adds of a task tile to aim for.
const SLAB_WORK: usize = 1_500_000;

fn supports(p: &Problem) -> Result<(), Refusal> {
    if p.groups > 1 {
        return Err("groups");
    }
    if positions(p) > 0 && slab_elements(p, 1) > 8 * SLAB_ELEMENTS {
        return Err("one output row's slab exceeds L2");
    }
    Ok(())
}

/// Elements of the slab for `rows` output rows.
fn slab_elements(p: &Problem, rows: usize) -> usize {
    let reach = [0, 1].map(|axis| (p.kernel[axis] - 1) * p.dilation[axis] + 1);
    let height = (rows - 1) * p.stride[0] + reach[0];
    let width = (p.out_size()[1].max(1) - 1) * p.stride[1] + reach[1];
    height * width * p.in_channels()
}

/// Ranges of output rows per image.
fn row_parts(p: &Problem) -> usize {
    let [oh, ow] = p.out_size();
    let per_row = (ow * p.k() * p.padded_columns()).max(1);
    let mut rows = (SLAB_WORK / per_row).clamp(1, oh.max(1));
    while rows > 1 && slab_elements(p, rows) > SLAB_ELEMENTS {
        rows -= 1;
    }
    oh.div_ceil(rows)
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
    let (parts, memory) = (row_parts(p), scratch.ptr().cast::<f32>());
    for tile in tiles {
        let (n, rows) = (tile / parts, part(p.out_size()[0], parts, tile % parts));
        if rows.is_empty() {
            continue;
        }
        let slab = Slab::new(&g, &rows);
        let merge = merged(p);
        let source = [slab.segment(memory, merge)];
        let moved = |strides: &[usize]| n * strides[0] + rows.start * p.shuffle * strides[2];
        let epilogue = p.epilogue.residual.map(|r| moved(r.strides()));
        let mut operands = args.epilogue;
        if let Some(skip) = epilogue {
            operands.residual = operands.residual.skip(skip).unwrap_or(operands.residual);
        }
        let here = Geometry {
            segments: &source,
            in_size: [slab.size[0], slab.size[1]],
            out: [1, rows.len(), g.out[2]],
            kernel: [p.kernel[0], p.kernel[1] / merge],
            padding: [0, 0],
            operands,
            dst: g.dst.wrapping_add(moved(&g.dst_strides)),
            ..g
        };
        let work = Panels { positions: 0..here.positions(), panels: 0..panel_count(p) };
        // SAFETY: `Conv::check` passed, the scratch holds the slab, and the entry point has the instructions.
        unsafe {
            slab.fill::<V>(&g, n, memory);
            run_tiles::<V>(&here, &work, SpanMut::empty());
        }
    }
}

entries!(Problem, Args<'_>, run);

/// Taps of a kernel row that are one run in the slab.
fn merged(p: &Problem) -> usize {
    if p.dilation[1] == 1 { p.kernel[1] } else { 1 }
}

/// The product's time and the slabs': a column at a time of as many channels as a vector has lanes, or an element.
fn time<V: Tile>(p: &Problem, rates: &Rates, share: f64) -> f64 {
    let product = product_ns::<V>(p, rates, share, p.kernel[0] * p.kernel[1] / merged(p));
    if positions(p) == 0 {
        return product;
    }
    let parts = row_parts(p);
    let columns =
        p.batch() * parts * slab_elements(p, p.out_size()[0].div_ceil(parts)) / p.in_channels().max(1);
    let fill = |s: &Strided| {
        let turned = s.size(1) >= TURNED && s.stride(3) == 1;
        if turned { 2.2 * s.size(1).div_ceil(V::LANES) as f64 } else { 0.4 * s.size(1) as f64 }
    };
    product + columns as f64 * p.src.iter().map(fill).sum::<f64>()
}

fn workspace(p: &Problem) -> Workspace {
    if positions(p) == 0 {
        return Workspace::default();
    }
    let [oh, _] = p.out_size();
    Workspace { shared: 0, per_worker: 4 * slab_elements(p, oh.div_ceil(row_parts(p))) }
}

/// Direct over a padded copy of the source rows, 14 positions x 32 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX512: Kernel<Conv> = Kernel {
    name: "avx512-slab-14x32",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| time::<Avx512>(p, rates, 0.93),
    phases: |_| 1,
    tiles: |p, _| if positions(p) == 0 { 0 } else { p.batch() * row_parts(p) },
    workspace,
    run: avx512,
};

/// Direct over a padded copy of the source rows, 6 positions x 16 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: Kernel<Conv> = Kernel {
    name: "avx2-slab-6x16",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| time::<Avx2>(p, rates, 0.8),
    phases: |_| 1,
    tiles: |p, _| if positions(p) == 0 { 0 } else { p.batch() * row_parts(p) },
    workspace,
    run: avx2,
};

/// Direct over a padded copy of the source rows, 6 positions x 16 columns.
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: Kernel<Conv> = Kernel {
    name: "neon-slab-6x16",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| time::<Neon>(p, rates, 0.8),
    phases: |_| 1,
    tiles: |p, _| if positions(p) == 0 { 0 } else { p.batch() * row_parts(p) },
    workspace,
    run: neon,
};
