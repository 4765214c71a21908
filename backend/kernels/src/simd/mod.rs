//! Vectors of f32 for kernels written once for every instruction set.
//!
//! A kernel is a function generic over [`Simd`], `#[inline(always)]` down to its last call (no closures around
//! vectors: they have no target features, and where they are not inlined every instruction becomes a call), and
//! instantiated in an entry point that carries the matching `#[target_feature]`; [`entries!`](crate::simd::entries) writes those.
//! A vector is a witness: constructors are unsafe and ask for the instructions, so whoever holds one may use the rest.

mod act;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use std::ops::{Add, BitAnd, BitOr, Div, Mul, Neg, Not, Range, Sub};

use crate::element::{bf16, f16};
use crate::epilogue::Act;
pub use act::act;
pub(crate) use act::curve;
#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
pub use scalar::Scalar;

/// No vector has more lanes.
pub const MAX_LANES: usize = 16;

/// A vector of f32.
///
/// # Safety
/// `LANES` is at most [`MAX_LANES`], and loads and stores touch exactly the elements they name.
pub unsafe trait Simd:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// Elements of a vector.
    const LANES: usize;

    /// A condition per lane.
    type Mask: Copy + BitAnd<Output = Self::Mask> + BitOr<Output = Self::Mask> + Not<Output = Self::Mask>;

    /// All lanes `x`.
    ///
    /// # Safety
    /// The CPU has the instructions of this vector.
    unsafe fn splat(x: f32) -> Self;

    /// `LANES` elements at any alignment.
    ///
    /// # Safety
    /// As [`Simd::splat`], and the elements can be read.
    unsafe fn load(from: *const f32) -> Self;

    /// The first `n` elements, `n` at most `LANES`; zeros behind.
    ///
    /// # Safety
    /// As [`Simd::load`], for `n` elements.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;

    /// Writes all lanes.
    ///
    /// # Safety
    /// `LANES` elements can be written.
    unsafe fn store(self, to: *mut f32);

    /// Writes the first `n` lanes, `n` at most `LANES`.
    ///
    /// # Safety
    /// `n` elements can be written.
    unsafe fn store_first(self, to: *mut f32, n: usize);

    /// `LANES` integers.
    ///
    /// # Safety
    /// As [`Simd::load`].
    unsafe fn load_i8(from: *const i8) -> Self;

    /// Writes all lanes, integers from -128 to 127.
    ///
    /// # Safety
    /// As [`Simd::store`].
    unsafe fn store_i8(self, to: *mut i8);

    /// `LANES` 16-bit floats.
    ///
    /// # Safety
    /// As [`Simd::load`].
    unsafe fn load_f16(from: *const f16) -> Self;

    /// Writes all lanes, each the nearest f16.
    ///
    /// # Safety
    /// As [`Simd::store`].
    unsafe fn store_f16(self, to: *mut f16);

    /// `LANES` 16-bit floats.
    ///
    /// # Safety
    /// As [`Simd::load`].
    unsafe fn load_bf16(from: *const bf16) -> Self;

    /// Writes all lanes, each the nearest bf16.
    ///
    /// # Safety
    /// As [`Simd::store`].
    unsafe fn store_bf16(self, to: *mut bf16);

    /// The first and the second of `LANES` pairs.
    ///
    /// # Safety
    /// As [`Simd::load`], of twice as many.
    unsafe fn load_f16_pairs(from: *const f16) -> [Self; 2];

    /// The first and the second of `LANES` pairs.
    ///
    /// # Safety
    /// As [`Simd::load`], of twice as many.
    unsafe fn load_bf16_pairs(from: *const bf16) -> [Self; 2];

    /// dst[c][r] = src[r][c] for `rows` x `cols` elements, each at most `LANES`; strides are between rows, in elements.
    ///
    /// # Safety
    /// As [`Simd::load`]; all named elements can be read, and written where they do not overlap what is read.
    unsafe fn transpose(src: (*const f32, usize), dst: (*mut f32, usize), rows: usize, cols: usize);

    /// All lanes `x`; `self` only proves that the instructions are there.
    fn all(self, x: f32) -> Self;

    /// self * a + b, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// b - self * a, rounded once.
    fn neg_mul_add(self, a: Self, b: Self) -> Self;
    /// The smaller; `other` where either is NaN.
    fn min(self, other: Self) -> Self;
    /// The larger; `other` where either is NaN.
    fn max(self, other: Self) -> Self;
    /// The larger; either, or NaN, where one is NaN.
    #[inline(always)]
    fn peak(self, other: Self) -> Self {
        self.max(other)
    }
    /// |self|
    fn abs(self) -> Self;
    /// |self| with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// Square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// Nearest integer, ties to even.
    fn round(self) -> Self;
    /// Largest integer not above.
    fn floor(self) -> Self;
    /// Smallest integer not below.
    fn ceil(self) -> Self;
    /// Integer part.
    fn trunc(self) -> Self;

    /// self < other; false where either is NaN.
    fn lt(self, other: Self) -> Self::Mask;
    /// self <= other; false where either is NaN.
    fn le(self, other: Self) -> Self::Mask;
    /// self == other; false where either is NaN.
    fn equal(self, other: Self) -> Self::Mask;
    /// Lanes that are NaN.
    fn nan(self) -> Self::Mask;
    /// `self` where the mask is set, `other` elsewhere.
    fn select(self, mask: Self::Mask, other: Self) -> Self;
    /// Whether any lane is set.
    fn any(mask: Self::Mask) -> bool;

    /// self * 2^n for integers -250 < n < 250 and |self| in [2^-100, 2^100], rounded once where subnormal.
    fn times_exp2(self, n: Self) -> Self;
    /// The number whose sign and exponent field are the lowest nine bits of `self`, its mantissa 1.
    fn exponent(self) -> Self;
    /// 0 where the mask is set, `self` elsewhere.
    fn unless(self, mask: Self::Mask) -> Self;
    /// Mantissa in [1, 2) and exponent of positive finite numbers, subnormal ones too.
    fn split(self) -> (Self, Self);

    /// Sum of the lanes, in an order of the vector's own.
    fn sum(self) -> f32;
    /// Largest lane; any lane where one is NaN.
    fn largest(self) -> f32;

    /// Whether products take k four at a time, by [`Simd::by_fours`].
    const FOURS: bool = false;

    /// sums[row][v] += lhs[row][i] * rhs[i][v] for the `i` of `steps` in order, a multiple of 4 and not none; `rhs` is
    /// the row of the first, others follow `stride` elements apart.
    ///
    /// # Safety
    /// As [`Simd::load`], for these elements of lhs and the columns of these rows of rhs; [`Simd::FOURS`].
    #[inline(always)]
    unsafe fn by_fours<const ROWS: usize, const VECTORS: usize>(
        _sums: &mut [[Self; VECTORS]; ROWS],
        _lhs: &[*const f32; ROWS],
        _steps: Range<usize>,
        _rhs: *const f32,
        _stride: usize,
    ) {
        unreachable!("these vectors take k one at a time")
    }

    /// An activation with an exponential, out of line; see [`act`].
    fn curve(self, act: Act) -> Self;

    /// Does a piece of work in a function of its own, compiled with the vector's instructions.
    ///
    /// # Safety
    /// As [`Work::run`].
    unsafe fn apart<W: Work>(work: W);

    /// `f` lane by lane, for what is rare.
    #[inline(always)]
    fn map(self, f: impl Fn(f32) -> f32) -> Self {
        let mut lanes = [0f32; MAX_LANES];
        // SAFETY: the array has room for any vector; `self` is the witness of the instructions.
        unsafe {
            self.store(lanes.as_mut_ptr());
            for lane in &mut lanes[..Self::LANES] {
                *lane = f(*lane);
            }
            Self::load(lanes.as_ptr())
        }
    }
}

