//! The inner loops, compiled for every instruction set.

use std::ops::Range;

use super::product::{Product, multiply};
use super::run::Engine;
use super::transform::{self, Filters, Output, Patch};
use crate::simd;

/// The inner loops compiled for `$features`: panels of `$width` columns, products of 1 to `$max` tiles.
macro_rules! engine {
    ($engine:ident, $lanes:ty, $features:literal, width $width:literal, rows $max:literal: $($rows:literal)*) => {
        pub(super) struct $engine;

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
#[cfg(target_arch = "x86_64")]
engine!(Zmm, simd::Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c", width 32, rows 12: 1 2 3 4 5 6 7 8 9 10 11 12);
#[cfg(target_arch = "x86_64")]
engine!(Ymm, simd::Avx2, "avx2,fma,f16c", width 16, rows 6: 1 2 3 4 5 6);
#[cfg(target_arch = "aarch64")]
engine!(Neon, simd::Neon, "neon", width 16, rows 6: 1 2 3 4 5 6);
