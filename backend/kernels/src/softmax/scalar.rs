//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::strided::MAX_RANK;
use tandem_base::{Isa, SpanMut, Strided};

use super::{Args, Problem, Softmax};
use crate::elementwise::offset;
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Softmax> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Softmax::cost(p).flops * 8.0,
    phases: |_| 1,
    tiles: |p, _| rows(p).elements(),
    workspace: |_| Workspace::default(),
    run,
};

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn run(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let rows = rows(p);
    let (from, to) = (p.src.stride(p.dim), p.dst.stride(p.dim));
    for tile in tiles {
        let (src, dst) = (offset(&rows, tile), offset(&Strided::new(rows.sizes(), p.dst.strides()), tile));
        // SAFETY: `Softmax::check` passed; indices come from the problem's sizes.
        let at = |i: usize| unsafe { *args.src.ptr().add(src + i * from) };
        let n = p.src.size(p.dim);
        let max = (0..n).map(at).fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = (0..n).map(|i| f64::from(at(i) - max).exp()).sum();
        for i in 0..n {
            let x = f64::from(at(i) - max);
            let value = if p.log { x - sum.ln() } else { x.exp() / sum };
            // SAFETY: as above.
            unsafe { *args.dst.ptr().add(dst + i * to) = value as f32 }
        }
    }
}

/// One element per row of the softmax.
pub(crate) fn rows(p: &Problem) -> Strided {
    let mut sizes = [1; MAX_RANK];
    let rank = p.src.rank();
    sizes[..rank].copy_from_slice(p.src.sizes());
    sizes[p.dim] = 1;
    Strided::new(&sizes[..rank], p.src.strides())
}
