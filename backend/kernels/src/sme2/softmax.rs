//! Softmax on the unit: rows of neighbours.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::{Rows, Unit};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::nest::Nest;
use crate::softmax::{Args, Problem, Softmax, rows};

/// Elements of a task.
const TASK: usize = 64 << 10;

/// The rows in source and destination.
fn nest(p: &Problem) -> Nest<2> {
    let rows = rows(p);
    Nest::of([&rows, &Strided::new(rows.sizes(), p.dst.strides())])
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    if p.log {
        return Err("log-softmax");
    }
    let along = (p.src.stride(p.dim), p.dst.stride(p.dim)) == (1, 1);
    if along { Ok(()) } else { Err("elements are not contiguous") }
}

/// Rows of a task.
fn together(p: &Problem) -> usize {
    (TASK / p.src.size(p.dim).max(1)).max(1)
}

/// Some thirty instructions on four vectors each, at the rate of one in two cycles of about 4 GHz.
fn ns<U: Unit>(p: &Problem, rates: &Rates) -> f64 {
    let rows = p.dst.elements() / p.src.size(p.dim).max(1);
    let groups = rows * p.src.size(p.dim).div_ceil(4 * U::lanes());
    let arithmetic = 20.0 * groups as f64 + 15.0 * rows as f64;
    rates.stream_ns(Softmax::cost(p).bytes).max(arithmetic) + super::ENTRY_NS
}

/// The row for a unit.
pub(crate) const fn row<U: Unit>(name: &'static str, isa: Isa) -> Kernel<Softmax> {
    Kernel {
        name,
        isa,
        supports,
        ns: ns::<U>,
        phases: |_| 1,
        tiles: |p, _| if p.dst.elements() == 0 { 0 } else { nest(p).elements().div_ceil(together(p)) },
        workspace: |_| Workspace::default(),
        run: run::<U>,
    }
}

unsafe fn run<U: Unit>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let (nest, together) = (nest(p), together(p));
    let all = tiles.start * together..(tiles.end * together).min(nest.elements());
    let (inner, down) = (nest.inner().1, nest.row_strides());
    for block in nest.blocks(all) {
        for row in 0..block.rows {
            let [from, to] = [0, 1].map(|i| block.at[i] + row * down[i]);
            // SAFETY: `Softmax::check` passed and offsets come from the problem's sizes.
            unsafe {
                U::softmax(&Rows {
                    src: args.src.ptr().add(from),
                    dst: args.dst.ptr().add(to),
                    len: p.src.size(p.dim),
                    rows: block.len,
                    src_row: inner[0],
                    dst_row: inner[1],
                    constants: &raw const EXP,
                });
            }
        }
    }
}

/// What the exponential is made of: log2 e, p5, p3, p1; the least exponent; -inf; p4, p2. The polynomial has the least
/// relative error to 2^f on -1/2..1/2 with p(0) = 1.
static EXP: [f32; 8] = [
    std::f32::consts::LOG2_E,
    0.001_327_463_3,
    0.055_506_784,
    0.693_147_06,
    -127.0,
    f32::NEG_INFINITY,
    0.009_671_962,
    0.240_222_35,
];
