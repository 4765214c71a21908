//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Depthwise, Problem};
use crate::kernel::{Family, Kernel, Workspace};
use crate::panels;

/// The definition, for any strides.
pub(super) const ROW: Kernel<Depthwise> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Depthwise::cost(p).flops * 1.5 + Depthwise::cost(p).bytes,
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
    let taps = p.kernel[0] * p.kernel[1];
    for tile in tiles {
        let (n, oy) = (tile / oh, tile % oh);
        for (ox, c) in (0..ow).flat_map(|ox| (0..channels).map(move |c| (ox, c))) {
            let mut sum = 0f32;
            for tap in 0..taps {
                let (ky, kx) = (tap / p.kernel[1], tap % p.kernel[1]);
                let y = (oy * p.stride[0] + ky * p.dilation[0]).wrapping_sub(p.padding[0]);
                let x = (ox * p.stride[1] + kx * p.dilation[1]).wrapping_sub(p.padding[1]);
                if y < p.src.size(2) && x < p.src.size(3) {
                    let weight = panels::index(taps, channels, tap, c);
                    let at = n * s[0] + c * s[1] + y * s[2] + x * s[3];
                    // SAFETY: `Depthwise::check` passed; indices come from the problem's sizes.
                    unsafe { sum += *args.src.ptr().add(at) * *args.weight.ptr().add(weight) }
                }
            }
            let offset = |s: &[usize]| n * s[0] + c * s[1] + oy * s[2] + ox * s[3];
            let residual = p.epilogue.residual.map_or(0, |shape| offset(shape.strides()));
            // SAFETY: as above.
            unsafe { *args.dst.ptr().add(offset(d)) = p.epilogue.eval(&args.epilogue, sum, c, residual) }
        }
    }
}
