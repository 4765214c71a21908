//! The rules every op obeys. Checked behind import and behind every pass, so packing and the engine see sound graphs.

use tandem_schemas::program::*;

use super::{Graph, Op, Role, ValueId, dtype, epilogue, kind_name, visit};
use crate::error::{LowerError, Reason, Stage};
use crate::tensor::elements;

/// Most source segments of a convolution.
pub(crate) const MAX_SEGMENTS: usize = tandem_kernels::conv::MAX_SEGMENTS;

/// Checks every live op.
pub(crate) fn verify(graph: &Graph<'_>, stage: Stage) -> Result<(), LowerError> {
    for (_, op) in graph.live() {
        verify_op(graph, op).map_err(|message| LowerError::Node {
            stage,
            op: kind_name(&op.kind).to_owned(),
            node: op.name.clone(),
            message,
        })?;
    }
    Ok(())
}

/// Checks that an op's operands fit each other and give its output's shape and dtype.
pub(crate) fn verify_op(graph: &Graph<'_>, op: &Op) -> Result<(), Reason> {
    let known = graph.values.len() as ValueId;
    let mut unknown = None;
    visit(&op.kind, |_, &id| {
        if id >= known {
            unknown = Some(id);
        }
    });
    if let Some(id) = unknown {
        return Err(format!("operand {id} is not one of {known} values"));
    }
    let check = Check { graph, op };
    check.constants()?;
    check.dtypes()?;
    check.shape()?;
    match epilogue(&op.kind) {
        Some(stages) => check.epilogue(stages),
        None => Ok(()),
    }
}

struct Check<'c, 'a> {
    graph: &'c Graph<'a>,
    op: &'c Op,
}

fn ensure(holds: bool, message: impl FnOnce() -> Reason) -> Result<(), Reason> {
    if holds { Ok(()) } else { Err(message()) }
}

impl Check<'_, '_> {
    fn of(&self, id: ValueId) -> Result<&[usize], Reason> {
        self.graph
            .values
            .get(id as usize)
            .map(|v| &v.shape[..])
            .ok_or(format!("an operand is missing ({id})"))
    }

    fn out(&self) -> &[usize] {
        self.graph.shape(self.op.output)
    }

    fn gives(&self, shape: &[usize]) -> Result<(), Reason> {
        ensure(self.out() == shape, || format!("gives {shape:?}, its output is {:?}", self.out()))
    }

    fn rank(&self, what: &str, id: ValueId, rank: usize) -> Result<&[usize], Reason> {
        let shape = self.of(id)?;
        ensure(shape.len() == rank, || {
            format!("{what} {shape:?} has {} dimensions, not {rank}", shape.len())
        })?;
        Ok(shape)
    }

    fn constants(&self) -> Result<(), Reason> {
        let mut wrong = None;
        visit(&self.op.kind, |role, &id| {
            if role != Role::Source && self.graph.constant(id).is_none() {
                wrong = Some(self.graph.value(id).name.clone());
            }
        });
        wrong.map_or(Ok(()), |name| Err(format!("{name} is not a constant")))
    }

    fn dtypes(&self) -> Result<(), Reason> {
        let out = self.graph.value(self.op.output).dtype;
        let stored = dtype::stored(self.graph, &self.op.kind, out);
        let given = stored.map_or_else(|| dtype::result(self.graph, &self.op.kind, out), Ok)?;
        ensure(out == given, || format!("gives {given:?}, its output is {out:?}"))
    }

