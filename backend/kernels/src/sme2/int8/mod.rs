//! Products of i8 on the unit: f32 rows become slabs of i8, sums of i32 become f32.
//!
//! Words of four k go through the unit. A pair of 16-bit products per element takes off what the zero point adds before
//! anything else is summed, so that a sum is exact until it becomes f32.

mod convert;
mod emulated;
mod qconv;
mod qgemm;

pub(crate) use convert::{dequantise_row, quantise_row};
pub(crate) use qconv::row as qconv_row;
pub(crate) use qgemm::{row as qgemm_row, slabs};

use super::{Run, Segment, Unit};
pub(crate) use crate::qgemm::slabs::{PARAMETERS, zero_pair};
use crate::quant::{Affine, column};

/// Rows of f32 to groups of 2 VL positions of i8: dst[group][k / 4][position][k % 4] = rows[position][k], quantised.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Quantise {
    /// First k of every position, 2 VL pointers a group; each row can be read for `k` elements.
    pub rows: *const *const f32,
    /// Number of groups, at least 1.
    pub groups: usize,
    /// Number of k, at least 1.
    pub k: usize,
    /// Group 0, k 0; room for a multiple of four words of k. Those behind k are of no value.
    pub dst: *mut i8,
    /// Bytes from one group to the next.
    pub group: usize,
    /// [`PARAMETERS`] arrays for each group: made of the rows' extremes, or given.
    pub params: *mut f32,
    /// 2 VL times `step` bytes to work in.
    pub bytes: *mut i8,
    /// A multiple of a vector, at least `k`.
    pub step: usize,
    /// 1 = parameters are given and a value is rounded before its zero point is added.
    pub fixed: usize,
}

/// Groups of 2 VL positions times panels of columns, VL = i32 of a vector.
///
/// s = sum over k of (lhs[k][position] - zero[position]) * rhs[k][column], then
/// dst[position][column] = clamp(s * lhs scale[position] * scale[column] + bias[column]), or with `dst_scale`
/// dst[position][column] = clamp(round(s * scale[column] + bias[column])) * dst_scale.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ProductI8 {
    /// What [`Quantise`] wrote.
    pub lhs: *const i8,
    /// Bytes from one group to the next.
    pub lhs_group: usize,
    /// Number of groups, at least 1.
    pub groups: usize,
    /// Words of k in rhs, at least 1: four k each, or eight of nibbles, of which the first four lie low.
    pub words: usize,
    /// First panel.
    pub rhs: *const u8,
    /// Bytes from one panel to the next.
    pub rhs_panel: usize,
    /// Number of panels, at least 1.
    pub panels: usize,
    /// Columns of a panel; of the last one, those up to `columns` count.
    pub width: usize,
    /// 1 = rhs is nibbles.
    pub nibbles: usize,
    /// Where column 0 of every position goes, 2 VL pointers a group.
    pub rows: *const *mut f32,
    /// Column of the first panel's first column.
    pub first: usize,
    /// End of the columns to compute.
    pub columns: usize,
    /// As in [`Quantise`].
    pub params: *const f32,
    /// Sum over k of every column of rhs, below 2^22.
    pub sums: *const i32,
    /// Scale per column.
    pub scale: *const f32,
    /// Bias per column, or null.
    pub bias: *const f32,
    /// Lower and upper bound.
    pub clamp: *const [f32; 2],
    /// One value, or null.
    pub dst_scale: *const f32,
}

/// As [`ProductI8`] with nibbles, but a column has a scale for every few k, and no `dst_scale`:
/// dst[position][column] = clamp(lhs scale[position] * (sum over scales of sum over their k of
/// lhs[k][position] * rhs[k][column] * scale[column], less zero[position] * sums[column]) + bias[column]).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ProductGroups {
    /// `scale` is of the first k; `nibbles`, `sums` and `dst_scale` are not read.
    pub product: ProductI8,
    /// Elements from the scale of one run of k to the next.
    pub scale_step: usize,
    /// Words of k that share a scale, a multiple of 4; `words` is one of it.
    pub scale_words: usize,
    /// Sum over k of every column of rhs times its scales.
    pub sums: *const f32,
}

/// Rows of neighbours from f32 to i8 or back.
///
/// dst = round(src * factor) + zero, or dst = (src - zero) * factor.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Convert<S, D> {
    /// First element.
    pub src: *const S,
    /// Where it goes.
    pub dst: *mut D,
    /// Elements of a row, at least 1.
    pub len: usize,
    /// Number of rows, at least 1.
    pub rows: usize,
    /// Elements from one row to the next.
    pub src_row: usize,
    /// The same of dst.
    pub dst_row: usize,
    /// The scale, or to quantise its reciprocal.
    pub factor: f32,
    /// The zero point.
    pub zero: i32,
}

