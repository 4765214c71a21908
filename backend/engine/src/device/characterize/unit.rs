//! Rates of a matrix unit that its kernels show.

use tandem_base::{AlignedBuf, Engine, Isa, Span, SpanMut, Strided};
use tandem_kernels::qgemm::{self, Scheme, Weights};
use tandem_kernels::{Epilogue, EpilogueArgs, Family, Kernel, Rates, gemm, panels};

use super::{Effort, span};
use crate::device::Figure;

/// Rows of a product whose weights take longer to multiply than to read.
const THIN: usize = 4;

/// The unit's row for a problem.
fn row<F: Family>(rows: &'static [Kernel<F>], p: &F::Problem, isa: Isa) -> Option<&'static Kernel<F>> {
    let takes =
        |row: &&Kernel<F>| row.engine() == Engine::Unit && isa.has(row.isa) && (row.supports)(p).is_ok();
    let ns = |row: &Kernel<F>| (row.ns)(p, &Rates::default());
    rows.iter().filter(takes).min_by(|a, b| ns(a).total_cmp(&ns(b)))
}

impl Effort {
    /// The smallest of several measured times.
    pub(super) fn least(self, measure: impl Fn() -> f64) -> Figure {
        let figure = self.best(|| 1.0 / measure());
        Figure { value: 1.0 / figure.value, ..figure }
    }

    /// A product of i8 by its row, in GOP/s. Wide, as rows are quantised first.
    pub(super) fn product_gops(self, isa: Isa) -> f64 {
        let [m, n, k] = [self.edge, 4 * self.edge, self.edge];
        let p = qgemm::Problem {
            lhs: Strided::contiguous(&[m, k]),
            dst: Strided::contiguous(&[m, n]),
            weights: Weights::I8,
            scheme: Scheme::Dynamic,
            bias: false,
            clamp: [f32::NEG_INFINITY, f32::INFINITY],
        };
        let Some(row) = row(qgemm::KERNELS, &p, isa) else { return f64::MIN_POSITIVE };
        let columns = panels::padded(n);
        let [lhs, rhs, sums, scale, mut dst] =
            [m * k, p.words() * columns, columns, columns, m * n].map(|len| AlignedBuf::zeroed(4 * len));
        let args = qgemm::Args {
            lhs: span(&lhs),
            rhs: span(&rhs),
            sums: span(&sums),
            scaled_sums: Span::empty(),
            scale: span(&scale),
            bias: Span::empty(),
            dst: SpanMut::from(bytemuck::cast_slice_mut::<u8, f32>(dst.bytes_mut())),
        };
        2.0 * (m * n) as f64 * k as f64 / self.time(row, &p, args, SpanMut::empty(), 1) * 1e-9
    }

    /// A product of few rows, which multi-vector instructions compute, with weights in L2, in GFLOP/s.
    pub(super) fn thin_gflops(self, isa: Isa) -> f64 {
        let [n, k] = [self.edge, self.edge / 4];
        let p = gemm::Problem {
            lhs: Strided::contiguous(&[1, THIN, k]),
            rhs: gemm::Rhs::Panels,
            dst: Strided::contiguous(&[1, THIN, n]),
            alpha: 1.0,
            epilogue: Epilogue::default(),
        };
        let Some(row) = row(gemm::KERNELS, &p, isa) else { return f64::MIN_POSITIVE };
        let [lhs, rhs, mut dst] =
            [THIN * k, panels::padded(n) * k, THIN * n].map(|len| AlignedBuf::zeroed(4 * len));
        let mut shared = AlignedBuf::zeroed((row.workspace)(&p).shared);
        let args = gemm::Args {
            lhs: span(&lhs),
            rhs: span(&rhs),
            epilogue: EpilogueArgs::none(),
            dst: SpanMut::from(bytemuck::cast_slice_mut::<u8, f32>(dst.bytes_mut())),
        };
        2.0 * (THIN * n * k) as f64 / self.time(row, &p, args, SpanMut::from(shared.bytes_mut()), 1) * 1e-9
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tandem_kernels::peak;

    use super::*;

    /// By emulated units, whose rates say nothing of any machine's: that rows are found and operands fit.
    #[test]
    fn units_have_rates() {
        let effort = Effort { rounds: 2, time: Duration::from_millis(1), memory: 1 << 20, edge: 40 };
        for isa in [Isa::EMULATED_SME2_128, Isa::EMULATED_SME2_256, Isa::EMULATED_SME2_512] {
            let entry = effort.least(|| peak::unit(isa).entry_ns);
            assert!(entry.value > 0.0 && entry.spread.is_some_and(|spread| (0.0..1.0).contains(&spread)));
            let rates = [effort.product_gops(isa), effort.thin_gflops(isa), peak::unit(isa).copy_gelems];
            assert!(rates.iter().all(|rate| *rate > 1e-9 && rate.is_finite()), "{isa}: {rates:?}");
        }
        assert_eq!(effort.product_gops(Isa::SCALAR), f64::MIN_POSITIVE);
    }
}
