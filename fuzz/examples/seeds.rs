//! Writes the seeds: `corpus/subgraph` with subgraphs of every family of operators, `corpus/program` with what they
//! lower to and with the engine tests' programs. Fails unless each gets as far as it should.

#[path = "../../backend/engine/tests/common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use common::{Model, models};
use tandem_compiler::{Options, lower};
use tandem_fuzz::Reached;
use tandem_schemas::subgraph::*;
use tandem_schemas::{write_program, write_subgraph};

/// A table with some fields set: the schema's structs take no struct expressions.
fn table<T: Default>(set: impl FnOnce(&mut T)) -> Box<T> {
    let mut made = Box::<T>::default();
    set(&mut made);
    made
}

fn t(value: i32) -> ArgValueT {
    ArgValueT::TensorArg(table(|a: &mut TensorArgT| a.value = value))
}

fn ts(values: &[i32]) -> ArgValueT {
    ArgValueT::TensorListArg(table(|a: &mut TensorListArgT| a.values = Some(values.to_vec())))
}

fn i(value: i64) -> ArgValueT {
    ArgValueT::IntArg(table(|a: &mut IntArgT| a.value = value))
}

fn f(value: f64) -> ArgValueT {
    ArgValueT::FloatArg(table(|a: &mut FloatArgT| a.value = value))
}

fn b(value: bool) -> ArgValueT {
    ArgValueT::BoolArg(table(|a: &mut BoolArgT| a.value = value))
}

fn is(values: &[i64]) -> ArgValueT {
    ArgValueT::IntListArg(table(|a: &mut IntListArgT| a.values = Some(values.to_vec())))
}

fn fs(values: &[f64]) -> ArgValueT {
    ArgValueT::FloatListArg(table(|a: &mut FloatListArgT| a.values = Some(values.to_vec())))
}

fn s(value: &str) -> ArgValueT {
    ArgValueT::StringArg(table(|a: &mut StringArgT| a.value = value.to_owned()))
}

/// A subgraph under construction. Names are short: the fuzzer's bytes are better spent elsewhere.
#[derive(Default)]
struct Region(SubgraphT);

impl Region {
    fn value(&mut self, kind: ValueKind, sizes: &[i64]) -> i32 {
        let id = self.0.values.len();
        self.0.values.push(*table(|v: &mut ValueT| {
            let dim = |&size: &i64| *table(|d: &mut DimT| (d.size_, d.expr) = (size, -1));
            (v.name, v.kind, v.shape) = (format!("v{id}"), kind, Some(sizes.iter().map(dim).collect()));
            v.constant = (kind == ValueKind::Constant).then(|| format!("k{id}"));
        }));
        id as i32
    }

    fn input(&mut self, sizes: &[i64]) -> i32 {
        let id = self.value(ValueKind::Input, sizes);
        self.0.inputs.push(id);
        id
    }

    fn constant(&mut self, sizes: &[i64]) -> i32 {
        self.value(ValueKind::Constant, sizes)
    }

    fn nodes<const N: usize>(
        &mut self,
        op: &str,
        args: Vec<(&str, ArgValueT)>,
        outputs: [&[i64]; N],
    ) -> [i32; N] {
        let outputs = outputs.map(|sizes| self.value(ValueKind::Node, sizes));
        self.0.nodes.push(*table(|n: &mut NodeT| {
            (n.name, n.op) = (format!("n{}", outputs[0]), format!("aten.{op}"));
            let arg = |(name, value): (&str, _)| {
                *table(|a: &mut ArgT| (a.name, a.value) = (name.to_owned(), value))
            };
            n.args = Some(args.into_iter().map(arg).collect());
            (n.outputs, n.debug_handle) = (Some(outputs.to_vec()), outputs[0]);
        }));
        outputs
    }

    fn node(&mut self, op: &str, args: Vec<(&str, ArgValueT)>, sizes: &[i64]) -> i32 {
        self.nodes(op, args, [sizes])[0]
    }

    /// Nodes of one tensor that keep its shape, each reading the last.
    fn chain(&mut self, mut src: i32, sizes: &[i64], ops: &[&str]) -> i32 {
        for op in ops {
            src = self.node(&format!("{op}.default"), vec![("self", t(src))], sizes);
        }
        src
    }

