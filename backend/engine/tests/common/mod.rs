//! Programs built op by op, with random constants, and ways to run them.
#![allow(dead_code)]

pub mod dynamic;
pub mod models;
pub mod reference;

use std::collections::HashMap;

use tandem_base::AlignedBuf;
use tandem_engine::{Constants, Error, Input, LoadOptions, Method, Output, TensorSpec};
use tandem_kernels::panels;
use tandem_schemas::program::*;

/// A default with some fields set: the schema's structs take no struct expressions.
macro_rules! with {
    ($kind:ty, $($field:ident = $value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut made = <$kind>::default();
        $(made.$field = $value;)*
        made
    }};
}
#[allow(unused_imports)]
pub(crate) use with;

/// A small generator of repeatable numbers.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
    /// In -1 .. 1.
    pub fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Constants in memory, each entry 64-byte aligned plus `skew`.
pub struct Held {
    entries: HashMap<String, AlignedBuf>,
    skew: usize,
}

impl Constants for Held {
    fn entry(&self, key: &str) -> Result<&[u8], String> {
        let buf = self.entries.get(key).ok_or("no such entry")?;
        Ok(&buf.bytes()[self.skew..])
    }
}

/// A program under construction.
pub struct Builder {
    pub program: ProgramT,
    pub random: Random,
    bytes: Vec<u8>,
}

impl Default for Builder {
    fn default() -> Self {
        let entry = with!(EntryT, key = "all".to_owned());
        let program = with!(ProgramT, entries = vec![entry]);
        Self { program, random: Random(1), bytes: Vec::new() }
    }
}

pub fn act(kind: Activation) -> Option<ActT> {
    Some(with!(ActT, kind = kind))
}

/// What follows a product.
#[derive(Default)]
pub struct Stages {
    pub bias: bool,
    pub relu: bool,
    pub scale: bool,
    pub residual: Option<i32>,
    pub relu2: bool,
}

impl Builder {
    pub fn value(&mut self, kind: ValueKind, sizes: &[usize]) -> i32 {
        let name = format!("v{}", self.program.values.len());
        let shape = Some(sizes.iter().map(|&n| Dim::new(n as i64, -1).unpack()).collect());
        self.program.values.push(with!(ValueT, name = name, kind = kind, shape = shape, constant = -1));
        self.program.values.len() as i32 - 1
    }

    pub fn sizes(&self, value: i32) -> Vec<usize> {
        let shape = self.program.values[value as usize].shape.as_ref();
        shape.unwrap().iter().map(|d| d.size_ as usize).collect()
    }

    pub fn input(&mut self, sizes: &[usize]) -> i32 {
        let v = self.value(ValueKind::Input, sizes);
        self.program.inputs.push(v);
        v
    }

    pub fn output(&mut self, value: i32) {
        if self.program.values[value as usize].kind == ValueKind::Temp {
            self.program.values[value as usize].kind = ValueKind::Output;
        }
        self.program.outputs.push(value);
    }

    pub fn constant(&mut self, data: &[f32], format: Format) -> i32 {
        let offset = self.bytes.len() as u64;
        self.bytes.extend(data.iter().flat_map(|x| x.to_le_bytes()));
        self.bytes.resize(self.bytes.len().next_multiple_of(64), 0);
        let version = if format == Format::Plain { 0 } else { panels::VERSION };
        let name = format!("c{}", self.program.constants.len());
        let length = 4 * data.len() as u64;
        let constant = with!(
            ConstantT,
            name = name,
            offset = offset,
            length = length,
            format = format,
            format_version = version
        );
        self.program.constants.push(constant);
        self.program.constants.len() as i32 - 1
    }

    pub fn plain(&mut self, sizes: &[usize]) -> i32 {
        let data: Vec<f32> = (0..sizes.iter().product()).map(|_| self.random.real()).collect();
        let constant = self.constant(&data, Format::Plain);
        let v = self.value(ValueKind::Constant, sizes);
        self.program.values[v as usize].constant = constant;
        v
    }

    fn panels(&mut self, k: usize, n: usize) -> Vec<f32> {
        let (random, scale) = (&mut self.random, (k as f32).sqrt().recip());
        panels::pack(k, n, |_, _| random.real() * scale)
    }

    fn columns(&mut self, groups: usize, n: usize) -> i32 {
        let one = |random: &mut Random| {
            let mut column: Vec<f32> = (0..n).map(|_| random.real()).collect();
            column.resize(panels::padded(n), 0.0);
            column
        };
        let data: Vec<f32> = (0..groups).flat_map(|_| one(&mut self.random)).collect();
        self.constant(&data, Format::Columns)
    }

