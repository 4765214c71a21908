//! 16-bit floats through rows of f32: a problem comes apart, and part by part its operands are widened to scratch, computed
//! by a row of f32, and the result rounded to where it belongs.
//!
//! One row for each instruction set does this for a family ([`row`]); a family says how its problems come apart
//! ([`Parted`]) and what computes the parts ([`Widened`]). Sums are f32 and stages of an epilogue round nothing, so a result is rounded once.

mod bands;
mod family;
mod region;
#[cfg(test)]
mod tests;

use std::ops::Range;

use tandem_base::mem::ALIGN;
use tandem_base::{Isa, Span, SpanMut};

use crate::element::Element;
use crate::kernel::{Cost, Family, Kernel, Rates, Workspace};
use crate::simd::Simd;
pub(crate) use bands::{Band, Windows};
pub use family::{Apart, Halved, HalvedArgs};
pub(crate) use family::{Blocks, MAX_CONSTANTS, Piece, Shapes, tables};
pub(crate) use region::in_place;
use region::{Narrow, Widen, WidenPanels};
pub use region::{Panels, Region};

/// Most operands of a part beside weights and destination.
pub const MAX_SOURCES: usize = 5;

/// A family whose problems are computed as several problems: where they are, or as problems of f32.
pub trait Parted: 'static {
    /// The element.
    type Element: Element;
    /// That of parts, the same where they are computed where they are.
    type Held: Element;
    /// The family.
    type Narrow: Family;
    /// That of parts.
    type Wide: Family;

    /// Number of parts: a function of the problem only.
    fn count(p: &Problem<Self>) -> usize;

    /// A part.
    fn part(p: &Problem<Self>, index: usize) -> Part<Self>;

    /// Sources in the order of [`Part::src`], weights and destination.
    fn operands<'p>(p: &Problem<Self>, args: &'p Args<'_, Self>) -> Operands<'p, Self::Element>;

    /// Arguments of the part's problem.
    fn args<'p>(
        args: &'p Args<'_, Self>,
        part: &Part<Self>,
        held: Operands<'p, Self::Held>,
    ) -> WideArgs<'p, Self>;
}

/// A family of 16-bit floats whose parts are problems of f32.
pub trait Widened: Parted<Held = f32> {
    /// Rows of f32 that may compute a part; one of them takes any.
    fn rows() -> &'static [Kernel<Self::Wide>];

    /// Whether a row of f32 is one of these.
    fn takes(_row: &Kernel<Self::Wide>) -> bool {
        true
    }
}

pub type Problem<F> = <<F as Parted>::Narrow as Family>::Problem;
pub type Args<'a, F> = <<F as Parted>::Narrow as Family>::Args<'a>;
pub type WideArgs<'a, F> = <<F as Parted>::Wide as Family>::Args<'a>;

/// Where operands lie.
pub struct Operands<'a, E> {
    pub src: [Span<'a, E>; MAX_SOURCES],
    pub weight: Span<'a, E>,
    pub dst: SpanMut<'a, E>,
}

impl<E> Operands<'_, E> {
    /// No sources, no weights.
    pub fn of(dst: SpanMut<'_, E>) -> Operands<'_, E> {
        Operands { src: [Span::empty(); MAX_SOURCES], weight: Span::empty(), dst }
    }
}

/// A part of a problem.
pub struct Part<F: Parted + ?Sized> {
    /// Its problem, operands lying as their regions say.
    pub problem: <F::Wide as Family>::Problem,
    /// What it reads.
    pub src: [Option<Region>; MAX_SOURCES],
    /// Weights it reads.
    pub weight: Option<Panels>,
    /// What it writes.
    pub dst: Region,
    /// First padded output column.
    pub column: usize,
}