    fn finish(mut self, outputs: &[i32]) -> SubgraphT {
        self.0.outputs = outputs.to_vec();
        self.0
    }
}

/// Convolutions of every kind, what follows them, and a residual.
fn convolutions() -> SubgraphT {
    let mut r = Region::default();
    let x = r.input(&[1, 4, 6, 6]);
    let (w, bias) = (r.constant(&[8, 4, 3, 3]), r.constant(&[8]));
    let same = |x, w, bias, groups| {
        vec![
            ("input", t(x)),
            ("weight", t(w)),
            ("bias", t(bias)),
            ("stride", is(&[1, 1])),
            ("padding", is(&[1, 1])),
            ("dilation", is(&[1, 1])),
            ("transposed", b(false)),
            ("output_padding", is(&[0, 0])),
            ("groups", i(groups)),
        ]
    };
    let y = r.node("convolution.default", same(x, w, bias, 1), &[1, 8, 6, 6]);
    let [mean, var] = [(); 2].map(|()| r.constant(&[8]));
    let norm = vec![
        ("input", t(y)),
        ("weight", t(bias)),
        ("bias", t(mean)),
        ("running_mean", t(mean)),
        ("running_var", t(var)),
        ("momentum", f(0.1)),
        ("eps", f(2.0)),
    ];
    let y = r.node("_native_batch_norm_legit_no_training.default", norm, &[1, 8, 6, 6]);
    let y = r.chain(y, &[1, 8, 6, 6], &["relu"]);
    let w = r.constant(&[8, 1, 3, 3]);
    let z = r.node("convolution.default", same(y, w, bias, 8), &[1, 8, 6, 6]);
    let z = r.chain(z, &[1, 8, 6, 6], &["hardswish"]);
    let w = r.constant(&[8, 4, 3, 3]);
    let z = r.node("convolution.default", same(z, w, bias, 2), &[1, 8, 6, 6]);
    let sum = r.node("add.Tensor", vec![("self", t(z)), ("other", t(y)), ("alpha", i(1))], &[1, 8, 6, 6]);
    let w = r.constant(&[8, 4, 2, 2]);
    let twice = vec![
        ("input", t(sum)),
        ("weight", t(w)),
        ("stride", is(&[2, 2])),
        ("padding", is(&[0, 0])),
        ("dilation", is(&[1, 1])),
        ("transposed", b(true)),
        ("output_padding", is(&[0, 0])),
        ("groups", i(1)),
    ];
    let up = r.node("convolution.default", twice, &[1, 4, 12, 12]);
    let (w, line) = (r.constant(&[4, 4, 3]), r.input(&[1, 4, 9]));
    let narrow = vec![("input", t(line)), ("weight", t(w)), ("stride", is(&[2])), ("padding", is(&[1]))];
    let line = r.node("conv1d.default", narrow, &[1, 4, 5]);
    r.finish(&[up, line])
}

/// Pools, resizing, padding, shuffles, concatenation.
fn images() -> SubgraphT {
    let mut r = Region::default();
    let x = r.input(&[1, 4, 8, 8]);
    let window = |x| {
        vec![("self", t(x)), ("kernel_size", is(&[3, 3])), ("stride", is(&[2, 2])), ("padding", is(&[1, 1]))]
    };
    let low = r.node("max_pool2d.default", window(x), &[1, 4, 4, 4]);
    let mean = r.node("avg_pool2d.default", window(x), &[1, 4, 4, 4]);
    let both = r.node("cat.default", vec![("tensors", ts(&[low, mean])), ("dim", i(1))], &[1, 8, 4, 4]);
    let shuffled =
        r.node("pixel_shuffle.default", vec![("self", t(both)), ("upscale_factor", i(2))], &[1, 2, 8, 8]);
    let back = r.node(
        "pixel_unshuffle.default",
        vec![("self", t(shuffled)), ("downscale_factor", i(2))],
        &[1, 8, 4, 4],
    );
    let scaled = |x| vec![("input", t(x)), ("scale_factors", fs(&[2.0, 1.5]))];
    let near = r.node("upsample_nearest2d.vec", scaled(back), &[1, 8, 8, 6]);
    let mut linear = scaled(back);
    linear.push(("align_corners", b(true)));
    let linear = r.node("upsample_bilinear2d.vec", linear, &[1, 8, 8, 6]);
    let sum = r.node("mul.Tensor", vec![("self", t(near)), ("other", t(linear))], &[1, 8, 8, 6]);
    let cubic = r.node(
        "upsample_bicubic2d.default",
        vec![("self", t(sum)), ("output_size", is(&[5, 7])), ("align_corners", b(false))],
        &[1, 8, 5, 7],
    );
    let sides = |x, name| vec![("self", t(x)), (name, is(&[1, 2, 2, 0]))];
    let zero = r.node("constant_pad_nd.default", sides(cubic, "pad"), &[1, 8, 7, 10]);
    let mirrored = r.node("reflection_pad2d.default", sides(zero, "padding"), &[1, 8, 9, 13]);
    let repeated = r.node("replication_pad2d.default", sides(mirrored, "padding"), &[1, 8, 11, 16]);
    let adaptive = vec![("self", t(repeated)), ("output_size", is(&[3, 4]))];
    let out = r.node("_adaptive_avg_pool2d.default", adaptive, &[1, 8, 3, 4]);
    r.finish(&[out])
}

