//! The emulated unit's rows: what is planned and driven on every host.

use tandem_base::Isa;

use super::{Emulated, conv_row, depthwise_row, gemm_row, softmax_row};
use crate::kernel::Kernel;
use crate::simd::Scalar;

/// Rows of emulated units, for the families' own tests.
pub(crate) static GEMM: &[Kernel<crate::gemm::Gemm>] = &[
    gemm_row::<Emulated<4>, Scalar>("emulated-sme-128", Isa::SCALAR),
    gemm_row::<Emulated<8>, Scalar>("emulated-sme-256", Isa::SCALAR),
    gemm_row::<Emulated<16>, Scalar>("emulated-sme-512", Isa::SCALAR),
];

/// As [`GEMM`].
pub(crate) static CONV: &[Kernel<crate::conv::Conv>] = &[
    conv_row::<Emulated<4>, Scalar>("emulated-sme-128", Isa::SCALAR),
    conv_row::<Emulated<8>, Scalar>("emulated-sme-256", Isa::SCALAR),
    conv_row::<Emulated<16>, Scalar>("emulated-sme-512", Isa::SCALAR),
];

/// As [`GEMM`].
pub(crate) static DEPTHWISE: &[Kernel<crate::depthwise::Depthwise>] = &[
    depthwise_row::<Emulated<4>, Scalar>("emulated-sme-128", Isa::SCALAR),
    depthwise_row::<Emulated<8>, Scalar>("emulated-sme-256", Isa::SCALAR),
    depthwise_row::<Emulated<16>, Scalar>("emulated-sme-512", Isa::SCALAR),
];

/// As [`GEMM`].
pub(crate) static SOFTMAX: &[Kernel<crate::softmax::Softmax>] =
    &[softmax_row::<Emulated<16>>("emulated-sme-512", Isa::SCALAR)];
