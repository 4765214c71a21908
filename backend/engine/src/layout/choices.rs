//! The candidates of values.

use tandem_base::Strided;
use tandem_schemas::program::OpT;

use super::{Layouts, channels_last, is_dense, same_order, same_places};
use crate::model::{Model, Value};
use crate::ops;

/// Most candidates of a value.
const MOST: usize = 4;

/// Candidates of a value, the one the op's rule gives first.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    /// Layouts it may lie in, no two with the same places.
    pub layouts: Vec<Strided>,
    /// The first so many it may be written in; the rest are copies only.
    pub homes: usize,
    /// The one the host reads an output in.
    pub host: Option<usize>,
}

impl Choices {
    /// Homes first, then copies.
    fn new(homes: &[Strided], copies: &[Strided]) -> Self {
        let mut layouts: Vec<Strided> = Vec::new();
        let mut add = |layout: &Strided| {
            if layouts.len() < MOST && !layouts.iter().any(|l| same_places(l, layout)) {
                layouts.push(*layout);
            }
            layouts.len()
        };
        let homes = homes.iter().map(&mut add).last().unwrap_or_default();
        for layout in copies.iter().filter(|layout| is_dense(layout)) {
            add(layout);
        }
        Self { layouts, homes, host: None }
    }

    /// Makes copies of all homes but `kept`.
    pub fn keep(&mut self, kept: &[usize]) {
        let host = self.host.map(|host| self.layouts[host]);
        let homes: Vec<Strided> = kept.iter().map(|&home| self.layouts[home]).collect();
        let rest = std::mem::take(&mut self.layouts);
        *self = Self::new(&homes, &rest);
        if let Some(host) = host {
            self.host = self.layouts.iter().position(|l| same_places(l, &host));
        }
    }

    /// That of an output, which the host reads as `host`.
    fn output(mut self, host: &Strided) -> Self {
        self.host = self.layouts.iter().position(|l| same_places(l, host));
        self
    }
}

/// Candidates of values before any op is looked at: what the host gives lies as it does there.
///
/// Any value may also be copied to row-major or channels-last.
pub(crate) fn given(model: &Model) -> Vec<Choices> {
    model.values.iter().map(|v| Choices::new(&[host(v)], &dense(&v.sizes))).collect()
}

/// How the host has a value; constants are row-major.
fn host(value: &Value) -> Strided {
    match value.constant {
        Some(_) => Strided::contiguous(&value.sizes),
        None => Strided::with_order(&value.sizes, &value.dim_order),
    }
}

/// Candidates of what an op writes, by those of its sources: a view lies where its source does; else the layouts that
/// the op's rule gives, row-major, and channels-last.
pub(crate) fn written(model: &Model, all: &[Choices], op: &OpT) -> Choices {
    let out = op.outputs[0] as usize;
    let (host, dense) = (host(&model.values[out]), dense(&model.values[out].sizes));
    let (mut homes, viewed) = homes(model, all, op);
    if !viewed {
        homes.extend(&dense);
    }
    if !model.outputs.contains(&out) {
        Choices::new(&homes, &dense)
    } else if viewed {
        homes.truncate(MOST - 1);
        Choices::new(&homes, &[host]).output(&host)
    } else {
        homes.insert(0, host);
        Choices::new(&homes, &dense).output(&host)
    }
}

/// The one home of what an op writes in `dense`'s order of axes: that of a view of its sources, which have one each, or
/// `dense`.
pub(crate) fn decided(model: &Model, all: &[Choices], op: &OpT, dense: Strided) -> Choices {
    let (homes, viewed) = homes(model, all, op);
    let view = homes.into_iter().find(|home| viewed && same_order(home, &dense));
    Choices::new(&[view.unwrap_or(dense)], &[])
}

/// Layouts an op may write: for the candidates of its sources, those of a view of them, else the rule's; and whether
/// all are views.
fn homes(model: &Model, all: &[Choices], op: &OpT) -> (Vec<Strided>, bool) {
    let (out, operator) = (op.outputs[0] as usize, ops::operator(&op.kind));
    let Some(operator) = operator else { return (Vec::new(), false) };
    let reads = operator.reads().values;
    let homes = |v: i32| &all[v as usize].layouts[..all[v as usize].homes];
    let most = reads.iter().map(|&v| homes(v).len()).max().unwrap_or(1);
    let (mut views, mut ruled) = (Vec::new(), Vec::new());
    for i in 0..most {
        let pick = |v: i32| homes(v)[i.min(homes(v).len() - 1)];
        match reads.first().and_then(|&v| operator.relabel(model, out, pick(v))) {
            Some((_, shape)) => views.push(shape),
            None => ruled.push(operator.layout(&Layouts { model, of: &pick }, &model.values[out].sizes)),
        }
    }
    let viewed = ruled.is_empty();
    views.append(&mut ruled);
    (views, viewed)
}

/// Row-major, and channels-last where there are axes between: what kernels read at their best.
fn dense(sizes: &[usize]) -> Vec<Strided> {
    let images = (3..=5).contains(&sizes.len()).then(|| channels_last(sizes));
    std::iter::once(Strided::contiguous(sizes)).chain(images).collect()
}
