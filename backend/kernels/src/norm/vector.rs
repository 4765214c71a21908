//! Rows on vectors: moments of pieces that stay in L1, joined in f64, then one pass that scales and shifts.
//!
//! A block (what is normalised together) that is large is cut into parts, a tile each: moments first, in a phase of
//! their own. Small blocks go through whole, several to a tile.

use std::ops::Range;

use tandem_base::strided::MAX_RANK;
use tandem_base::{Isa, SpanMut, Strided};

use super::scalar::shapes;
use super::{Args, Kind, Norm, Problem};
use crate::elementwise::offset;
use crate::epilogue::Act;
use crate::kernel::{Kernel, Rates, Refusal, Workspace};
use crate::nest::Nest;
use crate::product::part;
use crate::simd::{self, MAX_LANES, Simd, entries};

/// Elements whose moments are taken at once: they are read twice, the second time out of L1.
const PIECE: usize = 4096;
/// Elements of a part or of a tile of small blocks.
const TILE: usize = 32 << 10;
/// Shortest run along which vectors are worth while.
const SHORTEST: usize = 4;

/// Number, mean and sum of squared distances from it. Root mean squares keep their mean at 0.
#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    fn and(self, other: Self) -> Self {
        let n = self.n + other.n;
        if n == 0.0 {
            return self;
        }
        let apart = other.mean - self.mean;
        Self {
            n,
            mean: self.mean + apart * other.n / n,
            squares: self.squares + other.squares + apart * apart * self.n * other.n / n,
        }
    }
}

/// How a problem is walked.
struct Walk {
    /// One element per block, in the source and in the destination.
    blocks: [Strided; 2],
    /// A block's elements: source alone, and source, destination, scale and shift.
    read: Nest<1>,
    all: Nest<3>,
    /// Elements of a block.
    elements: usize,
    /// Parts of a block; 1 = small.
    parts: usize,
    /// Small blocks of a tile.
    together: usize,
}

impl Walk {
    fn new(p: &Problem) -> Self {
        let ((from, src), (to, dst)) = (shapes(p, &p.src), shapes(p, &p.dst));
        let parameters = match p.kind {
            Kind::Layer { .. } | Kind::Rms { .. } => Strided::contiguous(src.sizes()),
            Kind::Group { .. } => {
                let mut strides = [0; MAX_RANK];
                strides[1] = 1;
                Strided::new(src.sizes(), &strides[..src.rank()])
            }
        };
        let elements = src.elements();
        let parts = if elements >= 2 * TILE { elements / TILE } else { 1 };
        Self {
            blocks: [from, to],
            read: Nest::of([&src]),
            all: Nest::of([&src, &dst, &parameters]),
            elements,
            parts,
            together: (TILE / elements.max(1)).max(1),
        }
    }

    fn tiles(&self) -> usize {
        let blocks = self.blocks[0].elements();
        if self.parts > 1 { blocks * self.parts } else { blocks.div_ceil(self.together) }
    }
}

fn supports(p: &Problem) -> Result<(), Refusal> {
    if p.src.elements() == 0 {
        return Ok(());
    }
    let walk = Walk::new(p);
    let (len, [src, dst, parameter]) = walk.all.inner();
    match () {
        () if walk.elements == 1 => Ok(()),
        () if walk.read.inner().1 != [1] || [src, dst] != [1, 1] => Err("elements are not contiguous"),
        () if len < SHORTEST => Err("runs of few elements"),
        () if parameter > 1 => Err("scale runs across the source's order"),
        () => Ok(()),
    }
}

fn ns(p: &Problem, rates: &Rates, slower: f64) -> f64 {
    let n = p.dst.elements() as f64;
    // Large blocks are read twice from where they lie.
    let passes = if Walk::new(p).parts > 1 { 2.0 } else { 1.0 };
    (passes * rates.read_ns(4.0 * n)).max(n * 2.0 * slower / rates.vector_gelems) + 200.0
}

