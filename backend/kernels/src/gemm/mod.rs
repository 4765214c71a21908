//! Matrix product: dst = epilogue(alpha * lhs * rhs), rhs packed panels or a strided matrix, of f32, f16 or bf16.

mod blocked;
#[cfg(target_arch = "aarch64")]
mod halves;
mod scalar;
#[cfg(test)]
mod tests;
mod widened;

use std::marker::PhantomData;

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

/// The family of an element type.
pub struct Gemm<E = f32>(PhantomData<E>);

/// The right-hand side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rhs {
    /// Packed panels of k rows and n columns, shared by the whole batch.
    Panels,
    /// `[batch, k, n]` with any strides (0 in batch = shared).
    Strided(Strided),
}

/// dst[b, m, n] = epilogue(alpha * sum over k of lhs[b, m, k] * rhs[b, k, n]).
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// `[batch, m, k]`, any strides.
    pub lhs: Strided,
    /// The right-hand side.
    pub rhs: Rhs,
    /// `[batch, m, n]`, any strides (column-major included).
    pub dst: Strided,
    /// Factor on the product, 1.0 = none.
    pub alpha: f32,
    /// Its stages; `residual` has the destination's sizes. Column arrays run along n.
    pub epilogue: Epilogue,
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a, E = f32> {
    /// Left-hand side.
    pub lhs: Span<'a, E>,
    /// Panels, in words of [`Element::PER_WORD`] k, or strided matrix.
    pub rhs: Span<'a, E>,
    /// Columns padded to the panels' width, whatever the form of rhs.
    pub epilogue: EpilogueArgs<'a, E>,
    /// Destination, disjoint from lhs and rhs.
    pub dst: SpanMut<'a, E>,
}

impl Problem {
    /// batch, m, n, k.
    #[inline]
    pub fn sizes(&self) -> [usize; 4] {
        [self.dst.size(0), self.dst.size(1), self.dst.size(2), self.lhs.size(2)]
    }
}

impl<E: Element> Family for Gemm<E> {
    const NAME: &'static str = "gemm";
    type Problem = Problem;
    type Args<'a> = Args<'a, E>;

    fn cost(p: &Problem) -> Cost {
        let [b, m, n, k] = p.sizes();
        let rhs = match p.rhs {
            Rhs::Panels => k * n,
            Rhs::Strided(_) => b * k * n,
        };
        let residual = p.epilogue.residual.map_or(0, |r| r.elements());
        Cost {
            flops: 2.0 * (b * m * n) as f64 * k as f64,
            bytes: (size_of::<E>() * (b * m * k + rhs + b * m * n + residual)) as f64,
        }
    }

    fn unfused(p: &Problem) -> Unfused {
        let [b, m, n, k] = p.sizes();
        let packs_rhs = matches!(p.rhs, Rhs::Strided(_));
        let (batch, m) = if packs_rhs { (b, m) } else { (1, b * m) };
        let product = Some(Product { batch, m, n, k, taps: 1, packs_rhs });
        let (elements, width) = (p.dst.elements(), size_of::<E>());
        Unfused { product, elements, width, passes: p.epilogue.passes(), ..Unfused::default() }
    }

    fn check(p: &Problem, args: &Args<'_, E>) -> Result<(), ArgError> {
        let [_, _, n, k] = p.sizes();
        check_len("lhs", args.lhs.len(), p.lhs.extent())?;
        let rhs = match p.rhs {
            Rhs::Panels => k.next_multiple_of(E::PER_WORD) * panels::padded(n),
            Rhs::Strided(shape) => shape.extent(),
        };
        check_len("rhs", args.rhs.len(), rhs)?;
        check_len("dst", args.dst.len(), p.dst.extent())?;
        check_disjoint("lhs", &args.lhs, &args.dst)?;
        check_disjoint("rhs", &args.rhs, &args.dst)?;
        p.epilogue.check(&args.epilogue, panels::padded(n))
    }
}

impl<E: Element> Divide for Gemm<E> {
    type Element = E;
    type Parts = widened::Blocks<E, E>;
}

/// Every row of f32.
pub static KERNELS: &[Kernel<Gemm>] = &[
    scalar::row(),
    #[cfg(target_arch = "x86_64")]
    blocked::AVX512,
    #[cfg(target_arch = "x86_64")]
    blocked::AVX2,
    #[cfg(target_arch = "aarch64")]
    blocked::NEON,
    #[cfg(target_arch = "aarch64")]
    crate::sme2::gemm_row::<crate::sme2::Sme2, crate::simd::Neon, _>("sme2-outer", tandem_base::Isa::SME2),
    #[cfg(target_arch = "aarch64")]
    crate::sme2::gemv_row::<crate::sme2::Sme2, crate::simd::Neon>("sme2-gemv", tandem_base::Isa::SME2),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::gemm_row::<Emulated<4>, Scalar, _>("emulated-sme2-128", tandem_base::Isa::EMULATED_SME2_128),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::gemm_row::<Emulated<8>, Scalar, _>("emulated-sme2-256", tandem_base::Isa::EMULATED_SME2_256),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::gemm_row::<Emulated<16>, Scalar, _>(
        "emulated-sme2-512",
        tandem_base::Isa::EMULATED_SME2_512,
    ),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::gemv_row::<Emulated<4>, Scalar>("emulated-gemv-128", tandem_base::Isa::EMULATED_SME2_128),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::gemv_row::<Emulated<8>, Scalar>("emulated-gemv-256", tandem_base::Isa::EMULATED_SME2_256),
    #[cfg(any(test, feature = "emulated"))]
    crate::sme2::gemv_row::<Emulated<16>, Scalar>("emulated-gemv-512", tandem_base::Isa::EMULATED_SME2_512),
];

/// Every row of a 16-bit float.
macro_rules! halves {
    ($(#[$doc:meta] $table:ident: $element:ident [$($neon:ident)*]),*) => {
        $(#[$doc]
        pub static $table: &[Kernel<Gemm<$element>>] = &[
            scalar::row(),
            #[cfg(target_arch = "x86_64")]
            row!(widened::Blocks<$element>, Avx512, "avx512-widened", AVX512),
            #[cfg(target_arch = "x86_64")]
            row!(widened::Blocks<$element>, Avx2, "avx2-widened", AVX2),
            #[cfg(target_arch = "aarch64")]
            row!(widened::Blocks<$element>, Neon, "neon-widened", NEON),
            $(#[cfg(target_arch = "aarch64")]
            halves::$neon,)*
            #[cfg(target_arch = "aarch64")]
            crate::sme2::gemm_row::<crate::sme2::Sme2, crate::simd::Neon, _>("sme2-outer", tandem_base::Isa::SME2),
            #[cfg(any(test, feature = "emulated"))]
            crate::sme2::gemm_row::<Emulated<4>, Scalar, _>("emulated-sme2-128", tandem_base::Isa::EMULATED_SME2_128),
            #[cfg(any(test, feature = "emulated"))]
            crate::sme2::gemm_row::<Emulated<8>, Scalar, _>("emulated-sme2-256", tandem_base::Isa::EMULATED_SME2_256),
            #[cfg(any(test, feature = "emulated"))]
            crate::sme2::gemm_row::<Emulated<16>, Scalar, _>("emulated-sme2-512", tandem_base::Isa::EMULATED_SME2_512),
        ];)*
    };
}
halves! {
    /// Every row of f16.
    KERNELS_F16: f16 [F16],
    /// Every row of bf16.
    KERNELS_BF16: bf16 [BF16 BFMMLA]
}
