//! How queries are cut to groups, and which is where when.

use std::ops::Range;

use super::super::Problem;
use super::super::blocked::{KEYS, Sizes};

/// Scores of a group, about: of several short blocks of queries, or of one cut to that length.
pub(super) const SCORES: usize = 64 << 10;
/// Queries of a tile of a unit: a multiple of its groups of positions at up to 512 bits.
pub(super) const UNIT_ROWS: usize = 32;
/// Scores of a tile of cores.
const CORE_SCORES: usize = 4 << 10;

/// What is done to a group, in the order of a phase's tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    /// Queries times keys.
    Score,
    /// Weights times values, added up over blocks of keys and divided by the weights' sum behind the last.
    Sum,
    /// Scores to weights.
    Weigh,
}

impl Stage {
    pub const ALL: [Self; 3] = [Self::Score, Self::Sum, Self::Weigh];

    /// Phases behind the packing in which group 0 is there.
    pub fn first_phase(self) -> usize {
        match self {
            Self::Score => 1,
            Self::Weigh => 2,
            Self::Sum => 3,
        }
    }
}

/// How queries are cut, a function of the problem only: to blocks of one head's, several of which are a group where they have
/// few scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Blocks of all heads.
    blocks: usize,
    /// Blocks of a group.
    pub together: usize,
    /// Groups that take turns: all see a block of keys, then all the next. A group's turn comes no sooner than when its last
    /// one is through, as maxima that grow shrink what was added up.
    turns: usize,
    key_blocks: usize,
    /// Queries of a tile of units and of cores.
    rows: [usize; 2],
}

impl Cut {
    /// Groups of about so many scores, and the sizes with the queries of a block. No size is 0.
    pub fn new(p: &Problem, scores: usize) -> (Self, Sizes) {
        let whole = Sizes::with_blocks(p, 1);
        let (keys, key_blocks) = (whole.keys.min(KEYS), whole.key_blocks());
        let most = (scores / keys / UNIT_ROWS).max(1) * UNIT_ROWS;
        let even = whole.queries.div_ceil(whole.queries.div_ceil(most)).next_multiple_of(UNIT_ROWS);
        let sizes = Sizes { block: even.min(whole.queries), ..whole };
        let blocks = sizes.batch * sizes.heads * sizes.query_blocks();
        let together = if key_blocks > 1 { 1 } else { (scores / (sizes.block * keys)).clamp(1, blocks) };
        let groups = blocks.div_ceil(together);
        let turns = if key_blocks > 1 { sizes.query_blocks().max(2) } else { groups };
        let rows = [UNIT_ROWS, (CORE_SCORES / keys).clamp(1, sizes.block)];
        (Self { blocks, together, turns, key_blocks, rows }, sizes)
    }

    /// Groups times blocks of keys, with the turns that some leave out.
    pub fn positions(&self) -> usize {
        self.blocks.div_ceil(self.together).next_multiple_of(self.turns) * self.key_blocks
    }

    /// The blocks at a position, and of which keys.
    pub fn group(&self, position: usize) -> (Range<usize>, usize) {
        let (round, turn) = (position / self.turns / self.key_blocks, position % self.turns);
        let first = (round * self.turns + turn) * self.together;
        let blocks = first.min(self.blocks)..(first + self.together).min(self.blocks);
        (blocks, position / self.turns % self.key_blocks)
    }

    /// Queries of a tile.
    pub fn rows(&self, stage: Stage) -> usize {
        self.rows[usize::from(stage == Stage::Weigh)]
    }
}
