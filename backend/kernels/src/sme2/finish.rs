//! Which stages of an epilogue the unit computes, and the others, on a core.

use std::ops::Range;

use crate::epilogue::{Act, Epilogue, EpilogueArgs};
use crate::simd::{self, Simd};

/// What the unit does with its sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stages {
    /// All there is to do: a bias, if any, and a clamp.
    All { clamp: Option<[f32; 2]> },
    /// Nothing: a core finishes the rows.
    None,
}

impl Stages {
    pub fn of(e: &Epilogue, alpha: f32) -> Self {
        let act = if e.act == Act::None { e.act2 } else { e.act };
        let one = e.act == Act::None || e.act2 == Act::None;
        let clamp = match act {
            Act::None => None,
            Act::Relu => Some([0.0, f32::INFINITY]),
            Act::Clamp { lo, hi } => Some([lo, hi]),
            _ => return Self::None,
        };
        if one && alpha == 1.0 && !e.scale_shift && e.residual.is_none() {
            Self::All { clamp }
        } else {
            Self::None
        }
    }
}

/// Columns whose sums wait in the scratch for a core.
const CHUNK: usize = 128;

impl Stages {
    /// Whether the unit leaves nothing to do.
    pub fn all(&self) -> bool {
        matches!(self, Self::All { .. })
    }

    /// The clamp, or null.
    pub fn clamp(&self) -> *const [f32; 2] {
        match self {
            Self::All { clamp: Some(clamp) } => clamp,
            _ => std::ptr::null(),
        }
    }

    /// Columns of `n` multiplied at once.
    pub fn chunk(&self, n: usize) -> usize {
        if self.all() { n } else { CHUNK.min(n) }
    }

    /// Sums of `rows` positions that wait at once: they can not go to the destination, which may be the residual.
    pub fn sums(&self, rows: usize, n: usize) -> usize {
        if self.all() { 0 } else { rows * self.chunk(n) }
    }
}

/// One position: column 0 of its sums and of its destination, where its residual lies and how far apart its columns.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub sums: *const f32,
    pub dst: *mut f32,
    pub residual: usize,
    pub step: usize,
}

/// The whole epilogue on the sums of some columns of a row.
///
/// # Safety
/// Sums, destination and operands reach the columns; the CPU has the vector's instructions.
#[inline(always)]
pub(super) unsafe fn finish<V: Simd>(
    e: &Epilogue,
    args: &EpilogueArgs<'_>,
    alpha: f32,
    row: &Row,
    columns: Range<usize>,
) {
    for c in columns.clone().step_by(V::LANES) {
        let n = (columns.end - c).min(V::LANES);
        // SAFETY: the caller's.
        unsafe {
            let (mut bias, alpha) = (V::splat(0.0), V::splat(alpha));
            if e.bias {
                bias = V::load_first(args.bias.ptr().add(c), n);
            }
            let mut x = V::load_first(row.sums.wrapping_add(c), n).mul_add(alpha, bias);
            x = simd::act(e.act, x);
            if e.scale_shift {
                let scale = V::load_first(args.scale.ptr().add(c), n);
                x = x.mul_add(scale, V::load_first(args.shift.ptr().add(c), n));
            }
            if e.residual.is_some() {
                x = x + residual::<V>(args.residual.ptr().add(row.residual + c * row.step), row.step, n);
            }
            if e.act2 != Act::None {
                x = simd::act(e.act2, x);
            }
            x.store_first(row.dst.add(c), n);
        }
    }
}

#[inline(always)]
unsafe fn residual<V: Simd>(from: *const f32, step: usize, n: usize) -> V {
    // SAFETY: the caller's: n elements `step` apart.
    unsafe {
        if step == 1 {
            return V::load_first(from, n);
        }
        let mut lanes = [0f32; simd::MAX_LANES];
        for (i, lane) in lanes.iter_mut().enumerate().take(n) {
            *lane = *from.add(i * step);
        }
        V::load(lanes.as_ptr())
    }
}
