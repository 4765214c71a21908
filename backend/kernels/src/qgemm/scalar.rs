//! The scalar reference row: the definition itself, any strides.

use std::ops::Range;

use tandem_base::{Isa, SpanMut};

use super::{Args, Parameters, Problem, Qgemm, Scheme, Weights, bound, bounds, column, rounded};
use crate::kernel::{Family, Kernel, Workspace};
use crate::panels;

pub(super) const ROW: Kernel<Qgemm> = Kernel {
    name: "scalar-reference",
    isa: Isa::SCALAR,
    supports: Problem::consistent,
    ns: |p, _| Qgemm::cost(p).flops * 1.5 + Qgemm::cost(p).bytes,
    phases: |_| 1,
    tiles: |p, _| p.sizes()[0],
    workspace: |p| Workspace { shared: 0, per_worker: 5 * p.sizes()[2] },
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
    scratch: SpanMut<'_, u8>,
) {
    let [_, n, k] = p.sizes();
    for i in tiles {
        // SAFETY: `Qgemm::check` passed; indices come from the problem's sizes, the scratch holds a row twice.
        unsafe {
            let floats = scratch.ptr().cast::<f32>();
            let bytes = scratch.ptr().add(4 * k).cast::<i8>();
            for kk in 0..k {
                floats.add(kk).write(*args.lhs.ptr().add(i * p.lhs.stride(0) + kk * p.lhs.stride(1)));
            }
            let row = std::slice::from_raw_parts(floats, k);
            let params = match p.scheme {
                Scheme::Dynamic => Parameters::of(row),
                Scheme::Static { lhs, .. } => Parameters::new(lhs),
            };
            for (kk, &x) in row.iter().enumerate() {
                let fused = p.scheme == Scheme::Dynamic;
                bytes.add(kk).write(if fused { params.fused(x) } else { params.rounded(x) });
            }
            let row = std::slice::from_raw_parts(bytes, k);
            for j in 0..n {
                let value = element(p, args, row, &params, j);
                *args.dst.ptr().add(i * p.dst.stride(0) + j * p.dst.stride(1)) = value;
            }
        }
    }
}

/// One element of a quantised row.
///
/// # Safety
/// [`Family::check`] passed.
unsafe fn element(p: &Problem, args: &Args<'_>, row: &[i8], params: &Parameters, j: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let bias = if p.bias { *args.bias.ptr().add(j) } else { 0.0 };
        if let Weights::I4Groups { size } = p.weights {
            let mut total = -(params.zero as f32 * *args.scaled_sums.ptr().add(j));
            for first in (0..row.len()).step_by(size) {
                let scale = *args.scale.ptr().add(first / size * panels::padded(p.sizes()[1]) + j);
                total = (sum(p, args, row, first..first + size, j) as f32).mul_add(scale, total);
            }
            return bound(total * params.scale + bias, p.clamp);
        }
        let sum =
            sum(p, args, row, 0..row.len(), j) - i64::from(params.zero) * i64::from(*args.sums.ptr().add(j));
        let scale = *args.scale.ptr().add(j);
        match p.scheme {
            Scheme::Dynamic => bound((sum as f32 * params.scale).mul_add(scale, bias), p.clamp),
            Scheme::Static { lhs, dst } => {
                rounded(sum, column(lhs, dst, scale, bias), bounds(dst, p.clamp)) * dst.scale
            }
        }
    }
}

/// The sum over some k of a quantised row times column `j`.
///
/// # Safety
/// [`Family::check`] passed.
unsafe fn sum(p: &Problem, args: &Args<'_>, row: &[i8], ks: Range<usize>, j: usize) -> i64 {
    let [_, n, k] = p.sizes();
    let mut sum = 0;
    for kk in ks {
        // SAFETY: the caller's.
        let weight = unsafe {
            if p.weights == Weights::I8 {
                *args.rhs.ptr().add(panels::byte(k, n, kk, j)) as i8
            } else {
                let (at, half) = panels::nibble(k, n, kk, j);
                panels::nibbles(*args.rhs.ptr().add(at))[half]
            }
        };
        sum += i64::from(row[kk]) * i64::from(weight);
    }
    sum
}
