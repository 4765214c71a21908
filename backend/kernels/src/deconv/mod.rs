//! Transposed convolution, as one small convolution per output parity, with full epilogue.

mod parity;
mod scalar;
#[cfg(test)]
mod tests;
mod vector;

use tandem_base::{Span, SpanMut, Strided};

use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::panels;

/// The family.
pub struct Deconv;

/// dst[n, o, iy*sy - top + ky*dy, ix*sx - left + kx*dx] += src[n, i, iy, ix] * weight[i, o, ky, kx], then the epilogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source image `[n, c, h, w]`.
    pub src: Strided,
    /// Destination image `[n, c, h, w]`; its size settles output padding.
    pub dst: Strided,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Stride y, x.
    pub stride: [usize; 2],
    /// Padding top, left, bottom, right, as ATen means it (cropping the full result).
    pub padding: [usize; 4],
    /// Dilation y, x.
    pub dilation: [usize; 2],
    /// Groups.
    pub groups: usize,
    /// Its stages.
    pub epilogue: Epilogue,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source.
    pub src: Span<'a, f32>,
    /// For each group, for each parity (py, px), panels with k order (ky ascending, kx ascending, channel) over the
    /// taps with (ky*dy) % sy == py and (kx*dx) % sx == px.
    pub weight: Span<'a, f32>,
    /// Columns: per group, padded to panels.
    pub epilogue: EpilogueArgs<'a>,
    /// Destination, disjoint from the source.
    pub dst: SpanMut<'a, f32>,
}

impl Problem {
    /// Kernel rows or columns (axis 0 or 1) that contribute to output positions of parity `p`.
    pub fn taps(&self, axis: usize, p: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.kernel[axis]).filter(move |t| t * self.dilation[axis] % self.stride[axis] == p)
    }
    /// Columns of all groups, each padded to its panels.
    pub fn padded_columns(&self) -> usize {
        self.groups * panels::padded(self.dst.size(1) / self.groups)
    }
}

impl Family for Deconv {
    const NAME: &'static str = "deconv";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let weights = p.kernel[0] * p.kernel[1] * p.src.size(1) * p.dst.size(1) / p.groups;
        let residual = p.epilogue.residual.map_or(0, |r| r.elements());
        Cost {
            flops: 2.0 * weights as f64 * (p.src.size(0) * p.src.size(2) * p.src.size(3)) as f64,
            bytes: 4.0 * (p.src.elements() + p.dst.elements() + residual + weights) as f64,
        }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        let rows = p.kernel[0] * p.kernel[1] * p.src.size(1) / p.groups;
        check_len("src", args.src.len(), p.src.extent())?;
        check_len("weight", args.weight.len(), rows * p.padded_columns())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("src", &args.src, &args.dst)?;
        p.epilogue.check(&args.epilogue, p.padded_columns())
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Deconv>] = &[
    #[cfg(target_arch = "x86_64")]
    vector::AVX512,
    #[cfg(target_arch = "x86_64")]
    vector::AVX2,
    #[cfg(target_arch = "aarch64")]
    vector::NEON,
    scalar::ROW,
];
