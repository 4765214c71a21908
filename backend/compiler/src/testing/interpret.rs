//! What a graph computes, by definition and in f64.

use tandem_schemas::program::*;

use crate::graph::{Graph, ValueId, epilogue, execution_order};
use crate::tensor::elements;

/// A row-major tensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// Every index below `shape`, row-major.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    (0..elements(&shape)).map(move |mut flat| {
        let mut index = vec![0; shape.len()];
        for d in (0..shape.len()).rev() {
            index[d] = flat % shape[d];
            flat /= shape[d];
        }
        index
    })
}

impl Array {
    /// From element numbers.
    pub fn new(shape: &[usize], at: impl FnMut(usize) -> f64) -> Self {
        Self { shape: shape.to_vec(), data: (0..elements(shape)).map(at).collect() }
    }

    fn from(shape: &[usize], at: impl FnMut(Vec<usize>) -> f64) -> Self {
        Self { shape: shape.to_vec(), data: indices(shape).map(at).collect() }
    }

    /// Right-aligned; sizes of 1 broadcast.
    fn at(&self, index: &[usize]) -> f64 {
        let lead = index.len() - self.shape.len();
        let flat = self.shape.iter().zip(&index[lead..]).fold(0, |f, (&n, &i)| f * n + i.min(n - 1));
        self.data[flat]
    }

    /// Pixel of an image; 0 beyond its edges.
    fn pixel(&self, n: usize, c: usize, y: i64, x: i64) -> f64 {
        let inside = (0..self.shape[2] as i64).contains(&y) && (0..self.shape[3] as i64).contains(&x);
        if inside { self.at(&[n, c, y as usize, x as usize]) } else { 0.0 }
    }

    /// Along the last dimension: the index's row.
    fn row(&self, index: &[usize]) -> &[f64] {
        let size = self.shape[self.shape.len() - 1];
        let row = index[..index.len() - 1].iter().zip(&self.shape).fold(0, |f, (&i, &n)| f * n + i);
        &self.data[row * size..][..size]
    }
}

struct Machine<'g, 'a> {
    graph: &'g Graph<'a>,
    values: Vec<Option<Array>>,
}

/// The outputs for these inputs. Every value of the graph is f32, but for constant places.
pub(super) fn interpret(graph: &Graph<'_>, inputs: &[Array]) -> Vec<Array> {
    let constant = |id: usize| {
        let tensor = graph.constant(id as ValueId)?;
        let tensor = tensor.cast(DType::F32);
        let data = tensor.f32();
        Some(Array::new(&tensor.shape, |i| f64::from(data[i])))
    };
    let values = (0..graph.values.len()).map(constant).collect();
    let mut machine = Machine { graph, values };
    for (&id, input) in graph.inputs.iter().zip(inputs) {
        machine.values[id as usize] = Some(input.clone());
    }
    for id in execution_order(graph).unwrap() {
        let op = graph.ops[id].as_ref().unwrap();
        let result = machine.op(&op.kind, graph.shape(op.output));
        machine.values[op.output as usize] = Some(result);
    }
    graph.outputs.iter().map(|output| machine.value(output.value).clone()).collect()
}

fn act(act: Option<&ActT>, x: f64) -> f64 {
    let Some(act) = act else { return x };
    match act.kind {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::GeluTanh => 0.5 * x * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x * x * x)).tanh()),
        kind => unimplemented!("{kind:?}"),
    }
}

fn binary(op: &BinaryT, a: f64, b: f64) -> f64 {
    match op.kind {
        BinaryKind::Add => a + op.alpha * b,
        BinaryKind::Sub => a - op.alpha * b,
        BinaryKind::Mul => a * b,
        BinaryKind::Div => a / b,
        BinaryKind::Max => a.max(b),
        kind => unimplemented!("{kind:?}"),
    }
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(x));
    let powers: Vec<f64> = scores.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|x| x / sum).collect()
}

fn dot(n: usize, term: impl FnMut(usize) -> f64) -> f64 {
    (0..n).map(term).sum()
}

impl Machine<'_, '_> {
    fn value(&self, id: ValueId) -> &Array {
        self.values[id as usize].as_ref().unwrap()
    }

    /// Element of a parameter, `missing` if there is none.
    fn parameter(&self, id: ValueId, i: usize, missing: f64) -> f64 {
        if id < 0 { missing } else { self.value(id).data[i] }
    }

