//! From sums to the destination, through the epilogue.

use crate::epilogue::{Act, Epilogue, EpilogueArgs};
use crate::simd::{self, Simd};

/// Neighbouring output pixels and what their epilogue reads; channel 0 of the first one.
#[derive(Clone, Copy)]
pub(super) struct Output<'a> {
    /// Stages.
    pub stages: &'a Epilogue,
    /// Their column operands.
    pub operands: &'a EpilogueArgs<'a>,
    /// Destination, and elements from a pixel to the next.
    pub dst: (*mut f32, usize),
    /// Residual, if there is one, likewise.
    pub residual: (*const f32, usize),
}

/// Whether the stages are a few instructions a vector, applied in registers.
pub(super) fn in_registers(stages: &Epilogue) -> bool {
    let cheap = |act| matches!(act, Act::None | Act::Relu | Act::Clamp { .. } | Act::HardSwish);
    cheap(stages.act) && cheap(stages.act2)
}

/// The activations `in_registers` admits.
#[inline(always)]
unsafe fn cheap<V: Simd, const N: usize>(act: Act, sums: &mut [V; N]) {
    match act {
        Act::Relu => {
            for x in sums {
                *x = simd::act(Act::Relu, *x);
            }
        }
        Act::Clamp { lo, hi } => {
            for x in sums {
                *x = simd::act(Act::Clamp { lo, hi }, *x);
            }
        }
        Act::HardSwish => {
            for x in sums {
                *x = simd::act(Act::HardSwish, *x);
            }
        }
        _ => {}
    }
}

/// Stores channels `c..c + n` of `N` pixels through stages that [`in_registers`] admits.
///
/// # Safety
/// Pixels and columns lie in the operands; `n` is at most `V::LANES`.
#[inline(always)]
pub(super) unsafe fn store<V: Simd, const N: usize>(out: &Output<'_>, mut sums: [V; N], c: usize, n: usize) {
    let e = out.stages;
    // Masked stores are slow on some cores.
    let partial = n < V::LANES;
    // SAFETY: the caller's; column operands are padded to whole vectors.
    unsafe {
        if e.bias {
            let bias = V::load(out.operands.bias.ptr().add(c));
            for x in &mut sums {
                *x = *x + bias;
            }
        }
        cheap(e.act, &mut sums);
        if e.scale_shift {
            let scale = V::load(out.operands.scale.ptr().add(c));
            let shift = V::load(out.operands.shift.ptr().add(c));
            for x in &mut sums {
                *x = x.mul_add(scale, shift);
            }
        }
        if e.residual.is_some() {
            for (j, x) in sums.iter_mut().enumerate() {
                let from = out.residual.0.add(j * out.residual.1 + c);
                *x = *x + if partial { V::load_first(from, n) } else { V::load(from) };
            }
        }
        cheap(e.act2, &mut sums);
        for (j, x) in sums.into_iter().enumerate() {
            let to = out.dst.0.add(j * out.dst.1 + c);
            if partial { x.store_first(to, n) } else { x.store(to) }
        }
    }
}

/// Takes sums of `pixels` pixels (channels from `columns.0` on, `columns.1` of them, elements from a pixel to the next)
/// through any stages to the destination.
///
/// # Safety
/// As [`store`]; `sums.1` elements can be read behind every pixel's first.
#[inline(always)]
pub(super) unsafe fn finish<V: Simd>(
    out: &Output<'_>,
    sums: (*const f32, usize),
    pixels: usize,
    columns: (usize, usize),
) {
    let e = out.stages;
    // SAFETY: the caller's; column operands are padded to whole vectors.
    unsafe {
        for at in (0..columns.1).step_by(V::LANES) {
            let (c, n) = (columns.0 + at, (columns.1 - at).min(V::LANES));
            for j in 0..pixels {
                let mut x = V::load(sums.0.add(j * sums.1 + at));
                if e.bias {
                    x = x + V::load(out.operands.bias.ptr().add(c));
                }
                x = simd::act(e.act, x);
                if e.scale_shift {
                    let scale = V::load(out.operands.scale.ptr().add(c));
                    x = x.mul_add(scale, V::load(out.operands.shift.ptr().add(c)));
                }
                if e.residual.is_some() {
                    x = x + V::load_first(out.residual.0.add(j * out.residual.1 + c), n);
                }
                let to = out.dst.0.add(j * out.dst.1 + c);
                let x = simd::act(e.act2, x);
                if n < V::LANES { x.store_first(to, n) } else { x.store(to) }
            }
        }
    }
}