    fn stages(&mut self, s: &Stages, groups: usize, n: usize) -> Option<Box<EpilogueT>> {
        let relu = |on: bool| if on { act(Activation::Relu) } else { None };
        let mut e = with!(EpilogueT, bias = -1, scale = -1, shift = -1, residual = s.residual.unwrap_or(-1));
        e.act = relu(s.relu);
        e.act2 = relu(s.relu2);
        if s.bias {
            e.bias = self.columns(groups, n);
        }
        if s.scale {
            e.scale = self.columns(groups, n);
            e.shift = self.columns(groups, n);
        }
        Some(Box::new(e))
    }

    pub fn op(&mut self, kind: OpKindT, sizes: &[usize]) -> i32 {
        let out = self.value(ValueKind::Temp, sizes);
        let name = format!("op{}", self.program.ops.len());
        self.program.ops.push(with!(OpT, name = name, kind = kind, outputs = vec![out]));
        out
    }

    /// A square convolution with "same" padding for stride 1.
    pub fn conv(&mut self, src: &[i32], out: usize, kernel: usize, stride: usize, s: &Stages) -> i32 {
        self.conv_with(src, out, kernel, stride, (1, 1), s)
    }

    pub fn conv_with(
        &mut self,
        src: &[i32],
        out: usize,
        kernel: usize,
        stride: usize,
        (groups, shuffle): (usize, usize),
        s: &Stages,
    ) -> i32 {
        let first = self.sizes(src[0]);
        let channels: usize = src.iter().map(|&v| self.sizes(v)[1]).sum();
        let k = kernel * kernel * channels / groups;
        let columns = groups * shuffle * shuffle;
        let data: Vec<f32> = (0..columns).flat_map(|_| self.panels(k, out / groups)).collect();
        let weight = self.constant(&data, Format::Panels);
        let pad = if stride == kernel { 0 } else { kernel as u32 / 2 };
        let size = |n: usize| (n + 2 * pad as usize - kernel) / stride + 1;
        let sizes = [first[0], out, size(first[2]) * shuffle, size(first[3]) * shuffle];
        let epilogue = self.stages(s, columns, out / groups);
        let conv = with!(
            ConvT,
            src = src.to_vec(),
            weight = weight,
            kernel = vec![kernel as u32; 2],
            stride = vec![stride as u32; 2],
            padding = vec![pad; 4],
            dilation = vec![1, 1],
            groups = groups as u32,
            shuffle = shuffle as u32,
            epilogue = epilogue
        );
        self.op(OpKindT::Conv(Box::new(conv)), &sizes)
    }

    pub fn depthwise(&mut self, src: i32, kernel: usize, stride: usize, s: &Stages) -> i32 {
        let from = self.sizes(src);
        let data = self.panels(kernel * kernel, from[1]);
        let weight = self.constant(&data, Format::DepthwisePanels);
        let pad = kernel as u32 / 2;
        let size = |n: usize| (n + 2 * pad as usize - kernel) / stride + 1;
        let sizes = [from[0], from[1], size(from[2]), size(from[3])];
        let epilogue = self.stages(s, 1, from[1]);
        let op = with!(
            DepthwiseT,
            src = src,
            weight = weight,
            kernel = vec![kernel as u32; 2],
            stride = vec![stride as u32; 2],
            padding = vec![pad; 4],
            dilation = vec![1, 1],
            epilogue = epilogue
        );
        self.op(OpKindT::Depthwise(Box::new(op)), &sizes)
    }

    pub fn linear(&mut self, src: i32, n: usize, s: &Stages) -> i32 {
        let mut sizes = self.sizes(src);
        let k = sizes.pop().unwrap();
        sizes.push(n);
        let data = self.panels(k, n);
        let weight = self.constant(&data, Format::Panels);
        let epilogue = self.stages(s, 1, n);
        let op = with!(LinearT, src = src, weight = weight, epilogue = epilogue);
        self.op(OpKindT::Linear(Box::new(op)), &sizes)
    }

    pub fn matmul(&mut self, a: i32, b: i32) -> i32 {
        let (mut sizes, sb) = (self.sizes(a), self.sizes(b));
        sizes.pop();
        sizes.push(sb[sb.len() - 1]);
        self.op(OpKindT::MatMul(Box::new(with!(MatMulT, a = a, b = b, scale = 1.0))), &sizes)
    }

