//! Products block by block: of f16 and bf16 as products of f32, see [`crate::widen`], and of any for units and cores to
//! share, see [`crate::both`].

use std::marker::PhantomData;

use tandem_base::Strided;

use super::{Args, Gemm, KERNELS, Problem, Rhs};
use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::kernel::Kernel;
use crate::panels::PANEL;
use crate::widen::{MAX_SOURCES, Operands, Panels, Part, Parted, Region, Widened, in_place};

/// How large parts are.
struct Sizes {
    /// Elements of rhs: they stay in L2 while rows pass.
    rhs: usize,
    /// The same for few rows, which pass once.
    rhs_of_few: usize,
    /// Elements of lhs.
    lhs: usize,
    /// Rows are cut to multiples: whole register tiles of every vector.
    rows: usize,
    /// Fewest parts to aim for, unless they would be smaller than so many multiply-adds.
    parts: usize,
    least_work: usize,
    /// More parts to aim for as long as they have so many columns.
    more: usize,
    columns: usize,
}

const WIDENED: Sizes = Sizes {
    rhs: 64 << 10,
    rhs_of_few: 8 << 10,
    lhs: 96 << 10,
    rows: 42,
    parts: 8,
    least_work: 300_000,
    more: 0,
    columns: PANEL,
};
/// Rows are whole groups of units as well. Columns are cut where rows alone give too few parts for a core, which may take twenty
/// times as long for one, to end with the unit; that packs lhs for each part, a twentieth of its product at 1024 columns.
const SHARED: Sizes = if cfg!(test) {
    // Small problems come apart as well.
    Sizes {
        rhs: 4 << 10,
        rhs_of_few: 1 << 10,
        lhs: 2 << 10,
        rows: 12,
        parts: 6,
        least_work: 500,
        more: 12,
        columns: PANEL,
    }
} else {
    Sizes {
        rhs: 64 << 20,
        rhs_of_few: 64 << 20,
        lhs: 256 << 10,
        rows: 96,
        parts: 8,
        least_work: 8_000_000,
        more: 48,
        columns: 1024,
    }
};
/// Most rows that are few.
const FEW: usize = 8;

/// How a product comes apart: batches, ranges of columns, ranges of rows.
struct Cut {
    columns: usize,
    column_parts: usize,
    rows: usize,
    row_parts: usize,
}

impl Cut {
    fn new<E: Element, H: Element>(p: &Problem) -> Self {
        let sizes = if in_place::<E, H>() { SHARED } else { WIDENED };
        let [batch, m, n, k] = p.sizes();
        let rows = (sizes.lhs / k.max(1) / sizes.rows).clamp(1, 6) * sizes.rows;
        let row_parts = m.div_ceil(rows).max(1);
        let rows = m.div_ceil(row_parts).next_multiple_of(if m > rows { sizes.rows } else { 1 });
        let rhs = if m <= FEW { sizes.rhs_of_few } else { sizes.rhs };
        let fitting = (rhs / k.max(1) / PANEL).max(1) * PANEL;
        let work = batch * m * n * k;
        let parts = sizes.parts.max(sizes.more.min(batch * row_parts * (n / sizes.columns)));
        let wanted = parts.min(work / sizes.least_work).div_ceil((batch * row_parts).max(1)).max(1);
        let columns = fitting.min(n.div_ceil(wanted).next_multiple_of(PANEL)).max(PANEL);
        Self { columns, column_parts: n.div_ceil(columns), rows, row_parts: m.div_ceil(rows.max(1)) }
    }
}

/// Blocks of a product as products of `H`.
pub struct Blocks<E, H = f32>(PhantomData<(E, H)>);

impl<E: Element> Widened for Blocks<E> {
    fn rows() -> &'static [Kernel<Gemm>] {
        KERNELS
    }
}

impl<E: Element, H: Element> Parted for Blocks<E, H> {
    type Element = E;
    type Held = H;
    type Narrow = Gemm<E>;
    type Wide = Gemm<H>;

    fn count(p: &Problem) -> usize {
        let cut = Cut::new::<E, H>(p);
        p.sizes()[0] * cut.column_parts * cut.row_parts
    }

    fn part(p: &Problem, index: usize) -> Part<Self> {
        let ([_, m, n, k], cut) = (p.sizes(), Cut::new::<E, H>(p));
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
                (src[2], rhs) = (Some(region), Rhs::Strided(region.lie::<E, H>()));
            }
        }
        let epilogue = Epilogue { residual: residual.map(|r| r.lie::<E, H>()), ..p.epilogue };
        let problem =
            Problem { lhs: lhs.lie::<E, H>(), rhs, dst: dst.lie::<E, H>(), alpha: p.alpha, epilogue };
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

    fn args<'p>(args: &'p Args<'_, E>, part: &Part<Self>, held: Operands<'p, H>) -> Args<'p, H> {
        let rhs = if part.weight.is_some() { held.weight } else { held.src[2] };
        let epilogue = args.epilogue.part(part.column, held.src[1]);
        Args { lhs: held.src[0], rhs, epilogue, dst: held.dst }
    }
}
