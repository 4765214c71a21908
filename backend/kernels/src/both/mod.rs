//! A problem that units and cores compute together, part by part: each part by a row of either. Those of f32 sum in the
//! same order, so that the bits are the same whoever claims a part; those of 16-bit floats differ by a rounding.

use std::ops::Range;

use tandem_base::mem::ALIGN;
use tandem_base::{Engine, Engines, Isa, Pace, SpanMut, Task};

use crate::element::{Element, Format};
use crate::kernel::{ArgError, Family, Kernel, Rates, Refusal, available};
use crate::paced::Paced;
use crate::widen::{self, Operands, Part, Parted, Region};

/// A family whose problems come apart.
pub trait Divide: Family {
    /// Of its operands.
    type Element: Element;
    /// How.
    type Parts: Parted<Element = Self::Element, Held = Self::Element, Narrow = Self, Wide = Self>;
    /// Whether a part has the same bits whoever computes it.
    const EXACT: bool = matches!(Self::Element::FORMAT, Format::F32);

    /// Whether a row may compute parts: one of f32 sums in order of k, as units do.
    fn shares(_row: &Kernel<Self>) -> bool {
        true
    }
}

/// A problem in parts.
pub struct Both<F: Divide> {
    unit: &'static Kernel<F>,
    core: &'static Kernel<F>,
    problem: F::Problem,
    parts: Vec<Part<F::Parts>>,
    /// Bytes each worker needs.
    scratch: usize,
    /// What a part takes.
    paced: Paced,
    /// The first parts, where it is settled how many units compute.
    of_units: Option<usize>,
}

impl<F: Divide> Both<F> {
    /// Takes a problem apart for a row of units and a row of cores that both take the whole.
    ///
    /// # Errors
    /// Why it is not for both: fewer than two parts, one that a row does not take, or another order of sums.
    pub fn new(
        problem: F::Problem,
        unit: &'static Kernel<F>,
        core: &'static Kernel<F>,
        rates: &Rates,
    ) -> Result<Self, Refusal> {
        if core.isa == Isa::SCALAR || !F::shares(core) {
            return Err("sums in another order");
        }
        let count = F::Parts::count(&problem);
        if count < 2 {
            return Err("too small to share");
        }
        let parts: Vec<Part<F::Parts>> = (0..count).map(|i| F::Parts::part(&problem, i)).collect();
        for row in [unit, core] {
            parts.iter().try_for_each(|part| (row.supports)(&part.problem))?;
        }
        let room = |row: &Kernel<F>, part: &Part<F::Parts>| {
            let workspace = (row.workspace)(&part.problem);
            workspace.shared.next_multiple_of(ALIGN) + workspace.per_worker
        };
        let scratch = parts.iter().map(|part| room(unit, part).max(room(core, part))).max().unwrap_or(0);
        let ns = |row: &Kernel<F>| {
            let all: f64 = parts.iter().map(|part| (row.ns)(&part.problem, rates)).sum();
            all / count as f64
        };
        let paced = Paced::new(Pace { core: ns(core), unit: ns(unit) });
        Ok(Self { unit, core, problem, parts, scratch, paced, of_units: None })
    }

    /// Settles that units compute the first so many parts, whatever is seen.
    pub fn settle(&mut self, of_units: usize) {
        self.of_units = Some(of_units);
    }

    /// Whether it is.
    pub fn settled(&self) -> bool {
        self.of_units.is_some()
    }

    /// Number of parts.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The rows, of units and of cores.
    pub fn rows(&self) -> [&'static Kernel<F>; 2] {
        [self.unit, self.core]
    }

    /// Bytes of scratch of a worker.
    pub fn scratch(&self) -> usize {
        self.scratch
    }

    /// What a part takes, and who computed them.
    pub fn paced(&self) -> &Paced {
        &self.paced
    }

    /// Checks arguments and makes a task of them.
    ///
    /// # Errors
    /// An operand too short or overlapping.
    ///
    /// # Panics
    /// If this CPU lacks the rows' instructions.
    pub fn bind<'p, 'a>(&'p self, args: F::Args<'a>) -> Result<BoundBoth<'p, 'a, F>, ArgError> {
        let has = |isa: Isa| available().has(isa);
        assert!(
            has(self.unit.isa) && has(self.core.isa),
            "{}: {} and {}",
            F::NAME,
            self.unit.name,
            self.core.name
        );
        F::check(&self.problem, &args)?;
        Ok(BoundBoth { both: self, args })
    }
}

/// A problem in parts with checked arguments: a [`Task`].
pub struct BoundBoth<'p, 'a, F: Divide> {
    both: &'p Both<F>,
    args: F::Args<'a>,
}

// SAFETY: parts write disjoint regions of the destination, and a part is computed by one thread; tested by splitting.
unsafe impl<F: Divide> Task for BoundBoth<'_, '_, F> {
    fn tiles(&self, _: usize) -> usize {
        self.both.parts.len()
    }
    fn scratch(&self) -> usize {
        self.both.scratch
    }
    fn engines(&self, _: usize) -> Engines {
        self.both.of_units.map_or_else(|| Engines::Both(self.both.paced.pace()), Engines::Apart)
    }
    fn seen(&self, pace: Pace) {
        self.both.paced.see(pace);
    }
    unsafe fn run(&self, engine: Engine, _: usize, tiles: Range<usize>, scratch: SpanMut<'_, u8>) {
        let row = if engine == Engine::Unit { self.both.unit } else { self.both.core };
        self.both.paced.count(engine, tiles.len());
        for part in &self.both.parts[tiles] {
            let all = F::Parts::operands(&self.both.problem, &self.args);
            // SAFETY: the caller's; `bind` checked the whole, of which this is a part that the row takes; the scratch has
            // room for either row.
            unsafe {
                widen::compute(
                    row,
                    &part.problem,
                    &F::Parts::args(&self.args, part, placed(part, all)),
                    scratch,
                )
            }
        }
    }
}

/// A part's operands where they are.
fn placed<'a, P: Parted>(part: &Part<P>, all: Operands<'a, P::Element>) -> Operands<'a, P::Element> {
    const INSIDE: &str = "a part lies inside of the whole";
    let mut src = all.src;
    for (span, region) in src.iter_mut().zip(&part.src) {
        let skip = |region: &Region| span.skip(region.offset).expect(INSIDE);
        *span = region.as_ref().map_or(*span, skip);
    }
    let weight = part.weight.map_or(all.weight, |panels| all.weight.skip(panels.offset).expect(INSIDE));
    Operands { src, weight, dst: all.dst.skip(part.dst.offset).expect(INSIDE) }
}

#[cfg(test)]
mod tests;
