//! What is widened and narrowed: strided regions, and weights in panels.

use tandem_base::Strided;
use tandem_base::strided::MAX_RANK;

use crate::element::Element;
use crate::lanes::Lanes;
use crate::nest::Nest;
use crate::panels::{self, PANEL};
use crate::simd::{Simd, Work};

/// A part of an operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// First element.
    pub offset: usize,
    /// Its sizes, and the operand's strides.
    pub shape: Strided,
    /// The same sizes, dense in the same order of dimensions.
    pub dense: Strided,
}

/// Whether parts are computed where they are.
pub(crate) fn in_place<E: Element, H: Element>() -> bool {
    E::FORMAT == H::FORMAT
}

impl Region {
    /// From `offset` on, with the operand's strides.
    pub fn new(offset: usize, sizes: &[usize], strides: &[usize]) -> Self {
        let shape = Strided::new(sizes, strides);
        Self { offset, shape, dense: packed(&shape) }
    }

    /// As a part's problem has it: where it is, or a copy in another format.
    pub(crate) fn lie<E: Element, H: Element>(&self) -> Strided {
        if in_place::<E, H>() { self.shape } else { self.dense }
    }

    /// The elements of `shape` from `first` on, along every dimension `sizes` of them.
    pub fn of(shape: &Strided, first: &[usize], sizes: &[usize]) -> Self {
        let offset = first.iter().zip(shape.strides()).map(|(at, stride)| at * stride).sum();
        Self::new(offset, sizes, shape.strides())
    }
}

/// Dense, dimensions in the order of their strides; what is broadcast stays so.
fn packed(shape: &Strided) -> Strided {
    let (sizes, strides) = (shape.sizes(), shape.strides());
    let mut order: [usize; MAX_RANK] = std::array::from_fn(|d| d);
    let order = &mut order[..sizes.len()];
    // Extents of 1 say nothing, wherever they are; strides that are equal keep the order.
    order.sort_by_key(|&d| if sizes[d] == 1 { 0 } else { strides[d] });
    let (mut dense, mut step) = ([0; MAX_RANK], 1);
    for &d in order.iter() {
        let repeats = strides[d] == 0 && sizes[d] != 1;
        dense[d] = if repeats { 0 } else { step };
        step *= if repeats { 1 } else { sizes[d].max(1) };
    }
    Strided::new(sizes, &dense[..sizes.len()])
}

/// Neighbouring panels of weights in words of two k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Panels {
    /// First element.
    pub offset: usize,
    /// Columns, the last panel narrow as it may be.
    pub columns: usize,
    /// Taps.
    pub taps: usize,
    /// Channels that each tap reads of each segment, beginning with a new word.
    pub channels: [usize; crate::conv::MAX_SEGMENTS],
}

impl Panels {
    /// Words of two k a column has.
    fn words(&self) -> usize {
        self.taps * self.channels.iter().map(|c| c.div_ceil(2)).sum::<usize>()
    }

    /// Elements as f32.
    pub fn elements(&self) -> usize {
        self.taps * self.channels.iter().sum::<usize>() * panels::padded(self.columns)
    }
}

/// Widens a region to a dense one.
pub(super) struct Widen<'r, E> {
    pub from: *const E,
    pub to: *mut f32,
    pub region: &'r Region,
}

impl<E: Element> Work for Widen<'_, E> {
    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let nest = Nest::of([&stored(&self.region.dense), &stored(&self.region.shape)]);
        let ((_, steps), down) = (nest.inner(), nest.row_strides());
        let from = self.from.wrapping_add(self.region.offset);
        for block in nest.blocks(0..nest.elements()) {
            for row in 0..block.rows {
                let to = self.to.wrapping_add(block.at[0] + row * down[0]);
                let from = from.wrapping_add(block.at[1] + row * down[1]);
                // SAFETY: the caller's: both regions can be reached.
                unsafe { widen_row::<V, E>(from, steps[1], to, steps[0], block.len) }
            }
        }
    }
}

