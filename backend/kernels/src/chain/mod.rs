//! A depthwise convolution with the convolution in front of it, the 1x1 convolution behind it, or both, a band of rows at
//! a time: what lies between never leaves a worker's scratch.

mod cut;
mod run;
#[cfg(test)]
mod tests;

use tandem_base::{Span, SpanMut, Strided};

use crate::conv::{self, Conv, MAX_SEGMENTS};
use crate::depthwise::{self, Depthwise};
use crate::epilogue::EpilogueArgs;
use crate::kernel::{ArgError, Cost, Family, Kernel, check_disjoint, check_in_place, check_len};
use crate::panels;
use cut::Limits;
use run::row;

/// The family.
pub struct Chain;

/// dst = project(depthwise(expand(src))), or without one of the two convolutions.
///
/// A stage's source has the shape of the destination of the stage before: channels innermost, dense.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// In front: any kernel and stride, one group, no shuffle.
    pub expand: Option<conv::Problem>,
    /// In the middle.
    pub depthwise: depthwise::Problem,
    /// Behind: 1x1, one group, no shuffle.
    pub project: Option<conv::Problem>,
}

/// Constants of a stage and what it adds.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    /// As its family has them.
    pub weight: Span<'a, f32>,
    /// Of its epilogue.
    pub epilogue: EpilogueArgs<'a>,
}

impl Stage<'_> {
    /// Of a stage that is not there.
    pub fn none() -> Self {
        Self { weight: Span::empty(), epilogue: EpilogueArgs::none() }
    }
}

/// Operands of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    /// Of the first stage, one span a segment.
    pub src: [Span<'a, f32>; MAX_SEGMENTS],
    /// Of the convolution in front.
    pub expand: Stage<'a>,
    /// Of the depthwise convolution.
    pub depthwise: Stage<'a>,
    /// Of the convolution behind.
    pub project: Stage<'a>,
    /// Of the last stage, disjoint from sources and from what earlier stages add; may be what the last one adds.
    pub dst: SpanMut<'a, f32>,
}

impl Problem {
    /// Segments of the source.
    pub fn src(&self) -> &[Strided] {
        match &self.expand {
            Some(expand) => &expand.src,
            None => std::slice::from_ref(&self.depthwise.src),
        }
    }

    /// The destination.
    pub fn dst(&self) -> &Strided {
        self.project.as_ref().map_or(&self.depthwise.dst, |project| &project.dst)
    }

    /// Bytes of the values between stages.
    pub fn between(&self) -> impl Iterator<Item = usize> {
        let front = self.expand.as_ref().map(|e| 4 * e.dst.elements());
        let behind = self.project.as_ref().map(|_| 4 * self.depthwise.dst.elements());
        front.into_iter().chain(behind)
    }
}

impl Family for Chain {
    const NAME: &'static str = "chain";
    type Problem = Problem;
    type Args<'a> = Args<'a>;

    fn cost(p: &Problem) -> Cost {
        let stages = [p.expand.as_ref(), p.project.as_ref()].into_iter().flatten().map(<Conv>::cost);
        let all = stages
            .chain([Depthwise::cost(&p.depthwise)])
            .reduce(|a, b| Cost { flops: a.flops + b.flops, bytes: a.bytes + b.bytes });
        let Cost { flops, bytes } = all.unwrap_or_default();
        Cost { flops, bytes: bytes - p.between().map(|bytes| 2.0 * bytes as f64).sum::<f64>() }
    }

    fn check(p: &Problem, args: &Args<'_>) -> Result<(), ArgError> {
        for (shape, span) in p.src().iter().zip(&args.src) {
            check_len("src", span.len(), shape.extent())?;
            check_disjoint("src", span, &args.dst)?;
        }
        let (d, channels) = (&p.depthwise, panels::padded(p.depthwise.dst.size(1)));
        check_len("weight", args.depthwise.weight.len(), d.kernel[0] * d.kernel[1] * channels)?;
        d.epilogue.check(&args.depthwise.epilogue, channels)?;
        let mut last = (&d.epilogue, &args.depthwise.epilogue);
        for (conv, stage) in [(&p.expand, &args.expand), (&p.project, &args.project)] {
            let Some(conv) = conv else { continue };
            check_len("weight", stage.weight.len(), conv.k() * conv.padded_columns())?;
            conv.epilogue.check(&stage.epilogue, conv.padded_columns())?;
        }
        if let Some(project) = &p.project {
            check_disjoint("residual", &last.1.residual, &args.dst)?;
            last = (&project.epilogue, &args.project.epilogue);
        }
        check_disjoint("residual", &args.expand.epilogue.residual, &args.dst)?;
        if let Some(shape) = &last.0.residual {
            check_in_place("residual", (&last.1.residual, shape), (&args.dst, p.dst()))?;
        }
        check_len("dst", args.dst.len(), p.dst().extent())
    }
}

/// Every row of the family.
pub static KERNELS: &[Kernel<Chain>] = &[
    #[cfg(target_arch = "x86_64")]
    row!("avx512-chain", AVX512, Limits::USUAL),
    #[cfg(target_arch = "x86_64")]
    row!("avx2-chain", AVX2, Limits::USUAL),
    #[cfg(target_arch = "aarch64")]
    row!("neon-chain", NEON, Limits::USUAL),
    row!("scalar-chain", SCALAR, Limits::USUAL),
];