#[inline(always)]
unsafe fn run<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    phase: usize,
    tiles: Range<usize>,
    shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let walk = Walk::new(p);
    for tile in tiles {
        // SAFETY: `Norm::check` passed; parts of a block have a slot each, written a phase before they are read.
        unsafe {
            if walk.parts == 1 {
                let blocks = walk.blocks[0].elements();
                for block in tile * walk.together..blocks.min((tile + 1) * walk.together) {
                    let all = moments::<V>(p, args, &walk, block, 0..walk.elements);
                    apply::<V>(p, args, &walk, block, 0..walk.elements, all);
                }
                continue;
            }
            let (block, index) = (tile / walk.parts, tile % walk.parts);
            let range = part(walk.elements, walk.parts, index);
            let slots = shared.ptr().cast::<Moments>();
            if phase == 0 {
                slots.add(tile).write(moments::<V>(p, args, &walk, block, range));
            } else {
                let slots = (0..walk.parts).map(|i| slots.add(block * walk.parts + i).read());
                let all = slots.fold(Moments::default(), Moments::and);
                apply::<V>(p, args, &walk, block, range, all);
            }
        }
    }
}

/// Moments of some elements of a block.
///
/// # Safety
/// The block and the elements exist; the CPU has the vector's instructions.
#[inline(always)]
unsafe fn moments<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    walk: &Walk,
    block: usize,
    range: Range<usize>,
) -> Moments {
    let first = args.src.ptr().wrapping_add(offset(&walk.blocks[0], block));
    let centred = !matches!(p.kind, Kind::Rms { .. });
    let mut all = Moments::default();
    for start in range.clone().step_by(PIECE) {
        let piece = start..(start + PIECE).min(range.end);
        let n = piece.len() as f64;
        // SAFETY: the caller's.
        unsafe {
            let mean = if centred { f64::from(sum::<V>(&walk.read, first, &piece, None)) / n } else { 0.0 };
            let about = mean as f32;
            let squares = f64::from(sum::<V>(&walk.read, first, &piece, Some(about)));
            all = all.and(Moments { n, mean: f64::from(about), squares });
            // The mean's own rounding: distances were taken from `about`.
            let rest = mean - f64::from(about);
            all.mean += rest * n / all.n;
            all.squares -= rest * rest * n;
        }
    }
    all
}

/// Sum of x, or of (x - about)^2, over a piece.
///
/// # Safety
/// As [`moments`].
#[inline(always)]
unsafe fn sum<V: Simd>(read: &Nest<1>, first: *const f32, piece: &Range<usize>, about: Option<f32>) -> f32 {
    // SAFETY: the caller's; tails read `n` elements only.
    unsafe {
        let mut sums = [V::splat(0.0); 4];
        let mean = V::splat(about.unwrap_or(0.0));
        let means = [about.unwrap_or(0.0); MAX_LANES];
        for rows in read.blocks(piece.clone()) {
            for row in 0..rows.rows {
                let from = first.add(rows.at[0] + row * read.row_strides()[0]);
                let mut i = 0;
                while i + 4 * V::LANES <= rows.len {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        let x = V::load(from.add(i + j * V::LANES));
                        *sum = match about {
                            None => *sum + x,
                            Some(_) => (x - mean).mul_add(x - mean, *sum),
                        };
                    }
                    i += 4 * V::LANES;
                }
                while i < rows.len {
                    let n = (rows.len - i).min(V::LANES);
                    let x = V::load_first(from.add(i), n);
                    sums[0] = match about {
                        None => sums[0] + x,
                        Some(_) => {
                            let d = x - V::load_first(means.as_ptr(), n);
                            d.mul_add(d, sums[0])
                        }
                    };
                    i += n;
                }
            }
        }
        ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum()
    }
}

