//! Destinations whose rows are contiguous, as projections write keys: panels are the unit's lhs, positions its columns.

use std::ops::Range;

use super::{Lhs, Plan, Task, offset, stages};
use crate::element::Element;
use crate::gemm::{Problem, Rhs};
use crate::kernel::Refusal;
use crate::panels;
use crate::sme2::drive::cut;
use crate::sme2::tables::{Parts, bytes};
use crate::sme2::{Product, Run, Segment, Unit};

/// Whether rows of the destination are contiguous and columns are not.
pub(super) fn turned(p: &Problem) -> bool {
    p.dst.stride(2) != 1 && p.dst.size(2) > 1 && (p.dst.stride(1) == 1 || p.dst.size(1) == 1)
}

/// What a turned destination asks for.
pub(super) fn supports<E: Element>(p: &Problem) -> Result<(), Refusal> {
    let plain = stages::<E>(p).all() && p.epilogue.residual.is_none();
    match p.rhs {
        Rhs::Strided(_) => Err("columns of dst are not contiguous, and rhs is not in panels"),
        Rhs::Panels if !plain => Err("columns of dst are not contiguous, with an epilogue for cores"),
        Rhs::Panels => Ok(()),
    }
}

impl Plan {
    /// Segments of a task's positions: of every block one, and its end.
    fn segments(&self) -> usize {
        2 * self.widest() / self.group
    }

    /// Bytes of the tables.
    pub(super) fn turned_scratch<E>(&self) -> usize {
        bytes::<*mut E>(self.unit()) + bytes::<Segment>(self.segments())
    }
}

impl<E: Element> Task<'_, E> {
    /// Multiplies with the columns of some parts, a panel at a time.
    pub(super) unsafe fn multiply_turned<U: Unit>(&self, cut_of: &Range<usize>, parts: &mut Parts) {
        let (p, args, plan) = (self.p, self.args, self.plan);
        let ([_, m, n, _], d, group) = (p.sizes(), p.dst.strides(), plan.group);
        let (count, stages) = (self.positions.len(), stages::<E>(p));
        let rows: *mut *mut E = parts.take(plan.unit());
        let segments: *mut Segment = parts.take(plan.segments());
        let dst = args.dst.ptr().wrapping_add(offset(d, self.part, self.positions.start, m));
        let run = Run { offset: 0, count: plan.words };
        // SAFETY: the caller's; tables have room, rows and positions lie in the destination.
        unsafe {
            for (i, block) in (0..count).step_by(group).enumerate() {
                let end = group.min(count - block);
                segments.add(2 * i).write(Segment { first: 0, end, offset: block as isize });
                segments.add(2 * i + 1).write(Segment::default());
            }
            for first in cut(n, plan.split, plan.unit(), cut_of).step_by(panels::PANEL) {
                let width = panels::width(n, first / panels::PANEL);
                let groups = width.div_ceil(group);
                for i in 0..groups * group {
                    let row = dst.wrapping_add((first + i) * d[2]);
                    let wanted = i < width && first + i < n;
                    rows.add(i).write(if wanted { row } else { std::ptr::null_mut() });
                }
                let bias = args.epilogue.bias.ptr().wrapping_add(first);
                U::product(&Product {
                    lhs: args.rhs.ptr().add(E::PER_WORD * first * plan.words),
                    lhs_step: width,
                    lhs_group: group,
                    groups,
                    runs: &raw const run,
                    run_count: 1,
                    rows,
                    columns: count,
                    positions: width,
                    bias: if p.epilogue.bias { bias } else { std::ptr::null() },
                    clamp: stages.clamp(),
                    segments,
                    ..self.columns()
                });
            }
        }
    }

    /// The task's positions as columns.
    fn columns(&self) -> Product<E> {
        let (plan, count) = (self.plan, self.positions.len());
        let rhs = Product { rhs: self.slab.cast_const(), panels: 1, width: count, ..Product::NONE };
        match plan.lhs {
            Lhs::Rows => Product {
                rhs_step: plan.group,
                rhs_panel: plan.group * plan.words,
                panels: count.div_ceil(plan.group),
                width: plan.group,
                ..rhs
            },
            Lhs::Columns if E::PER_WORD > 1 => Product { rhs_step: count, ..rhs },
            Lhs::Columns => {
                Product { rhs: self.lhs(self.positions.start), rhs_step: self.p.lhs.stride(2), ..rhs }
            }
        }
    }
}
