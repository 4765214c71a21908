//! Copies of values in another layout, as the assignment has them, and ops on trial.

use tandem_base::Strided;
use tandem_schemas::program::{OpT, ValueKind};

use super::{Planner, Site, site};
use crate::error::Error;
use crate::layout;
use crate::model;
use crate::ops;
use crate::step::{Buffer, Operand};

impl<'m> Planner<'m> {
    /// Lets the op being planned read a copy of a value in `layout`.
    pub(super) fn read_copy(&mut self, site: Site<'_>, value: usize, layout: Strided) -> Result<(), Error> {
        let known =
            |(v, place): &&(usize, Operand)| *v == value && layout::same_places(&place.shape, &layout);
        if let Some(&known) = self.relaid.iter().find(known) {
            self.reading.push(known);
            return Ok(());
        }
        let (src, dtype) = (self.input(value), self.value(value).dtype);
        let place = self.buffer(layout, model::width(dtype));
        let why = format!("{} reads {} faster", site.op, layout::describe(&layout));
        self.copy(site, dtype, src, place, &why)?;
        self.relaid.push((value, place));
        self.reading.push((value, place));
        Ok(())
    }

    /// Where values lie in others' memory, otherwise than assigned, and the op cannot take that: its result is written
    /// apart, and what it reads is copied to where it was assigned.
    pub(super) fn bring_back(&mut self, site: Site<'_>, op: &'m OpT) -> Result<(), Error> {
        let out = op.outputs[0] as usize;
        let reads = layout::reads(op);
        let homes = &self.layouts.homes;
        let at_home = |v: usize, place: Operand| layout::same_places(&place.shape, &homes[v]);
        let copied = |v: usize| self.reading.iter().any(|(read, _)| *read == v);
        let away = |&v: &usize| !copied(v) && !at_home(v, self.input(v));
        let away: Vec<usize> = reads.iter().copied().filter(away).collect();
        let placed = self.operands[out];
        if away.is_empty() && placed.is_none_or(|place| at_home(out, place)) {
            return Ok(());
        }
        let place = placed.map_or(homes[out], |place| place.shape);
        let lies: Vec<(usize, Strided)> =
            reads.iter().map(|&v| (v, self.input(v).shape)).chain([(out, place)]).collect();
        if self.price(op, &lies).is_finite() {
            return Ok(());
        }
        if self.value(out).kind == ValueKind::Temp {
            self.operands[out] = None;
        }
        away.into_iter().try_for_each(|v| self.read_copy(site, v, self.layouts.homes[v]))
    }

    /// Predicted time of an op whose operands lie like this: infinite where it cannot be planned so.
    pub fn price(&mut self, op: &'m OpT, lies: &[(usize, Strided)]) -> f64 {
        let buffers = self.buffers.len();
        let reading = std::mem::take(&mut self.reading);
        let mut kept = Vec::with_capacity(lies.len());
        for &(v, shape) in lies {
            let place = Some(Operand { buffer: Buffer::Arena(self.buffers.len()), offset: 0, shape });
            self.buffers.push(0);
            kept.push((v, std::mem::replace(&mut self.operands[v], place)));
        }
        self.trial = Some(0.0);
        let operator = ops::operator(&op.kind).expect("operands::check: a known kind");
        let planned = operator.plan(self, site(op), op.outputs[0] as usize);
        let ns = self.trial.take().filter(|_| planned.is_ok());
        kept.into_iter().for_each(|(v, place)| self.operands[v] = place);
        self.buffers.truncate(buffers);
        self.reading = reading;
        ns.unwrap_or(f64::INFINITY)
    }

    /// Copies an output that was written in another layout than the host's to where the host reads it.
    pub(super) fn deliver(&mut self, site: Site<'_>, value: usize) -> Result<(), Error> {
        let Some(i) = self.model.outputs.iter().position(|&o| o == value) else { return Ok(()) };
        let src = self.input(value);
        if src.buffer == Buffer::Output(i) {
            return Ok(());
        }
        let dst = self.host_output(i);
        self.copy(site, self.value(value).dtype, src, dst, "the host reads another layout")?;
        self.relaid.push((value, dst));
        Ok(())
    }

    pub(super) fn host_output(&self, i: usize) -> Operand {
        let value = &self.model.values[self.model.outputs[i]];
        let shape = Strided::with_order(&value.sizes, &value.dim_order);
        Operand { buffer: Buffer::Output(i), offset: 0, shape }
    }
}
