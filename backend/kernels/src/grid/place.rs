//! Which elements a place reads, and with what weights.

use super::{Kind, Padding, Problem};
use crate::resize::cubic;

/// Most elements read for one.
pub(super) const MOST: usize = 16;

/// Offsets in a source's plane or volume and their weights; as many as the problem's `taps`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub at: [usize; MOST],
    pub weight: [f32; MOST],
}

/// Along one dimension.
#[derive(Clone, Copy)]
struct Axis {
    index: [usize; 4],
    weight: [f32; 4],
}

/// The elements around a place; `coordinates` are the last dimension's first. Weights outside are 0.
pub(super) fn place(p: &Problem, coordinates: [f32; 3]) -> Place {
    let axes = p.axes();
    let mut all = [Axis { index: [0; 4], weight: [1.0, 0.0, 0.0, 0.0] }; 3];
    for (d, &x) in coordinates[..axes].iter().enumerate() {
        all[d] = axis(p, p.src.size(p.src.rank() - 1 - d), x);
    }
    let each = match p.kind {
        Kind::Nearest => 1,
        Kind::Bilinear => 2,
        Kind::Bicubic => 4,
    };
    let mut place = Place { at: [0; MOST], weight: [0.0; MOST] };
    for i in 0..p.taps() {
        let (mut at, mut weight, mut left) = (0, 1.0, i);
        for (d, axis) in all[..axes].iter().enumerate() {
            at += axis.index[left % each] * p.src.stride(p.src.rank() - 1 - d);
            weight *= axis.weight[left % each];
            left /= each;
        }
        (place.at[i], place.weight[i]) = (at, weight);
    }
    place
}

/// A coordinate in elements of a dimension of `size`.
fn center(p: &Problem, size: usize, x: f32) -> f32 {
    let size = size as f32;
    if p.align_corners { (x + 1.0) / 2.0 * (size - 1.0) } else { ((x + 1.0) * size - 1.0) / 2.0 }
}

/// Far outside, where a coordinate is no number an index can be.
const FAR: f32 = -100.0;

fn finite(x: f32) -> f32 {
    if x.abs() < 1e9 { x } else { FAR }
}

/// A coordinate in elements, moved inside where the padding says so.
fn padded(p: &Problem, size: usize, x: f32) -> f32 {
    let last = size as f32 - 1.0;
    let clipped = |x: f32| x.max(0.0).min(last);
    match p.padding {
        Padding::Zeros => finite(x),
        Padding::Border => clipped(x),
        Padding::Reflection if p.align_corners => clipped(reflected(x, 0.0, last)),
        Padding::Reflection => clipped(reflected(x, -0.5, size as f32)),
    }
}

/// A coordinate mirrored at `low` and `span` behind it.
fn reflected(x: f32, low: f32, span: f32) -> f32 {
    if span <= 0.0 {
        return 0.0;
    }
    let x = (x - low).abs();
    let (rest, flips) = (x % span, (x / span).floor());
    if flips % 2.0 == 0.0 { rest + low } else { span - rest + low }
}

/// An index if it lies inside, else one of no weight.
fn tap(axis: &mut Axis, i: usize, size: usize, at: f32, weight: f32) {
    let inside = at >= 0.0 && at < size as f32;
    (axis.index[i], axis.weight[i]) = if inside { (at as usize, weight) } else { (0, 0.0) };
}

fn axis(p: &Problem, size: usize, x: f32) -> Axis {
    let mut axis = Axis { index: [0; 4], weight: [0.0; 4] };
    let x = center(p, size, x);
    match p.kind {
        Kind::Nearest => tap(&mut axis, 0, size, padded(p, size, x).round_ties_even(), 1.0),
        Kind::Bilinear => {
            let x = padded(p, size, x);
            let first = x.floor();
            tap(&mut axis, 0, size, first, first + 1.0 - x);
            tap(&mut axis, 1, size, first + 1.0, x - first);
        }
        Kind::Bicubic => {
            // Each of the four is moved inside on its own.
            let x = finite(x);
            let first = x.floor();
            for (i, weight) in cubic(x - first).into_iter().enumerate() {
                tap(&mut axis, i, size, padded(p, size, first - 1.0 + i as f32), weight);
            }
        }
    }
    axis
}
