//! Products of image rows with weight panels: what convolution and GEMM rows share.
//!
//! Every problem is a convolution here: a GEMM is a 1x1 one over an image of one column. A tile is up to `V::ROWS`
//! output positions, counted on across image rows and batches, times the columns of one panel (half a panel for
//! vectors of 8). All its sums stay in registers over the whole of k, which is cut into *runs*: channels of one tap and
//! segment, contiguous in the source. For every run each position gives a pointer, to zeros where the tap lies in the
//! padding, so borders and positions in different image rows cost nothing in the inner loop.

mod geometry;
mod pack;
mod slab;
mod split;
mod store;
mod tile;

pub(crate) use geometry::{Geometry, Segment};
pub(crate) use pack::{Matrix, pack};
pub(crate) use slab::Slab;
pub(crate) use split::{Split, part};
pub(crate) use tile::{Panels, run_tiles};

use crate::simd::Simd;

/// Sizes of the register tile of a vector.
pub(crate) trait Tile: Simd {
    /// Most output positions of a tile.
    const ROWS: usize;
    /// Vectors of columns: with `ROWS` positions, their sums and one row of the panel fill the registers.
    const VECTORS: usize;
    /// Columns of a tile.
    const COLUMNS: usize = Self::VECTORS * Self::LANES;
}

#[cfg(target_arch = "x86_64")]
impl Tile for crate::simd::Avx512 {
    const ROWS: usize = 14;
    const VECTORS: usize = 2;
}

#[cfg(target_arch = "x86_64")]
impl Tile for crate::simd::Avx2 {
    const ROWS: usize = 6;
    const VECTORS: usize = 2;
}