    pub fn binary(&mut self, kind: BinaryKind, a: i32, b: i32) -> i32 {
        let (sa, sb) = (self.sizes(a), self.sizes(b));
        let sizes = if sa.iter().product::<usize>() >= sb.iter().product() { sa } else { sb };
        let op = with!(BinaryT, a = a, b = b, kind = kind, alpha = 1.0);
        self.op(OpKindT::Binary(Box::new(op)), &sizes)
    }

    pub fn unary(&mut self, activation: Activation, src: i32) -> i32 {
        let sizes = self.sizes(src);
        let op = with!(UnaryT, src = src, kind = UnaryKind::Activation, act = act(activation));
        self.op(OpKindT::Unary(Box::new(op)), &sizes)
    }

    pub fn pool(&mut self, kind: PoolKind, src: i32, kernel: usize, stride: usize) -> i32 {
        let from = self.sizes(src);
        let size = |n: usize| (n - kernel) / stride + 1;
        let op = with!(
            PoolT,
            src = src,
            kind = kind,
            kernel = vec![kernel as u32; 2],
            stride = vec![stride as u32; 2],
            padding = vec![0; 4],
            dilation = vec![1, 1]
        );
        self.op(OpKindT::Pool(Box::new(op)), &[from[0], from[1], size(from[2]), size(from[3])])
    }

    pub fn adaptive(&mut self, src: i32, size: usize) -> i32 {
        let from = self.sizes(src);
        let op = with!(AdaptivePoolT, src = src, kind = PoolKind::Average);
        self.op(OpKindT::AdaptivePool(Box::new(op)), &[from[0], from[1], size, size])
    }

    pub fn norm(&mut self, kind: NormKind, src: i32, groups: u32) -> i32 {
        let sizes = self.sizes(src);
        let n = if kind == NormKind::Layer { sizes[sizes.len() - 1] } else { sizes[1] };
        let data: Vec<f32> = (0..n).map(|_| self.random.real()).collect();
        let (scale, shift) = (self.constant(&data, Format::Plain), self.constant(&data, Format::Plain));
        let op = with!(
            NormT,
            src = src,
            kind = kind,
            axes = 1,
            groups = groups,
            eps = 1e-5,
            scale = scale,
            shift = shift
        );
        self.op(OpKindT::Norm(Box::new(op)), &sizes)
    }

    pub fn softmax(&mut self, src: i32, dim: u32) -> i32 {
        let sizes = self.sizes(src);
        self.op(OpKindT::Softmax(Box::new(with!(SoftmaxT, src = src, dim = dim))), &sizes)
    }

    pub fn attention(&mut self, q: i32, k: i32, v: i32) -> i32 {
        let (mut sizes, sv) = (self.sizes(q), self.sizes(v));
        let d = sizes.pop().unwrap();
        sizes.push(sv[sv.len() - 1]);
        let scale = (d as f32).sqrt().recip();
        let op = with!(AttentionT, q = q, k = k, v = v, mask = -1, scale = scale);
        self.op(OpKindT::Attention(Box::new(op)), &sizes)
    }

    pub fn reshape(&mut self, src: i32, sizes: &[usize]) -> i32 {
        self.op(OpKindT::Reshape(Box::new(with!(ReshapeT, src = src))), sizes)
    }

    pub fn permute(&mut self, src: i32, order: &[u32]) -> i32 {
        let from = self.sizes(src);
        let sizes: Vec<usize> = order.iter().map(|&d| from[d as usize]).collect();
        self.op(OpKindT::Permute(Box::new(with!(PermuteT, src = src, order = order.to_vec()))), &sizes)
    }

    pub fn slice(&mut self, src: i32, dim: usize, start: usize, len: usize) -> i32 {
        let mut sizes = self.sizes(src);
        sizes[dim] = len;
        let op = with!(SliceT, src = src, dim = dim as u32, start = start as i64, step = 1);
        self.op(OpKindT::Slice(Box::new(op)), &sizes)
    }

    pub fn expand(&mut self, src: i32, sizes: &[usize]) -> i32 {
        self.op(OpKindT::Expand(Box::new(with!(ExpandT, src = src))), sizes)
    }

    pub fn concat(&mut self, src: &[i32], dim: usize) -> i32 {
        let mut sizes = self.sizes(src[0]);
        sizes[dim] = src.iter().map(|&s| self.sizes(s)[dim]).sum();
        let op = with!(ConcatT, src = src.to_vec(), dim = dim as u32);
        self.op(OpKindT::Concat(Box::new(op)), &sizes)
    }

