//! Every row against the definition in f64.

use tandem_base::{Span, SpanMut, Strided};

use super::*;
use crate::elementwise::offset;
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

const PADDINGS: [Padding; 3] = [Padding::Zeros, Padding::Border, Padding::Reflection];

/// Channels innermost or any order.
fn image(r: &mut Random, sizes: &[usize]) -> Strided {
    let last: Vec<u8> = [0].into_iter().chain(2..sizes.len() as u8).chain([1]).collect();
    if r.below(2) == 0 { r.layout(sizes) } else { Strided::with_order(sizes, &last) }
}

fn problem(r: &mut Random) -> Problem {
    let (axes, n, c) = (2 + r.below(2), 1 + r.below(2), r.pick(&[1, 2, 3, 16, 17, 33]));
    let sizes = |r: &mut Random| -> Vec<usize> { (0..axes).map(|_| 1 + r.below(7)).collect() };
    let (from, to) = (sizes(r), sizes(r));
    let src = image(r, &[&[n, c], &from[..]].concat());
    let dst = image(r, &[&[n, c], &to[..]].concat());
    let grid = r.layout(&[&[n], &to[..], &[axes]].concat());
    let kinds = [Kind::Nearest, Kind::Bilinear, Kind::Bicubic];
    let kind = if axes == 2 { r.pick(&kinds) } else { r.pick(&kinds[..2]) };
    Problem { src, grid, dst, kind, padding: r.pick(&PADDINGS), align_corners: r.below(2) == 0 }
}

/// An index in a dimension, if it lies inside or is moved there.
fn inside(p: &Problem, size: usize, x: f64) -> f64 {
    let (last, n) = (size as f64 - 1.0, size as f64);
    match p.padding {
        Padding::Zeros => x,
        Padding::Border => x.clamp(0.0, last),
        Padding::Reflection => {
            let (low, high) = if p.align_corners { (0.0, last) } else { (-0.5, n - 0.5) };
            if high <= low {
                return 0.0;
            }
            let mut x = x;
            while x < low || x > high {
                x = if x < low { 2.0 * low - x } else { 2.0 * high - x };
            }
            x.clamp(0.0, last)
        }
    }
}

/// Indices and weights along a dimension.
fn taps(p: &Problem, size: usize, x: f32) -> Vec<(f64, f64)> {
    let (x, n) = (f64::from(x), size as f64);
    let center = if p.align_corners { (x + 1.0) / 2.0 * (n - 1.0) } else { (x + 1.0) * n / 2.0 - 0.5 };
    let kernel = |x: f64| match x.abs() {
        x if x <= 1.0 => 1.25 * x.powi(3) - 2.25 * x.powi(2) + 1.0,
        x if x < 2.0 => -0.75 * x.powi(3) + 3.75 * x.powi(2) - 6.0 * x + 3.0,
        _ => 0.0,
    };
    let at = inside(p, size, center);
    match p.kind {
        Kind::Nearest => vec![(at.round_ties_even(), 1.0)],
        Kind::Bilinear => vec![(at.floor(), at.floor() + 1.0 - at), (at.floor() + 1.0, at - at.floor())],
        Kind::Bicubic => {
            let first = center.floor();
            [-1.0, 0.0, 1.0, 2.0].map(|i| (inside(p, size, first + i), kernel(center - first - i))).to_vec()
        }
    }
}

/// The element at an index of the destination; its places lie `step` apart in the grid.
fn definition(p: &Problem, src: &[f32], grid: &[f32], index: &[usize]) -> f64 {
    let (rank, place) = (p.src.rank(), [&index[..1], &index[2..]].concat());
    let at: usize = place.iter().zip(p.grid.strides()).map(|(i, s)| i * s).sum();
    let base = index[0] * p.src.stride(0) + index[1] * p.src.stride(1);
    let mut terms = vec![(base, 1.0)];
    for d in 2..rank {
        let (size, x) = (p.src.size(d), grid[at + (rank - 1 - d) * p.grid.stride(rank - 1)]);
        let along = taps(p, size, x);
        let inside = |i: f64| (0.0..size as f64).contains(&i);
        let next = |&(at, weight): &(usize, f64)| {
            let along = along.iter().filter(|(i, _)| inside(*i));
            along.map(move |&(i, w)| (at + i as usize * p.src.stride(d), weight * w)).collect::<Vec<_>>()
        };
        terms = terms.iter().flat_map(next).collect();
    }
    terms.into_iter().map(|(at, weight)| weight * f64::from(src[at])).sum()
}

