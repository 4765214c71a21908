//! Convolution: plain, grouped, depthwise and transposed; 1-d as 2-d of height 1.

use tandem_schemas::program::{ConvT, ConvTransposeT, DType, DepthwiseT, EpilogueT, OpKindT};

use super::{Row, conv3d, emit_reshaped, reshaped};
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;

pub(super) const OPS: &[Row] = &[
    ("aten.convolution.default", |c| convolution(c, true)),
    ("aten.conv3d.default", |c| convolution(c, false)),
    ("aten.conv2d.default", |c| convolution(c, false)),
    ("aten.conv1d.default", |c| convolution(c, false)),
];

/// What a convolution is, but for its operands; steps are along [depth, y, x].
pub(super) struct Conv {
    pub stride: [u32; 3],
    pub padding: [u32; 3],
    pub dilation: [u32; 3],
    pub output_padding: [u32; 3],
    pub groups: u32,
    pub transposed: bool,
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
    let axes = tensor.shape.len().saturating_sub(2).clamp(1, 3);
    let conv = Conv {
        stride: call.axes("stride", axes, [1; 3])?,
        padding: call.axes("padding", axes, [0; 3])?,
        dilation: call.axes("dilation", axes, [1; 3])?,
        output_padding: call.axes("output_padding", axes, [0; 3])?,
        groups: groups as u32,
        transposed: general && call.flag("transposed")?,
    };
    match (call.shape(src), &tensor.shape[..]) {
        (&[_, channels, ..], shape @ [_, _, _, _]) if call.shape(src).len() == 4 => {
            call.emit(conv.kind(src, (weight, shape), bias, channels))
        }
        (&[n, c, w], &[o, i, k]) => {
            let src = reshaped(call, src, &[n, c, 1, w])?;
            let weight = call.add_constant("weight", tensor.reshaped(&[o, i, 1, k]));
            let out = call.out_shape(0)?;
            let [on, oc, ow] = out[..] else { return Err(format!("its output {out:?} is not [n, c, w]")) };
            emit_reshaped(call, &[on, oc, 1, ow], conv.kind(src, (weight, &[o, i, 1, k]), bias, c))
        }
        (&[_, _, _, _, _], [_, _, _, _, _]) => conv3d::emit(call, &conv, src, &tensor.cast(DType::F32), bias),
        (src, weight) => {
            Err(format!("input {src:?} and weight {weight:?} have not both 3, 4 or 5 dimensions"))
        }
    }
}

impl Conv {
    /// The op on images of so many channels with a weight of this shape, along [y, x].
    pub fn kind(
        &self,
        src: ValueId,
        (weight, shape): (ValueId, &[usize]),
        bias: ValueId,
        channels: usize,
    ) -> OpKindT {
        let flat = |[_, y, x]: [u32; 3]| vec![y, x];
        let [_, y, x] = self.padding;
        let (kernel, groups) = (vec![shape[2] as u32, shape[3] as u32], self.groups);
        let (stride, padding, dilation) = (flat(self.stride), vec![y, x, y, x], flat(self.dilation));
        let epilogue = Some(table(|e: &mut EpilogueT| e.bias = bias));
        if self.transposed {
            return OpKindT::ConvTranspose(table(|op: &mut ConvTransposeT| {
                (op.src, op.weight, op.groups, op.epilogue) = (src, weight, groups, epilogue);
                (op.kernel, op.stride, op.padding, op.dilation) = (kernel, stride, padding, dilation);
                op.output_padding = flat(self.output_padding);
            }));
        }
        if groups as usize == channels && shape[..2] == [channels, 1] && groups > 1 {
            return OpKindT::Depthwise(table(|op: &mut DepthwiseT| {
                (op.src, op.weight, op.epilogue) = (src, weight, epilogue);
                (op.kernel, op.stride, op.padding, op.dilation) = (kernel, stride, padding, dilation);
            }));
        }
        OpKindT::Conv(table(|op: &mut ConvT| {
            (op.src, op.weight, op.groups, op.epilogue) = (vec![src], weight, groups, epilogue);
            (op.kernel, op.stride, op.padding, op.dilation) = (kernel, stride, padding, dilation);
        }))
    }
}
