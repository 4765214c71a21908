//! Which stages of an epilogue the unit computes, and the others, on a core.

use std::ops::Range;

use crate::element::Element;
use crate::epilogue::{Act, Epilogue, EpilogueArgs};
use crate::simd::{self, Simd};

/// What the unit does with its sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stages {
    /// All there is to do: a bias, a residual and a clamp, if any.
    All { clamp: Option<[f32; 2]> },
    /// Nothing: a core finishes the rows.
    None,
}

impl Stages {
    /// `adds`: the unit can add the residual, if there is one.
    pub fn of(e: &Epilogue, alpha: f32, adds: bool) -> Self {
        let act = if e.act == Act::None { e.act2 } else { e.act };
        let one = e.act == Act::None || (e.act2 == Act::None && e.residual.is_none());
        let Some(clamp) = act.clamp() else { return Self::None };
        if one && alpha == 1.0 && !e.scale_shift && (adds || e.residual.is_none()) {
            Self::All { clamp: (act != Act::None).then_some(clamp) }
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

    /// Rows of `rows` whose residuals the unit adds.
    pub fn residuals(&self, e: &Epilogue, rows: usize) -> usize {
        if self.all() && e.residual.is_some() { rows } else { 0 }
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
pub(crate) struct Row<E> {
    pub sums: *const f32,
    pub dst: *mut E,
    pub residual: usize,
    pub step: usize,
}

/// The whole epilogue on the sums of some columns of a row.
///
/// # Safety
/// Sums, destination and operands reach the columns; the CPU has the vector's instructions.
#[inline(always)]
pub(crate) unsafe fn finish<V: Simd, E: Element>(
    e: &Epilogue,
    args: &EpilogueArgs<'_, E>,
    alpha: f32,
    row: &Row<E>,
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
                x = x + load::<V, E>(args.residual.ptr().add(row.residual + c * row.step), row.step, n);
            }
            if e.act2 != Act::None {
                x = simd::act(e.act2, x);
            }
            store(x, row.dst.add(c), n);
        }
    }
}

/// `n` elements `step` apart.
#[inline(always)]
unsafe fn load<V: Simd, E: Element>(from: *const E, step: usize, n: usize) -> V {
    // SAFETY: the caller's.
    unsafe {
        if E::PER_WORD == 1 && step == 1 {
            return V::load_first(from.cast(), n);
        }
        let mut lanes = [0f32; simd::MAX_LANES];
        for (i, lane) in lanes.iter_mut().enumerate().take(n) {
            *lane = (*from.add(i * step)).to_f32();
        }
        V::load(lanes.as_ptr())
    }
}

/// The first `n` lanes to neighbours.
#[inline(always)]
unsafe fn store<V: Simd, E: Element>(x: V, to: *mut E, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        if E::PER_WORD == 1 {
            return x.store_first(to.cast(), n);
        }
        let mut lanes = [0f32; simd::MAX_LANES];
        x.store(lanes.as_mut_ptr());
        for (i, lane) in lanes.iter().enumerate().take(n) {
            *to.add(i) = E::from_f32(*lane);
        }
    }
}
