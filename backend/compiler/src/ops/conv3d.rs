//! 3-d convolution as 2-d convolution of all depths at once: depths join the batch, and the planes that the kernel's
//! depth reaches become segments of channels.

use tandem_schemas::program::{BinaryKind, OpKindT, PadT};

use super::binary::binary;
use super::concat::concat_of;
use super::conv::Conv;
use super::view::{permute_of, slice_of};
use super::{reshape, reshaped, volume};
use crate::error::Reason;
use crate::graph::{ValueId, table};
use crate::import::Call;
use crate::tensor::Tensor;

/// Most planes between the first and the last that a kernel reaches.
const MAX_REACH: usize = 1 << 20;

/// Emits a convolution of `src` `[n, c, d, h, w]` with ATen's weight.
pub(super) fn emit(
    call: &mut Call<'_, '_>,
    conv: &Conv,
    src: ValueId,
    weight: &Tensor<'_>,
    bias: ValueId,
) -> Result<(), Reason> {
    let (from, to) = (five(call.shape(src))?, five(&call.out_shape(0)?)?);
    let depth = Depth::of(conv, weight.shape[2], from[2])?;
    let groups = conv.groups as usize;
    let columns = if conv.transposed { weight.shape[1] * groups } else { weight.shape[0] };
    let rows = if conv.transposed { weight.shape[0] } else { weight.shape[1] * groups };
    let fits =
        columns == to[1] && rows == from[1] && [columns, rows].iter().all(|n| n.is_multiple_of(groups));
    if !fits || depth.out != to[2] {
        return Err(format!("{from:?} with weight {:?} in {groups} groups gives no {to:?}", weight.shape));
    }
    let [n, c, d, h, w] = from;
    let planes = Planes { value: volume::planes(call, src, from)?, sizes: [d, n, c, h, w] };
    let volume = Volume { conv, depth, planes, to, weight, bias };
    match (conv.transposed, groups) {
        (true, _) => volume.transposed(call),
        (false, 1) => volume.joined(call),
        (false, _) => volume.summed(call),
    }
}

fn five(shape: &[usize]) -> Result<[usize; 5], Reason> {
    shape.try_into().map_err(|_| format!("{shape:?} is not [n, c, d, h, w]"))
}

/// What a convolution does along depth.
#[derive(Clone, Copy)]
struct Depth {
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    out: usize,
}

impl Depth {
    fn of(conv: &Conv, kernel: usize, size: usize) -> Result<Self, Reason> {
        let [stride, padding, dilation] = [conv.stride, conv.padding, conv.dilation].map(|s| s[0] as usize);
        let reach = dilation.saturating_mul(kernel.max(1) - 1) + 1;
        let out = if conv.transposed {
            let full = (size - 1) * stride + reach + conv.output_padding[0] as usize;
            full.checked_sub(2 * padding)
        } else {
            (size + 2 * padding).checked_sub(reach).map(|room| room / stride.max(1) + 1)
        };
        let positive = kernel > 0 && stride > 0 && dilation > 0 && reach <= MAX_REACH;
        match out {
            Some(out) if positive && out > 0 => Ok(Self { kernel, stride, padding, dilation, out }),
            _ => Err(format!(
                "depth {size}: kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}"
            )),
        }
    }
}

/// A volume with its depths in front: `[d, n, c, h, w]`.
struct Planes {
    value: ValueId,
    sizes: [usize; 5],
}

impl Planes {
    /// With so many planes of zeros in front and behind.
    fn padded(&self, call: &mut Call<'_, '_>, before: usize, after: usize) -> Result<Self, Reason> {
        let (mut value, mut sizes) = (self.value, self.sizes);
        if before + after > 0 {
            sizes[0] += before + after;
            let before = vec![before as i32, 0, 0, 0, 0];
            value = call
                .temp(&sizes, OpKindT::Pad(table(|op: &mut PadT| (op.src, op.before) = (value, before))))?;
        }
        Ok(Self { value, sizes })
    }

