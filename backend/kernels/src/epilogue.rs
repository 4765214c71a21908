//! What happens to a product before it is stored: + bias, act, * scale + shift, + residual, act2.

use tandem_base::{Span, Strided};

use crate::element::Element;
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
pub struct EpilogueArgs<'a, E = f32> {
    /// Bias, empty where the epilogue has none.
    pub bias: Span<'a, f32>,
    /// Scale, empty where the epilogue has none.
    pub scale: Span<'a, f32>,
    /// Shift, empty where the epilogue has none.
    pub shift: Span<'a, f32>,
    /// Residual, empty where the epilogue has none. May be the destination itself (same strides).
    pub residual: Span<'a, E>,
}

impl Act {
    /// The definition, one element at a time.
    pub fn eval(self, x: f32) -> f32 {
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let softplus = |x: f32| if x > 20.0 { x } else { x.exp().ln_1p() };
        match self {
            Self::None => x,
            Self::Relu if x.is_nan() => x,
            Self::Relu => x.max(0.0),
            Self::Clamp { .. } if x.is_nan() => x,
            Self::Clamp { lo, hi } => x.max(lo).min(hi),
            Self::Gelu => 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()),
            Self::Silu => x * sigmoid(x),
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::HardSwish if x.is_nan() => x,
            Self::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::HardSigmoid if x.is_nan() => x,
            Self::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::LeakyRelu { slope } => {
                if x < 0.0 {
                    slope * x
                } else {
                    x
                }
            }
            Self::Elu { alpha } => {
                if x < 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
            Self::Mish => x * softplus(x).tanh(),
            Self::Softplus => softplus(x),
        }
    }
}

impl Act {
    /// The bounds it amounts to, infinite where there are none; `None` if it is no clamp.
    pub fn clamp(self) -> Option<[f32; 2]> {
        match self {
            Self::None => Some([f32::NEG_INFINITY, f32::INFINITY]),
            Self::Relu => Some([0.0, f32::INFINITY]),
            Self::Clamp { lo, hi } => Some([lo, hi]),
            _ => None,
        }
    }

    /// Element-wise work an element takes, of which 1 is a sum's.
    pub fn work(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Relu | Self::Clamp { .. } | Self::LeakyRelu { .. } => 0.5,
            Self::HardSwish | Self::HardSigmoid => 1.9,
            _ => 5.5,
        }
    }
}

impl Epilogue {
    /// The bounds that all behind the bias amounts to, infinite where there are none; `None` if it is no clamp.
    pub fn clamp(&self) -> Option<[f32; 2]> {
        let more = self.scale_shift || self.residual.is_some();
        match (self.act, self.act2) {
            (act, Act::None) | (Act::None, act) if !more => act.clamp(),
            _ => None,
        }
    }

    /// Passes over the result that a product leaves which fuses a bias and a clamp; an addition fuses a clamp.
    pub fn passes(&self) -> Vec<&'static str> {
        let plain = |act: Act| act.clamp().is_some();
        let passes = [
            (!plain(self.act), "activation"),
            (self.scale_shift && self.act != Act::None, "batch norm"),
            (self.residual.is_some(), "residual"),
            (!plain(self.act2), "activation"),
        ];
        passes.into_iter().filter(|(left, _)| *left).map(|(_, name)| name).collect()
    }

    /// All stages on one element: `column` is its padded output column, `residual` its offset in the residual.
    ///
    /// # Safety
    /// [`Epilogue::check`] passed for these operands and both offsets lie within what was checked.
    pub unsafe fn eval<E: Element>(
        &self,
        args: &EpilogueArgs<'_, E>,
        x: f32,
        column: usize,
        residual: usize,
    ) -> f32 {
        // SAFETY: the caller keeps offsets within the checked operands.
        unsafe {
            let mut x = x;
            if self.bias {
                x += *args.bias.ptr().add(column);
            }
            x = self.act.eval(x);
            if self.scale_shift {
                x = x * *args.scale.ptr().add(column) + *args.shift.ptr().add(column);
            }
            if self.residual.is_some() {
                x += (*args.residual.ptr().add(residual)).to_f32();
            }
            self.act2.eval(x)
        }
    }

    /// Element-wise work an element takes behind its product, as [`Act::work`] counts it: clamps come with the stores.
    pub fn work(&self) -> f64 {
        [self.act, self.act2].map(Act::work).into_iter().filter(|work| *work > 1.0).sum()
    }
}

impl<E> EpilogueArgs<'_, E> {
    /// No operands.
    pub fn none() -> Self {
        Self { bias: Span::empty(), scale: Span::empty(), shift: Span::empty(), residual: Span::empty() }
    }
}

impl<E: Copy> EpilogueArgs<'_, E> {
    /// From a padded column on, where the columns reach it.
    #[cfg(any(target_arch = "aarch64", test, feature = "emulated"))]
    pub(crate) fn skip(&self, column: usize) -> Self {
        let [bias, scale, shift] =
            [self.bias, self.scale, self.shift].map(|span| span.skip(column).unwrap_or(span));
        Self { bias, scale, shift, ..*self }
    }
}

impl<'a, E> EpilogueArgs<'a, E> {
    /// From a padded column on, with another residual.
    pub(crate) fn part<H>(&self, column: usize, residual: Span<'a, H>) -> EpilogueArgs<'a, H> {
        let from = |span: Span<'a, f32>| span.skip(column).unwrap_or(Span::empty());
        EpilogueArgs { bias: from(self.bias), scale: from(self.scale), shift: from(self.shift), residual }
    }
}

impl Epilogue {
    /// Checks operand lengths for `columns` padded output columns.
    pub fn check<E>(&self, args: &EpilogueArgs<'_, E>, columns: usize) -> Result<(), ArgError> {
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
