//! Products of f16 and bf16 on cores, see [`crate::words`]; sums are f32.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Gemm, Problem, Rhs};
use crate::element::{Element, bf16, f16};
use crate::kernel::{Kernel, Refusal};
use crate::panels;
use crate::simd::Neon;
use crate::sme2::{Row, finish};
use crate::words::{Bfmmla, Fmla, Halves, MAX_ROWS, Matrix, Product};

/// FMLA of f32.
pub(super) const F16: Kernel<Gemm<f16>> = row::<f16, Fmla<f16>>("neon-fmla-8x8", Isa::NEON);
/// FMLA of f32.
pub(super) const BF16: Kernel<Gemm<bf16>> = row::<bf16, Fmla<bf16>>("neon-fmla-8x8", Isa::NEON);
/// FEAT_BF16.
pub(super) const BFMMLA: Kernel<Gemm<bf16>> = row::<bf16, Matrix<Bfmmla>>("neon-bfmmla-12x8", Isa::BF16);

fn product(p: &Problem) -> Product {
    let [batch, m, n, k] = p.sizes();
    Product { m: batch * m, n, k: size_of::<u16>() * k, nibbles: false }
}

const fn row<X: Element, E: Halves>(name: &'static str, isa: Isa) -> Kernel<Gemm<X>> {
    Kernel {
        name,
        isa,
        supports,
        ns: |p, rates| product(p).ns::<E>(rates) + rates.epilogue_ns(&p.epilogue, p.dst.elements()),
        phases: |_| 2,
        tiles: |p, phase| product(p).tiles::<E>(phase),
        workspace: |p| product(p).workspace::<E>(0),
        run: run::<X, E>,
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    let [_, _, n, k] = p.sizes();
    let refusals = [
        (p.rhs != Rhs::Panels, "rhs is no panels"),
        (k == 0, "nothing to sum"),
        (p.lhs.stride(2) != 1 && k > 1, "k of lhs is not contiguous"),
        (p.dst.stride(2) != 1 && n > 1, "columns of dst are not contiguous"),
    ];
    refusals.into_iter().find(|(refused, _)| *refused).map_or(Ok(()), |(_, why)| Err(why))
}

unsafe fn run<X: Element, E: Halves>(
    p: &Problem,
    args: &Args<'_, X>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let [_, m, n, k] = p.sizes();
    let at = |strides: &[usize], row: usize| row / m * strides[0] + row % m * strides[1];
    let mut sums = [0f32; MAX_ROWS * panels::PANEL];
    // SAFETY: `Gemm::check` passed, the blocks have the workspace's sizes.
    unsafe {
        let fill = |row, to, step| E::fill(args.lhs.ptr().add(at(p.lhs.strides(), row)).cast(), k, to, step);
        product(p).run::<E>(
            phase,
            tiles,
            args.rhs.ptr().cast(),
            [shared, scratch],
            fill,
            |tile, row, column| {
                E::sums(tile, sums.as_mut_ptr());
                let width = tile.panel.width;
                for r in 0..tile.rows {
                    let (residual, step) =
                        p.epilogue.residual.map_or((0, 0), |s| (at(s.strides(), row + r), s.stride(2)));
                    let row = Row {
                        sums: sums.as_ptr().wrapping_add(r * width).wrapping_sub(column),
                        dst: args.dst.ptr().add(at(p.dst.strides(), row + r)),
                        residual,
                        step,
                    };
                    finish::<Neon, X>(
                        &p.epilogue,
                        &args.epilogue,
                        p.alpha,
                        &row,
                        column..(column + width).min(n),
                    );
                }
            },
        );
    }
}
