//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::strided::MAX_RANK;
use tandem_base::{Isa, SpanMut, Strided};

use super::{Args, Kind, Problem, Reduce};
use crate::elementwise::offset;
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Reduce> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Reduce::cost(p).flops * 10.0,
    phases: |_| 1,
    tiles: |p, _| p.dst.elements(),
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
    let (outer, inner) = shapes(p);
    for tile in tiles {
        let start = offset(&outer, tile);
        let values = (0..inner.elements()).map(|i| {
            // SAFETY: `Reduce::check` passed; indices come from the problem's sizes.
            unsafe { *args.src.ptr().add(start + offset(&inner, i)) }
        });
        let count = inner.elements() as f64;
        let value = match p.kind {
            Kind::Sum => values.map(f64::from).sum::<f64>() as f32,
            Kind::Mean => (values.map(f64::from).sum::<f64>() / count) as f32,
            Kind::Max => values.fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a }),
            Kind::Min => values.fold(f32::INFINITY, |a, b| if b < a || b.is_nan() { b } else { a }),
            Kind::Prod => values.product(),
        };
        // SAFETY: as above.
        unsafe { *args.dst.ptr().add(offset(&p.dst, tile)) = value }
    }
}

/// What is kept, in the source, and what is reduced of it.
pub(super) fn shapes(p: &Problem) -> (Strided, Strided) {
    let mut inner = [1; MAX_RANK];
    for d in (0..p.src.rank()).filter(|d| p.dims >> d & 1 == 1) {
        inner[d] = p.src.size(d);
    }
    let inner = Strided::new(&inner[..p.src.rank()], p.src.strides());
    (Strided::new(p.dst.sizes(), p.src.strides()), inner)
}
