//! Offsets for buffers that live over ranges of steps.

use tandem_base::mem::ALIGN;

/// A buffer and the steps it must survive, both ends included.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// Bytes.
    pub bytes: usize,
    /// First step that touches it.
    pub first: usize,
    /// Last step that touches it.
    pub last: usize,
}

/// Where buffers lie.
#[derive(Clone, Debug, Default)]
pub struct Arena {
    /// Byte offset of every buffer.
    pub offsets: Vec<usize>,
    /// Bytes in all.
    pub bytes: usize,
    /// Most bytes alive in one step: no arena can be smaller.
    pub live: usize,
}

/// Rounds of [`place`] that move the topmost buffer forward.
const ROUNDS: usize = 24;

/// Places buffers greedily, each at the tightest gap its lifetime leaves: largest first, then longest-lived first, and
/// from the better of the two, while it wastes anything, with the buffer that reaches highest placed first.
pub fn place(buffers: &[Lifetime]) -> Arena {
    let mut by_size: Vec<usize> = (0..buffers.len()).collect();
    by_size.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].bytes), buffers[i].first));
    let mut by_span = by_size.clone();
    by_span.sort_by_key(|&i| std::cmp::Reverse((buffers[i].last - buffers[i].first, buffers[i].bytes)));
    let (mut best, mut order) = [by_size, by_span]
        .into_iter()
        .map(|order| (in_order(buffers, &order), order))
        .min_by_key(|(arena, _)| arena.bytes)
        .expect("two orders");
    let mut last = best.clone();
    for _ in 0..ROUNDS {
        if best.bytes <= best.live {
            break;
        }
        let end = |&i: &usize| last.offsets[i] + buffers[i].bytes;
        let Some(at) = (0..order.len()).max_by_key(|&at| end(&order[at])) else { break };
        let top = order.remove(at);
        order.insert(0, top);
        last = in_order(buffers, &order);
        if last.bytes < best.bytes {
            best = last.clone();
        }
    }
    best
}

fn in_order(buffers: &[Lifetime], order: &[usize]) -> Arena {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut bytes = 0;
    for &i in order {
        let size = buffers[i].bytes.next_multiple_of(ALIGN);
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|&&j| buffers[j].first <= buffers[i].last && buffers[i].first <= buffers[j].last)
            .map(|&j| (offsets[j], offsets[j] + buffers[j].bytes.next_multiple_of(ALIGN)))
            .collect();
        taken.sort_unstable();
        // The tightest gap that fits, else behind everything.
        let (mut end, mut best) = (0, None::<(usize, usize)>);
        for (from, to) in taken {
            if from > end && from - end >= size && best.is_none_or(|(gap, _)| from - end < gap) {
                best = Some((from - end, end));
            }
            end = end.max(to);
        }
        offsets[i] = best.map_or(end, |(_, at)| at);
        bytes = bytes.max(offsets[i] + size);
        placed.push(i);
    }
    Arena { offsets, bytes, live: live(buffers) }
}

fn live(buffers: &[Lifetime]) -> usize {
    let steps = buffers.iter().map(|b| b.last + 1).max().unwrap_or(0);
    let mut change = vec![0isize; steps + 1];
    for b in buffers {
        let size = b.bytes.next_multiple_of(ALIGN) as isize;
        change[b.first] += size;
        change[b.last + 1] -= size;
    }
    let sums = change.iter().scan(0, |sum, c| {
        *sum += c;
        Some(*sum)
    });
    sums.max().unwrap_or(0) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn live_buffers_never_overlap(raw in prop::collection::vec((1usize..5000, 0usize..30, 0usize..8), 0..40)) {
            let buffers: Vec<Lifetime> =
                raw.iter().map(|&(bytes, first, len)| Lifetime { bytes, first, last: first + len }).collect();
            let arena = place(&buffers);
            prop_assert!(arena.bytes >= arena.live);
            for (i, a) in buffers.iter().enumerate() {
                prop_assert!(arena.offsets[i].is_multiple_of(ALIGN) && arena.offsets[i] + a.bytes <= arena.bytes);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let (x, y) = (arena.offsets[i], arena.offsets[j]);
                    prop_assert!(!together || x + a.bytes <= y || y + b.bytes <= x);
                }
            }
        }
    }

    #[test]
    fn a_chain_takes_its_two_largest_neighbours() {
        let chain: Vec<Lifetime> =
            (0..10).map(|i| Lifetime { bytes: 640 * (1 + i % 3), first: i, last: i + 1 }).collect();
        let arena = place(&chain);
        assert!(arena.bytes * 100 <= arena.live * 115, "{} for {}", arena.bytes, arena.live);
    }
}
