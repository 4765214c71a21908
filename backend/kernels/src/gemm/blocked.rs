//! Matrix products in register tiles, on vectors.

use std::ops::Range;

use tandem_base::mem::ALIGN;
use tandem_base::{Isa, Span, SpanMut, Strided};

use super::{Args, Gemm, Problem, Rhs};
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::panels;
use crate::product::{Geometry, Matrix, Segment, Split, Tile, collide, pack, part, run_tiles, spread_bytes};
#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
use crate::simd::entries;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};

/// Rows of lhs one packing tile copies.
const PACK_ROWS: usize = 64;

/// What is packed into the shared workspace first, in elements.
#[derive(Clone, Copy)]
struct Packed {
    /// Batches of rhs panels: 0 where rhs comes in panels, 1 where batches share it.
    rhs_batches: usize,
    /// Elements of one batch's panels.
    rhs: usize,
    /// Whether lhs is copied to rows of contiguous k.
    lhs: bool,
}

impl Packed {
    fn new(p: &Problem) -> Self {
        let [batch, m, n, k] = p.sizes();
        let rhs_batches = match p.rhs {
            Rhs::Panels => 0,
            Rhs::Strided(r) if r.stride(0) == 0 || batch == 1 => batch.min(1),
            Rhs::Strided(_) => batch,
        };
        // Alone, a k of 1 or a single row reads as well from where it lies.
        Self { rhs_batches, rhs: k * panels::padded(n), lhs: p.lhs.stride(2) != 1 && k > 1 && m > 0 }
    }

    fn any(&self) -> bool {
        self.lhs || self.rhs_batches > 0
    }

    /// Bytes of panels, then of lhs.
    fn bytes(&self, p: &Problem) -> [usize; 2] {
        let [batch, m, _, k] = p.sizes();
        let lhs = if self.lhs { batch * m * k } else { 0 };
        [(4 * self.rhs_batches * self.rhs).next_multiple_of(ALIGN), 4 * lhs]
    }

    /// Packing tiles of rhs, then of lhs.
    fn tiles(&self, p: &Problem) -> [usize; 2] {
        let [batch, m, n, _] = p.sizes();
        let lhs = if self.lhs { batch * m.div_ceil(PACK_ROWS) } else { 0 };
        [self.rhs_batches * panels::count(n), lhs]
    }
}

fn split<V: Tile>(p: &Problem) -> Split {
    let [batch, m, n, k] = p.sizes();
    let positions = if Packed::new(p).rhs_batches > 1 { m } else { batch * m };
    Split::new(positions, 4 * k, panels::count(n), k, V::ROWS, collides(p))
}

/// Whether rows of lhs share a cache set.
fn collides(p: &Problem) -> bool {
    let [_, _, _, k] = p.sizes();
    collide(if Packed::new(p).lhs { k } else { p.lhs.stride(1) }, k)
}

fn product_tiles<V: Tile>(p: &Problem) -> usize {
    let each = if Packed::new(p).rhs_batches > 1 { p.sizes()[0] } else { 1 };
    each * split::<V>(p).tiles()
}

#[inline(always)]
unsafe fn run<V: Tile>(
    p: &Problem,
    args: &Args<'_>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let packed = Packed::new(p);
    if packed.any() && phase == 0 {
        for tile in tiles {
            // SAFETY: `Gemm::check` passed and the workspace has the sizes `Packed::bytes` names.
            unsafe { pack_tile::<V>(p, args, packed, tile, shared) }
        }
        return;
    }
    let [batch, m, _, k] = p.sizes();
    let [panel_bytes, _] = packed.bytes(p);
    let l = p.lhs.strides();
    let (lhs, strides) = if packed.lhs {
        (shared.ptr().wrapping_add(panel_bytes).cast::<f32>().cast_const(), [m * k, 1, k, 0])
    } else {
        (args.lhs.ptr(), [l[0], 1, l[1], 0])
    };
    let separate = packed.rhs_batches > 1;
    let split = split::<V>(p);
    for tile in tiles {
        // Batches with a right-hand side of their own are problems of their own.
        let (b, tile) = if separate { (tile / split.tiles(), tile % split.tiles()) } else { (0, tile) };
        let segments = [Segment { ptr: lhs.wrapping_add(b * strides[0]), channels: k, strides }];
        let here = if separate { [1, m] } else { [batch, m] };
        let g = geometry(p, args, here, b, &segments);
        let packed_rhs = shared.ptr().cast::<f32>().cast_const().wrapping_add(b * packed.rhs);
        let weight = if packed.rhs_batches > 0 { packed_rhs } else { args.rhs.ptr() };
        // SAFETY: `Gemm::check` passed, k is contiguous, and the entry point has the instructions.
        unsafe { run_tiles::<V>(&Geometry { weight, ..g }, &split.tile(tile), scratch) }
    }
}

