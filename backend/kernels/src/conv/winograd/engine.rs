//! The inner loops, compiled for every instruction set.

use std::ops::Range;

use super::Costs;
use super::product::{Product, multiply};
use super::run::Engine;
use super::transform::{self, Filters, Output, Patch};
use crate::element::Element;
use crate::simd;

/// The inner loops compiled for `$features`: panels of `$width` columns, products of 1 to `$max` tiles, what steps cost.
macro_rules! engine {
    ($engine:ident, $lanes:ty, $features:literal, width $width:literal, rows $max:literal: $($rows:literal)*, $costs:expr) => {
        pub(super) struct $engine;

        // SAFETY of all calls: the row's `isa` names the features, and arguments are the caller's to answer for.
        impl Engine for $engine {
            const WIDTH: usize = $width;
            const ROWS: usize = $max;
            const COSTS: Costs = $costs;

            unsafe fn input(patch: Patch<f32>, blocks: usize, dst: *mut f32, plane: usize, step: usize) {
                #[target_feature(enable = $features)]
                unsafe fn inner(
                    patch: Patch<f32>,
                    blocks: usize,
                    dst: *mut f32,
                    plane: usize,
                    step: usize,
                ) {
                    // SAFETY: see above.
                    unsafe { transform::input::<$lanes>(patch, blocks, dst, plane, step) }
                }
                // SAFETY: see above.
                unsafe { inner(patch, blocks, dst, plane, step) }
            }

            unsafe fn gather<E: Element>(
                patch: Patch<E>,
                channels: usize,
                valid: &[Range<usize>; 2],
                dst: *mut f32,
            ) {
                #[target_feature(enable = $features)]
                unsafe fn inner<E: Element>(
                    patch: Patch<E>,
                    channels: usize,
                    valid: &[Range<usize>; 2],
                    dst: *mut f32,
                ) {
                    // SAFETY: see above.
                    unsafe { transform::gather::<$lanes, E>(patch, channels, valid, dst) }
                }
                // SAFETY: see above.
                unsafe { inner(patch, channels, valid, dst) }
            }

            unsafe fn filter<E: Element>(filters: Filters<E>) {
                #[target_feature(enable = $features)]
                unsafe fn inner<E: Element>(filters: Filters<E>) {
                    // SAFETY: see above.
                    unsafe { transform::filter::<$lanes, E>(filters) }
                }
                // SAFETY: see above.
                unsafe { inner(filters) }
            }

            unsafe fn turn(src: *const f32, dst: (*mut f32, usize), rows: usize) {
                #[target_feature(enable = $features)]
                unsafe fn inner(src: *const f32, dst: (*mut f32, usize), rows: usize) {
                    // SAFETY: see above.
                    unsafe { transform::turn::<$lanes>(src, dst, rows) }
                }
                // SAFETY: see above.
                unsafe { inner(src, dst, rows) }
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

            unsafe fn output<E: Element>(output: &Output<E>) {
                #[target_feature(enable = $features)]
                unsafe fn inner<E: Element>(output: &Output<E>) {
                    // SAFETY: see above.
                    unsafe { transform::output::<$lanes, E>(output) }
                }
                // SAFETY: see above.
                unsafe { inner(output) }
            }
        }
    };
}
// Measured on one Zen 4 core of 118 GFLOP/s and 8 Gelement/s, for which both must be priced alike.
#[cfg(target_arch = "x86_64")]
engine!(
    Zmm, simd::Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c",
    width 32, rows 12: 1 2 3 4 5 6 7 8 9 10 11 12,
    Costs { share: 0.98, input: 400.0, turn: 330.0, filter: 230.0, output: 380.0 }
);
#[cfg(target_arch = "x86_64")]
engine!(
    Ymm, simd::Avx2, "avx2,fma,f16c",
    width 16, rows 6: 1 2 3 4 5 6,
    Costs { share: 0.94, input: 600.0, turn: 330.0, filter: 280.0, output: 800.0 }
);
// Assumed: those of eight lanes of AVX2.
#[cfg(target_arch = "aarch64")]
engine!(
    Neon, simd::Neon, "neon",
    width 16, rows 6: 1 2 3 4 5 6,
    Costs { share: 0.94, input: 600.0, turn: 330.0, filter: 280.0, output: 800.0 }
);
