//! The one description convolution and GEMM are computed from.

use tandem_base::Strided;

use super::tile::Block;
use crate::conv::MAX_SEGMENTS;
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

impl Segment {
    /// No channels.
    pub const NONE: Self = Self { ptr: std::ptr::null(), channels: 0, strides: [0; 4] };
}

/// A convolution with pointers.
#[derive(Clone, Copy)]
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
    /// Of the one part of a product: distance of rows where columns are contiguous instead, whole vectors of them.
    pub weight_step: Option<usize>,
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

impl<'a> Geometry<'a> {
    /// A product: rows as positions of images one column wide. Weights and destination are the caller's to set.
    pub fn of_rows(segments: &'a [Segment], [batch, rows]: [usize; 2], columns: usize) -> Self {
        Self {
            segments,
            in_size: [rows, 1],
            out: [batch, rows, 1],
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
            shuffle: 1,
            columns,
            weight: std::ptr::null(),
            weight_step: None,
            alpha: 1.0,
            epilogue: Epilogue::default(),
            operands: EpilogueArgs::none(),
            dst: std::ptr::null_mut(),
            dst_strides: [0; 4],
        }
    }

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

    /// A block's columns in the first row of weights, and the distance to the next row.
    #[inline(always)]
    pub fn rhs(&self, block: &Block, [k, padded]: [usize; 2]) -> (*const f32, usize) {
        let column = block.panel * panels::PANEL;
        match self.weight_step {
            Some(step) => (self.weight.wrapping_add(column + block.first), step),
            None => {
                let panel = (block.part * padded + column) * k;
                (self.weight.wrapping_add(panel + block.first), block.width)
            }
        }
    }

    /// Batch, y and x of an output position.
    pub fn position(&self, index: usize) -> [usize; 3] {
        let [_, height, width] = self.out;
        [index / width / height, index / width % height, index % width]
    }

    /// Strides of the residual's batch, channel, y and x; zeros without one.
    #[inline(always)]
    pub fn residual_strides(&self) -> [usize; 4] {
        match &self.epilogue.residual {
            Some(r) => [r.stride(0), r.stride(1), r.stride(2), r.stride(3)],
            None => [0; 4],
        }
    }

    /// Strides of a destination whose positions lie evenly, as of one image row; `None` where they do not.
    pub fn even(&self, strides: &[usize; 4]) -> Option<[usize; 4]> {
        let (mut step, mut span) = (0, 1);
        for (size, stride) in self.out.into_iter().zip([strides[0], strides[2], strides[3]]).rev() {
            match (size, span) {
                (1, _) => {}
                (_, 1) => (step, span) = (stride, size),
                _ if stride != step * span => return None,
                _ => span *= size,
            }
        }
        Some([0, strides[1], 0, step])
    }

    /// The same sizes as one image row of single pixels; segments and strides are the caller's to replace.
    pub fn in_a_row(&self, residual: Option<Strided>) -> Self {
        let n = self.positions();
        let epilogue = Epilogue { residual, ..self.epilogue };
        Self { in_size: [1, n], out: [1, 1, n], stride: [1, 1], epilogue, ..*self }
    }

    /// The same with all positions in one image row, where each reads a single pixel and all lie evenly: rows of a
    /// tile then never wrap. `segments` is room for the segments as they then are.
    pub fn flattened<'b>(&self, segments: &'b mut [Segment; MAX_SEGMENTS]) -> Option<Geometry<'b>>
    where
        'a: 'b,
    {
        let single = self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0];
        if !single
            || self.shuffle > 1
            || (self.out[0] == 1 && self.out[1] == 1)
            || self.in_size != self.out[1..]
        {
            return None;
        }
        for (to, from) in segments.iter_mut().zip(self.segments) {
            *to = Segment { strides: self.even(&from.strides)?, ..*from };
        }
        let residual = match self.epilogue.residual {
            Some(r) => {
                let strides = self.even(&self.residual_strides())?;
                Some(Strided::new(&[1, r.size(1), 1, self.positions()], &strides))
            }
            None => None,
        };
        let dst_strides = self.even(&self.dst_strides)?;
        let segments = &segments[..self.segments.len()];
        Some(Geometry { segments, dst_strides, ..self.in_a_row(residual) })
    }
}
