//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::window::{divisor, taps};
use super::{Args, Kind, Pool, Problem};
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Pool> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Pool::cost(p).flops * 1.5 + Pool::cost(p).bytes,
    phases: |_| 1,
    tiles: |p, _| p.dst.size(0) * p.dst.size(2),
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
    let [channels, oh, ow] = [p.dst.size(1), p.dst.size(2), p.dst.size(3)];
    let (s, d) = (p.src.strides(), p.dst.strides());
    for tile in tiles {
        let (n, oy) = (tile / oh, tile % oh);
        let ty = taps(p, 0, oy);
        for ox in 0..ow {
            let tx = taps(p, 1, ox);
            let divisor = divisor(p, &ty, &tx) as f64;
            for c in 0..channels {
                let all = (0..ty.count).flat_map(|y| (0..tx.count).map(move |x| (y, x))).map(|(y, x)| {
                    let (y, x) = (ty.first + y * ty.step, tx.first + x * tx.step);
                    // SAFETY: `Pool::check` passed; taps lie in the source.
                    unsafe { *args.src.ptr().add(n * s[0] + c * s[1] + y * s[2] + x * s[3]) }
                });
                let value = match p.kind {
                    Kind::Max => all.fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a }),
                    Kind::Average => (all.map(f64::from).sum::<f64>() / divisor) as f32,
                };
                // SAFETY: as above.
                unsafe { *args.dst.ptr().add(n * d[0] + c * d[1] + oy * d[2] + ox * d[3]) = value }
            }
        }
    }
}
