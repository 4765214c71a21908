//! Graphs in a few lines: every method adds an op whose output's shape follows from its operands.

use tandem_schemas::program::*;

use crate::graph::{
    Graph, Op, Origin, Output, Value, ValueId, activation, broadcast, result, sources, table, u32s,
};
use crate::tensor::{Tensor, elements};

/// A graph under construction.
#[derive(Clone, Default)]
pub(crate) struct Build {
    graph: Graph<'static>,
}

/// Element `i` of made-up data: within -1..1, never near 0.
pub(super) fn number(i: usize) -> f32 {
    let hash = (i as u32 + 1).wrapping_mul(0x9E37_79B9).rotate_left(11).wrapping_mul(0x85EB_CA6B);
    let size = 0.1 + 0.9 * (hash >> 9) as f32 / (1 << 23) as f32;
    if hash & 1 == 0 { size } else { -size }
}

fn stages(bias: ValueId) -> Option<Box<EpilogueT>> {
    Some(table(|e: &mut EpilogueT| e.bias = bias))
}

impl Build {
    pub fn new() -> Self {
        Self::default()
    }

    /// The graph, its ops named after their outputs.
    pub fn graph(self) -> Graph<'static> {
        self.graph
    }

    pub fn shape(&self, id: ValueId) -> Vec<usize> {
        self.graph.shape(id).to_vec()
    }

    fn value(&mut self, name: &str, shape: &[usize], origin: Origin<'static>) -> ValueId {
        let value =
            Value { name: name.into(), dtype: DType::F32, shape: shape.to_vec(), dim_order: vec![], origin };
        self.graph.add_value(value)
    }

    pub fn input(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let id = self.value(name, shape, Origin::Input);
        self.graph.inputs.push(id);
        id
    }

    /// An input of a dtype.
    pub fn input_of(&mut self, name: &str, dtype: DType, shape: &[usize]) -> ValueId {
        let id = self.input(name, shape);
        self.graph.values[id as usize].dtype = dtype;
        id
    }

    /// A value as another dtype.
    pub fn cast(&mut self, name: &str, src: ValueId, dtype: DType) -> ValueId {
        let shape = self.shape(src);
        let kind = OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind) = (src, UnaryKind::Cast)));
        let id = self.op(name, &shape, kind);
        self.graph.values[id as usize].dtype = dtype;
        id
    }

    /// Returns a value.
    pub fn output(&mut self, value: ValueId) {
        let name = self.graph.value(value).name.clone();
        self.graph.outputs.push(Output { value, name, dim_order: vec![] });
    }

    /// A constant of made-up numbers.
    pub fn constant(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let seed = 1009 * self.graph.values.len();
        let data = (0..elements(shape)).map(|i| number(seed + i)).collect();
        self.numbers(name, shape, data)
    }

    /// A constant.
    pub fn numbers(&mut self, name: &str, shape: &[usize], data: Vec<f32>) -> ValueId {
        self.graph.add_constant(name.into(), Tensor::owned(shape, data))
    }

    /// Elements at constant places of a dimension.
    pub fn gather(&mut self, name: &str, src: ValueId, dim: usize, places: &[usize]) -> ValueId {
        let mut shape = self.shape(src);
        shape[dim] = places.len();
        let mut spread = vec![1; shape.len()];
        spread[dim] = places.len();
        let numbers: Vec<f64> = places.iter().map(|&place| place as f64).collect();
        let index = Tensor::numbers(DType::I64, &spread, &numbers);
        let index = self.graph.add_constant(format!("{name}.places"), index);
        let gather = |op: &mut GatherT| (op.src, op.index, op.dim) = (src, index, dim as u32);
        self.op(name, &shape, OpKindT::Gather(table(gather)))
    }

    /// Any op.
    pub fn op(&mut self, name: &str, shape: &[usize], kind: OpKindT) -> ValueId {
        // Moves give what they move; everything else knows.
        let first = sources(&kind).first().map_or(DType::F32, |&src| self.graph.value(src).dtype);
        let dtype = result(&self.graph, &kind, first).unwrap_or(DType::F32);
        let output = self.value(name, shape, Origin::Op);
        self.graph.values[output as usize].dtype = dtype;
        let order = self.graph.ops.len();
        self.graph.ops.push(Some(Op { name: name.into(), kind, output, order, debug_handles: vec![] }));
        output
    }

    /// A convolution that keeps the image's size; the kernel's is odd.
    pub fn conv(&mut self, name: &str, src: ValueId, weight: ValueId, bias: ValueId) -> ValueId {
        self.grouped(name, src, weight, bias, 1)
    }

    /// The same in groups.
    pub fn grouped(
        &mut self,
        name: &str,
        src: ValueId,
        weight: ValueId,
        bias: ValueId,
        groups: u32,
    ) -> ValueId {
        let (mut shape, w) = (self.shape(src), self.shape(weight));
        shape[1] = w[0];
        let kind = OpKindT::Conv(table(|op: &mut ConvT| {
            (op.src, op.weight, op.groups, op.epilogue) = (vec![src], weight, groups, stages(bias));
            op.padding = u32s(&[w[2] / 2, w[3] / 2, w[2] / 2, w[3] / 2]);
            (op.kernel, op.stride, op.dilation) = (u32s(&w[2..]), vec![1; 2], vec![1; 2]);
        }));
        self.op(name, &shape, kind)
    }

    /// A depthwise convolution that keeps the image's size.
    pub fn depthwise(&mut self, name: &str, src: ValueId, weight: ValueId, bias: ValueId) -> ValueId {
        let (shape, w) = (self.shape(src), self.shape(weight));
        let kind = OpKindT::Depthwise(table(|op: &mut DepthwiseT| {
            (op.src, op.weight, op.epilogue) = (src, weight, stages(bias));
            op.padding = u32s(&[w[2] / 2, w[3] / 2, w[2] / 2, w[3] / 2]);
            (op.kernel, op.stride, op.dilation) = (u32s(&w[2..]), vec![1; 2], vec![1; 2]);
        }));
        self.op(name, &shape, kind)
    }

    /// A transposed convolution with a 3×3 kernel and a stride of 2, which doubles the image's size.
    pub fn conv_transpose(
        &mut self,
        name: &str,
        src: ValueId,
        weight: ValueId,
        bias: ValueId,
        groups: u32,
    ) -> ValueId {
        let s = self.shape(src);
        let shape = [s[0], self.shape(weight)[1] * groups as usize, 2 * s[2], 2 * s[3]];
        let kind = OpKindT::ConvTranspose(table(|op: &mut ConvTransposeT| {
            (op.src, op.weight, op.groups, op.epilogue) = (src, weight, groups, stages(bias));
            (op.kernel, op.stride, op.padding) = (vec![3; 2], vec![2; 2], vec![1; 4]);
            (op.dilation, op.output_padding) = (vec![1; 2], vec![1; 2]);
        }));
        self.op(name, &shape, kind)
    }

    pub fn linear(&mut self, name: &str, src: ValueId, weight: ValueId, bias: ValueId) -> ValueId {
        let mut shape = self.shape(src);
        *shape.last_mut().unwrap() = self.shape(weight)[0];
        let kind = OpKindT::Linear(table(|op: &mut LinearT| {
            (op.src, op.weight, op.epilogue) = (src, weight, stages(bias));
        }));
        self.op(name, &shape, kind)
    }

    pub fn matmul(&mut self, name: &str, a: ValueId, b: ValueId, scale: f32) -> ValueId {
        let (sa, sb) = (self.shape(a), self.shape(b));
        let batch = sa.len() - 2;
        let mut shape = broadcast(&[&sa[..batch], &sb[..batch]]).unwrap();
        shape.extend([sa[batch], sb[batch + 1]]);
        let kind = OpKindT::MatMul(table(|op: &mut MatMulT| {
            (op.a, op.b, op.scale, op.epilogue) = (a, b, scale, stages(-1));
        }));
        self.op(name, &shape, kind)
    }

    pub fn attention(&mut self, name: &str, [q, k, v]: [ValueId; 3]) -> ValueId {
        let mut shape = self.shape(q);
        shape[3] = self.shape(v)[3];
        let attention = |op: &mut AttentionT| (op.q, op.k, op.v, op.mask, op.scale) = (q, k, v, -1, 0.5);
        self.op(name, &shape, OpKindT::Attention(table(attention)))
    }

    pub fn softmax(&mut self, name: &str, src: ValueId, dim: usize) -> ValueId {
        let shape = self.shape(src);
        let kind = OpKindT::Softmax(table(|op: &mut SoftmaxT| (op.src, op.dim) = (src, dim as u32)));
        self.op(name, &shape, kind)
    }

    /// Layer normalisation of the last dimension.
    pub fn norm(&mut self, name: &str, src: ValueId) -> ValueId {
        let shape = self.shape(src);
        let kind = OpKindT::Norm(table(|op: &mut NormT| {
            (op.src, op.kind, op.axes, op.eps) = (src, NormKind::Layer, 1, 0.1);
        }));
        self.op(name, &shape, kind)
    }

    pub fn affine(
        &mut self,
        name: &str,
        src: ValueId,
        dim: usize,
        scale: ValueId,
        shift: ValueId,
    ) -> ValueId {
        let shape = self.shape(src);
        let kind = OpKindT::Affine(table(|op: &mut AffineT| {
            (op.src, op.dim, op.scale, op.shift) = (src, dim as u32, scale, shift);
        }));
        self.op(name, &shape, kind)
    }

    pub fn act(&mut self, name: &str, src: ValueId, kind: Activation) -> ValueId {
        let shape = self.shape(src);
        let kind = OpKindT::Unary(table(|op: &mut UnaryT| {
            (op.src, op.kind) = (src, UnaryKind::Activation);
            op.act = Some(activation(kind, 0.0, 0.0));
        }));
        self.op(name, &shape, kind)
    }

    pub fn unary(&mut self, name: &str, src: ValueId, kind: UnaryKind, a: f64) -> ValueId {
        let shape = self.shape(src);
        let kind = OpKindT::Unary(table(|op: &mut UnaryT| (op.src, op.kind, op.a) = (src, kind, a)));
        self.op(name, &shape, kind)
    }

    pub fn binary(&mut self, name: &str, kind: BinaryKind, a: ValueId, b: ValueId) -> ValueId {
        self.binary_alpha(name, kind, a, b, 1.0)
    }

    pub fn binary_alpha(
        &mut self,
        name: &str,
        kind: BinaryKind,
        a: ValueId,
        b: ValueId,
        alpha: f64,
    ) -> ValueId {
        let shape = broadcast(&[&self.shape(a), &self.shape(b)]).unwrap();
        let kind = OpKindT::Binary(table(|op: &mut BinaryT| {
            (op.a, op.b, op.kind, op.alpha) = (a, b, kind, alpha);
        }));
        self.op(name, &shape, kind)
    }

    pub fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> ValueId {
        self.binary(name, BinaryKind::Add, a, b)
    }

    pub fn concat(&mut self, name: &str, src: &[ValueId], dim: usize) -> ValueId {
        let mut shape = self.shape(src[0]);
        shape[dim] = src.iter().map(|&s| self.graph.shape(s)[dim]).sum();
        let kind = OpKindT::Concat(table(|op: &mut ConcatT| (op.src, op.dim) = (src.to_vec(), dim as u32)));
        self.op(name, &shape, kind)
    }

    pub fn reshape(&mut self, name: &str, src: ValueId, shape: &[usize]) -> ValueId {
        self.op(name, shape, OpKindT::Reshape(table(|op: &mut ReshapeT| op.src = src)))
    }

    pub fn expand(&mut self, name: &str, src: ValueId, shape: &[usize]) -> ValueId {
        self.op(name, shape, OpKindT::Expand(table(|op: &mut ExpandT| op.src = src)))
    }

    pub fn permute(&mut self, name: &str, src: ValueId, order: &[usize]) -> ValueId {
        let from = self.shape(src);
        let shape: Vec<usize> = order.iter().map(|&d| from[d]).collect();
        let kind = OpKindT::Permute(table(|op: &mut PermuteT| (op.src, op.order) = (src, u32s(order))));
        self.op(name, &shape, kind)
    }

    /// `size` elements of a dimension, from `start`, each `step` behind the last.
    pub fn slice(
        &mut self,
        name: &str,
        src: ValueId,
        dim: usize,
        [start, size, step]: [usize; 3],
    ) -> ValueId {
        let mut shape = self.shape(src);
        shape[dim] = size;
        let kind = OpKindT::Slice(table(|op: &mut SliceT| {
            (op.src, op.dim, op.start, op.step) = (src, dim as u32, start as i64, step as i64);
        }));
        self.op(name, &shape, kind)
    }

    pub fn pixel_shuffle(&mut self, name: &str, src: ValueId, factor: usize) -> ValueId {
        let s = self.shape(src);
        let shape = [s[0], s[1] / (factor * factor), s[2] * factor, s[3] * factor];
        let kind = OpKindT::PixelShuffle(table(|op: &mut PixelShuffleT| {
            (op.src, op.factor) = (src, factor as u32);
        }));
        self.op(name, &shape, kind)
    }
}
