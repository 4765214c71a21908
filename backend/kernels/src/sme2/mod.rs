//! The matrix unit: outer products of SME2 into ZA, on slabs that hold k outermost.
//!
//! A [`Unit`] packs and multiplies. [`Sme2`] is the assembly of this folder; [`Emulated`] does the same steps in scalar
//! Rust at any vector length, so that everything above the unit is planned and tested on every host. An entry covers a
//! run of tiles and enters and leaves streaming mode itself: nothing else of Tandem ever runs in it.
//!
//! Sums run over k in order with fused multiply-adds.

#[cfg(all(test, target_arch = "aarch64"))]
mod abi;
#[cfg(all(test, target_arch = "aarch64"))]
mod agree;
mod conv;
pub(crate) mod costs;
mod depthwise;
mod drive;
mod emulated;
mod entries;
mod finish;
mod gemm;
mod gemv;
mod int8;
mod slab;
mod softmax;
mod tables;

pub(crate) use conv::row as conv_row;
pub(crate) use depthwise::row as depthwise_row;
pub use emulated::Emulated;
#[cfg(target_arch = "aarch64")]
pub use entries::Sme2;
#[cfg(target_arch = "aarch64")]
pub(crate) use finish::{Row, finish};
pub(crate) use gemm::row as gemm_row;
pub(crate) use gemv::row as gemv_row;
pub(crate) use int8::{dequantise_row, qconv_row, qgemm_row, quantise_row, slabs};
pub(crate) use softmax::row as softmax_row;

use crate::element::{Element, Packed};

/// f32 of a vector of at most 2048 bits, the most the architecture allows.
pub const MAX_LANES: usize = 64;

/// k values that follow each other at one distance: a tap of a segment, or all of k, counted in words. The operand runs are
/// not of has all its k at one distance.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Run {
    /// Words from a group's start, or with segments a block's of columns, to the run's first k.
    pub offset: usize,
    /// Number of k.
    pub count: usize,
}

/// Columns of a block of 2 VL that go to neighbouring elements of a row.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Segment {
    /// First column, counted from the block's.
    pub first: usize,
    /// End; 0 ends a block's list.
    pub end: usize,
    /// Elements from a row's pointer to the block's column 0, which may not exist.
    pub offset: isize,
}

/// Groups of 2 VL positions times panels of columns, where VL is the f32 of a vector.
///
/// k and steps of lhs and rhs count words, which hold [`Packed::PER_WORD`] k of a position or column.
///
/// dst[position][column] = clamp(sum over k of lhs[k][position] * rhs[k][column] + bias[column] + residual[position][column]).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Product<E = f32> {
    /// First position of the first group at offset 0; positions are contiguous.
    pub lhs: *const E,
    /// Words from one k to the next within a run.
    pub lhs_step: usize,
    /// Words from one group to the next.
    pub lhs_group: usize,
    /// Number of groups, at least 1.
    pub groups: usize,
    /// The k of lhs, or with segments of rhs.
    pub runs: *const Run,
    /// Number of runs, at least 1, each of at least 1 k.
    pub run_count: usize,
    /// First row of the first panel; columns are contiguous.
    pub rhs: *const E,
    /// Words from one k to the next.
    pub rhs_step: usize,
    /// Words from one panel to the next.
    pub rhs_panel: usize,
    /// Number of panels, at least 1.
    pub panels: usize,
    /// Columns of a panel; of the last one, those up to `columns` count.
    pub width: usize,
    /// Where column 0 of every position goes, 2 VL pointers a group; positions nobody wants point to a spare row,
    /// or are null behind the last one where there are segments.
    pub rows: *const *mut E,
    /// Column 0 of what is added to every position before the clamp, likewise; null = nothing, as with segments and for
    /// halves.
    pub residuals: *const *const E,
    /// End of the columns to compute.
    pub columns: usize,
    /// Positions lhs may be read for where it lies k by k with gaps, all groups together.
    pub positions: usize,
    /// Bias per column, or with segments per position, or null.
    pub bias: *const f32,
    /// Lower and upper bound, or null. NaN passes through.
    pub clamp: *const [f32; 2],
    /// Column of the first panel's first column.
    pub first: usize,
    /// Which columns to store where, block by block; null = all columns in a row.
    pub segments: *const Segment,
}

