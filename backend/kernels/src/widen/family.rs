//! Families of f32 on 16-bit floats, for those that have no rows of their own for them.

use std::marker::PhantomData;

use tandem_base::strided::MAX_RANK;
use tandem_base::{Span, SpanMut, Strided};

use super::{MAX_SOURCES, Operands, Part, Parted, Region, Widened};
use crate::element::Element;
use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_in_place, check_len};
use crate::unfused::Unfused;

/// Most arrays of f32 that a problem reads beside its sources.
pub const MAX_CONSTANTS: usize = 4;

/// A family of f32 on sources and a destination of an element type: its problems, computed part by part.
pub struct Halved<F, E>(PhantomData<(F, E)>);

/// Operands of a problem.
#[derive(Clone, Copy, Debug)]
pub struct HalvedArgs<'a, E> {
    /// Sources, as many as there are; the rest empty.
    pub src: [Span<'a, E>; MAX_SOURCES],
    /// Weights, columns, parameters; the rest empty.
    pub constants: [Span<'a, f32>; MAX_CONSTANTS],
    /// Destination.
    pub dst: SpanMut<'a, E>,
}

impl<E> HalvedArgs<'_, E> {
    /// Nothing at all.
    pub fn empty() -> Self {
        Self {
            src: [Span::empty(); MAX_SOURCES],
            constants: [Span::empty(); MAX_CONSTANTS],
            dst: SpanMut::empty(),
        }
    }
}

/// What a problem reads and writes.
pub struct Shapes {
    /// Sources.
    pub src: [Option<Strided>; MAX_SOURCES],
    /// Elements of each constant.
    pub constants: [usize; MAX_CONSTANTS],
    /// Destination.
    pub dst: Strided,
}

/// A part of a problem.
pub struct Piece<P> {
    /// Its problem, operands lying as their regions say.
    pub problem: P,
    /// What it reads.
    pub src: [Option<Region>; MAX_SOURCES],
    /// What it writes.
    pub dst: Region,
}

/// A family of f32 whose problems come apart; constants are the same for all parts.
pub trait Apart: Family {
    /// Whether sources may be the destination itself.
    const IN_PLACE: bool = false;

    /// Its rows.
    fn rows() -> &'static [Kernel<Self>];

    /// What a problem reads and writes.
    fn shapes(p: &Self::Problem) -> Shapes;

    /// Number of parts: a function of the problem only.
    fn count(p: &Self::Problem) -> usize;

    /// A part.
    fn piece(p: &Self::Problem, index: usize) -> Piece<Self::Problem>;

    /// Arguments of a problem.
    fn args<'a>(
        src: [Span<'a, f32>; MAX_SOURCES],
        constants: [Span<'a, f32>; MAX_CONSTANTS],
        dst: SpanMut<'a, f32>,
    ) -> Self::Args<'a>;
}

impl<F: Apart, E: Element> Family for Halved<F, E> {
    const NAME: &'static str = F::NAME;
    type Problem = F::Problem;
    type Args<'a> = HalvedArgs<'a, E>;

    fn cost(p: &F::Problem) -> Cost {
        let Cost { flops, bytes } = F::cost(p);
        Cost { flops, bytes: bytes * size_of::<E>() as f64 / size_of::<f32>() as f64 }
    }

    fn unfused(p: &F::Problem) -> Unfused {
        Unfused { width: size_of::<E>(), ..F::unfused(p) }
    }

    fn check(p: &F::Problem, args: &HalvedArgs<'_, E>) -> Result<(), ArgError> {
        let shapes = F::shapes(p);
        check_len("dst", args.dst.len(), shapes.dst.extent())?;
        for (shape, span) in shapes.src.iter().zip(&args.src) {
            let Some(shape) = shape else { continue };
            check_len("src", span.len(), shape.extent())?;
            if F::IN_PLACE {
                check_in_place("src", (span, shape), (&args.dst, &shapes.dst))?;
            } else {
                check_disjoint("src", span, &args.dst)?;
            }
        }
        let constants = shapes.constants.iter().zip(&args.constants);
        constants.into_iter().try_for_each(|(&len, span)| check_len("constant", span.len(), len))
    }
}

impl<F: Apart, E: Element> Parted for Halved<F, E> {
    type Element = E;
    type Held = f32;
    type Narrow = Self;
    type Wide = F;

    fn count(p: &F::Problem) -> usize {
        F::count(p)
    }

    fn part(p: &F::Problem, index: usize) -> Part<Self> {
        let Piece { problem, src, dst } = F::piece(p, index);
        Part { problem, src, weight: None, dst, column: 0 }
    }

