//! Accuracy of the functions against f64 over a sweep of all bit patterns, their special values, loads and stores.

use tandem_base::Isa;

#[cfg(target_arch = "aarch64")]
use super::Neon;
#[cfg(target_arch = "x86_64")]
use super::{Avx2, Avx512};
use super::{MAX_LANES, Scalar, Simd, act, math};
use crate::epilogue::Act;

#[derive(Clone, Copy, Debug)]
enum Func {
    Exp,
    ExpNegative,
    Expm1,
    Log,
    Log1p,
    Sin,
    Cos,
    Erf,
    Act(Act),
}

#[inline(always)]
fn eval<V: Simd>(f: Func, x: V) -> V {
    match f {
        Func::Exp => math::exp(x),
        Func::ExpNegative => math::exp_negative(x),
        Func::Expm1 => math::expm1(x),
        Func::Log => math::log(x),
        Func::Log1p => math::log1p_positive(x),
        Func::Sin => math::sin(x),
        Func::Cos => math::cos(x),
        Func::Erf => math::erf(x),
        Func::Act(a) => act(a, x),
    }
}

fn reference(f: Func, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    let softplus = if x > 20.0 { x } else { x.exp().ln_1p() };
    match f {
        Func::Exp | Func::ExpNegative => x.exp(),
        Func::Expm1 => x.exp_m1(),
        Func::Log => x.ln(),
        Func::Log1p => x.ln_1p(),
        Func::Sin => x.sin(),
        Func::Cos => x.cos(),
        Func::Erf => libm::erf(x),
        Func::Act(Act::Gelu) => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Func::Act(Act::GeluTanh) => {
            let c = (2.0 / std::f64::consts::PI).sqrt();
            0.5 * x * (1.0 + (c * (x + 0.044715 * x * x * x)).tanh())
        }
        Func::Act(Act::Silu) => x * sigmoid,
        Func::Act(Act::Sigmoid) => sigmoid,
        Func::Act(Act::Tanh) => x.tanh(),
        Func::Act(Act::HardSwish) => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Func::Act(Act::HardSigmoid) => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Func::Act(Act::Elu { alpha }) if x < 0.0 => f64::from(alpha) * x.exp_m1(),
        Func::Act(Act::Elu { .. }) => x,
        Func::Act(Act::LeakyRelu { slope }) if x < 0.0 => f64::from(slope) * x,
        Func::Act(Act::LeakyRelu { .. }) => x,
        Func::Act(Act::Mish) => x * softplus.tanh(),
        Func::Act(Act::Softplus) => softplus,
        Func::Act(Act::None | Act::Relu | Act::Clamp { .. }) => unreachable!("tested by value"),
    }
}

