//! The NEON row.

use tandem_base::Isa;

use super::engine::Neon;
use super::plan::Plan;
use super::run::{Engine, run};
use super::{Costs, ns, supports};
use crate::conv::Conv;
use crate::kernel::Kernel;

// Assumed, not measured: those of eight lanes of AVX2.
pub(super) const COSTS: Costs =
    Costs { width: Neon::WIDTH, share: 0.94, input: 600.0, turn: 330.0, filter: 280.0, output: 800.0 };

/// F(4x4, 3x3) on NEON, products of 6 tiles and 16 columns.
pub(in crate::conv) const NEON: Kernel<Conv> = Kernel {
    name: "neon-winograd-4x4",
    isa: Isa::NEON,
    supports,
    ns: |p, rates| ns(p, rates, &COSTS),
    phases: |p| Plan::new(p, Neon::WIDTH).phases(),
    tiles: |p, phase| Plan::new(p, Neon::WIDTH).phase_tiles(phase),
    workspace: |p| Plan::new(p, Neon::WIDTH).workspace(),
    run: run::<Neon>,
};