/// A panel of weights times blocks of 2 VL positions of a slab, VL = i32 of a vector.
///
/// s = sum over k of (slab[k][position] - its zero point) * weight[k][channel], then
/// dst[channel][position] = clamp(round(s * factor[channel] + shift[channel])) + zero.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Direct {
    /// Words of four channels: word 0, position 0; positions' words are contiguous.
    pub slab: *const i8,
    /// Words from one to the next of a run.
    pub step: usize,
    /// Number of blocks, at least 1.
    pub blocks: usize,
    /// The k of the slab, in words.
    pub runs: *const Run,
    /// Number of runs, at least 1, each of at least 1 word.
    pub run_count: usize,
    /// The panel: words of `width` channels.
    pub weight: *const i8,
    /// Channels of the panel.
    pub width: usize,
    /// Channel of the panel's first.
    pub first: usize,
    /// End of the channels to compute.
    pub columns: usize,
    /// Sum over k of every channel's weights, below 2^22.
    pub sums: *const i32,
    /// From a sum to the destination's scale, per channel.
    pub factor: *const f32,
    /// Bias in units of the destination's scale, per channel.
    pub shift: *const f32,
    /// Channel 0 of every position; with segments position 0 of the panel's channels, null for those behind the last,
    /// up to a multiple of 2 VL.
    pub rows: *const *mut i8,
    /// Which positions to store where, block by block; null = positions are rows.
    pub segments: *const Segment,
    /// Lower bound, less `zero`.
    pub lower: i32,
    /// Upper bound, likewise.
    pub upper: i32,
    /// Zero point of the destination.
    pub zero: i32,
    /// Factors of the slab's, see [`zero_pair`].
    pub src_zero: u32,
}

/// A unit that multiplies i8.
pub trait ByteUnit: Unit {
    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn quantise(quantise: &Quantise);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn product_i8(product: &ProductI8);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn product_groups(product: &ProductGroups);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn direct(direct: &Direct);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn f32_to_i8(rows: &Convert<f32, i8>);

    /// # Safety
    /// As [`Unit::pack`].
    unsafe fn i8_to_f32(rows: &Convert<i8, f32>);
}

/// What becomes of the sums of `n` columns, from what the columns have; no bias is null.
///
/// # Safety
/// All arrays reach the columns.
unsafe fn columns(
    [src, dst]: [Affine; 2],
    n: usize,
    [scale, bias]: [*const f32; 2],
    [factor, shift]: [*mut f32; 2],
) {
    for j in 0..n {
        // SAFETY: the caller's.
        unsafe {
            let [of_sum, of_bias] =
                column(src, dst, *scale.add(j), if bias.is_null() { 0.0 } else { *bias.add(j) });
            factor.add(j).write(of_sum);
            shift.add(j).write(of_bias);
        }
    }
}

#[cfg(target_arch = "aarch64")]
unsafe extern "C" {
    fn tandem_sme2_quantise_i8(quantise: *const Quantise);
    fn tandem_sme2_product_i8(product: *const ProductI8);
    fn tandem_sme2_product_i4_groups(product: *const ProductGroups);
    fn tandem_sme2_direct_i8(direct: *const Direct);
    fn tandem_sme2_f32_to_i8(rows: *const Convert<f32, i8>);
    fn tandem_sme2_i8_to_f32(rows: *const Convert<i8, f32>);
}

/// Addresses of the entries in the order of their declarations.
#[cfg(all(test, target_arch = "aarch64"))]
pub(super) fn entries() -> [usize; 6] {
    [
        tandem_sme2_quantise_i8 as *const () as usize,
        tandem_sme2_product_i8 as *const () as usize,
        tandem_sme2_product_i4_groups as *const () as usize,
        tandem_sme2_direct_i8 as *const () as usize,
        tandem_sme2_f32_to_i8 as *const () as usize,
        tandem_sme2_i8_to_f32 as *const () as usize,
    ]
}

#[cfg(target_arch = "aarch64")]
impl ByteUnit for super::Sme2 {
    unsafe fn quantise(quantise: &Quantise) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_quantise_i8(quantise) }
    }

    unsafe fn product_i8(product: &ProductI8) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_product_i8(product) }
    }

    unsafe fn product_groups(product: &ProductGroups) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_product_i4_groups(product) }
    }
    unsafe fn direct(direct: &Direct) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_direct_i8(direct) }
    }

    unsafe fn f32_to_i8(rows: &Convert<f32, i8>) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_f32_to_i8(rows) }
    }

    unsafe fn i8_to_f32(rows: &Convert<i8, f32>) {
        // SAFETY: the caller's.
        unsafe { tandem_sme2_i8_to_f32(rows) }
    }
}
