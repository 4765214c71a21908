//! Every row against exact sums and the definition in f64, on random problems with remainders of every tile, panel and word.

use proptest::prelude::*;
use tandem_base::{Span, SpanMut, Strided};

use super::*;
use crate::conv::MAX_SEGMENTS;
use crate::epilogue::{Act, Epilogue};
use crate::panels;
use crate::testing::{Random, outcome, rows, run, sample};

/// What a destination holds before a kernel runs.
const CANARY: i8 = 85;

/// Operands of a problem. Weights by column and k without padding; column arrays hold rubbish behind the columns.
struct Case {
    problem: Problem,
    src: Vec<Vec<i8>>,
    weights: Vec<i8>,
    packed: Vec<i8>,
    sums: Vec<i32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

/// Sizes of a random problem before it is laid out.
type Sizes = (Vec<usize>, [usize; 2], [usize; 2], [usize; 2], [usize; 4], [usize; 2], usize, usize);

fn case(sizes: Sizes, batch: usize, seed: u64) -> Option<Case> {
    let (channels, plane, kernel, stride, padding, dilation, columns, flags) = sizes;
    let mut out = [0; 2];
    for axis in 0..2 {
        let reach = dilation[axis] * (kernel[axis] - 1) + 1;
        out[axis] = (plane[axis] + padding[axis] + padding[axis + 2]).checked_sub(reach)? / stride[axis] + 1;
    }
    let mut r = Random::new(seed);
    let shuffle = if flags % 8 == 0 { 2 } else { 1 };
    let grouped = flags & 2 == 2 && channels.len() == 1 && shuffle == 1 && channels[0].is_multiple_of(2);
    let groups = if grouped { 2 } else { 1 };
    let order = |last: bool| if last { [0u8, 2, 3, 1] } else { [0, 1, 2, 3] };
    let image = |c: usize, h: usize, w: usize, last| Strided::with_order(&[batch, c, h, w], &order(last));
    let affine = |r: &mut Random, scale| Affine { scale, zero: r.pick(&[-128, -3, 0, 17, 127]) };
    let problem = Problem {
        conv: conv::Problem {
            src: channels.iter().map(|&c| image(c, plane[0], plane[1], flags & 16 == 0)).collect(),
            dst: image(columns * groups, out[0] * shuffle, out[1] * shuffle, flags & 32 == 0),
            kernel,
            stride,
            padding,
            dilation,
            groups,
            shuffle,
            epilogue: Epilogue {
                bias: flags & 64 == 0,
                act: [Act::None, Act::Relu][flags >> 7 & 1],
                act2: if flags & 384 == 256 { Act::Clamp { lo: -0.5, hi: 0.7 } } else { Act::None },
                ..Epilogue::default()
            },
            fast_math: true,
        },
        src: affine(&mut r, 0.02),
        dst: affine(&mut r, 0.03),
    };
    Some(Case::new(problem, &mut r))
}

impl Case {
    fn new(problem: Problem, r: &mut Random) -> Self {
        let p = &problem.conv;
        let bytes = |r: &mut Random, n: usize| (0..n).map(|_| r.next() as i8).collect::<Vec<_>>();
        let (parts, columns) = p.column_groups();
        let (k, padded) = (p.k(), panels::padded(columns));
        let weights = bytes(r, parts * columns * k);
        let (mut packed, mut sums) = (Vec::new(), vec![i32::MAX; parts * padded]);
        for part in 0..parts {
            let of = |column: usize| &weights[(part * columns + column) * k..][..k];
            for column in 0..columns {
                sums[part * padded + column] = of(column).iter().map(|&w| i32::from(w)).sum();
            }
            let rows: Vec<Option<usize>> = rows_of_words(p);
            packed.extend(panels::pack_words(WORD, rows.len(), columns, |row, column| {
                rows[row].map_or(0, |k| of(column)[k])
            }));
        }
        let step = 1.0 / (128.0 * (k as f32).sqrt().max(1.0));
        Self {
            src: p.src.iter().map(|s| bytes(r, s.extent())).collect(),
            scale: r.floats(parts * padded).iter().map(|x| (x.abs() + 0.1) * step).collect(),
            bias: r.floats(parts * padded),
            weights,
            packed,
            sums,
            problem,
        }
    }

    fn args<'a>(&'a self, dst: &'a mut [i8]) -> Args<'a> {
        let mut src = [Span::empty(); MAX_SEGMENTS];
        for (to, from) in src.iter_mut().zip(&self.src) {
            *to = Span::from(&from[..]);
        }
        Args {
            src,
            weight: Span::from(&self.packed[..]),
            sums: Span::from(&self.sums[..]),
            scale: Span::from(&self.scale[..]),
            bias: Span::from(&self.bias[..]),
            dst: SpanMut::from(dst),
        }
    }