    fn shape(&self) -> Result<(), Reason> {
        use OpKindT as K;
        match &self.op.kind {
            K::Conv(op) => self.conv(op),
            K::Depthwise(op) => self.depthwise(op),
            K::ConvTranspose(op) => self.conv_transpose(op),
            K::Linear(op) => self.linear(op),
            K::MatMul(op) => self.matmul(op),
            K::Attention(op) => self.attention(op),
            K::Pool(op) => self.pool(op),
            K::AdaptivePool(op) => {
                let src = self.rank("src", op.src, 4)?;
                ensure(self.out().len() == 4 && self.out()[..2] == src[..2], || {
                    format!("pools {src:?} to {:?}", self.out())
                })
            }
            K::Reduce(op) => self.reduce(op),
            K::Softmax(op) => self.dim(op.src, op.dim).and_then(|_| self.gives(self.of(op.src)?)),
            K::Norm(op) => self.norm(op),
            K::Affine(op) => {
                let channels = self.dim(op.src, op.dim)?;
                self.vectors(&[op.scale, op.shift], channels)?;
                self.gives(self.of(op.src)?)
            }
            K::Unary(op) => self.gives(self.of(op.src)?),
            K::Binary(op) => self.gives(&broadcast(&[self.of(op.a)?, self.of(op.b)?])?),
            K::Select(op) => self.gives(&broadcast(&[self.of(op.cond)?, self.of(op.a)?, self.of(op.b)?])?),
            K::Resize(op) => {
                let src = self.rank("src", op.src, 4)?;
                ensure(op.scale.as_ref().is_none_or(|s| matches!(s.len(), 0 | 2)), || {
                    format!("scale {:?} is not [y, x]", op.scale)
                })?;
                ensure(self.out().len() == 4 && self.out()[..2] == src[..2], || {
                    format!("resizes {src:?} to {:?}", self.out())
                })
            }
            K::Pad(op) => {
                let src = self.of(op.src)?;
                ensure(src.len() == op.before.len() && src.len() == self.out().len(), || {
                    format!("pads {src:?} by {:?} to {:?}", op.before, self.out())
                })
            }
            K::Reshape(op) => {
                let src = self.of(op.src)?;
                ensure(elements(src) == elements(self.out()), || {
                    format!("{src:?} and {:?} have different numbers of elements", self.out())
                })
            }
            K::Permute(op) => self.permute(op),
            K::Slice(op) => self.slice(op),
            K::Expand(op) => {
                let (src, out) = (self.of(op.src)?, self.out());
                let fits = src.len() == out.len() && src.iter().zip(out).all(|(&s, &o)| s == o || s == 1);
                ensure(fits, || format!("{src:?} does not expand to {out:?}"))
            }
            K::Concat(op) => self.concat(op),
            K::PixelShuffle(op) => self.pixel_shuffle(op),
            K::Scan(op) => self.dim(op.src, op.dim).and_then(|_| self.gives(self.of(op.src)?)),
            K::ArgSort(op) => self.arg_sort(op),
            K::Gather(op) => self.gather(op),
            K::Scatter(op) => self.scatter(op),
            K::GridSample(op) => self.grid_sample(op),
            _ => Err("has no kind".into()),
        }
    }

    fn dim(&self, src: ValueId, dim: u32) -> Result<usize, Reason> {
        let shape = self.of(src)?;
        shape.get(dim as usize).copied().ok_or_else(|| format!("{shape:?} has no dimension {dim}"))
    }

    fn vectors(&self, ids: &[ValueId], len: usize) -> Result<(), Reason> {
        for &id in ids.iter().filter(|&&id| id >= 0) {
            let shape = self.of(id)?;
            ensure(elements(shape) == len, || {
                format!("{} {shape:?} has not {len} elements", self.graph.value(id).name)
            })?;
        }
        Ok(())
    }

    fn conv(&self, op: &ConvT) -> Result<(), Reason> {
        ensure((1..=MAX_SEGMENTS).contains(&op.src.len()), || format!("has {} sources", op.src.len()))?;
        let first = self.rank("src", op.src[0], 4)?;
        let mut channels = 0;
        for &src in &op.src {
            let shape = self.rank("src", src, 4)?;
            ensure(shape[0] == first[0] && shape[2..] == first[2..], || {
                format!("joins {first:?} and {shape:?}")
            })?;
            channels += shape[1];
        }
        let weight = self.rank("weight", op.weight, 4)?;
        let (groups, r) = (op.groups as usize, op.shuffle as usize);
        let fits = groups >= 1
            && (op.src.len() == 1 || groups == 1)
            && channels == weight[1] * groups
            && weight[0].is_multiple_of(groups)
            && r >= 1
            && weight[0].is_multiple_of(r * r)
            && (r == 1 || groups == 1);
        ensure(fits, || format!("{channels} channels, weight {weight:?}, {groups} groups, shuffle {r}"))?;
        let [h, w] = self.window(&first[2..], weight, &op.kernel, &op.stride, &op.padding, &op.dilation)?;
        self.gives(&[first[0], weight[0] / (r * r), h * r, w * r])
    }

    fn depthwise(&self, op: &DepthwiseT) -> Result<(), Reason> {
        let src = self.rank("src", op.src, 4)?;
        let weight = self.rank("weight", op.weight, 4)?;
        ensure(weight[..2] == [src[1], 1], || format!("{} channels, weight {weight:?}", src[1]))?;
        let [h, w] = self.window(&src[2..], weight, &op.kernel, &op.stride, &op.padding, &op.dilation)?;
        self.gives(&[src[0], src[1], h, w])
    }

