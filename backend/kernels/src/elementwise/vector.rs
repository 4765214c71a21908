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
    for (at, len) in nest.runs(range) {
        // SAFETY: `Elementwise::check` passed; offsets come from the problem's sizes.
        unsafe { along::<V>(p, args, &mut packed, nest.inner().1, at, len) }
    }
}

/// Three operands and the destination, packed.
#[repr(align(64))]
struct Packed([[f32; PIECE]; 4]);

/// One run of the innermost dimension, in pieces.
#[inline(always)]
unsafe fn along<V: Simd>(
    p: &Problem,
    args: &Args<'_>,
    Packed(packed): &mut Packed,
    strides: [usize; 4],
    at: [usize; 4],
    len: usize,
) {
    // SAFETY: the caller's offsets lie inside the operands, `len` elements along the strides too.
    unsafe {
        let src = |i: usize| args.src[i].ptr().add(at[i + 1]);
        for i in 0..p.src.len() {
            if strides[i + 1] == 0 {
                packed[i][..MAX_LANES].fill(*src(i));
            }
        }
        for start in (0..len).step_by(PIECE) {
            let n = PIECE.min(len - start);
            let mut operands = [(packed[0].as_ptr(), 0); 3];
            for i in 0..p.src.len() {
                operands[i] = match strides[i + 1] {
                    0 => (packed[i].as_ptr(), 0),
                    1 => (src(i).add(start), 1),
                    stride => {
                        gather(src(i).add(start * stride), stride, n, packed[i].as_mut_ptr());
                        (packed[i].as_ptr(), 1)
                    }
                };
            }
            let to = args.dst.ptr().add(at[0] + start * strides[0]);
            let dst = if strides[0] == 1 { to } else { packed[3].as_mut_ptr() };
            let first = match p.func {
                Func::Act(act) => act,
                func => {
                    compute::<V>(func, operands, dst, n);
                    operands[0] = (dst.cast_const(), 1);
                    Act::None
                }
            };
            for (i, act) in [first, p.act].into_iter().enumerate() {
                if act != Act::None || (i == 0 && matches!(p.func, Func::Act(_))) {
                    activate::<V>(act, operands, dst, n);
                    operands[0] = (dst.cast_const(), 1);
                }
            }
            if strides[0] != 1 {
                scatter(dst, to, strides[0], n);
            }
        }
    }
}

/// First element and step, 1 or 0 (the element [`MAX_LANES`] times).
type Operand = (*const f32, usize);

/// dst[i] = f(x[i], y[i], z[i]) over operands. A macro, not a function of a closure: a closure has no target features
/// of its own, and where it is not inlined every instruction in it becomes a call.
///
/// `n` elements of each operand of step 1 can be read and of `dst` written; `dst` is an operand or overlaps none.
macro_rules! each {
    ($V:ident, $x:ident, $dst:ident, $n:ident, [$($v:ident = $i:literal),+] => $f:expr) => {{
        let whole = $n - $n % $V::LANES;
        for at in (0..whole).step_by($V::LANES) {
            $(let $v = $V::load($x[$i].0.add(at * $x[$i].1));)+
            $f.store($dst.add(at));
        }
        if whole < $n {
            $(let $v = $V::load_first($x[$i].0.add(whole * $x[$i].1), $n - whole);)+
            $f.store_first($dst.add(whole), $n - whole);
        }
    }};
}

