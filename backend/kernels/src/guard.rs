//! No row of a product reads or writes outside its operands: each lies between pages that no one may touch, first
//! against its end, then against its start.

use tandem_base::{Isa, Span, SpanMut, Strided};

use crate::conv::{self, Conv, MAX_SEGMENTS};
use crate::depthwise::{self, Depthwise};
use crate::gemm::{self, Gemm, Rhs};
use crate::kernel::{Family, Kernel};
use crate::testing::{Split, run};
use crate::{Epilogue, EpilogueArgs, panels};

/// Floats between two pages without access.
struct Guarded {
    map: *mut u8,
    bytes: usize,
    first: *mut f32,
    len: usize,
}

const PAGE: usize = 64 << 10;

impl Guarded {
    fn new(len: usize, at_end: bool) -> Self {
        let inside = (4 * len).next_multiple_of(PAGE);
        let bytes = inside + 2 * PAGE;
        // SAFETY: a new mapping; the middle of it is made accessible.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0).cast::<u8>();
            assert!(map.addr() != usize::MAX, "mmap");
            let middle = map.add(PAGE);
            assert_eq!(libc::mprotect(middle.cast(), inside, libc::PROT_READ | libc::PROT_WRITE), 0);
            let first = middle.add(if at_end { inside - 4 * len } else { 0 }).cast::<f32>();
            for i in 0..len {
                first.add(i).write((i * 37 % 101) as f32 / 101.0 - 0.5);
            }
            Self { map, bytes, first, len }
        }
    }

    fn floats(&mut self) -> &mut [f32] {
        // SAFETY: `len` floats of the accessible middle, borrowed from self.
        unsafe { std::slice::from_raw_parts_mut(self.first, self.len) }
    }

    fn span(&mut self) -> Span<'_, f32> {
        Span::from(&*self.floats())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`.
        unsafe { libc::munmap(self.map.cast(), self.bytes) };
    }
}

/// Runs every row of this machine that takes the problem.
fn run_all<F: Family>(
    kernels: &'static [Kernel<F>],
    p: &F::Problem,
    mut args: impl FnMut(&dyn Fn(F::Args<'_>)),
) {
    for row in kernels.iter().filter(|r| Isa::detect().has(r.isa) && (r.supports)(p).is_ok()) {
        args(&|args| run(row, p, args, Split::Whole));
    }
}

#[test]
fn products_stay_inside() {
    for (size, at_end) in [[1, 1, 1], [3, 5, 7], [17, 33, 31], [33, 16, 40], [70, 49, 64]]
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
            run_all::<Gemm>(gemm::KERNELS, &p, |with| {
                let [mut lhs, mut dst] = [lhs, dst].map(|s| Guarded::new(s.extent(), at_end));
                let mut rhs = Guarded::new(if panels_of { k * panels::padded(n) } else { 2 * k * n }, at_end);
                let mut bias = Guarded::new(panels::padded(n), at_end);
                let epilogue = EpilogueArgs { bias: bias.span(), ..EpilogueArgs::none() };
                let dst = SpanMut::from(dst.floats());
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
            src: vec![src],
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
        run_all::<Conv>(conv::KERNELS, &p, |with| {
            let [mut from, mut to] = [src, dst].map(|s| Guarded::new(s.extent(), at_end));
            let mut weight = Guarded::new(p.k() * p.padded_columns(), at_end);
            let mut bias = Guarded::new(p.padded_columns(), at_end);
            let mut src = [Span::empty(); MAX_SEGMENTS];
            src[0] = from.span();
            let epilogue = EpilogueArgs { bias: bias.span(), ..EpilogueArgs::none() };
            with(conv::Args { src, weight: weight.span(), epilogue, dst: SpanMut::from(to.floats()) });
        });
        let dst = image(channels[0], out);
        let p = depthwise::Problem { src, dst, kernel, stride, padding, dilation: [1, 1], epilogue };
        run_all::<Depthwise>(depthwise::KERNELS, &p, |with| {
            let [mut from, mut to] = [src, dst].map(|s| Guarded::new(s.extent(), at_end));
            let columns = panels::padded(channels[0]);
            let mut weight = Guarded::new(kernel[0] * kernel[1] * columns, at_end);
            let mut bias = Guarded::new(columns, at_end);
            let epilogue = EpilogueArgs { bias: bias.span(), ..EpilogueArgs::none() };
            let dst = SpanMut::from(to.floats());
            with(depthwise::Args { src: from.span(), weight: weight.span(), epilogue, dst });
        });
    }
}
