//! How a convolution is cut: tiles, channel blocks, panels, and what lies where in the workspace.

use std::ops::Range;

use crate::conv::{MAX_SEGMENTS, Problem};
use crate::kernel::Workspace;
use crate::panels;

/// Outputs of a tile, per side.
pub(super) const TILE: usize = 4;
/// Inputs of a tile, per side.
pub(super) const PATCH: usize = 6;
/// Elements of a transformed tile.
pub(super) const FREQUENCIES: usize = PATCH * PATCH;
/// Elements of a filter.
pub(super) const TAPS: usize = 9;
/// Channels of a block of transformed inputs.
pub(super) const BLOCK: usize = 16;

/// f32 in a cache line, also a block.
const LINE: usize = 16;
/// Most tiles whose products a worker holds while chunks of filters pass.
const TOGETHER: usize = 64;
/// Most tiles multiplied with one read of the filters.
const GROUP: usize = 24;
/// Most bytes of transformed inputs a worker holds.
const INPUT_BYTES: usize = 512 << 10;
/// Most bytes of transformed filters all workers share.
const FILTER_BYTES: usize = 4 << 20;

/// What is transformed as a whole before the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// All filters, into shared memory; then each tile transforms a group of inputs, multiplies them with every panel
    /// and stores. For planes of many tiles.
    FiltersFirst,
    /// The inputs of a group, into shared memory; then each tile transforms one panel of filters, chunk by chunk,
    /// multiplies and stores. For planes of few tiles, where filters are most of the traffic.
    TilesFirst,
}

/// Channel blocks of one segment: `full` of 16 channels, then one of `tail` where that is not 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub full: usize,
    pub tail: usize,
}

/// A block of up to 16 channels of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub segment: usize,
    /// First channel in its segment.
    pub channel: usize,
    pub channels: usize,
    /// First channel of the concatenation: its row of the panels.
    pub row: usize,
}

/// The cut, a function of the problem and the row's panel width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub order: Order,
    /// Batch, rows and columns of tiles.
    pub grid: [usize; 3],
    /// Tiles multiplied together.
    pub group: usize,
    /// Channel blocks transformed and multiplied together.
    pub chunk: usize,
    /// Output channels.
    pub columns: usize,
    /// Columns of a full panel of transformed filters.
    pub width: usize,
    segments: [usize; MAX_SEGMENTS],
}

impl Plan {
    pub fn new(p: &Problem, width: usize) -> Self {
        let [oh, ow] = p.out_size();
        let mut segments = [0; MAX_SEGMENTS];
        for (channels, src) in segments.iter_mut().zip(&p.src) {
            *channels = src.size(1);
        }
        let mut plan = Self {
            order: Order::FiltersFirst,
            grid: [p.batch(), oh.div_ceil(TILE), ow.div_ceil(TILE)],
            group: 1,
            chunk: 0,
            columns: p.dst.size(1),
            width,
            segments,
        };
        plan.chunk = plan.blocks();
        let filters = FREQUENCIES * 4 * plan.channels() * panels::padded(plan.columns);
        if filters <= FILTER_BYTES && plan.tiles() > TOGETHER {
            let room = INPUT_BYTES / (FREQUENCIES * 4 * BLOCK * plan.blocks().max(1));
            // Few groups come in eights, so that threads share them evenly.
            let groups = plan.tiles().div_ceil(room.clamp(4, GROUP));
            let groups = if groups < 64 { groups.next_multiple_of(8) } else { groups };
            plan.group = plan.tiles().div_ceil(groups);
        } else {
            plan.order = Order::TilesFirst;
            if plan.panels() < 8 {
                plan.width = 16;
            }
            plan.group = plan.tiles().clamp(1, TOGETHER);
            plan.chunk = plan.blocks().min(8);
        }
        plan
    }

    /// The same with filters as the packed format's panels.
    pub fn with_panels(p: &Problem) -> Self {
        Self { width: panels::PANEL, ..Self::new(p, panels::PANEL) }
    }

    /// All tiles of the destination.
    pub fn tiles(&self) -> usize {
        self.grid.iter().product()
    }

    /// Batch, row and column of a tile's first output.
    pub fn origin(&self, tile: usize) -> [usize; 3] {
        let [_, rows, columns] = self.grid.map(|n| n as u32);
        let tile = tile as u32;
        let (line, x) = (tile / columns, tile % columns);
        [(line / rows) as usize, (line % rows) as usize * TILE, x as usize * TILE]
    }

    /// Input channels.
    pub fn channels(&self) -> usize {
        self.segments.iter().sum()
    }

    /// Channel blocks of all segments.
    pub fn blocks(&self) -> usize {
        self.segments.iter().map(|c| c.div_ceil(BLOCK)).sum()
    }

