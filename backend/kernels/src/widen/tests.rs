//! Conversions with every vector against the elements' own.

use tandem_base::{Isa, Span, SpanMut, Strided};

use super::region::{Narrow, Panels, Region, Widen, WidenPanels};
use super::{Apart, Halved, HalvedArgs};
use crate::element::{Element, bf16, f16};
use crate::panels;
use crate::simd::{Scalar, Simd, Work};
use crate::testing::{self, Random};
use crate::{Act, Epilogue, Kernel, attention, depthwise, elementwise, norm, pool, softmax};

/// Runs a test with every vector this CPU has.
macro_rules! with_every_vector {
    ($test:ident::<$element:ty>) => {{
        $test::<Scalar, $element>();
        #[cfg(target_arch = "x86_64")]
        if crate::kernel::available().has(tandem_base::Isa::AVX2) {
            $test::<crate::simd::Avx2, $element>();
        }
        #[cfg(target_arch = "x86_64")]
        if crate::kernel::available().has(tandem_base::Isa::AVX512) {
            $test::<crate::simd::Avx512, $element>();
        }
        #[cfg(target_arch = "aarch64")]
        $test::<crate::simd::Neon, $element>();
    }};
}

fn apart<V: Simd>(work: impl Work) {
    // SAFETY: callers name vectors this CPU has, and work on memory of the sizes it reaches.
    unsafe { V::apart(work) }
}

/// A value's bits, NaN all alike.
fn bits<E: Element>(x: E) -> u32 {
    if x.to_f32().is_nan() { u32::MAX } else { x.to_f32().to_bits() }
}

/// Every value there is widens to itself; a narrow one is the nearest.
fn every_value<V: Simd, E: Element>() {
    let all: Vec<E> = (0..=u16::MAX).map(|bits| bytemuck::pod_read_unaligned(&bits.to_ne_bytes())).collect();
    let region = Region::of(&Strided::contiguous(&[all.len()]), &[0], &[all.len()]);
    let mut wide = vec![0f32; all.len()];
    apart::<V>(Widen { from: all.as_ptr(), to: wide.as_mut_ptr(), region: &region });
    let same = |a: f32, b: E| a.to_bits() == b.to_f32().to_bits() || (a.is_nan() && b.to_f32().is_nan());
    assert!(wide.iter().zip(&all).all(|(&a, &b)| same(a, b)));
    // Halfway to the next value, a bit less and a bit more.
    let next = all.iter().cycle().skip(1);
    let near = wide.iter().zip(next).flat_map(|(&a, b)| {
        let middle = (a + b.to_f32()) / 2.0;
        [middle, f32::from_bits(middle.to_bits().wrapping_sub(1)), f32::from_bits(middle.to_bits() + 1)]
    });
    let near: Vec<f32> = near.chain([f32::NAN, -f32::NAN, f32::MAX, f32::INFINITY, -0.0, 1e-45]).collect();
    let region = Region::of(&Strided::contiguous(&[near.len()]), &[0], &[near.len()]);
    let mut narrow = vec![E::default(); near.len()];
    apart::<V>(Narrow { from: near.as_ptr(), to: narrow.as_mut_ptr(), region: &region });
    for (&x, &found) in near.iter().zip(&narrow) {
        assert_eq!(bits(found), bits(E::from_f32(x)), "{x:e} ({:#x}) as {found:?}", x.to_bits());
    }
}

#[test]
fn conversions_round_to_nearest() {
    with_every_vector!(every_value::<f16>);
    with_every_vector!(every_value::<bf16>);
}

/// Regions of any strides there and back, nothing beside them touched.
fn regions<V: Simd, E: Element>() {
    let mut random = Random::new(5);
    for _ in 0..300 {
        let sizes = random.sizes(1..5, 33);
        let shape = random.layout(&sizes);
        let part: Vec<usize> = sizes.iter().map(|&n| random.below(n + 1)).collect();
        let first: Vec<usize> = sizes.iter().zip(&part).map(|(n, p)| random.below(n - p + 1)).collect();
        if sizes.contains(&0) || part.contains(&0) {
            continue;
        }
        let region = Region::of(&shape, &first, &part);
        let src: Vec<E> = random.floats(shape.extent()).into_iter().map(E::from_f32).collect();
        let mut wide = vec![f32::NAN; region.dense.extent()];
        apart::<V>(Widen { from: src.as_ptr(), to: wide.as_mut_ptr(), region: &region });
        assert!(wide.iter().all(|x| !x.is_nan()), "{region:?}");
        let mut back = vec![E::from_f32(-7.5); shape.extent()];
        apart::<V>(Narrow { from: wide.as_ptr(), to: back.as_mut_ptr(), region: &region });
        let places: std::collections::HashSet<usize> = (0..part.iter().product())
            .map(|i| region.offset + crate::elementwise::offset(&region.shape, i))
            .collect();
        for (i, (&a, &b)) in back.iter().zip(&src).enumerate() {
            let want = if places.contains(&i) { b } else { E::from_f32(-7.5) };
            assert_eq!(a, want, "{region:?} at {i}");
        }
    }
}

