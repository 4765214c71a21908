//! Places of largest elements: the definition.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::window::taps;
use super::{Places, PlacesArgs, Pool, Problem};
use crate::kernel::{Family, Kernel, Workspace};

/// For any strides.
pub(super) const ROW: Kernel<Places> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Pool::cost(p).flops * 1.2 + Places::cost(p).bytes,
    phases: |_| 1,
    tiles: |p, _| p.dst.size(0) * p.dst.size(2),
    workspace: |_| Workspace::default(),
    run,
};

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn run(
    p: &Problem,
    args: &PlacesArgs<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let ([channels, oh, ow], width) = ([1, 2, 3].map(|i| p.dst.size(i)), p.src.size(3));
    let (s, d) = (p.src.strides(), p.dst.strides());
    for tile in tiles {
        let (n, oy) = (tile / oh, tile % oh);
        let ty = taps(p, 0, oy);
        for ox in 0..ow {
            let tx = taps(p, 1, ox);
            for c in 0..channels {
                let (mut largest, mut place) = (f32::NEG_INFINITY, ty.first * width + tx.first);
                for y in (0..ty.count).map(|y| ty.first + y * ty.step) {
                    for x in (0..tx.count).map(|x| tx.first + x * tx.step) {
                        // SAFETY: `Places::check` passed; taps lie in the source.
                        let value = unsafe { *args.src.ptr().add(n * s[0] + c * s[1] + y * s[2] + x * s[3]) };
                        if value > largest || value.is_nan() {
                            (largest, place) = (value, y * width + x);
                        }
                    }
                }
                // SAFETY: as above.
                unsafe { *args.dst.ptr().add(n * d[0] + c * d[1] + oy * d[2] + ox * d[3]) = place as i64 }
            }
        }
    }
}