    /// Block `index`; behind the last one, an empty block at the end.
    pub fn block(&self, index: usize) -> Block {
        let (mut first, mut row) = (0, 0);
        for (segment, &channels) in self.segments.iter().enumerate() {
            let blocks = channels.div_ceil(BLOCK);
            if index < first + blocks {
                let channel = (index - first) * BLOCK;
                let channels = (channels - channel).min(BLOCK);
                return Block { segment, channel, channels, row: row + channel };
            }
            first += blocks;
            row += channels;
        }
        Block { segment: 0, channel: 0, channels: 0, row }
    }

    /// Blocks `range` as one run per segment.
    pub fn runs(&self, range: &Range<usize>) -> [Run; MAX_SEGMENTS] {
        let mut runs = [Run::default(); MAX_SEGMENTS];
        let mut first = 0;
        for (run, &channels) in runs.iter_mut().zip(&self.segments) {
            let full = first + channels / BLOCK;
            let last = first + channels.div_ceil(BLOCK);
            run.full = range.end.min(full).saturating_sub(range.start.max(first));
            if last > full && range.contains(&full) {
                run.tail = channels % BLOCK;
            }
            first = last;
        }
        runs
    }

    /// k rows of blocks `range`.
    pub fn rows(&self, range: &Range<usize>) -> Range<usize> {
        self.block(range.start).row..self.block(range.end).row
    }

    /// Words of `g` k of blocks `range`; every segment begins with a new one.
    pub fn words(&self, g: usize, range: &Range<usize>) -> Range<usize> {
        let word = |index: usize| {
            let (mut first, mut word) = (0, 0);
            for &channels in &self.segments {
                let blocks = channels.div_ceil(BLOCK);
                if index < first + blocks {
                    return word + (index - first) * BLOCK / g;
                }
                (first, word) = (first + blocks, word + channels.div_ceil(g));
            }
            word
        };
        word(range.start)..word(range.end)
    }

    /// Number of panels of transformed filters.
    pub fn panels(&self) -> usize {
        panels::padded(self.columns).div_ceil(self.width)
    }

    /// Width of panel `index`.
    pub fn panel_width(&self, index: usize) -> usize {
        (panels::padded(self.columns) - index * self.width).min(self.width)
    }

    /// Groups of tiles.
    pub fn groups(&self) -> usize {
        self.tiles().div_ceil(self.group)
    }

    /// Tiles of group `index`.
    pub fn group_tiles(&self, index: usize) -> Range<usize> {
        (index * self.group).min(self.tiles())..((index + 1) * self.group).min(self.tiles())
    }

    /// Chunks of channel blocks.
    pub fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let (blocks, chunk) = (self.blocks(), self.chunk.max(1));
        (0..blocks.div_ceil(chunk)).map(move |c| c * chunk..((c + 1) * chunk).min(blocks))
    }

    /// Elements between frequencies of transformed inputs `[block][tile][16]`.
    pub fn input_plane(&self) -> usize {
        odd_lines(self.blocks() * self.group * BLOCK)
    }

    /// Elements between frequencies of transformed filters `[row][width]`.
    pub fn filter_plane(&self, rows: usize, width: usize) -> usize {
        odd_lines(rows * width)
    }

    /// Elements between frequencies of products `[tile][width]`.
    pub fn product_plane(&self, width: usize) -> usize {
        odd_lines(self.group * width)
    }

    /// Elements of a shared panel of transformed filters.
    pub fn shared_panel(&self) -> usize {
        FREQUENCIES * self.filter_plane(self.channels(), self.width)
    }

    /// Memory wanted: shared is what is transformed first, a worker's is the rest and the products.
    pub fn workspace(&self) -> Workspace {
        let products = FREQUENCIES * self.product_plane(self.width);
        let inputs = FREQUENCIES * self.input_plane();
        let (shared, worker) = match self.order {
            Order::FiltersFirst => (self.panels() * self.shared_panel(), inputs),
            Order::TilesFirst => {
                let rows = self.channels().min(self.chunk * BLOCK);
                (inputs, FREQUENCIES * self.filter_plane(rows, self.width))
            }
        };
        Workspace { shared: shared * 4, per_worker: (worker + products) * 4 }
    }

    /// Phases of the task.
    pub fn phases(&self) -> usize {
        match self.order {
            Order::FiltersFirst => 2,
            Order::TilesFirst => 2 * self.groups(),
        }
    }

    /// Tiles of a phase of the task.
    pub fn phase_tiles(&self, phase: usize) -> usize {
        match (self.order, phase % 2) {
            (Order::FiltersFirst, 0) => self.panels() * self.blocks(),
            (Order::FiltersFirst, _) => self.groups(),
            (Order::TilesFirst, 0) => self.group_tiles(phase / 2).len(),
            (Order::TilesFirst, _) => self.panels(),
        }
    }
}

/// An odd number of cache lines: 36 planes so far apart fall into 36 different sets of a cache.
pub(super) fn odd_lines(elements: usize) -> usize {
    (elements.div_ceil(LINE) | 1) * LINE
}