/// A transformer's block, with heads split and joined by views.
fn transformer() -> SubgraphT {
    let mut r = Region::default();
    let x = r.input(&[1, 6, 8]);
    let [scale, shift] = [(); 2].map(|()| r.constant(&[8]));
    let norm = vec![
        ("input", t(x)),
        ("normalized_shape", is(&[8])),
        ("weight", t(scale)),
        ("bias", t(shift)),
        ("eps", f(1e-5)),
    ];
    let y = r.node("native_layer_norm.default", norm, &[1, 6, 8]);
    let heads = [(); 3].map(|()| {
        let (w, bias) = (r.constant(&[8, 8]), r.constant(&[8]));
        let y =
            r.node("linear.default", vec![("input", t(y)), ("weight", t(w)), ("bias", t(bias))], &[1, 6, 8]);
        let y = r.node("view.default", vec![("self", t(y)), ("size", is(&[1, 6, 2, 4]))], &[1, 6, 2, 4]);
        r.node("permute.default", vec![("self", t(y)), ("dims", is(&[0, 2, 1, 3]))], &[1, 2, 6, 4])
    });
    let [q, k, v] = heads;
    let attention =
        vec![("query", t(q)), ("key", t(k)), ("value", t(v)), ("is_causal", b(true)), ("scale", f(0.5))];
    let y = r.node("scaled_dot_product_attention.default", attention, &[1, 2, 6, 4]);
    // The same again in small steps, for the pass that finds attention in them.
    let turned =
        r.node("transpose.int", vec![("self", t(k)), ("dim0", i(-2)), ("dim1", i(-1))], &[1, 2, 4, 6]);
    let scores = r.node("matmul.default", vec![("self", t(q)), ("other", t(turned))], &[1, 2, 6, 6]);
    let scores = r.node("mul.Scalar", vec![("self", t(scores)), ("other", f(0.5))], &[1, 2, 6, 6]);
    let soft = r.node("_softmax.default", vec![("self", t(scores)), ("dim", i(-1))], &[1, 2, 6, 6]);
    let z = r.node("matmul.default", vec![("self", t(soft)), ("other", t(v))], &[1, 2, 6, 4]);
    let y = r.node("add.Tensor", vec![("self", t(y)), ("other", t(z))], &[1, 2, 6, 4]);
    let y = r.node("permute.default", vec![("self", t(y)), ("dims", is(&[0, 2, 1, 3]))], &[1, 6, 2, 4]);
    let y = r.node("view.default", vec![("self", t(y)), ("size", is(&[1, 6, 8]))], &[1, 6, 8]);
    let y = r.node("add.Tensor", vec![("self", t(y)), ("other", t(x))], &[1, 6, 8]);
    let y = r.node("gelu.default", vec![("self", t(y)), ("approximate", s("tanh"))], &[1, 6, 8]);
    let rows = r.node("squeeze.dim", vec![("self", t(y)), ("dim", i(0))], &[6, 8]);
    let (bias, w) = (r.constant(&[4]), r.constant(&[8, 4]));
    let out = r.node("addmm.default", vec![("self", t(bias)), ("mat1", t(rows)), ("mat2", t(w))], &[6, 4]);
    let out = r.node("_log_softmax.default", vec![("self", t(out)), ("dim", i(1))], &[6, 4]);
    r.finish(&[out])
}

