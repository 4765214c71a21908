//! Quantised rows as units multiply them: `[group][k / 4][position][k % 4]`, and what each is quantised by.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Parameters, Problem};
use crate::kernel::Rates;

/// Numbers a row of lhs is quantised by: four arrays of 2 VL for each group.
///
/// The reciprocal of the scale; the zero point, f32 where the rows' extremes make it and i32 where it is given; the
/// scale; and the factors of the zero point, see [`zero_pair`].
pub const PARAMETERS: usize = 4;

/// The 16-bit factors, as one word, that a zero point adds times the low 7 bits and times the rest of a column's sum.
pub const fn zero_pair(zero: i32) -> u32 {
    ((-zero) as u32 & 0xffff) | ((-zero) as u32) << 23
}

/// What a row is quantised by, as a group's arrays have it; `fixed` where it is given.
pub(crate) fn parameters(of: &Parameters, fixed: bool) -> [f32; PARAMETERS] {
    let zero = if fixed { f32::from_bits(of.zero as u32) } else { of.zero as f32 };
    [of.inverse, zero, of.scale, f32::from_bits(zero_pair(of.zero))]
}

/// Bytes of a group's slab of `k`.
pub(crate) fn slab_bytes(k: usize, group: usize) -> usize {
    k.next_multiple_of(16) * group
}

/// Multiplies positions, whose slab and parameters are given, in a worker's scratch.
type Multiply = unsafe fn(&Problem, &Args<'_>, Range<usize>, (*const i8, *const f32), SpanMut<'_, u8>);

/// A unit's products of rows that are quantised already.
#[derive(Clone, Copy)]
pub(crate) struct Slabs {
    pub name: &'static str,
    pub isa: Isa,
    /// Positions of a group.
    pub group: fn() -> usize,
    /// Bytes a worker wants for so many positions.
    pub scratch: fn(&Problem, usize) -> usize,
    /// Predicted ns on one thread.
    pub ns: fn(&Problem, &Rates) -> f64,
    /// # Safety
    /// `Qgemm::check` passed; positions lie in lhs and dst, their slab and parameters are whole groups; the unit is there.
    pub multiply: Multiply,
}