    /// Height and width of what a sliding window gives, at least 1; `weight` ends with the window's size.
    fn window(
        &self,
        size: &[usize],
        weight: &[usize],
        kernel: &[u32],
        stride: &[u32],
        padding: &[u32],
        dilation: &[u32],
    ) -> Result<[usize; 2], Reason> {
        let out = self.windows(size, weight, kernel, stride, padding, dilation)?;
        ensure(!out.contains(&0), || {
            format!(
                "kernel {kernel:?}, stride {stride:?}, padding {padding:?}, dilation {dilation:?} on {size:?} pixels leaves \
                 nothing"
            )
        })?;
        Ok(out)
    }

    /// Number of places down and across where the whole window is inside the padded image.
    fn windows(
        &self,
        size: &[usize],
        weight: &[usize],
        kernel: &[u32],
        stride: &[u32],
        padding: &[u32],
        dilation: &[u32],
    ) -> Result<[usize; 2], Reason> {
        let given =
            || format!("kernel {kernel:?}, stride {stride:?}, padding {padding:?}, dilation {dilation:?}");
        let counts = [kernel.len(), stride.len(), padding.len(), dilation.len()];
        ensure(counts == [2, 2, 4, 2] && kernel.iter().chain(stride).chain(dilation).all(|&v| v > 0), given)?;
        ensure(weight[2] == kernel[0] as usize && weight[3] == kernel[1] as usize, given)?;
        let mut out = [0; 2];
        for i in 0..2 {
            let reach = u64::from(dilation[i]) * u64::from(kernel[i] - 1) + 1;
            let padded = size[i] as u64 + u64::from(padding[i]) + u64::from(padding[i + 2]);
            if let Some(room) = padded.checked_sub(reach) {
                out[i] = (room / u64::from(stride[i]) + 1) as usize;
            }
        }
        Ok(out)
    }

    fn conv_transpose(&self, op: &ConvTransposeT) -> Result<(), Reason> {
        let src = self.rank("src", op.src, 4)?;
        let weight = self.rank("weight", op.weight, 4)?;
        let groups = op.groups as usize;
        let given = || format!("{op:?} on {src:?} with weight {weight:?}");
        let counts = [&op.kernel, &op.stride, &op.padding, &op.dilation, &op.output_padding].map(Vec::len);
        let positive = op.kernel.iter().chain(&op.stride).chain(&op.dilation).all(|&v| v > 0);
        let fits = counts == [2, 2, 4, 2, 2] && positive && groups >= 1 && weight[0] == src[1];
        ensure(fits && src[1].is_multiple_of(groups), given)?;
        ensure(weight[2] == op.kernel[0] as usize && weight[3] == op.kernel[1] as usize, given)?;
        let mut out = [src[0], weight[1] * groups, 0, 0];
        for i in 0..2 {
            let reach = (src[2 + i] as u64 - 1) * u64::from(op.stride[i])
                + u64::from(op.dilation[i]) * u64::from(op.kernel[i] - 1)
                + 1
                + u64::from(op.output_padding[i]);
            let cropped = u64::from(op.padding[i]) + u64::from(op.padding[i + 2]);
            ensure(reach > cropped, given)?;
            out[2 + i] = (reach - cropped) as usize;
        }
        self.gives(&out)
    }

    fn linear(&self, op: &LinearT) -> Result<(), Reason> {
        let src = self.of(op.src)?;
        let weight = self.rank("weight", op.weight, 2)?;
        ensure(src.last() == Some(&weight[1]), || {
            format!("src {src:?} does not end with weight {weight:?}'s k")
        })?;
        let mut out = src.to_vec();
        out[src.len() - 1] = weight[0];
        self.gives(&out)
    }

    fn matmul(&self, op: &MatMulT) -> Result<(), Reason> {
        let (a, b) = (self.of(op.a)?, self.of(op.b)?);
        let rank = a.len();
        let fits = rank >= 2 && b.len() == rank && a[rank - 1] == b[rank - 2];
        ensure(fits, || format!("cannot multiply {a:?} by {b:?}"))?;
        let mut out = broadcast(&[&a[..rank - 2], &b[..rank - 2]])?;
        out.extend([a[rank - 2], b[rank - 1]]);
        self.gives(&out)
    }

