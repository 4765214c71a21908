//! The driver: which tile of which phase transforms, multiplies and stores what.

use std::ops::Range;

use tandem_base::SpanMut;

use super::Costs;
use super::ahead::{Ahead, Cursor, List, Stream, Weights};
use super::plan::{BLOCK, FREQUENCIES, Order, PATCH, Plan, TILE};
use super::product::Product;
use super::transform::{Filters, Image, Output, Patch};
use crate::conv::{Args, MAX_SEGMENTS, Problem};
use crate::element::{Element, Format};
use crate::panels;

/// The inner loops of one instruction set.
pub(super) trait Engine: 'static {
    /// Columns of a full panel of transformed filters.
    const WIDTH: usize;
    /// Most tiles a product takes.
    const ROWS: usize;
    /// What its steps cost.
    const COSTS: Costs;
    unsafe fn input(patch: Patch<f32>, blocks: usize, dst: *mut f32, plane: usize, step: usize);
    unsafe fn gather<T: Element>(patch: Patch<T>, channels: usize, valid: &[Range<usize>; 2], dst: *mut f32);
    unsafe fn filter<T: Element>(filters: Filters<T>);
    /// dst[c][r] = src[r][c] of `rows` rows of 16; rows of the destination are as far apart as it says.
    unsafe fn turn(src: *const f32, dst: (*mut f32, usize), rows: usize);
    /// The product for `rows` of 1 to `ROWS` tiles and `width` of 16 or `WIDTH` columns.
    unsafe fn multiply(product: &Product<'_>, rows: usize, width: usize);
    unsafe fn output<T: Element>(output: &Output<T>);
}

/// Runs tiles of a phase; the contract is [`crate::kernel::RunFn`]'s.
pub(super) unsafe fn run<E: Engine, T: Element>(
    problem: &Problem,
    args: &Args<'_, T>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    scratch: SpanMut<'_, u8>,
) {
    let plan = Plan::new(problem, E::WIDTH);
    let job = Job { problem, args, plan, shared: shared.ptr().cast(), scratch: scratch.ptr().cast() };
    for tile in tiles {
        // SAFETY: the caller keeps `RunFn`'s contract; memory is as `Plan::workspace` says.
        unsafe {
            match (plan.order, phase % 2) {
                (Order::FiltersFirst, 0) => job.share_filters::<E>(tile),
                (Order::FiltersFirst, _) => job.group_with_all_panels::<E>(tile),
                (Order::TilesFirst, 0) => job.share_inputs::<E>(phase / 2, tile),
                (Order::TilesFirst, _) => job.panel_with_group::<E>(phase / 2, tile),
            }
        }
    }
}

pub(super) struct Job<'p, 'a, T> {
    pub problem: &'p Problem,
    pub args: &'p Args<'a, T>,
    pub plan: Plan,
    pub shared: *mut f32,
    pub scratch: *mut f32,
}

/// Pixels of the destination a tile covers: first row and column, and how many of each lie inside.
struct Place {
    batch: usize,
    origin: [usize; 2],
    size: [usize; 2],
}

impl<T: Element> Job<'_, '_, T> {
    fn place(&self, tile: usize) -> Place {
        let [batch, y, x] = self.plan.origin(tile);
        let [oh, ow] = self.problem.out_size();
        Place { batch, origin: [y, x], size: [(oh - y).min(TILE), (ow - x).min(TILE)] }
    }

    /// Transforms one channel block of one panel of filters.
    unsafe fn share_filters<E: Engine>(&self, tile: usize) {
        let plan = &self.plan;
        let (panel, block) = (tile / plan.blocks(), tile % plan.blocks());
        let width = plan.panel_width(panel);
        let rows = plan.rows(&(block..block + 1));
        // SAFETY: the block's rows of the panel lie inside the shared block and belong to this tile alone.
        unsafe {
            let dst = self.shared.add(panel * plan.shared_panel() + rows.start * width);
            let plane = plan.filter_plane(plan.channels(), width);
            E::filter(self.filters(panel, &(block..block + 1), dst, plane));
        }
    }

