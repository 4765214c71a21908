//! Every row against the definition, element by element, for every width and edge.

use tandem_base::strided::MAX_RANK;
use tandem_base::{Span, SpanMut, Strided};

use super::{Args, Edge, KERNELS, Problem};
use crate::elementwise::offset;
use crate::testing::{Random, outcome, rows, run, sample};

const CANARY: u8 = 0xA7;

/// Where the element at `index` of the destination comes from, by PyTorch's definition of the paddings.
fn origin(p: &Problem, mut index: usize) -> Option<usize> {
    let mut at = 0;
    for d in (0..p.dst.rank()).rev() {
        let n = p.src.size(d) as isize;
        let mut i = (index % p.dst.size(d)) as isize - p.before[d];
        index /= p.dst.size(d);
        while !(0..n).contains(&i) {
            i = match p.edge {
                Edge::Constant(_) => return None,
                Edge::Reflect if i < 0 => -i,
                Edge::Reflect => n - 1 - (i - (n - 1)),
                Edge::Replicate if i < 0 => 0,
                Edge::Replicate => n - 1,
                Edge::Circular if i < 0 => i + n,
                Edge::Circular => i - n,
            };
        }
        at += i as usize * p.src.stride(d);
    }
    Some(at)
}

fn check(p: &Problem, random: &mut Random) {
    let src: Vec<u8> = (0..p.src.extent() * p.width).map(|_| random.next() as u8).collect();
    let dst = vec![CANARY; (p.dst.extent() + 3) * p.width];
    let mut want = dst.clone();
    for index in 0..p.dst.elements() {
        let to = offset(&p.dst, index) * p.width;
        let element = match (origin(p, index), p.edge) {
            (Some(at), _) => src[at * p.width..(at + 1) * p.width].to_vec(),
            (None, Edge::Constant(bits)) => bits.to_le_bytes()[..p.width].to_vec(),
            _ => unreachable!("only constants have no origin"),
        };
        want[to..to + p.width].copy_from_slice(&element);
    }
    for row in rows(KERNELS, p) {
        let got = outcome(&dst, row.name, |dst, split| {
            run(row, p, Args { src: Span::from(&src[..]), dst: SpanMut::from(dst) }, split);
        });
        assert!(got == want, "{}: {p:?}", row.name);
    }
}

fn copy(src: Strided, dst: Strided, width: usize) -> Problem {
    Problem { src, dst, width, before: [0; MAX_RANK], edge: Edge::Constant(0) }
}

#[test]
fn copies_of_any_layout() {
    let mut random = Random::new(11);
    for i in sample(0..400) {
        let sizes = random.sizes(0..5, [17, 33, 70, 300][i % 4]);
        let (src, dst) = (random.layout(&sizes), random.layout(&sizes));
        check(&copy(src, dst, [1, 2, 4, 8, 4][i % 5]), &mut random);
    }
}

#[test]
fn broadcast_source() {
    let mut random = Random::new(12);
    let src = Strided::contiguous(&[3, 1, 40]).broadcast_to(&[2, 3, 5, 40]).unwrap();
    check(&copy(src, Strided::contiguous(src.sizes()), 4), &mut random);
    check(&copy(src, Strided::with_order(src.sizes(), &[0, 2, 3, 1]), 4), &mut random);
}

#[test]
fn transposes_of_several_tiles() {
    let mut random = Random::new(13);
    for sizes in [[1, 3, 150, 150], [2, 70, 31, 33], [1, 300, 9, 17], [1, 16, 64, 64], [1, 2, 1, 20000]] {
        let (planes, image) = (Strided::contiguous(&sizes), Strided::with_order(&sizes, &[0, 2, 3, 1]));
        for width in [4, 8] {
            check(&copy(planes, image, width), &mut random);
            check(&copy(image, planes, width), &mut random);
        }
    }
}

#[test]
fn paddings_and_crops() {
    let mut random = Random::new(14);
    for i in sample(0..500) {
        let src = random.sizes(1..5, 30);
        let edge = match i % 4 {
            0 => Edge::Constant(random.next()),
            1 => Edge::Reflect,
            2 => Edge::Replicate,
            _ => Edge::Circular,
        };
        let mut before = [0; MAX_RANK];
        let mut dst = Vec::new();
        for (d, &n) in src.iter().enumerate() {
            let room = match edge {
                Edge::Constant(_) => 4,
                Edge::Reflect => n.saturating_sub(1).min(4),
                _ => n.min(4),
            };
            let side = |random: &mut Random| match random.below(3) {
                0 => 0,
                1 => random.below(room + 1) as isize,
                _ => -(random.below(n.min(3) + 1) as isize),
            };
            let [a, b] = [side(&mut random), side(&mut random)];
            before[d] = a;
            dst.push((n as isize + a + b).max(0) as usize);
        }
        // What lies past the other end cannot be mirrored.
        let valid = |d: usize| {
            matches!(edge, Edge::Constant(_)) || (src[d] > 0 && dst[d] as isize > before[d].max(0))
        };
        if (0..src.len()).all(valid) {
            let p = Problem {
                src: random.layout(&src),
                dst: random.layout(&dst),
                width: [4, 1, 2, 8][i / 4 % 4],
                before,
                edge,
            };
            check(&p, &mut random);
        }
    }
}

#[test]
fn padded_image() {
    let mut random = Random::new(15);
    for order in [[0, 1, 2, 3], [0, 2, 3, 1]] {
        for edge in
            [Edge::Constant(0), Edge::Constant(0x3F80_0000), Edge::Reflect, Edge::Replicate, Edge::Circular]
        {
            let src = Strided::with_order(&[2, 24, 40, 40], &order);
            let dst = Strided::with_order(&[2, 24, 43, 44], &order);
            let mut before = [0; MAX_RANK];
            (before[2], before[3]) = (1, 2);
            check(&Problem { src, dst, width: 4, before, edge }, &mut random);
        }
    }
}
