//! Every row against the definition in f64, on random problems with remainders of every tile and panel size.

use proptest::prelude::*;
use tandem_base::{Isa, Span, SpanMut, Strided, Task};

use super::*;
use crate::epilogue::Act;
use crate::testing::{self, elements, epsilon, sample};

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

struct Case<E> {
    problem: Problem,
    src: Vec<Vec<E>>,
    weight: Vec<E>,
    columns: [Vec<f32>; 3],
    residual: Vec<E>,
}

/// Sizes of a random problem before it is laid out.
type Sizes = (Vec<usize>, [usize; 2], [usize; 2], [usize; 2], [usize; 4], [usize; 2], usize, usize);

fn case<E: Element>(
    (channels, plane, kernel, stride, padding, dilation, columns, flags): Sizes,
    batch: usize,
) -> Option<Case<E>> {
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
        src: (3..).zip(&problem.src).map(|(seed, s)| elements(values(s.extent(), seed))).collect(),
        weight: weights(&problem),
        columns: [values(padded, 12), values(padded, 13), values(padded, 14)],
        residual: elements(values(dst.extent(), 15)),
        problem,
    })
}

/// Panels whose weights behind a segment's last channel are zero, as the format has them.
fn weights<E: Element>(p: &Problem) -> Vec<E> {
    let (g, padded) = (E::PER_WORD, p.padded_columns());
    let mut weights = elements::<E>(values(g * p.words(g) * padded, 11));
    let (parts, columns) = p.column_groups();
    let rows = g * p.words(g);
    let taps = p.kernel[0] * p.kernel[1];
    let mut k = 0;
    for channels in (0..taps).flat_map(|_| p.src.iter().map(|s| s.size(1) / p.groups)) {
        for (behind, part) in
            (channels..channels.next_multiple_of(g)).flat_map(|c| (0..parts).map(move |p| (c, p)))
        {
            let panels = part * rows * panels::padded(columns);
            for column in 0..columns {
                weights[panels + panels::in_words(g, rows, columns, k + behind, column)] = E::from_f32(0.0);
            }
        }
        k += channels.next_multiple_of(g);
    }
    weights
}

impl<E: Element> Case<E> {
    fn args<'a>(&'a self, dst: &'a mut [E]) -> Args<'a, E> {
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
        let rows = E::PER_WORD * p.words(E::PER_WORD);
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
                        let weight = part * rows * panels::padded(columns)
                            + panels::in_words(E::PER_WORD, rows, columns, k, column);
                        k += 1;
                        if (0..s.size(2) as isize).contains(&y) && (0..s.size(3) as isize).contains(&x) {
                            let st = s.strides();
                            let at =
                                n * st[0] + (first + c) * st[1] + y as usize * st[2] + x as usize * st[3];
                            let term = f64::from(data[at].to_f32()) * f64::from(self.weight[weight].to_f32());
                            sum += term;
                            magnitude += term.abs();
                        }
                    }
                    k = k.next_multiple_of(E::PER_WORD);
                }
            }
            largest = largest.max(magnitude);
            let (r, d) = (p.shuffle, p.dst.strides());
            let channel = if p.groups > 1 { part * columns + column } else { column };
            let (dy, dx) = if r > 1 { (part / r, part % r) } else { (0, 0) };
            let at = n * d[0] + channel * d[1] + (oy * r + dy) * d[2] + (ox * r + dx) * d[3];
            let padded = part * panels::padded(columns) + column;
            let mut dummy = vec![];
            let args = self.args(&mut dummy);
            // SAFETY: the operands have the problem's sizes.
            dst[at] = unsafe { p.epilogue.eval(&args.epilogue, sum as f32, padded, at) };
        }
        (dst, largest)
    }
}

/// Runs a row with its tiles in several calls and in one; both must give the same bits.
fn run<E: Element>(row: &'static Kernel<Conv<E>>, case: &Case<E>) -> Vec<E> {
    let canary = E::from_f32(-7.5);
    let workspace = (row.workspace)(&case.problem);
    let mut answers = [1, usize::MAX].map(|chunk| {
        let mut dst = vec![canary; case.problem.dst.extent() + 8];
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
                unsafe {
                    task.run(tandem_base::Engine::Core, phase, at..end, SpanMut::from(scratch.bytes_mut()))
                }
                at = end;
            }
        }
        assert!(dst[len..].iter().all(|&x| x == canary), "{} writes behind its destination", row.name);
        dst.truncate(len);
        dst
    });
    let same = answers[0].iter().zip(&answers[1]).all(|(a, b)| a.to_f32().to_bits() == b.to_f32().to_bits());
    assert!(same, "{}: the split of tiles changes bits", row.name);
    std::mem::take(&mut answers[0])
}

fn check<E: Element>(of: &'static [Kernel<Conv<E>>], case: &Case<E>) {
    check_named(of, case, "");
}

