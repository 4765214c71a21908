//! Softmax on the unit: rows of neighbours. The logarithm of one is what the unit sums, taken off by a core.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::tables::{Parts, bytes};
use super::{Rows, Unit};
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::nest::Nest;
use crate::simd::Simd;
use crate::softmax::{Args, Problem, Softmax, rows};

/// Elements of a task.
const TASK: usize = 64 << 10;

/// The rows in source and destination.
fn nest(p: &Problem) -> Nest<2> {
    let rows = rows(p);
    Nest::of([&rows, &Strided::new(rows.sizes(), p.dst.strides())])
}

fn supports(p: &Problem) -> Result<(), Refusal> {
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
    let finish = if p.log { p.dst.elements() as f64 / rates.vector_gelems } else { 0.0 };
    rates.stream_ns(Softmax::cost(p).bytes).max(arithmetic) + finish + rates.unit.entry_ns
}

/// Bytes of the sums of a task's rows.
fn sums(p: &Problem) -> usize {
    if p.log { bytes::<[f32; 2]>(together(p)) } else { 0 }
}

/// The row for a unit; cores finish logarithms with vectors of `V`.
pub(crate) const fn row<U: Unit, V: Simd>(name: &'static str, isa: Isa) -> Kernel<Softmax> {
    Kernel {
        name,
        isa,
        supports,
        ns: ns::<U>,
        phases: |_| 1,
        tiles: |p, _| if p.dst.elements() == 0 { 0 } else { nest(p).elements().div_ceil(together(p)) },
        workspace: |p| Workspace { shared: 0, per_worker: sums(p) },
        run: run::<U, V>,
    }
}

unsafe fn run<U: Unit, V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let (nest, together) = (nest(p), together(p));
    let all = tiles.start * together..(tiles.end * together).min(nest.elements());
    let ([src_row, dst_row], down) = (nest.inner().1, nest.row_strides());
    let sums = if p.log { Parts::new(scratch).take(together) } else { std::ptr::null_mut() };
    for block in nest.blocks(all) {
        for row in 0..block.rows {
            let [from, to] = [0, 1].map(|i| block.at[i] + row * down[i]);
            // The sums of a task are all there is room for.
            let most = if p.log { together } else { block.len };
            for first in (0..block.len).step_by(most.max(1)) {
                // SAFETY: `Softmax::check` passed and offsets come from the problem's sizes.
                unsafe {
                    let rows = Rows {
                        src: args.src.ptr().add(from + first * src_row),
                        dst: args.dst.ptr().add(to + first * dst_row),
                        len: p.src.size(p.dim),
                        rows: most.min(block.len - first),
                        src_row,
                        dst_row,
                        constants: &raw const EXP,
                        sums,
                    };
                    U::softmax(&rows);
                    if p.log {
                        finish::<V>(&rows);
                    }
                }
            }
        }
    }
}

/// Elements less the largest and the logarithm of the sum.
#[inline(always)]
unsafe fn finish<V: Simd>(rows: &Rows) {
    for row in 0..rows.rows {
        // SAFETY: the caller's; `sums` has every row's.
        unsafe {
            let [max, sum] = *rows.sums.add(row);
            let (max, ln) = (V::splat(max), V::splat(f64::from(sum).ln() as f32));
            let (from, to) = (rows.src.add(row * rows.src_row), rows.dst.add(row * rows.dst_row));
            for i in (0..rows.len).step_by(V::LANES) {
                let lanes = (rows.len - i).min(V::LANES);
                let y = (V::load_first(from.add(i), lanes) - max) - ln;
                y.store_first(to.add(i), lanes);
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
