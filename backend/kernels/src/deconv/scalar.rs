//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Deconv, Problem};
use crate::kernel::{Family, Kernel, Workspace};
use crate::panels;

/// The definition, for any strides.
pub(super) const ROW: Kernel<Deconv> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Deconv::cost(p).flops * 1.5 + Deconv::cost(p).bytes,
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
    let columns = channels / p.groups;
    let padded = panels::padded(columns);
    for tile in tiles {
        let (n, oy) = (tile / oh, tile % oh);
        for (ox, c) in (0..ow).flat_map(|ox| (0..channels).map(move |c| (ox, c))) {
            let offset = |s: &[usize]| n * s[0] + c * s[1] + oy * s[2] + ox * s[3];
            let residual = p.epilogue.residual.map_or(0, |shape| offset(shape.strides()));
            let column = c / columns * padded + c % columns;
            // SAFETY: `Deconv::check` passed; indices come from the problem's sizes.
            unsafe {
                let sum = sum(p, args, [n, c, oy, ox]);
                *args.dst.ptr().add(offset(p.dst.strides())) =
                    p.epilogue.eval(&args.epilogue, sum, column, residual);
            }
        }
    }
}

/// The product for one output element: taps of its parity, ascending, channels innermost.
unsafe fn sum(p: &Problem, args: &Args<'_>, [n, c, oy, ox]: [usize; 4]) -> f32 {
    let columns = p.dst.size(1) / p.groups;
    let padded = panels::padded(columns);
    let per_group = p.src.size(1) / p.groups;
    let (group, column) = (c / columns, c % columns);
    let [y, x] = [oy + p.padding[0], ox + p.padding[1]];
    let parity = [y % p.stride[0], x % p.stride[1]];
    // Panels of the groups and parities in front of this one.
    let mut base = group * p.kernel[0] * p.kernel[1] * per_group * padded;
    for py in 0..p.stride[0] {
        for px in 0..p.stride[1] {
            if [py, px] < parity {
                base += p.taps(0, py).count() * p.taps(1, px).count() * per_group * padded;
            }
        }
    }
    let rows = p.taps(0, parity[0]).count() * p.taps(1, parity[1]).count() * per_group;
    let s = p.src.strides();
    let (mut total, mut k) = (0f32, 0);
    for ky in p.taps(0, parity[0]) {
        for kx in p.taps(1, parity[1]) {
            let (iy, ix) = (y.wrapping_sub(ky * p.dilation[0]), x.wrapping_sub(kx * p.dilation[1]));
            let inside =
                iy <= y && ix <= x && iy / p.stride[0] < p.src.size(2) && ix / p.stride[1] < p.src.size(3);
            if !inside {
                k += per_group;
                continue;
            }
            for i in 0..per_group {
                let at = n * s[0]
                    + (group * per_group + i) * s[1]
                    + iy / p.stride[0] * s[2]
                    + ix / p.stride[1] * s[3];
                let weight = base + panels::index(rows, columns, k, column);
                // SAFETY: the source position is inside, and the panels hold `rows` rows of this parity.
                unsafe { total += *args.src.ptr().add(at) * *args.weight.ptr().add(weight) }
                k += 1;
            }
        }
    }
    total
}
