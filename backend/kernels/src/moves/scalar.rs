//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Edge, Move, Problem};
use crate::elementwise::offset;
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Move> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Move::cost(p).bytes * 2.0,
    phases: |_| 1,
    tiles: |p, _| p.dst.elements().div_ceil(TILE),
    workspace: |_| Workspace::default(),
    run,
};

/// Elements of a tile.
const TILE: usize = 16 * 1024;

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
    for tile in tiles {
        for index in tile * TILE..((tile + 1) * TILE).min(p.dst.elements()) {
            let to = offset(&p.dst, index) * p.width;
            let from = source(p, index);
            // SAFETY: `Move::check` passed; both offsets come from the problem's sizes, in elements of `width` bytes.
            unsafe {
                match from {
                    Ok(at) => std::ptr::copy_nonoverlapping(
                        args.src.ptr().add(at * p.width),
                        args.dst.ptr().add(to),
                        p.width,
                    ),
                    Err(bits) => {
                        let bytes = bits.to_le_bytes();
                        std::ptr::copy_nonoverlapping(bytes.as_ptr(), args.dst.ptr().add(to), p.width);
                    }
                }
            }
        }
    }
}

/// Offset of the source element a destination element takes, or the bits that stand there instead.
fn source(p: &Problem, mut index: usize) -> Result<usize, u64> {
    let mut at = 0;
    for dim in (0..p.dst.rank()).rev() {
        let n = p.src.size(dim) as isize;
        let mut i = (index % p.dst.size(dim)) as isize - p.before[dim];
        index /= p.dst.size(dim);
        if !(0..n).contains(&i) {
            i = match p.edge {
                Edge::Constant(bits) => return Err(bits),
                Edge::Reflect => {
                    if i < 0 {
                        -i
                    } else {
                        2 * (n - 1) - i
                    }
                }
                Edge::Replicate => i.clamp(0, n - 1),
                Edge::Circular => i.rem_euclid(n),
            };
        }
        at += i as usize * p.src.stride(dim);
    }
    Ok(at)
}
