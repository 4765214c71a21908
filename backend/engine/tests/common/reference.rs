//! Programs computed by definition, in f64, on row-major tensors.

use tandem_kernels::panels;
use tandem_schemas::program::*;

use super::Model;

#[derive(Clone, Default)]
struct Tensor {
    sizes: Vec<usize>,
    data: Vec<f64>,
}

/// Every multi-index below `sizes`, row-major.
fn indices(sizes: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let sizes = sizes.to_vec();
    (0..sizes.iter().product()).map(move |mut flat| {
        let mut index = vec![0; sizes.len()];
        for d in (0..sizes.len()).rev() {
            index[d] = flat % sizes[d];
            flat /= sizes[d];
        }
        index
    })
}

impl Tensor {
    fn from(sizes: &[usize], at: impl FnMut(Vec<usize>) -> f64) -> Self {
        Self { sizes: sizes.to_vec(), data: indices(sizes).map(at).collect() }
    }
    /// Right-aligned, extents of 1 broadcast.
    fn at(&self, index: &[usize]) -> f64 {
        let lead = index.len() - self.sizes.len();
        let flat = self.sizes.iter().zip(&index[lead..]).fold(0, |f, (&n, &i)| f * n + i.min(n - 1));
        self.data[flat]
    }
    /// Zero outside of the image.
    fn pixel(&self, n: usize, c: usize, y: isize, x: isize) -> Option<f64> {
        let inside = (0..self.sizes[2] as isize).contains(&y) && (0..self.sizes[3] as isize).contains(&x);
        inside.then(|| self.at(&[n, c, y as usize, x as usize]))
    }
}

struct Eval<'a> {
    model: &'a Model,
    values: Vec<Tensor>,
}

/// Outputs in memory order for inputs in memory order.
pub fn run(model: &Model, inputs: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let program = &model.program;
    let mut eval = Eval { model, values: vec![Tensor::default(); program.values.len()] };
    for (v, value) in program.values.iter().enumerate() {
        if value.kind == ValueKind::Constant {
            let data = eval.constant(value.constant);
            eval.values[v] = Tensor { sizes: eval.sizes(v as i32), data };
        }
    }
    for (&v, data) in program.inputs.iter().zip(inputs) {
        let (sizes, order) = (eval.sizes(v), eval.order(v));
        eval.values[v as usize] = Tensor::from(&sizes, |i| f64::from(data[place(&sizes, &order, &i)]));
    }
    for op in &program.ops {
        let out = op.outputs[0];
        eval.values[out as usize] = eval.op(&op.kind, &eval.sizes(out));
    }
    let output = |&v: &i32| {
        let (sizes, order) = (eval.sizes(v), eval.order(v));
        let mut data = vec![0.0; sizes.iter().product()];
        for i in indices(&sizes) {
            data[place(&sizes, &order, &i)] = eval.values[v as usize].at(&i);
        }
        data
    };
    program.outputs.iter().map(output).collect()
}

fn place(sizes: &[usize], order: &[u8], index: &[usize]) -> usize {
    order.iter().fold(0, |flat, &d| flat * sizes[d as usize] + index[d as usize])
}

fn act(a: Option<&ActT>, x: f64) -> f64 {
    let Some(a) = a else { return x };
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    match a.kind {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Clamp => x.clamp(a.a.into(), a.b.into()),
        Activation::Gelu => f64::from(tandem_kernels::Act::Gelu.eval(x as f32)),
        Activation::Silu => x * sigmoid,
        Activation::Sigmoid => sigmoid,
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Tanh => x.tanh(),
        other => unimplemented!("{other:?}"),
    }
}

