//! Keys and values as right-hand sides of products: columns that are contiguous are read where they lie as far as they fill
//! vectors, all others are packed to panels first. Values are so as any projection writes them, keys where it writes them
//! turned.

use tandem_base::{Span, SpanMut, Strided};

use super::blocked::{KEYS, Sizes};
use super::{Args, Problem};
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::panels;
use crate::product::{Geometry, Matrix, Panels, Segment, Tile, pack, run_tiles};

pub(super) const INSIDE: &str = "operands and workspace are as large as was checked";

/// Which right-hand side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    /// d x keys.
    Keys,
    /// keys x dv.
    Values,
}

/// Sets of the least L2 that is assumed, and the rows of a block that may share one: half its ways.
const SETS: usize = 1024;
const SHARING: usize = 4;
/// Elements of a cache line.
const LINE: usize = 16;

/// Whether `rows` of a block, so far apart, stay in L2 from one tile of queries to the next.
fn stays(rows: usize, step: usize) -> bool {
    let every = match step.is_multiple_of(LINE) {
        true => 1 << (step / LINE).trailing_zeros().min(SETS.ilog2()),
        false => 1,
    };
    rows <= SHARING * SETS / every
}

/// Distances of rows of keys and of values whose columns are contiguous.
pub(super) fn steps(p: &Problem) -> [Option<usize>; 2] {
    let step = |rows, row, column| (column == 1 && stays(rows, row)).then_some(row);
    let (k, v) = (&p.k, &p.v);
    [step(k.size(3), k.stride(3), k.stride(2)), step(v.size(2).min(KEYS), v.stride(2), v.stride(3))]
}

/// How many of a row's contiguous columns are read where they lie: no vector reaches beyond the last.
pub(super) fn in_place(step: Option<usize>, columns: usize) -> usize {
    match step {
        None => 0,
        Some(_) if columns.is_multiple_of(panels::NARROW) => columns,
        Some(_) => columns / panels::PANEL * panels::PANEL,
    }
}

/// A side of a block of keys.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    /// From its first element on.
    first: Span<'a, f32>,
    /// Distance of rows where columns are contiguous.
    step: Option<usize>,
    /// What is not read in place.
    panels: Span<'a, f32>,
}

impl<'a> Right<'a> {
    /// Of a head of keys, numbered through all batches, the block that begins with some key.
    pub fn new(
        p: &Problem,
        args: &Args<'a>,
        s: Sizes,
        side: Side,
        (head, key): (usize, usize),
        shared: Span<'a, f32>,
    ) -> Self {
        let (b, h) = (head / s.kv_heads, head % s.kv_heads);
        let at = |of: &Strided| b * of.stride(0) + h * of.stride(1) + key * of.stride(2);
        let [keys, values] = s.packed();
        let block = (head * s.key_blocks() + key / KEYS) * (keys + values);
        let (first, panels) = match side {
            Side::Keys => (args.k.skip(at(&p.k)), block),
            Side::Values => (args.v.skip(at(&p.v)), block + keys),
        };
        let step = s.steps[side as usize];
        Self { first: first.expect(INSIDE), step, panels: shared.skip(panels).expect(INSIDE) }
    }

    /// What a unit reads: it takes columns in place whatever their number.
    pub fn operand(&self) -> Span<'a, f32> {
        if self.step.is_some() { self.first } else { self.panels }
    }

    /// dst = alpha * lhs * this + residual, which lies as dst does; lhs and dst by first element and distance of rows,
    /// sizes are rows, k and columns.
    ///
    /// # Safety
    /// All named elements can be read or written, panels are packed; the CPU has the vector's instructions.
    #[inline(always)]
    pub unsafe fn multiply<V: Tile>(
        &self,
        lhs: (*const f32, usize),
        [rows, k, columns]: [usize; 3],
        alpha: f32,
        dst: (*mut f32, usize),
        residual: Option<Span<'_, f32>>,
    ) {
        let whole = in_place(self.step, columns);
        let product = |weight, step, columns| Product { lhs, k, weight, step, columns };
        // SAFETY: the caller's.
        unsafe {
            if whole > 0 {
                product(self.first.ptr(), self.step, whole).run::<V>(rows, alpha, dst, residual);
            }
            if whole < columns {
                let dst = (dst.0.wrapping_add(whole), dst.1);
                let residual = residual.map(|all| all.skip(whole).expect(INSIDE));
                product(self.panels.ptr(), None, columns - whole).run::<V>(rows, alpha, dst, residual);
            }
        }
    }
}

