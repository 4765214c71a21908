//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Gemm, Problem, Rhs};
use crate::element::Element;
use crate::kernel::{Family, Kernel, Workspace};
use crate::panels;

/// The definition, for any strides.
pub(super) const fn row<E: Element>() -> Kernel<Gemm<E>> {
    Kernel {
        name: "scalar-reference",
        isa: Isa::SCALAR,
        supports: |_| Ok(()),
        ns: |p, _| Gemm::<E>::cost(p).flops * 1.5 + Gemm::<E>::cost(p).bytes,
        phases: |_| 1,
        tiles: |p, _| p.sizes()[0] * p.sizes()[1],
        workspace: |_| Workspace::default(),
        run: run::<E>,
    }
}

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn run<E: Element>(
    p: &Problem,
    args: &Args<'_, E>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let [_, m, n, k] = p.sizes();
    let (l, d) = (p.lhs.strides(), p.dst.strides());
    for tile in tiles {
        let (b, i) = (tile / m, tile % m);
        for j in 0..n {
            let mut sum = 0f32;
            for kk in 0..k {
                let rhs = match p.rhs {
                    Rhs::Panels => panels::in_words(E::PER_WORD, k, n, kk, j),
                    Rhs::Strided(r) => b * r.stride(0) + kk * r.stride(1) + j * r.stride(2),
                };
                // SAFETY: `Gemm::check` passed; indices come from the problem's sizes.
                unsafe {
                    let lhs = *args.lhs.ptr().add(b * l[0] + i * l[1] + kk * l[2]);
                    sum += lhs.to_f32() * (*args.rhs.ptr().add(rhs)).to_f32()
                }
            }
            let offset = |s: &[usize]| b * s[0] + i * s[1] + j * s[2];
            let residual = p.epilogue.residual.map_or(0, |shape| offset(shape.strides()));
            // SAFETY: as above.
            unsafe {
                let value = p.epilogue.eval(&args.epilogue, p.alpha * sum, j, residual);
                *args.dst.ptr().add(offset(d)) = E::from_f32(value);
            }
        }
    }
}
