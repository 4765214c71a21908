//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::strided::MAX_RANK;
use tandem_base::{Isa, SpanMut, Strided};

use super::{Args, Kind, Norm, Problem};
use crate::elementwise::offset;
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Norm> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Norm::cost(p).flops * 8.0,
    phases: |_| 1,
    tiles: |p, _| shapes(p, &p.src).0.elements(),
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
    let (outer, inner) = shapes(p, &p.src);
    let (to, dst_inner) = shapes(p, &p.dst);
    let n = inner.elements();
    for tile in tiles {
        let (src, dst) = (offset(&outer, tile), offset(&to, tile));
        // SAFETY: `Norm::check` passed; indices come from the problem's sizes.
        let at = |i: usize| f64::from(unsafe { *args.src.ptr().add(src + offset(&inner, i)) });
        let mean =
            if matches!(p.kind, Kind::Rms { .. }) { 0.0 } else { (0..n).map(at).sum::<f64>() / n as f64 };
        let variance = (0..n).map(|i| (at(i) - mean).powi(2)).sum::<f64>() / n as f64;
        let rstd = 1.0 / (variance + p.eps).sqrt();
        for i in 0..n {
            let parameter = match p.kind {
                Kind::Group { groups } => {
                    tile % groups * inner.size(1) + i / inner.sizes()[2..].iter().product::<usize>()
                }
                _ => i,
            };
            let mut x = (at(i) - mean) * rstd;
            // SAFETY: `Norm::check` passed for as many parameters.
            unsafe {
                if p.scale {
                    x *= f64::from(*args.scale.ptr().add(parameter));
                }
                if p.shift {
                    x += f64::from(*args.shift.ptr().add(parameter));
                }
                *args.dst.ptr().add(dst + offset(&dst_inner, i)) = p.act.eval(x as f32);
            }
        }
    }
}

/// One element per normalised block, and a block.
pub(super) fn shapes(p: &Problem, of: &Strided) -> (Strided, Strided) {
    let (sizes, rank) = (p.src.sizes(), p.src.rank());
    let (mut outer, mut inner, mut strides) = ([1; MAX_RANK], [1; MAX_RANK], [0; MAX_RANK]);
    strides[..rank].copy_from_slice(of.strides());
    match p.kind {
        Kind::Layer { axes } | Kind::Rms { axes } => {
            let split = rank - axes;
            outer[..split].copy_from_slice(&sizes[..split]);
            inner[split..rank].copy_from_slice(&sizes[split..]);
        }
        Kind::Group { groups } => {
            (outer[0], outer[1]) = (sizes[0], groups);
            inner[1..rank].copy_from_slice(&sizes[1..]);
            inner[1] /= groups;
            strides[1] *= inner[1];
        }
    }
    (Strided::new(&outer[..rank], &strides[..rank]), Strided::new(&inner[..rank], of.strides()))
}