/// Packs what is not read in place of one block of keys and values.
///
/// # Safety
/// `Attention::check` passed; `shared` has room for all blocks.
#[inline(always)]
pub(super) unsafe fn pack_block<V: Tile>(
    p: &Problem,
    args: &Args<'_>,
    s: Sizes,
    tile: usize,
    shared: SpanMut<'_, f32>,
) {
    let (head, first) = (tile / s.key_blocks(), tile % s.key_blocks() * KEYS);
    let n = (s.keys - first).min(KEYS);
    let matrices = [
        (Side::Keys, p.k.stride(3), p.k.stride(2), s.d, n),
        (Side::Values, p.v.stride(2), p.v.stride(3), n, s.dv),
    ];
    for (side, row, column, rows, columns) in matrices {
        let right = Right::new(p, args, s, side, (head, first), shared.as_span());
        let whole = s.in_place(side, columns);
        let from = Matrix { ptr: right.first.ptr().wrapping_add(whole * column), row, column };
        // SAFETY: the caller's; tiles write blocks of their own, which lie in `shared`.
        unsafe { panel_by_panel::<V>(from, right.panels.ptr().cast_mut(), rows, columns - whole) }
    }
}

/// Panels of a matrix of `rows` x `columns`.
#[inline(always)]
unsafe fn panel_by_panel<V: Tile>(from: Matrix, to: *mut f32, rows: usize, columns: usize) {
    for panel in 0..panels::count(columns) {
        let (first, width) = (panel * panels::PANEL, panels::width(columns, panel));
        let n = width.min(columns - first);
        // SAFETY: the caller's.
        unsafe {
            let to = to.add(first * rows);
            if n < width {
                to.write_bytes(0, rows * width);
            }
            let ptr = from.ptr.add(first * from.column);
            pack::<V>(Matrix { ptr, ..from }, to, width, rows, n);
        }
    }
}

/// rows x k times k x columns: panels, or rows `step` apart.
struct Product {
    lhs: (*const f32, usize),
    k: usize,
    weight: *const f32,
    step: Option<usize>,
    columns: usize,
}

impl Product {
    /// dst = alpha * product + residual, which lies as dst does.
    ///
    /// # Safety
    /// As [`Right::multiply`].
    #[inline(always)]
    unsafe fn run<V: Tile>(
        &self,
        rows: usize,
        alpha: f32,
        dst: (*mut f32, usize),
        residual: Option<Span<'_, f32>>,
    ) {
        let (ptr, step) = self.lhs;
        let segments = [Segment { ptr, channels: self.k, strides: [0, 1, step, 0] }];
        let shape = Strided::new(&[1, self.columns, rows, 1], &[0, 1, dst.1, 0]);
        let g = Geometry {
            weight: self.weight,
            weight_step: self.step,
            alpha,
            epilogue: Epilogue { residual: residual.map(|_| shape), ..Epilogue::default() },
            operands: EpilogueArgs { residual: residual.unwrap_or(Span::empty()), ..EpilogueArgs::none() },
            dst: dst.0,
            dst_strides: [0, 1, dst.1, 0],
            ..Geometry::of_rows(&segments, [1, rows], self.columns)
        };
        let all = Panels { positions: 0..rows, panels: 0..panels::count(self.columns) };
        // SAFETY: the caller's.
        unsafe { run_tiles::<V>(&g, &all, SpanMut::empty()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sets_hold_few_rows() {
        // Rows of tokens of 12 heads, and those of 16: every 64 lines.
        assert!(stays(197, 768) && stays(256, 768) && !stays(257, 768));
        assert!(stays(64, 1024) && !stays(65, 1024));
        assert!(stays(1024, 64) && stays(4096, 197));
    }

    #[test]
    fn vectors_end_with_columns() {
        let columns = [0, 5, 16, 31, 32, 37, 48, 64, 197];
        assert_eq!(columns.map(|n| in_place(Some(1), n)), [0, 0, 16, 0, 32, 32, 48, 64, 192]);
        assert_eq!(columns.map(|n| in_place(None, n)), [0; 9]);
    }
}
