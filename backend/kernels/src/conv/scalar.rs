//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Conv, Problem};
use crate::kernel::{Family, Kernel, Workspace};
use crate::panels;

/// The definition, for any strides.
pub(super) const ROW: Kernel<Conv> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Conv::cost(p).flops * 1.5 + Conv::cost(p).bytes,
    phases: |_| 1,
    tiles: |p, _| p.batch() * p.out_size()[0],
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
    let [oh, ow] = p.out_size();
    for tile in tiles {
        let (n, oy) = (tile / oh, tile % oh);
        for ox in 0..ow {
            let (parts, columns) = p.column_groups();
            for part in 0..parts {
                for column in 0..columns {
                    // SAFETY: `Conv::check` passed; positions come from the problem's sizes.
                    unsafe { output(p, args, [n, oy, ox], part, column) }
                }
            }
        }
    }
}

/// One output element: column `column` of group `part` at a position.
unsafe fn output(p: &Problem, args: &Args<'_>, [n, oy, ox]: [usize; 3], part: usize, column: usize) {
    let (_, columns) = p.column_groups();
    let padded = panels::padded(columns);
    let group = if p.groups > 1 { part } else { 0 };
    let per_group = p.in_channels() / p.groups;
    let weights = part * p.k() * padded;
    let [height, width] = p.in_size();
    let mut sum = 0f32;
    let mut k = 0;
    for ky in 0..p.kernel[0] {
        let y = (oy * p.stride[0] + ky * p.dilation[0]).wrapping_sub(p.padding[0]);
        for kx in 0..p.kernel[1] {
            let x = (ox * p.stride[1] + kx * p.dilation[1]).wrapping_sub(p.padding[1]);
            if y >= height || x >= width {
                k += per_group;
                continue;
            }
            for (shape, src) in p.src.iter().zip(&args.src) {
                let channels = if p.groups > 1 { per_group } else { shape.size(1) };
                let s = shape.strides();
                for c in 0..channels {
                    let at = n * s[0] + (group * per_group + c) * s[1] + y * s[2] + x * s[3];
                    let weight = weights + panels::index(p.k(), columns, k, column);
                    // SAFETY: y, x and c lie inside the source, k and column inside the panels.
                    unsafe { sum += *src.ptr().add(at) * *args.weight.ptr().add(weight) }
                    k += 1;
                }
            }
        }
    }
    let r = p.shuffle;
    let channel = if p.groups > 1 { part * columns + column } else { column };
    let (dy, dx) = if r > 1 { (part / r, part % r) } else { (0, 0) };
    let offset = |s: &[usize]| n * s[0] + channel * s[1] + (oy * r + dy) * s[2] + (ox * r + dx) * s[3];
    let residual = p.epilogue.residual.map_or(0, |shape| offset(shape.strides()));
    // SAFETY: the position lies inside the destination and the residual.
    unsafe {
        let value = p.epilogue.eval(&args.epilogue, sum, part * padded + column, residual);
        *args.dst.ptr().add(offset(p.dst.strides())) = value;
    }
}
