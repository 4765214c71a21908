//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::taps::taps;
use super::{Args, Problem, Resize};
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Resize> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Resize::cost(p).flops * 4.0 + 10.0 * p.dst.elements() as f64,
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
    let count = p.kind.taps();
    for tile in tiles {
        let (n, oy) = (tile / oh, tile % oh);
        let y = taps(p, 0, oy);
        for ox in 0..ow {
            let x = taps(p, 1, ox);
            for c in 0..channels {
                let mut sum = 0f32;
                for i in 0..count {
                    let mut row = 0f32;
                    for j in 0..count {
                        let at = n * s[0] + c * s[1] + y.index[i] * s[2] + x.index[j] * s[3];
                        // SAFETY: `Resize::check` passed; taps lie in the source.
                        row += x.weight[j] * unsafe { *args.src.ptr().add(at) };
                    }
                    sum += y.weight[i] * row;
                }
                // SAFETY: as above.
                unsafe { *args.dst.ptr().add(n * d[0] + c * d[1] + oy * d[2] + ox * d[3]) = sum }
            }
        }
    }
}
