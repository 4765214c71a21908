//! Rows on vectors: runs along the innermost merged dimension, at the pace of memory where all strides there are 1 or 0.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Elementwise, Func, Problem};
use crate::epilogue::Act;
use crate::kernel::{Family, Kernel, Rates, Workspace};
use crate::nest::{Nest, gather, scatter};
use crate::simd::{self, MAX_LANES, Simd, Work, math};

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
    let work = match p.func {
        Func::Act(act) => 1.0 + act.work(),
        Func::Exp | Func::Log | Func::Sin | Func::Cos | Func::Erf => 5.0,
        Func::Pow | Func::PowScalar(_) => 100.0,
        rare if rare.is_rare() => 100.0,
        _ => 1.0,
    } + p.act.work();
    let strided = strides.iter().filter(|s| **s > 1).count() as f64;
    // The rate is that of sums out of L2, of three operands: what reads less is quicker by as much.
    let plain = Elementwise::cost(p).bytes / (3 * size_of::<f32>()) as f64;
    let arithmetic = (plain + n * (work - 1.0)) * slower / rates.vector_gelems + n * strided;
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
/// As [`Each`].
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

/// A function of `N` operands, lane by lane.
trait Lanes<const N: usize>: Copy {
    /// Of a vector of each.
    fn of<V: Simd>(self, operands: [V; N]) -> V;
}

/// dst[i] = f(x[i], y[i], z[i]) over operands, of which the function takes the first `N`.
struct Each<F, const N: usize> {
    f: F,
    of: [Operand; 3],
    dst: Rows,
}

impl<const N: usize, F: Lanes<N>> Work for Each<F, N> {
    /// # Safety
    /// All elements of each operand can be read and all rows of `dst` written; `dst` is an operand or overlaps none.
    #[inline(always)]
    unsafe fn run<V: Simd>(self) {
        let Self { f, of, dst } = self;
        for row in 0..dst.rows {
            // SAFETY: the caller's.
            unsafe {
                let to = dst.first.add(row * dst.row);
                let mut from = [std::ptr::null(); N];
                for (from, of) in from.iter_mut().zip(&of) {
                    *from = of.first.add(row * of.row);
                }
                let mut x = [V::splat(0.0); N];
                for at in (0..dst.len).step_by(V::LANES) {
                    let left = dst.len - at;
                    for o in 0..N {
                        let here = from[o].add(at * of[o].step);
                        x[o] = if left >= V::LANES { V::load(here) } else { V::load_first(here, left) };
                    }
                    let y = f.of(x);
                    if left >= V::LANES { y.store(to.add(at)) } else { y.store_first(to.add(at), left) }
                }
            }
        }
    }
}

/// `dst = f(x, y, z)` as an [`Each`] of its own; the function may take one parameter. Not a closure: those have no
/// target features, and where one is not inlined every instruction in it becomes a call.
macro_rules! each {
    ($V:ident, $of:expr, $dst:expr, [$($x:ident),+] $(with $a:ident: $t:ty)? => $f:expr) => {{
        const N: usize = [$(stringify!($x)),+].len();
        #[derive(Clone, Copy)]
        struct F($($t)?);
        impl Lanes<N> for F {
            #[inline(always)]
            fn of<W: Simd>(self, [$($x),+]: [W; N]) -> W {
                let Self($($a)?) = self;
                $f
            }
        }
        $V::apart(Each { f: F($($a)?), of: $of, dst: $dst })
    }};
}

/// dst = act(x), with a loop of its own for each activation that is more than a few instructions.
///
/// # Safety
/// As [`Each`].
#[inline(always)]
unsafe fn activate<V: Simd>(act: Act, of: [Operand; 3], dst: Rows) {
    // SAFETY: the caller's.
    unsafe {
        match act {
            Act::Relu => each!(V, of, dst, [x] => simd::act(Act::Relu, x)),
            Act::Gelu => each!(V, of, dst, [x] => simd::curve(Act::Gelu, x)),
            Act::GeluTanh => each!(V, of, dst, [x] => simd::curve(Act::GeluTanh, x)),
            Act::Silu => each!(V, of, dst, [x] => simd::curve(Act::Silu, x)),
            Act::Sigmoid => each!(V, of, dst, [x] => simd::curve(Act::Sigmoid, x)),
            Act::Tanh => each!(V, of, dst, [x] => simd::curve(Act::Tanh, x)),
            Act::Elu { alpha } => {
                each!(V, of, dst, [x] with alpha: f32 => simd::curve(Act::Elu { alpha }, x))
            }
            Act::Mish => each!(V, of, dst, [x] => simd::curve(Act::Mish, x)),
            Act::Softplus => each!(V, of, dst, [x] => simd::curve(Act::Softplus, x)),
            cheap => each!(V, of, dst, [x] with cheap: Act => simd::act(cheap, x)),
        }
    }
}