    /// `count` planes, each `step` behind the last, as images `[count * n, c, h, w]`.
    fn images(&self, call: &mut Call<'_, '_>, [start, count, step]: [usize; 3]) -> Result<ValueId, Reason> {
        let [d, n, c, h, w] = self.sizes;
        let mut value = self.value;
        if (start, count) != (0, d) {
            // A step that is never taken may be any size.
            let step = if count == 1 { 1 } else { step };
            value = call.temp(&[count, n, c, h, w], slice_of(value, 0, start as i64, step as i64))?;
        }
        reshaped(call, value, &[count * n, c, h, w])
    }
}

/// A convolution of `[n, c, d, h, w]` to `to`.
struct Volume<'v, 'a> {
    conv: &'v Conv,
    depth: Depth,
    planes: Planes,
    to: [usize; 5],
    weight: &'v Tensor<'a>,
    bias: ValueId,
}

impl Volume<'_, '_> {
    /// A weight of images with so many rows and columns (ATen's first two dimensions): the plane of `self.weight` that
    /// `from` names by its row, column and depth, or zeros.
    fn weight<'a>(
        &self,
        [rows, columns]: [usize; 2],
        from: impl Fn(usize, usize) -> Option<[usize; 3]>,
    ) -> Tensor<'a> {
        let [_, inner, depth, kh, kw] = self.weight.shape[..] else { return Tensor::vector(vec![]) };
        let data = self.weight.f32();
        let mut planes = vec![0.0; rows * columns * kh * kw];
        for (i, plane) in planes.chunks_mut((kh * kw).max(1)).enumerate() {
            if let Some([row, column, k]) = from(i / columns, i % columns) {
                plane.copy_from_slice(&data[((row * inner + column) * depth + k) * kh * kw..][..kh * kw]);
            }
        }
        Tensor::owned(&[rows, columns, kh, kw], planes)
    }

    /// Each plane of the kernel reads a segment of channels of its own.
    fn joined(&self, call: &mut Call<'_, '_>) -> Result<(), Reason> {
        let (depth, [_, n, c, h, w]) = (self.depth, self.planes.sizes);
        let planes = self.planes.padded(call, depth.padding, depth.padding)?;
        let place = |k| [k * depth.dilation, depth.out, depth.stride];
        let segments: Vec<_> =
            (0..depth.kernel).map(|k| planes.images(call, place(k))).collect::<Result<_, _>>()?;
        let channels = depth.kernel * c;
        let src = concat(call, &segments, 1, &[depth.out * n, channels, h, w])?;
        let weight = self.weight([self.to[1], channels], |o, i| Some([o, i % c, i / c]));
        let shape = weight.shape.clone();
        let weight = call.add_constant("weight", weight);
        let images = self.images(call, self.conv.kind(src, (weight, &shape), self.bias, channels))?;
        self.emit(call, images)
    }

    /// A convolution for each plane of the kernel, added up: one in groups has one segment.
    fn summed(&self, call: &mut Call<'_, '_>) -> Result<(), Reason> {
        let (depth, channels) = (self.depth, self.planes.sizes[2]);
        let planes = self.planes.padded(call, depth.padding, depth.padding)?;
        let mut sum = None;
        for k in 0..depth.kernel {
            let src = planes.images(call, [k * depth.dilation, depth.out, depth.stride])?;
            let weight = self.weight([self.to[1], self.weight.shape[1]], |o, i| Some([o, i, k]));
            let shape = weight.shape.clone();
            let weight = call.add_constant("weight", weight);
            let bias = if k == 0 { self.bias } else { -1 };
            let product = self.images(call, self.conv.kind(src, (weight, &shape), bias, channels))?;
            sum = Some(match sum {
                Some(sum) => self.images(call, binary(sum, product, BinaryKind::Add, 1.0))?,
                None => product,
            });
        }
        sum.map_or(Ok(()), |sum| self.emit(call, sum))
    }

    /// An op that gives the result's planes as images.
    fn images(&self, call: &mut Call<'_, '_>, kind: OpKindT) -> Result<ValueId, Reason> {
        let [n, c, d, h, w] = self.to;
        call.temp(&[d * n, c, h, w], kind)
    }

    /// Images as the volume the node gives.
    fn emit(&self, call: &mut Call<'_, '_>, images: ValueId) -> Result<(), Reason> {
        let volume = volume::volume(call, images, self.to)?;
        call.emit(reshape(volume))
    }

    /// Tap k of depth brings plane q - k * dilation / stride of the source to plane q * stride + k * dilation % stride:
    /// quotients are segments of channels, remainders groups of columns. What no tap joins has weights of zero.
    fn transposed(&self, call: &mut Call<'_, '_>) -> Result<(), Reason> {
        let (Depth { kernel, stride, padding, dilation, out }, groups) =
            (self.depth, self.conv.groups as usize);
        let (each, [_, n, c, h, w]) = (self.weight.shape[1], self.planes.sizes);
        let mut back: Vec<usize> = (0..kernel).map(|k| k * dilation / stride).collect();
        back.dedup();
        let (first, last, farthest) = (padding / stride, (out - 1 + padding) / stride, back[back.len() - 1]);
        let (before, count) = (farthest.saturating_sub(first), last + 1 - first);
        let planes = self.planes.padded(call, before, (last + 1).saturating_sub(self.planes.sizes[0]))?;
        let mut segments = vec![];
        for t in &back {
            let images = planes.images(call, [first + before - t, count, 1])?;
            segments.push(reshaped(call, images, &[count * n, groups, c / groups, h, w])?);
        }
        let channels = back.len() * c;
        let src = concat(call, &segments, 2, &[count * n, groups, channels / groups, h, w])?;
        let src = reshaped(call, src, &[count * n, channels, h, w])?;

        let (inner, columns) = (c / groups, stride * each);
        let weight = self.weight([channels, columns], |row, column| {
            let (group, segment) = (row / inner / back.len(), row / inner % back.len());
            let reach = back[segment] * stride + column / each;
            let tap =
                (reach.is_multiple_of(dilation) && reach / dilation < kernel).then_some(reach / dilation)?;
            Some([group * inner + row % inner, column % each, tap])
        });
        let shape = weight.shape.clone();
        let weight = call.add_constant("weight", weight);
        let bias = self.repeated_bias(call)?;
        let [_, o, _, oh, ow] = self.to;
        let images = self.conv.kind(src, (weight, &shape), bias, channels);
        let images = call.temp(&[count * n, groups * columns, oh, ow], images)?;
        let split = reshaped(call, images, &[count, n, groups, stride, each, oh, ow])?;
        let turned =
            call.temp(&[n, groups, each, count, stride, oh, ow], permute_of(split, &[1, 2, 4, 0, 3, 5, 6]))?;
        let start = padding - first * stride;
        let whole = reshaped(call, turned, &[n, o, count * stride, oh, ow])?;
        call.emit(slice_of(whole, 2, start as i64, 1))
    }

    /// Each group's part once for every remainder.
    fn repeated_bias(&self, call: &mut Call<'_, '_>) -> Result<ValueId, Reason> {
        let Some(bias) = call.vector("bias")? else { return Ok(-1) };
        let repeated =
            bias.chunks(self.weight.shape[1].max(1)).flat_map(|part| part.repeat(self.depth.stride));
        let repeated = Tensor::vector(repeated.collect());
        Ok(call.add_constant("bias", repeated))
    }
}

/// Values joined to `shape`.
fn concat(call: &mut Call<'_, '_>, src: &[ValueId], dim: usize, shape: &[usize]) -> Result<ValueId, Reason> {
    match src {
        &[only] => Ok(only),
        _ => call.temp(shape, concat_of(src.to_vec(), dim)),
    }
}
