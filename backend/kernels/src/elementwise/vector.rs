//! Rows on vectors: runs along the innermost merged dimension, at the pace of memory where all strides there are 1 or 0.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Elementwise, Func, Problem};
use crate::epilogue::Act;
use crate::kernel::{Family, Kernel, Rates, Workspace};
use crate::nest::{Nest, gather, scatter};
use crate::simd::{self, MAX_LANES, Simd, math};

/// Sixteen lanes.
pub(super) const AVX512: Kernel<Elementwise> =
    Kernel { name: "avx512-runs", isa: Isa::AVX512, run: avx512, ns: |p, r| ns(p, r, 1.0), ..ROW };
/// Eight lanes.
pub(super) const AVX2: Kernel<Elementwise> =
    Kernel { name: "avx2-runs", isa: Isa::AVX2, run: avx2, ns: |p, r| ns(p, r, 2.0), ..ROW };
/// Eight lanes.
pub(super) const NEON: Kernel<Elementwise> =
    Kernel { name: "neon-runs", isa: Isa::NEON, run: neon, ns: |p, r| ns(p, r, 2.0), ..ROW };

const ROW: Kernel<Elementwise> = Kernel {
    name: "",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, r| ns(p, r, 1.0),
    phases: |_| 1,
    tiles: |p, _| p.dst.elements().div_ceil(TILE),
    workspace: |_| Workspace::default(),
    run: avx2,
};

/// Elements of a tile.
const TILE: usize = 16 * 1024;
/// Elements worked on at once: what lies strided is packed into buffers of this size.
const PIECE: usize = 512;

fn nest(p: &Problem) -> Nest<4> {
    let none = [0; tandem_base::strided::MAX_RANK];
    let src = |i: usize| p.src.get(i).map_or(&none[..], |shape| shape.strides());
    Nest::new(p.dst.sizes(), [p.dst.strides(), src(0), src(1), src(2)])
}

/// Prediction: traffic, arithmetic at `slower` times the widest vectors' time, and the runs' overhead.
fn ns(p: &Problem, rates: &Rates, slower: f64) -> f64 {
    let nest = nest(p);
    let (inner, strides) = nest.inner();
    let n = p.dst.elements() as f64;
    let heavy = |act: Act| match act {
        Act::None => 0.0,
        Act::Relu | Act::Clamp { .. } | Act::LeakyRelu { .. } => 0.5,
        Act::HardSwish | Act::HardSigmoid => 1.0,
        _ => 5.0,
    };
    let work = match p.func {
        Func::Act(act) => 1.0 + heavy(act),
        Func::Exp | Func::Log | Func::Sin | Func::Cos | Func::Erf => 5.0,
        Func::Pow | Func::PowScalar(_) => 100.0,
        _ => 1.0,
    } + heavy(p.act);
    let strided = strides.iter().filter(|s| **s > 1).count() as f64;
    let arithmetic = n * (work * slower / rates.vector_gelems + strided);
    rates.stream_ns(Elementwise::cost(p).bytes).max(arithmetic) + n / inner.max(1) as f64 * 4.0 + 100.0
}

simd::entries!(Problem, Args<'_>, run);

/// # Safety
/// The contract of [`crate::kernel::RunFn`], and the CPU has the vector's instructions.
#[inline(always)]
unsafe fn run<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let nest = nest(p);
    let range = tiles.start * TILE..(tiles.end * TILE).min(nest.elements());
    let mut packed = Packed([[0.0; PIECE]; 4]);
    let (inner, down) = (nest.inner().1, nest.row_strides());
    let direct = inner[..=p.src.len()].iter().all(|s| *s == 1);
    for block in nest.blocks(range) {
        // Short rows that need no packing go together, as many as a second pass finds in L1.
        let step = if direct { (4 * PIECE / block.len).max(1) } else { 1 };
        let piece = PIECE.min(block.len);
        for row in (0..block.rows).step_by(step) {
            for start in (0..block.len).step_by(piece) {
                let at = [0, 1, 2, 3].map(|o| block.at[o] + row * down[o] + start * inner[o]);
                let rows = step.min(block.rows - row);
                let len = piece.min(block.len - start);
                // SAFETY: `Elementwise::check` passed; offsets come from the problem's sizes.
                unsafe {
                    let to = args.dst.ptr().add(at[0]);
                    let packs = inner[0] != 1;
                    let first = if packs { packed.0[3].as_mut_ptr() } else { to };
                    let of = operands(p, args, &mut packed, &nest, at, len);
                    all::<V>(p, of, Rows { first, row: down[0], rows, len });
                    if packs {
                        scatter(first, to, inner[0], len);
                    }
                }
            }
        }
    }
}