#[inline(always)]
unsafe fn apply<V: Simd>(f: Func, x: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks(V::LANES).zip(y.chunks_mut(V::LANES)) {
        // SAFETY: as many elements as the chunk has.
        unsafe { eval(f, V::load_first(x.as_ptr(), x.len())).store_first(y.as_mut_ptr(), y.len()) }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn avx512(f: Func, x: &[f32], y: &mut [f32]) {
    // SAFETY: this function has the vector's features.
    unsafe { apply::<Avx512>(f, x, y) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2(f: Func, x: &[f32], y: &mut [f32]) {
    // SAFETY: this function has the vector's features.
    unsafe { apply::<Avx2>(f, x, y) }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn neon(f: Func, x: &[f32], y: &mut [f32]) {
    // SAFETY: this function has the vector's features.
    unsafe { apply::<Neon>(f, x, y) }
}

/// f(x) on every vector this machine has, by name.
fn on_every_vector(f: Func, x: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let mut out = vec![("scalar", vec![0.0; x.len()])];
    // SAFETY: one lane needs nothing.
    unsafe { apply::<Scalar>(f, x, &mut out[0].1) }
    #[cfg(target_arch = "x86_64")]
    {
        let mut y = vec![0.0; x.len()];
        if Isa::detect().has(Isa::AVX2) {
            // SAFETY: the CPU has AVX2.
            unsafe { avx2(f, x, &mut y) }
            out.push(("avx2", y.clone()));
        }
        if Isa::detect().has(Isa::AVX512) {
            // SAFETY: the CPU has AVX-512.
            unsafe { avx512(f, x, &mut y) }
            out.push(("avx512", y));
        }
    }
    #[cfg(target_arch = "aarch64")]
    if Isa::detect().has(Isa::NEON) {
        out.push(("neon", vec![0.0; x.len()]));
        // SAFETY: the CPU has NEON.
        unsafe { neon(f, x, &mut out[1].1) }
    }
    out
}

/// Distance between neighbouring f32 around `x`.
fn ulp(x: f64) -> f64 {
    let exponent = x.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
    (exponent - 23.0).exp2()
}

/// Every `step`-th bit pattern that `keep` takes.
fn sweep(step: usize, keep: impl Fn(f32) -> bool) -> Vec<f32> {
    (0..=u32::MAX).step_by(step).map(f32::from_bits).filter(|x| x.is_finite() && keep(*x)).collect()
}

/// The largest error over the sweep stays within `bound` ulp of `scale(x, y)`, on every vector.
fn within(f: Func, bound: f64, keep: impl Fn(f32) -> bool, scale: impl Fn(f64, f64) -> f64) {
    let x = sweep(4093, keep);
    for (name, y) in on_every_vector(f, &x) {
        let mut worst = (0.0, 0.0f32, 0.0f32);
        for (&x, &y) in x.iter().zip(&y) {
            let want = reference(f, f64::from(x));
            if want.abs() >= f64::from(f32::MAX) {
                // The neighbourhood of overflow: the largest number or infinity.
                assert!(
                    f64::from(y.abs()) >= f64::from(f32::MAX) * (1.0 - 4e-7),
                    "{f:?} on {name}: {x} gave {y}"
                );
                continue;
            }
            let error = (f64::from(y) - want).abs() / ulp(scale(f64::from(x), want));
            if error > worst.0 || error.is_nan() {
                worst = (error, x, y);
            }
            assert!(!error.is_nan(), "{f:?} on {name}: {x} gave {y}, not {want}");
        }
        eprintln!("{f:?} {name}: {:.2} ulp at {} (gave {})", worst.0, worst.1, worst.2);
        assert!(worst.0 <= bound, "{f:?} on {name}: {} ulp at {}, gave {}", worst.0, worst.1, worst.2);
    }
}

fn result(_: f64, y: f64) -> f64 {
    y
}

#[test]
fn elementary_functions() {
    within(Func::Exp, 1.0, |_| true, result);
    // What is no normal number is 0: an error of at most the smallest.
    within(Func::ExpNegative, 2.0, |x| (-87.336..=0.0).contains(&x), result);
    within(Func::Expm1, 2.0, |_| true, result);
    within(Func::Log, 1.0, |x| x > 0.0, result);
    within(Func::Log1p, 2.0, |x| x >= 0.0, result);
    within(Func::Erf, 2.0, |_| true, result);
    // Close to a zero other than 0, what remains of the argument's own rounding counts: 2^-24 absolute.
    within(Func::Sin, 2.0, |_| true, |x, y| y.abs().max(x.abs().min(0.25)));
    within(Func::Cos, 2.0, |_| true, |_, y| y.abs().max(0.25));
}

#[test]
fn activations() {
    // Where e^-x overflows f32, the result is 0 instead of something below 1e-36.
    let normal = |_: f64, y: f64| y.abs().max(1e-30);
    within(Func::Act(Act::Sigmoid), 3.0, |_| true, normal);
    within(Func::Act(Act::Tanh), 3.0, |_| true, result);
    within(Func::Act(Act::Silu), 4.0, |_| true, normal);
    within(Func::Act(Act::Elu { alpha: 0.7 }), 3.0, |_| true, result);
    within(Func::Act(Act::LeakyRelu { slope: 0.01 }), 0.5, |_| true, result);
    within(Func::Act(Act::Mish), 5.0, |_| true, normal);
    within(Func::Act(Act::Softplus), 3.0, |_| true, result);
    within(Func::Act(Act::HardSigmoid), 2.0, |_| true, |_, y| y.abs().max(0.5));
    within(Func::Act(Act::HardSwish), 2.0, |_| true, |x, _| x);
    // 1 + erf cancels below zero, as in PyTorch: the error is one of the factor x.
    within(Func::Act(Act::Gelu), 2.0, |_| true, |x, _| x);
    within(Func::Act(Act::GeluTanh), 2.0, |_| true, |x, _| x);
}

#[test]
fn special_values() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let tiny = f32::from_bits(1);
    let cases: &[(Func, f32, f32)] = &[
        (Func::Exp, inf, inf),
        (Func::Exp, -inf, 0.0),
        (Func::Exp, -0.0, 1.0),
        (Func::Exp, 88.72283, 3.402_798_5e38),
        (Func::Exp, 88.73, inf),
        (Func::Exp, -103.2, tiny),
        (Func::Exp, -104.5, 0.0),
        (Func::ExpNegative, 0.0, 1.0),
        (Func::ExpNegative, -0.0, 1.0),
        (Func::ExpNegative, -87.34, 0.0),
        (Func::ExpNegative, -1e30, 0.0),
        (Func::ExpNegative, f32::MIN, 0.0),
        (Func::ExpNegative, -inf, 0.0),
        (Func::Expm1, -inf, -1.0),
        (Func::Expm1, inf, inf),
        (Func::Log, 0.0, -inf),
        (Func::Log, -0.0, -inf),
        (Func::Log, -1.0, nan),
        (Func::Log, -inf, nan),
        (Func::Log, inf, inf),
        (Func::Log, 1.0, 0.0),
        (Func::Log, tiny, -103.27893),
        (Func::Log1p, inf, inf),
        (Func::Erf, inf, 1.0),
        (Func::Erf, -inf, -1.0),
        (Func::Erf, -0.0, -0.0),
        (Func::Sin, inf, nan),
        (Func::Cos, inf, nan),
        (Func::Sin, -0.0, -0.0),
        (Func::Act(Act::Relu), -0.0, -0.0),
        (Func::Act(Act::Relu), -1.0, 0.0),
        (Func::Act(Act::Relu), 2.5, 2.5),
        (Func::Act(Act::Clamp { lo: -1.0, hi: 6.0 }), inf, 6.0),
        (Func::Act(Act::Clamp { lo: -1.0, hi: 6.0 }), -7.0, -1.0),
        (Func::Act(Act::Clamp { lo: -inf, hi: inf }), 3.0, 3.0),
        (Func::Act(Act::Sigmoid), -inf, 0.0),
        (Func::Act(Act::Sigmoid), inf, 1.0),
        (Func::Act(Act::Tanh), -inf, -1.0),
        (Func::Act(Act::Tanh), -0.0, -0.0),
        (Func::Act(Act::Silu), inf, inf),
        (Func::Act(Act::Silu), -inf, nan),
        (Func::Act(Act::Gelu), inf, inf),
        (Func::Act(Act::GeluTanh), inf, inf),
        (Func::Act(Act::Mish), inf, inf),
        (Func::Act(Act::Softplus), inf, inf),
        (Func::Act(Act::Softplus), -inf, 0.0),
        (Func::Act(Act::Elu { alpha: 0.5 }), -inf, -0.5),
        (Func::Act(Act::HardSwish), inf, inf),
    ];
    for &(f, x, want) in cases {
        for (name, y) in on_every_vector(f, &[x; 17]) {
            for y in y {
                assert!(
                    y.to_bits() == want.to_bits() || (y.is_nan() && want.is_nan()),
                    "{f:?}({x}) on {name}: {y}, not {want}"
                );
            }
        }
    }
    let acts = [
        Act::None,
        Act::Relu,
        Act::Clamp { lo: 0.0, hi: 6.0 },
        Act::Gelu,
        Act::GeluTanh,
        Act::Silu,
        Act::Sigmoid,
        Act::Tanh,
        Act::HardSwish,
        Act::HardSigmoid,
        Act::LeakyRelu { slope: 0.1 },
        Act::Elu { alpha: 1.0 },
        Act::Mish,
        Act::Softplus,
    ];
    let elementary =
        [Func::Exp, Func::ExpNegative, Func::Expm1, Func::Log, Func::Log1p, Func::Sin, Func::Cos, Func::Erf];
    for f in acts.map(Func::Act).into_iter().chain(elementary) {
        for (name, y) in on_every_vector(f, &[nan, 1.0, nan]) {
            assert!(y[0].is_nan() && !y[1].is_nan() && y[2].is_nan(), "{f:?} of NaN on {name}: {y:?}");
        }
        let Func::Act(a) = f else { continue };
        for x in [-3.5f32, -0.25, 0.75, 7.0] {
            for (name, y) in on_every_vector(f, &[x]) {
                let want = a.eval(x);
                assert!((y[0] - want).abs() <= 4e-7 * x.abs(), "{a:?}({x}) on {name}: {}, not {want}", y[0]);
            }
        }
    }
}

/// Loads, stores and transposes with every tail; sums and maxima.
#[inline(always)]
unsafe fn memory<V: Simd>() {
    let x: Vec<f32> = (0..MAX_LANES * MAX_LANES).map(|i| i as f32 + 1.0).collect();
    // SAFETY: the caller has the instructions; every access stays in its array.
    unsafe {
        for n in 0..=V::LANES {
            let mut y = [-1.0f32; MAX_LANES + 1];
            V::load_first(x.as_ptr(), n).store(y.as_mut_ptr());
            assert!((0..V::LANES).all(|i| y[i] == if i < n { x[i] } else { 0.0 }));
            let mut y = [-1.0f32; MAX_LANES + 1];
            V::load(x.as_ptr()).store_first(y.as_mut_ptr(), n);
            assert!((0..=MAX_LANES).all(|i| y[i] == if i < n { x[i] } else { -1.0 }));
        }
        for rows in 0..=V::LANES {
            for cols in 0..=V::LANES {
                let mut y = vec![-1.0f32; MAX_LANES * MAX_LANES];
                V::transpose((x.as_ptr(), MAX_LANES), (y.as_mut_ptr(), MAX_LANES), rows, cols);
                for c in 0..MAX_LANES {
                    for r in 0..MAX_LANES {
                        let want = if r < rows && c < cols { x[r * MAX_LANES + c] } else { -1.0 };
                        assert_eq!(y[c * MAX_LANES + r], want, "{rows} x {cols}");
                    }
                }
            }
        }
        let v = V::load(x.as_ptr());
        assert_eq!(v.sum(), (V::LANES * (V::LANES + 1) / 2) as f32);
        assert_eq!(v.largest(), V::LANES as f32);
        assert_eq!(v.max(v.all(f32::NAN)).sum().to_bits() & 0x7FFF_FFFF, f32::NAN.to_bits());
        assert_eq!(v.all(f32::NAN).max(v).sum(), v.sum());
    }
}

#[test]
fn loads_stores_transposes() {
    // SAFETY: one lane needs nothing.
    unsafe { memory::<Scalar>() }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn avx512() {
            // SAFETY: this function has the vector's features.
            unsafe { memory::<Avx512>() }
        }
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2() {
            // SAFETY: this function has the vector's features.
            unsafe { memory::<Avx2>() }
        }
        if Isa::detect().has(Isa::AVX2) {
            // SAFETY: the CPU has AVX2.
            unsafe { avx2() }
        }
        if Isa::detect().has(Isa::AVX512) {
            // SAFETY: the CPU has AVX-512.
            unsafe { avx512() }
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        #[target_feature(enable = "neon")]
        fn neon() {
            // SAFETY: this function has the vector's features.
            unsafe { memory::<Neon>() }
        }
        if Isa::detect().has(Isa::NEON) {
            // SAFETY: the CPU has NEON.
            unsafe { neon() }
        }
    }
}
