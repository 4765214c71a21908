//! The row against a stable sort.

use tandem_base::{Span, SpanMut};

use super::*;
use crate::elementwise::offset;
use crate::testing::{Random, outcome, rows, run, sample};

#[test]
fn rows_sort_as_a_stable_sort_does() {
    for seed in sample(0..150) {
        let mut r = Random::new(seed);
        let sizes = r.sizes(1..4, 60);
        let dim = r.below(sizes.len());
        let mut wanted = sizes.clone();
        wanted[dim] = r.pick(&[sizes[dim], sizes[dim] / 2, sizes[dim].min(1)]);
        let (src, dst) = (r.layout(&sizes), r.layout(&wanted));
        let p = Problem { src, of: Type::F32, dst, dim, descending: r.below(2) == 0 };
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0];
        let values: Vec<f32> = (0..src.extent())
            .map(|_| if r.below(6) == 0 { r.pick(&special) } else { r.below(9) as f32 - 4.0 })
            .collect();
        let mut want = vec![-7i64; dst.extent()];
        let line = |shape: &Strided, i: usize, at: usize| {
            let mut sizes = shape.sizes().to_vec();
            sizes[dim] = 1;
            offset(&Strided::new(&sizes, shape.strides()), i) + at * shape.stride(dim)
        };
        let lines: usize = sizes.iter().enumerate().map(|(d, &n)| if d == dim { 1 } else { n }).product();
        for i in 0..lines {
            let mut order: Vec<usize> = (0..sizes[dim]).collect();
            let value = |&at: &usize| values[line(&src, i, at)];
            let compare = |a: f32, b: f32| a.partial_cmp(&b).unwrap_or(a.is_nan().cmp(&b.is_nan()));
            order.sort_by(|a, b| {
                let (a, b) = (value(a), value(b));
                if p.descending { compare(b, a) } else { compare(a, b) }
            });
            for at in 0..wanted[dim] {
                want[line(&dst, i, at)] = order[at] as i64;
            }
        }
        for row in rows(KERNELS, &p) {
            let got = outcome(&vec![-7i64; dst.extent()], row.name, |dst, split| {
                let src = Span::from(bytemuck::cast_slice::<f32, u8>(&values));
                run(row, &p, Args { src, dst: SpanMut::from(dst) }, split);
            });
            assert_eq!(got, want, "{p:?}");
        }
    }
}
