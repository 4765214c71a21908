//! How each value lies in memory.
//!
//! A rule for now, walked once in order: images around spatial operators are channels-last, element-wise operators
//! follow their operands, views take what their source has, everything else is row-major, and what the host sees lies
//! as the host has it. Each op states its part in [`crate::ops::Operator::layout`]. Where a kernel is slower on what
//! the rule gives than on another layout and a copy, the planner inserts the copy ([`crate::plan::Planner::read_as`]).

use tandem_base::Strided;
use tandem_schemas::program::ValueKind;

use crate::model::Model;
use crate::ops;

/// Layouts of the values walked so far.
pub(crate) struct Layouts<'m> {
    model: &'m Model,
    of: Vec<Strided>,
}

impl Layouts<'_> {
    /// How a value lies.
    pub fn of(&self, value: i32) -> Strided {
        self.of[value as usize]
    }

    /// Dense, with `value`'s order of axes and other sizes of the same rank.
    pub fn like(&self, value: i32, sizes: &[usize]) -> Strided {
        let shape = self.of(value);
        if shape.rank() == sizes.len() {
            Strided::with_order(sizes, &order(&shape))
        } else {
            Strided::contiguous(sizes)
        }
    }

    /// Number of elements of a value.
    pub fn elements(&self, value: i32) -> usize {
        self.model.values[value as usize].sizes.iter().product()
    }
}

/// A layout for every value of a checked model.
pub(crate) fn assign(model: &Model) -> Vec<Strided> {
    let host = model.values.iter().map(|v| Strided::with_order(&v.sizes, &v.dim_order)).collect();
    let mut layouts = Layouts { model, of: host };
    for op in &model.ops {
        let out = op.outputs[0] as usize;
        let value = &model.values[out];
        // An output of the host's is read again in the host's order.
        if let Some(operator) = ops::operator(&op.kind)
            && value.kind != ValueKind::Output
        {
            layouts.of[out] = operator.layout(&layouts, &value.sizes);
        }
    }
    layouts.of
}

/// Channels innermost; row-major below rank 3.
pub(crate) fn channels_last(sizes: &[usize]) -> Strided {
    let rank = sizes.len() as u8;
    if rank < 3 {
        return Strided::contiguous(sizes);
    }
    let order: Vec<u8> = std::iter::once(0).chain(2..rank).chain(std::iter::once(1)).collect();
    Strided::with_order(sizes, &order)
}

/// Axes by falling stride; axes of one element, whose stride says nothing, and equal strides keep their place.
pub(crate) fn order(shape: &Strided) -> Vec<u8> {
    let mut axes: Vec<u8> = (0..shape.rank() as u8).collect();
    let told: Vec<u8> = {
        let mut told: Vec<u8> = axes.iter().copied().filter(|&d| shape.size(usize::from(d)) != 1).collect();
        told.sort_by_key(|&d| std::cmp::Reverse(shape.stride(usize::from(d))));
        told
    };
    let mut next = told.into_iter();
    for axis in &mut axes {
        if shape.size(usize::from(*axis)) != 1
            && let Some(d) = next.next()
        {
            *axis = d;
        }
    }
    axes
}

/// Whether the elements fill their extent, each at its own place.
pub(crate) fn is_dense(shape: &Strided) -> bool {
    same_places(shape, &Strided::with_order(shape.sizes(), &order(shape)))
}

/// Whether two shapes put every element at the same place: strides of axes of one element say nothing.
pub(crate) fn same_places(a: &Strided, b: &Strided) -> bool {
    let told = |shape: &Strided, d: usize| if shape.size(d) == 1 { 0 } else { shape.stride(d) };
    a.sizes() == b.sizes() && (a.elements() == 0 || (0..a.rank()).all(|d| told(a, d) == told(b, d)))
}

/// Short text of a layout for profiles: axis letters outermost first, `*` where strides leave gaps.
pub(crate) fn describe(shape: &Strided) -> String {
    let letters: &[u8] = match shape.rank() {
        4 => b"nchw",
        3 => b"ntc",
        2 => b"mn",
        _ => b"abcdefgh",
    };
    let axes = order(shape);
    let gaps = Strided::with_order(shape.sizes(), &axes).extent() != shape.extent();
    axes.iter().map(|&a| letters[usize::from(a)] as char).chain(gaps.then_some('*')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_from_strides() {
        for order_in in [[0, 1, 2, 3], [0, 2, 3, 1], [3, 1, 0, 2]] {
            let shape = Strided::with_order(&[2, 3, 4, 5], &order_in);
            assert_eq!(order(&shape), order_in);
            assert!(is_dense(&shape));
        }
        let image = channels_last(&[1, 8, 4, 4]);
        assert_eq!(describe(&image), "nhwc");
        let column = image.reshaped(&[1, 8, 16]).unwrap();
        assert_eq!(order(&column), [0, 2, 1]);
        assert!(!is_dense(&Strided::new(&[4, 4], &[8, 1])));
        assert!(!is_dense(&Strided::new(&[4, 4], &[0, 1])));
        assert!(!is_dense(&Strided::new(&[3, 3], &[2, 2])));
        assert_eq!(describe(&Strided::new(&[4, 4], &[8, 1])), "mn*");
    }
}
