//! No row of a product reads or writes outside its operands: each lies between pages that no one may touch, first
//! against its end, then against its start.

use tandem_base::{Span, SpanMut, Strided};

use crate::chain::{self, Chain};
use crate::conv::{self, Conv, MAX_SEGMENTS};
use crate::convert::{self, Dequantise, Quantise};
use crate::depthwise::{self, Depthwise};
use crate::element::{Element, bf16, f16};
use crate::gemm::{self, Gemm, Rhs};
use crate::kernel::{Family, Kernel};
use crate::qconv::{self, Qconv};
use crate::qgemm::{self, Qgemm, Weights};
use crate::quant::Affine;
use crate::testing::{Split, rows, run};
use crate::{Epilogue, EpilogueArgs, panels};

/// Elements between two pages without access.
struct Guarded<E> {
    map: *mut u8,
    bytes: usize,
    first: *mut E,
    len: usize,
}

const PAGE: usize = 64 << 10;

impl<E: Element> Guarded<E> {
    /// Numbers in -0.5..0.5.
    fn new(len: usize, at_end: bool) -> Self {
        Self::of(len, at_end, |i| E::from_f32((i * 37 % 101) as f32 / 101.0 - 0.5))
    }
}

impl<E> Guarded<E> {
    fn of(len: usize, at_end: bool, element: impl Fn(usize) -> E) -> Self {
        let bytes = len * size_of::<E>();
        let inside = bytes.next_multiple_of(PAGE);
        let mapped = inside + 2 * PAGE;
        // SAFETY: a new mapping; the middle of it is made accessible.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(std::ptr::null_mut(), mapped, libc::PROT_NONE, flags, -1, 0).cast::<u8>();
            assert!(map.addr() != usize::MAX, "mmap");
            let middle = map.add(PAGE);
            assert_eq!(libc::mprotect(middle.cast(), inside, libc::PROT_READ | libc::PROT_WRITE), 0);
            let first = middle.add(if at_end { inside - bytes } else { 0 }).cast::<E>();
            (0..len).for_each(|i| first.add(i).write(element(i)));
            Self { map, bytes: mapped, first, len }
        }
    }

    fn elements(&mut self) -> &mut [E] {
        // SAFETY: `len` elements of the accessible middle, borrowed from self.
        unsafe { std::slice::from_raw_parts_mut(self.first, self.len) }
    }

    fn span(&mut self) -> Span<'_, E> {
        Span::from(&*self.elements())
    }
}

