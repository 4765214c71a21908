//! The one description convolution and GEMM are computed from.

use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::panels;

/// Channels of a source: where they lie. Strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    /// First element.
    pub ptr: *const f32,
    /// Channels.
    pub channels: usize,
    /// Strides of batch, channel, y and x; channel is 1 in the product itself.
    pub strides: [usize; 4],
}

/// A convolution with pointers.
pub(crate) struct Geometry<'a> {
    /// Sources, one after the other along channels.
    pub segments: &'a [Segment],
    /// Height and width of the sources.
    pub in_size: [usize; 2],
    /// Batch, output height, output width.
    pub out: [usize; 3],
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Stride y, x.
    pub stride: [usize; 2],
    /// Padding top, left; below 0 (wrapping) crops.
    pub padding: [usize; 2],
    /// Dilation y, x; below 0 (wrapping) where taps walk backwards.
    pub dilation: [usize; 2],
    /// Convolution groups.
    pub groups: usize,
    /// Pixel-shuffle factor.
    pub shuffle: usize,
    /// Columns of a group or parity.
    pub columns: usize,
    /// Panels of all groups or parities.
    pub weight: *const f32,
    /// Elements from one batch's panels to the next; 0 = the same for all.
    pub weight_step: usize,
    /// Factor on the product.
    pub alpha: f32,
    /// Stages.
    pub epilogue: Epilogue,
    /// Their operands.
    pub operands: EpilogueArgs<'a>,
    /// First output element.
    pub dst: *mut f32,
    /// Strides of the output's batch, channel, y and x.
    pub dst_strides: [usize; 4],
}

impl Geometry<'_> {
    /// Output positions, all batches.
    pub fn positions(&self) -> usize {
        self.out.iter().product()
    }

    /// Rows of the panels.
    pub fn k(&self) -> usize {
        let channels: usize = self.segments.iter().map(|s| s.channels).sum();
        self.kernel[0] * self.kernel[1] * channels / self.groups
    }

    /// Columns of a part with their padding.
    pub fn padded(&self) -> usize {
        panels::padded(self.columns)
    }

    /// Batch, y and x of an output position.
    pub fn position(&self, index: usize) -> [usize; 3] {
        let [_, height, width] = self.out;
        [index / width / height, index / width % height, index % width]
    }
}
