//! How each value lies in memory: state that the planner carries, decided for all values at once.
//!
//! Every value has a few candidates ([`choices`]). An op costs what planning it on trial with its operands in given
//! candidates predicts ([`prices`]), a conversion what its copy does. Sums of these are least over all values at once
//! ([`states`], [`solve`]). What the host sees lies as the host has it.

mod choices;
mod decision;
mod explain;
mod prices;
mod solve;
mod states;

use smallvec::SmallVec;
use tandem_base::Strided;
use tandem_base::strided::MAX_RANK;

use crate::model::Model;
use crate::plan::Planner;

pub(crate) use decision::Decision;
pub use explain::ValueReport;
pub(crate) use prices::reads;

/// How layouts are decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayoutPolicy {
    /// A fixed rule for where results lie, and copies wherever an op on its own gains by one: for comparison.
    Greedy,
    /// Least predicted time of the whole program.
    #[default]
    State,
    /// Least sum of prices drawn by this seed, so any legal assignment: for tests.
    Random(u64),
}

/// Where every value lies, and what every op reads instead of it.
#[derive(Default)]
pub(crate) struct Assignment {
    /// Layout each value is written in.
    pub homes: Vec<Strided>,
    /// For every op the values it reads in a copy, with the copy's layout.
    pub copies: Vec<Vec<(usize, Strided)>>,
    /// Who decided.
    pub values: Vec<ValueReport>,
}

/// Decides the layouts of a checked model.
pub(crate) fn assign(planner: &mut Planner<'_>, policy: LayoutPolicy) -> Assignment {
    let (choices, mut prices) = prices::of(planner, matches!(policy, LayoutPolicy::Random(_)));
    if let LayoutPolicy::Random(seed) = policy {
        prices::draw(&mut prices, seed);
    }
    let graph = states::Graph::new(planner, &choices, &prices);
    let states = if policy == LayoutPolicy::Greedy { graph.greedy() } else { graph.least() };
    graph.assignment(planner, &states)
}

/// How what an op reads lies, for [`crate::ops::Operator::layout`].
pub(crate) struct Layouts<'m> {
    model: &'m Model,
    of: &'m dyn Fn(i32) -> Strided,
}

impl Layouts<'_> {
    /// Dense, with `value`'s order of axes and other sizes of the same rank.
    pub fn like(&self, value: i32, sizes: &[usize]) -> Strided {
        let shape = (self.of)(value);
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

/// An order of axes, outermost first.
pub(crate) type Order = SmallVec<[u8; MAX_RANK]>;

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
pub(crate) fn order(shape: &Strided) -> Order {
    let rank = shape.rank() as u8;
    let told = |d: &u8| shape.size(usize::from(*d)) != 1;
    let mut sorted: Order = (0..rank).filter(told).collect();
    sorted.sort_by_key(|&d| std::cmp::Reverse(shape.stride(usize::from(d))));
    let mut next = sorted.into_iter();
    (0..rank).map(|d| if told(&d) { next.next().unwrap_or(d) } else { d }).collect()
}

/// Whether the elements fill their extent, each at its own place.
pub(crate) fn is_dense(shape: &Strided) -> bool {
    same_places(shape, &Strided::with_order(shape.sizes(), &order(shape)))
}

/// Whether two shapes of the same sizes have the same order of axes, whatever the gaps.
pub(crate) fn same_order(a: &Strided, b: &Strided) -> bool {
    a.sizes() == b.sizes() && (a.elements() == 0 || order(a) == order(b))
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
            assert_eq!(order(&shape)[..], order_in);
            assert!(is_dense(&shape));
        }
        let image = channels_last(&[1, 8, 4, 4]);
        assert_eq!(describe(&image), "nhwc");
        let column = image.reshaped(&[1, 8, 16]).unwrap();
        assert_eq!(order(&column)[..], [0, 2, 1]);
        assert!(!is_dense(&Strided::new(&[4, 4], &[8, 1])));
        assert!(!is_dense(&Strided::new(&[4, 4], &[0, 1])));
        assert!(!is_dense(&Strided::new(&[3, 3], &[2, 2])));
        assert_eq!(describe(&Strided::new(&[4, 4], &[8, 1])), "mn*");
    }
}
