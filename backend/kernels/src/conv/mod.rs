//! 2-d convolution of f32, f16 or bf16 with groups, several source segments, full epilogue and pixel-shuffle store.

mod direct;
#[cfg(target_arch = "aarch64")]
mod halves;
pub(crate) mod scalar;
mod slab;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use smallvec::SmallVec;
use tandem_base::{Span, SpanMut, Strided};

use crate::both::Divide;
use crate::element::{Element, bf16, f16};
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_len};
use crate::panels;
use crate::unfused::{Product, Unfused};
use crate::widen::row;
#[cfg(any(test, feature = "emulated"))]
use crate::{simd::Scalar, sme2::Emulated};

mod widened;
mod winograd;

use widened::Bands;
pub(crate) use widened::windows;
pub use winograd::Pipeline;

/// The family of an element type.
pub struct Conv<E = f32>(PhantomData<E>);

/// Most source segments a convolution takes.
pub const MAX_SEGMENTS: usize = 4;

/// dst = epilogue(sum over taps and channels of src * weight).
///
/// All shapes are logical `[n, c, h, w]` with any strides; rows say which they take.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Source segments, one after the other along channels; equal n, h, w. At most [`MAX_SEGMENTS`].
    pub src: SmallVec<[Strided; MAX_SEGMENTS]>,
    /// Destination `[n, c, h, w]`; with `shuffle` = r the shuffled image `[n, c, oh * r, ow * r]`.
    pub dst: Strided,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Stride y, x.
    pub stride: [usize; 2],
    /// Padding top, left, bottom, right.
    pub padding: [usize; 4],
    /// Dilation y, x.
    pub dilation: [usize; 2],
    /// Groups; above 1 with one segment only.
    pub groups: usize,
    /// Pixel-shuffle factor r, 1 = none. The convolution then has r*r*c columns in groups (dy, dx) of c.
    pub shuffle: usize,
    /// Its stages. `residual` has the destination's sizes.
    pub epilogue: Epilogue,
    /// Whether an algorithm with another rounding than the direct sum (Winograd) may be used.
    pub fast_math: bool,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a, E = f32> {
    /// One span a segment.
    pub src: [Span<'a, E>; MAX_SEGMENTS],
    /// Panels of each column group (see [`Problem::column_groups`]), one after the other. Every tap of a segment begins
    /// with a new word.
    pub weight: Span<'a, E>,
    /// Columns as the panels have them.
    pub epilogue: EpilogueArgs<'a, E>,
    /// Destination, disjoint from every source.
    pub dst: SpanMut<'a, E>,
}

impl Problem {
    /// Input channels, all segments together.
    pub fn in_channels(&self) -> usize {
        self.src.iter().map(|s| s.size(1)).sum()
    }
    /// Batch.
    pub fn batch(&self) -> usize {
        self.dst.size(0)
    }
    /// Height and width of the convolution's output, before any shuffle.
    pub fn out_size(&self) -> [usize; 2] {
        [self.dst.size(2) / self.shuffle, self.dst.size(3) / self.shuffle]
    }
    /// Height and width of the sources.
    pub fn in_size(&self) -> [usize; 2] {
        [self.src[0].size(2), self.src[0].size(3)]
    }
    /// k of an output: taps times input channels of a group.
    pub fn k(&self) -> usize {
        self.words(1)
    }
    /// Rows of the packed weights in words of `g` k.
    pub fn words(&self, g: usize) -> usize {
        let channels: usize = self.src.iter().map(|s| (s.size(1) / self.groups).div_ceil(g)).sum();
        self.kernel[0] * self.kernel[1] * channels
    }
    /// Independent groups of columns, each with panels of its own, and the columns of one: convolution groups, or the
    /// parities (dy, dx) of a shuffle, or one.
    pub fn column_groups(&self) -> (usize, usize) {
        let parts = self.groups * self.shuffle * self.shuffle;
        let columns = self.dst.size(1) / self.groups;
        (parts, columns)
    }
    /// Columns of all groups, each padded to its panels.
    pub fn padded_columns(&self) -> usize {
        let (parts, columns) = self.column_groups();
        parts * panels::padded(columns)
    }
}

impl<E: Element> Family for Conv<E> {
    const NAME: &'static str = "conv";
    type Problem = Problem;
    type Args<'a> = Args<'a, E>;

    fn cost(p: &Problem) -> Cost {
        let [oh, ow] = p.out_size();
        let columns = p.dst.size(1) * p.shuffle * p.shuffle;
        let src: usize = p.src.iter().map(Strided::elements).sum();
        let residual = p.epilogue.residual.map_or(0, |r| r.elements());
        Cost {
            flops: 2.0 * (p.batch() * oh * ow * columns) as f64 * p.k() as f64,
            bytes: (size_of::<E>() * (src + p.dst.elements() + residual + p.k() * columns)) as f64,
        }
    }

    fn unfused(p: &Problem) -> Unfused {
        let [oh, ow] = p.out_size();
        let n = p.dst.size(1) * p.shuffle * p.shuffle;
        let (m, k, taps) = (p.batch() * oh * ow, p.k(), p.kernel[0] * p.kernel[1]);
        let product = Product { batch: 1, m, n, k, taps, packs_rhs: false };
        let sources: usize = p.src.iter().map(Strided::elements).sum();
        let elements = p.dst.elements();
        Unfused {
            // Outer products are for dense convolutions.
            product: (p.groups == 1).then_some(product),
            joined: if p.src.len() > 1 { sources } else { 0 },
            shuffled: if p.shuffle > 1 { elements } else { 0 },
            elements,
            width: size_of::<E>(),
            passes: p.epilogue.passes(),
        }
    }

    fn check(p: &Problem, args: &Args<'_, E>) -> Result<(), ArgError> {
        for (shape, span) in p.src.iter().zip(&args.src) {
            check_len("src", span.len(), shape.extent())?;
            check_disjoint("src", span, &args.dst)?;
        }
        check_len("weight", args.weight.len(), E::PER_WORD * p.words(E::PER_WORD) * p.padded_columns())?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        p.epilogue.check(&args.epilogue, p.padded_columns())
    }
}

impl<E: Element> Divide for Conv<E> {
    type Element = E;
    type Parts = Bands<E, E>;

    fn shares(row: &Kernel<Self>) -> bool {
        !Self::EXACT || direct(row)
    }
}

/// Whether a row sums products: those that transform round otherwise.
pub(crate) fn direct<E: Element>(row: &Kernel<Conv<E>>) -> bool {
    !winograd::ROWS.contains(&row.name)
}

/// Every row of f32.
pub static KERNELS: &[Kernel<Conv>] = &[
    scalar::row(),
    #[cfg(target_arch = "x86_64")]
    direct::AVX512,
    #[cfg(target_arch = "x86_64")]
    direct::AVX2,
    #[cfg(target_arch = "aarch64")]
    direct::NEON,
    #[cfg(target_arch = "x86_64")]
    slab::AVX512,
    #[cfg(target_arch = "x86_64")]
    slab::AVX2,
    #[cfg(target_arch = "aarch64")]
    slab::NEON,
    #[cfg(target_arch = "x86_64")]
    winograd::avx512(),
    #[cfg(target_arch = "x86_64")]
    winograd::avx2(),
    #[cfg(target_arch = "aarch64")]
    winograd::neon(),
    #[cfg(target_arch = "aarch64")]
    crate::sme2::conv_row::<crate::sme2::Sme2, crate::simd::Neon, _>("sme2-direct", tandem_base::Isa::SME2),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::conv_row::<Emulated<4>, Scalar, _>("emulated-sme2-128", tandem_base::Isa::EMULATED_SME2_128),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::conv_row::<Emulated<8>, Scalar, _>("emulated-sme2-256", tandem_base::Isa::EMULATED_SME2_256),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::conv_row::<Emulated<16>, Scalar, _>(
        "emulated-sme2-512",
        tandem_base::Isa::EMULATED_SME2_512,
    ),
];

/// Every row of a 16-bit float.
macro_rules! halves {
    ($(#[$doc:meta] $table:ident: $element:ident [$($neon:ident)*]),*) => {
        $(#[$doc]
        pub static $table: &[Kernel<Conv<$element>>] = &[
            scalar::row(),
            #[cfg(target_arch = "x86_64")]
            row!(Bands<$element>, Avx512, "avx512-widened", AVX512),
            #[cfg(target_arch = "x86_64")]
            row!(Bands<$element>, Avx2, "avx2-widened", AVX2),
            #[cfg(target_arch = "x86_64")]
            winograd::avx512(),
            #[cfg(target_arch = "x86_64")]
            winograd::avx2(),
            #[cfg(target_arch = "aarch64")]
            row!(Bands<$element>, Neon, "neon-widened", NEON),
            #[cfg(target_arch = "aarch64")]
            winograd::neon(),
            $(#[cfg(target_arch = "aarch64")]
            halves::$neon,)*
            #[cfg(target_arch = "aarch64")]
            crate::sme2::conv_row::<crate::sme2::Sme2, crate::simd::Neon, _>("sme2-direct", tandem_base::Isa::SME2),
            #[cfg(any(test, feature = "emulated"))]
            crate::sme2::conv_row::<Emulated<4>, Scalar, _>("emulated-sme2-128", tandem_base::Isa::EMULATED_SME2_128),
            #[cfg(any(test, feature = "emulated"))]
            crate::sme2::conv_row::<Emulated<8>, Scalar, _>("emulated-sme2-256", tandem_base::Isa::EMULATED_SME2_256),
            #[cfg(any(test, feature = "emulated"))]
            crate::sme2::conv_row::<Emulated<16>, Scalar, _>("emulated-sme2-512", tandem_base::Isa::EMULATED_SME2_512),
        ];)*
    };
}
halves! {
    /// Every row of f16.
    KERNELS_F16: f16 [F16],
    /// Every row of bf16.
    KERNELS_BF16: bf16 [BF16 BFMMLA]
}

/// An element with rows of convolutions.
pub trait Rows: Element {
    /// Every one.
    fn rows() -> &'static [Kernel<Conv<Self>>];
}

impl Rows for f32 {
    fn rows() -> &'static [Kernel<Conv>] {
        KERNELS
    }
}

impl Rows for f16 {
    fn rows() -> &'static [Kernel<Conv<f16>>] {
        KERNELS_F16
    }
}

impl Rows for bf16 {
    fn rows() -> &'static [Kernel<Conv<bf16>>] {
        KERNELS_BF16
    }
}