/// dst = act(x), a loop of its own for each activation.
///
/// # Safety
/// As [`each`].
#[inline(always)]
unsafe fn activate<V: Simd>(act: Act, of: [Operand; 3], dst: *mut f32, n: usize) {
    macro_rules! loops {
        ($($pattern:pat => $act:expr),*) => {
            match act { $($pattern => each!(V, of, dst, n, [x = 0] => simd::act($act, x)),)* }
        };
    }
    // SAFETY: the caller's.
    unsafe {
        loops!(
            Act::None => Act::None,
            Act::Relu => Act::Relu,
            Act::Clamp { lo, hi } => Act::Clamp { lo, hi },
            Act::Gelu => Act::Gelu,
            Act::GeluTanh => Act::GeluTanh,
            Act::Silu => Act::Silu,
            Act::Sigmoid => Act::Sigmoid,
            Act::Tanh => Act::Tanh,
            Act::HardSwish => Act::HardSwish,
            Act::HardSigmoid => Act::HardSigmoid,
            Act::LeakyRelu { slope } => Act::LeakyRelu { slope },
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
unsafe fn compute<V: Simd>(func: Func, of: [Operand; 3], dst: *mut f32, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        match func {
            // `activate` is the caller's.
            Func::Act(_) => {}
            Func::Neg => each!(V, of, dst, n, [x = 0] => -x),
            Func::Abs => each!(V, of, dst, n, [x = 0] => x.abs()),
            Func::Exp => each!(V, of, dst, n, [x = 0] => math::exp(x)),
            Func::Log => each!(V, of, dst, n, [x = 0] => math::log(x)),
            Func::Sqrt => each!(V, of, dst, n, [x = 0] => x.sqrt()),
            Func::Rsqrt => each!(V, of, dst, n, [x = 0] => x.all(1.0) / x.sqrt()),
            Func::Reciprocal => each!(V, of, dst, n, [x = 0] => x.all(1.0) / x),
            Func::Square => each!(V, of, dst, n, [x = 0] => x * x),
            Func::Sin => each!(V, of, dst, n, [x = 0] => math::sin(x)),
            Func::Cos => each!(V, of, dst, n, [x = 0] => math::cos(x)),
            Func::Erf => each!(V, of, dst, n, [x = 0] => math::erf(x)),
            Func::Floor => each!(V, of, dst, n, [x = 0] => x.floor()),
            Func::Ceil => each!(V, of, dst, n, [x = 0] => x.ceil()),
            Func::Round => each!(V, of, dst, n, [x = 0] => x.round()),
            Func::Trunc => each!(V, of, dst, n, [x = 0] => x.trunc()),
            Func::Sign => each!(V, of, dst, n, [x = 0] => sign(x)),
            Func::PowScalar(a) => power::<V>(a, of, dst, n),
            Func::AddScalar(a) => each!(V, of, dst, n, [x = 0] => x + x.all(a)),
            Func::MulScalar(a) => each!(V, of, dst, n, [x = 0] => x * x.all(a)),
            Func::Add(1.0) => each!(V, of, dst, n, [x = 0, y = 1] => x + y),
            Func::Add(alpha) => each!(V, of, dst, n, [x = 0, y = 1] => y.mul_add(y.all(alpha), x)),
            Func::Sub(alpha) => each!(V, of, dst, n, [x = 0, y = 1] => y.neg_mul_add(y.all(alpha), x)),
            Func::Mul => each!(V, of, dst, n, [x = 0, y = 1] => x * y),
            Func::Div => each!(V, of, dst, n, [x = 0, y = 1] => x / y),
            Func::Max => each!(V, of, dst, n, [x = 0, y = 1] => x.select(x.nan(), x.max(y))),
            Func::Min => each!(V, of, dst, n, [x = 0, y = 1] => x.select(x.nan(), x.min(y))),
            Func::Pow => each!(V, of, dst, n, [x = 0, y = 1] => x.zip(y, f32::powf)),
            Func::MulAdd => each!(V, of, dst, n, [x = 0, y = 1, z = 2] => x.mul_add(y, z)),
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
unsafe fn power<V: Simd>(a: f32, of: [Operand; 3], dst: *mut f32, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        match a {
            0.5 => each!(V, of, dst, n, [x = 0] => x.sqrt()),
            2.0 => each!(V, of, dst, n, [x = 0] => x * x),
            3.0 => each!(V, of, dst, n, [x = 0] => x * x * x),
            -0.5 => each!(V, of, dst, n, [x = 0] => x.all(1.0) / x.sqrt()),
            -1.0 => each!(V, of, dst, n, [x = 0] => x.all(1.0) / x),
            -2.0 => each!(V, of, dst, n, [x = 0] => x.all(1.0) / (x * x)),
            _ => each!(V, of, dst, n, [x = 0] => x.map(|x| x.powf(a))),
        }
    }
}