/// Work written once for every vector and compiled apart ([`Simd::apart`]): functions of many loops take the compiler
/// minutes.
pub trait Work {
    /// Does it; `#[inline(always)]`, as every kernel.
    ///
    /// # Safety
    /// The CPU has the vector's instructions, and what the work asks.
    unsafe fn run<V: Simd>(self);
}

/// Writes [`Simd::apart`] for a vector.
macro_rules! apart {
    ($vector:ty $(, $features:literal)?) => {
        unsafe fn apart<W: $crate::simd::Work>(work: W) {
            #[inline(never)]
            $(#[target_feature(enable = $features)])?
            unsafe fn compiled<W: $crate::simd::Work>(work: W) {
                // SAFETY: the caller's; these are the vector's features.
                unsafe { work.run::<$vector>() }
            }
            // SAFETY: the caller's.
            unsafe { compiled(work) }
        }
    };
}
pub(crate) use apart;

/// The first `n` elements, at most `LANES`; `fill` behind.
///
/// # Safety
/// As [`Simd::load_first`].
#[inline(always)]
pub unsafe fn load_padded<V: Simd>(from: *const f32, n: usize, fill: f32) -> V {
    // SAFETY: the caller's; the array has room for any vector.
    unsafe {
        if n == V::LANES {
            return V::load(from);
        }
        let mut lanes = [fill; MAX_LANES];
        V::load_first(from, n).store_first(lanes.as_mut_ptr(), n);
        V::load(lanes.as_ptr())
    }
}

/// Writes the entry points of a generic kernel: `entries!(Problem, Args<'_>, run)` defines `avx512`, `avx2` and `neon`,
/// each a [`RunFn`](crate::kernel::RunFn) that calls `run::<V>` with the target features its vectors need.
macro_rules! entries {
    ($problem:ty, $args:ty, $run:ident) => {
        $crate::simd::entries!(
            avx512,
            Avx512,
            "x86_64",
            "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c",
            $problem,
            $args,
            $run
        );
        $crate::simd::entries!(avx2, Avx2, "x86_64", "avx2,fma,f16c", $problem, $args, $run);
        $crate::simd::entries!(neon, Neon, "aarch64", "neon", $problem, $args, $run);
    };
    ($name:ident, $vector:ident, $arch:literal, $features:literal, $problem:ty, $args:ty, $run:ident) => {
        /// # Safety
        /// The contract of [`crate::kernel::RunFn`].
        #[cfg_attr(target_arch = $arch, target_feature(enable = $features))]
        #[cfg_attr(not(target_arch = $arch), allow(unused_variables, dead_code))]
        unsafe fn $name(
            problem: &$problem,
            args: &$args,
            phase: usize,
            tiles: ::std::ops::Range<usize>,
            shared: ::tandem_base::SpanMut<'_, u8>,
            scratch: ::tandem_base::SpanMut<'_, u8>,
        ) {
            // SAFETY: the caller keeps the contract; this function's features are the vector's.
            #[cfg(target_arch = $arch)]
            unsafe {
                $run::<$crate::simd::$vector>(problem, args, phase, tiles, shared, scratch)
            }
            #[cfg(not(target_arch = $arch))]
            unreachable!("rows of another architecture are never bound")
        }
    };
}
pub(crate) use entries;
