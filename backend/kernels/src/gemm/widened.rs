//! Products of f16 and bf16 as products of f32, block by block, see [`crate::widen`].

use std::marker::PhantomData;

use tandem_base::Strided;

use super::{Args, Gemm, KERNELS, Problem, Rhs};
use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::kernel::Kernel;
use crate::panels::PANEL;
use crate::widen::{MAX_SOURCES, Operands, Panels, Part, Parted, Region};

/// Elements of rhs a part widens: they stay in L2 while rows pass.
const RHS: usize = 64 << 10;
/// The same for few rows, which pass once.
const RHS_OF_FEW: usize = 8 << 10;
/// Most rows that are few.
const FEW: usize = 8;
/// Elements of lhs a part widens.
const LHS: usize = 96 << 10;
/// Rows are cut to whole register tiles of every vector.
const ROWS: usize = 42;
/// Fewest parts to aim for, unless they would be smaller than this many multiply-adds.
const PARTS: usize = 8;
const LEAST_WORK: usize = 300_000;

/// How a product comes apart: batches, ranges of columns, ranges of rows.
struct Cut {
    columns: usize,
    column_parts: usize,
    rows: usize,
    row_parts: usize,
}

impl Cut {
    fn new(p: &Problem) -> Self {
        let [batch, m, n, k] = p.sizes();
        let rows = (LHS / k.max(1) / ROWS).clamp(1, 6) * ROWS;
        let row_parts = m.div_ceil(rows).max(1);
        let rows = m.div_ceil(row_parts).next_multiple_of(if m > rows { ROWS } else { 1 });
        let rhs = if m <= FEW { RHS_OF_FEW } else { RHS };
        let fitting = (rhs / k.max(1) / PANEL).max(1) * PANEL;
        let work = batch * m * n * k;
        let wanted = PARTS.min(work / LEAST_WORK).div_ceil((batch * row_parts).max(1)).max(1);
        let columns = fitting.min(n.div_ceil(wanted).next_multiple_of(PANEL)).max(PANEL);
        Self { columns, column_parts: n.div_ceil(columns), rows, row_parts: m.div_ceil(rows.max(1)) }
    }
}

/// Rows of f32 for blocks of a product.
pub(super) struct Blocks<E>(PhantomData<E>);

impl<E: Element> Parted for Blocks<E> {
    type Element = E;
    type Narrow = Gemm<E>;
    type Wide = Gemm;

    fn rows() -> &'static [Kernel<Gemm>] {
        KERNELS
    }

    fn count(p: &Problem) -> usize {
        let cut = Cut::new(p);
        p.sizes()[0] * cut.column_parts * cut.row_parts
    }

    fn part(p: &Problem, index: usize) -> Part<Self> {
        let ([_, m, n, k], cut) = (p.sizes(), Cut::new(p));
        let (rest, row) = (index / cut.row_parts, index % cut.row_parts * cut.rows);
        let (b, column) = (rest / cut.column_parts, rest % cut.column_parts * cut.columns);
        let (rows, columns) = (cut.rows.min(m - row), cut.columns.min(n - column));
        let block = |shape: &Strided| Region::of(shape, &[b, row, column], &[1, rows, columns]);
        let lhs = Region::of(&p.lhs, &[b, row, 0], &[1, rows, k]);
        let dst = block(&p.dst);
        let residual = p.epilogue.residual.as_ref().map(block);
        let mut src = [None; MAX_SOURCES];
        (src[0], src[1]) = (Some(lhs), residual);
        let (mut weight, mut rhs) = (None, Rhs::Panels);
        match &p.rhs {
            Rhs::Panels => {
                let offset = column * k.next_multiple_of(E::PER_WORD);
                weight = Some(Panels { offset, columns, taps: 1, channels: [k, 0, 0, 0] });
            }
            Rhs::Strided(shape) => {
                let region = Region::of(shape, &[b, 0, column], &[1, k, columns]);
                (src[2], rhs) = (Some(region), Rhs::Strided(region.dense));
            }
        }
        let epilogue = Epilogue { residual: residual.map(|r| r.dense), ..p.epilogue };
        let problem = Problem { lhs: lhs.dense, rhs, dst: dst.dense, alpha: p.alpha, epilogue };
        Part { problem, src, weight, dst, column }
    }

    fn operands<'p>(p: &Problem, args: &'p Args<'_, E>) -> Operands<'p, E> {
        let mut operands = Operands::of(args.dst);
        (operands.src[0], operands.src[1]) = (args.lhs, args.epilogue.residual);
        match p.rhs {
            Rhs::Panels => operands.weight = args.rhs,
            Rhs::Strided(_) => operands.src[2] = args.rhs,
        }
        operands
    }

    fn args<'p>(args: &'p Args<'_, E>, part: &Part<Self>, wide: Operands<'p, f32>) -> Args<'p> {
        let rhs = if part.weight.is_some() { wide.weight } else { wide.src[2] };
        let epilogue = args.epilogue.widened(part.column, wide.src[1]);
        Args { lhs: wide.src[0], rhs, epilogue, dst: wide.dst }
    }
}
