//! Epilogues of convolutions and products.

use tandem_base::Span;
use tandem_kernels::types::Type;
use tandem_kernels::{Act, Element, Epilogue, EpilogueArgs};
use tandem_schemas::program::{ActT, Activation, EpilogueT, Format};

use crate::error::Error;
use crate::ops::{Reads, need_element, need_elements, need_sizes};
use crate::plan::{Planner, Site};
use crate::step::{Buffer, Operand, Run};

/// Where an epilogue's operands lie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EpilogueOperands {
    bias: Option<usize>,
    scale: Option<usize>,
    shift: Option<usize>,
    residual: Option<Operand>,
    residual_value: Option<usize>,
}

impl EpilogueOperands {
    /// For the kernel.
    pub fn args<'a, E: Element>(&self, run: &Run<'_, 'a>) -> Option<EpilogueArgs<'a, E>> {
        Some(EpilogueArgs {
            bias: run.column(self.bias)?,
            scale: run.column(self.scale)?,
            shift: run.column(self.shift)?,
            residual: match &self.residual {
                Some(operand) => run.elements(operand)?,
                None => Span::empty(),
            },
        })
    }

    /// Value added, if any.
    pub fn residual_value(&self) -> Option<usize> {
        self.residual_value
    }

    /// Bias, scale and shift.
    pub fn columns(&self) -> [Option<usize>; 3] {
        [self.bias, self.scale, self.shift]
    }

    /// Where the value added lies.
    pub fn residual(&self) -> Option<Operand> {
        self.residual
    }

    /// Says where the value added lies.
    pub fn set_residual(&mut self, place: Option<Operand>) {
        self.residual = place;
    }

    /// Memory it reads.
    pub fn buffers(&self) -> impl Iterator<Item = Buffer> {
        self.residual.map(|r| r.buffer).into_iter()
    }
}

/// What an op with an epilogue reads.
pub(crate) fn reads(op: Reads, epilogue: Option<&EpilogueT>) -> Reads {
    match epilogue {
        Some(e) => op.and(e.residual).constants(&[e.bias, e.scale, e.shift]),
        None => op,
    }
}

/// Checks an epilogue for `columns` padded columns and an output of a type and sizes.
pub(crate) fn plan(
    p: &Planner<'_>,
    site: Site<'_>,
    epilogue: Option<&EpilogueT>,
    columns: usize,
    (of, out): (Type, &[usize]),
) -> Result<(Epilogue, EpilogueOperands), Error> {
    let Some(e) = epilogue else { return Ok(Default::default()) };
    let column = |what: &str, index: i32| -> Result<Option<usize>, Error> {
        let Ok(index) = usize::try_from(index) else { return Ok(None) };
        let constant = &p.model.constants[index];
        if constant.format != Format::Columns {
            let what = format!("{what} {} in {:?}, Columns expected", constant.name, constant.format);
            return Err(Error::program(site.name, what));
        }
        need_elements(site, constant, &[columns], false)?;
        Ok(Some(index))
    };
    let (bias, scale, shift) =
        (column("bias", e.bias)?, column("scale", e.scale)?, column("shift", e.shift)?);
    if scale.is_some() != shift.is_some() {
        return Err(Error::program(site.name, "scale without shift or the reverse"));
    }
    let residual_value = usize::try_from(e.residual).ok();
    if let Some(value) = residual_value {
        need_element(p, site, of, &[value])?;
        need_sizes(site, "residual", &p.value(value).sizes, out)?;
    }
    let residual = residual_value.map(|value| p.input(value));
    let stages = Epilogue {
        bias: bias.is_some(),
        act: act(site, e.act.as_ref())?,
        scale_shift: scale.is_some(),
        residual: residual.map(|r| r.shape),
        act2: act(site, e.act2.as_ref())?,
    };
    Ok((stages, EpilogueOperands { bias, scale, shift, residual, residual_value }))
}

/// An activation of the program as the kernels have it.
pub(crate) fn act(site: Site<'_>, act: Option<&ActT>) -> Result<Act, Error> {
    let Some(act) = act else { return Ok(Act::None) };
    Ok(match act.kind {
        Activation::None => Act::None,
        Activation::Relu => Act::Relu,
        Activation::Clamp => Act::Clamp { lo: act.a, hi: act.b },
        Activation::Gelu => Act::Gelu,
        Activation::GeluTanh => Act::GeluTanh,
        Activation::Silu => Act::Silu,
        Activation::Sigmoid => Act::Sigmoid,
        Activation::Tanh => Act::Tanh,
        Activation::HardSwish => Act::HardSwish,
        Activation::HardSigmoid => Act::HardSigmoid,
        Activation::LeakyRelu => Act::LeakyRelu { slope: act.a },
        Activation::Elu => Act::Elu { alpha: act.a },
        Activation::Mish => Act::Mish,
        Activation::Softplus => Act::Softplus,
        other => return Err(Error::program(site.name, format!("activation {}", other.0))),
    })
}
