//! Sums over taps for a few neighbouring outputs of one row, lanes along channels.

use crate::simd::Simd;

/// Outputs of a full run; the common planes are multiples of it.
pub(super) const RUN: usize = 7;

/// What the outputs of a run read: the same for every channel.
#[derive(Clone, Copy)]
pub(super) struct Window {
    /// Tap rows inside the image.
    pub rows: usize,
    /// Source elements from a tap row to the next.
    pub row: usize,
    /// Source elements from a column to the next.
    pub pixel: usize,
    /// Column of the first output's first tap, wrapping below 0.
    pub x: usize,
    /// Columns of the image.
    pub width: usize,
    /// Tap columns, and source columns from one to the next.
    pub taps: [usize; 2],
    /// Source columns from an output to the next.
    pub stride: usize,
}

/// Where the lanes of one vector lie.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    /// First tap of the first output, wherever that points.
    pub src: *const f32,
    /// Weight of the first tap inside the image.
    pub weight: *const f32,
    /// Channels of the panel.
    pub panel: usize,
    /// Channels of the vector.
    pub channels: usize,
}

/// Source column `i`, zero outside the image.
///
/// # Safety
/// Columns inside the image have the lane's channels; all are inside, with all lanes, unless `CAREFUL`.
#[inline(always)]
unsafe fn column<V: Simd, const CAREFUL: bool>(w: &Window, src: *const f32, i: usize, channels: usize) -> V {
    // SAFETY: the caller's.
    unsafe {
        if !CAREFUL {
            V::load(src.add(i * w.pixel))
        } else if w.x.wrapping_add(i) < w.width {
            let from = src.wrapping_add(i * w.pixel);
            if channels == V::LANES { V::load(from) } else { V::load_first(from, channels) }
        } else {
            V::splat(0.0)
        }
    }
}

/// Sums of `N` outputs for kernels `K` wide, stride `S`, no dilation along x: a column once loaded serves every output
/// that reads it.
///
/// # Safety
/// As `column`, and the weights of `rows` tap rows can be read.
#[inline(always)]
unsafe fn sliding<V: Simd, const K: usize, const S: usize, const N: usize, const CAREFUL: bool>(
    w: &Window,
    lane: &Lane,
) -> [V; N] {
    // SAFETY: the caller's.
    unsafe {
        let (mut src, mut weight) = (lane.src, lane.weight);
        let mut sums = [V::splat(0.0); N];
        for _ in 0..w.rows {
            let mut weights = [V::splat(0.0); K];
            for (k, to) in weights.iter_mut().enumerate() {
                *to = V::load(weight.add(k * lane.panel));
            }
            macro_rules! columns {
                ($($i:literal)*) => {$(
                    if $i < (N - 1) * S + K {
                        let x = column::<V, CAREFUL>(w, src, $i, lane.channels);
                        for k in 0..K {
                            if k <= $i && ($i - k) % S == 0 && ($i - k) / S < N {
                                let j = ($i - k) / S;
                                sums[j] = x.mul_add(weights[k], sums[j]);
                            }
                        }
                    }
                )*};
            }
            // Unrolled by hand: a loop over columns keeps the sums in memory.
            columns!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
            src = src.wrapping_add(w.row);
            weight = weight.wrapping_add(K * lane.panel);
        }
        sums
    }
}

/// Sums of `N` outputs for any kernel, stride and dilation.
///
/// # Safety
/// As `sliding`.
#[inline(always)]
unsafe fn any<V: Simd, const N: usize, const CAREFUL: bool>(w: &Window, lane: &Lane) -> [V; N] {
    // SAFETY: the caller's.
    unsafe {
        let (mut src, mut weight) = (lane.src, lane.weight);
        let [taps, dilation] = w.taps;
        let mut sums = [V::splat(0.0); N];
        for _ in 0..w.rows {
            for tap in 0..taps {
                let factor = V::load(weight);
                for (j, sum) in sums.iter_mut().enumerate() {
                    let x = column::<V, CAREFUL>(w, src, j * w.stride + tap * dilation, lane.channels);
                    *sum = x.mul_add(factor, *sum);
                }
                weight = weight.wrapping_add(lane.panel);
            }
            src = src.wrapping_add(w.row);
        }
        sums
    }
}

/// Sums of `N` outputs.
///
/// # Safety
/// Columns inside the image have the lane's channels, and all are inside, with all lanes, unless `CAREFUL`; the weights
/// of the window's tap rows can be read.
#[inline(always)]
pub(super) unsafe fn sums<V: Simd, const N: usize, const CAREFUL: bool>(w: &Window, lane: &Lane) -> [V; N] {
    // SAFETY: the caller's.
    unsafe {
        match (w.taps, w.stride) {
            // Shorter runs are too rare to be worth their code.
            _ if N < RUN => any::<V, N, CAREFUL>(w, lane),
            ([3, 1], 1) => sliding::<V, 3, 1, N, CAREFUL>(w, lane),
            ([3, 1], 2) => sliding::<V, 3, 2, N, CAREFUL>(w, lane),
            ([5, 1], 1) => sliding::<V, 5, 1, N, CAREFUL>(w, lane),
            ([5, 1], 2) => sliding::<V, 5, 2, N, CAREFUL>(w, lane),
            _ => any::<V, N, CAREFUL>(w, lane),
        }
    }
}