/// Products of tensors, group normalisation, reductions.
fn sums() -> SubgraphT {
    let mut r = Region::default();
    let (x, y) = (r.input(&[2, 4, 6]), r.input(&[2, 6, 4]));
    let z = r.node("bmm.default", vec![("self", t(x)), ("mat2", t(y))], &[2, 4, 4]);
    let [scale, shift] = [(); 2].map(|()| r.constant(&[4]));
    let norm = vec![
        ("input", t(z)),
        ("weight", t(scale)),
        ("bias", t(shift)),
        ("N", i(2)),
        ("C", i(4)),
        ("HxW", i(4)),
        ("group", i(2)),
        ("eps", f(1e-5)),
    ];
    let z = r.node("native_group_norm.default", norm, &[2, 4, 4]);
    let over = |x, dims: &[i64], keep| vec![("self", t(x)), ("dim", is(dims)), ("keepdim", b(keep))];
    let mean = r.node("mean.dim", over(z, &[1], true), &[2, 1, 4]);
    let z = r.node("sub.Tensor", vec![("self", t(z)), ("other", t(mean)), ("alpha", f(0.5))], &[2, 4, 4]);
    let sum = r.node("sum.dim_IntList", over(z, &[-1], true), &[2, 4, 1]);
    let z = r.node("div.Tensor", vec![("self", t(z)), ("other", t(sum))], &[2, 4, 4]);
    let largest = r.node("amax.default", over(z, &[0, 2], false), &[4]);
    let smallest = r.node("amin.default", over(z, &[0, 2], false), &[4]);
    let vector = r.node("maximum.default", vec![("self", t(largest)), ("other", t(smallest))], &[4]);
    let product = r.node("matmul.default", vec![("self", t(z)), ("other", t(vector))], &[2, 4]);
    let w = r.constant(&[4, 4]);
    let out = r.node("mm.default", vec![("self", t(product)), ("mat2", t(w))], &[2, 4]);
    r.finish(&[out])
}

/// Every function of one element, and of two.
fn elements() -> SubgraphT {
    let mut r = Region::default();
    let sizes = [2, 3, 5];
    let x = r.input(&sizes);
    let functions = [
        "neg",
        "abs",
        "sqrt",
        "exp",
        "log",
        "rsqrt",
        "reciprocal",
        "square",
        "sin",
        "cos",
        "erf",
        "floor",
        "ceil",
        "round",
        "trunc",
        "sign",
    ];
    let y = r.chain(x, &sizes, &functions);
    let activations =
        ["relu", "relu6", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "mish", "softplus", "clone"];
    let z = r.chain(x, &sizes, &activations);
    let clamped = vec![("self", t(z)), ("min", f(-0.5)), ("max", f(0.5))];
    let z = r.node("clamp.default", clamped, &sizes);
    let z = r.node("leaky_relu.default", vec![("self", t(z)), ("negative_slope", f(0.1))], &sizes);
    let z = r.node("elu.default", vec![("self", t(z)), ("alpha", f(0.5))], &sizes);
    let z = r.node("hardtanh.default", vec![("self", t(z)), ("min_val", i(-1)), ("max_val", i(1))], &sizes);
    let z = r.node("pow.Tensor_Scalar", vec![("self", t(z)), ("exponent", f(3.0))], &sizes);
    let z = r.node("add.Scalar", vec![("self", t(z)), ("other", i(1))], &sizes);
    let row = r.constant(&[3, 1]);
    let z = r.node("minimum.default", vec![("self", t(z)), ("other", t(row))], &sizes);
    let full = r.node("full.default", vec![("size", is(&sizes)), ("fill_value", f(0.25))], &sizes);
    let y = r.node("add.Tensor", vec![("self", t(y)), ("other", t(full))], &sizes);
    let out = r.node("pow.Tensor_Tensor", vec![("self", t(y)), ("exponent", t(z))], &sizes);
    r.finish(&[out, z])
}

