//! Sums of a tile, of i32 or where k has groups f32, become rows of dst.

use std::arch::aarch64::*;

use tandem_base::Span;

use crate::qgemm::{Args, Parameters, Problem, Scheme, Weights, bounds};
use crate::simd::{Neon, Simd};

/// A tile's place in dst.
pub struct Place<'a> {
    pub problem: &'a Problem,
    pub args: &'a Args<'a>,
    /// First row.
    pub row: usize,
    /// How every row is quantised.
    pub params: &'a [Parameters],
    /// First column, and the panel's width.
    pub column: usize,
    pub width: usize,
}

impl Place<'_> {
    /// What totals start from where k has groups: less the zero point's part.
    ///
    /// # Safety
    /// `Qgemm::check` passed; `to` has room for the rows.
    pub unsafe fn start(&self, to: *mut f32) {
        for (r, params) in self.params.iter().enumerate() {
            for j in (0..self.width).step_by(8) {
                // SAFETY: the caller's; column arrays are padded as panels are.
                unsafe {
                    let sums = Neon::load(self.args.scaled_sums.ptr().add(self.column + j));
                    (-(Neon::splat(params.zero as f32) * sums)).store(to.add(r * self.width + j));
                }
            }
        }
    }

    /// Stores rows of sums of i32, or of totals of f32 where k has groups.
    ///
    /// # Safety
    /// `Qgemm::check` passed; `sums` holds the rows.
    pub unsafe fn store(&self, sums: *const f32) {
        let (p, n) = (self.problem, self.problem.sizes()[1]);
        let step = p.dst.stride(0);
        for j in (0..self.width.min(n - self.column)).step_by(8) {
            let column = self.column + j;
            // SAFETY: the caller's; column arrays are padded as panels are.
            unsafe {
                let columns = Columns::new(p, self.args, column);
                let mut dst = self.args.dst.ptr().add(self.row * step + column);
                let mut sums = sums.add(j);
                for params in self.params {
                    let value = columns.value(sums, params);
                    if n - column >= 8 {
                        value.store(dst);
                    } else {
                        value.store_first(dst, n - column);
                    }
                    (dst, sums) = (dst.wrapping_add(step), sums.wrapping_add(self.width));
                }
            }
        }
    }
}

/// What eight columns are finished with.
struct Columns {
    groups: bool,
    /// Of the destination, where it is rounded to it.
    unit: Option<Neon>,
    sums: [int32x4_t; 2],
    scale: Neon,
    bias: Neon,
    clamp: [Neon; 2],
}

impl Columns {
    /// # Safety
    /// `Qgemm::check` passed.
    #[inline(always)]
    unsafe fn new(p: &Problem, args: &Args<'_>, column: usize) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let groups = matches!(p.weights, Weights::I4Groups { .. });
            let load = |from: Span<'_, f32>| Neon::load(from.ptr().add(column));
            let sums = args.sums.ptr().wrapping_add(column);
            let sums = if groups { [vdupq_n_s32(0); 2] } else { [vld1q_s32(sums), vld1q_s32(sums.add(4))] };
            let scale = load(args.scale);
            let bias = if p.bias { load(args.bias) } else { Neon::splat(0.0) };
            let of = |clamp: [f32; 2]| clamp.map(|x| Neon::splat(x));
            match p.scheme {
                Scheme::Dynamic => Self { groups, unit: None, sums, scale, bias, clamp: of(p.clamp) },
                Scheme::Static { lhs, dst } => {
                    // In the order of `qgemm::column`.
                    let inverse = Neon::splat(1.0 / dst.scale);
                    let scale = Neon::splat(lhs.scale) * scale * inverse;
                    let (unit, clamp) = (Some(Neon::splat(dst.scale)), of(bounds(dst, p.clamp)));
                    Self { groups, unit, sums, scale, bias: bias * inverse, clamp }
                }
            }
        }
    }

    /// # Safety
    /// Eight sums, or totals, can be read.
    #[inline(always)]
    unsafe fn value(&self, from: *const f32, params: &Parameters) -> Neon {
        // SAFETY: the caller's.
        unsafe {
            let scale = Neon::splat(params.scale);
            if self.groups {
                return self.bounded(Neon::load(from) * scale + self.bias);
            }
            let (from, zero) = (from.cast(), vdupq_n_s32(params.zero));
            let [a, b] = self.sums;
            let sum = Neon(
                vcvtq_f32_s32(vmlsq_s32(vld1q_s32(from), a, zero)),
                vcvtq_f32_s32(vmlsq_s32(vld1q_s32(from.add(4)), b, zero)),
            );
            match self.unit {
                None => self.bounded((sum * scale).mul_add(self.scale, self.bias)),
                Some(unit) => self.bounded(sum.mul_add(self.scale, self.bias).round()) * unit,
            }
        }
    }

    /// FMAX and FMIN pass NaN on.
    #[inline(always)]
    fn bounded(&self, Neon(a, b): Neon) -> Neon {
        let [low, high] = self.clamp;
        // SAFETY: the vectors are the witness of NEON.
        unsafe { Neon(vminq_f32(vmaxq_f32(a, low.0), high.0), vminq_f32(vmaxq_f32(b, low.1), high.1)) }
    }
}