/// The product of `batch` x `m` rows from batch `b` on as a 1x1 convolution of images one column wide.
fn geometry<'a>(
    p: &Problem,
    args: &Args<'a>,
    [batch, m]: [usize; 2],
    b: usize,
    segments: &'a [Segment],
) -> Geometry<'a> {
    let [_, _, n, _] = p.sizes();
    let d = p.dst.strides();
    let image = |s: &Strided| Strided::new(&[batch, n, m, 1], &[s.stride(0), s.stride(2), s.stride(1), 0]);
    let residual = p.epilogue.residual.as_ref();
    let skip = b * residual.map_or(0, |r| r.stride(0));
    let operands = EpilogueArgs {
        residual: args.epilogue.residual.skip(skip).unwrap_or(Span::empty()),
        ..args.epilogue
    };
    Geometry {
        weight: args.rhs.ptr(),
        alpha: p.alpha,
        epilogue: Epilogue { residual: residual.map(image), ..p.epilogue },
        operands,
        dst: args.dst.ptr().wrapping_add(b * d[0]),
        dst_strides: [d[0], d[2], d[1], 0],
        ..Geometry::of_rows(segments, [batch, m], n)
    }
}

/// One panel of rhs, or some rows of lhs.
#[inline(always)]
unsafe fn pack_tile<V: Tile>(
    p: &Problem,
    args: &Args<'_>,
    packed: Packed,
    tile: usize,
    shared: SpanMut<'_, u8>,
) {
    let [_, m, n, k] = p.sizes();
    let [rhs_tiles, _] = packed.tiles(p);
    // SAFETY: the caller's; tiles write disjoint panels and rows.
    unsafe {
        if tile < rhs_tiles {
            let Rhs::Strided(r) = p.rhs else { return };
            let (batch, panel) = (tile / panels::count(n), tile % panels::count(n));
            let (first, width) = (panel * panels::PANEL, panels::width(n, panel));
            let columns = width.min(n - first);
            let from = args.rhs.ptr().add(batch * r.stride(0) + first * r.stride(2));
            let to = shared.ptr().cast::<f32>().add(batch * packed.rhs + first * k);
            if columns < width {
                to.write_bytes(0, k * width);
            }
            pack::<V>(Matrix { ptr: from, row: r.stride(1), column: r.stride(2) }, to, width, k, columns);
        } else {
            let per_batch = m.div_ceil(PACK_ROWS);
            let (batch, block) = ((tile - rhs_tiles) / per_batch, (tile - rhs_tiles) % per_batch);
            let rows = part(m, per_batch, block);
            let l = p.lhs.strides();
            let from = args.lhs.ptr().add(batch * l[0] + rows.start * l[1]);
            let [skip, _] = packed.bytes(p);
            let to = shared.ptr().add(skip).cast::<f32>().add((batch * m + rows.start) * k);
            pack::<V>(Matrix { ptr: from, row: l[1], column: l[2] }, to, k, rows.len(), k);
        }
    }
}

entries!(Problem, Args<'_>, run);

fn supports(_: &Problem) -> Result<(), Refusal> {
    Ok(())
}

fn ns<V: Tile>(p: &Problem, rates: &Rates, share: f64) -> f64 {
    let ([batch, m, n, k], packed) = (p.sizes(), Packed::new(p));
    let columns = panels::padded(n);
    let tiles = (batch * m.div_ceil(V::ROWS) * columns.div_ceil(V::COLUMNS)) as f64;
    let flops = 2.0 * (batch * m * columns) as f64 * k as f64;
    let scattered = if p.dst.stride(2) == 1 || n == 1 { 0.0 } else { (batch * m * n) as f64 };
    let copied = packed.bytes(p).iter().sum::<usize>() as f64;
    let weights = 4.0 * (packed.rhs_batches.max(1) * k * columns) as f64;
    let compute = flops / (share * rates.fma_gflops) + 20.0 * tiles + scattered + copied * 0.15;
    let parts = split::<V>(p).position_parts;
    let product = rates.product_ns(compute, weights, m.div_ceil(V::ROWS), parts);
    let elements = p.dst.elements();
    product.max(<Gemm>::cost(p).bytes / rates.l2_gbs)
        + rates.epilogue_ns(&p.epilogue, elements)
        + rates.written_ns(4.0 * elements as f64)
}

fn workspace<V: Tile>(p: &Problem) -> Workspace {
    let ([_, _, _, k], packed) = (p.sizes(), Packed::new(p));
    let per_worker = if collides(p) { spread_bytes(split::<V>(p).widest(), k) } else { 0 };
    Workspace { shared: packed.bytes(p).iter().sum(), per_worker }
}

fn phases(p: &Problem) -> usize {
    1 + usize::from(Packed::new(p).any())
}

fn tiles<V: Tile>(p: &Problem, phase: usize) -> usize {
    let packed = Packed::new(p);
    if packed.any() && phase == 0 { packed.tiles(p).iter().sum() } else { product_tiles::<V>(p) }
}

/// 14 rows x 32 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX512: Kernel<Gemm> = Kernel {
    name: "avx512-14x32",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns::<Avx512>(p, rates, 0.93),
    phases,
    tiles: tiles::<Avx512>,
    workspace: workspace::<Avx512>,
    run: avx512,
};

/// 6 rows x 16 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2: Kernel<Gemm> = Kernel {
    name: "avx2-6x16",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns::<Avx2>(p, rates, 0.8),
    phases,
    tiles: tiles::<Avx2>,
    workspace: workspace::<Avx2>,
    run: avx2,
};

/// 6 rows x 16 columns.
#[cfg(target_arch = "aarch64")]
pub(super) const NEON: Kernel<Gemm> = Kernel {
    name: "neon-6x16",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns::<Neon>(p, rates, 0.8),
    phases,
    tiles: tiles::<Neon>,
    workspace: workspace::<Neon>,
    run: neon,
};
