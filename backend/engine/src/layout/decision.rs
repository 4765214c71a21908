//! Layouts decided at one size, for another of the same program.

use tandem_base::Strided;

use super::{Assignment, Order, ValueReport, choices, order};
use crate::model::{Model, width};

/// An assignment without sizes: orders of axes.
pub(crate) struct Decision {
    /// Order each value is written in.
    homes: Vec<Order>,
    /// For every op the values it reads in a copy, with the copy's order.
    copies: Vec<Vec<(usize, Order)>>,
    values: Vec<ValueReport>,
}

impl Decision {
    /// What of an assignment holds at other sizes.
    pub fn of(assignment: Assignment) -> Self {
        let orders =
            |copies: Vec<(usize, Strided)>| copies.into_iter().map(|(v, s)| (v, order(&s))).collect();
        Self {
            homes: assignment.homes.iter().map(order).collect(),
            copies: assignment.copies.into_iter().map(orders).collect(),
            values: assignment.values,
        }
    }

    /// The assignment at the model's sizes: a view lies in its source where that has the order decided, anything else is
    /// dense.
    pub fn replay(&self, model: &Model) -> Assignment {
        let mut all = choices::given(model);
        for op in &model.ops {
            let out = op.outputs[0] as usize;
            let dense = Strided::with_order(&model.values[out].sizes, &self.homes[out]);
            all[out] = choices::decided(model, &all, op, dense);
        }
        let copy = |(v, order): &(usize, Order)| (*v, Strided::with_order(&model.values[*v].sizes, order));
        let report = |(report, value): (&ValueReport, &crate::model::Value)| ValueReport {
            bytes: value.sizes.iter().product::<usize>() * width(value.dtype),
            sizes: value.sizes.clone(),
            ..report.clone()
        };
        Assignment {
            homes: all.iter().map(|choice| choice.layouts[0]).collect(),
            copies: self.copies.iter().map(|copies| copies.iter().map(copy).collect()).collect(),
            values: self.values.iter().zip(&model.values).map(report).collect(),
        }
    }
}
