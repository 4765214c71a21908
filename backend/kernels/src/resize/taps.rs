//! Which source rows or columns an output reads, and with what weights: PyTorch's coordinates.

use super::{Kind, Problem};

/// Most taps along an axis.
pub(super) const MOST: usize = 4;

/// PyTorch's cubic coefficient.
const A: f32 = -0.75;

impl Kind {
    /// Taps along an axis.
    pub(super) fn taps(self) -> usize {
        match self {
            Self::Nearest => 1,
            Self::Bilinear => 2,
            Self::Bicubic => MOST,
        }
    }
}

/// Source indices and weights of one output index, `kind.taps()` of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Taps {
    /// Indices, inside the source.
    pub index: [usize; MOST],
    /// Weights.
    pub weight: [f32; MOST],
}

/// Taps along y (0) or x (1) of output index `at`.
pub(super) fn taps(p: &Problem, axis: usize, at: usize) -> Taps {
    let (size, out) = (p.src.size(axis + 2), p.dst.size(axis + 2));
    let step = p.step[axis].map_or(size as f32 / out as f32, |step| step as f32);
    if p.kind == Kind::Nearest {
        // Whatever the scale: no change of size is the identity, twice the size repeats each element.
        let nearest = match out {
            _ if out == size => at,
            _ if out == 2 * size => at / 2,
            _ => (at as f32 * step) as usize,
        };
        return Taps { index: [nearest.min(size - 1); MOST], weight: [1.0, 0.0, 0.0, 0.0] };
    }
    let center = if p.align_corners {
        let step = if out > 1 { (size - 1) as f32 / (out - 1) as f32 } else { 0.0 };
        at as f32 * step
    } else {
        (at as f32 + 0.5) * step - 0.5
    };
    if p.kind == Kind::Bilinear { bilinear(center, size) } else { bicubic(center, size) }
}

fn bilinear(center: f32, size: usize) -> Taps {
    let center = center.max(0.0);
    let first = (center as usize).min(size - 1);
    let second = (first + 1).min(size - 1);
    let t = (center - first as f32).min(1.0);
    Taps { index: [first, second, second, second], weight: [1.0 - t, t, 0.0, 0.0] }
}

fn bicubic(center: f32, size: usize) -> Taps {
    let first = center.floor();
    let t = center - first;
    let index = [-1, 0, 1, 2].map(|i| (first as isize + i).clamp(0, size as isize - 1) as usize);
    Taps { index, weight: cubic(t) }
}

/// Weights of the four elements around a place `t` behind the second.
pub(crate) fn cubic(t: f32) -> [f32; MOST] {
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}
