//! The rows against loops over every element.

use tandem_base::{Span, SpanMut, Strided};

use super::*;
use crate::elementwise::offset;
use crate::testing::{Random, outcome, rows, run, sample};

/// Sizes, a dimension, how many elements it has where places are of, and places, some from the end.
fn problem(r: &mut Random, of: Type, scatters: bool) -> (Problem, Vec<i64>) {
    let sizes = r.sizes(1..5, 60);
    let dim = r.below(sizes.len());
    let mut through = sizes.clone();
    through[dim] = 1 + r.below(9);
    let own: Vec<usize> = sizes
        .iter()
        .enumerate()
        .map(|(d, &n)| if d != dim && r.below(2) == 0 { n.min(1) } else { n })
        .collect();
    let index = r.layout(&own);
    let size = through[dim] as i64;
    let places = (0..index.extent()).map(|_| r.below(2 * through[dim]) as i64 - size).collect();
    let spread = index.broadcast_to(&sizes).expect("sizes of 1 broadcast");
    let (src, dst) = if scatters { (sizes, through) } else { (through, sizes) };
    (Problem { src: r.layout(&src), index: spread, dst: r.layout(&dst), dim, of, write: Write::Put }, places)
}

/// Offset in the operand that places are of.
fn through(p: &Problem, shape: &Strided, places: &[i64], mut i: usize) -> usize {
    let place = places[offset(&p.index, i)];
    let mut at = 0;
    for d in (0..p.index.rank()).rev() {
        let own = i % p.index.size(d);
        i /= p.index.size(d);
        let here = if d == p.dim { wrapped(place, shape.size(d)) } else { own };
        at += here * shape.stride(d);
    }
    at
}

#[test]
fn rows_gather_as_defined() {
    for seed in sample(0..200) {
        let mut r = Random::new(seed);
        let (p, places) = problem(&mut r, Type::I32, false);
        let src: Vec<i32> = (0..p.src.extent() as i32).collect();
        let mut want = vec![-7i32; p.dst.extent()];
        for i in 0..p.dst.elements() {
            want[offset(&p.dst, i)] = src[through(&p, &p.src, &places, i)];
        }
        for row in rows(GATHER, &p) {
            let dst = outcome(&vec![-7i32; want.len()], row.name, |dst, split| {
                let dst = SpanMut::from(bytemuck::cast_slice_mut::<i32, u8>(dst));
                let src = Span::from(bytemuck::cast_slice::<i32, u8>(&src));
                run(row, &p, Args { src, index: Span::from(&places[..]), dst }, split);
            });
            assert_eq!(dst, want, "{p:?}");
        }
    }
}

#[test]
fn rows_scatter_as_defined() {
    for seed in sample(0..200) {
        let mut r = Random::new(seed);
        let (mut p, places) = problem(&mut r, Type::I64, true);
        p.write = r.pick(&[Write::Put, Write::Add, Write::Mul, Write::Max, Write::Min]);
        let src: Vec<i64> =
            (0..p.src.extent() as i64).map(|i| (1 + i) * if i % 3 == 0 { -1 } else { 1 }).collect();
        let before: Vec<i64> = (0..p.dst.extent() as i64).map(|i| -i).collect();
        for row in rows(SCATTER, &p) {
            let dst = outcome(&before, row.name, |dst, split| {
                let dst = SpanMut::from(bytemuck::cast_slice_mut::<i64, u8>(dst));
                let src = Span::from(bytemuck::cast_slice::<i64, u8>(&src));
                run(row, &p, Args { src, index: Span::from(&places[..]), dst }, split);
            });
            let mut sums = before.clone();
            let mut allowed: Vec<Vec<i64>> = before.iter().map(|&b| vec![b]).collect();
            for i in 0..p.src.elements() {
                let (from, to) = (src[offset(&p.src, i)], through(&p, &p.dst, &places, i));
                sums[to] = match p.write {
                    Write::Mul => sums[to].wrapping_mul(from),
                    Write::Max => sums[to].max(from),
                    Write::Min => sums[to].min(from),
                    _ => sums[to] + from,
                };
                if allowed[to] == [before[to]] {
                    allowed[to].clear();
                }
                allowed[to].push(from);
            }
            if p.write != Write::Put {
                assert_eq!(dst, sums, "{p:?}");
            } else {
                assert!(dst.iter().zip(&allowed).all(|(x, any)| any.contains(x)), "{p:?}");
            }
        }
    }
}

#[test]
fn places_outside_are_refused() {
    let (src, shape) = (Strided::contiguous(&[3]), Strided::contiguous(&[2]));
    let p = Problem { src, index: shape, dst: shape, dim: 0, of: Type::F32, write: Write::Put };
    let (values, mut to) = ([0u8; 12], [0u8; 8]);
    for (places, size) in [([0, 3], 3), ([-4, 1], -4)] {
        let places: [i64; 2] = places;
        let args = Args {
            src: Span::from(&values[..]),
            index: Span::from(&places[..]),
            dst: SpanMut::from(&mut to[..]),
        };
        assert_eq!(Gather::check(&p, &args), Err(ArgError::Place { place: size, size: 3 }));
    }
}
