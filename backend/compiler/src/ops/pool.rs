//! Max, average and adaptive average pooling.

use tandem_schemas::program::{AdaptivePoolT, OpKindT, PoolKind, PoolT};

use super::{Row, on_images};
use crate::error::Reason;
use crate::graph::table;
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.max_pool2d.default", max),
    ("aten.max_pool2d_with_indices.default", max),
    ("aten.avg_pool2d.default", average),
    ("aten.adaptive_avg_pool2d.default", adaptive),
    ("aten._adaptive_avg_pool2d.default", adaptive),
];

struct Window {
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 4],
    dilation: [u32; 2],
}

fn window(call: &Call<'_, '_>) -> Result<Window, Reason> {
    let kernel = call.pair("kernel_size", [0; 2])?;
    let [y, x] = call.pair("padding", [0; 2])?;
    if 2 * y > kernel[0] || 2 * x > kernel[1] {
        return Err(format!("padding [{y}, {x}] is more than half of kernel {kernel:?}"));
    }
    let (stride, dilation) = (call.pair("stride", kernel)?, call.pair("dilation", [1; 2])?);
    Ok(Window { kernel, stride, padding: [y, x, y, x], dilation })
}

fn max(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    if call.output(1).is_some() {
        return Err("the indices are used".into());
    }
    let mut window = window(call)?;
    if call.flag("ceil_mode")? {
        extend(call, &mut window)?;
    }
    pool(call, PoolKind::Max, window, false, 0)
}

/// `ceil_mode` as padding, which never counts in a maximum: the last window may end behind the image.
fn extend(call: &Call<'_, '_>, window: &mut Window) -> Result<(), Reason> {
    let (src, out) = (call.shape(call.tensor("self")?).to_vec(), call.out_shape(0)?);
    if src.len() < 2 || out.len() != src.len() {
        return Err(format!("pools {src:?} to {out:?}"));
    }
    for i in 0..2 {
        let at = src.len() - 2 + i;
        let reach = u64::from(window.dilation[i]) * u64::from(window.kernel[i].max(1) - 1) + 1;
        let end = (out[at] as u64 - 1).saturating_mul(u64::from(window.stride[i])).saturating_add(reach);
        let needed = end.saturating_sub(src[at] as u64 + u64::from(window.padding[i]));
        let needed = u32::try_from(needed).map_err(|_| format!("pools {src:?} to {out:?}"))?;
        window.padding[2 + i] = window.padding[2 + i].max(needed);
    }
    Ok(())
}

fn average(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    let window = window(call)?;
    call.refuse("ceil_mode")?;
    let divisor = call.int_or("divisor_override", 0)?;
    let divisor = u32::try_from(divisor).map_err(|_| format!("argument divisor_override = {divisor}"))?;
    let count_include_pad = !call.has("count_include_pad") || call.flag("count_include_pad")?;
    pool(call, PoolKind::Average, window, count_include_pad, divisor)
}

fn pool(
    call: &mut Call<'_, '_>,
    kind: PoolKind,
    window: Window,
    count_include_pad: bool,
    divisor: u32,
) -> Result<(), Reason> {
    on_images(call, "self", &|src| {
        OpKindT::Pool(table(|op: &mut PoolT| {
            (op.src, op.kind) = (src, kind);
            (op.kernel, op.stride) = (window.kernel.to_vec(), window.stride.to_vec());
            (op.padding, op.dilation) = (window.padding.to_vec(), window.dilation.to_vec());
            (op.count_include_pad, op.divisor) = (count_include_pad, divisor);
        }))
    })
}

fn adaptive(call: &mut Call<'_, '_>) -> Result<(), Reason> {
    on_images(call, "self", &|src| {
        OpKindT::AdaptivePool(table(|op: &mut AdaptivePoolT| (op.src, op.kind) = (src, PoolKind::Average)))
    })
}