    pub fn resize(&mut self, kind: ResizeKind, src: i32, size: [usize; 2]) -> i32 {
        let from = self.sizes(src);
        let op = with!(ResizeT, src = src, kind = kind);
        self.op(OpKindT::Resize(Box::new(op)), &[from[0], from[1], size[0], size[1]])
    }

    pub fn finish(mut self) -> Model {
        self.program.entries[0].length = self.bytes.len() as u64;
        Model { program: self.program, bytes: self.bytes }
    }
}

/// A program with its constants.
#[derive(Clone)]
pub struct Model {
    pub program: ProgramT,
    pub bytes: Vec<u8>,
}

impl Model {
    pub fn constants(&self, skew: usize) -> Box<Held> {
        let mut buf = AlignedBuf::zeroed(self.bytes.len() + skew);
        buf.bytes_mut()[skew..].copy_from_slice(&self.bytes);
        Box::new(Held { entries: HashMap::from([("all".to_owned(), buf)]), skew })
    }

    pub fn load(&self, options: &LoadOptions) -> Result<Method, Error> {
        let blob = tandem_schemas::write_program(&self.program);
        Method::load(&blob, self.constants(0), options)
    }

    /// Random inputs in the order of the specification's memory.
    pub fn inputs(&self, method: &Method, seed: u64) -> Vec<Vec<f32>> {
        let mut random = Random(seed);
        let one = |spec: &TensorSpec| (0..spec.sizes.iter().product()).map(|_| random.real()).collect();
        method.inputs().iter().map(one).collect()
    }
}

/// Tensors of f32 as inputs of these specifications.
pub fn given<'a>(specs: &'a [TensorSpec], tensors: &'a [Vec<f32>]) -> Vec<Input<'a>> {
    let input = |(s, data): (&'a TensorSpec, &'a Vec<f32>)| Input {
        dtype: s.dtype,
        sizes: &s.sizes,
        dim_order: &s.dim_order,
        bytes: bytemuck::cast_slice(data),
    };
    specs.iter().zip(tensors).map(input).collect()
}

/// Tensors of f32 as outputs of these specifications.
pub fn taken<'a>(specs: &'a [TensorSpec], tensors: &'a mut [Vec<f32>]) -> Vec<Output<'a>> {
    let output = |(s, data): (&'a TensorSpec, &'a mut Vec<f32>)| Output {
        dtype: s.dtype,
        sizes: &s.sizes,
        dim_order: &s.dim_order,
        bytes: bytemuck::cast_slice_mut(data),
    };
    specs.iter().zip(tensors).map(output).collect()
}

/// Runs a method on f32 tensors laid out as it wants them.
pub fn run(method: &mut Method, inputs: &[Vec<f32>], threads: usize) -> Result<Vec<Vec<f32>>, Error> {
    let specs = (method.inputs().to_vec(), method.outputs().to_vec());
    let mut results: Vec<Vec<f32>> =
        specs.1.iter().map(|s| vec![f32::NAN; s.sizes.iter().product()]).collect();
    method.execute(&given(&specs.0, inputs), &mut taken(&specs.1, &mut results), threads, None)?;
    Ok(results)
}

/// Loads, runs and compares with the reference; the method for a closer look.
pub fn check(model: &Model) -> Method {
    check_with(model, &LoadOptions { fast_math: false, ..LoadOptions::default() })
}

/// As [`check`], with any options.
pub fn check_with(model: &Model, options: &LoadOptions) -> Method {
    let mut method = model.load(options).unwrap();
    let inputs = model.inputs(&method, 7);
    let got = run(&mut method, &inputs, 2).unwrap_or_else(|e| panic!("{e}\n{:#?}", method.report().steps));
    let want = reference::run(model, &inputs);
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let range = want.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        for (at, (g, w)) in got.iter().zip(want).enumerate() {
            let error = (f64::from(*g) - w).abs() / range;
            assert!(error <= 1e-4, "output {i} element {at}: {g} for {w} (range {range})");
        }
    }
    method
}

/// Names of the steps that only move data.
pub fn moves(method: &Method) -> Vec<String> {
    let steps = method.report().steps.iter();
    steps
        .filter(|s| s.category == tandem_engine::Category::DataMovement)
        .map(|s| format!("{} {} {} {}→{}: {}", s.name, s.op, s.shape, s.layout_in, s.layout_out, s.reason))
        .collect()
}
