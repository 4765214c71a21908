//! Every row against the definition in f64, on random problems with remainders of every tile and panel size.

use proptest::prelude::*;
use tandem_base::{Isa, Span, SpanMut, Strided, Task};

use super::*;
use crate::epilogue::Act;

/// Deterministic values in [-0.5, 0.5].
fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

struct Case {
    problem: Problem,
    src: Vec<Vec<f32>>,
    weight: Vec<f32>,
    columns: [Vec<f32>; 3],
    residual: Vec<f32>,
}

/// Sizes of a random problem before it is laid out.
type Sizes = (Vec<usize>, [usize; 2], [usize; 2], [usize; 2], [usize; 4], [usize; 2], usize, usize);

fn case(
    (channels, plane, kernel, stride, padding, dilation, columns, flags): Sizes,
    batch: usize,
) -> Option<Case> {
    let mut out = [0; 2];
    for axis in 0..2 {
        let reach = dilation[axis] * (kernel[axis] - 1) + 1;
        out[axis] = (plane[axis] + padding[axis] + padding[axis + 2]).checked_sub(reach)? / stride[axis] + 1;
    }
    let shuffle = if flags & 1 == 1 { 2 } else { 1 };
    let order = |last: bool| if last { [0u8, 2, 3, 1] } else { [0, 1, 2, 3] };
    let image = |c: usize, h: usize, w: usize, last| Strided::with_order(&[batch, c, h, w], &order(last));
    let grouped = flags & 2 == 2 && channels.len() == 1 && shuffle == 1 && channels[0].is_multiple_of(2);
    let groups = if grouped { 2 } else { 1 };
    let columns = columns * groups;
    let dst = image(columns, out[0] * shuffle, out[1] * shuffle, flags & 4 == 0);
    let problem = Problem {
        src: channels.iter().map(|&c| image(c, plane[0], plane[1], flags & 8 == 0)).collect(),
        dst,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        shuffle,
        epilogue: Epilogue {
            bias: flags & 16 == 0,
            act: [Act::None, Act::Relu, Act::HardSwish, Act::Clamp { lo: -0.2, hi: 0.3 }][flags >> 5 & 3],
            scale_shift: flags & 128 == 0,
            residual: (flags & 256 == 0).then_some(dst),
            act2: if flags & 512 == 0 { Act::Relu } else { Act::None },
        },
        fast_math: true,
    };
    let padded = problem.padded_columns();
    Some(Case {
        src: problem.src.iter().enumerate().map(|(i, s)| values(s.extent(), 3 + i as u64)).collect(),
        weight: values(problem.k() * padded, 11),
        columns: [values(padded, 12), values(padded, 13), values(padded, 14)],
        residual: values(dst.extent(), 15),
        problem,
    })
}

impl Case {
    fn args<'a>(&'a self, dst: &'a mut [f32]) -> Args<'a> {
        let mut src = [Span::empty(); MAX_SEGMENTS];
        for (to, from) in src.iter_mut().zip(&self.src) {
            *to = Span::from(&from[..]);
        }
        let [bias, scale, shift] = self.columns.each_ref().map(|c| Span::from(&c[..]));
        let epilogue = EpilogueArgs { bias, scale, shift, residual: Span::from(&self.residual[..]) };
        Args { src, weight: Span::from(&self.weight[..]), epilogue, dst: SpanMut::from(dst) }
    }

    /// The definition, sums in f64, and the largest sum of magnitudes behind any output.
    fn expected(&self) -> (Vec<f32>, f64) {
        let p = &self.problem;
        let (parts, columns) = p.column_groups();
        let per_group = p.in_channels() / p.groups;
        let mut dst = vec![f32::NAN; p.dst.extent()];
        let mut largest = 0f64;
        let [oh, ow] = p.out_size();
        for index in 0..p.batch() * oh * ow * parts * columns {
            let (column, rest) = (index % columns, index / columns);
            let (part, rest) = (rest % parts, rest / parts);
            let (n, oy, ox) = (rest / ow / oh, rest / ow % oh, rest % ow);
            let (mut sum, mut magnitude, mut k) = (0f64, 0f64, 0);
            for (ky, kx) in (0..p.kernel[0]).flat_map(|y| (0..p.kernel[1]).map(move |x| (y, x))) {
                let y = (oy * p.stride[0] + ky * p.dilation[0]) as isize - p.padding[0] as isize;
                let x = (ox * p.stride[1] + kx * p.dilation[1]) as isize - p.padding[1] as isize;
                for (s, data) in p.src.iter().zip(&self.src) {
                    let first = if p.groups > 1 { part * per_group } else { 0 };
                    for c in 0..if p.groups > 1 { per_group } else { s.size(1) } {
                        let weight =
                            part * p.k() * panels::padded(columns) + panels::index(p.k(), columns, k, column);
                        k += 1;
                        if (0..s.size(2) as isize).contains(&y) && (0..s.size(3) as isize).contains(&x) {
                            let st = s.strides();
                            let at =
                                n * st[0] + (first + c) * st[1] + y as usize * st[2] + x as usize * st[3];
                            let term = f64::from(data[at]) * f64::from(self.weight[weight]);
                            sum += term;
                            magnitude += term.abs();
                        }
                    }
                }
            }
            largest = largest.max(magnitude);
            let (r, d) = (p.shuffle, p.dst.strides());
            let channel = if p.groups > 1 { part * columns + column } else { column };
            let (dy, dx) = if r > 1 { (part / r, part % r) } else { (0, 0) };
            let at = n * d[0] + channel * d[1] + (oy * r + dy) * d[2] + (ox * r + dx) * d[3];
            let padded = part * panels::padded(columns) + column;
            let mut dummy = vec![0f32; 0];
            let args = self.args(&mut dummy);
            // SAFETY: the operands have the problem's sizes.
            dst[at] = unsafe { p.epilogue.eval(&args.epilogue, sum as f32, padded, at) };
        }
        (dst, largest)
    }
}