impl<F: Widened + ?Sized> Part<F> {
    /// f32 of every source, of weights and destination, each rounded up to whole cache lines.
    fn sizes(&self) -> [usize; MAX_SOURCES + 2] {
        let mut sizes = [0; MAX_SOURCES + 2];
        for (size, region) in sizes.iter_mut().zip(&self.src) {
            *size = region.as_ref().map_or(0, |region| region.dense.extent());
        }
        sizes[MAX_SOURCES] = self.weight.as_ref().map_or(0, Panels::elements);
        sizes[MAX_SOURCES + 1] = self.dst.dense.extent();
        sizes.map(|size| size.next_multiple_of(ALIGN / 4))
    }

    /// The row that computes it: the quickest on a middling core, so that it depends on the problem only.
    fn row(&self, isa: Isa) -> Option<&'static Kernel<F::Wide>> {
        let rates = Rates::default();
        let mut best: Option<(&Kernel<F::Wide>, f64)> = None;
        for row in F::rows().iter().filter(|row| row.isa == isa && F::takes(row)) {
            if (row.supports)(&self.problem).is_err() {
                continue;
            }
            let ns = (row.ns)(&self.problem, &rates);
            if best.is_none_or(|(_, least)| ns < least) {
                best = Some((row, ns));
            }
        }
        best.map(|(row, _)| row)
    }
}

/// A row that widens, for an instruction set.
macro_rules! row {
    ($family:ty, $vector:ident, $name:literal, $isa:ident) => {{
        const ISA: tandem_base::Isa = tandem_base::Isa::$isa;
        $crate::kernel::Kernel {
            name: $name,
            isa: ISA,
            supports: |p| $crate::widen::supports::<$family>(p, ISA),
            ns: |p, rates| $crate::widen::ns::<$family>(p, rates, ISA),
            phases: |_| 1,
            tiles: |p, _| <$family as $crate::widen::Parted>::count(p),
            workspace: |p| $crate::widen::workspace::<$family>(p, ISA),
            run: |p, args, _, tiles, _, scratch| {
                // SAFETY: the caller's; the row's instructions are the vector's.
                unsafe { $crate::widen::run::<$family, $crate::simd::$vector>(p, args, tiles, scratch, ISA) }
            },
        }
    }};
}
pub(crate) use row;

/// Parts that may be unlike the others, for which a problem is judged.
fn samples(count: usize) -> impl Iterator<Item = usize> {
    [0, count / 2, count.saturating_sub(1)].into_iter().take(count.min(3))
}

pub(crate) fn supports<F: Widened>(p: &Problem<F>, isa: Isa) -> Result<(), crate::kernel::Refusal> {
    let taken = samples(F::count(p)).all(|i| F::part(p, i).row(isa).is_some());
    if taken { Ok(()) } else { Err("no row of f32 takes a part") }
}

/// The parts' times, and what converting takes.
pub(crate) fn ns<F: Widened>(p: &Problem<F>, rates: &Rates, isa: Isa) -> f64 {
    let count = F::count(p);
    if count == 0 {
        return 100.0;
    }
    let part = F::part(p, count / 2);
    let computed = part.row(isa).map_or(f64::INFINITY, |row| (row.ns)(&part.problem, rates));
    let converted = part.sizes().iter().sum::<usize>() as f64 / rates.vector_gelems;
    let Cost { bytes, .. } = F::Narrow::cost(p);
    (count as f64 * (computed + converted + 300.0)).max(rates.stream_ns(bytes))
}

/// Each worker's: operands, then what the row of f32 shares, then its scratch.
pub(crate) fn workspace<F: Widened>(p: &Problem<F>, isa: Isa) -> Workspace {
    let bytes = |index| {
        let part = F::part(p, index);
        let row = part.row(isa).map_or(Workspace::default(), |row| (row.workspace)(&part.problem));
        4 * part.sizes().iter().sum::<usize>() + row.shared.next_multiple_of(ALIGN) + row.per_worker
    };
    Workspace { shared: 0, per_worker: (0..F::count(p)).map(bytes).max().unwrap_or(0) }
}

