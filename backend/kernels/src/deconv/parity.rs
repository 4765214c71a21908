//! A transposed convolution as plain ones: the outputs of one parity, in one group.
//!
//! Outputs whose place in the uncropped result is `parity + stride * m` read source rows m - q, where q counts the
//! strides a tap of that parity reaches over: a convolution of stride 1 whose taps walk backwards.

use super::Problem;
use crate::panels;

/// One group's outputs of one parity. Pairs are (y, x).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The group.
    pub group: usize,
    /// First output row and column.
    pub first: [usize; 2],
    /// Output rows and columns.
    pub size: [usize; 2],
    /// Taps.
    pub taps: [usize; 2],
    /// Source rows and columns the first output's first tap lies in front of the image; wraps below 0.
    pub padding: [usize; 2],
    /// Source rows and columns from a tap to the next, negative: wraps below 0.
    pub step: [usize; 2],
    /// Where its panels begin, in elements.
    pub weight: usize,
}

impl Part {
    /// Panel rows of each of its columns.
    pub fn k(&self, p: &Problem) -> usize {
        self.taps[0] * self.taps[1] * (p.src.size(1) / p.groups)
    }

    /// Output positions of all images.
    pub fn positions(&self, p: &Problem) -> usize {
        p.dst.size(0) * self.size[0] * self.size[1]
    }
}

/// Every part, in the order of their panels.
pub(super) fn parts(p: &Problem) -> impl Iterator<Item = Part> + '_ {
    let per_tap = (p.src.size(1) / p.groups) * panels::padded(p.dst.size(1) / p.groups);
    let [sy, sx] = p.stride;
    let mut weight = 0;
    (0..p.groups * sy * sx).map(move |index| {
        let axes = [axis(p, 0, index / sx % sy), axis(p, 1, index % sx)];
        let part = Part {
            group: index / (sy * sx),
            first: axes.map(|a| a.first),
            size: axes.map(|a| a.size),
            taps: axes.map(|a| a.taps),
            padding: axes.map(|a| a.padding),
            step: axes.map(|a| a.step),
            weight,
        };
        weight += part.taps[0] * part.taps[1] * per_tap;
        part
    })
}

/// A part along one axis.
#[derive(Clone, Copy)]
struct Axis {
    first: usize,
    size: usize,
    taps: usize,
    padding: usize,
    step: usize,
}

fn axis(p: &Problem, axis: usize, parity: usize) -> Axis {
    let (stride, crop, out) = (p.stride[axis], p.padding[axis], p.dst.size(axis + 2));
    // The first output of the parity behind what is cropped: parity + stride * m is at least crop.
    let m = crop.saturating_sub(parity).div_ceil(stride);
    let first = parity + stride * m - crop;
    let size = out.saturating_sub(first).div_ceil(stride);
    let mut reach = p.taps(axis, parity).map(|tap| tap * p.dilation[axis] / stride);
    let taps = p.taps(axis, parity).count();
    let q = reach.next().unwrap_or(0);
    let step = reach.next().map_or(0, |next| next - q);
    Axis { first, size, taps, padding: q.wrapping_sub(m), step: step.wrapping_neg() }
}