    /// Packed filters of channel blocks of a panel, to be transformed to `dst`: of one block, or where k is a word.
    pub(super) fn filters(
        &self,
        panel: usize,
        blocks: &Range<usize>,
        dst: *mut f32,
        plane: usize,
    ) -> Filters<T> {
        let (plan, g) = (&self.plan, T::PER_WORD);
        let (column, width) = (panel * plan.width, plan.panel_width(panel));
        let (words, all) = (plan.words(g, blocks), plan.words(g, &(0..plan.blocks())));
        let first = g * panels::index(self.problem.words(g), plan.columns, words.start, column);
        let src = self.args.weight.ptr().wrapping_add(first);
        let word = g * panels::width(plan.columns, column / panels::PANEL);
        let (rows, words) = (plan.rows(blocks).len(), words.len());
        Filters { src, tap: all.len() * word, word, dst, plane, width, rows, words }
    }

    /// The packed filters needed after a chunk: the panel's next, or the next panel's first.
    fn next_filters(&self, panel: usize, chunk: &Range<usize>) -> Option<Filters<T>> {
        let plan = &self.plan;
        let (panel, start) = if chunk.end < plan.blocks() { (panel, chunk.end) } else { (panel + 1, 0) };
        let next = start..(start + plan.chunk).min(plan.blocks());
        (panel < plan.panels()).then(|| self.filters(panel, &next, std::ptr::null_mut(), 0))
    }

    /// Transforms the inputs of a group, multiplies them with every panel and stores.
    unsafe fn group_with_all_panels<E: Engine>(&self, group: usize) {
        let plan = &self.plan;
        let tiles = plan.group_tiles(group);
        let (inputs, products) = (self.scratch, FREQUENCIES * plan.input_plane());
        // SAFETY: inputs and products lie one after the other in this worker's scratch; the filters are complete.
        unsafe {
            for (slot, tile) in tiles.clone().enumerate() {
                self.inputs::<E>(tile, inputs.add(slot * BLOCK), self.slots());
            }
            let products = self.scratch.add(products);
            for panel in 0..plan.panels() {
                let filters = self.shared.add(panel * plan.shared_panel());
                let mut cursors = self.cursors(group, panel, products_of::<E>(tiles.len()));
                let ahead = Ahead::Images(&mut cursors[..self.problem.src.len() + 1]);
                let operands = [inputs, filters, products];
                self.multiply::<E>(panel, 0..plan.blocks(), operands, tiles.len(), ahead);
                self.outputs::<E>(self.columns(panel), tiles.clone(), products, self.rows(panel));
            }
        }
    }

    /// Columns of a panel, with their padding.
    fn columns(&self, panel: usize) -> Range<usize> {
        let first = panel * self.plan.width;
        first..first + self.plan.panel_width(panel)
    }

    /// Distances of transformed inputs `[frequency][block][tile][16]` from one frequency and one block to the next.
    fn slots(&self) -> [usize; 2] {
        [self.plan.input_plane(), self.plan.group * BLOCK]
    }

    /// Distances of products `[frequency][tile][width]` from one frequency and one tile to the next.
    fn rows(&self, panel: usize) -> [usize; 2] {
        let width = self.plan.panel_width(panel);
        [self.plan.product_plane(width), width]
    }

    /// Transforms the inputs of one tile of a group.
    unsafe fn share_inputs<E: Engine>(&self, group: usize, slot: usize) {
        let tile = group * self.plan.group + slot;
        // SAFETY: the slot's lanes belong to this tile alone.
        unsafe { self.inputs::<E>(tile, self.shared.add(slot * BLOCK), self.slots()) }
    }

