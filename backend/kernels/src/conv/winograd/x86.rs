//! The AVX2 and AVX-512 rows.

use tandem_base::Isa;

use super::engine::{Ymm, Zmm};
use super::plan::Plan;
use super::run::{Engine, run};
use super::{Costs, ns, supports};
use crate::conv::Conv;
use crate::kernel::Kernel;

// Costs are measured on one Zen 4 core of 118 GFLOP/s and 8 Gelement/s, for which both rows must be priced alike.
pub(super) const AVX512_COSTS: Costs =
    Costs { width: Zmm::WIDTH, share: 0.98, input: 400.0, turn: 330.0, filter: 230.0, output: 380.0 };
pub(super) const AVX2_COSTS: Costs =
    Costs { width: Ymm::WIDTH, share: 0.94, input: 600.0, turn: 330.0, filter: 280.0, output: 800.0 };

/// F(4x4, 3x3) on AVX-512, products of 12 tiles and 32 columns.
pub(in crate::conv) const AVX512: Kernel<Conv> = Kernel {
    name: "avx512-winograd-4x4",
    isa: Isa::AVX512,
    supports,
    ns: |p, rates| ns(p, rates, &AVX512_COSTS),
    phases: |p| Plan::new(p, Zmm::WIDTH).phases(),
    tiles: |p, phase| Plan::new(p, Zmm::WIDTH).phase_tiles(phase),
    workspace: |p| Plan::new(p, Zmm::WIDTH).workspace(),
    run: run::<Zmm>,
};

/// F(4x4, 3x3) on AVX2, products of 6 tiles and 16 columns.
pub(in crate::conv) const AVX2: Kernel<Conv> = Kernel {
    name: "avx2-winograd-4x4",
    isa: Isa::AVX2,
    supports,
    ns: |p, rates| ns(p, rates, &AVX2_COSTS),
    phases: |p| Plan::new(p, Ymm::WIDTH).phases(),
    tiles: |p, phase| Plan::new(p, Ymm::WIDTH).phase_tiles(phase),
    workspace: |p| Plan::new(p, Ymm::WIDTH).workspace(),
    run: run::<Ymm>,
};
