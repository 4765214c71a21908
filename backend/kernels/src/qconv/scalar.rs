//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Problem, Qconv, WORD};
use crate::conv::scalar::{each_output, each_source};
use crate::kernel::{Family, Kernel, Workspace};
use crate::quant::{column, requantise};

pub(super) const ROW: Kernel<Qconv> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: Problem::consistent,
    ns: |p, _| Qconv::cost(p).flops * 1.5 + Qconv::cost(p).bytes,
    phases: |_| 1,
    tiles: |p, _| p.conv.batch() * p.conv.out_size()[0],
    workspace: |_| Workspace::default(),
    run,
};

/// # Safety
/// The contract of [`crate::kernel::RunFn`].
unsafe fn run(
    p: &Problem,
    args: &Args<'_>,
    _phase: usize,
    tiles: Range<usize>,
    _shared: SpanMut<'_, u8>,
    _scratch: SpanMut<'_, u8>,
) {
    let (src_zero, dst_zero, bounds) = (i64::from(p.src.zero), i32::from(p.dst.zero), p.bounds());
    each_output(&p.conv, tiles, |o| {
        let mut sum = 0;
        // SAFETY: `Qconv::check` passed; the walk stays inside the operands.
        unsafe {
            each_source(&p.conv, WORD, &o, |s| {
                let weight = *args.weight.ptr().add(o.weight(&p.conv, WORD, s.k));
                sum += (i64::from(*args.src[s.segment].ptr().add(s.at)) - src_zero) * i64::from(weight);
            });
            let at = o.padded(&p.conv);
            let bias = if p.conv.epilogue.bias { *args.bias.ptr().add(at) } else { 0.0 };
            let column = column(p.src, p.dst, *args.scale.ptr().add(at), bias);
            *args.dst.ptr().add(o.offset(&p.conv, &p.conv.dst)) = requantise(sum, column, bounds, dst_zero);
        }
    });
}
