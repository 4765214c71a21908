//! What softmax and attention do to a row of neighbours: whole vectors first, then what is left.

use crate::simd::{Simd, load_padded, math};

/// Computes with every vector of `n` elements, `i` its first and `lanes` how many: a loop of whole vectors without a
/// branch, the rest once. A macro, since closures have no target features.
macro_rules! vectors {
    ($vector:ty, $n:expr, |$i:ident, $lanes:ident| $work:block) => {{
        let n = $n;
        let whole = n / <$vector>::LANES * <$vector>::LANES;
        for $i in (0..whole).step_by(<$vector>::LANES) {
            let $lanes = <$vector>::LANES;
            $work
        }
        if whole < n {
            let ($i, $lanes) = (whole, n - whole);
            $work
        }
    }};
}

/// The largest of `n` elements, -inf of none; any of them, or NaN, where one is NaN.
///
/// # Safety
/// `n` elements can be read; the CPU has the vector's instructions.
#[inline(always)]
pub unsafe fn largest<V: Simd>(x: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let mut all = [V::splat(f32::NEG_INFINITY); 4];
        let mut done = 0;
        while done + 4 * V::LANES <= n {
            for (j, all) in all.iter_mut().enumerate() {
                *all = V::load(x.add(done + j * V::LANES)).peak(*all);
            }
            done += 4 * V::LANES;
        }
        let x = x.add(done);
        vectors!(V, n - done, |i, lanes| {
            all[0] = load_padded::<V>(x.add(i), lanes, f32::NEG_INFINITY).peak(all[0]);
        });
        (all[0].peak(all[1])).peak(all[2].peak(all[3])).largest()
    }
}

/// dst = e^(factor * x - about), at most 1; returns the sum. Where `STORED` is not set, nothing is written.
///
/// # Safety
/// As [`largest`]; `n` elements of `dst` can be written.
#[inline(always)]
pub unsafe fn exponentials<V: Simd, const STORED: bool>(
    x: *const f32,
    dst: *mut f32,
    n: usize,
    [factor, about]: [f32; 2],
) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        if factor == 1.0 {
            return differences::<V, STORED, false>(x, dst, n, [factor, about]);
        }
        differences::<V, STORED, true>(x, dst, n, [factor, about])
    }
}

#[inline(always)]
unsafe fn differences<V: Simd, const STORED: bool, const SCALED: bool>(
    x: *const f32,
    dst: *mut f32,
    n: usize,
    [factor, about]: [f32; 2],
) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let (mut sum, factor, about) = (V::splat(0.0), V::splat(factor), V::splat(about));
        vectors!(V, n, |i, lanes| {
            let x = load_padded::<V>(x.add(i), lanes, f32::NEG_INFINITY);
            let e = math::exp_negative((if SCALED { x * factor } else { x }) - about);
            if STORED {
                e.store_first(dst.add(i), lanes);
            }
            sum = sum + e;
        });
        sum.sum()
    }
}

/// x *= factor
///
/// # Safety
/// As [`largest`]; the elements can be written.
#[inline(always)]
pub unsafe fn scale<V: Simd>(x: *mut f32, n: usize, factor: f32) {
    // SAFETY: the caller's.
    unsafe {
        let factor = V::splat(factor);
        vectors!(V, n, |i, lanes| {
            (V::load_first(x.add(i), lanes) * factor).store_first(x.add(i), lanes);
        });
    }
}

pub(crate) use vectors;