#[test]
fn regions_lie_anywhere() {
    with_every_vector!(regions::<f16>);
    with_every_vector!(regions::<bf16>);
}

/// Panels of segments whose last channel fills half a word.
fn weights<V: Simd, E: Element>() {
    let mut random = Random::new(9);
    for (columns, taps, channels) in
        [(1, 1, [1, 0, 0, 0]), (33, 3, [3, 4, 0, 0]), (64, 2, [2, 5, 1, 7]), (80, 9, [16, 0, 0, 0])]
    {
        let words: usize = taps * channels.iter().map(|c: &usize| c.div_ceil(2)).sum::<usize>();
        let k: usize = taps * channels.iter().sum::<usize>();
        let values = random.floats(k * columns);
        let src: Vec<E> = {
            let mut row = 0;
            let mut rows = vec![];
            for c in (0..taps).flat_map(|_| channels) {
                rows.extend((0..c.next_multiple_of(2)).map(|i| (i < c).then_some(row + i)));
                row += c;
            }
            assert_eq!(rows.len(), 2 * words);
            panels::pack_words(2, rows.len(), columns, |r, n| {
                rows[r].map_or(E::default(), |r| E::from_f32(values[r * columns + n]))
            })
        };
        let described = Panels { offset: 0, columns, taps, channels };
        let mut wide = vec![f32::NAN; described.elements()];
        apart::<V>(WidenPanels { from: src.as_ptr(), to: wide.as_mut_ptr(), panels: &described });
        let want = panels::pack(k, columns, |r, n| E::from_f32(values[r * columns + n]).to_f32());
        assert_eq!(wide, want, "{described:?}");
    }
}

#[test]
fn panels_of_words_become_panels_of_f32() {
    with_every_vector!(weights::<f16>);
    with_every_vector!(weights::<bf16>);
}

/// Numbers that an element holds exactly.
fn numbers<E: Element>(random: &mut Random, n: usize) -> Vec<f32> {
    random.floats(n).into_iter().map(|x| E::from_f32(x).to_f32()).collect()
}

/// Every row of a family's halves against its scalar row of f32, on the same numbers.
fn agrees<F: Apart, E: Element>(table: &'static [Kernel<Halved<F, E>>], p: &F::Problem) {
    let mut random = Random::new(3);
    let shapes = F::shapes(p);
    let wide = shapes.src.map(|shape| numbers::<E>(&mut random, shape.map_or(0, |s| s.extent())));
    let constants = shapes.constants.map(|n| random.floats(n));
    let narrow = wide.each_ref().map(|x| testing::elements::<E>(x.clone()));
    let canary = E::from_f32(-7.5);
    let constants = constants.each_ref().map(|c| Span::from(&c[..]));
    let reference = F::rows().iter().find(|row| row.isa == Isa::SCALAR).expect("a scalar row");
    let mut expected = vec![canary.to_f32(); shapes.dst.extent()];
    let args =
        F::args(wide.each_ref().map(|x| Span::from(&x[..])), constants, SpanMut::from(&mut expected[..]));
    testing::run(reference, p, args, testing::Split::Whole);
    let mut rows = 0;
    for row in testing::rows(table, p) {
        let dst = vec![canary; shapes.dst.extent()];
        let found = testing::outcome(&dst, row.name, |dst, split| {
            let src = narrow.each_ref().map(|x| Span::from(&x[..]));
            testing::run(row, p, HalvedArgs { src, constants, dst: SpanMut::from(dst) }, split);
        });
        for (i, (a, &b)) in found.iter().zip(&expected).enumerate() {
            // The rounding of the result, and sums in another order.
            let tolerance = testing::epsilon::<E>() / 2.0 * b.abs() + 1e-5 * (b.abs() + 1.0);
            assert!((a.to_f32() - b).abs() <= tolerance, "{} at {i}: {a:?}, expected {b}\n{p:?}", row.name);
        }
        rows += 1;
    }
    let mut wanted: Vec<Isa> = testing::rows(F::rows(), p).map(|row| row.isa).collect();
    wanted.retain(|isa| !isa.in_unit());
    wanted.sort_by_key(|isa| isa.to_string());
    wanted.dedup();
    assert!(rows >= wanted.len(), "{rows} rows for {wanted:?}\n{p:?}");
}

