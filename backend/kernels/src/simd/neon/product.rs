//! Register tiles by four steps of k: each row of lhs is loaded once for all four and multiplies by lane.
//!
//! The tile of 6 x 16 takes 24 registers of sums, 6 of lhs and 2 of rhs: all 32. Compilers spill there, so its loop is
//! written out: 117 instructions for 96 multiply-adds, where steps one by one take 144. Its 24 sums cover a latency of 4
//! cycles on six units; 8 x 8 and 4 x 16, which take 79 instructions for 64, have 16 sums.

use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::Range;

use super::{Neon, Simd};

/// [`Simd::by_fours`].
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn by_fours<const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[Neon; VECTORS]; ROWS],
    lhs: &[*const f32; ROWS],
    steps: Range<usize>,
    rhs: *const f32,
    stride: usize,
) {
    // SAFETY: the caller's; the casts are between equal types.
    unsafe {
        if ROWS == 6 && VECTORS == 2 {
            let sums = &mut *std::ptr::from_mut(sums).cast::<[[Neon; 2]; 6]>();
            let lhs = &*std::ptr::from_ref(lhs).cast::<[*const f32; 6]>();
            return whole(sums, lhs, steps, rhs, stride);
        }
        let mut rhs = rhs;
        for at in steps.step_by(4) {
            let mut four = [vdupq_n_f32(0.0); ROWS];
            for (four, from) in four.iter_mut().zip(lhs) {
                *four = vld1q_f32(from.add(at));
            }
            step::<0, ROWS, VECTORS>(sums, &four, rhs);
            step::<1, ROWS, VECTORS>(sums, &four, rhs.add(stride));
            step::<2, ROWS, VECTORS>(sums, &four, rhs.add(2 * stride));
            step::<3, ROWS, VECTORS>(sums, &four, rhs.add(3 * stride));
            rhs = rhs.add(4 * stride);
        }
    }
}

/// sums += lhs[row][LANE] * rhs[columns]
///
/// # Safety
/// As [`by_fours`].
#[inline(always)]
unsafe fn step<const LANE: i32, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[Neon; VECTORS]; ROWS],
    lhs: &[float32x4_t; ROWS],
    rhs: *const f32,
) {
    // SAFETY: the caller's.
    unsafe {
        for v in 0..VECTORS {
            let Neon(low, high) = Neon::load(rhs.add(v * Neon::LANES));
            for (row, x) in sums.iter_mut().zip(lhs) {
                let Neon(a, b) = row[v];
                row[v] = Neon(vfmaq_laneq_f32::<LANE>(a, low, *x), vfmaq_laneq_f32::<LANE>(b, high, *x));
            }
        }
    }
}

/// Sums of a register of columns: rows a to f, lhs in v24 to v29.
macro_rules! column {
    ($column:literal, $rhs:literal, $lane:literal) => {
        concat!(
            column!("a", $column, $rhs, "v24", $lane),
            column!("b", $column, $rhs, "v25", $lane),
            column!("c", $column, $rhs, "v26", $lane),
            column!("d", $column, $rhs, "v27", $lane),
            column!("e", $column, $rhs, "v28", $lane),
            column!("f", $column, $rhs, "v29", $lane),
        )
    };
    ($row:literal, $column:literal, $rhs:literal, $lhs:literal, $lane:literal) => {
        concat!("fmla {", $row, $column, ":v}.4s, ", $rhs, ".4s, ", $lhs, ".s[", $lane, "]\n")
    };
}

/// One step of k, rhs by two registers in v30 and v31.
macro_rules! lane {
    ($lane:literal) => {
        concat!(
            "ldp q30, q31, [{rhs}]\n",
            column!("0", "v30", $lane),
            column!("1", "v31", $lane),
            "ldp q30, q31, [{rhs}, #32]\n",
            "add {rhs}, {rhs}, {stride}\n",
            column!("2", "v30", $lane),
            column!("3", "v31", $lane),
        )
    };
}

/// The tile of 6 x 16.
///
/// # Safety
/// As [`by_fours`].
#[inline(always)]
unsafe fn whole(
    sums: &mut [[Neon; 2]; 6],
    lhs: &[*const f32; 6],
    steps: Range<usize>,
    rhs: *const f32,
    stride: usize,
) {
    let [a, b, c, d, e, f] = sums;
    // SAFETY: the caller's: reads what the description reaches, and changes the named registers only.
    unsafe {
        asm!(
            "2:",
            "ldr q24, [{a}, {at}]",
            "ldr q25, [{b}, {at}]",
            "ldr q26, [{c}, {at}]",
            "ldr q27, [{d}, {at}]",
            "ldr q28, [{e}, {at}]",
            "ldr q29, [{f}, {at}]",
            lane!("0"),
            lane!("1"),
            lane!("2"),
            lane!("3"),
            "add {at}, {at}, #16",
            "cmp {at}, {end}",
            "b.lo 2b",
            a = in(reg) lhs[0], b = in(reg) lhs[1], c = in(reg) lhs[2],
            d = in(reg) lhs[3], e = in(reg) lhs[4], f = in(reg) lhs[5],
            at = inout(reg) 4 * steps.start => _,
            end = in(reg) 4 * steps.end,
            rhs = inout(reg) rhs => _,
            stride = in(reg) 4 * stride,
            a0 = inout(vreg) a[0].0, a1 = inout(vreg) a[0].1, a2 = inout(vreg) a[1].0, a3 = inout(vreg) a[1].1,
            b0 = inout(vreg) b[0].0, b1 = inout(vreg) b[0].1, b2 = inout(vreg) b[1].0, b3 = inout(vreg) b[1].1,
            c0 = inout(vreg) c[0].0, c1 = inout(vreg) c[0].1, c2 = inout(vreg) c[1].0, c3 = inout(vreg) c[1].1,
            d0 = inout(vreg) d[0].0, d1 = inout(vreg) d[0].1, d2 = inout(vreg) d[1].0, d3 = inout(vreg) d[1].1,
            e0 = inout(vreg) e[0].0, e1 = inout(vreg) e[0].1, e2 = inout(vreg) e[1].0, e3 = inout(vreg) e[1].1,
            f0 = inout(vreg) f[0].0, f1 = inout(vreg) f[0].1, f2 = inout(vreg) f[1].0, f3 = inout(vreg) f[1].1,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(readonly, nostack),
        );
    }
}