impl<E> Drop for Guarded<E> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`.
        unsafe { libc::munmap(self.map.cast(), self.bytes) };
    }
}

/// Runs every row that takes the problem.
fn run_all<F: Family>(
    kernels: &'static [Kernel<F>],
    p: &F::Problem,
    mut args: impl FnMut(&dyn Fn(F::Args<'_>)),
) {
    for row in rows(kernels, p) {
        args(&|args| run(row, p, args, Split::Whole));
    }
}

#[test]
fn products_stay_inside() {
    products::<f32>(gemm::KERNELS);
    products::<f16>(gemm::KERNELS_F16);
    products::<bf16>(gemm::KERNELS_BF16);
}

fn products<E: Element>(rows: &'static [Kernel<Gemm<E>>]) {
    for (size, at_end) in
        [[1, 1, 1], [1, 300, 9], [3, 5, 7], [4, 49, 6], [17, 33, 31], [33, 16, 40], [70, 49, 64]]
            .into_iter()
            .flat_map(|size| [(size, true), (size, false)])
    {
        let [m, n, k] = size;
        let dense = |rows, columns, turned: bool| {
            Strided::with_order(&[2, rows, columns], if turned { &[0, 2, 1] } else { &[0, 1, 2] })
        };
        for turns in 0..4 {
            let panels_of = turns == 3;
            let rhs = if panels_of { Rhs::Panels } else { Rhs::Strided(dense(k, n, turns == 1)) };
            let (lhs, dst) = (dense(m, k, turns == 2), dense(m, n, false));
            let epilogue = Epilogue { bias: true, ..Epilogue::default() };
            let p = gemm::Problem { lhs, rhs, dst, alpha: 1.0, epilogue };
            run_all(rows, &p, |with| {
                let [mut lhs, mut dst] = [lhs, dst].map(|s| Guarded::<E>::new(s.extent(), at_end));
                let packed = k.next_multiple_of(E::PER_WORD) * panels::padded(n);
                let mut rhs = Guarded::<E>::new(if panels_of { packed } else { 2 * k * n }, at_end);
                let mut bias = Guarded::<f32>::new(panels::padded(n), at_end);
                let epilogue = EpilogueArgs { bias: bias.span(), ..EpilogueArgs::none() };
                let dst = SpanMut::from(dst.elements());
                with(gemm::Args { lhs: lhs.span(), rhs: rhs.span(), epilogue, dst });
            });
        }
    }
}

/// Channels in and out, plane, kernel, stride, padding, channels last.
const IMAGES: [([usize; 2], usize, usize, usize, usize, bool); 7] = [
    ([3, 5], 9, 3, 1, 1, true),
    ([16, 17], 12, 3, 1, 1, false),
    ([33, 40], 7, 1, 1, 0, true),
    ([8, 31], 11, 3, 2, 1, true),
    ([8, 31], 11, 3, 2, 1, false),
    ([40, 40], 14, 5, 1, 2, true),
    ([40, 40], 14, 5, 2, 2, false),
];

#[test]
fn convolutions_stay_inside() {
    convolutions::<f32>(conv::KERNELS);
    convolutions::<f16>(conv::KERNELS_F16);
    convolutions::<bf16>(conv::KERNELS_BF16);
}

fn convolutions<E: Element>(rows: &'static [Kernel<Conv<E>>]) {
    for ((channels, size, kernel, stride, padding, last), at_end) in
        IMAGES.into_iter().flat_map(|case| [(case, true), (case, false)])
    {
        let out = (size + 2 * padding - kernel) / stride + 1;
        let order: &[u8] = if last { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] };
        let image = |c, size| Strided::with_order(&[2, c, size, size], order);
        let epilogue = Epilogue { bias: true, ..Epilogue::default() };
        let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [padding; 4]);
        let (src, dst) = (image(channels[0], size), image(channels[1], out));
        let p = conv::Problem {
            src: [src].into_iter().collect(),
            dst,
            kernel,
            stride,
            padding,
            dilation: [1, 1],
            groups: 1,
            shuffle: 1,
            epilogue,
            fast_math: true,
        };
        run_all(rows, &p, |with| {
            let [mut from, mut to] = [src, dst].map(|s| Guarded::<E>::new(s.extent(), at_end));
            let packed = E::PER_WORD * p.words(E::PER_WORD) * p.padded_columns();
            let mut weight = Guarded::<E>::new(packed, at_end);
            let mut bias = Guarded::<f32>::new(p.padded_columns(), at_end);
            let mut src = [Span::empty(); MAX_SEGMENTS];
            src[0] = from.span();
            let epilogue = EpilogueArgs { bias: bias.span(), ..EpilogueArgs::none() };
            with(conv::Args { src, weight: weight.span(), epilogue, dst: SpanMut::from(to.elements()) });
        });
    }
}

#[test]
fn depthwise_convolutions_stay_inside() {
    for ((channels, size, kernel, stride, padding, last), at_end) in
        IMAGES.into_iter().flat_map(|case| [(case, true), (case, false)])
    {
        let out = (size + 2 * padding - kernel) / stride + 1;
        let order: &[u8] = if last { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] };
        let [src, dst] = [size, out].map(|size| Strided::with_order(&[2, channels[0], size, size], order));
        let epilogue = Epilogue { bias: true, ..Epilogue::default() };
        let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [padding; 4]);
        let p = depthwise::Problem { src, dst, kernel, stride, padding, dilation: [1, 1], epilogue };
        run_all::<Depthwise>(depthwise::KERNELS, &p, |with| {
            let [mut from, mut to] = [src, dst].map(|s| Guarded::<f32>::new(s.extent(), at_end));
            let columns = panels::padded(channels[0]);
            let mut weight = Guarded::<f32>::new(kernel[0] * kernel[1] * columns, at_end);
            let mut bias = Guarded::<f32>::new(columns, at_end);
            let epilogue = EpilogueArgs { bias: bias.span(), ..EpilogueArgs::none() };
            let dst = SpanMut::from(to.elements());
            with(depthwise::Args { src: from.span(), weight: weight.span(), epilogue, dst });
        });
    }
}

fn stage<'a>(weight: &'a mut Guarded<f32>, bias: &'a mut Guarded<f32>) -> chain::Stage<'a> {
    let epilogue = EpilogueArgs { bias: bias.span(), ..EpilogueArgs::none() };
    chain::Stage { weight: weight.span(), epilogue }
}

#[test]
fn chains_stay_inside() {
    for ((channels, size, kernel, stride, padding, last), at_end) in
        IMAGES.into_iter().flat_map(|case| [(case, true), (case, false)])
    {
        let out = (size + 2 * padding - kernel) / stride + 1;
        let image = |c, size, last: bool| {
            let order: &[u8] = if last { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] };
            Strided::with_order(&[2, c, size, size], order)
        };
        let [from, to] = channels;
        let (between, deep) = (image(to, size, true), image(to, out, true));
        let epilogue = Epilogue { bias: true, ..Epilogue::default() };
        let point = |src, dst| conv::Problem {
            src: [src].into_iter().collect(),
            dst,
            kernel: [1, 1],
            stride: [1, 1],
            padding: [0; 4],
            dilation: [1, 1],
            groups: 1,
            shuffle: 1,
            epilogue,
            fast_math: false,
        };
        let (expand, project) =
            (point(image(from, size, last), between), point(deep, image(from, out, last)));
        let (kernel, stride, padding) = ([kernel; 2], [stride; 2], [padding; 4]);
        let dilation = [1, 1];
        let depthwise =
            depthwise::Problem { src: between, dst: deep, kernel, stride, padding, dilation, epilogue };
        let p = chain::Problem { expand: Some(expand), depthwise, project: Some(project) };
        run_all::<Chain>(chain::KERNELS, &p, |with| {
            let [mut source, mut end] =
                [p.src()[0], *p.dst()].map(|s| Guarded::<f32>::new(s.extent(), at_end));
            let (wide, narrow) = (panels::padded(to), panels::padded(from));
            let [mut front, mut taps, mut behind] = [from * wide, kernel[0] * kernel[1] * wide, to * narrow]
                .map(|len| Guarded::<f32>::new(len, at_end));
            let [mut first, mut second, mut third] =
                [wide, wide, narrow].map(|len| Guarded::<f32>::new(len, at_end));
            let (expand, depthwise) = (stage(&mut front, &mut first), stage(&mut taps, &mut second));
            let project = stage(&mut behind, &mut third);
            let mut src = [Span::empty(); MAX_SEGMENTS];
            src[0] = source.span();
            let dst = SpanMut::from(end.elements());
            with(chain::Args { src, expand, depthwise, project, dst });
        });
    }
}

/// i8 of all values.
fn bytes(len: usize, at_end: bool) -> Guarded<i8> {
    Guarded::of(len, at_end, |i| (i * 37) as i8)
}

#[test]
fn quantised_products_stay_inside() {
    let affine = Affine { scale: 0.01, zero: 5 };
    let schemes = [qgemm::Scheme::Dynamic, qgemm::Scheme::Static { lhs: affine, dst: affine }];
    for ((size, weights), at_end) in [
        ([1, 1, 1], Weights::I8),
        ([3, 5, 7], Weights::I4),
        ([17, 33, 31], Weights::I8),
        ([33, 16, 40], Weights::I4),
        ([70, 49, 64], Weights::I4Groups { size: 32 }),
        ([33, 65, 128], Weights::I8),
    ]
    .into_iter()
    .flat_map(|case| [(case, true), (case, false)])
    {
        for scheme in schemes {
            let [m, n, k] = size;
            let p = qgemm::Problem {
                lhs: Strided::contiguous(&[m, k]),
                dst: Strided::contiguous(&[m, n]),
                weights,
                scheme,
                bias: true,
                clamp: [-1.0, 1.0],
            };
            let (columns, groups) = (panels::padded(n), matches!(weights, Weights::I4Groups { .. }));
            run_all::<Qgemm>(qgemm::KERNELS, &p, |with| {
                let [mut lhs, mut dst] = [m * k, m * n].map(|len| Guarded::<f32>::new(len, at_end));
                let mut rhs = Guarded::of(4 * p.words() * columns, at_end, |i| (i * 37) as u8);
                let mut sums = Guarded::of(if groups { 0 } else { columns }, at_end, |i| i as i32);
                let mut scaled_sums = Guarded::<f32>::new(if groups { columns } else { 0 }, at_end);
                let [mut scale, mut bias] =
                    [p.scales() * columns, columns].map(|len| Guarded::<f32>::new(len, at_end));
                with(qgemm::Args {
                    lhs: lhs.span(),
                    rhs: rhs.span(),
                    sums: sums.span(),
                    scaled_sums: scaled_sums.span(),
                    scale: scale.span(),
                    bias: bias.span(),
                    dst: SpanMut::from(dst.elements()),
                });
            });
        }
    }
}

#[test]
fn quantised_convolutions_stay_inside() {
    for ((channels, size, kernel, stride, padding, last), at_end) in
        IMAGES.into_iter().flat_map(|case| [(case, true), (case, false)])
    {
        let out = (size + 2 * padding - kernel) / stride + 1;
        let order: &[u8] = if last { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] };
        let image = |c, size| Strided::with_order(&[2, c, size, size], order);
        let affine = Affine { scale: 0.01, zero: 5 };
        let conv = conv::Problem {
            src: [image(channels[0], size)].into_iter().collect(),
            dst: image(channels[1], out),
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 4],
            dilation: [1, 1],
            groups: 1,
            shuffle: 1,
            epilogue: Epilogue { bias: true, ..Epilogue::default() },
            fast_math: true,
        };
        let columns = conv.padded_columns();
        let p = qconv::Problem { conv, src: affine, dst: affine };
        run_all::<Qconv>(qconv::KERNELS, &p, |with| {
            let [mut from, mut to] = [p.conv.src[0], p.conv.dst].map(|s| bytes(s.extent(), at_end));
            let mut weight = bytes(qconv::WORD * p.conv.words(qconv::WORD) * columns, at_end);
            let mut sums = Guarded::of(columns, at_end, |i| i as i32);
            let [mut scale, mut bias] = [columns; 2].map(|len| Guarded::<f32>::new(len, at_end));
            let mut src = [Span::empty(); MAX_SEGMENTS];
            src[0] = from.span();
            with(qconv::Args {
                src,
                weight: weight.span(),
                sums: sums.span(),
                scale: scale.span(),
                bias: bias.span(),
                dst: SpanMut::from(to.elements()),
            });
        });
    }
}

#[test]
fn conversions_stay_inside() {
    for (sizes, at_end) in [[1, 1], [3, 5], [2, 67], [3, 300], [1, 2051]]
        .into_iter()
        .flat_map(|sizes| [(sizes, true), (sizes, false)])
    {
        let shape = Strided::contiguous(&sizes);
        for src in [shape, Strided::new(&sizes, &[sizes[1] + 1, 1])] {
            let p = convert::Problem { src, dst: shape, affine: Affine { scale: 0.01, zero: 5 } };
            run_all::<Quantise>(convert::QUANTISE, &p, |with| {
                let (mut src, mut dst) =
                    (Guarded::<f32>::new(src.extent(), at_end), bytes(shape.extent(), at_end));
                with(convert::Args { src: src.span(), dst: SpanMut::from(dst.elements()) });
            });
            run_all::<Dequantise>(convert::DEQUANTISE, &p, |with| {
                let (mut src, mut dst) =
                    (bytes(src.extent(), at_end), Guarded::<f32>::new(shape.extent(), at_end));
                with(convert::Args { src: src.span(), dst: SpanMut::from(dst.elements()) });
            });
        }
    }
}
