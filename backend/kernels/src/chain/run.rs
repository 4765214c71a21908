//! A tile's stages, one after the other, each by a row of its family.

use std::ops::Range;

use tandem_base::mem::ALIGN;
use tandem_base::{Isa, Span, SpanMut, Strided};

use super::cut::{Band, Cut, Limits};
use super::{Args, Problem, Stage};
use crate::conv::{self, Conv};
use crate::depthwise::{self, Depthwise};
use crate::epilogue::EpilogueArgs;
use crate::kernel::{Family, Kernel, Rates, Refusal, Workspace};
use crate::widen::compute;

/// Time to set a piece of a stage up, in ns.
const PIECE_NS: f64 = 100.0;

/// A row that chains the rows of an instruction set.
macro_rules! row {
    ($name:literal, $isa:ident, $limits:expr) => {{
        const ISA: tandem_base::Isa = tandem_base::Isa::$isa;
        const LIMITS: $crate::chain::cut::Limits = $limits;
        $crate::kernel::Kernel {
            name: $name,
            isa: ISA,
            supports: |p| $crate::chain::run::supports(p, ISA),
            ns: |p, rates| $crate::chain::run::ns(p, rates, ISA, &LIMITS),
            phases: |_| 1,
            tiles: |p, _| $crate::chain::cut::Cut::new(p, &LIMITS).tiles(),
            workspace: |p| $crate::chain::run::workspace(p, ISA, &LIMITS),
            run: |p, args, _, tiles, _, scratch| {
                // SAFETY: the caller's.
                unsafe { $crate::chain::run::run(p, args, tiles, scratch, ISA, &LIMITS) }
            },
        }
    }};
}
pub(super) use row;

/// The rows that compute the stages.
struct Rows {
    expand: Option<&'static Kernel<Conv>>,
    depthwise: &'static Kernel<Depthwise>,
    project: Option<&'static Kernel<Conv>>,
}

/// The quickest row of an instruction set on a middling core, so that it depends on the problem only.
fn quickest<F: Family>(
    rows: &'static [Kernel<F>],
    problem: &F::Problem,
    takes: impl Fn(&Kernel<F>) -> bool,
) -> Option<&'static Kernel<F>> {
    let rates = Rates::default();
    let rows = rows.iter().filter(|row| takes(row) && (row.supports)(problem).is_ok());
    let timed = rows.map(|row| (row, (row.ns)(problem, &rates)));
    timed.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(row, _)| row)
}

impl Rows {
    /// Rows for whole stages take their bands and blocks, which lie as they do.
    fn new(p: &Problem, isa: Isa) -> Option<Self> {
        let direct = |p: &Option<conv::Problem>| match p {
            Some(p) => quickest(conv::KERNELS, p, |row| row.isa == isa && conv::direct(row)).map(Some),
            None => Some(None),
        };
        let depthwise = quickest(depthwise::KERNELS, &p.depthwise, |row| row.isa == isa)?;
        Some(Self { expand: direct(&p.expand)?, depthwise, project: direct(&p.project)? })
    }

    /// Every part of a tile's stages.
    fn each(
        &self,
        p: &Problem,
        cut: &Cut<'_>,
        band: &Band,
        blocks: Range<usize>,
        mut visit: impl FnMut(Call<'_>),
    ) {
        for block in blocks {
            let channels = cut.block(block);
            if let (Some(row), Some(expand)) = (self.expand, &p.expand) {
                visit(Call::Expand(row, &band.expand(expand, &channels).problem));
            }
            visit(Call::Depthwise(self.depthwise, &band.depthwise(p, &channels).problem));
        }
        if let (Some(row), Some(project)) = (self.project, &p.project) {
            visit(Call::Project(row, &band.project(project).problem));
        }
    }
}

/// A part of a stage and the row that computes it.
enum Call<'c> {
    Expand(&'static Kernel<Conv>, &'c conv::Problem),
    Depthwise(&'static Kernel<Depthwise>, &'c depthwise::Problem),
    Project(&'static Kernel<Conv>, &'c conv::Problem),
}

impl Call<'_> {
    fn ns(&self, rates: &Rates) -> f64 {
        match self {
            Self::Expand(row, problem) | Self::Project(row, problem) => (row.ns)(problem, rates),
            Self::Depthwise(row, problem) => (row.ns)(problem, rates),
        }
    }

    /// Bytes of the row's own memory, in whole cache lines.
    fn memory(&self) -> usize {
        let Workspace { shared, per_worker } = match self {
            Self::Expand(row, problem) | Self::Project(row, problem) => (row.workspace)(problem),
            Self::Depthwise(row, problem) => (row.workspace)(problem),
        };
        shared.next_multiple_of(ALIGN) + per_worker
    }
}

