//! Convolution: plain, grouped, depthwise and transposed; 1-d as 2-d of height 1.

use tandem_schemas::program::{ConvT, ConvTransposeT, DepthwiseT, EpilogueT, OpKindT, ReshapeT};

use super::Row;
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.convolution.default", |c| convolution(c, true)),
    ("aten.conv2d.default", |c| convolution(c, false)),
    ("aten.conv1d.default", |c| convolution(c, false)),
];

/// Stride, padding, dilation and output padding, [y, x] each.
struct Steps {
    stride: [u32; 2],
    padding: [u32; 2],
    dilation: [u32; 2],
    output_padding: [u32; 2],
}

fn convolution(call: &mut Call<'_, '_>, general: bool) -> Result<(), Reason> {
    let src = call.tensor("input")?;
    let (weight, tensor) = call.constant("weight")?;
    let bias = call.optional("bias")?;
    if bias >= 0 {
        call.constant("bias")?;
    }
    let groups = call.int_or("groups", 1)?;
    if !(1..=1 << 20).contains(&groups) {
        return Err(format!("argument groups = {groups} is not within 1..={}", 1 << 20));
    }
    let steps = Steps {
        stride: call.pair("stride", [1; 2])?,
        padding: call.pair("padding", [0; 2])?,
        dilation: call.pair("dilation", [1; 2])?,
        output_padding: call.pair("output_padding", [0; 2])?,
    };
    let epilogue = || table(|e: &mut EpilogueT| e.bias = bias);
    let transposed = general && call.flag("transposed")?;
    let parts = (src, weight, groups as u32);
    match (call.shape(src).len(), tensor.shape.len()) {
        (4, 4) => {
            let channels = call.shape(src)[1];
            let kind = kind(parts, &tensor.shape, channels, &steps, (transposed, epilogue()));
            call.emit(kind)
        }
        (3, 3) => {
            let [n, c, w] = *call.shape(src) else { return Err("input is not [n, c, w]".into()) };
            let [o, i, k] = tensor.shape[..] else { return Err("weight is not [o, i, k]".into()) };
            let src = call.temp(&[n, c, 1, w], reshape(src))?;
            let weight = call.add_constant("weight", tensor.reshaped(&[o, i, 1, k]));
            let out = call.out_shape(0)?;
            let [on, oc, ow] = out[..] else { return Err(format!("its output {out:?} is not [n, c, w]")) };
            let kind =
                kind((src, weight, groups as u32), &[o, i, 1, k], c, &steps.flat(), (transposed, epilogue()));
            let image = call.temp(&[on, oc, 1, ow], kind)?;
            call.emit(reshape(image))
        }
        (src, weight) => Err(format!("input of {src} and weight of {weight} dimensions are not both 3 or 4")),
    }
}

impl Steps {
    /// Of a 1-d convolution, whose one number was read for both axes.
    fn flat(&self) -> Self {
        let x = |pair: [u32; 2], y| [y, pair[1]];
        Self {
            stride: x(self.stride, 1),
            padding: x(self.padding, 0),
            dilation: x(self.dilation, 1),
            output_padding: x(self.output_padding, 0),
        }
    }
}

fn reshape(src: ValueId) -> OpKindT {
    OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = src))
}

fn kind(
    (src, weight, groups): (ValueId, ValueId, u32),
    shape: &[usize],
    channels: usize,
    steps: &Steps,
    (transposed, epilogue): (bool, Box<EpilogueT>),
) -> OpKindT {
    let kernel = vec![shape[2] as u32, shape[3] as u32];
    let [y, x] = steps.padding;
    let (stride, padding, dilation) = (steps.stride.to_vec(), vec![y, x, y, x], steps.dilation.to_vec());
    if transposed {
        return OpKindT::ConvTranspose(table(|op: &mut ConvTransposeT| {
            (op.src, op.weight, op.groups) = (src, weight, groups);
            (op.kernel, op.stride, op.padding, op.dilation) = (kernel, stride, padding, dilation);
            op.output_padding = steps.output_padding.to_vec();
            op.epilogue = Some(epilogue);
        }));
    }
    if groups as usize == channels && shape[..2] == [channels, 1] && groups > 1 {
        return OpKindT::Depthwise(table(|op: &mut DepthwiseT| {
            (op.src, op.weight) = (src, weight);
            (op.kernel, op.stride, op.padding, op.dilation) = (kernel, stride, padding, dilation);
            op.epilogue = Some(epilogue);
        }));
    }
    OpKindT::Conv(table(|op: &mut ConvT| {
        (op.src, op.weight, op.groups) = (vec![src], weight, groups);
        (op.kernel, op.stride, op.padding, op.dilation) = (kernel, stride, padding, dilation);
        op.epilogue = Some(epilogue);
    }))
}