/// Runs a row with its tiles in several calls and in one; both must give the same bits.
fn run(row: &'static Kernel<Conv>, case: &Case) -> Vec<f32> {
    let workspace = (row.workspace)(&case.problem);
    let mut answers = [1, usize::MAX].map(|chunk| {
        let mut dst = vec![-7.5f32; case.problem.dst.extent() + 8];
        let len = dst.len() - 8;
        let mut shared = tandem_base::AlignedBuf::zeroed(workspace.shared);
        let mut scratch = tandem_base::AlignedBuf::zeroed(workspace.per_worker);
        let args = case.args(&mut dst[..len]);
        let task = row.bind(&case.problem, args, SpanMut::from(shared.bytes_mut())).unwrap();
        for phase in 0..task.phases() {
            let mut at = 0;
            while at < task.tiles(phase) {
                let end = task.tiles(phase).min(at.saturating_add(chunk));
                // SAFETY: every tile of a phase once, phases in order.
                unsafe { task.run(phase, at..end, SpanMut::from(scratch.bytes_mut())) }
                at = end;
            }
        }
        assert!(dst[len..].iter().all(|&x| x == -7.5), "{} writes behind its destination", row.name);
        dst.truncate(len);
        dst
    });
    let same = answers[0].iter().zip(&answers[1]).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "{}: the split of tiles changes bits", row.name);
    std::mem::take(&mut answers[0])
}

fn check(case: &Case) {
    let (expected, magnitude) = case.expected();
    let here = KERNELS.iter().filter(|row| Isa::detect().has(row.isa));
    let rows = here.chain(crate::sme2::tests::CONV);
    for row in rows.filter(|row| (row.supports)(&case.problem).is_ok()) {
        let found = run(row, case);
        // k roundings of the running sum at worst; Winograd's transforms grow values by up to about 100.
        let k = case.problem.k() as f64;
        let factor = if row.name.contains("winograd") { 200.0 } else { 2.0 + k.sqrt() * 2.0 };
        let tolerance = (factor * f64::from(f32::EPSILON) * (magnitude + 1.0)) as f32;
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            let fits = (a - b).abs() <= tolerance;
            assert!(fits, "{} at {i}: {a}, expected {b} ± {tolerance}\n{:?}", row.name, case.problem);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn rows_agree_with_the_definition(
        channels in prop::collection::vec(prop_oneof![1usize..7, 15usize..18, 30usize..36], 1..3),
        plane in (1usize..19, 1usize..19), kernel in (1usize..4, 1usize..4), stride in (1usize..3, 1usize..3),
        padding in (0usize..3, 0usize..3, 0usize..3, 0usize..3), dilation in (1usize..3, 1usize..3),
        columns in prop_oneof![1usize..5, 15usize..18, 31usize..35, 47usize..50], flags in 0usize..1024, batch in 0usize..3,
    ) {
        let (a, b, c, d) = padding;
        let sizes = (channels, [plane.0, plane.1], [kernel.0, kernel.1], [stride.0, stride.1], [a, b, c, d],
            [dilation.0, dilation.1], columns, flags);
        if let Some(case) = case(sizes, batch) {
            check(&case);
        }
    }
}

#[test]
fn long_channels_span_runs() {
    // 1100 channels are two runs of the register tile; padding reads zeros in both.
    let sizes = (vec![1100], [3, 4], [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 33, 0);
    check(&case(sizes, 1).unwrap());
}

#[test]
fn selection_names_rows() {
    let rates = crate::Rates::default();
    let name = |sizes: &Sizes, isa| {
        let problem = case(sizes.clone(), 1).unwrap().problem;
        crate::select(KERNELS, &problem, isa, &rates).unwrap().kernel.name
    };
    let pointwise = (vec![64], [28, 28], [1, 1], [1, 1], [0; 4], [1, 1], 64, 0);
    let stem = (vec![3], [64, 64], [7, 7], [2, 2], [3; 4], [1, 1], 64, 8);
    let square = (vec![64], [64, 64], [3, 3], [1, 1], [1; 4], [1, 1], 64, 0);
    assert_eq!(name(&pointwise, Isa::SCALAR), "scalar-reference");
    if cfg!(target_arch = "x86_64") {
        let all = Isa::AVX2 | Isa::AVX512;
        assert_eq!(name(&pointwise, all), "avx512-direct-14x32");
        assert_eq!(name(&pointwise, Isa::AVX2), "avx2-direct-6x16");
        assert_eq!(name(&stem, all), "avx512-slab-14x32");
        assert_eq!(name(&square, all), "avx512-winograd-4x4");
    }
    if cfg!(target_arch = "aarch64") {
        assert_eq!(name(&pointwise, Isa::NEON), "neon-direct-6x16");
        assert_eq!(name(&stem, Isa::NEON), "neon-slab-6x16");
        assert_eq!(name(&square, Isa::NEON), "neon-winograd-4x4");
    }
}
