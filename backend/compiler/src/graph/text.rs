//! One line per op, for people and for the passes' tests.

use std::fmt::Write;

use tandem_schemas::program::*;

use super::{Graph, ValueId, execution_order};

/// How to show what a payload's tensor fields index.
pub(crate) trait Naming {
    /// A value: `Source` fields.
    fn value(&self, id: ValueId) -> String;
    /// A weight, column array or parameter.
    fn constant(&self, id: ValueId) -> String;
}

/// Name of an op's kind in the schema.
pub(crate) fn kind_name(kind: &OpKindT) -> &'static str {
    kind.op_kind_type().variant_name().unwrap_or("?")
}

struct InGraph<'g, 'a>(&'g Graph<'a>);

impl Naming for InGraph<'_, '_> {
    fn value(&self, id: ValueId) -> String {
        self.0.values.get(id as usize).map_or(format!("?{id}"), |v| v.name.clone())
    }
    fn constant(&self, id: ValueId) -> String {
        self.value(id)
    }
}

/// An op of a graph.
pub(crate) fn kind_text(graph: &Graph<'_>, kind: &OpKindT) -> String {
    op_text(kind, &InGraph(graph))
}

/// The whole graph in execution order.
pub(crate) fn text(graph: &Graph<'_>) -> String {
    let mut text = String::new();
    let Ok(order) = execution_order(graph) else { return "(cycle)".into() };
    for id in order {
        if let Some(op) = &graph.ops[id] {
            let output = graph.value(op.output);
            let _ =
                writeln!(text, "{}{:?} = {}", output.name, output.shape, op_text(&op.kind, &InGraph(graph)));
        }
    }
    let returned: Vec<&str> = graph.outputs.iter().map(|o| &graph.value(o.value).name[..]).collect();
    let _ = writeln!(text, "return {}", returned.join(", "));
    text
}

/// One op: `Conv(x; weight, kernel [3, 3], …)`, leaving out what has its usual value.
pub(crate) fn op_text(kind: &OpKindT, naming: &dyn Naming) -> String {
    let mut line = Line { naming, sources: vec![], rest: vec![] };
    line.fields(kind);
    if let Some(stages) = super::epilogue(kind) {
        line.epilogue(stages);
    }
    let separator = if line.rest.is_empty() { "" } else { "; " };
    format!("{}({}{separator}{})", kind_name(kind), line.sources.join(", "), line.rest.join(", "))
}

struct Line<'n> {
    naming: &'n dyn Naming,
    sources: Vec<String>,
    rest: Vec<String>,
}