/// dst = func(x, y, z)
///
/// # Safety
/// As [`Each`].
#[inline(always)]
unsafe fn compute<V: Simd>(func: Func, of: [Operand; 3], dst: Rows) {
    // SAFETY: the caller's.
    unsafe {
        match func {
            // `activate` is the caller's.
            Func::Act(_) => {}
            Func::Neg => each!(V, of, dst, [x] => -x),
            Func::Abs => each!(V, of, dst, [x] => x.abs()),
            Func::Exp => each!(V, of, dst, [x] => math::exp(x)),
            Func::Log => each!(V, of, dst, [x] => math::log(x)),
            Func::Sqrt => each!(V, of, dst, [x] => x.sqrt()),
            Func::Rsqrt => each!(V, of, dst, [x] => x.all(1.0) / x.sqrt()),
            Func::Reciprocal => each!(V, of, dst, [x] => x.all(1.0) / x),
            Func::Square => each!(V, of, dst, [x] => x * x),
            Func::Sin => each!(V, of, dst, [x] => math::sin(x)),
            Func::Cos => each!(V, of, dst, [x] => math::cos(x)),
            Func::Erf => each!(V, of, dst, [x] => math::erf(x)),
            Func::Log2 => one_by_one(of, dst, |x, _| x.log2()),
            Func::Log10 => one_by_one(of, dst, |x, _| x.log10()),
            Func::Log1p => one_by_one(of, dst, |x, _| x.ln_1p()),
            Func::Expm1 => one_by_one(of, dst, |x, _| x.exp_m1()),
            Func::Tan => one_by_one(of, dst, |x, _| x.tan()),
            Func::Asin => one_by_one(of, dst, |x, _| x.asin()),
            Func::Acos => one_by_one(of, dst, |x, _| x.acos()),
            Func::Atan => one_by_one(of, dst, |x, _| x.atan()),
            Func::Sinh => one_by_one(of, dst, |x, _| x.sinh()),
            Func::Cosh => one_by_one(of, dst, |x, _| x.cosh()),
            Func::Asinh => one_by_one(of, dst, |x, _| x.asinh()),
            Func::Acosh => one_by_one(of, dst, |x, _| x.acosh()),
            Func::Atanh => one_by_one(of, dst, |x, _| x.atanh()),
            Func::Floor => each!(V, of, dst, [x] => x.floor()),
            Func::Ceil => each!(V, of, dst, [x] => x.ceil()),
            Func::Round => each!(V, of, dst, [x] => x.round()),
            Func::Trunc => each!(V, of, dst, [x] => x.trunc()),
            Func::Sign => each!(V, of, dst, [x] => sign(x)),
            Func::PowScalar(a) => power::<V>(a, of, dst),
            Func::AddScalar(a) => each!(V, of, dst, [x] with a: f32 => x + x.all(a)),
            Func::MulScalar(a) => each!(V, of, dst, [x] with a: f32 => x * x.all(a)),
            Func::Add(1.0) => each!(V, of, dst, [x, y] => x + y),
            Func::Add(alpha) => each!(V, of, dst, [x, y] with alpha: f32 => y.mul_add(y.all(alpha), x)),
            Func::Sub(alpha) => each!(V, of, dst, [x, y] with alpha: f32 => y.neg_mul_add(y.all(alpha), x)),
            Func::Mul => each!(V, of, dst, [x, y] => x * y),
            Func::Div => each!(V, of, dst, [x, y] => x / y),
            Func::Max => each!(V, of, dst, [x, y] => x.select(x.nan(), x.max(y))),
            Func::Min => each!(V, of, dst, [x, y] => x.select(x.nan(), x.min(y))),
            Func::Atan2 => one_by_one(of, dst, f32::atan2),
            Func::Pow => one_by_one(of, dst, f32::powf),
            Func::MulAdd => each!(V, of, dst, [x, y, z] => x.mul_add(y, z)),
        }
    }
}

/// dst = f(x, y) with a function that knows no vectors; y is x where there is one operand.
///
/// # Safety
/// As [`Each`].
#[inline(never)]
unsafe fn one_by_one(of: [Operand; 3], dst: Rows, f: impl Fn(f32, f32) -> f32) {
    for row in 0..dst.rows {
        for i in 0..dst.len {
            // SAFETY: the caller's.
            unsafe {
                let [x, y] = [0, 1].map(|o| *of[o].first.add(row * of[o].row + i * of[o].step));
                *dst.first.add(row * dst.row + i) = f(x, y);
            }
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
/// As [`Each`].
#[inline(always)]
unsafe fn power<V: Simd>(a: f32, of: [Operand; 3], dst: Rows) {
    // SAFETY: the caller's.
    unsafe {
        match a {
            0.5 => each!(V, of, dst, [x] => x.sqrt()),
            2.0 => each!(V, of, dst, [x] => x * x),
            3.0 => each!(V, of, dst, [x] => x * x * x),
            -0.5 => each!(V, of, dst, [x] => x.all(1.0) / x.sqrt()),
            -1.0 => each!(V, of, dst, [x] => x.all(1.0) / x),
            -2.0 => each!(V, of, dst, [x] => x.all(1.0) / (x * x)),
            _ => one_by_one(of, dst, |x, _| x.powf(a)),
        }
    }
}
