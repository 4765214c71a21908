//! Every row against the definition in f64.

use tandem_base::{Span, SpanMut, Strided};

use super::{Args, KERNELS, Kind, Problem};
use crate::elementwise::offset;
use crate::epilogue::Act;
use crate::testing::{CANARY, Random, outcome, rows, run, sample};

fn problem(r: &mut Random) -> Problem {
    let rank = 2 + r.below(3);
    let mut sizes: Vec<usize> = (0..rank).map(|_| r.pick(&[1, 2, 3, 5, 8])).collect();
    let wide = r.pick(&[1, 4, 15, 16, 17, 31, 32, 33, 64, 100, 200]);
    sizes[rank - 1] = wide;
    sizes[1] = r.pick(&[1, 4, 8, 12, 16, 24, 32, 64]);
    let kind = match r.below(3) {
        0 => Kind::Layer { axes: 1 + r.below(rank - 1) },
        1 => Kind::Rms { axes: 1 + r.below(rank - 1) },
        _ => Kind::Group { groups: r.pick(&[1, 1, 2, 4, sizes[1]]).min(sizes[1]) },
    };
    if let Kind::Group { groups } = kind {
        sizes[1] = sizes[1].next_multiple_of(groups);
    }
    let shape = |r: &mut Random, sizes: &[usize]| match r.below(4) {
        0 => r.layout(sizes),
        1 if sizes.len() > 2 => {
            let order: Vec<u8> = std::iter::once(0).chain(2..sizes.len() as u8).chain([1]).collect();
            Strided::with_order(sizes, &order)
        }
        _ => Strided::contiguous(sizes),
    };
    let src = shape(r, &sizes);
    let dst = if r.below(3) == 0 { shape(r, &sizes) } else { src };
    Problem {
        src,
        dst,
        kind,
        eps: r.pick(&[1e-5, 1e-3]),
        scale: r.below(3) > 0,
        shift: r.below(3) > 0,
        act: r.pick(&[Act::None, Act::None, Act::Relu, Act::Gelu, Act::Silu]),
    }
}

/// Offsets of every element of every block with the element's parameter.
fn blocks(p: &Problem) -> Vec<Vec<(usize, usize, usize)>> {
    let n = p.src.elements();
    let (tail, inner) = match p.kind {
        Kind::Layer { axes } | Kind::Rms { axes } => {
            let inner: usize = p.src.sizes()[p.src.rank() - axes..].iter().product();
            (inner, inner)
        }
        Kind::Group { groups } => {
            let behind: usize = p.src.sizes()[2..].iter().product();
            (behind, behind * p.src.size(1) / groups)
        }
    };
    let block = |first: usize| {
        let element = |i: usize| {
            let parameter = match p.kind {
                Kind::Group { .. } => i / tail.max(1) % p.src.size(1),
                _ => i - first,
            };
            (offset(&p.src, i), offset(&p.dst, i), parameter)
        };
        (first..first + inner).map(element).collect()
    };
    (0..n).step_by(inner.max(1)).map(block).collect()
}

fn args<'a>(
    p: &Problem,
    src: Span<'a, f32>,
    [scale, shift]: [&'a [f32]; 2],
    dst: SpanMut<'a, f32>,
) -> Args<'a> {
    let column = |has: bool, of: &'a [f32]| Span::from(if has { of } else { &[] });
    Args { src, scale: column(p.scale, scale), shift: column(p.shift, shift), dst }
}

fn check(p: &Problem, src: &[f32], r: &mut Random, tolerance: f64) {
    let (scale, shift) = (r.floats(p.parameters()), r.floats(p.parameters()));
    let mut want = vec![None; p.dst.extent()];
    for block in blocks(p) {
        let n = block.len() as f64;
        let x = |at: usize| f64::from(src[at]);
        let centred = !matches!(p.kind, Kind::Rms { .. });
        let mean = if centred { block.iter().map(|b| x(b.0)).sum::<f64>() / n } else { 0.0 };
        let variance = block.iter().map(|b| (x(b.0) - mean).powi(2)).sum::<f64>() / n;
        for (from, to, parameter) in block {
            let mut y = (x(from) - mean) / (variance + p.eps).sqrt();
            if p.scale {
                y *= f64::from(scale[parameter]);
            }
            if p.shift {
                y += f64::from(shift[parameter]);
            }
            want[to] = Some(f64::from(p.act.eval(y as f32)));
        }
    }
    for row in rows(KERNELS, p) {
        let apart = outcome(&vec![CANARY; p.dst.extent()], row.name, |dst, split| {
            run(row, p, args(p, Span::from(src), [&scale, &shift], SpanMut::from(dst)), split);
        });
        let mut results = vec![apart];
        if p.src == p.dst {
            results.push(outcome(&src[..p.src.extent()], row.name, |dst, split| {
                let dst = SpanMut::from(dst);
                run(row, p, args(p, dst.read(), [&scale, &shift], dst), split);
            }));
        }
        for (place, got) in results.iter().enumerate() {
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                match want {
                    Some(want) => {
                        let near = (f64::from(*got) - want).abs() <= tolerance * want.abs().max(1.0);
                        assert!(near, "{} at {i}: {got} for {want} of {p:?}", row.name);
                    }
                    None if place == 0 => assert!(*got == CANARY, "{} wrote {got} at {i}", row.name),
                    None => {}
                }
            }
        }
    }
}

#[test]
fn random_problems() {
    let mut r = Random::new(31);
    for _ in sample(0..400) {
        let p = problem(&mut r);
        let src = r.floats(p.src.extent());
        // A few roundings of values below 8; a tiny variance makes the distance from the mean count more.
        check(&p, &src, &mut r, 2e-5);
    }
}

#[test]
fn large_blocks_in_parts_keep_their_digits() {
    let mut r = Random::new(32);
    for (order, groups, act) in
        [([0, 2, 3, 1], 1, Act::Relu), ([0, 2, 3, 1], 4, Act::None), ([0, 1, 2, 3], 2, Act::None)]
    {
        let src = Strided::with_order(&[2, 64, 70, 61], &order);
        let kind = Kind::Group { groups };
        let p = Problem { src, dst: src, kind, eps: 1e-5, scale: true, shift: true, act };
        // A mean 50 times the deviation: sums of squares in f32 would lose everything.
        let data: Vec<f32> = r.floats(src.extent()).into_iter().map(|x| 50.0 + x).collect();
        check(&p, &data, &mut r, 2e-5);
    }
}

#[test]
fn vectors_take_what_models_have() {
    let norm = |sizes: &[usize], order: &[u8], kind| {
        let src = Strided::with_order(sizes, order);
        Problem { src, dst: src, kind, eps: 1e-5, scale: true, shift: true, act: Act::None }
    };
    for p in [
        norm(&[1, 197, 768], &[0, 1, 2], Kind::Layer { axes: 1 }),
        norm(&[1, 64, 256, 256], &[0, 2, 3, 1], Kind::Group { groups: 1 }),
        norm(&[1, 64, 16, 16], &[0, 1, 2, 3], Kind::Group { groups: 32 }),
        norm(&[2, 8, 64], &[0, 1, 2], Kind::Rms { axes: 1 }),
    ] {
        let vector = KERNELS.iter().filter(|row| row.name != "scalar-reference");
        assert!(vector.into_iter().all(|row| (row.supports)(&p) == Ok(())), "{p:?}");
    }
}