    fn attention(&self, op: &AttentionT) -> Result<(), Reason> {
        let (q, k, v) = (self.rank("q", op.q, 4)?, self.rank("k", op.k, 4)?, self.rank("v", op.v, 4)?);
        let fits = q[0] == k[0] && k[..3] == v[..3] && q[3] == k[3] && q[1].is_multiple_of(k[1]);
        ensure(fits, || format!("q {q:?}, k {k:?} and v {v:?} do not go together"))?;
        let out = [q[0], q[1], q[2], v[3]];
        if op.mask >= 0 {
            let (mask, scores) = (self.of(op.mask)?, [q[0], q[1], q[2], k[2]]);
            ensure(broadcast(&[mask, &scores])? == scores, || {
                format!("mask {mask:?} for scores {scores:?}")
            })?;
        }
        self.gives(&out)
    }

    fn pool(&self, op: &PoolT) -> Result<(), Reason> {
        let src = self.rank("src", op.src, 4)?;
        let kernel: Vec<usize> = op.kernel.iter().map(|&k| k as usize).collect();
        ensure(kernel.len() == 2, || format!("kernel {kernel:?} is not [y, x]"))?;
        let window = [0, 0, kernel[0], kernel[1]];
        let down = self.windows(&src[2..], &window, &op.kernel, &op.stride, &op.padding, &op.dilation)?;
        // Sizes are rounded up in ceil mode, unless the last window would start behind the image.
        let out = self.out();
        let mut fits = out.len() == 4 && out[..2] == src[..2];
        for i in 0..if fits { 2 } else { 0 } {
            let (size, stride) = (src[2 + i] + op.padding[i] as usize, op.stride[i] as usize);
            fits &= out[2 + i] == down[i] || (out[2 + i] == down[i] + 1 && down[i] * stride < size);
        }
        ensure(fits, || format!("pools {src:?} to {out:?}"))
    }

    fn reduce(&self, op: &ReduceT) -> Result<(), Reason> {
        let src = self.of(op.src)?;
        let valid =
            op.dims.windows(2).all(|w| w[0] < w[1]) && op.dims.iter().all(|&d| (d as usize) < src.len());
        ensure(valid, || format!("dims {:?} of {src:?}", op.dims))?;
        let reduced = |i: usize| op.dims.contains(&(i as u32));
        let kept: Vec<usize> = (0..src.len()).map(|i| if reduced(i) { 1 } else { src[i] }).collect();
        let dropped: Vec<usize> = (0..src.len()).filter(|&i| !reduced(i)).map(|i| src[i]).collect();
        ensure(self.out() == kept || self.out() == dropped, || {
            format!("reducing {:?} of {src:?} does not give {:?}", op.dims, self.out())
        })
    }

    fn norm(&self, op: &NormT) -> Result<(), Reason> {
        let src = self.of(op.src)?;
        let parameters = match op.kind {
            NormKind::Layer | NormKind::Rms => {
                let axes = op.axes as usize;
                ensure((1..=src.len()).contains(&axes), || format!("{axes} axes of {src:?}"))?;
                elements(&src[src.len() - axes..])
            }
            _ => {
                let groups = op.groups as usize;
                let fits = src.len() >= 2 && groups >= 1 && src[1].is_multiple_of(groups);
                ensure(fits, || format!("{groups} groups of {src:?}"))?;
                src[1]
            }
        };
        self.vectors(&[op.scale, op.shift], parameters)?;
        self.gives(src)
    }

    fn arg_sort(&self, op: &ArgSortT) -> Result<(), Reason> {
        let extent = self.dim(op.src, op.dim)?;
        let (src, out, dim) = (self.of(op.src)?, self.out(), op.dim as usize);
        let fits = out.len() == src.len() && (0..src.len()).all(|d| d == dim || src[d] == out[d]);
        ensure(fits && out[dim] <= extent, || format!("sorts {src:?} along {dim} to {out:?}"))
    }

    /// `places` of `whole` along a dimension, as far as the others reach.
    fn places(&self, whole: ValueId, places: &[usize], dim: u32) -> Result<(), Reason> {
        self.dim(whole, dim)?;
        let whole = self.of(whole)?;
        let inside = |d: usize| d == dim as usize || places[d] <= whole[d];
        ensure(whole.len() == places.len() && (0..whole.len()).all(inside), || {
            format!("places {places:?} along {dim} of {whole:?}")
        })
    }

    fn gather(&self, op: &GatherT) -> Result<(), Reason> {
        let (index, out) = (self.of(op.index)?, self.out());
        let spreads = broadcast(&[index, out]).is_ok_and(|shape| shape == out) && index.len() == out.len();
        ensure(spreads, || format!("index {index:?} for {out:?}"))?;
        self.places(op.src, out, op.dim)
    }

    fn scatter(&self, op: &ScatterT) -> Result<(), Reason> {
        let (index, value) = (self.of(op.index)?, self.of(op.value)?);
        ensure(index.len() == value.len(), || format!("index {index:?} for {value:?}"))?;
        self.places(op.src, &broadcast(&[index, value])?, op.dim)?;
        self.gives(self.of(op.src)?)
    }