    fn operands<'p>(_: &F::Problem, args: &'p HalvedArgs<'_, E>) -> Operands<'p, E> {
        Operands { src: args.src, ..Operands::of(args.dst) }
    }

    fn args<'p>(args: &'p HalvedArgs<'_, E>, _: &Part<Self>, wide: Operands<'p, f32>) -> F::Args<'p> {
        F::args(wide.src, args.constants, wide.dst)
    }
}

impl<F: Apart, E: Element> Widened for Halved<F, E> {
    fn rows() -> &'static [Kernel<F>] {
        F::rows()
    }
}

/// A family's tables for f16 and bf16.
macro_rules! tables {
    ($family:ident) => {
        $crate::widen::tables!($family, KERNELS_F16, f16, "Every row of f16.");
        $crate::widen::tables!($family, KERNELS_BF16, bf16, "Every row of bf16.");
    };
    ($family:ident, $table:ident, $element:ident, $doc:literal) => {
        #[doc = $doc]
        pub static $table: &[Kernel<$crate::Halved<$family, $crate::$element>>] = &[
            #[cfg(target_arch = "x86_64")]
    $crate::widen::row!($crate::Halved<$family, $crate::$element>, Avx512, "avx512-widened", AVX512),
            #[cfg(target_arch = "x86_64")]
    $crate::widen::row!($crate::Halved<$family, $crate::$element>, Avx2, "avx2-widened", AVX2),
            #[cfg(target_arch = "aarch64")]
    $crate::widen::row!($crate::Halved<$family, $crate::$element>, Neon, "neon-widened", NEON),
    $crate::widen::row!($crate::Halved<$family, $crate::$element>, Scalar, "scalar-widened", SCALAR),
        ];
    };
}
pub(crate) use tables;

/// A tensor in blocks along dimensions whose elements have nothing to do with each other.
pub(crate) struct Blocks {
    rank: usize,
    sizes: [usize; MAX_RANK],
    steps: [usize; MAX_RANK],
}

impl Blocks {
    /// Elements of a block to aim for: a few operands of them stay in L2.
    const ELEMENTS: usize = 16 << 10;

    /// Cut along the dimensions that `apart` names, those of the largest strides first.
    pub fn new(dst: &Strided, apart: impl Fn(usize) -> bool) -> Self {
        let rank = dst.rank();
        let mut sizes = [1; MAX_RANK];
        sizes[..rank].copy_from_slice(dst.sizes());
        let mut order: [usize; MAX_RANK] = std::array::from_fn(|d| d);
        order[..rank].sort_by_key(|&d| std::cmp::Reverse(dst.stride(d)));
        let mut steps = sizes;
        for &d in order[..rank].iter().filter(|&&d| apart(d) && sizes[d] > 0) {
            let all: usize = steps.iter().product();
            if all <= Self::ELEMENTS {
                break;
            }
            steps[d] = (Self::ELEMENTS / (all / steps[d])).max(1);
        }
        Self { rank, sizes, steps }
    }

    /// Number of blocks.
    pub fn count(&self) -> usize {
        let blocks = |d: usize| self.sizes[d].div_ceil(self.steps[d].max(1));
        (0..self.rank).map(blocks).product()
    }

    /// First element of a block and its sizes.
    pub fn block(&self, index: usize) -> Block {
        let (mut first, mut sizes, mut left) = ([0; MAX_RANK], [1; MAX_RANK], index);
        for d in (0..self.rank).rev() {
            let blocks = self.sizes[d].div_ceil(self.steps[d]);
            first[d] = left % blocks * self.steps[d];
            sizes[d] = self.steps[d].min(self.sizes[d] - first[d]);
            left /= blocks;
        }
        Block { rank: self.rank, first, sizes }
    }
}

/// A block of a tensor.
pub(crate) struct Block {
    rank: usize,
    first: [usize; MAX_RANK],
    sizes: [usize; MAX_RANK],
}

impl Block {
    /// The same elements of an operand of the tensor's sizes.
    pub fn of(&self, shape: &Strided) -> Region {
        self.of_first(shape, self.rank)
    }

    /// All elements of an operand that has these places in its first `dims` dimensions.
    pub fn of_first(&self, shape: &Strided, dims: usize) -> Region {
        let (mut first, mut sizes) = ([0; MAX_RANK], [1; MAX_RANK]);
        first[..dims].copy_from_slice(&self.first[..dims]);
        sizes[..shape.rank()].copy_from_slice(shape.sizes());
        sizes[..dims].copy_from_slice(&self.sizes[..dims]);
        Region::of(shape, &first[..shape.rank()], &sizes[..shape.rank()])
    }
}