/// Normalises some elements of a block.
///
/// # Safety
/// As [`moments`].
#[inline(always)]
unsafe fn apply<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    walk: &Walk,
    block: usize,
    range: Range<usize>,
    all: Moments,
) {
    let base = match p.kind {
        Kind::Group { groups } => block % groups * (p.src.size(1) / groups),
        _ => 0,
    };
    let [from, to] = [0, 1].map(|i| offset(&walk.blocks[i], block));
    let row_strides = walk.all.row_strides();
    let along = walk.all.inner().1[2] == 1 && walk.elements > 1;
    let rstd = (1.0 / (all.squares / all.n + p.eps).sqrt()) as f32;
    for rows in walk.all.blocks(range) {
        for row in 0..rows.rows {
            let at = [0, 1, 2].map(|i| rows.at[i] + row * row_strides[i]);
            // SAFETY: the caller's; parameters are as many as `Norm::check` asked for.
            unsafe {
                let line = Line {
                    src: args.src.ptr().add(from + at[0]),
                    dst: args.dst.ptr().add(to + at[1]),
                    scale: p.scale.then(|| args.scale.ptr().add(base + at[2])),
                    shift: p.shift.then(|| args.shift.ptr().add(base + at[2])),
                    along,
                    len: rows.len,
                };
                line.apply::<V>(all.mean as f32, rstd, p.act);
            }
        }
    }
}

/// Contiguous elements and their parameters: one each, or one for all.
struct Line {
    src: *const f32,
    dst: *mut f32,
    scale: Option<*const f32>,
    shift: Option<*const f32>,
    along: bool,
    len: usize,
}

impl Line {
    #[inline(always)]
    unsafe fn apply<V: Simd>(&self, mean: f32, rstd: f32, act: Act) {
        // SAFETY: the caller's.
        unsafe {
            let (mean, rstd) = (V::splat(mean), V::splat(rstd));
            let one = |p: Option<*const f32>, none: f32| p.map_or(none, |p| *p);
            let scale = rstd * V::splat(if self.along { 1.0 } else { one(self.scale, 1.0) });
            let shift = V::splat(if self.along { 0.0 } else { one(self.shift, 0.0) });
            for i in (0..self.len).step_by(V::LANES) {
                let n = (self.len - i).min(V::LANES);
                let whole = n == V::LANES;
                macro_rules! load {
                    ($p:expr) => {
                        if whole { V::load($p.add(i)) } else { V::load_first($p.add(i), n) }
                    };
                }
                let mut y = (load!(self.src) - mean) * scale;
                if self.along {
                    if let Some(scale) = self.scale {
                        y = y * load!(scale);
                    }
                    if let Some(shift) = self.shift {
                        y = y + load!(shift);
                    }
                } else {
                    y = y + shift;
                }
                if act != Act::None {
                    y = simd::act(act, y);
                }
                if whole { y.store(self.dst.add(i)) } else { y.store_first(self.dst.add(i), n) }
            }
        }
    }
}

entries!(Problem, Args<'_>, run);

const ROW: Kernel<Norm> = Kernel {
    name: "",
    isa: Isa::SCALAR,
    supports,
    ns: |p, rates| ns(p, rates, 1.0),
    phases: |p| if Walk::new(p).parts > 1 { 2 } else { 1 },
    tiles: |p, _| Walk::new(p).tiles(),
    workspace: |p| {
        let walk = Walk::new(p);
        let slots = if walk.parts > 1 { walk.tiles() } else { 0 };
        Workspace { shared: slots * size_of::<Moments>(), per_worker: 0 }
    },
    run: avx2,
};

/// Sixteen lanes.
pub(super) const AVX512: Kernel<Norm> =
    Kernel { name: "avx512-moments", isa: Isa::AVX512, run: avx512, ..ROW };
/// Eight lanes.
pub(super) const AVX2: Kernel<Norm> =
    Kernel { name: "avx2-moments", isa: Isa::AVX2, ns: |p, rates| ns(p, rates, 2.0), run: avx2, ..ROW };
/// Eight lanes.
pub(super) const NEON: Kernel<Norm> =
    Kernel { name: "neon-moments", isa: Isa::NEON, ns: |p, rates| ns(p, rates, 2.0), run: neon, ..ROW };