/// Whether windows of rows can be cut into bands: none lies in the padding as a whole.
fn bands(windows: &crate::widen::Windows) -> bool {
    windows.padding.iter().all(|&rows| rows < windows.reach)
}

/// The same sizes, channels innermost, dense.
fn last(shape: &Strided) -> Strided {
    Strided::with_order(shape.sizes(), &[0, 2, 3, 1])
}

pub(super) fn supports(p: &Problem, isa: Isa) -> Result<(), Refusal> {
    let d = &p.depthwise;
    if p.expand.is_none() && p.project.is_none() {
        return Err("a single stage");
    }
    if !bands(&depthwise::windows(d)) || p.expand.as_ref().is_some_and(|e| !bands(&conv::windows(e))) {
        return Err("windows in the padding");
    }
    let plain = |c: &conv::Problem| c.groups == 1 && c.shuffle == 1;
    if ![&p.expand, &p.project].into_iter().flatten().all(plain) {
        return Err("groups or a shuffle");
    }
    if p.expand.as_ref().is_some_and(|e| e.dst != d.src || d.src != last(&d.src)) {
        return Err("stages that do not fit");
    }
    if let Some(c) = &p.project {
        if c.kernel != [1, 1] || c.stride != [1, 1] || c.padding != [0; 4] {
            return Err("a window in the last stage");
        }
        if c.src.len() != 1 || c.src[0] != d.dst || d.dst != last(&d.dst) {
            return Err("stages that do not fit");
        }
    }
    if p.dst().elements() > 0 && p.src().iter().any(|src| src.elements() == 0) {
        return Err("an empty source");
    }
    if Rows::new(p, isa).is_none() {
        return Err("no row takes a stage");
    }
    Ok(())
}

/// The stages of all blocks of a band, as many times as there are bands; the first at least as long as its sources stream,
/// the last as long as the destination.
pub(super) fn ns(p: &Problem, rates: &Rates, isa: Isa, limits: &Limits) -> f64 {
    let cut = Cut::new(p, limits);
    if cut.tiles() == 0 {
        return 100.0;
    }
    let Some(rows) = Rows::new(p, isa) else { return f64::INFINITY };
    let band = cut.largest();
    // All bands but the first find the constants in L2.
    let hot = Rates { read_gbs: rates.l2_gbs, ..*rates };
    let [mut front, mut behind] = [0.0; 2];
    rows.each(p, &cut, &band, 0..cut.blocks(), |call| {
        let first = match call {
            Call::Expand(..) => true,
            Call::Depthwise(..) => p.expand.is_none(),
            Call::Project(..) => false,
        };
        *(if first { &mut front } else { &mut behind }) += call.ns(&hot) + PIECE_NS;
    });
    let bands = cut.alike(&band);
    let constants = constant_bytes(p) / rates.read_gbs;
    let bytes = |shapes: &[Strided]| 4.0 * shapes.iter().map(Strided::elements).sum::<usize>() as f64;
    (bands * front).max(rates.stream_ns(bytes(p.src())))
        + (bands * behind).max(rates.stream_ns(bytes(&[*p.dst()])))
        + constants
}

/// Weights of both convolutions around the depthwise one.
fn constant_bytes(p: &Problem) -> f64 {
    let weights = |c: &conv::Problem| 4.0 * (c.k() * c.padded_columns()) as f64;
    [&p.expand, &p.project].into_iter().flatten().map(weights).sum()
}

/// Bytes of both values between stages, each in whole cache lines.
fn held(cut: &Cut<'_>) -> [usize; 2] {
    cut.held().map(|elements| (4 * elements).next_multiple_of(ALIGN))
}

/// Each worker's: values between stages, then what the row of a stage wants.
pub(super) fn workspace(p: &Problem, isa: Isa, limits: &Limits) -> Workspace {
    let cut = Cut::new(p, limits);
    if cut.tiles() == 0 {
        return Workspace::default();
    }
    let Some(rows) = Rows::new(p, isa) else { return Workspace::default() };
    let mut most = 0;
    for tile in 0..cut.tiles() {
        let (band, blocks) = cut.tile(tile);
        rows.each(p, &cut, &band, blocks, |call| most = most.max(call.memory()));
    }
    Workspace { shared: 0, per_worker: held(&cut).iter().sum::<usize>() + most }
}

impl<'a> Stage<'a> {
    /// From a channel on whose weights begin `weight` elements on, the residual `residual` elements on.
    fn skip(&self, weight: usize, channel: usize, residual: usize) -> Stage<'a> {
        let skip = |span: Span<'a, f32>, n: usize| span.skip(n).unwrap_or(Span::empty());
        let e = &self.epilogue;
        Stage {
            weight: skip(self.weight, weight),
            epilogue: EpilogueArgs {
                bias: skip(e.bias, channel),
                scale: skip(e.scale, channel),
                shift: skip(e.shift, channel),
                residual: skip(e.residual, residual),
            },
        }
    }
}