/// Every way to see the same elements otherwise.
fn views() -> SubgraphT {
    let mut r = Region::default();
    let x = r.input(&[2, 6, 4]);
    let y = r.node(
        "slice.Tensor",
        vec![("self", t(x)), ("dim", i(1)), ("start", i(1)), ("end", i(6)), ("step", i(2))],
        &[2, 3, 4],
    );
    let one = r.node("select.int", vec![("self", t(y)), ("dim", i(1)), ("index", i(-1))], &[2, 4]);
    let turned = r.node("t.default", vec![("self", t(one))], &[4, 2]);
    let [a, c] = r.nodes(
        "split_with_sizes.default",
        vec![("self", t(turned)), ("split_sizes", is(&[1, 3])), ("dim", i(0))],
        [&[1, 2], &[3, 2]],
    );
    let a = r.node("expand.default", vec![("self", t(a)), ("size", is(&[3, 2]))], &[3, 2]);
    let stacked = r.node("stack.default", vec![("tensors", ts(&[a, c])), ("dim", i(1))], &[3, 2, 2]);
    let [d, e] = r.nodes(
        "chunk.default",
        vec![("self", t(stacked)), ("chunks", i(2)), ("dim", i(0))],
        [&[2, 2, 2], &[1, 2, 2]],
    );
    let e = r.node("expand_copy.default", vec![("self", t(e)), ("size", is(&[2, 2, 2]))], &[2, 2, 2]);
    let sum = r.node("add.Tensor", vec![("self", t(d)), ("other", t(e))], &[2, 2, 2]);
    let [g, h] = r.nodes("unbind.int", vec![("self", t(sum)), ("dim", i(2))], [&[2, 2], &[2, 2]]);
    let g = r.node("unsqueeze.default", vec![("self", t(g)), ("dim", i(0))], &[1, 2, 2]);
    let [k, l] = r.nodes(
        "split.Tensor",
        vec![("self", t(h)), ("split_size", i(1)), ("dim", i(1))],
        [&[2, 1], &[2, 1]],
    );
    let joined = r.node("cat.default", vec![("tensors", ts(&[l, k])), ("dim", i(-1))], &[2, 2]);
    let flat = r.node(
        "flatten.using_ints",
        vec![("self", t(joined)), ("start_dim", i(0)), ("end_dim", i(-1))],
        &[4],
    );
    r.finish(&[g, flat, y])
}

type Seeds<T> = Vec<(&'static str, T)>;

fn subgraphs() -> Seeds<SubgraphT> {
    vec![
        ("convolutions", convolutions()),
        ("elements", elements()),
        ("images", images()),
        ("sums", sums()),
        ("transformer", transformer()),
        ("views", views()),
    ]
}

fn programs() -> Seeds<Model> {
    vec![
        ("blocks", models::blocks(6, 4)),
        ("squeezesam", models::squeezesam(8, 1, 4)),
        ("vit", models::vit(8, 8, 1)),
    ]
}

/// Zeros for a subgraph's constants.
fn zeros(subgraph: &SubgraphT) -> HashMap<String, Vec<u8>> {
    let keyed = subgraph.values.iter().filter_map(|v| Some((v.constant.clone()?, v.shape.as_ref()?)));
    let bytes = |shape: &Vec<DimT>| 4 * shape.iter().map(|d| d.size_ as usize).product::<usize>();
    keyed.map(|(key, shape)| (key, vec![0; bytes(shape)])).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in ["subgraph", "program"] {
        fs::create_dir_all(corpus.join(target))?;
    }
    let put = |target: &str, name: &str, blob: &[u8], reached: Reached| -> Result<(), Box<dyn Error>> {
        println!("{target}/{name}: {} bytes, {reached:?}", blob.len());
        if reached != Reached::Ran {
            return Err(format!("{target}/{name} does not run").into());
        }
        Ok(fs::write(corpus.join(target).join(name), blob)?)
    };
    for (name, subgraph) in subgraphs() {
        let blob = write_subgraph(&subgraph);
        for (suffix, options) in [("", Options::default()), (".plain", Options::plain())] {
            let lowered = lower(&blob, &zeros(&subgraph), &options)?.program;
            put("program", &format!("{name}{suffix}"), &lowered, tandem_fuzz::program(&lowered))?;
        }
        put("subgraph", name, &blob, tandem_fuzz::subgraph(&blob))?;
    }
    for (name, model) in programs() {
        let blob = write_program(&model.program);
        put("program", name, &blob, tandem_fuzz::program(&blob))?;
    }
    Ok(())
}
