//! What happens to a product before it is stored: + bias, act, * scale + shift, + residual, act2.

use tandem_base::{Span, Strided};

use crate::kernel::{ArgError, check_len};

/// An activation, applied element by element. Numerics follow PyTorch's f32 kernels to a few ulp.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Act {
    /// x
    #[default]
    None,
    /// max(x, 0)
    Relu,
    /// min(max(x, lo), hi); NaN passes through
    Clamp {
        /// lower bound, may be -inf
        lo: f32,
        /// upper bound, may be inf
        hi: f32,
    },
    /// x * (1 + erf(x / sqrt 2)) / 2
    Gelu,
    /// the tanh approximation of gelu
    GeluTanh,
    /// x * sigmoid(x)
    Silu,
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// tanh(x)
    Tanh,
    /// x * clamp(x + 3, 0, 6) / 6
    HardSwish,
    /// clamp(x + 3, 0, 6) / 6
    HardSigmoid,
    /// x < 0 ? slope * x : x
    LeakyRelu {
        /// slope below zero
        slope: f32,
    },
    /// x < 0 ? alpha * (exp(x) - 1) : x
    Elu {
        /// alpha
        alpha: f32,
    },
    /// x * tanh(softplus(x))
    Mish,
    /// log(1 + exp(x))
    Softplus,
}

/// Which stages a product's epilogue has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// Adds a bias per output column.
    pub bias: bool,
    /// First activation.
    pub act: Act,
    /// Multiplies by a scale and adds a shift, both per output column.
    pub scale_shift: bool,
    /// Adds a tensor of the output's logical sizes, with these strides.
    pub residual: Option<Strided>,
    /// Second activation.
    pub act2: Act,
}

/// The operands of an epilogue. Column arrays are padded to the panels' full width (see [`crate::panels`]).
#[derive(Clone, Copy, Debug)]
pub struct EpilogueArgs<'a> {
    /// Bias, empty where the epilogue has none.
    pub bias: Span<'a, f32>,
    /// Scale, empty where the epilogue has none.
    pub scale: Span<'a, f32>,
    /// Shift, empty where the epilogue has none.
    pub shift: Span<'a, f32>,
    /// Residual, empty where the epilogue has none. May be the destination itself (same strides).
    pub residual: Span<'a, f32>,
}

impl EpilogueArgs<'_> {
    /// No operands.
    pub fn none() -> Self {
        Self { bias: Span::empty(), scale: Span::empty(), shift: Span::empty(), residual: Span::empty() }
    }
}

impl Epilogue {
    /// Checks operand lengths for `columns` padded output columns.
    pub fn check(&self, args: &EpilogueArgs<'_>, columns: usize) -> Result<(), ArgError> {
        if self.bias {
            check_len("bias", args.bias.len(), columns)?;
        }
        if self.scale_shift {
            check_len("scale", args.scale.len(), columns)?;
            check_len("shift", args.shift.len(), columns)?;
        }
        if let Some(shape) = &self.residual {
            check_len("residual", args.residual.len(), shape.extent())?;
        }
        Ok(())
    }
}
