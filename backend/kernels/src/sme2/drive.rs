//! A run of positions times columns, through the epilogue.

use std::ops::Range;

use super::finish::{Row, Stages, finish};
use super::{Product, Unit};
use crate::element::Element;
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::panels;
use crate::simd::Simd;

/// Where the unit reads rhs.
#[derive(Clone, Copy)]
pub(super) struct Columns<E> {
    /// Column 0, k 0.
    pub rhs: *const E,
    /// Number of columns and of words of k.
    pub n: usize,
    pub k: usize,
    /// Words from one k to the next and from one panel to the next (0 = one panel), columns of a panel.
    pub step: usize,
    pub panel: usize,
    pub width: usize,
    /// Whether these are the packed format's panels, the last of which may be narrow.
    pub packed: bool,
}

impl<E: Element> Columns<E> {
    /// The packed format's.
    pub fn panels(rhs: *const E, n: usize, k: usize) -> Self {
        let width = panels::PANEL;
        Self { rhs, n, k, step: width, panel: width * k, width, packed: true }
    }

    /// Columns `product.first..product.columns` by one of the unit's products; `first` is a multiple of a panel and of a
    /// group.
    ///
    /// # Safety
    /// As [`Unit::product`].
    unsafe fn multiply(&self, multiply: unsafe fn(&Product<E>), product: &Product<E>) {
        let Product { first, columns, .. } = *product;
        let product = Product { rhs_step: self.step, rhs_panel: self.panel, ..*product };
        // SAFETY: the caller's.
        unsafe {
            if self.panel == 0 {
                let (rhs, width) = (self.rhs.wrapping_add(E::PER_WORD * first), columns - first);
                multiply(&Product { rhs, panels: 1, width, ..product });
                return;
            }
            let last = panels::width(self.n, (columns - 1) / panels::PANEL);
            let narrow = self.packed && last < panels::PANEL;
            let panels = (columns - first).div_ceil(self.width) - usize::from(narrow);
            let (rhs, width) = (self.rhs.wrapping_add(E::PER_WORD * first * self.k), self.width);
            if panels > 0 {
                let columns = columns.min(first + panels * width);
                multiply(&Product { rhs, panels, width, columns, ..product });
            }
            if narrow {
                let first = first + panels * width;
                let (rhs, width) = (self.rhs.wrapping_add(E::PER_WORD * first * self.k), panels::NARROW);
                multiply(&Product { rhs, rhs_step: width, panels: 1, width, first, ..product });
            }
        }
    }
}

/// Parts of a task that is the only one: no machine known so far has more than two units.
const PARTS: usize = 4;
/// Least arithmetic of a part: some µs of any unit, many entries' worth.
const PART_FLOPS: f64 = 4e6;

/// Parts to split each of `tasks` into, at most `most`, of so much arithmetic all together.
pub(super) fn split(tasks: usize, flops: f64, most: usize) -> usize {
    if tasks == 1 { PARTS.min((flops / PART_FLOPS) as usize).clamp(1, most.max(1)) } else { 1 }
}

/// Tasks of `split` parts each that have some of `tiles`, and which.
pub(super) fn tasks(tiles: Range<usize>, split: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    (tiles.start / split..tiles.end.div_ceil(split)).map(move |task| {
        let first = task * split;
        (task, tiles.start.max(first) - first..tiles.end.min(first + split) - first)
    })
}

/// What some of `split` parts have of `all`, in multiples of `unit`.
pub(super) fn cut(all: usize, split: usize, unit: usize, parts: &Range<usize>) -> Range<usize> {
    let size = all.div_ceil(split).next_multiple_of(unit);
    (parts.start * size).min(all)..(parts.end * size).min(all)
}

/// Where some neighbouring positions go.
#[derive(Clone, Copy)]
pub(super) struct Place<E> {
    pub count: usize,
    /// Column 0 of the first one and the distance to the next; null = nowhere.
    pub dst: *mut E,
    pub next: usize,
    /// The same of the residual, and the distance of its columns.
    pub residual: usize,
    pub next_residual: usize,
    pub step: usize,
}