    /// Transforms one panel of filters, multiplies it with a group's inputs and stores.
    unsafe fn panel_with_group<E: Engine>(&self, group: usize, panel: usize) {
        let plan = &self.plan;
        let tiles = plan.group_tiles(group);
        let width = plan.panel_width(panel);
        let chunk_rows = plan.channels().min(plan.chunk * BLOCK);
        // SAFETY: filters and products lie one after the other in this worker's scratch; the inputs are complete.
        unsafe {
            let products = self.scratch.add(FREQUENCIES * plan.filter_plane(chunk_rows, plan.width));
            for chunk in plan.chunks() {
                let rows = plan.rows(&chunk);
                let plane = plan.filter_plane(rows.len(), width);
                for block in chunk.clone() {
                    let one = block..block + 1;
                    let dst = self.scratch.add((plan.rows(&one).start - rows.start) * width);
                    E::filter(self.filters(panel, &one, dst, plane));
                }
                let inputs = self.shared.add(chunk.start * plan.group * BLOCK);
                let steps = products_of::<E>(tiles.len());
                let next = self.next_filters(panel, &chunk).map(|filters| Weights { filters, steps });
                let operands = [inputs, self.scratch, products];
                self.multiply::<E>(panel, chunk, operands, tiles.len(), Ahead::Filters(next));
            }
            self.outputs::<E>(self.columns(panel), tiles, products, self.rows(panel));
        }
    }

    /// Transforms the inputs of one tile to `dst`, frequencies `plane` and blocks of channels `step` apart.
    pub(super) unsafe fn inputs<E: Engine>(&self, tile: usize, dst: *mut f32, [plane, step]: [usize; 2]) {
        let place = self.place(tile);
        let [top, left, ..] = self.problem.padding;
        let first = [place.origin[0] as isize - top as isize, place.origin[1] as isize - left as isize];
        let size = self.problem.in_size();
        let valid = [0, 1].map(|d| {
            let start = (-first[d]).max(0) as usize;
            let end = (size[d] as isize - first[d]).clamp(0, PATCH as isize) as usize;
            start..end
        });
        let interior = valid.iter().all(|v| *v == (0..PATCH));
        let (mut index, mut whole) = (0, [0.0; FREQUENCIES * BLOCK]);
        for (shape, span) in self.problem.src.iter().zip(&self.args.src) {
            let (row, pixel) = (shape.stride(2), shape.stride(3));
            let offset = (place.batch * shape.stride(0)) as isize
                + first[0] * row as isize
                + first[1] * pixel as isize;
            let patch = Patch { src: span.ptr().wrapping_offset(offset), row, pixel };
            let channels = shape.size(1);
            let full = if interior && T::FORMAT == Format::F32 { channels / BLOCK } else { 0 };
            // SAFETY: the patch is read where `valid` says it is inside; slots are this tile's alone.
            unsafe {
                let direct = Patch { src: patch.src.cast::<f32>(), row, pixel };
                E::input(direct, full, dst.add(index * step), plane, step);
                for block in full..channels.div_ceil(BLOCK) {
                    let src = patch.src.wrapping_add(block * BLOCK);
                    E::gather(Patch { src, ..patch }, channels - block * BLOCK, &valid, whole.as_mut_ptr());
                    let copy = Patch { src: whole.as_ptr(), row: PATCH * BLOCK, pixel: BLOCK };
                    E::input(copy, 1, dst.add((index + block) * step), plane, step);
                }
            }
            index += channels.div_ceil(BLOCK);
        }
    }

    /// The 36 products of a chunk; `[inputs, filters, products]` are at frequency 0.
    unsafe fn multiply<E: Engine>(
        &self,
        panel: usize,
        chunk: Range<usize>,
        [inputs, filters, products]: [*mut f32; 3],
        tiles: usize,
        mut ahead: Ahead<'_, T>,
    ) {
        let plan = &self.plan;
        let width = plan.panel_width(panel);
        let runs = plan.runs(&chunk);
        let filter_plane = plan.filter_plane(plan.rows(&chunk).len(), width);
        let parts = tiles.div_ceil(E::ROWS);
        let mut list = List::new();
        for f in 0..FREQUENCIES {
            for part in 0..parts {
                let (start, end) = (part * tiles / parts, (part + 1) * tiles / parts);
                list.clear();
                ahead.step(f * parts + part, &mut list);
                // SAFETY: planes and slots are as `Plan` lays them out.
                unsafe {
                    let product = Product {
                        lhs: inputs.add(f * plan.input_plane() + start * BLOCK),
                        step: plan.group * BLOCK,
                        rhs: filters.add(f * filter_plane),
                        dst: products.add(f * plan.product_plane(width) + start * width),
                        runs: &runs,
                        accumulate: chunk.start > 0,
                        ahead: list.as_slice(),
                    };
                    E::multiply(&product, end - start, width);
                }
            }
        }
    }