    fn op(&self, kind: &OpKindT, out: &[usize]) -> Array {
        use OpKindT as K;
        let result = match kind {
            K::Conv(op) => self.conv(op, out),
            K::Depthwise(op) => Array::from(out, |i| {
                let (src, weight) = (self.value(op.src), self.value(op.weight));
                let steps = [&op.stride[..], &op.padding, &op.dilation];
                taps(weight, steps, &i)
                    .map(|(t, y, x)| src.pixel(i[0], i[1], y, x) * weight.at(&[i[1], 0, t[0], t[1]]))
                    .sum()
            }),
            K::Gather(op) => Array::from(out, |mut i| {
                let (src, index) = (self.value(op.src), self.value(op.index));
                i[op.dim as usize] = index.at(&i) as usize;
                src.at(&i)
            }),
            K::ConvTranspose(op) => self.conv_transpose(op, out),
            K::Linear(op) => {
                let (src, weight) = (self.value(op.src), self.value(op.weight));
                Array::from(out, |i| {
                    dot(weight.shape[1], |k| src.row(&i)[k] * weight.at(&[i[i.len() - 1], k]))
                })
            }
            K::MatMul(op) => self.matmul(op, out),
            K::Attention(op) => self.attention(op, out),
            K::Softmax(op) => self.softmax(op, out),
            K::Norm(op) => self.norm(op, out),
            _ => self.elementwise(kind, out),
        };
        match epilogue(kind) {
            Some(stages) => self.epilogue(kind, stages, &result),
            None => result,
        }
    }

    /// The sum, in the shape of the convolution itself, then its pixel shuffle.
    fn conv(&self, op: &ConvT, out: &[usize]) -> Array {
        let (weight, r) = (self.value(op.weight), op.shuffle as usize);
        let places: Vec<(ValueId, usize)> =
            op.src.iter().flat_map(|&s| (0..self.graph.shape(s)[1]).map(move |c| (s, c))).collect();
        let each = weight.shape[0] / op.groups as usize;
        let steps = [&op.stride[..], &op.padding, &op.dilation];
        let sum = |i: Vec<usize>| {
            let group = i[1] / each * weight.shape[1];
            taps(weight, steps, &i)
                .map(|(t, y, x)| {
                    dot(weight.shape[1], |c| {
                        let (src, channel) = places[group + c];
                        self.value(src).pixel(i[0], channel, y, x) * weight.at(&[i[1], c, t[0], t[1]])
                    })
                })
                .sum()
        };
        shuffle(&Array::from(&[out[0], out[1] * r * r, out[2] / r, out[3] / r], sum), r, out)
    }

    fn conv_transpose(&self, op: &ConvTransposeT, out: &[usize]) -> Array {
        let (src, weight) = (self.value(op.src), self.value(op.weight));
        let (o, from) = (weight.shape[1], src.shape[1] / op.groups as usize);
        // The pixel that reaches `place` through tap `t`, if one does.
        let pixel = |axis: usize, place: usize, t: usize| {
            let at = place as i64 + i64::from(op.padding[axis]) - t as i64 * i64::from(op.dilation[axis]);
            let stride = i64::from(op.stride[axis]);
            if at >= 0 && at % stride == 0 { at / stride } else { -1 }
        };
        Array::from(out, |i| {
            let (group, column) = (i[1] / o, i[1] % o);
            indices(&weight.shape[2..])
                .map(|t| {
                    let (y, x) = (pixel(0, i[2], t[0]), pixel(1, i[3], t[1]));
                    dot(from, |c| {
                        let channel = group * from + c;
                        src.pixel(i[0], channel, y, x) * weight.at(&[channel, column, t[0], t[1]])
                    })
                })
                .sum()
        })
    }

    fn matmul(&self, op: &MatMulT, out: &[usize]) -> Array {
        let (a, b, rank) = (self.value(op.a), self.value(op.b), out.len());
        Array::from(out, |i| {
            let (mut ia, mut ib) = (i.clone(), i);
            let product = dot(a.shape[rank - 1], |k| {
                (ia[rank - 1], ib[rank - 2]) = (k, k);
                a.at(&ia) * b.at(&ib)
            });
            product * f64::from(op.scale)
        })
    }

    fn attention(&self, op: &AttentionT, out: &[usize]) -> Array {
        assert!(!op.causal);
        let (q, k, v) = (self.value(op.q), self.value(op.k), self.value(op.v));
        let heads = q.shape[1] / k.shape[1];
        let weights = indices(&q.shape[..3]).flat_map(|i| {
            let score = |s| {
                let product =
                    dot(q.shape[3], |d| q.at(&[i[0], i[1], i[2], d]) * k.at(&[i[0], i[1] / heads, s, d]));
                let mask = if op.mask < 0 { 0.0 } else { self.value(op.mask).at(&[i[0], i[1], i[2], s]) };
                product * f64::from(op.scale) + mask
            };
            softmax(&(0..k.shape[2]).map(score).collect::<Vec<_>>())
        });
        let weights = Array { shape: [&q.shape[..3], &k.shape[2..3]].concat(), data: weights.collect() };
        Array::from(out, |i| {
            dot(k.shape[2], |s| weights.at(&[i[0], i[1], i[2], s]) * v.at(&[i[0], i[1] / heads, s, i[3]]))
        })
    }

    fn softmax(&self, op: &SoftmaxT, out: &[usize]) -> Array {
        let (src, dim) = (self.value(op.src), op.dim as usize);
        Array::from(out, |i| {
            let mut place = i.clone();
            let along: Vec<f64> = (0..out[dim])
                .map(|d| {
                    place[dim] = d;
                    src.at(&place)
                })
                .collect();
            softmax(&along)[i[dim]]
        })
    }

