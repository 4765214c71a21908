//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Attention, Problem};
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Attention> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Attention::cost(p).flops * 40.0,
    phases: |_| 1,
    tiles: |p, _| p.dst.size(0) * p.dst.size(1) * p.dst.size(2),
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
    let [heads, t, dv] = [p.dst.size(1), p.dst.size(2), p.dst.size(3)];
    let ratio = heads / p.k.size(1);
    for tile in tiles {
        let (b, h, i) = (tile / t / heads, tile / t % heads, tile % t);
        let seen = if p.causal { p.k.size(2).min(i + 1) } else { p.k.size(2) };
        // SAFETY: `Attention::check` passed; indices come from the problem's sizes.
        let score = |j: usize| unsafe { score(p, args, [b, h, i, j]) };
        let max = (0..seen).map(score).fold(f64::NEG_INFINITY, f64::max);
        // Without a key to see, every weight is 0 and the result too.
        let max = if max == f64::NEG_INFINITY { 0.0 } else { max };
        let sum: f64 = (0..seen).map(|j| (score(j) - max).exp()).sum();
        for c in 0..dv {
            let v = p.v.strides();
            let value = |j: usize| {
                let at = b * v[0] + h / ratio * v[1] + j * v[2] + c * v[3];
                // SAFETY: as above.
                f64::from(unsafe { *args.v.ptr().add(at) })
            };
            let total: f64 = (0..seen).map(|j| (score(j) - max).exp() * value(j)).sum();
            let weighted = if sum == 0.0 { 0.0 } else { total / sum };
            let d = p.dst.strides();
            // SAFETY: as above.
            unsafe { *args.dst.ptr().add(b * d[0] + h * d[1] + i * d[2] + c * d[3]) = weighted as f32 }
        }
    }
}

/// scale * q k + mask of one query and key.
unsafe fn score(p: &Problem, args: &Args<'_>, [b, h, i, j]: [usize; 4]) -> f64 {
    let (q, k) = (p.q.strides(), p.k.strides());
    let q0 = b * q[0] + h * q[1] + i * q[2];
    let k0 = b * k[0] + h / (p.q.size(1) / p.k.size(1)) * k[1] + j * k[2];
    // SAFETY: the caller's indices are inside the problem's sizes.
    unsafe {
        let dot = |c: usize| {
            f64::from(*args.q.ptr().add(q0 + c * q[3])) * f64::from(*args.k.ptr().add(k0 + c * k[3]))
        };
        let sum: f64 = (0..p.q.size(3)).map(dot).sum();
        let mask = p.mask.map_or(0.0, |m| {
            let m = m.strides();
            f64::from(*args.mask.ptr().add(b * m[0] + h * m[1] + i * m[2] + j * m[3]))
        });
        sum * f64::from(p.scale) + mask
    }
}