impl Eval<'_> {
    fn sizes(&self, v: i32) -> Vec<usize> {
        let shape = self.model.program.values[v as usize].shape.as_ref();
        shape.map_or_else(Vec::new, |s| s.iter().map(|d| d.size_ as usize).collect())
    }

    fn order(&self, v: i32) -> Vec<u8> {
        let order = self.model.program.values[v as usize].dim_order.clone().unwrap_or_default();
        if order.is_empty() { (0..self.sizes(v).len() as u8).collect() } else { order }
    }

    fn constant(&self, index: i32) -> Vec<f64> {
        let c = &self.model.program.constants[index as usize];
        let bytes = &self.model.bytes[c.offset as usize..(c.offset + c.length) as usize];
        bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    }

    fn value(&self, v: i32) -> &Tensor {
        &self.values[v as usize]
    }

    fn finish(&self, e: Option<&EpilogueT>, column: usize, index: &[usize], x: f64) -> f64 {
        let Some(e) = e else { return x };
        let mut x = x;
        if e.bias >= 0 {
            x += self.constant(e.bias)[column];
        }
        x = act(e.act.as_ref(), x);
        if e.scale >= 0 {
            x = x * self.constant(e.scale)[column] + self.constant(e.shift)[column];
        }
        if e.residual >= 0 {
            x += self.value(e.residual).at(index);
        }
        act(e.act2.as_ref(), x)
    }

    fn conv(&self, o: &ConvT, out: &[usize]) -> Tensor {
        let weight = self.constant(o.weight);
        let (groups, r) = (o.groups as usize, o.shuffle as usize);
        let [ky, kx] = [o.kernel[0] as usize, o.kernel[1] as usize];
        let src: Vec<&Tensor> = o.src.iter().map(|&s| self.value(s)).collect();
        let channels: Vec<(usize, usize)> =
            src.iter().enumerate().flat_map(|(s, t)| (0..t.sizes[1]).map(move |c| (s, c))).collect();
        let (per_group, each) = (channels.len() / groups, out[1] / groups);
        let k = ky * kx * per_group;
        Tensor::from(out, |i| {
            let (group, within) = (i[1] / each, i[1] % each);
            let block = group + (i[2] % r) * r + i[3] % r;
            let panels = &weight[block * k * panels::padded(each)..];
            let mut sum = 0.0;
            for ty in 0..ky {
                for tx in 0..kx {
                    let at = |o: usize, s: u32, t: usize, d: u32, p: u32| {
                        (o * s as usize + t * d as usize) as isize - p as isize
                    };
                    let y = at(i[2] / r, o.stride[0], ty, o.dilation[0], o.padding[0]);
                    let x = at(i[3] / r, o.stride[1], tx, o.dilation[1], o.padding[1]);
                    for c in 0..per_group {
                        let (s, channel) = channels[group * per_group + c];
                        let pixel = src[s].pixel(i[0], channel, y, x).unwrap_or(0.0);
                        let row = (ty * kx + tx) * per_group + c;
                        sum += pixel * panels[panels::index(k, each, row, within)];
                    }
                }
            }
            self.finish(o.epilogue.as_deref(), block * panels::padded(each) + within, &i, sum)
        })
    }

    fn depthwise(&self, o: &DepthwiseT, out: &[usize]) -> Tensor {
        let (weight, src) = (self.constant(o.weight), self.value(o.src));
        let [ky, kx] = [o.kernel[0] as usize, o.kernel[1] as usize];
        Tensor::from(out, |i| {
            let mut sum = 0.0;
            for tap in 0..ky * kx {
                let y = (i[2] * o.stride[0] as usize + tap / kx) as isize - o.padding[0] as isize;
                let x = (i[3] * o.stride[1] as usize + tap % kx) as isize - o.padding[1] as isize;
                let w = weight[panels::index(ky * kx, out[1], tap, i[1])];
                sum += src.pixel(i[0], i[1], y, x).unwrap_or(0.0) * w;
            }
            self.finish(o.epilogue.as_deref(), i[1], &i, sum)
        })
    }

    fn linear(&self, o: &LinearT, out: &[usize]) -> Tensor {
        let (weight, src) = (self.constant(o.weight), self.value(o.src));
        let (k, n) = (src.sizes[src.sizes.len() - 1], out[out.len() - 1]);
        Tensor::from(out, |i| {
            let column = i[i.len() - 1];
            let row = |j: usize| {
                let mut at = i.clone();
                at[i.len() - 1] = j;
                src.at(&at) * weight[panels::index(k, n, j, column)]
            };
            self.finish(o.epilogue.as_deref(), column, &i, (0..k).map(row).sum())
        })
    }

    fn matmul(&self, o: &MatMulT, out: &[usize]) -> Tensor {
        let (a, b) = (self.value(o.a), self.value(o.b));
        let k = a.sizes[a.sizes.len() - 1];
        Tensor::from(out, |i| {
            let (lead, m, n) = (&i[..i.len() - 2], i[i.len() - 2], i[i.len() - 1]);
            let term = |j| a.at(&[lead, &[m, j]].concat()) * b.at(&[lead, &[j, n]].concat());
            let sum: f64 = (0..k).map(term).sum();
            self.finish(o.epilogue.as_deref(), n, &i, sum * f64::from(o.scale))
        })
    }

    fn attention(&self, o: &AttentionT, out: &[usize]) -> Tensor {
        let (q, k, v) = (self.value(o.q), self.value(o.k), self.value(o.v));
        let (d, s) = (q.sizes[3], k.sizes[2]);
        let share = q.sizes[1] / k.sizes[1];
        Tensor::from(out, |i| {
            let (b, h, t) = (i[0], i[1], i[2]);
            let score = |j: usize| {
                let dot: f64 = (0..d).map(|e| q.at(&[b, h, t, e]) * k.at(&[b, h / share, j, e])).sum();
                let mask = if o.mask >= 0 { self.value(o.mask).at(&[b, h, t, j]) } else { 0.0 };
                dot * f64::from(o.scale) + mask
            };
            let keys = if o.causal { t + 1 } else { s };
            let scores: Vec<f64> = (0..keys).map(score).collect();
            let top = scores.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x));
            let (mut sum, mut total) = (0.0, 0.0);
            for (j, x) in scores.into_iter().enumerate() {
                let p = (x - top).exp();
                total += p;
                sum += p * v.at(&[b, h / share, j, i[3]]);
            }
            sum / total
        })
    }

    fn pool(
        &self,
        src: &Tensor,
        kind: PoolKind,
        out: &[usize],
        window: impl Fn(usize, usize) -> (usize, usize),
    ) -> Tensor {
        Tensor::from(out, |i| {
            let ((y0, y1), (x0, x1)) = (window(0, i[2]), window(1, i[3]));
            let pixels: Vec<f64> = (y0..y1)
                .flat_map(|y| (x0..x1).map(move |x| (y, x)))
                .map(|(y, x)| src.at(&[i[0], i[1], y, x]))
                .collect();
            match kind {
                PoolKind::Max => pixels.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x)),
                _ => pixels.iter().sum::<f64>() / pixels.len() as f64,
            }
        })
    }

    fn softmax(&self, o: &SoftmaxT, out: &[usize]) -> Tensor {
        let (src, dim) = (self.value(o.src), o.dim as usize);
        Tensor::from(out, |i| {
            let with = |j: usize| {
                let mut at = i.clone();
                at[dim] = j;
                src.at(&at)
            };
            let top = (0..out[dim]).map(with).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = (0..out[dim]).map(|j| (with(j) - top).exp()).sum();
            let y = (src.at(&i) - top).exp() / total;
            if o.log { y.ln() } else { y }
        })
    }

    fn norm(&self, o: &NormT, out: &[usize]) -> Tensor {
        let src = self.value(o.src);
        let parameter = |c: i32, default: f64, at: usize| if c >= 0 { self.constant(c)[at] } else { default };
        let rank = out.len();
        let group = |i: &[usize]| match o.kind {
            NormKind::Layer | NormKind::Rms => i[..rank - o.axes as usize].to_vec(),
            _ => vec![i[0], i[1] / (out[1] / o.groups as usize)],
        };
        let mut sums = std::collections::HashMap::<Vec<usize>, (f64, f64, f64)>::new();
        for i in indices(out) {
            let entry = sums.entry(group(&i)).or_default();
            let x = src.at(&i);
            *entry = (entry.0 + 1.0, entry.1 + x, entry.2 + x * x);
        }
        Tensor::from(out, |i| {
            let (n, sum, squares) = sums[&group(&i)];
            let mean = if o.kind == NormKind::Rms { 0.0 } else { sum / n };
            let variance = squares / n - mean * mean;
            let at = if o.kind == NormKind::Group { i[1] } else { i[rank - 1] };
            let x = (src.at(&i) - mean) / (variance + o.eps).sqrt();
            act(o.act.as_ref(), x * parameter(o.scale, 1.0, at) + parameter(o.shift, 0.0, at))
        })
    }

    fn resize(&self, o: &ResizeT, out: &[usize]) -> Tensor {
        let src = self.value(o.src);
        let (h, w) = (src.sizes[2], src.sizes[3]);
        let at = |o: usize, from: usize, to: usize| {
            ((o as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, from as f64 - 1.0)
        };
        Tensor::from(out, |i| match o.kind {
            ResizeKind::Nearest => src.at(&[i[0], i[1], i[2] * h / out[2], i[3] * w / out[3]]),
            ResizeKind::Bilinear => {
                let (y, x) = (at(i[2], h, out[2]), at(i[3], w, out[3]));
                let (y0, x0) = (y.floor(), x.floor());
                let pixel = |dy: usize, dx: usize| {
                    let (py, px) = ((y0 as usize + dy).min(h - 1), (x0 as usize + dx).min(w - 1));
                    src.at(&[i[0], i[1], py, px])
                };
                let (fy, fx) = (y - y0, x - x0);
                (pixel(0, 0) * (1.0 - fx) + pixel(0, 1) * fx) * (1.0 - fy)
                    + (pixel(1, 0) * (1.0 - fx) + pixel(1, 1) * fx) * fy
            }
            other => unimplemented!("{other:?}"),
        })
    }

    fn op(&self, kind: &OpKindT, out: &[usize]) -> Tensor {
        match kind {
            OpKindT::Conv(o) => self.conv(o, out),
            OpKindT::Depthwise(o) => self.depthwise(o, out),
            OpKindT::Linear(o) => self.linear(o, out),
            OpKindT::MatMul(o) => self.matmul(o, out),
            OpKindT::Attention(o) => self.attention(o, out),
            OpKindT::Pool(o) => self.pool(self.value(o.src), o.kind, out, |axis, at| {
                let first = at * o.stride[axis] as usize;
                (first, first + o.kernel[axis] as usize)
            }),
            OpKindT::AdaptivePool(o) => {
                let src = self.value(o.src);
                self.pool(src, o.kind, out, |axis, at| {
                    let (from, to) = (src.sizes[axis + 2], out[axis + 2]);
                    (at * from / to, ((at + 1) * from).div_ceil(to))
                })
            }
            OpKindT::Softmax(o) => self.softmax(o, out),
            OpKindT::Norm(o) => self.norm(o, out),
            OpKindT::Resize(o) => self.resize(o, out),
            OpKindT::Unary(o) => Tensor::from(out, |i| act(o.act.as_ref(), self.value(o.src).at(&i))),
            OpKindT::Binary(o) => Tensor::from(out, |i| {
                let (a, b) = (self.value(o.a).at(&i), self.value(o.b).at(&i));
                let x = match o.kind {
                    BinaryKind::Add => a + b * o.alpha,
                    BinaryKind::Sub => a - b * o.alpha,
                    BinaryKind::Mul => a * b,
                    BinaryKind::Max => a.max(b),
                    other => unimplemented!("{other:?}"),
                };
                act(o.act.as_ref(), x)
            }),
            OpKindT::Reshape(o) => Tensor { sizes: out.to_vec(), data: self.value(o.src).data.clone() },
            OpKindT::Permute(o) => Tensor::from(out, |i| {
                let mut at = vec![0; i.len()];
                for (to, &from) in o.order.iter().enumerate() {
                    at[from as usize] = i[to];
                }
                self.value(o.src).at(&at)
            }),
            OpKindT::Slice(o) => Tensor::from(out, |mut i| {
                i[o.dim as usize] = o.start as usize + i[o.dim as usize] * o.step as usize;
                self.value(o.src).at(&i)
            }),
            OpKindT::Expand(o) => Tensor::from(out, |i| self.value(o.src).at(&i)),
            OpKindT::Concat(o) => Tensor::from(out, |mut i| {
                let dim = o.dim as usize;
                let mut parts = o.src.iter().map(|&s| self.value(s));
                let part = parts.find(|part| {
                    let inside = i[dim] < part.sizes[dim];
                    i[dim] -= if inside { 0 } else { part.sizes[dim] };
                    inside
                });
                part.unwrap().at(&i)
            }),
            other => unimplemented!("{:?}", other.op_kind_type()),
        }
    }
}
