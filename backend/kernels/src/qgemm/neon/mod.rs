//! Rows of i8 on cores: quantised once, see [`crate::words`].

mod finish;
pub(super) mod quantise;

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Parameters, Problem, Qgemm, Weights};
use crate::kernel::Kernel;
use crate::panels;
use crate::words::{Groups, MAX_ROWS, Matrix, Product, Scales, Sdot, Smmla, Smull};
use finish::Place;

/// Advanced SIMD.
pub(super) const SMULL: Kernel<Qgemm> = row::<Smull>("neon-smull-3x8", Isa::NEON);
/// FEAT_DotProd.
pub(super) const SDOT: Kernel<Qgemm> = row::<Sdot>("neon-sdot-8x8", Isa::DOTPROD);
/// FEAT_I8MM.
pub(super) const SMMLA: Kernel<Qgemm> = row::<Matrix<Smmla>>("neon-smmla-12x8", Isa::I8MM);

fn product(p: &Problem) -> Product {
    let [m, n, k] = p.sizes();
    Product { m, n, k, nibbles: p.weights != Weights::I8 }
}

const fn row<E: Groups>(name: &'static str, isa: Isa) -> Kernel<Qgemm> {
    Kernel {
        name,
        isa,
        supports: Problem::in_rows,
        ns: |p, rates| product(p).ns::<E>(rates),
        phases: |_| 2,
        tiles: |p, phase| product(p).tiles::<E>(phase),
        workspace: |p| product(p).workspace::<E>(size_of::<Parameters>()),
        run: run::<E>,
    }
}

unsafe fn run<E: Groups>(
    p: &Problem,
    args: &Args<'_>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let product = product(p);
    let mut sums = [0f32; MAX_ROWS * panels::PANEL];
    // SAFETY: `Qgemm::check` passed, the blocks have the workspace's sizes: parameters lie behind the rows.
    unsafe {
        let params = shared.ptr().add(product.bytes::<E>()).cast::<Parameters>();
        let quantise = |row: usize, to, step| {
            let from = args.lhs.ptr().add(row * p.lhs.stride(0));
            let quantise = if E::GROUP == 8 { quantise::row::<8> } else { quantise::row::<16> };
            params.add(row).write(quantise(from, product.k, &p.scheme, to, step));
        };
        product.run::<E>(phase, tiles, args.rhs.ptr(), [shared, scratch], quantise, |tile, row, column| {
            let params = std::slice::from_raw_parts(params.add(row), tile.rows);
            let place = Place { problem: p, args, row, params, column, width: tile.panel.width };
            let sums = sums.as_mut_ptr();
            if let Weights::I4Groups { size } = p.weights {
                let at = args.scale.ptr().add(column);
                place.start(sums);
                E::totals(tile, &Scales { at, step: panels::padded(product.n), size }, sums);
            } else {
                E::sums(tile, sums);
            }
            place.store(sums);
        });
    }
}
