//! A run of positions times columns, through the epilogue.

use super::finish::{Row, Stages, finish};
use super::{Product, Unit};
use crate::epilogue::{Epilogue, EpilogueArgs};
use crate::panels;
use crate::simd::Simd;

/// Where the unit reads rhs.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    /// Column 0, k 0.
    pub rhs: *const f32,
    /// Number of columns and of k.
    pub n: usize,
    pub k: usize,
    /// Elements from one k to the next and from one panel to the next (0 = one panel), columns of a panel.
    pub step: usize,
    pub panel: usize,
    pub width: usize,
    /// Whether these are the packed format's panels, the last of which may be narrow.
    pub packed: bool,
}

impl Columns {
    /// The packed format's.
    pub fn panels(rhs: *const f32, n: usize, k: usize) -> Self {
        let width = panels::PANEL;
        Self { rhs, n, k, step: width, panel: width * k, width, packed: true }
    }

    /// Columns `product.first..product.columns`; `first` is a multiple of a panel and of a group.
    ///
    /// # Safety
    /// As [`Unit::product`].
    unsafe fn multiply<U: Unit>(&self, product: &Product) {
        let Product { first, columns, .. } = *product;
        let product = Product { rhs_step: self.step, rhs_panel: self.panel, ..*product };
        // SAFETY: the caller's.
        unsafe {
            if self.panel == 0 {
                let (rhs, width) = (self.rhs.wrapping_add(first), columns - first);
                U::product(&Product { rhs, panels: 1, width, ..product });
                return;
            }
            let last = panels::width(self.n, (columns - 1) / panels::PANEL);
            let narrow = self.packed && last < panels::PANEL;
            let panels = (columns - first).div_ceil(self.width) - usize::from(narrow);
            let (rhs, width) = (self.rhs.add(first * self.k), self.width);
            if panels > 0 {
                let columns = columns.min(first + panels * width);
                U::product(&Product { rhs, panels, width, columns, ..product });
            }
            if narrow {
                let first = first + panels * width;
                let (rhs, width) = (self.rhs.add(first * self.k), panels::NARROW);
                U::product(&Product { rhs, rhs_step: width, panels: 1, width, first, ..product });
            }
        }
    }
}

/// Where some neighbouring positions go.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub count: usize,
    /// Column 0 of the first one and the distance to the next; null = nowhere.
    pub dst: *mut f32,
    pub next: usize,
    /// The same of the residual, and the distance of its columns.
    pub residual: usize,
    pub next_residual: usize,
    pub step: usize,
}

/// Writes `count` pointers `next` apart and returns where the following one goes.
///
/// # Safety
/// The table has room.
#[inline(always)]
pub(super) unsafe fn list<P: Copy>(
    table: *mut P,
    first: P,
    count: usize,
    mut go_on: impl FnMut(P) -> P,
) -> *mut P {
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
pub(super) struct Output<'a> {
    pub epilogue: &'a Epilogue,
    pub args: EpilogueArgs<'a>,
    pub alpha: f32,
    pub stages: &'a Stages,
    /// Table of as many rows as the product has.
    pub rows: *mut *mut f32,
    /// As many rows of sums as [`Stages::sums`] says.
    pub sums: *mut f32,
    /// A row of columns nobody wants.
    pub spare: *mut f32,
}

impl Output<'_> {
    /// Multiplies and finishes; `places` say where positions go, from the first one on. What they leave of the last
    /// group goes nowhere.
    ///
    /// # Safety
    /// As [`Unit::product`], and places lie inside the operands; the CPU has the vector's instructions.
    pub unsafe fn store<U: Unit, V: Simd>(
        &self,
        product: &Product,
        columns: &Columns,
        places: impl Iterator<Item = Place> + Clone,
    ) {
        let (all, n) = (self.stages.all(), columns.n);
        let chunk = self.stages.chunk(n);
        let bias = if all && self.epilogue.bias { self.args.bias.ptr() } else { std::ptr::null() };
        let product = Product { rows: self.rows, bias, clamp: self.stages.clamp(), ..*product };
        let rows = product.groups * 2 * U::lanes();
        let end = self.rows.wrapping_add(rows);
        // SAFETY: the caller's.
        unsafe {
            if all {
                let mut to = self.rows;
                for place in places {
                    let (first, next) =
                        if place.dst.is_null() { (self.spare, 0) } else { (place.dst, place.next) };
                    to = list(to, first, place.count, |row| row.wrapping_add(next));
                }
                list(to, self.spare, end.offset_from_unsigned(to), |row| row);
                columns.multiply::<U>(&Product { first: 0, columns: n, ..product });
                return;
            }
            for first in (0..n).step_by(chunk) {
                list(self.rows, self.sums.wrapping_sub(first), rows, |row| row.wrapping_add(chunk));
                let end = n.min(first + chunk);
                columns.multiply::<U>(&Product { first, columns: end, ..product });
                let mut sums = self.rows.cast_const();
                for place in places.clone() {
                    for i in 0..if place.dst.is_null() { 0 } else { place.count } {
                        let (dst, residual) = (
                            place.dst.wrapping_add(i * place.next),
                            place.residual + i * place.next_residual,
                        );
                        let row = Row { sums: *sums.add(i), dst, residual, step: place.step };
                        finish::<V>(self.epilogue, &self.args, self.alpha, &row, first..end);
                    }
                    sums = sums.add(place.count);
                }
            }
        }
    }
}
