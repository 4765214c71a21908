//! Which source rows and columns an output reads, and what its average is divided by.

use super::{Problem, Window};

/// The taps of a window along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taps {
    /// First source index.
    pub first: usize,
    /// Taps inside the source.
    pub count: usize,
    /// Source indices from one to the next.
    pub step: usize,
    /// Taps inside the padded source: a window may reach beyond the padding where sizes are rounded up.
    padded: usize,
}

/// Taps along y (0) or x (1) of output index `at`.
pub(super) fn taps(p: &Problem, axis: usize, at: usize) -> Taps {
    let (size, out) = (p.src.size(axis + 2), p.dst.size(axis + 2));
    match p.window {
        Window::Adaptive => {
            let (first, end) = (at * size / out, ((at + 1) * size).div_ceil(out));
            Taps { first, count: end - first, step: 1, padded: end - first }
        }
        Window::Fixed { kernel, stride, padding, dilation, .. } => {
            let (start, step) = (at * stride[axis], dilation[axis]);
            // Taps from `start` on that lie in front of `end`, counted in the padded source.
            let in_front = |end: usize| match end.saturating_sub(start) {
                room if step == 1 => room.min(kernel[axis]),
                room => room.div_ceil(step).min(kernel[axis]),
            };
            let before = in_front(padding[axis]);
            let end = size + padding[axis];
            let count = in_front(end).saturating_sub(before);
            let first = (start + before * step).saturating_sub(padding[axis]);
            Taps { first, count, step, padded: in_front(end + padding[axis + 2]) }
        }
    }
}

/// Elements the average of a window divides by.
pub(super) fn divisor(p: &Problem, y: &Taps, x: &Taps) -> usize {
    match p.window {
        Window::Fixed { divisor, .. } if divisor > 0 => divisor,
        Window::Fixed { count_include_pad: true, .. } => y.padded * x.padded,
        _ => y.count * x.count,
    }
}