    fn grid_sample(&self, op: &GridSampleT) -> Result<(), Reason> {
        let (src, grid) = (self.of(op.src)?, self.of(op.grid)?);
        let fits = matches!(src.len(), 4 | 5)
            && (src.len() == 4 || op.kind != ResizeKind::Bicubic)
            && grid.len() == src.len()
            && grid[0] == src[0]
            && grid[grid.len() - 1] == src.len() - 2;
        ensure(fits, || format!("{:?} of {src:?} at places {grid:?}", op.kind))?;
        self.gives(&[&src[..2], &grid[1..grid.len() - 1]].concat())
    }

    fn permute(&self, op: &PermuteT) -> Result<(), Reason> {
        let src = self.of(op.src)?;
        let mut sorted = op.order.clone();
        sorted.sort_unstable();
        let permutes = sorted.len() == src.len() && sorted.iter().enumerate().all(|(i, &d)| i == d as usize);
        ensure(permutes, || format!("{:?} does not order the dimensions of {src:?}", op.order))?;
        self.gives(&op.order.iter().map(|&d| src[d as usize]).collect::<Vec<_>>())
    }

    fn slice(&self, op: &SliceT) -> Result<(), Reason> {
        let extent = self.dim(op.src, op.dim)?;
        let (src, out) = (self.of(op.src)?, self.out());
        let dim = op.dim as usize;
        let others = src.len() == out.len() && (0..src.len()).all(|i| i == dim || src[i] == out[i]);
        let (start, step) = (i128::from(op.start), i128::from(op.step));
        let inside =
            others && start >= 0 && step >= 1 && start + (out[dim] as i128 - 1) * step < extent as i128;
        ensure(inside, || {
            format!("start {start}, step {step} of dimension {dim} of {src:?} gives no {out:?}")
        })
    }

    fn concat(&self, op: &ConcatT) -> Result<(), Reason> {
        ensure(!op.src.is_empty(), || "joins nothing".into())?;
        let dim = op.dim as usize;
        let mut out = self.of(op.src[0])?.to_vec();
        self.dim(op.src[0], op.dim)?;
        for &src in &op.src[1..] {
            let shape = self.of(src)?;
            let fits = shape.len() == out.len() && (0..out.len()).all(|i| i == dim || shape[i] == out[i]);
            ensure(fits, || format!("joins {out:?} and {shape:?} along {dim}"))?;
            out[dim] += shape[dim];
        }
        self.gives(&out)
    }

    fn pixel_shuffle(&self, op: &PixelShuffleT) -> Result<(), Reason> {
        let [n, c, h, w] = *self.rank("src", op.src, 4)? else { return Err("src is not an image".into()) };
        let r = op.factor as usize;
        let given = || format!("factor {r} on [{n}, {c}, {h}, {w}]");
        ensure((1..=1 << 8).contains(&r), given)?;
        if op.inverse {
            ensure(h.is_multiple_of(r) && w.is_multiple_of(r), given)?;
            return self.gives(&[n, c * r * r, h / r, w / r]);
        }
        ensure(c.is_multiple_of(r * r), given)?;
        self.gives(&[n, c / (r * r), h * r, w * r])
    }

    fn epilogue(&self, stages: &EpilogueT) -> Result<(), Reason> {
        let out = self.out();
        let columns = match &self.op.kind {
            OpKindT::Linear(_) | OpKindT::MatMul(_) => out[out.len() - 1],
            OpKindT::Conv(op) => out[1] * (op.shuffle * op.shuffle) as usize,
            _ => out[1],
        };
        self.vectors(&[stages.bias, stages.scale, stages.shift], columns)?;
        ensure((stages.scale >= 0) == (stages.shift >= 0), || "scale without shift".into())?;
        if stages.residual >= 0 {
            let residual = self.of(stages.residual)?;
            ensure(residual == out, || format!("residual {residual:?} for {out:?}"))?;
        }
        Ok(())
    }
}

/// The shape several broadcast to, by PyTorch's rule.
pub(crate) fn broadcast(shapes: &[&[usize]]) -> Result<Vec<usize>, Reason> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for shape in shapes {
        for (o, &s) in out[rank - shape.len()..].iter_mut().zip(*shape) {
            if s != *o && s != 1 && *o != 1 {
                return Err(format!("{shapes:?} do not broadcast"));
            }
            *o = if s == 1 { *o } else { s };
        }
    }
    Ok(out)
}
