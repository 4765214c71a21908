//! Rows that move whole runs: copies of contiguous runs, transposes in registers, padding around copied interiors.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::copy::Copy;
use super::pad::Pad;
use super::{Args, Move, Problem};
use crate::kernel::{Family, Kernel, Rates, Workspace};
use crate::simd::{self, Simd};

/// Blocks of 16 x 16.
pub(super) const AVX512: Kernel<Move> =
    Kernel { name: "avx512-runs", isa: Isa::AVX512, run: avx512, ns: |p, r| ns(p, r, 1.0, 16), ..ROW };
/// Blocks of 8 x 8.
pub(super) const AVX2: Kernel<Move> =
    Kernel { name: "avx2-runs", isa: Isa::AVX2, run: avx2, ns: |p, r| ns(p, r, 1.2, 8), ..ROW };
/// Blocks of 8 x 8.
pub(super) const NEON: Kernel<Move> =
    Kernel { name: "neon-runs", isa: Isa::NEON, run: neon, ns: |p, r| ns(p, r, 1.2, 8), ..ROW };

const ROW: Kernel<Move> = Kernel {
    name: "",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, r| ns(p, r, 1.0, 16),
    phases: |_| 1,
    tiles: |p, _| match Plan::new(p) {
        Plan::Copy(copy) => copy.tiles(),
        Plan::Pad(pad) => pad.tiles(),
    },
    workspace: |_| Workspace::default(),
    run: avx2,
};

/// What a problem amounts to.
enum Plan {
    /// Every destination element has a source element at linear strides: copies, transposes, crops.
    Copy(Copy),
    /// There is an outside.
    Pad(Pad),
}

impl Plan {
    fn new(p: &Problem) -> Self {
        let inside = (0..p.dst.rank()).all(|d| {
            let [before, src, dst] = [p.before[d], p.src.size(d) as isize, p.dst.size(d) as isize];
            before <= 0 && dst - before <= src
        });
        if inside || p.dst.elements() == 0 { Self::Copy(Copy::new(p)) } else { Self::Pad(Pad::new(p)) }
    }
}

/// Time to turn over a vector of a transpose, in ns.
const TURN_NS: f64 = 2.0;

fn ns(p: &Problem, rates: &Rates, slower: f64, lanes: usize) -> f64 {
    let traffic = rates.stream_ns(Move::cost(p).bytes);
    match Plan::new(p) {
        Plan::Copy(copy) => {
            (traffic * copy.slowness(slower)).max(copy.turned(lanes) as f64 * TURN_NS) + 100.0
        }
        Plan::Pad(pad) => traffic * slower + pad.rows() as f64 * 10.0 + 100.0,
    }
}

simd::entries!(Problem, Args<'_>, run);

/// # Safety
/// The contract of [`crate::kernel::RunFn`], and the CPU has the vector's instructions.
#[inline(always)]
unsafe fn run<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    // SAFETY: `Move::check` passed: all offsets of the problem lie inside the operands.
    unsafe {
        match Plan::new(p) {
            Plan::Copy(copy) => copy.run::<V>(args.src.ptr(), args.dst.ptr(), tiles),
            Plan::Pad(pad) => pad.run(args.src.ptr(), args.dst.ptr(), tiles),
        }
    }
}
