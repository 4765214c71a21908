//! The scalar reference rows: the definitions, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Dequantise, Problem, Quantise};
use crate::elementwise::offset;
use crate::kernel::{Kernel, Rates, Workspace};
use crate::quant::Parameters;

/// Elements of a tile.
const TILE: usize = 16 * 1024;

pub(super) const QUANTISE: Kernel<Quantise> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns,
    phases: |_| 1,
    tiles,
    workspace: |_| Workspace::default(),
    run: quantise,
};

pub(super) const DEQUANTISE: Kernel<Dequantise> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns,
    phases: |_| 1,
    tiles,
    workspace: |_| Workspace::default(),
    run: dequantise,
};

fn ns(p: &Problem, _: &Rates) -> f64 {
    p.dst.elements() as f64 * 10.0
}

fn tiles(p: &Problem, _phase: usize) -> usize {
    p.dst.elements().div_ceil(TILE)
}

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn quantise(
    p: &Problem,
    args: &Args<'_, f32, i8>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let parameters = Parameters::new(p.affine);
    // SAFETY: the caller's.
    unsafe { each(p, args, tiles, |x| parameters.rounded(x)) }
}

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn dequantise(
    p: &Problem,
    args: &Args<'_, i8, f32>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let zero = i32::from(p.affine.zero);
    // SAFETY: the caller's.
    unsafe { each(p, args, tiles, |q| (i32::from(q) - zero) as f32 * p.affine.scale) }
}

/// # Safety
/// The operands passed their family's check.
unsafe fn each<S: Copy, D>(p: &Problem, args: &Args<'_, S, D>, tiles: Range<usize>, value: impl Fn(S) -> D) {
    for index in tiles.start * TILE..(tiles.end * TILE).min(p.dst.elements()) {
        // SAFETY: offsets come from the problem's sizes.
        unsafe {
            *args.dst.ptr().add(offset(&p.dst, index)) = value(*args.src.ptr().add(offset(&p.src, index)))
        }
    }
}