    /// By the definition: every output's place and its value in units of the destination's scale before it is rounded.
    fn expected(&self) -> Vec<(usize, f64)> {
        let (q, p) = (&self.problem, &self.problem.conv);
        let (parts, columns) = p.column_groups();
        let [oh, ow] = p.out_size();
        let mut all = Vec::new();
        for index in 0..p.batch() * oh * ow * parts * columns {
            let (column, rest) = (index % columns, index / columns);
            let (part, rest) = (rest % parts, rest / parts);
            let (n, oy, ox) = (rest / ow / oh, rest / ow % oh, rest % ow);
            let mut weights = self.weights[(part * columns + column) * p.k()..].iter();
            let mut sum = 0i64;
            for (ky, kx) in (0..p.kernel[0]).flat_map(|y| (0..p.kernel[1]).map(move |x| (y, x))) {
                let y = (oy * p.stride[0] + ky * p.dilation[0]) as isize - p.padding[0] as isize;
                let x = (ox * p.stride[1] + kx * p.dilation[1]) as isize - p.padding[1] as isize;
                for (s, data) in p.src.iter().zip(&self.src) {
                    let channels = s.size(1) / p.groups;
                    for c in 0..channels {
                        let weight = i64::from(*weights.next().unwrap());
                        if (0..s.size(2) as isize).contains(&y) && (0..s.size(3) as isize).contains(&x) {
                            let channel = if p.groups > 1 { part * channels + c } else { c };
                            let at = [n, channel, y as usize, x as usize];
                            let at: usize = (0..4).map(|d| at[d] * s.stride(d)).sum();
                            sum += (i64::from(data[at]) - i64::from(q.src.zero)) * weight;
                        }
                    }
                }
            }
            let padded = part * panels::padded(columns) + column;
            let bias = if p.epilogue.bias { f64::from(self.bias[padded]) } else { 0.0 };
            let value = sum as f64 * f64::from(q.src.scale) * f64::from(self.scale[padded]) + bias;
            let value = p.epilogue.act2.eval(p.epilogue.act.eval(value as f32));
            let r = p.shuffle;
            let (channel, dy, dx) =
                if r > 1 { (column, part / r, part % r) } else { (part * columns + column, 0, 0) };
            let at = [n, channel, oy * r + dy, ox * r + dx];
            all.push((
                (0..4).map(|d| at[d] * p.dst.stride(d)).sum(),
                f64::from(value) / f64::from(q.dst.scale),
            ));
        }
        all
    }
}

/// Which k lies in every row of the panels; none in the padding of a segment's channels.
fn rows_of_words(p: &conv::Problem) -> Vec<Option<usize>> {
    let (mut rows, mut k) = (Vec::new(), 0);
    for _ in 0..p.kernel[0] * p.kernel[1] {
        for s in &p.src {
            let channels = s.size(1) / p.groups;
            rows.extend((k..k + channels).map(Some));
            rows.resize(rows.len().next_multiple_of(WORD), None);
            k += channels;
        }
    }
    rows
}

fn check(case: &Case) {
    let p = &case.problem;
    let zero = f64::from(p.dst.zero);
    let canary = vec![CANARY; p.conv.dst.extent()];
    let expected = case.expected();
    let mut first: Option<Vec<i8>> = None;
    for row in rows(KERNELS, p) {
        let dst = outcome(&canary, row.name, |dst, split| run(row, p, case.args(dst), split));
        for &(at, value) in &expected {
            // The value meets three roundings to f32 before the one to an integer: next to a half it may fall to
            // either side.
            let near = |off: f64| ((value + off).round_ties_even() + zero).clamp(-128.0, 127.0);
            let off = 1e-5 * (value.abs() + 300.0);
            let found = f64::from(dst[at]);
            assert!(
                found == near(off) || found == near(-off),
                "{} at {at}: {found}, expected {value} + {zero}\n{p:?}",
                row.name
            );
        }
        let untouched = dst.iter().filter(|&&x| x == CANARY).count();
        assert!(untouched + expected.len() >= dst.len(), "{} writes between elements", row.name);
        let first = first.get_or_insert_with(|| dst.clone());
        assert!(dst == *first, "{} differs from the reference\n{p:?}", row.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: sample(0..96u32).count() as u32, ..ProptestConfig::default() })]
    #[test]
    fn rows_agree_with_the_definition(
        channels in prop::collection::vec(prop_oneof![1usize..10, 15usize..18, 30usize..36], 1..4),
        plane in (1usize..19, 1usize..19), kernel in (1usize..4, 1usize..4), stride in (1usize..3, 1usize..3),
        padding in (0usize..3, 0usize..3, 0usize..3, 0usize..3), dilation in (1usize..3, 1usize..3),
        columns in prop_oneof![1usize..5, 15usize..18, 31usize..35, 47usize..50],
        flags in 0usize..512, batch in 0usize..3, seed in any::<u64>(),
    ) {
        let (a, b, c, d) = padding;
        let sizes = (channels, plane.into(), kernel.into(), stride.into(), [a, b, c, d], dilation.into(),
            columns, flags);
        if let Some(case) = case(sizes, batch, seed) {
            check(&case);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: sample(0..48u32).count() as u32, ..ProptestConfig::default() })]
    #[test]
    fn groups_of_whole_words_agree(
        words in 1usize..6, plane in (1usize..19, 1usize..19), kernel in (1usize..4, 1usize..4),
        stride in (1usize..3, 1usize..3), padding in 0usize..3,
        columns in prop_oneof![1usize..5, 15usize..18, 31usize..35], flags in 0usize..64, seed in any::<u64>(),
    ) {
        // Two groups, no shuffle.
        let (channels, flags) = (vec![2 * WORD * words], flags << 3 | 3);
        let sizes = (channels, plane.into(), kernel.into(), stride.into(), [padding; 4], [1, 1], columns, flags);
        if let Some(case) = case(sizes, 1, seed) {
            assert_eq!(case.problem.conv.groups, 2);
            check(&case);
        }
    }
}

#[test]
fn long_channels_add_up() {
    let sizes = (vec![1100], [3, 4], [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 33, 1);
    check(&case(sizes, 1, 5).unwrap());
}