/// Writes `count` pointers, each `go_on` of the one before, and returns where the following one goes.
///
/// # Safety
/// The table has room.
#[inline(always)]
pub(super) unsafe fn list<P: Copy>(table: *mut P, first: P, count: usize, go_on: impl Fn(P) -> P) -> *mut P {
    let (mut to, end, mut pointer) = (table, table.wrapping_add(count), first);
    // SAFETY: the caller's.
    unsafe {
        for _ in 0..count / 4 {
            let second = go_on(pointer);
            let third = go_on(second);
            let fourth = go_on(third);
            to.cast::<[P; 4]>().write([pointer, second, third, fourth]);
            pointer = go_on(fourth);
            to = to.add(4);
        }
        while to != end {
            to.write(pointer);
            pointer = go_on(pointer);
            to = to.add(1);
        }
    }
    end
}

/// A product's epilogue and a worker's memory for it.
pub(super) struct Output<'a, E> {
    pub epilogue: &'a Epilogue,
    pub args: EpilogueArgs<'a, E>,
    pub alpha: f32,
    pub stages: &'a Stages,
    /// Table of as many rows as the product has.
    pub rows: *mut *mut E,
    /// Likewise of residuals, as many as [`Stages::residuals`] says.
    pub residuals: *mut *const E,
    /// As many rows of sums as [`Stages::sums`] says.
    pub sums: *mut f32,
    /// A row of columns nobody wants.
    pub spare: *mut E,
}

impl<E: Element> Output<'_, E> {
    /// Multiplies and finishes `columns`, from a multiple of a panel and of a group on; `places` say where positions go, from the first one on. What they leave of the last
    /// group goes nowhere.
    ///
    /// # Safety
    /// As [`Unit::product`], and places lie inside the operands; the CPU has the vector's instructions.
    pub unsafe fn store<U: Unit, V: Simd>(
        &self,
        product: &Product<E>,
        rhs: &Columns<E>,
        columns: Range<usize>,
        places: impl Iterator<Item = Place<E>> + Clone,
    ) {
        let (all, chunk) = (self.stages.all(), self.stages.chunk(rhs.n));
        let bias = if all && self.epilogue.bias { self.args.bias.ptr() } else { std::ptr::null() };
        let rows = product.groups * 2 * U::lanes();
        let adds = self.stages.residuals(self.epilogue, rows) > 0;
        let residuals = if adds { self.residuals.cast_const() } else { std::ptr::null() };
        let clamp = self.stages.clamp();
        let product = Product { rows: self.rows, residuals, bias, clamp, ..*product };
        // SAFETY: the caller's.
        unsafe {
            if all {
                let table = self.rows.cast::<*const E>();
                self.list_rows(table, rows, places.clone(), |place| (place.dst.cast_const(), place.next));
                if adds {
                    let residual = self.args.residual.ptr();
                    self.list_rows(self.residuals, rows, places, |place| {
                        (residual.wrapping_add(place.residual), place.next_residual)
                    });
                }
                let product = Product { first: columns.start, columns: columns.end, ..product };
                rhs.multiply(U::product, &product);
                return;
            }
            for first in columns.clone().step_by(chunk) {
                let table = self.rows.cast::<*mut f32>();
                list(table, self.sums.wrapping_sub(first), rows, |row| row.wrapping_add(chunk));
                let end = columns.end.min(first + chunk);
                rhs.multiply(U::sums, &Product { first, columns: end, ..product });
                let mut sums = table.cast_const();
                for place in places.clone() {
                    for i in 0..if place.dst.is_null() { 0 } else { place.count } {
                        let (dst, residual) = (
                            place.dst.wrapping_add(i * place.next),
                            place.residual + i * place.next_residual,
                        );
                        let row = Row { sums: *sums.add(i), dst, residual, step: place.step };
                        finish::<V, E>(self.epilogue, &self.args, self.alpha, &row, first..end);
                    }
                    sums = sums.add(place.count);
                }
            }
        }
    }

    /// Lists what `of` says the first position of a place has and the distance to the next; the spare row elsewhere.
    ///
    /// # Safety
    /// The table has `rows` entries.
    unsafe fn list_rows(
        &self,
        table: *mut *const E,
        rows: usize,
        places: impl Iterator<Item = Place<E>>,
        of: impl Fn(&Place<E>) -> (*const E, usize),
    ) {
        let (mut to, end) = (table, table.wrapping_add(rows));
        // SAFETY: the caller's.
        unsafe {
            for place in places {
                let (first, next) =
                    if place.dst.is_null() { (self.spare.cast_const(), 0) } else { of(&place) };
                to = list(to, first, place.count, |row| row.wrapping_add(next));
            }
            list(to, self.spare.cast_const(), end.offset_from_unsigned(to), |row| row);
        }
    }
}