    fn norm(&self, op: &NormT, out: &[usize]) -> Array {
        assert!(op.kind == NormKind::Layer && op.axes == 1);
        let src = self.value(op.src);
        Array::from(out, |i| {
            let (row, last) = (src.row(&i), i[i.len() - 1]);
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
            let x = (row[last] - mean) / (variance + op.eps).sqrt();
            let x = x * self.parameter(op.scale, last, 1.0) + self.parameter(op.shift, last, 0.0);
            act(op.act.as_ref(), x)
        })
    }

    fn elementwise(&self, kind: &OpKindT, out: &[usize]) -> Array {
        use OpKindT as K;
        match kind {
            K::Affine(op) => Array::from(out, |i| {
                let (x, c) = (self.value(op.src).at(&i), i[op.dim as usize]);
                let x = x * self.parameter(op.scale, c, 1.0) + self.parameter(op.shift, c, 0.0);
                act(op.act.as_ref(), x)
            }),
            K::Unary(op) => Array::from(out, |i| {
                let x = self.value(op.src).at(&i);
                match op.kind {
                    // Rounding to fewer bits is not part of what a graph means.
                    UnaryKind::Identity | UnaryKind::Cast => x,
                    UnaryKind::Activation => act(op.act.as_ref(), x),
                    UnaryKind::Neg => -x,
                    UnaryKind::AddScalar => x + op.a,
                    UnaryKind::MulScalar => x * op.a,
                    kind => unimplemented!("{kind:?}"),
                }
            }),
            K::Binary(op) => {
                let (a, b) = (self.value(op.a), self.value(op.b));
                Array::from(out, |i| act(op.act.as_ref(), binary(op, a.at(&i), b.at(&i))))
            }
            _ => self.view(kind, out),
        }
    }

    fn view(&self, kind: &OpKindT, out: &[usize]) -> Array {
        use OpKindT as K;
        match kind {
            K::Reshape(op) => Array { shape: out.to_vec(), ..self.value(op.src).clone() },
            K::Expand(op) => Array::from(out, |i| self.value(op.src).at(&i)),
            K::Permute(op) => Array::from(out, |i| {
                let mut index = i.clone();
                op.order.iter().zip(&i).for_each(|(&d, &i)| index[d as usize] = i);
                self.value(op.src).at(&index)
            }),
            K::Slice(op) => Array::from(out, |mut i| {
                let at = &mut i[op.dim as usize];
                *at = op.start as usize + *at * op.step as usize;
                self.value(op.src).at(&i)
            }),
            K::Concat(op) => Array::from(out, |mut i| {
                let dim = op.dim as usize;
                for &src in &op.src {
                    let size = self.value(src).shape[dim];
                    if i[dim] < size {
                        return self.value(src).at(&i);
                    }
                    i[dim] -= size;
                }
                unreachable!("the parts make up the whole")
            }),
            K::PixelShuffle(op) if !op.inverse => shuffle(self.value(op.src), op.factor as usize, out),
            kind => unimplemented!("{kind:?}"),
        }
    }

    fn epilogue(&self, kind: &OpKindT, stages: &EpilogueT, sums: &Array) -> Array {
        let column = |i: &[usize]| match kind {
            OpKindT::Linear(_) | OpKindT::MatMul(_) => i[i.len() - 1],
            OpKindT::Conv(op) => {
                let r = op.shuffle as usize;
                (i[1] * r + i[2] % r) * r + i[3] % r
            }
            _ => i[1],
        };
        Array::from(&sums.shape, |i| {
            let c = column(&i);
            let x = act(stages.act.as_ref(), sums.at(&i) + self.parameter(stages.bias, c, 0.0));
            let x = x * self.parameter(stages.scale, c, 1.0) + self.parameter(stages.shift, c, 0.0);
            let residual = if stages.residual < 0 { 0.0 } else { self.value(stages.residual).at(&i) };
            act(stages.act2.as_ref(), x + residual)
        })
    }
}

/// The taps of a window, each with the row and column it reads for the output at `i`.
fn taps<'w>(
    weight: &'w Array,
    [stride, padding, dilation]: [&'w [u32]; 3],
    i: &'w [usize],
) -> impl Iterator<Item = (Vec<usize>, i64, i64)> + 'w {
    let place = move |axis: usize, t: usize| {
        i[2 + axis] as i64 * i64::from(stride[axis]) + t as i64 * i64::from(dilation[axis])
            - i64::from(padding[axis])
    };
    indices(&weight.shape[2..]).map(move |t| {
        let (y, x) = (place(0, t[0]), place(1, t[1]));
        (t, y, x)
    })
}

/// The pixel shuffle of an image.
fn shuffle(src: &Array, r: usize, out: &[usize]) -> Array {
    Array::from(out, |i| src.at(&[i[0], (i[1] * r + i[2] % r) * r + i[3] % r, i[2] / r, i[3] / r]))
}