fn index(shape: &Strided, mut flat: usize) -> Vec<usize> {
    let mut index = vec![0; shape.rank()];
    for d in (0..shape.rank()).rev() {
        index[d] = flat % shape.size(d);
        flat /= shape.size(d);
    }
    index
}

fn results(p: &Problem, src: &[f32], grid: &[f32]) -> Vec<(&'static str, Vec<f32>)> {
    let canary = vec![CANARY; p.dst.extent()];
    rows(KERNELS, p)
        .map(|row| {
            let call = |dst: &mut [f32], split| {
                let args = Args { src: Span::from(src), grid: Span::from(grid), dst: SpanMut::from(dst) };
                run(row, p, args, split);
            };
            (row.name, outcome(&canary, row.name, call))
        })
        .collect()
}

#[test]
fn random_problems() {
    let mut r = Random::new(51);
    for _ in sample(0..300) {
        let p = problem(&mut r);
        let src = r.floats(p.src.extent());
        // Multiples of an odd fraction: no place lies on the border between two nearest elements.
        let grid: Vec<f32> =
            (0..p.grid.extent()).map(|_| (r.below(1200) as f32 - 600.0) / 411.0 + 0.0003).collect();
        for (name, got) in results(&p, &src, &grid) {
            for i in 0..p.dst.elements() {
                let (at, want) = (offset(&p.dst, i), definition(&p, &src, &grid, &index(&p.dst, i)));
                // Places are off by 2^-20 of at most 7 elements, values by slopes of up to 4 x 2.25 along each axis.
                let error = (f64::from(got[at]) - want).abs();
                assert!(error <= 5e-5, "{name} at {i}: {} for {want} of {p:?}", got[at]);
            }
        }
    }
}

#[test]
fn what_is_no_number_is_outside() {
    let (image, places) = (Strided::contiguous(&[1, 1, 2, 3]), Strided::contiguous(&[1, 1, 4, 2]));
    let dst = Strided::contiguous(&[1, 1, 1, 4]);
    let grid = [f32::NAN, 0.0, f32::INFINITY, 0.0, 0.0, f32::NEG_INFINITY, 1e30, -1e30];
    for kind in [Kind::Nearest, Kind::Bilinear, Kind::Bicubic] {
        for padding in PADDINGS {
            for align_corners in [false, true] {
                let p = Problem { src: image, grid: places, dst, kind, padding, align_corners };
                for (name, got) in results(&p, &[1.0; 6], &grid) {
                    let want = if padding == Padding::Zeros { 0.0 } else { 1.0 };
                    assert!(got.iter().all(|x| (x - want).abs() < 1e-5), "{name}: {got:?} of {p:?}");
                }
            }
        }
    }
}

/// All in one tile or many, images of more places than a run.
#[test]
fn many_places() {
    let mut r = Random::new(52);
    for order in [[0, 1, 2, 3], [0, 2, 3, 1]] {
        let shape = |h, w| Strided::with_order(&[2, 40, h, w], &order);
        let (src, dst, grid) = (shape(9, 8), shape(11, 33), Strided::contiguous(&[2, 11, 33, 2]));
        let (kind, padding) = (Kind::Bilinear, Padding::Zeros);
        let p = Problem { src, grid, dst, kind, padding, align_corners: false };
        let (src, grid) = (r.floats(src.extent()), r.floats(grid.extent()));
        for (name, got) in results(&p, &src, &grid) {
            for i in 0..p.dst.elements() {
                let (at, want) = (offset(&p.dst, i), definition(&p, &src, &grid, &index(&p.dst, i)));
                assert!((f64::from(got[at]) - want).abs() <= 2e-5, "{name} at {i}: {} for {want}", got[at]);
            }
        }
    }
}
