//! Max and average pooling, fixed windows and adaptive ones.

mod apart;
mod place;
mod plane;
mod scalar;
#[cfg(test)]
mod tests;
mod vector;
mod window;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::widen::tables;

/// The family.
pub struct Pool;

/// Where in its plane, numbered row by row, a window's largest element is: the first of equal ones, the last NaN.
pub struct Places;

/// What a window is reduced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Largest element (NaN wins, as in PyTorch).
    Max,
    /// Mean.
    Average,
}

/// Where windows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The same window everywhere.
    Fixed {
        /// Kernel height and width.
        kernel: [usize; 2],
        /// Stride y, x.
        stride: [usize; 2],
        /// Padding top, left, bottom, right; never counts for max.
        padding: [usize; 4],
        /// Dilation y, x.
        dilation: [usize; 2],
        /// Average: whether padding counts as zeros.
        count_include_pad: bool,
        /// Average: fixed divisor, 0 = the number of elements.
        divisor: usize,
    },
    /// Output y covers rows floor(y*h/oh) .. ceil((y+1)*h/oh), likewise x.
    Adaptive,
}

/// dst[n, c, y, x] = kind over window(y, x) of src[n, c]; shapes `[n, c, h, w]`, any strides.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source image.
    pub src: Strided,
    /// Destination image.
    pub dst: Strided,
    /// Reduction.
    pub kind: Kind,
    /// Windows.
    pub window: Window,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source.
    pub src: Span<'a, f32>,
    /// Destination, disjoint from the source.
    pub dst: SpanMut<'a, f32>,
}

impl Family for Pool {
    const NAME: &'static str = "pool";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let taps = match p.window {
            Window::Fixed { kernel, .. } => kernel[0] * kernel[1],
            Window::Adaptive => (p.src.elements() / p.dst.elements().max(1)).max(1),
        };
        Cost {
            flops: (p.dst.elements() * taps) as f64,
            bytes: 4.0 * (p.src.elements() + p.dst.elements()) as f64,
        }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("src", &args.src, &args.dst)
    }
}

/// Operands of [`Places`].
#[derive(Clone, Copy, Debug)]
pub struct PlacesArgs<'a> {
    /// Source.
    pub src: Span<'a, f32>,
    /// Destination, disjoint from the source.
    pub dst: SpanMut<'a, i64>,
}

impl Family for Places {
    const NAME: &'static str = "pool";
    type Problem = Problem;
    type Args<'a> = PlacesArgs<'a>;

    fn cost(p: &Problem) -> Cost {
        let cost = Pool::cost(p);
        Cost { bytes: cost.bytes + 4.0 * p.dst.elements() as f64, ..cost }
    }

    fn check(p: &Problem, args: &PlacesArgs<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("src", &args.src, &args.dst)
    }
}

/// Every row of [`Places`].
pub static PLACES: &[Kernel<Places>] = &[place::ROW];

/// Every row of the family.
pub static KERNELS: &[Kernel<Pool>] =
    &[vector::AVX512, vector::AVX2, vector::NEON, plane::AVX512, plane::AVX2, plane::NEON, scalar::ROW];

tables!(Pool);
