//! Elementary functions on vectors. Coefficients are least-maximum fits of the expression beside them; bounds are
//! measured against f64 by this module's tests.

use super::Simd;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 with its last 9 bits zero, so that multiples up to 2^9 are exact, and the rest.
const LN2_HI: f32 = 355.0 / 512.0;
const LN2_LO: f32 = -2.121_944_4e-4;

/// Horner's rule, highest power first.
#[inline(always)]
fn poly<V: Simd, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    let mut y = x.all(coefficients[0]);
    for c in &coefficients[1..] {
        y = y.mul_add(x, x.all(*c));
    }
    y
}

/// x within the bounds; NaN stays.
#[inline(always)]
fn within<V: Simd>(x: V, lo: f32, hi: f32) -> V {
    x.all(hi).min(x.all(lo).max(x))
}

/// n and e^r - 1 - r with x = n ln 2 + r, |r| <= ln 2 / 2: returns (n, r, rest).
#[inline(always)]
fn reduced<V: Simd>(x: V) -> (V, V, V) {
    let n = (x * x.all(LOG2_E)).round();
    let r = n.neg_mul_add(x.all(LN2_LO), n.neg_mul_add(x.all(LN2_HI), x));
    // (e^r - 1 - r) / r^2
    let q = poly(r, [1.395_156_4e-3, 8.369_589e-3, 4.166_619e-2, 1.666_651_4e-1, 0.5]);
    (n, r, q * (r * r))
}

/// e^x, to 1 ulp; subnormal results included.
#[inline(always)]
pub fn exp<V: Simd>(x: V) -> V {
    let (n, r, rest) = reduced(within(x, -104.0, 89.0));
    ((rest + r) + x.all(1.0)).times_exp2(n)
}

/// What [`exp_negative`] adds to an integer, so that its sum's low bits are the exponent field of a power of two.
const BIASED: f32 = 1.5 * (1 << 23) as f32 + 127.0;

/// e^x for x <= 0, to 2 ulp; 0 where that is below the smallest normal number.
#[inline(always)]
pub fn exp_negative<V: Simd>(x: V) -> V {
    let biased = x.mul_add(x.all(LOG2_E), x.all(BIASED));
    let n = biased - x.all(BIASED);
    let r = n.neg_mul_add(x.all(LN2_LO), n.neg_mul_add(x.all(LN2_HI), x));
    // (e^r - 1) / r
    let q = poly(r, [8.290_272e-3, 4.189_816e-2, 1.666_763_9e-1, 4.999_914_8e-1, 9.999_997e-1]);
    let power = biased.exponent();
    // ln 2^-126
    (r * power).mul_add(q, power).unless(x.lt(x.all(-87.336_54)))
}

/// e^x - 1, to 2 ulp.
#[inline(always)]
pub fn expm1<V: Simd>(x: V) -> V {
    let (n, r, rest) = reduced(within(x, -104.0, 89.0));
    // Half of 2^n stays finite where e^x does.
    let half = x.all(0.5).times_exp2(n);
    let y = (rest + r).mul_add(half, half - x.all(0.5));
    y + y
}

/// ln x, to 1 ulp; ln 0 is -inf, below zero NaN.
#[inline(always)]
pub fn log<V: Simd>(x: V) -> V {
    let one = x.all(1.0);
    let (m, e) = x.split();
    let big = x.all(std::f32::consts::SQRT_2).lt(m);
    let m = (m * x.all(0.5)).select(big, m);
    let e = (e + one).select(big, e);
    let f = m - one;
    // (ln (1 + f) - f + f^2 / 2) / f^3
    let q = poly(
        f,
        [
            6.915_662e-2,
            -1.178_976_1e-1,
            1.187_280_3e-1,
            -1.238_433_8e-1,
            1.421_868e-1,
            -1.666_925_3e-1,
            2.000_222_5e-1,
            -2.499_998_7e-1,
            3.333_331e-1,
        ],
    );
    let square = f * f;
    let low = e.mul_add(x.all(LN2_LO), (f * square) * q);
    let y = square.neg_mul_add(x.all(0.5), low) + f;
    let y = e.mul_add(x.all(LN2_HI), y);
    let y = x.select(x.equal(x.all(f32::INFINITY)) | x.nan(), y);
    let y = x.all(f32::NEG_INFINITY).select(x.equal(x.all(0.0)), y);
    x.all(f32::NAN).select(x.lt(x.all(0.0)), y)
}