/// A family's tables on a problem.
macro_rules! agree {
    ($family:ident, $problem:expr) => {{
        let p = $problem;
        agrees($family::KERNELS_F16, &p);
        agrees($family::KERNELS_BF16, &p);
    }};
}

/// An image, channels last or not.
fn image(sizes: [usize; 4], last: bool) -> Strided {
    Strided::with_order(&sizes, if last { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] })
}

#[test]
fn windows_in_bands() {
    let fixed = |padding, dilation, count_include_pad| pool::Window::Fixed {
        kernel: [3, 2],
        stride: [2, 1],
        padding,
        dilation,
        count_include_pad,
        divisor: 0,
    };
    for (channels, height, last) in [(24, 141, true), (3, 9, false), (5, 700, false), (1, 4, true)] {
        let src = image([2, channels, height, 31], last);
        for (window, kind) in [
            (fixed([1, 0, 1, 1], [1, 1], false), pool::Kind::Average),
            (fixed([1, 0, 0, 1], [1, 1], true), pool::Kind::Average),
            (fixed([0, 0, 1, 1], [1, 1], false), pool::Kind::Max),
        ] {
            let pool::Window::Fixed { padding, .. } = window else { unreachable!() };
            let rows = (height + padding[0] + padding[2] - 3) / 2 + 1;
            let dst = image([2, channels, rows, 31], last);
            agree!(pool, pool::Problem { src, dst, kind, window });
        }
        let dst = image([2, channels, 3, 5], last);
        let kind = pool::Kind::Average;
        agree!(pool, pool::Problem { src, dst, kind, window: pool::Window::Adaptive });
        let rows = (height - 1) / 2 + 1;
        let dst = image([2, channels, rows, 31], last);
        let epilogue = Epilogue {
            bias: true,
            act: Act::HardSwish,
            scale_shift: last,
            residual: (!last).then_some(dst),
            act2: Act::Relu,
        };
        agree!(
            depthwise,
            depthwise::Problem {
                src,
                dst,
                kernel: [3, 3],
                stride: [2, 1],
                padding: [1, 1, 1, 1],
                dilation: [1, 1],
                epilogue
            }
        );
    }
}

#[test]
fn blocks_of_elements_and_lines() {
    for sizes in [vec![3, 200, 100], vec![1], vec![7, 5], vec![2, 0, 3], vec![40_000]] {
        let dst = Strided::contiguous(&sizes);
        let last = Strided::contiguous(&sizes[sizes.len() - 1..]).broadcast_to(&sizes).unwrap();
        let src = [dst, last].into_iter().collect();
        let func = elementwise::Func::Sub(0.5);
        agree!(elementwise, elementwise::Problem { func, src, dst, act: Act::Silu });
        let dim = sizes.len() - 1;
        agree!(softmax, softmax::Problem { src: dst, dst, dim, log: false });
        agree!(softmax, softmax::Problem { src: dst, dst, dim: 0, log: true });
        for kind in [norm::Kind::Layer { axes: 1 }, norm::Kind::Rms { axes: sizes.len() }] {
            let (eps, act) = (1e-5, Act::None);
            agree!(norm, norm::Problem { src: dst, dst, kind, eps, scale: true, shift: false, act });
        }
    }
    let planes = image([2, 6, 70, 50], true);
    let kind = norm::Kind::Group { groups: 3 };
    let p =
        norm::Problem { src: planes, dst: planes, kind, eps: 1e-5, scale: true, shift: true, act: Act::Relu };
    agree!(norm, p);
}

#[test]
fn heads_apart() {
    for (heads, kv_heads, masked, causal) in [(4, 2, true, false), (2, 2, false, true), (3, 1, false, false)]
    {
        let rows = |heads: usize, n: usize, d: usize| Strided::with_order(&[2, heads, n, d], &[0, 2, 1, 3]);
        let mask = Strided::contiguous(&[17, 33]).broadcast_to(&[2, heads, 17, 33]).unwrap();
        agree!(
            attention,
            attention::Problem {
                q: rows(heads, 17, 20),
                k: rows(kv_heads, 33, 20),
                v: rows(kv_heads, 33, 12),
                mask: masked.then_some(mask),
                dst: rows(heads, 17, 12),
                scale: 0.3,
                causal
            }
        );
    }
}