/// What a worker's scratch holds from the part before.
struct Held {
    src: [Option<Region>; MAX_SOURCES],
    weight: Option<Panels>,
    sizes: [usize; MAX_SOURCES + 2],
}

/// Computes parts.
///
/// # Safety
/// The contract of [`crate::kernel::RunFn`]; the CPU has the vector's instructions, which are those of `isa`.
pub(crate) unsafe fn run<'p, F: Widened, V: Simd>(
    p: &Problem<F>,
    args: &'p Args<'_, F>,
    tiles: Range<usize>,
    scratch: SpanMut<'p, u8>,
    isa: Isa,
) {
    let narrow = F::operands(p, args);
    let mut held = Held { src: [None; MAX_SOURCES], weight: None, sizes: [0; MAX_SOURCES + 2] };
    for index in tiles {
        let part = F::part(p, index);
        let sizes = part.sizes();
        if sizes != held.sizes {
            held = Held { src: [None; MAX_SOURCES], weight: None, sizes };
        }
        // SAFETY: the caller's; the scratch has room for operands of these sizes and the row's workspace.
        unsafe {
            let (wide, rest) = widen::<F, V>(&part, &narrow, &mut held, scratch);
            let dst = wide.dst;
            let row = part.row(isa).expect("a row that takes the part, as `supports` found");
            compute(row, &part.problem, &F::args(args, &part, wide), rest);
            V::apart(Narrow { from: dst.ptr(), to: narrow.dst.ptr(), region: &part.dst });
        }
    }
}

/// A part's operands in the scratch, and what is left of it; what lies there from the part before is not widened again.
///
/// # Safety
/// As [`run`].
unsafe fn widen<'a, F: Widened, V: Simd>(
    part: &Part<F>,
    narrow: &Operands<'_, F::Element>,
    held: &mut Held,
    scratch: SpanMut<'a, u8>,
) -> (Operands<'a, f32>, SpanMut<'a, u8>) {
    let mut left = scratch;
    let mut take = |elements: usize| {
        let all = left.first(4 * elements).and_then(|bytes| bytes.cast::<f32>());
        left = left.skip(4 * elements).unwrap_or(SpanMut::empty());
        all.expect("scratch as large as the workspace says")
    };
    let mut src = [Span::empty(); MAX_SOURCES];
    for (i, span) in src.iter_mut().enumerate() {
        let to = take(held.sizes[i]);
        *span = to.as_span();
        let Some(region) = part.src[i].filter(|_| part.src[i] != held.src[i]) else { continue };
        // SAFETY: the caller's.
        unsafe { V::apart(Widen { from: narrow.src[i].ptr(), to: to.ptr(), region: &region }) }
        held.src[i] = Some(region);
    }
    let to = take(held.sizes[MAX_SOURCES]);
    if let Some(panels) = part.weight.filter(|_| part.weight != held.weight) {
        // SAFETY: the caller's.
        unsafe { V::apart(WidenPanels { from: narrow.weight.ptr(), to: to.ptr(), panels: &panels }) }
        held.weight = Some(panels);
    }
    let dst = take(held.sizes[MAX_SOURCES + 1]);
    (Operands { src, weight: to.as_span(), dst }, left)
}

/// All phases of a row, one after the other.
///
/// # Safety
/// As [`run`]; `memory` has the row's workspace.
pub(crate) unsafe fn compute<F: Family>(
    row: &Kernel<F>,
    problem: &F::Problem,
    args: &F::Args<'_>,
    memory: SpanMut<'_, u8>,
) {
    let room = (row.workspace)(problem).shared.next_multiple_of(ALIGN);
    let shared = memory.first(room).unwrap_or(SpanMut::empty());
    let scratch = memory.skip(room).unwrap_or(SpanMut::empty());
    for phase in 0..(row.phases)(problem) {
        // SAFETY: the caller's; phases come in order, each tile once.
        unsafe { (row.run)(problem, args, phase, 0..(row.tiles)(problem, phase), shared, scratch) }
    }
}
