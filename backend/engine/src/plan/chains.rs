//! Ops that become one step: a depthwise convolution and its neighbours as a chain, where that is predicted to be quicker
//! than one after the other.

use std::ops::Range;

use tandem_kernels::{chain, conv, depthwise};
use tandem_schemas::program::{OpKindT, OpT, ValueKind};

use super::engines::micros;
use super::{About, Planner, Site, site};
use crate::error::Error;
use crate::layout;
use crate::ops::chain::{ChainOperands, Problem, Stage, problem};
use crate::report::Category;

/// Most ops of a chain.
const LONGEST: usize = 3;

impl<'m> Planner<'m> {
    /// Plans the ops from `first` on as one step, where that is quicker; how many they were, or 0.
    pub(super) fn chain(&mut self, first: usize) -> Result<usize, Error> {
        let (mut count, longest) = (1, if self.target.chains { LONGEST } else { 1 });
        while count < longest && self.links(first + count - 1) {
            count += 1;
        }
        let Some(stages) = (if count > 1 { self.try_stages(first..first + count) } else { None }) else {
            return Ok(0);
        };
        let step = self.target.rates.team.another_ns();
        let alone: Vec<f64> = stages.iter().map(|stage| self.stage_ns(stage) + step).collect();
        let mut best = (alone.iter().sum::<f64>(), 0..0);
        for part in (0..count).flat_map(|from| (from + 2..=count).map(move |to| from..to)) {
            let rest = alone[..part.start].iter().chain(&alone[part.end..]).sum::<f64>();
            let Some(problem) = problem(&stages[part.clone()]) else { continue };
            let ns = self.ns(chain::KERNELS, &problem) + step + rest;
            if ns < best.0 {
                best = (ns, part);
            }
        }
        // A chain behind the first op is found again when its turn comes.
        if best.1.start > 0 || best.1.is_empty() {
            return Ok(0);
        }
        self.plan_chain(first..first + best.1.len(), alone[best.1].iter().sum())
    }

    /// Whether an op's result is read by the next one alone, as what it convolves.
    fn links(&self, index: usize) -> bool {
        let [op, next] = &self.model.ops[index..(index + 2).min(self.model.ops.len())] else { return false };
        let out = op.outputs[0];
        let src = match (&op.kind, &next.kind) {
            (OpKindT::Conv(_), OpKindT::Depthwise(next)) => [next.src].to_vec(),
            (OpKindT::Depthwise(_), OpKindT::Conv(next)) => next.src.clone(),
            _ => return false,
        };
        let value = out as usize;
        let reads = crate::ops::operator(&next.kind).map_or_else(Vec::new, |o| o.reads().values);
        let copied = |op: usize| !self.layouts.copies[op].is_empty();
        src == [out]
            && reads.iter().filter(|&&v| v == out).count() == 1
            && self.last_uses[value] == index + 1
            && self.value(value).kind == ValueKind::Temp
            && self.operands[value].is_none()
            && !copied(index)
            && !copied(index + 1)
    }

    /// The ops as stages of a chain, each reading what the one before would write.
    fn stages(&mut self, ops: Range<usize>) -> Option<Vec<Stage>> {
        let mut apart: Vec<usize> = Vec::new();
        let mut stages = Vec::new();
        for index in ops {
            let op = &self.model.ops[index];
            self.now = index;
            stages.push(Stage::new(self, site(op), op, &apart)?);
            apart.extend(layout::reads(op));
        }
        let [before @ .., last] = stages.as_slice() else { return None };
        let dst = last.dst();
        let free = before.iter().flat_map(Stage::reads).all(|buffer| buffer != dst.buffer);
        free.then_some(stages)
    }

    /// The same, of which nothing stays.
    fn try_stages(&mut self, ops: Range<usize>) -> Option<Vec<Stage>> {
        let (now, buffers) = (self.now, self.buffers.len());
        let outs: Vec<usize> = self.model.ops[ops.clone()].iter().map(|op| op.outputs[0] as usize).collect();
        let kept: Vec<_> = outs.iter().map(|&v| self.operands[v]).collect();
        let stages = self.stages(ops);
        outs.into_iter().zip(kept).for_each(|(v, place)| self.operands[v] = place);
        self.buffers.truncate(buffers);
        self.now = now;
        stages
    }

    fn stage_ns(&self, stage: &Stage) -> f64 {
        match &stage.problem {
            Problem::Conv(problem) => self.ns(conv::KERNELS, problem),
            Problem::Depthwise(problem) => self.ns(depthwise::KERNELS, problem),
        }
    }

    /// Appends the chain's step.
    fn plan_chain(&mut self, ops: Range<usize>, alone: f64) -> Result<usize, Error> {
        let all: &[OpT] = &self.model.ops[ops.clone()];
        let [before @ .., last] = all else { return Ok(0) };
        let Some(stages) = self.stages(ops) else { return Ok(0) };
        let handles: Vec<i32> =
            all.iter().flat_map(|op| op.debug_handles.as_deref().unwrap_or_default()).copied().collect();
        let names: Vec<&str> = before.iter().map(|op| op.name.as_str()).collect();
        let (src, dst) = (stages[0].src(), stages[stages.len() - 1].dst());
        let shape =
            stages.iter().map(Stage::describe).collect::<String>() + &format!("{:?}", dst.shape.sizes());
        let why = format!("with {}, one after the other {}", names.join(" and "), micros(alone));
        let about = About { category: Category::Convolution, shape, src, dst, why: &why };
        let site = Site { handles: &handles, ..site(last) };
        let Some(problem) = problem(&stages) else { return Ok(0) };
        self.kernel(site, about, chain::KERNELS, problem, ChainOperands(stages))?;
        self.deliver(site, last.outputs[0] as usize)?;
        Ok(all.len())
    }
}
