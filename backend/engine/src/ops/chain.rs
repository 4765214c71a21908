//! Convolutions as stages of a chain.

use tandem_base::Span;
use tandem_kernels::types::Type;
use tandem_kernels::{chain, conv, depthwise};
use tandem_schemas::program::{OpKindT, OpT};

use super::conv::{Operands, conv_stage, depthwise_stage};
use crate::layout::channels_last;
use crate::plan::{Planner, Site};
use crate::step::{Bind, Buffer, Operand, Run};

/// A convolution of f32 that may be a stage.
pub(crate) struct Stage {
    pub problem: Problem,
    operands: Operands,
}

/// What it computes.
pub(crate) enum Problem {
    Conv(Box<conv::Problem>),
    Depthwise(Box<depthwise::Problem>),
}

impl Stage {
    /// Of an op, its result apart from some values; `None` where it is none.
    pub fn new(p: &mut Planner<'_>, site: Site<'_>, op: &OpT, apart: &[usize]) -> Option<Self> {
        let out = op.outputs[0] as usize;
        let (of, problem, operands) = match &op.kind {
            OpKindT::Conv(o) => {
                let (of, problem, operands) = conv_stage(o, p, site, out, apart).ok()?;
                (of, Problem::Conv(Box::new(problem)), operands)
            }
            OpKindT::Depthwise(o) => {
                let (of, problem, operands) = depthwise_stage(o, p, site, out, apart).ok()?;
                (of, Problem::Depthwise(Box::new(problem)), operands)
            }
            _ => return None,
        };
        (of == Type::F32).then_some(Self { problem, operands })
    }

    /// Its first source.
    pub fn src(&self) -> Operand {
        self.operands.src[0]
    }

    /// Its destination.
    pub fn dst(&self) -> Operand {
        self.operands.dst
    }

    /// Memory it reads.
    pub fn reads(&self) -> impl Iterator<Item = Buffer> {
        let src = self.operands.src.iter().map(|o| o.buffer);
        src.chain(self.operands.epilogue.buffers())
    }

    /// Sizes of its sources and its kernel, for reports.
    pub fn describe(&self) -> String {
        let sizes: Vec<String> = self.operands.src.iter().map(|s| format!("{:?}", s.shape.sizes())).collect();
        let [ky, kx] = match &self.problem {
            Problem::Conv(p) => p.kernel,
            Problem::Depthwise(p) => p.kernel,
        };
        format!("{} {ky}x{kx} → ", sizes.join("+"))
    }
}

/// The chain that stages are; `None` where there is no such chain.
pub(crate) fn problem(stages: &[Stage]) -> Option<chain::Problem> {
    use Problem::{Conv, Depthwise};
    let (expand, depthwise, project) = match stages {
        [Stage { problem: Conv(e), .. }, Stage { problem: Depthwise(d), .. }] => (Some(e.as_ref()), d, None),
        [Stage { problem: Depthwise(d), .. }, Stage { problem: Conv(c), .. }] => (None, d, Some(c.as_ref())),
        [
            Stage { problem: Conv(e), .. },
            Stage { problem: Depthwise(d), .. },
            Stage { problem: Conv(c), .. },
        ] => (Some(e.as_ref()), d, Some(c.as_ref())),
        _ => return None,
    };
    // What lies between is a chain's own matter.
    let (mut depthwise, mut expand, mut project) =
        (depthwise.as_ref().clone(), expand.cloned(), project.cloned());
    if let Some(expand) = &mut expand {
        expand.dst = channels_last(expand.dst.sizes());
        depthwise.src = expand.dst;
    }
    if let Some(project) = &mut project {
        depthwise.dst = channels_last(depthwise.dst.sizes());
        project.src[0] = depthwise.dst;
    }
    Some(chain::Problem { expand, depthwise, project })
}

/// Operands of a chain.
pub(crate) struct ChainOperands(pub Vec<Stage>);

impl Bind<chain::Chain> for ChainOperands {
    fn args<'a>(&self, run: &Run<'_, 'a>) -> Option<chain::Args<'a>> {
        let [first, .., last] = self.0.as_slice() else { return None };
        let mut src = [Span::empty(); conv::MAX_SEGMENTS];
        for (span, operand) in src.iter_mut().zip(&first.operands.src) {
            *span = run.f32(operand)?;
        }
        let none = chain::Stage::none();
        let dst = run.f32_mut(&last.operands.dst)?;
        let mut args = chain::Args { src, expand: none, depthwise: none, project: none, dst };
        let mut place = &mut args.expand;
        for stage in &self.0 {
            let Operands { weight, epilogue, .. } = &stage.operands;
            let found = chain::Stage { weight: run.weight(*weight)?, epilogue: epilogue.args(run)? };
            match stage.problem {
                Problem::Depthwise(_) => (args.depthwise, place) = (found, &mut args.project),
                Problem::Conv(_) => *place = found,
            }
        }
        Some(args)
    }

    fn buffers(&self) -> Vec<Buffer> {
        let between = |o: &Operand| self.0.iter().rev().skip(1).any(|stage| stage.operands.dst == *o);
        let first = self.0.iter().flat_map(|stage| &stage.operands.src).filter(|src| !between(src));
        let added = self.0.iter().flat_map(|stage| stage.operands.epilogue.buffers());
        first
            .map(|o| o.buffer)
            .chain(added)
            .chain(self.0.last().map(|last| last.operands.dst.buffer))
            .collect()
    }
}