/// Rounds a dense region to where it belongs.
pub(super) struct Narrow<'r, E> {
    pub from: *const f32,
    pub to: *mut E,
    pub region: &'r Region,
}

impl<E: Element> Work for Narrow<'_, E> {
    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let nest = Nest::of([&self.region.dense, &self.region.shape]);
        let ((_, steps), down) = (nest.inner(), nest.row_strides());
        let to = self.to.wrapping_add(self.region.offset);
        for block in nest.blocks(0..nest.elements()) {
            for row in 0..block.rows {
                let from = self.from.wrapping_add(block.at[0] + row * down[0]);
                let to = to.wrapping_add(block.at[1] + row * down[1]);
                // SAFETY: the caller's: both regions can be reached.
                unsafe { narrow_row::<V, E>(from, steps[0], to, steps[1], block.len) }
            }
        }
    }
}

/// What is stored of a shape: nothing twice.
fn stored(shape: &Strided) -> Strided {
    let mut sizes = [0; MAX_RANK];
    for (d, size) in sizes.iter_mut().enumerate().take(shape.rank()) {
        *size = if shape.stride(d) == 0 { shape.size(d).min(1) } else { shape.size(d) };
    }
    Strided::new(&sizes[..shape.rank()], shape.strides())
}

#[inline(always)]
unsafe fn widen_row<V: Simd, E: Element>(from: *const E, step: usize, to: *mut f32, out: usize, n: usize) {
    // SAFETY: the caller's: n elements of each.
    unsafe {
        if step != 1 || out != 1 {
            for i in 0..n {
                *to.add(i * out) = (*from.add(i * step)).to_f32();
            }
            return;
        }
        let whole = n / V::LANES * V::LANES;
        for i in (0..whole).step_by(V::LANES) {
            <E as Lanes>::load::<V>(from.add(i)).store(to.add(i));
        }
        if whole < n {
            <E as Lanes>::load_first::<V>(from.add(whole), n - whole).store_first(to.add(whole), n - whole);
        }
    }
}

#[inline(always)]
unsafe fn narrow_row<V: Simd, E: Element>(from: *const f32, step: usize, to: *mut E, out: usize, n: usize) {
    // SAFETY: the caller's: n elements of each.
    unsafe {
        if step != 1 || out != 1 {
            for i in 0..n {
                *to.add(i * out) = E::from_f32(*from.add(i * step));
            }
            return;
        }
        let whole = n / V::LANES * V::LANES;
        for i in (0..whole).step_by(V::LANES) {
            <E as Lanes>::store(V::load(from.add(i)), to.add(i));
        }
        if whole < n {
            <E as Lanes>::store_first(V::load_first(from.add(whole), n - whole), to.add(whole), n - whole);
        }
    }
}

/// Widens panels to those of f32.
pub(super) struct WidenPanels<'r, E> {
    pub from: *const E,
    pub to: *mut f32,
    pub panels: &'r Panels,
}

impl<E: Element> Work for WidenPanels<'_, E> {
    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let p = self.panels;
        let mut to = self.to;
        for panel in 0..panels::count(p.columns) {
            let width = panels::width(p.columns, panel);
            let mut from = self.from.wrapping_add(p.offset + 2 * panel * PANEL * p.words());
            for channels in (0..p.taps).flat_map(|_| p.channels) {
                for k in (0..channels).step_by(2) {
                    for column in (0..width).step_by(V::LANES) {
                        // SAFETY: the caller's: the panels can be read, `to` has room.
                        unsafe {
                            let [first, second] = <E as Lanes>::pairs::<V>(from.add(2 * column));
                            first.store(to.add(column));
                            if k + 1 < channels {
                                second.store(to.add(width + column));
                            }
                        }
                    }
                    from = from.wrapping_add(2 * width);
                    to = to.wrapping_add(width * (channels - k).min(2));
                }
            }
        }
    }
}