    /// The destination of a group's panel, then the panel's share of what the next group reads, segment by segment.
    fn cursors(&self, group: usize, panel: usize, steps: usize) -> [Cursor; MAX_SEGMENTS + 1] {
        let plan = &self.plan;
        std::array::from_fn(|index| {
            if (1..=self.problem.src.len()).contains(&index) {
                let part = [panel, plan.panels()];
                Cursor::new(self.read(index - 1), plan, &plan.group_tiles(group + 1), part, steps)
            } else {
                Cursor::new(self.written(panel), plan, &plan.group_tiles(group), [0, 1], steps)
            }
        })
    }

    /// The destination's columns of a panel.
    fn written(&self, panel: usize) -> Stream {
        let shape = &self.problem.dst;
        Stream {
            ptr: self.args.dst.ptr().cast_const().wrapping_add(panel * self.plan.width).cast(),
            strides: bytes::<T>(shape),
            channels: size_of::<T>() * self.plan.panel_width(panel),
            rows: TILE,
            height: shape.size(2),
            back: [0, 0],
        }
    }

    /// What source segment `index` gives beyond the tile to the left.
    fn read(&self, index: usize) -> Stream {
        let shape = &self.problem.src[index];
        let [top, left, ..] = self.problem.padding;
        Stream {
            ptr: self.args.src[index].ptr().wrapping_add((PATCH - TILE) * shape.stride(3)).cast(),
            strides: bytes::<T>(shape),
            channels: size_of::<T>() * shape.size(1),
            rows: PATCH,
            height: shape.size(2),
            back: [top, left],
        }
    }

    /// Transforms products of some columns back, frequencies `plane` and tiles `step` apart, and stores them through the
    /// epilogue.
    pub(super) unsafe fn outputs<E: Engine>(
        &self,
        columns: Range<usize>,
        tiles: Range<usize>,
        products: *const f32,
        [plane, step]: [usize; 2],
    ) {
        let (p, plan) = (self.problem, &self.plan);
        let column = columns.start;
        let e = &self.args.epilogue;
        // SAFETY: `Family::check` saw every operand reach what its shape says; columns are padded to panels.
        unsafe {
            let dst = |place: &Place| Image {
                ptr: self.args.dst.ptr().add(offset(&p.dst, place) + column),
                row: p.dst.stride(2),
                pixel: p.dst.stride(3),
            };
            let residual = |place: &Place| {
                p.epilogue.residual.map(|shape| Image {
                    ptr: e.residual.ptr().add(offset(&shape, place) + column),
                    row: shape.stride(2),
                    pixel: shape.stride(3),
                })
            };
            for (slot, tile) in tiles.enumerate() {
                let place = self.place(tile);
                E::output(&Output {
                    products: products.add(slot * step),
                    plane,
                    columns: (plan.columns - column).min(columns.len()),
                    size: place.size,
                    dst: dst(&place),
                    residual: residual(&place),
                    bias: p.epilogue.bias.then(|| e.bias.ptr().add(column)),
                    scale_shift: p
                        .epilogue
                        .scale_shift
                        .then(|| (e.scale.ptr().add(column), e.shift.ptr().add(column))),
                    act: p.epilogue.act,
                    act2: p.epilogue.act2,
                });
            }
        }
    }
}

/// Strides of batch, row and pixel, in bytes.
fn bytes<T>(shape: &tandem_base::Strided) -> [usize; 3] {
    [0, 2, 3].map(|d| size_of::<T>() * shape.stride(d))
}

/// Number of products of a group of `tiles`.
fn products_of<E: Engine>(tiles: usize) -> usize {
    FREQUENCIES * tiles.div_ceil(E::ROWS)
}

/// Offset of a tile's first pixel, channel 0.
fn offset(shape: &tandem_base::Strided, place: &Place) -> usize {
    place.batch * shape.stride(0) + place.origin[0] * shape.stride(2) + place.origin[1] * shape.stride(3)
}