/// Three operands and the destination, packed.
#[repr(align(64))]
struct Packed([[f32; PIECE]; 4]);

/// The operands from `at` on, where they lie or packed.
#[inline(always)]
unsafe fn operands(
    p: &Problem,
    args: &Args<'_>,
    Packed(packed): &mut Packed,
    nest: &Nest<4>,
    at: [usize; 4],
    len: usize,
) -> [Operand; 3] {
    let mut of = [Operand { first: packed[0].as_ptr(), step: 0, row: 0 }; 3];
    for i in 0..p.src.len() {
        let pack = packed[i].as_mut_ptr();
        // SAFETY: the caller's offsets lie inside the operands, `len` elements along the strides too.
        let (first, step) = unsafe {
            let src = args.src[i].ptr().add(at[i + 1]);
            match nest.inner().1[i + 1] {
                1 => (src, 1),
                0 => {
                    packed[i][..MAX_LANES].fill(*src);
                    (pack.cast_const(), 0)
                }
                stride => {
                    gather(src, stride, len, pack);
                    (pack.cast_const(), 1)
                }
            }
        };
        of[i] = Operand { first, step, row: nest.row_strides()[i + 1] };
    }
    of
}

/// First element, step (1, or 0: the element [`MAX_LANES`] times) and distance to the next row.
#[derive(Clone, Copy)]
struct Operand {
    first: *const f32,
    step: usize,
    row: usize,
}

/// Rows of the destination.
#[derive(Clone, Copy)]
struct Rows {
    first: *mut f32,
    row: usize,
    rows: usize,
    len: usize,
}

/// dst = act(func(x, y, z))
///
/// # Safety
/// As [`each`].
#[inline(always)]
unsafe fn all<V: Simd>(p: &Problem, mut of: [Operand; 3], dst: Rows) {
    // An activation as function is the first of two passes, and not even that where the second has it all.
    let mut acts = [Act::None, p.act];
    if let Func::Act(act) = p.func {
        acts = if p.act == Act::None { [Act::None, act] } else { [act, p.act] };
    } else {
        // SAFETY: the caller's.
        unsafe { compute::<V>(p.func, of, dst) }
        of[0] = Operand { first: dst.first, step: 1, row: dst.row };
    }
    let copies = matches!(p.func, Func::Act(Act::None));
    for act in acts {
        if act != Act::None || copies {
            // SAFETY: the caller's.
            unsafe { activate::<V>(act, of, dst) }
            of[0] = Operand { first: dst.first, step: 1, row: dst.row };
        }
    }
}

/// dst[i] = f(x[i], y[i], z[i]) over operands. A macro, not a function of a closure: a closure has no target features
/// of its own, and where it is not inlined every instruction in it becomes a call.
///
/// All elements of each operand can be read and all rows of `dst` written; `dst` is an operand or overlaps none.
macro_rules! each {
    ($V:ident, $x:ident, $dst:ident, [$($v:ident = $i:literal),+] => $f:expr) => {
        for row in 0..$dst.rows {
            let dst = $dst.first.add(row * $dst.row);
            let from = [$($x[$i].first.add(row * $x[$i].row)),+];
            for at in (0..$dst.len).step_by($V::LANES) {
                let left = $dst.len - at;
                let whole = left >= $V::LANES;
                $(
                    let here = from[$i].add(at * $x[$i].step);
                    let $v = if whole { $V::load(here) } else { $V::load_first(here, left) };
                )+
                let y = $f;
                if whole { y.store(dst.add(at)) } else { y.store_first(dst.add(at), left) }
            }
        }
    };
}

/// dst = act(x), with a loop of its own for each activation that is more than a few instructions.
///
/// # Safety
/// As [`each`].
#[inline(always)]
unsafe fn activate<V: Simd>(act: Act, of: [Operand; 3], dst: Rows) {
    macro_rules! loops {
        ($($pattern:pat => $act:expr),*) => {
            match act {
                $($pattern => each!(V, of, dst, [x = 0] => simd::curve($act, x)),)*
                Act::Relu => each!(V, of, dst, [x = 0] => simd::act(Act::Relu, x)),
                cheap => each!(V, of, dst, [x = 0] => simd::act(cheap, x)),
            }
        };
    }
    // SAFETY: the caller's.
    unsafe {
        loops!(
            Act::Gelu => Act::Gelu,
            Act::GeluTanh => Act::GeluTanh,
            Act::Silu => Act::Silu,
            Act::Sigmoid => Act::Sigmoid,
            Act::Tanh => Act::Tanh,
            Act::Elu { alpha } => Act::Elu { alpha },
            Act::Mish => Act::Mish,
            Act::Softplus => Act::Softplus
        )
    }
}