impl Line<'_> {
    fn src(&mut self, id: ValueId) {
        self.sources.push(self.naming.value(id));
    }

    fn constant(&mut self, what: &str, id: ValueId) {
        if id >= 0 {
            self.rest.push(format!("{what} {}", self.naming.constant(id)));
        }
    }

    fn say(&mut self, differs: bool, text: impl FnOnce() -> String) {
        if differs {
            self.rest.push(text());
        }
    }

    fn act(&mut self, what: &str, act: Option<&ActT>) {
        if let Some(act) = act.filter(|a| a.kind != Activation::None) {
            self.rest.push(format!("{what} {}", act_text(act)));
        }
    }

    fn epilogue(&mut self, stages: &EpilogueT) {
        self.constant("bias", stages.bias);
        self.act("act", stages.act.as_ref());
        self.constant("scale", stages.scale);
        self.constant("shift", stages.shift);
        if stages.residual >= 0 {
            self.rest.push(format!("residual {}", self.naming.value(stages.residual)));
        }
        self.act("act2", stages.act2.as_ref());
    }

    fn window(&mut self, kernel: &[u32], stride: &[u32], padding: &[u32], dilation: &[u32]) {
        self.rest.push(format!("kernel {kernel:?}"));
        self.say(stride.iter().any(|&s| s != 1), || format!("stride {stride:?}"));
        self.say(padding.iter().any(|&p| p != 0), || format!("padding {padding:?}"));
        self.say(dilation.iter().any(|&d| d != 1), || format!("dilation {dilation:?}"));
    }

    fn fields(&mut self, kind: &OpKindT) {
        use OpKindT as K;
        match kind {
            K::Conv(op) => {
                op.src.iter().for_each(|&s| self.src(s));
                self.constant("weight", op.weight);
                self.window(&op.kernel, &op.stride, &op.padding, &op.dilation);
                self.say(op.groups != 1, || format!("groups {}", op.groups));
                self.say(op.shuffle != 1, || format!("shuffle {}", op.shuffle));
            }
            K::Depthwise(op) => {
                self.src(op.src);
                self.constant("weight", op.weight);
                self.window(&op.kernel, &op.stride, &op.padding, &op.dilation);
            }
            K::ConvTranspose(op) => {
                self.src(op.src);
                self.constant("weight", op.weight);
                self.window(&op.kernel, &op.stride, &op.padding, &op.dilation);
                self.say(op.output_padding.iter().any(|&p| p != 0), || {
                    format!("output_padding {:?}", op.output_padding)
                });
                self.say(op.groups != 1, || format!("groups {}", op.groups));
            }
            K::Linear(op) => {
                self.src(op.src);
                self.constant("weight", op.weight);
            }
            K::MatMul(op) => {
                self.src(op.a);
                self.src(op.b);
                self.say(op.scale != 1.0, || format!("scale {}", op.scale));
            }
            K::Attention(op) => {
                for id in [op.q, op.k, op.v] {
                    self.src(id);
                }
                if op.mask >= 0 {
                    self.rest.push(format!("mask {}", self.naming.value(op.mask)));
                }
                self.rest.push(format!("scale {}", op.scale));
                self.say(op.causal, || "causal".into());
            }
            K::Pool(op) => {
                self.src(op.src);
                self.rest.push(format!("{:?}", op.kind));
                self.window(&op.kernel, &op.stride, &op.padding, &op.dilation);
                self.say(op.count_include_pad, || "count_include_pad".into());
                self.say(op.divisor != 0, || format!("divisor {}", op.divisor));
            }
            K::AdaptivePool(op) => {
                self.src(op.src);
                self.rest.push(format!("{:?}", op.kind));
            }
            K::Reduce(op) => {
                self.src(op.src);
                self.rest.push(format!("{:?} {:?}", op.kind, op.dims));
            }
            K::Softmax(op) => {
                self.src(op.src);
                self.rest.push(format!("dim {}", op.dim));
                self.say(op.log, || "log".into());
            }
            _ => self.simple(kind),
        }
    }

    fn simple(&mut self, kind: &OpKindT) {
        use OpKindT as K;
        match kind {
            K::Norm(op) => {
                self.src(op.src);
                let extent =
                    if matches!(op.kind, NormKind::Layer | NormKind::Rms) { op.axes } else { op.groups };
                self.rest.push(format!("{:?} {extent}, eps {}", op.kind, op.eps));
                self.constant("scale", op.scale);
                self.constant("shift", op.shift);
                self.act("act", op.act.as_ref());
            }
            K::Affine(op) => {
                self.src(op.src);
                self.rest.push(format!("dim {}", op.dim));
                self.constant("scale", op.scale);
                self.constant("shift", op.shift);
                self.act("act", op.act.as_ref());
            }
            K::Unary(op) => {
                self.src(op.src);
                match &op.act {
                    Some(act) if op.kind == UnaryKind::Activation => self.rest.push(act_text(act)),
                    _ => self.rest.push(format!("{:?}", op.kind)),
                }
                self.say(op.a != 0.0, || format!("{}", op.a));
            }
            K::Binary(op) => {
                self.src(op.a);
                self.src(op.b);
                self.rest.push(format!("{:?}", op.kind));
                self.say(op.alpha != 1.0, || format!("alpha {}", op.alpha));
                self.act("act", op.act.as_ref());
            }
            K::Select(op) => [op.cond, op.a, op.b].iter().for_each(|&s| self.src(s)),
            K::Resize(op) => {
                self.src(op.src);
                self.rest.push(format!("{:?}", op.kind));
                self.say(op.align_corners, || "align_corners".into());
                self.say(op.scale.is_some(), || format!("scale {:?}", op.scale.as_deref().unwrap_or(&[])));
            }
            K::Pad(op) => {
                self.src(op.src);
                self.rest.push(format!("{:?}, before {:?}", op.kind, op.before));
                self.say(op.value != 0.0, || format!("value {}", op.value));
            }
            K::Reshape(op) => self.src(op.src),
            K::Expand(op) => self.src(op.src),
            K::Permute(op) => {
                self.src(op.src);
                self.rest.push(format!("{:?}", op.order));
            }
            K::Slice(op) => {
                self.src(op.src);
                self.rest.push(format!("dim {}, start {}", op.dim, op.start));
                self.say(op.step != 1, || format!("step {}", op.step));
            }
            K::Concat(op) => {
                op.src.iter().for_each(|&s| self.src(s));
                self.rest.push(format!("dim {}", op.dim));
            }
            K::PixelShuffle(op) => {
                self.src(op.src);
                self.rest.push(format!("factor {}", op.factor));
                self.say(op.inverse, || "inverse".into());
            }
            K::GridSample(op) => {
                [op.src, op.grid].iter().for_each(|&s| self.src(s));
                self.rest.push(format!("{:?} {:?}", op.kind, op.padding));
                self.say(op.align_corners, || "align_corners".into());
            }
            K::Scan(op) => {
                self.src(op.src);
                self.rest.push(format!("{:?} dim {}", op.kind, op.dim));
            }
            K::ArgSort(op) => {
                self.src(op.src);
                self.rest.push(format!("dim {}", op.dim));
                self.say(op.descending, || "descending".into());
            }
            K::Gather(op) => {
                [op.src, op.index].iter().for_each(|&s| self.src(s));
                self.rest.push(format!("dim {}", op.dim));
            }
            K::Scatter(op) => {
                [op.src, op.index, op.value].iter().for_each(|&s| self.src(s));
                self.rest.push(format!("dim {}", op.dim));
                self.say(op.kind != ScatterKind::Put, || format!("{:?}", op.kind));
            }
            _ => {}
        }
    }
}

fn act_text(act: &ActT) -> String {
    match act.kind {
        Activation::Clamp => format!("Clamp[{}, {}]", act.a, act.b),
        Activation::LeakyRelu | Activation::Elu => format!("{:?}({})", act.kind, act.a),
        kind => format!("{kind:?}"),
    }
}