impl<E> Product<E> {
    /// Nothing, to be filled in.
    const NONE: Self = Self {
        lhs: std::ptr::null(),
        lhs_step: 0,
        lhs_group: 0,
        groups: 0,
        runs: std::ptr::null(),
        run_count: 0,
        rhs: std::ptr::null(),
        rhs_step: 0,
        rhs_panel: 0,
        panels: 0,
        width: 0,
        rows: std::ptr::null(),
        residuals: std::ptr::null(),
        columns: 0,
        positions: 0,
        bias: std::ptr::null(),
        clamp: std::ptr::null(),
        first: 0,
        segments: std::ptr::null(),
    };
}

/// Blocks of columns that [`Unit::gemv`] takes at a time.
pub const BLOCKS: usize = 8;

/// Few rows of contiguous k times blocks of columns, VL = f32 of a vector.
///
/// dst[row][column] = clamp(sum over k of lhs[row][k] * blocks[column / width][k][column % width] + bias[column]).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Thin {
    /// Row 0, k 0.
    pub lhs: *const f32,
    /// Elements from one row to the next.
    pub lhs_row: usize,
    /// Number of rows: 1 to 4, at most VL / 4.
    pub rows: usize,
    /// Number of k, at least 1.
    pub k: usize,
    /// k 0 of each block, followed by any blocks up to a multiple of [`BLOCKS`]; columns are contiguous.
    pub blocks: *const *const f32,
    /// Number of blocks, at least 1.
    pub count: usize,
    /// Elements from one k to the next.
    pub rhs_step: usize,
    /// Columns of a block, at most 2 VL; all can be read.
    pub width: usize,
    /// Row 0, column 0.
    pub dst: *mut f32,
    /// Elements from one row to the next.
    pub dst_row: usize,
    /// Number of columns to compute.
    pub columns: usize,
    /// Bias per column, or null.
    pub bias: *const f32,
    /// Lower and upper bound, or null. NaN passes through.
    pub clamp: *const [f32; 2],
}

impl Thin {
    /// Nothing, to be filled in.
    const NONE: Self = Self {
        lhs: std::ptr::null(),
        lhs_row: 0,
        rows: 0,
        k: 0,
        blocks: std::ptr::null(),
        count: 0,
        rhs_step: 0,
        width: 0,
        dst: std::ptr::null_mut(),
        dst_row: 0,
        columns: 0,
        bias: std::ptr::null(),
        clamp: std::ptr::null(),
    };
}

/// Rows of contiguous k to groups of 2 VL positions, words of k outermost:
/// dst[group][k / g][position][k % g] = rows[position][first + k], zero behind the last k of a word.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Pack<E = f32> {
    /// Every position's pointer, 2 VL a group; each row can be read for `k` elements from its k `first` on.
    pub rows: *const *const E,
    /// Elements from a row's pointer to its first k.
    pub first: usize,
    /// Number of groups, at least 1.
    pub groups: usize,
    /// Number of k, at least 1.
    pub k: usize,
    /// Group 0, k 0.
    pub dst: *mut E,
    /// Words from one word of k to the next, at least 2 VL.
    pub step: usize,
    /// Words from one group to the next.
    pub group: usize,
}

/// Weighted sums of taps of neighbouring positions, channel by channel.
///
/// dst[channel][position] = clamp(sum over taps of plane[channel][offset + position] * weight[tap][channel] + bias[channel]).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Taps {
    /// Channel 0, position 0. Read for whole groups from every tap's offset on.
    pub plane: *const f32,
    /// Elements from one channel to the next.
    pub step: usize,
    /// Number of channels, at least 1.
    pub channels: usize,
    /// Channel 0, tap 0; channels are contiguous.
    pub weight: *const f32,
    /// Elements from one tap's weights to the next one's.
    pub width: usize,
    /// Offset of each tap.
    pub offsets: *const usize,
    /// Number of taps, at least 1.
    pub count: usize,
    /// Number of groups of 4 VL positions, at least 1.
    pub groups: usize,
    /// Channel 0, position 0; whole groups are written.
    pub dst: *mut f32,
    /// Elements from one channel to the next.
    pub dst_step: usize,
    /// Bias per channel, or null.
    pub bias: *const f32,
    /// Lower and upper bound, or null. NaN passes through.
    pub clamp: *const [f32; 2],
}