/// dst = func(x, y, z)
///
/// # Safety
/// As [`each`].
#[inline(always)]
unsafe fn compute<V: Simd>(func: Func, of: [Operand; 3], dst: Rows) {
    // SAFETY: the caller's.
    unsafe {
        match func {
            // `activate` is the caller's.
            Func::Act(_) => {}
            Func::Neg => each!(V, of, dst, [x = 0] => -x),
            Func::Abs => each!(V, of, dst, [x = 0] => x.abs()),
            Func::Exp => each!(V, of, dst, [x = 0] => math::exp(x)),
            Func::Log => each!(V, of, dst, [x = 0] => math::log(x)),
            Func::Sqrt => each!(V, of, dst, [x = 0] => x.sqrt()),
            Func::Rsqrt => each!(V, of, dst, [x = 0] => x.all(1.0) / x.sqrt()),
            Func::Reciprocal => each!(V, of, dst, [x = 0] => x.all(1.0) / x),
            Func::Square => each!(V, of, dst, [x = 0] => x * x),
            Func::Sin => each!(V, of, dst, [x = 0] => math::sin(x)),
            Func::Cos => each!(V, of, dst, [x = 0] => math::cos(x)),
            Func::Erf => each!(V, of, dst, [x = 0] => math::erf(x)),
            Func::Floor => each!(V, of, dst, [x = 0] => x.floor()),
            Func::Ceil => each!(V, of, dst, [x = 0] => x.ceil()),
            Func::Round => each!(V, of, dst, [x = 0] => x.round()),
            Func::Trunc => each!(V, of, dst, [x = 0] => x.trunc()),
            Func::Sign => each!(V, of, dst, [x = 0] => sign(x)),
            Func::PowScalar(a) => power::<V>(a, of, dst),
            Func::AddScalar(a) => each!(V, of, dst, [x = 0] => x + x.all(a)),
            Func::MulScalar(a) => each!(V, of, dst, [x = 0] => x * x.all(a)),
            Func::Add(1.0) => each!(V, of, dst, [x = 0, y = 1] => x + y),
            Func::Add(alpha) => each!(V, of, dst, [x = 0, y = 1] => y.mul_add(y.all(alpha), x)),
            Func::Sub(alpha) => each!(V, of, dst, [x = 0, y = 1] => y.neg_mul_add(y.all(alpha), x)),
            Func::Mul => each!(V, of, dst, [x = 0, y = 1] => x * y),
            Func::Div => each!(V, of, dst, [x = 0, y = 1] => x / y),
            Func::Max => each!(V, of, dst, [x = 0, y = 1] => x.select(x.nan(), x.max(y))),
            Func::Min => each!(V, of, dst, [x = 0, y = 1] => x.select(x.nan(), x.min(y))),
            Func::Pow => each!(V, of, dst, [x = 0, y = 1] => x.zip(y, f32::powf)),
            Func::MulAdd => each!(V, of, dst, [x = 0, y = 1, z = 2] => x.mul_add(y, z)),
        }
    }
}

/// 1, 0 or -1; 0 for NaN.
#[inline(always)]
fn sign<V: Simd>(x: V) -> V {
    let zero = x.all(0.0);
    x.all(1.0).select(zero.lt(x), x.all(-1.0).select(x.lt(zero), zero))
}

/// x^a, as products and roots for the exponents PyTorch treats so.
///
/// # Safety
/// As [`each`].
#[inline(always)]
unsafe fn power<V: Simd>(a: f32, of: [Operand; 3], dst: Rows) {
    // SAFETY: the caller's.
    unsafe {
        match a {
            0.5 => each!(V, of, dst, [x = 0] => x.sqrt()),
            2.0 => each!(V, of, dst, [x = 0] => x * x),
            3.0 => each!(V, of, dst, [x = 0] => x * x * x),
            -0.5 => each!(V, of, dst, [x = 0] => x.all(1.0) / x.sqrt()),
            -1.0 => each!(V, of, dst, [x = 0] => x.all(1.0) / x),
            -2.0 => each!(V, of, dst, [x = 0] => x.all(1.0) / (x * x)),
            _ => each!(V, of, dst, [x = 0] => x.map(|x| x.powf(a))),
        }
    }
}
