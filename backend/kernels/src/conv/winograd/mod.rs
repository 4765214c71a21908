//! Winograd F(4×4, 3×3): 3x3 convolutions of stride 1 with 36 multiplications where the direct sum takes 144.
//!
//! A tile of 4 x 4 outputs reads a patch of 6 x 6 inputs. Patches and filters are transformed, multiplied channel by
//! channel in 36 matrix products (one a frequency), and transformed back. Filters come straight from the panels of the
//! file and are transformed per execute.
//!
//! Rounding: errors are some 1e-6 to 1e-5 of the output's range, growing with the square root of the channels. An
//! input that is not finite reaches every output of each tile whose patch holds it, not only those within a pixel of
//! it; a filter that is not finite every pixel of its column, as in the direct sum.

mod ahead;
mod engine;
mod pipeline;
mod plan;
mod product;
mod run;
#[cfg(test)]
mod tests;
mod transform;

pub use pipeline::Pipeline;

/// Names of Winograd's rows.
pub(super) const ROWS: [&str; 3] = ["avx512-winograd-4x4", "avx2-winograd-4x4", "neon-winograd-4x4"];

use plan::{BLOCK, FREQUENCIES, Order, Plan};

use run::Engine;
use tandem_base::Isa;

use super::{Conv, Problem};
use crate::element::Element;
use crate::kernel::{Family, Kernel, Rates, Refusal};
use crate::panels;

/// F(4x4, 3x3) on AVX-512, products of 12 tiles and 32 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const fn avx512<T: Element>() -> Kernel<Conv<T>> {
    row::<engine::Zmm, T>(ROWS[0], Isa::AVX512)
}

/// F(4x4, 3x3) on AVX2, products of 6 tiles and 16 columns.
#[cfg(target_arch = "x86_64")]
pub(super) const fn avx2<T: Element>() -> Kernel<Conv<T>> {
    row::<engine::Ymm, T>(ROWS[1], Isa::AVX2)
}

/// F(4x4, 3x3) on NEON, products of 6 tiles and 16 columns.
#[cfg(target_arch = "aarch64")]
pub(super) const fn neon<T: Element>() -> Kernel<Conv<T>> {
    row::<engine::Neon, T>(ROWS[2], Isa::NEON)
}

const fn row<G: Engine, T: Element>(name: &'static str, isa: Isa) -> Kernel<Conv<T>> {
    Kernel {
        name,
        isa,
        supports,
        ns: ns::<G, T>,
        phases: |p| Plan::new(p, G::WIDTH).phases(),
        tiles: |p, phase| Plan::new(p, G::WIDTH).phase_tiles(phase),
        workspace: |p| Plan::new(p, G::WIDTH).workspace(),
        run: run::run::<G, T>,
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let channels_inner = |shape: &tandem_base::Strided| shape.stride(1) == 1 || shape.size(1) == 1;
    let residual_inner = p.epilogue.residual.is_none_or(|r| channels_inner(&r));
    let refusals = [
        (
            p.kernel != [3, 3] || p.stride != [1, 1] || p.dilation != [1, 1],
            "not 3x3 of stride and dilation 1",
        ),
        (p.in_channels() == 0, "no channels"),
        (p.groups != 1, "groups"),
        (p.shuffle != 1, "pixel shuffle"),
        (!p.fast_math, "fast_math is off"),
        (p.padding.iter().any(|&side| side > 2), "padding above 2"),
        (!p.src.iter().all(channels_inner), "source channels are not inner"),
        (!channels_inner(&p.dst), "destination channels are not inner"),
        (!residual_inner, "residual channels are not inner"),
    ];
    refusals.into_iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, why)| Err(why))
}

/// What the steps of a row cost.
#[derive(Clone, Copy)]
struct Costs {
    /// Share of the multiply-add rate the products reach.
    share: f64,
    /// Transforms in elements of element-wise work: an input of 16 channels and what turning it adds, a filter of 16
    /// columns, an output of 16.
    input: f64,
    turn: f64,
    filter: f64,
    output: f64,
}

impl Costs {
    /// Products of so many tiles with filters of so many rows (channels) and columns, in ns.
    fn products_ns(&self, tiles: f64, rows: f64, columns: f64, rates: &Rates) -> f64 {
        /// What storing a product costs, in channels.
        const STORE: f64 = 5.0;
        2.0 * tiles * FREQUENCIES as f64 * columns * (rows + STORE) / (self.share * rates.fma_gflops)
    }
}

/// Products at the multiply-add rate or at the rate filters come out of L2, transforms at the vector rate, and the part
/// of the time operands take out of memory that does not hide behind the products.
fn ns<G: Engine, T: Element>(p: &Problem, rates: &Rates) -> f64 {
    let (plan, costs) = (Plan::new(p, G::WIDTH), G::COSTS);
    let (tiles, rows) = (plan.tiles() as f64, plan.channels() as f64);
    let (blocks, columns) = (plan.blocks() as f64, panels::padded(plan.columns) as f64 / BLOCK as f64);
    let filter = FREQUENCIES as f64 * columns * BLOCK as f64;
    let (transforms, exposed) = match plan.order {
        Order::FiltersFirst => (1.0, 0.5),
        Order::TilesFirst => (plan.groups() as f64, 0.25),
    };
    let products = costs.products_ns(tiles, rows, columns * BLOCK as f64, rates);
    let reads = 4.0 * filter * rows * plan.groups() as f64 / rates.l2_gbs;
    let vectors =
        tiles * (blocks * costs.input + columns * costs.output) + transforms * rows * columns * costs.filter;
    let weights = (size_of::<u32>() * p.words(T::PER_WORD) * panels::padded(plan.columns)) as f64;
    let others = Conv::<T>::cost(p).bytes - weights;
    let memory = exposed * others.max(0.0) / rates.dram_gbs + 0.5 * weights / rates.read_gbs;
    let acts = rates.epilogue_ns(&p.epilogue, p.dst.elements());
    products.max(reads) + vectors / rates.vector_gelems + acts + memory
}