/// Planes of contiguous positions to rows of contiguous channels: rows[position][first + channel] =
/// planes[channel][position].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Unpack {
    /// Channel 0, position 0; read for whole groups.
    pub planes: *const f32,
    /// Elements from one channel to the next.
    pub step: usize,
    /// Number of channels, at least 1.
    pub channels: usize,
    /// Every position's pointer, 2 VL a group.
    pub rows: *const *mut f32,
    /// Elements from a row's pointer to its first channel.
    pub first: usize,
    /// Number of groups, at least 1.
    pub groups: usize,
}

/// Rows of neighbours and where their softmax goes, which may be in place.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Rows {
    /// First element of the first row.
    pub src: *const f32,
    /// Where it goes.
    pub dst: *mut f32,
    /// Elements of a row, at least 1.
    pub len: usize,
    /// Number of rows, at least 1.
    pub rows: usize,
    /// Elements from one row to the next.
    pub src_row: usize,
    /// The same of dst.
    pub dst_row: usize,
    /// log2 e, p5, p3, p1, -127, -inf, p4, p2 of the exponential.
    pub constants: *const [f32; 8],
    /// Where the largest element of each row and the sum of e^(element - largest) go, and nothing to `dst`; null = softmax.
    pub sums: *mut [f32; 2],
}

/// Rows of planes from one place to another, where as many planes as a word has elements become one of words:
/// dst[plane / g][row][column][plane % g] = src[plane][row][column], zero for the planes a last word lacks.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Copy<E = f32> {
    /// First element.
    pub src: *const E,
    /// Where it goes.
    pub dst: *mut E,
    /// Elements of a row, at least 1.
    pub width: usize,
    /// Elements of src from one to the next: 1 or 2.
    pub step: usize,
    /// Rows of a plane, at least 1.
    pub rows: usize,
    /// Elements from one row to the next.
    pub src_row: usize,
    /// Words from one row of dst to the next.
    pub dst_row: usize,
    /// Number of planes, at least 1.
    pub planes: usize,
    /// Elements from one plane to the next.
    pub src_plane: usize,
    /// Words from one plane of words to the next.
    pub dst_plane: usize,
}

impl<E: Packed> Copy<E> {
    /// The same on a core, at any step.
    ///
    /// # Safety
    /// All elements the description names can be read or written.
    unsafe fn on_core(&self) {
        let g = E::PER_WORD;
        for plane in 0..self.planes.next_multiple_of(g) {
            for row in 0..self.rows {
                let from = self.src.wrapping_add(plane * self.src_plane + row * self.src_row);
                let to = g * (plane / g * self.dst_plane + row * self.dst_row) + plane % g;
                for i in 0..self.width {
                    // SAFETY: the caller's.
                    unsafe {
                        let value = if plane < self.planes { *from.add(i * self.step) } else { E::default() };
                        *self.dst.add(to + g * i) = value;
                    }
                }
            }
        }
    }
}

/// Something that packs and multiplies like the matrix unit.
pub trait Unit: 'static {
    /// f32 of a vector: a power of two from 4 to [`MAX_LANES`].
    fn lanes() -> usize;

    /// # Safety
    /// All elements the description names can be read or written; the CPU has the unit.
    unsafe fn pack<E: Packed>(pack: &Pack<E>);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn product<E: Element>(product: &Product<E>);

    /// The same, with rows of f32 that sums are stored to as they are.
    ///
    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn sums<E: Element>(product: &Product<E>);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn gemv(thin: &Thin);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn depthwise(taps: &Taps);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn softmax(rows: &Rows);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn unpack(unpack: &Unpack);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn copy<E: Packed>(copy: &Copy<E>);

    /// Writes one value to `count` words.
    ///
    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn splat<E: Packed>(dst: *mut E, count: usize, value: E);
}
