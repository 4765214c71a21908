//! The AVX2 and AVX-512 rows.

use std::ops::Range;

use tandem_base::Isa;

use super::plan::Plan;
use super::product::{Product, multiply};
use super::run::{Engine, run};
use super::transform::{self, Filters, Output, Patch};
use super::{Costs, ns, supports};
use crate::conv::Conv;
use crate::kernel::Kernel;
use crate::simd;

/// The inner loops compiled for `$features`: `$vectors` vectors a panel, products of 1 to `$rows` tiles.
macro_rules! engine {
    ($engine:ident, $lanes:ty, $features:literal, width $width:literal, rows $max:literal: $($rows:literal)*) => {
        struct $engine;

        // SAFETY of all calls: the row's `isa` names the features, and arguments are the caller's to answer for.
        impl Engine for $engine {
            const WIDTH: usize = $width;
            const ROWS: usize = $max;

            unsafe fn input(patch: Patch, blocks: usize, dst: *mut f32, plane: usize, step: usize) {
                #[target_feature(enable = $features)]
                unsafe fn inner(patch: Patch, blocks: usize, dst: *mut f32, plane: usize, step: usize) {
                    // SAFETY: see above.
                    unsafe { transform::input::<$lanes>(patch, blocks, dst, plane, step) }
                }
                // SAFETY: see above.
                unsafe { inner(patch, blocks, dst, plane, step) }
            }

            unsafe fn gather(patch: Patch, channels: usize, valid: &[Range<usize>; 2], dst: *mut f32) {
                #[target_feature(enable = $features)]
                unsafe fn inner(patch: Patch, channels: usize, valid: &[Range<usize>; 2], dst: *mut f32) {
                    // SAFETY: see above.
                    unsafe { transform::gather::<$lanes>(patch, channels, valid, dst) }
                }
                // SAFETY: see above.
                unsafe { inner(patch, channels, valid, dst) }
            }

            unsafe fn filter(filters: Filters) {
                #[target_feature(enable = $features)]
                unsafe fn inner(filters: Filters) {
                    // SAFETY: see above.
                    unsafe { transform::filter::<$lanes>(filters) }
                }
                // SAFETY: see above.
                unsafe { inner(filters) }
            }

            unsafe fn multiply(product: &Product<'_>, rows: usize, width: usize) {
                #[target_feature(enable = $features)]
                unsafe fn inner<const ROWS: usize, const COLUMNS: usize>(product: &Product<'_>) {
                    // SAFETY: see above.
                    unsafe { multiply::<$lanes, ROWS, COLUMNS>(product) }
                }
                const LANES: usize = <$lanes as simd::Simd>::LANES;
                // SAFETY: see above.
                unsafe {
                    match (rows, width) {
                        $(($rows, $width) => inner::<$rows, { $width / LANES }>(product),)*
                        $(($rows, _) => inner::<$rows, { 16 / LANES }>(product),)*
                        _ => unreachable!("product of {rows} tiles"),
                    }
                }
            }

            unsafe fn output(output: &Output) {
                #[target_feature(enable = $features)]
                unsafe fn inner(output: &Output) {
                    // SAFETY: see above.
                    unsafe { transform::output::<$lanes>(output) }
                }
                // SAFETY: see above.
                unsafe { inner(output) }
            }
        }
    };
}

engine!(Zmm, simd::Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c", width 32, rows 12: 1 2 3 4 5 6 7 8 9 10 11 12);
engine!(Ymm, simd::Avx2, "avx2,fma,f16c", width 16, rows 6: 1 2 3 4 5 6);

// Costs are measured on one Zen 4 core of 118 GFLOP/s and 8 Gelement/s, for which both rows must be priced alike.
const AVX512_COSTS: Costs =
    Costs { width: Zmm::WIDTH, share: 0.98, input: 400.0, filter: 230.0, output: 380.0 };
const AVX2_COSTS: Costs =
    Costs { width: Ymm::WIDTH, share: 0.94, input: 600.0, filter: 280.0, output: 800.0 };

/// F(4x4, 3x3) on AVX-512, products of 12 tiles and 32 columns.
pub(in crate::conv) const AVX512: Kernel<Conv> = Kernel {
    name: "avx512-winograd-4x4",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns(p, rates, &AVX512_COSTS),
    phases: |p| Plan::new(p, Zmm::WIDTH).phases(),
    tiles: |p, phase| Plan::new(p, Zmm::WIDTH).phase_tiles(phase),
    workspace: |p| Plan::new(p, Zmm::WIDTH).workspace(),
    run: run::<Zmm>,
};

/// F(4x4, 3x3) on AVX2, products of 6 tiles and 16 columns.
pub(in crate::conv) const AVX2: Kernel<Conv> = Kernel {
    name: "avx2-winograd-4x4",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns(p, rates, &AVX2_COSTS),
    phases: |p| Plan::new(p, Ymm::WIDTH).phases(),
    tiles: |p, phase| Plan::new(p, Ymm::WIDTH).phase_tiles(phase),
    workspace: |p| Plan::new(p, Ymm::WIDTH).workspace(),
    run: run::<Ymm>,
};
