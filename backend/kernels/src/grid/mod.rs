//! Sampling of images and volumes at places given as coordinates, with PyTorch's conventions.

mod place;
mod rows;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut, Strided};

use crate::kernel::{ArgError, Cost, Family, Kernel, Refusal, check_disjoint, check_len};
pub use crate::resize::Kind;

/// The family.
pub struct Grid;

/// What lies outside the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// 0.
    Zeros,
    /// The nearest element of the edge.
    Border,
    /// The source, mirrored over and over.
    Reflection,
}

/// dst[n, c, i] = filter of src[n, c] around grid[n, i], of images `[n, c, h, w]` or volumes `[n, c, d, h, w]`. A place has a
/// coordinate for each of their dimensions, the last first, which is -1 at one edge and 1 at the other. A coordinate that is
/// no number is far outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source, any strides.
    pub src: Strided,
    /// Places: the destination's sizes with the coordinates, last, instead of the channels; any strides.
    pub grid: Strided,
    /// Destination, any strides but 0.
    pub dst: Strided,
    /// Filter; [`Kind::Bicubic`] of images only. [`Kind::Nearest`] rounds ties to even.
    pub kind: Kind,
    /// What is read outside.
    pub padding: Padding,
    /// -1 and 1 are the centers of the elements at the edges, not their outer sides.
    pub align_corners: bool,
}

impl Problem {
    /// Dimensions of an image or volume.
    fn axes(&self) -> usize {
        self.src.rank().saturating_sub(2)
    }

    /// Elements read for one.
    fn taps(&self) -> usize {
        match self.kind {
            Kind::Nearest => 1,
            Kind::Bilinear => 1 << self.axes(),
            Kind::Bicubic => 16,
        }
    }
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Source.
    pub src: Span<'a, f32>,
    /// Places.
    pub grid: Span<'a, f32>,
    /// Destination, disjoint from both.
    pub dst: SpanMut<'a, f32>,
}

impl Family for Grid {
    const NAME: &'static str = "grid";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let elements = p.src.elements() + p.grid.elements() + p.dst.elements();
        Cost { flops: 2.0 * (p.dst.elements() * p.taps()) as f64, bytes: 4.0 * elements as f64 }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        check_len("src", args.src.len(), p.src.extent())?;
        check_len("grid", args.grid.len(), p.grid.extent())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("src", &args.src, &args.dst)?;
        check_disjoint("grid", &args.grid, &args.dst)
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let (rank, axes) = (p.src.rank(), p.axes());
    if !(2..=3).contains(&axes) || p.grid.rank() != rank || p.dst.rank() != rank {
        return Err("neither images nor volumes");
    }
    let places = p.grid.size(0) == p.src.size(0)
        && p.grid.size(rank - 1) == axes
        && p.dst.sizes()[..2] == p.src.sizes()[..2]
        && (2..rank).all(|d| p.dst.size(d) == p.grid.size(d - 1));
    match () {
        () if !places => Err("sizes do not go together"),
        () if p.kind == Kind::Bicubic && axes != 2 => Err("bicubic volumes"),
        () if p.src.sizes()[2..].contains(&0) => Err("nothing to sample"),
        () => Ok(()),
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Grid>] = &[rows::AVX512, rows::AVX2, rows::NEON, rows::SCALAR];
