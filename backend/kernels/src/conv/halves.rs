//! Convolution of f16 and bf16 on cores as products, see [`crate::words`]; sums are f32.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Conv, Problem};
use crate::element::{Element, bf16, f16};
use crate::kernel::Kernel;
use crate::panels::{self, PANEL};
use crate::simd::Neon;
use crate::sme2::{Row, finish};
use crate::words::{Bfmmla, Fmla, Halves, MAX_ROWS, Matrix, Taps, spread};

/// FMLA of f32.
pub(super) const F16: Kernel<Conv<f16>> = row::<f16, Fmla<f16>>("neon-fmla-8x8", Isa::NEON);
/// FMLA of f32.
pub(super) const BF16: Kernel<Conv<bf16>> = row::<bf16, Fmla<bf16>>("neon-fmla-8x8", Isa::NEON);
/// FEAT_BF16.
pub(super) const BFMMLA: Kernel<Conv<bf16>> = row::<bf16, Matrix<Bfmmla>>("neon-bfmmla-12x8", Isa::BF16);

const fn row<X: Element, E: Halves>(name: &'static str, isa: Isa) -> Kernel<Conv<X>> {
    Kernel {
        name,
        isa,
        supports: Taps::supports,
        ns: |p, rates| Taps::new::<X>(p).ns::<E>(rates) + rates.epilogue_ns(&p.epilogue, p.dst.elements()),
        phases: |_| 2,
        tiles: |p, phase| Taps::new::<X>(p).tiles::<E>(phase),
        workspace: |p| Taps::new::<X>(p).workspace::<E>(),
        run: run::<X, E>,
    }
}

unsafe fn run<X: Element, E: Halves>(
    p: &Problem,
    args: &Args<'_, X>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let taps = Taps::new::<X>(p);
    let padded = panels::padded(p.column_groups().1);
    let mut sums = [0f32; MAX_ROWS * PANEL];
    let mut line = [X::default(); PANEL];
    // SAFETY: `Conv::check` passed, the blocks have the workspace's sizes.
    unsafe {
        if phase == 0 {
            return taps.fill(tiles, &args.src, X::default(), shared.ptr());
        }
        let pack = |from: *const u8, to, step| E::fill(from.cast(), taps.k() / size_of::<X>(), to, step);
        let weight = args.weight.ptr().cast();
        taps.multiply::<E>(tiles, weight, [shared, scratch], pack, |tile, place| {
            E::sums(tile, sums.as_mut_ptr());
            let first = place.columns.start;
            let operands = args.epilogue.skip(place.part * padded);
            for r in 0..tile.rows {
                let (residual, step) = p
                    .epilogue
                    .residual
                    .map_or((0, 0), |s| (taps.at(&s, place.part, place.position + r), s.stride(1)));
                let row = Row {
                    sums: sums.as_ptr().wrapping_add(r * tile.panel.width).wrapping_sub(first),
                    dst: line.as_mut_ptr().wrapping_sub(first),
                    residual,
                    step,
                };
                finish::<Neon, X>(&p.epilogue, &operands, 1.0, &row, place.columns.clone());
                let at = taps.at(&p.dst, place.part, place.position + r) + first * p.dst.stride(1);
                spread(&line[..place.columns.len()], args.dst.ptr().add(at), p.dst.stride(1));
            }
        });
    }
}