/// Rows whose names contain `name`.
fn check_named<E: Element>(of: &'static [Kernel<Conv<E>>], case: &Case<E>, name: &str) {
    let (expected, magnitude) = case.expected();
    let mut bits = testing::SameBits::default();
    for row in testing::rows(of, &case.problem).filter(|row| row.name.contains(name)) {
        let found = run(row, case);
        if !row.name.contains("winograd") {
            bits.of(row, &case.problem, &found);
        }
        // k roundings of the running sum at worst; Winograd's transforms grow values by up to about 100.
        let k = case.problem.k() as f64;
        let factor = if row.name.contains("winograd") { 200.0 } else { 2.0 + k.sqrt() * 2.0 };
        let tolerance = (factor * f64::from(f32::EPSILON) * (magnitude + 1.0)) as f32;
        for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
            // The destination's rounding, of a value that may lie on the other side of a tie.
            let tolerance = tolerance + epsilon::<E>() / 2.0 * (b.abs() + tolerance);
            let fits = (a.to_f32() - b).abs() <= tolerance;
            assert!(fits, "{} at {i}: {a:?}, expected {b} ± {tolerance}\n{:?}", row.name, case.problem);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: sample(0..96u32).count() as u32, ..ProptestConfig::default() })]
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
        if let Some(case) = case(sizes.clone(), batch) {
            check(KERNELS, &case);
        }
        if let Some(case) = case(sizes.clone(), batch) {
            check(KERNELS_F16, &case);
        }
        if let Some(case) = case(sizes, batch) {
            check(KERNELS_BF16, &case);
        }
    }
}

#[test]
fn long_channels_span_runs() {
    // 1100 channels are two runs of the register tile; padding reads zeros in both.
    let sizes = (vec![1100], [3, 4], [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 33, 0);
    check(KERNELS, &case(sizes, 1).unwrap());
}

#[test]
fn widened_in_parts() {
    // Bands of rows: a residual, a stride, two segments and a shuffle, groups, planes; then ranges of columns.
    let bands = |channels, stride, columns, flags| {
        (channels, [41, 260], [3, 3], [stride, stride], [1, 2, 1, 0], [1, 1], columns, flags)
    };
    for sizes in [
        bands(vec![48], 1, 5, 0),
        bands(vec![48], 2, 3, 4),
        bands(vec![31, 17], 1, 2, 1),
        bands(vec![96], 1, 2, 2),
        bands(vec![48], 1, 3, 12),
        (vec![1100], [3, 4], [3, 3], [1, 1], [1; 4], [1, 1], 100, 0),
    ] {
        check_named(KERNELS_F16, &case(sizes.clone(), 1).unwrap(), "widened");
        check_named(KERNELS_BF16, &case(sizes, 1).unwrap(), "widened");
    }
}

#[test]
fn few_bands_are_split() {
    // Groups, planes, a residual to add, a shuffle.
    let pixel = |flags| (vec![520], [7, 7], [1, 1], [1, 1], [0; 4], [1, 1], 161, flags);
    let taps = |flags| (vec![40, 60], [9, 9], [3, 3], [1, 1], [1; 4], [1, 1], 100, flags);
    for sizes in [pixel(130), pixel(396), taps(128), taps(385)] {
        let case = case(sizes, 1).unwrap();
        for row in testing::rows(KERNELS, &case.problem).filter(|row| row.name.starts_with("emulated-sme2")) {
            assert_eq!((row.phases)(&case.problem), 2, "{}", row.name);
        }
        check(KERNELS, &case);
    }
}

/// What is not finite reaches the outputs it is a tap of, and no others; a clamp passes NaN on.
#[test]
fn values_that_are_not_finite() {
    not_finite(KERNELS_F16);
    not_finite(KERNELS_BF16);
}

fn not_finite<E: Element>(of: &'static [Kernel<Conv<E>>]) {
    // No stages, then ReLU.
    for flags in [912, 944] {
        let sizes = (vec![5, 3], [7, 6], [3, 3], [1, 1], [1; 4], [1, 1], 18, flags);
        let mut case = case::<E>(sizes, 1).unwrap();
        case.src[0][17] = E::from_f32(f32::NAN);
        case.src[1][90] = E::from_f32(f32::NEG_INFINITY);
        let answers: Vec<(&str, Vec<E>)> = testing::rows(of, &case.problem)
            .filter(|row| !row.name.contains("winograd"))
            .map(|row| (row.name, run(row, &case)))
            .collect();
        let expected = &answers.iter().find(|(name, _)| *name == "scalar-reference").unwrap().1;
        assert!(
            expected.iter().any(|x| x.to_f32().is_nan()) && expected.iter().any(|x| x.to_f32().is_finite())
        );
        for (name, found) in &answers {
            for (i, (a, b)) in found.iter().zip(expected).enumerate() {
                let (a, b) = (a.to_f32(), b.to_f32());
                let same = a.is_nan() == b.is_nan() && a.is_infinite() == b.is_infinite();
                assert!(same, "{name} at {i}: {a} for {b}, flags {flags}");
            }
        }
    }
}

#[test]
fn selection_names_rows() {
    let rates = crate::Rates::default();
    let name = |sizes: &Sizes, isa| {
        let problem = case::<f32>(sizes.clone(), 1).unwrap().problem;
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
