//! The matrix unit: outer products of SME2 into ZA, on slabs that hold k outermost.
//!
//! A [`Unit`] packs and multiplies. [`Sme2`] is the assembly of this folder; [`Emulated`] does the same steps in scalar
//! Rust at any vector length, so that everything above the unit is planned and tested on every host. An entry covers a
//! run of tiles and enters and leaves streaming mode itself: nothing else of Tandem ever runs in it.
//!
//! Sums run over k in order with fused multiply-adds.

#[cfg(all(test, target_arch = "aarch64"))]
mod abi;
mod conv;
mod depthwise;
mod drive;
mod emulated;
mod entries;
mod finish;
mod gemm;
mod int8;
mod slab;
mod softmax;
mod tables;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use conv::row as conv_row;
pub(crate) use depthwise::row as depthwise_row;
pub use emulated::Emulated;
#[cfg(target_arch = "aarch64")]
pub use entries::Sme2;
pub(crate) use gemm::row as gemm_row;
pub(crate) use int8::qgemm_row;
pub(crate) use softmax::row as softmax_row;

/// Multiply-adds of one unit in GFLOP/s with f32: an Apple M4's as published, until a device profile says otherwise.
const GFLOPS: f64 = 1900.0;
/// Multiply-adds of multi-vector instructions into ZA, likewise.
const VECTOR_GFLOPS: f64 = 240.0;
/// Elements to or from a slab, in Gelement/s: 0.22 counted instructions each, at one a cycle of 4 GHz.
const COPY_GELEMS: f64 = 18.0;
/// Time to enter and leave streaming mode, in ns: assumed, no figure is published.
const ENTRY_NS: f64 = 100.0;

/// f32 of a vector of at most 2048 bits, the most the architecture allows.
pub const MAX_LANES: usize = 64;

/// k values that follow each other at one distance: a tap of a segment, or all of k. The operand runs are not of has
/// all its k at one distance.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Run {
    /// Elements from a group's start, or with segments a block's of columns, to the run's first k.
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
/// dst[position][column] = clamp(sum over k of lhs[k][position] * rhs[k][column] + bias[column]).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Product {
    /// First position of the first group at offset 0; positions are contiguous.
    pub lhs: *const f32,
    /// Elements from one k to the next within a run.
    pub lhs_step: usize,
    /// Elements from one group to the next.
    pub lhs_group: usize,
    /// Number of groups, at least 1.
    pub groups: usize,
    /// The k of lhs, or with segments of rhs.
    pub runs: *const Run,
    /// Number of runs, at least 1, each of at least 1 k.
    pub run_count: usize,
    /// First row of the first panel; columns are contiguous.
    pub rhs: *const f32,
    /// Elements from one k to the next.
    pub rhs_step: usize,
    /// Elements from one panel to the next.
    pub rhs_panel: usize,
    /// Number of panels, at least 1.
    pub panels: usize,
    /// Columns of a panel; of the last one, those up to `columns` count.
    pub width: usize,
    /// Where column 0 of every position goes, 2 VL pointers a group; positions nobody wants point to a spare row,
    /// or are null behind the last one where there are segments.
    pub rows: *const *mut f32,
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

impl Product {
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
        columns: 0,
        positions: 0,
        bias: std::ptr::null(),
        clamp: std::ptr::null(),
        first: 0,
        segments: std::ptr::null(),
    };
}

/// Rows of contiguous k to groups of 2 VL positions, k outermost: dst[group][k][position] = rows[position][k].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Pack {
    /// First k of every position, 2 VL pointers a group; each row can be read for `k` elements.
    pub rows: *const *const f32,
    /// Number of groups, at least 1.
    pub groups: usize,
    /// Number of k, at least 1.
    pub k: usize,
    /// Group 0, k 0.
    pub dst: *mut f32,
    /// Elements from one k to the next, at least 2 VL.
    pub step: usize,
    /// Elements from one group to the next.
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

/// Planes of contiguous positions to rows of contiguous channels: rows[position][channel] = planes[channel][position].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Unpack {
    /// Channel 0, position 0; read for whole groups.
    pub planes: *const f32,
    /// Elements from one channel to the next.
    pub step: usize,
    /// Number of channels, at least 1.
    pub channels: usize,
    /// Channel 0 of every position, 2 VL pointers a group.
    pub rows: *const *mut f32,
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
}

/// Rows of planes from one place to another.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Copy {
    /// First element.
    pub src: *const f32,
    /// Where it goes.
    pub dst: *mut f32,
    /// Elements of a row, at least 1.
    pub width: usize,
    /// Rows of a plane, at least 1.
    pub rows: usize,
    /// Elements from one row to the next.
    pub src_row: usize,
    /// The same of dst.
    pub dst_row: usize,
    /// Number of planes, at least 1.
    pub planes: usize,
    /// Elements from one plane to the next.
    pub src_plane: usize,
    /// The same of dst.
    pub dst_plane: usize,
}

impl Copy {
    /// The same taking every `step`-th element of src, on a core.
    ///
    /// # Safety
    /// All elements the description names can be read or written.
    unsafe fn every(&self, step: usize) {
        for plane in 0..self.planes {
            for row in 0..self.rows {
                let from = self.src.wrapping_add(plane * self.src_plane + row * self.src_row);
                let to = self.dst.wrapping_add(plane * self.dst_plane + row * self.dst_row);
                for i in 0..self.width {
                    // SAFETY: the caller's.
                    unsafe { *to.add(i) = *from.add(i * step) }
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
    unsafe fn pack(pack: &Pack);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn product(product: &Product);

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
    unsafe fn copy(copy: &Copy);

    /// Writes zeros.
    ///
    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn clear(dst: *mut f32, count: usize);
}
