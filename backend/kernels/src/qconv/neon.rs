//! Rows on cores: products of taps, see [`crate::words`].

use std::arch::aarch64::*;
use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, MAX_K, Problem, Qconv};
use crate::kernel::{Kernel, Refusal};
use crate::panels::{self, PANEL};
use crate::simd::{Neon, Simd};
use crate::words::{Engine, MAX_ROWS, Matrix, Sdot, Smmla, Smull, Taps, spread};

/// Advanced SIMD.
pub(super) const SMULL: Kernel<Qconv> = row::<Smull>("neon-smull-3x8", Isa::NEON);
/// FEAT_DotProd.
pub(super) const SDOT: Kernel<Qconv> = row::<Sdot>("neon-sdot-8x8", Isa::DOTPROD);
/// FEAT_I8MM.
pub(super) const SMMLA: Kernel<Qconv> = row::<Matrix<Smmla>>("neon-smmla-12x8", Isa::I8MM);

const fn row<E: Engine>(name: &'static str, isa: Isa) -> Kernel<Qconv> {
    Kernel {
        name,
        isa,
        supports,
        ns: |p, rates| Taps::new::<i8>(&p.conv).ns::<E>(rates),
        phases: |_| 2,
        tiles: |p, phase| Taps::new::<i8>(&p.conv).tiles::<E>(phase),
        workspace: |p| Taps::new::<i8>(&p.conv).workspace::<E>(),
        run: run::<E>,
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    p.consistent()?;
    if p.conv.k() > MAX_K {
        return Err("sums beyond their bound");
    }
    Taps::supports(&p.conv)
}

unsafe fn run<E: Engine>(
    p: &Problem,
    args: &Args<'_>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let taps = Taps::new::<i8>(&p.conv);
    let padded = panels::padded(p.conv.column_groups().1);
    let mut sums = [0f32; MAX_ROWS * PANEL];
    let mut bytes = [[0i8; PANEL]; MAX_ROWS];
    // SAFETY: `Qconv::check` passed, the blocks have the workspace's sizes.
    unsafe {
        if phase == 0 {
            return taps.fill(tiles, &args.src, p.src.zero, shared.ptr());
        }
        let pack = |from, to, step| groups::<E>(from, taps.k(), to, step);
        let weight = args.weight.ptr().cast();
        taps.multiply::<E>(tiles, weight, [shared, scratch], pack, |tile, place| {
            E::sums(tile, sums.as_mut_ptr());
            let (first, count) = (place.columns.start, place.columns.len());
            for j in (0..count).step_by(8) {
                let columns = Columns::new(p, args, place.part * padded + first + j);
                for (r, bytes) in bytes.iter_mut().enumerate().take(tile.rows) {
                    let sums = sums.as_ptr().add(r * tile.panel.width + j);
                    vst1_s8(bytes.as_mut_ptr().add(j), columns.value(sums.cast()));
                }
            }
            let (dst, step) = (&p.conv.dst, p.conv.dst.stride(1));
            for (r, bytes) in bytes.iter().enumerate().take(tile.rows) {
                let at = taps.at(dst, place.part, place.position + r) + first * step;
                spread(&bytes[..count], args.dst.ptr().add(at), step);
            }
        });
    }
}

/// Packs a row of `k` bytes; those behind k are of no value.
///
/// # Safety
/// `k` rounded up to a group can be read and written.
unsafe fn groups<E: Engine>(from: *const u8, k: usize, to: *mut i8, step: usize) {
    for i in 0..k.div_ceil(E::GROUP) {
        // SAFETY: the caller's.
        unsafe { to.add(i * step).copy_from_nonoverlapping(from.add(i * E::GROUP).cast(), E::GROUP) }
    }
}

/// What eight columns are finished with.
struct Columns {
    /// Of weights, times the source's zero point.
    sums: [int32x4_t; 2],
    factor: Neon,
    bias: Neon,
    bounds: [int32x4_t; 2],
    zero: int32x4_t,
}

impl Columns {
    /// # Safety
    /// `Qconv::check` passed.
    #[inline(always)]
    unsafe fn new(p: &Problem, args: &Args<'_>, column: usize) -> Self {
        // SAFETY: the caller's; column arrays are padded as panels are.
        unsafe {
            let zero = i32::from(p.src.zero);
            let sums = args.sums.ptr().add(column);
            let bias =
                if p.conv.epilogue.bias { Neon::load(args.bias.ptr().add(column)) } else { Neon::splat(0.0) };
            // In the order of `quant::column`.
            let inverse = Neon::splat(1.0 / p.dst.scale);
            Self {
                sums: [sums, sums.add(4)].map(|from| vmulq_n_s32(vld1q_s32(from), zero)),
                factor: Neon::splat(p.src.scale) * Neon::load(args.scale.ptr().add(column)) * inverse,
                bias: bias * inverse,
                bounds: p.bounds().map(|x| vdupq_n_s32(x)),
                zero: vdupq_n_s32(i32::from(p.dst.zero)),
            }
        }
    }

    /// As [`crate::quant::requantise`].
    ///
    /// # Safety
    /// Eight sums can be read.
    #[inline(always)]
    unsafe fn value(&self, from: *const i32) -> int8x8_t {
        // SAFETY: the caller's.
        unsafe {
            let [a, b] = self.sums;
            let sum = Neon(
                vcvtq_f32_s32(vsubq_s32(vld1q_s32(from), a)),
                vcvtq_f32_s32(vsubq_s32(vld1q_s32(from.add(4)), b)),
            );
            let Neon(a, b) = sum.mul_add(self.factor, self.bias);
            let [lo, hi] = self.bounds;
            let bounded = |x| vaddq_s32(vminq_s32(vmaxq_s32(vcvtnq_s32_f32(x), lo), hi), self.zero);
            vmovn_s16(vcombine_s16(vmovn_s32(bounded(a)), vmovn_s32(bounded(b))))
        }
    }
}