/// What all tiles share: the problem, its rows, and where things lie.
struct Run<'p> {
    p: &'p Problem,
    args: &'p Args<'p>,
    rows: Rows,
    /// A block in front of the depthwise convolution, and a band behind it.
    mid: SpanMut<'p, f32>,
    out: SpanMut<'p, f32>,
    /// What is left of the scratch.
    rest: SpanMut<'p, u8>,
}

impl Run<'_> {
    /// The convolution in front: where the depthwise convolution of a block finds its source.
    ///
    /// # Safety
    /// As [`run`].
    unsafe fn expand(&self, band: &Band, channels: &Range<usize>) -> Span<'_, f32> {
        let (Some(row), Some(expand)) = (self.rows.expand, &self.p.expand) else { return self.args.src[0] };
        let piece = band.expand(expand, channels);
        let mut src = self.args.src;
        for (span, at) in src.iter_mut().zip(piece.src) {
            *span = span.skip(at).unwrap_or(Span::empty());
        }
        let Stage { weight, epilogue } =
            self.args.expand.skip(expand.k() * channels.start, channels.start, piece.residual);
        let args = conv::Args { src, weight, epilogue, dst: self.mid };
        // SAFETY: the caller's; the scratch has room for the block and the row's workspace.
        unsafe { compute(row, &piece.problem, &args, self.rest) }
        self.mid.as_span()
    }

    /// The depthwise convolution of a block.
    ///
    /// # Safety
    /// As [`run`].
    unsafe fn depthwise(&self, band: &Band, channels: &Range<usize>, src: Span<'_, f32>) {
        let (piece, d) = (band.depthwise(self.p, channels), &self.p.depthwise);
        let weights = d.kernel[0] * d.kernel[1] * channels.start;
        let Stage { weight, epilogue } = self.args.depthwise.skip(weights, channels.start, piece.residual);
        let dst = if self.p.project.is_some() { self.out } else { self.args.dst };
        let (src, dst) = (src.skip(piece.src[0]), dst.skip(piece.dst));
        let (src, dst) = (src.expect("within the source"), dst.expect("within the destination"));
        let args = depthwise::Args { src, weight, epilogue, dst };
        // SAFETY: as above.
        unsafe { compute(self.rows.depthwise, &piece.problem, &args, self.rest) }
    }

    /// The convolution behind, if there is one.
    ///
    /// # Safety
    /// As [`run`].
    unsafe fn project(&self, band: &Band) {
        let (Some(row), Some(project)) = (self.rows.project, &self.p.project) else { return };
        let piece = band.project(project);
        let mut src = [Span::empty(); conv::MAX_SEGMENTS];
        src[0] = self.out.as_span();
        let Stage { weight, epilogue } = self.args.project.skip(0, 0, piece.residual);
        let dst = self.args.dst.skip(piece.dst).expect("within the destination");
        // SAFETY: as above.
        unsafe { compute(row, &piece.problem, &conv::Args { src, weight, epilogue, dst }, self.rest) }
    }
}

/// Computes tiles.
///
/// # Safety
/// The contract of [`crate::kernel::RunFn`]; the CPU has the instructions `isa`.
pub(super) unsafe fn run<'p>(
    p: &'p Problem,
    args: &'p Args<'p>,
    tiles: Range<usize>,
    scratch: SpanMut<'p, u8>,
    isa: Isa,
    limits: &Limits,
) {
    if tiles.is_empty() {
        return;
    }
    let cut = Cut::new(p, limits);
    let [mid, out] = held(&cut);
    let floats = |at: usize, bytes: usize| -> SpanMut<'p, f32> {
        let bytes = scratch.skip(at).and_then(|rest| rest.first(bytes));
        bytes.and_then(|bytes| bytes.cast()).expect("scratch as large as the workspace says")
    };
    let run = Run {
        p,
        args,
        rows: Rows::new(p, isa).expect("rows that take the stages, as `supports` found"),
        mid: floats(0, mid),
        out: floats(mid, out),
        rest: scratch.skip(mid + out).expect("scratch as large as the workspace says"),
    };
    for tile in tiles {
        let (band, blocks) = cut.tile(tile);
        // SAFETY: the caller's; stages come in order.
        unsafe {
            for channels in blocks.map(|block| cut.block(block)) {
                let src = run.expand(&band, &channels);
                run.depthwise(&band, &channels, src);
            }
            run.project(&band);
        }
    }
}