/// ln (1 + x) for x >= 0, to 2 ulp.
#[inline(always)]
pub fn log1p_positive<V: Simd>(x: V) -> V {
    let one = x.all(1.0);
    let sum = one + x;
    // What rounding `sum` lost, to first order.
    let lost = x - (sum - one);
    let y = log(sum) + lost / sum;
    x.select(x.equal(x.all(f32::INFINITY)), y)
}

/// tanh x, to 3 ulp.
#[inline(always)]
pub fn tanh<V: Simd>(x: V) -> V {
    let t = x.all(10.0).min(x.abs());
    let e = expm1(t + t);
    (e / (e + x.all(2.0))).copysign(x)
}

/// 1 / (1 + e^-x), to 3 ulp where e^-x is finite, else 0.
#[inline(always)]
pub fn sigmoid<V: Simd>(x: V) -> V {
    let one = x.all(1.0);
    one / (one + exp(-x))
}

/// erf x, to 2 ulp.
#[inline(always)]
pub fn erf<V: Simd>(x: V) -> V {
    let one = x.all(1.0);
    let t = x.all(4.0).min(x.abs());
    let square = t * t;
    // erf t / t - 1 on [0, 1]
    let small = poly(
        square,
        [
            7.853_877e-5,
            -8.010_194e-4,
            5.188_327e-3,
            -2.685_381e-2,
            1.128_358_5e-1,
            -3.761_262_6e-1,
            1.283_791e-1,
        ],
    );
    // ln erfc t on [1, 4]
    let large = poly(
        t,
        [
            -2.168_603_4e-5,
            4.413_265_3e-4,
            -4.204_512e-3,
            2.520_812_1e-2,
            -1.084_183_6e-1,
            -6.332_201e-1,
            -1.129_578_4,
            1.880_171_2e-4,
        ],
    );
    small.mul_add(t, t).select(t.lt(one), one - exp(large)).copysign(x)
}

/// ln (1 + e^x), x itself above 20, to 3 ulp.
#[inline(always)]
pub fn softplus<V: Simd>(x: V) -> V {
    let y = log1p_positive(exp(x));
    x.select(x.all(20.0).lt(x), y)
}

/// Largest |x| of the vector path of sine and cosine.
const TRIG_LIMIT: f32 = 1e5;

/// sin x, or cos x where `COS`: to 2 ulp, or 2^-24 near the zeros.
#[inline(always)]
fn trig<V: Simd, const COS: bool>(x: V) -> V {
    /// pi / 2 in three parts of 24 bits.
    const HALF_PI: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];
    if V::any(x.all(TRIG_LIMIT).lt(x.abs())) {
        return x.map(|x| if COS { x.cos() } else { x.sin() });
    }
    let n = (x * x.all(std::f32::consts::FRAC_2_PI)).round();
    let [a, b, c] = HALF_PI.map(|part| x.all(part));
    // n a is taken off in two exact steps: its rounded value, then what rounding left.
    let product = n * a;
    let left = n.mul_add(a, -product);
    let r = n.neg_mul_add(c, n.neg_mul_add(b, (x - product) - left));
    let square = r * r;
    // (sin r / r - 1) / r^2
    let s = poly(square, [2.717_357_8e-6, -1.983_923_4e-4, 8.333_329e-3, -1.666_666_7e-1]);
    let sin = (s * square).mul_add(r, r);
    // (cos r - 1 + r^2 / 2) / r^4
    let c = poly(square, [2.442_93e-5, -1.388_729e-3, 4.166_664_6e-2]);
    let cos = (c * square).mul_add(square, square.neg_mul_add(x.all(0.5), x.all(1.0)));
    let quadrant = if COS { n + x.all(1.0) } else { n };
    let quadrant = (quadrant * x.all(0.25)).floor().neg_mul_add(x.all(4.0), quadrant);
    let (one, two, three) = (x.all(1.0), x.all(2.0), x.all(3.0));
    let y = cos.select(quadrant.equal(one) | quadrant.equal(three), sin);
    (-y).select(two.le(quadrant), y)
}

/// sin x, to 2 ulp.
#[inline(always)]
pub fn sin<V: Simd>(x: V) -> V {
    // The sign of zero is x's.
    x.select(x.equal(x.all(0.0)), trig::<V, false>(x))
}

/// cos x, to 2 ulp.
#[inline(always)]
pub fn cos<V: Simd>(x: V) -> V {
    trig::<V, true>(x)
}
