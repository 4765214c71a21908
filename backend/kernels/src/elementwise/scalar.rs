//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut, Strided};

use super::{Args, Elementwise, Func, Problem};
use crate::kernel::{Family, Kernel, Workspace};

/// The definition, for any strides.
pub(super) const ROW: Kernel<Elementwise> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: |_| Ok(()),
    ns: |p, _| Elementwise::cost(p).flops * 10.0,
    phases: |_| 1,
    tiles: |p, _| p.dst.elements().div_ceil(TILE),
    workspace: |_| Workspace::default(),
    run,
};

/// Elements of a tile.
const TILE: usize = 16 * 1024;

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn run(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    for tile in tiles {
        for index in tile * TILE..((tile + 1) * TILE).min(p.dst.elements()) {
            let mut x = [0f32; 3];
            for ((x, shape), src) in x.iter_mut().zip(&p.src).zip(&args.src) {
                // SAFETY: `Elementwise::check` passed and the index is below the number of elements.
                *x = unsafe { *src.ptr().add(offset(shape, index)) };
            }
            let value = p.act.eval(eval(p.func, x));
            // SAFETY: as above.
            unsafe { *args.dst.ptr().add(offset(&p.dst, index)) = value }
        }
    }
}

/// Offset of the element with row-major number `index`.
pub(crate) fn offset(shape: &Strided, mut index: usize) -> usize {
    let mut at = 0;
    for dim in (0..shape.rank()).rev() {
        at += index % shape.size(dim) * shape.stride(dim);
        index /= shape.size(dim);
    }
    at
}

/// The function by its definition.
pub(super) fn eval(func: Func, [x, y, z]: [f32; 3]) -> f32 {
    match func {
        Func::Act(act) => act.eval(x),
        Func::Neg => -x,
        Func::Abs => x.abs(),
        Func::Exp => x.exp(),
        Func::Log => x.ln(),
        Func::Sqrt => x.sqrt(),
        Func::Rsqrt => 1.0 / x.sqrt(),
        Func::Reciprocal => 1.0 / x,
        Func::Square => x * x,
        Func::Sin => x.sin(),
        Func::Cos => x.cos(),
        Func::Erf => libm::erff(x),
        Func::Log2 => x.log2(),
        Func::Log10 => x.log10(),
        Func::Log1p => x.ln_1p(),
        Func::Expm1 => x.exp_m1(),
        Func::Tan => x.tan(),
        Func::Asin => x.asin(),
        Func::Acos => x.acos(),
        Func::Atan => x.atan(),
        Func::Sinh => x.sinh(),
        Func::Cosh => x.cosh(),
        Func::Asinh => x.asinh(),
        Func::Acosh => x.acosh(),
        Func::Atanh => x.atanh(),
        Func::Floor => x.floor(),
        Func::Ceil => x.ceil(),
        Func::Round => x.round_ties_even(),
        Func::Trunc => x.trunc(),
        Func::Sign => f32::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
        Func::PowScalar(a) => x.powf(a),
        Func::AddScalar(a) => x + a,
        Func::MulScalar(a) => x * a,
        Func::Add(alpha) => x + alpha * y,
        Func::Sub(alpha) => x - alpha * y,
        Func::Mul => x * y,
        Func::Div => x / y,
        Func::Max if x.is_nan() => x,
        Func::Max => {
            if y > x || y.is_nan() {
                y
            } else {
                x
            }
        }
        Func::Min if x.is_nan() => x,
        Func::Min => {
            if y < x || y.is_nan() {
                y
            } else {
                x
            }
        }
        Func::Pow => x.powf(y),
        Func::Atan2 => x.atan2(y),
        Func::MulAdd => x * y + z,
    }
}
