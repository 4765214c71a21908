//! Products of image rows with weight panels: what convolution and GEMM rows share.
//!
//! Every problem is a convolution here: a GEMM is a 1x1 one over an image of one column. A tile is up to `V::ROWS`
//! output positions, counted on across image rows and batches, times the columns of one panel (half a panel for
//! vectors of 8). All its sums stay in registers over the whole of k, which is cut into *runs*: channels of one tap and
//! segment, contiguous in the source. For every run each position gives a pointer, to zeros where the tap lies in the
//! padding, so borders and positions in different image rows cost nothing in the inner loop.

mod geometry;
mod line;
mod pack;
mod slab;
mod split;
mod spread;
mod store;
mod tile;

pub(crate) use geometry::{Geometry, Segment};
pub(crate) use pack::{Matrix, pack};
pub(crate) use slab::{Slab, TURNED};
pub(crate) use split::{Split, part};
pub(crate) use spread::{collide, spread_bytes};
pub(crate) use tile::{Panels, run_tiles};

use crate::simd::Simd;
use line::{Line, Start};
use store::Place;
use tile::{Block, Strip};

/// No tile has more rows.
pub(crate) const MAX_ROWS: usize = 14;

/// The register tile of a vector: its sizes, and its code compiled once for every family that uses it.
pub(crate) trait Tile: Simd {
    /// Most output positions of a tile.
    const ROWS: usize;
    /// Vectors of columns: with `ROWS` positions, their sums and one row of the panel fill the registers.
    const VECTORS: usize;
    /// Columns of a tile.
    const COLUMNS: usize = Self::VECTORS * Self::LANES;

    /// Computes and stores the tiles of a strip; `line` where they lie evenly.
    ///
    /// # Safety
    /// As [`run_tiles`].
    unsafe fn strip(g: &Geometry<'_>, line: Option<(&Line, Start)>, strip: &Strip);

    /// Applies any epilogue to sums in memory and stores them.
    ///
    /// # Safety
    /// As [`run_tiles`]; `sums` are `vectors` vectors for each place.
    unsafe fn finish(g: &Geometry<'_>, block: &Block, places: &[Place], sums: *const f32, vectors: usize);
}

macro_rules! tile {
    ($vector:ty, $features:literal, [$($fewer:literal)*] $rows:literal x $vectors:literal) => {
        impl Tile for $vector {
            const ROWS: usize = $rows;
            const VECTORS: usize = $vectors;

            unsafe fn strip(g: &Geometry<'_>, line: Option<(&Line, Start)>, strip: &Strip) {
                // A function for each number of rows: one for all of them takes minutes to compile.
                #[target_feature(enable = $features)]
                unsafe fn compiled<const N: usize>(
                    g: &Geometry<'_>,
                    line: Option<(&Line, Start)>,
                    strip: &Strip,
                ) {
                    // SAFETY: the caller's; these are the vector's features.
                    unsafe {
                        match line {
                            Some((line, start)) => line::along::<$vector, N>(g, line, start, strip),
                            None => tile::along::<$vector, N>(g, strip),
                        }
                    }
                }
                // SAFETY: the caller's.
                unsafe {
                    match strip.rows {
                        $($fewer => compiled::<$fewer>(g, line, strip),)*
                        $rows => compiled::<$rows>(g, line, strip),
                        rows => unreachable!("a tile of {rows} rows"),
                    }
                }
            }

            unsafe fn finish(
                g: &Geometry<'_>,
                block: &Block,
                places: &[Place],
                sums: *const f32,
                vectors: usize,
            ) {
                #[target_feature(enable = $features)]
                unsafe fn compiled(
                    g: &Geometry<'_>,
                    block: &Block,
                    places: &[Place],
                    sums: *const f32,
                    n: usize,
                ) {
                    // SAFETY: the caller's; these are the vector's features.
                    unsafe { store::finish::<$vector>(g, block, places, sums, n) }
                }
                // SAFETY: the caller's.
                unsafe { compiled(g, block, places, sums, vectors) }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
tile!(crate::simd::Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c", [1 2 3 4 5 6 7 8 9 10 11 12 13] 14 x 2);
#[cfg(target_arch = "x86_64")]
tile!(crate::simd::Avx2, "avx2,fma,f16c", [1 2 3 4 5] 6 x 2);
#[cfg(target_arch = "aarch64")]
tile!(crate::simd::Neon, "neon", [1 2 3 4 5] 6 x 2);
