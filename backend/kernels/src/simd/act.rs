//! The activations on vectors.

use super::{Simd, math};
use crate::epilogue::Act;

/// act(x), with [`Act::eval`]'s meaning. `act` is the same for a whole task: the branch is predicted. What needs an
/// exponential is a call, so that a kernel holds a handful of instructions per place and not every function.
#[inline(always)]
pub fn act<V: Simd>(act: Act, x: V) -> V {
    match act {
        Act::None => x,
        // The second operand passes where either is NaN: x.
        Act::Relu => x.all(0.0).max(x),
        Act::Clamp { lo, hi } => x.all(hi).min(x.all(lo).max(x)),
        Act::LeakyRelu { slope } => (x * x.all(slope)).select(x.lt(x.all(0.0)), x),
        Act::HardSwish => x * hard_sigmoid(x),
        Act::HardSigmoid => hard_sigmoid(x),
        _ => x.curve(act),
    }
}

/// The activations with an exponential; others pass x. The body of every [`Simd::curve`].
#[inline(always)]
pub(crate) fn curve<V: Simd>(act: Act, x: V) -> V {
    match act {
        Act::Gelu => {
            let erf = math::erf(x * x.all(std::f32::consts::FRAC_1_SQRT_2));
            (x * x.all(0.5)) * (x.all(1.0) + erf)
        }
        Act::GeluTanh => {
            let inner = x * (x * x).mul_add(x.all(0.044_715), x.all(1.0));
            let tanh = math::tanh(inner * x.all(0.797_884_6));
            (x * x.all(0.5)) * (x.all(1.0) + tanh)
        }
        Act::Silu => x / (x.all(1.0) + math::exp(-x)),
        Act::Sigmoid => math::sigmoid(x),
        Act::Tanh => math::tanh(x),
        Act::Elu { alpha } => (math::expm1(x) * x.all(alpha)).select(x.lt(x.all(0.0)), x),
        Act::Mish => mish(x),
        Act::Softplus => math::softplus(x),
        Act::None
        | Act::Relu
        | Act::Clamp { .. }
        | Act::LeakyRelu { .. }
        | Act::HardSwish
        | Act::HardSigmoid => x,
    }
}

/// clamp(x + 3, 0, 6) / 6, to 1 ulp
#[inline(always)]
fn hard_sigmoid<V: Simd>(x: V) -> V {
    let shifted = x + x.all(3.0);
    x.all(6.0).min(x.all(0.0).max(shifted)) * x.all(1.0 / 6.0)
}

/// x tanh(ln(1 + e)) with e = e^x is x n / (n + 2) with n = e (e + 2): no logarithm, no cancellation.
#[inline(always)]
fn mish<V: Simd>(x: V) -> V {
    let e = math::exp(x.all(20.0).min(x));
    let n = e * (e + x.all(2.0));
    x * (n / (n + x.all(2.0)))
}
