//! What entries and copies take, measured.

use std::time::{Duration, Instant};

use super::{Copy, Unit};

/// Elements of a row that is copied, and rows: source and destination stay in L2 together.
const WIDTH: usize = 1024;
const ROWS: usize = 16;
/// Entries timed together.
const ENTRIES: usize = 64;
/// The best of this long counts: what else runs only slows one down.
const BUDGET: Duration = Duration::from_millis(10);

/// Time to enter and leave streaming mode, in ns: of a call that copies one element.
pub fn entry_ns<U: Unit>() -> f64 {
    let (src, mut dst) = ([0.0; 1], [0.0; 1]);
    best_ns(ENTRIES, || copy::<U>(&src, &mut dst, 1))
}

/// Elements copied to a slab, in Gelement/s.
pub fn copy_gelems<U: Unit>() -> f64 {
    let (src, mut dst) = (vec![1.0; ROWS * WIDTH], vec![0.0; ROWS * WIDTH]);
    let entry = entry_ns::<U>();
    let all = best_ns(1, || copy::<U>(&src, &mut dst, WIDTH));
    (ROWS * WIDTH) as f64 / (all - entry).max(1.0)
}

/// Copies rows of `width`.
fn copy<U: Unit>(src: &[f32], dst: &mut [f32], width: usize) {
    let rows = src.len() / width;
    assert!(width > 0 && rows > 0 && dst.len() == src.len(), "whole rows");
    let (src_row, dst_row) = (width, width);
    let (src, dst) = (src.as_ptr(), dst.as_mut_ptr());
    let all =
        Copy { src, dst, width, step: 1, rows, src_row, dst_row, planes: 1, src_plane: 0, dst_plane: 0 };
    // SAFETY: one plane of so many rows lies in both; who asks for a unit has it.
    unsafe { U::copy(&all) }
}

/// Least time of one of `calls`.
fn best_ns(calls: usize, mut call: impl FnMut()) -> f64 {
    let (begin, mut least) = (Instant::now(), f64::INFINITY);
    while least.is_infinite() || begin.elapsed() < BUDGET {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        least = least.min(start.elapsed().as_nanos() as f64 / calls as f64);
    }
    least
}

#[cfg(test)]
mod tests {
    use super::super::Emulated;
    use super::*;

    #[test]
    fn copies_are_copies_and_take_time() {
        let src: Vec<f32> = (0..30u8).map(f32::from).collect();
        let mut dst = vec![0.0; 30];
        copy::<Emulated<4>>(&src, &mut dst, 10);
        assert_eq!(src, dst);
        let costs = [entry_ns::<Emulated<16>>(), copy_gelems::<Emulated<16>>()];
        assert!(costs.iter().all(|cost| *cost > 0.0 && cost.is_finite()), "{costs:?}");
    }
}
