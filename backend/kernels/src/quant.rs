//! Numbers as i8: a scale and a zero point, how values are rounded to it, and sums of products from one to the other.

/// A scale and a zero point: x = scale * (q - zero).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Positive.
    pub scale: f32,
    /// Of i8.
    pub zero: i8,
}

/// How values are quantised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parameters {
    pub inverse: f32,
    pub zero: i32,
    pub scale: f32,
}

impl Parameters {
    /// By the row's extremes: 0 is among the values and is met exactly. A NaN makes the scale NaN.
    pub fn of(row: &[f32]) -> Self {
        let extreme = |of: fn(f32, f32) -> f32| {
            row.iter().fold(0.0, |a: f32, &b| if a.is_nan() || b.is_nan() { f32::NAN } else { of(a, b) })
        };
        Self::between(extreme(f32::min), extreme(f32::max))
    }

    /// By a row's extremes, 0 among them.
    pub fn between(low: f32, high: f32) -> Self {
        let scale = bound((high - low) / 255.0, [f32::EPSILON, f32::INFINITY]);
        let (low, high) = (low / scale, high / scale);
        let nearer_low = (-128.0 + low) + (127.0 + high) > 0.0;
        let zero = if nearer_low { -128.0 - low } else { 127.0 - high };
        let zero = bound(zero, [-128.0, 127.0]).round_ties_even() as i32;
        Self { inverse: 1.0 / scale, zero, scale }
    }

    pub fn new(given: Affine) -> Self {
        Self { inverse: 1.0 / given.scale, zero: i32::from(given.zero), scale: given.scale }
    }

    /// Rounded once, zero point included. NaN becomes 0.
    pub fn fused(&self, x: f32) -> i8 {
        x.mul_add(self.inverse, self.zero as f32).round_ties_even() as i8
    }

    /// Rounded before the zero point is added. NaN becomes the zero point.
    pub fn rounded(&self, x: f32) -> i8 {
        let near = ((x * self.inverse).round_ties_even() as i32).clamp(-512, 512);
        (near + self.zero).clamp(-128, 127) as i8
    }
}

/// A column's factor and bias in units of the destination's scale.
pub(crate) fn column(lhs: Affine, dst: Affine, scale: f32, bias: f32) -> [f32; 2] {
    let inverse = 1.0 / dst.scale;
    [lhs.scale * scale * inverse, bias * inverse]
}

/// Bounds in the same units, the zero point taken off.
pub(crate) fn bounds(dst: Affine, clamp: [f32; 2]) -> [f32; 2] {
    let zero = f32::from(dst.zero);
    let [lo, hi] = clamp.map(|x| (x / dst.scale).round_ties_even());
    [lo.max(-128.0 - zero).min(127.0 - zero), hi.min(127.0 - zero).max(-128.0 - zero)]
}

/// A sum in those units, rounded. NaN passes through.
pub(crate) fn rounded(sum: i64, [factor, bias]: [f32; 2], bounds: [f32; 2]) -> f32 {
    bound((sum as f32).mul_add(factor, bias).round_ties_even(), bounds)
}

/// A sum as i8 of the destination, between bounds that the zero point is taken off. NaN becomes 0.
pub(crate) fn requantise(sum: i64, [factor, bias]: [f32; 2], [lo, hi]: [i32; 2], zero: i32) -> i8 {
    let near = (sum as f32).mul_add(factor, bias).round_ties_even() as i32;
    (near.max(lo).min(hi) + zero) as i8
}

/// Between both bounds. NaN passes through.
pub(crate) fn bound(x: f32, [lo, hi]: [f32; 2]) -> f32 {
    if x.is_nan() { x } else { x.max(lo).min(hi) }
}
