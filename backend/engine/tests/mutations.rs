//! Programs with changed fields: an error or a run, never a panic. Raw bytes are mutated in the C ABI's tests.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::dynamic::{dynamic, dynamic_rows, image};
use common::{Builder, Model, Random, Stages, models, run};
use tandem_engine::{ErrorKind, LoadOptions};
use tandem_schemas::program::*;

/// Mutations of a plain run; TANDEM_TEST_ALL makes ten times as many.
const MUTATIONS: u64 = 12_000;
/// Methods that want more memory than this are loaded and not run.
const MOST_MEMORY: usize = 8 << 20;

const INTERESTING: [i64; 14] =
    [0, 1, -1, 2, 3, 5, 7, 8, 16, 33, 1 << 20, i32::MAX as i64, i32::MIN as i64, 1 << 31];

fn number(r: &mut Random) -> i64 {
    if r.below(2) == 0 { INTERESTING[r.below(INTERESTING.len())] } else { r.below(40) as i64 }
}

fn list(r: &mut Random, list: &mut Vec<u32>) {
    match r.below(5) {
        0 => list.push(number(r) as u32),
        1 => drop(list.pop()),
        _ if !list.is_empty() => {
            let at = r.below(list.len());
            list[at] = number(r) as u32;
        }
        _ => {}
    }
}

fn values(r: &mut Random, list: &mut Vec<i32>) {
    match r.below(4) {
        0 => list.push(number(r) as i32),
        1 => drop(list.pop()),
        _ if !list.is_empty() => {
            let at = r.below(list.len());
            list[at] = number(r) as i32;
        }
        _ => {}
    }
}

fn act(r: &mut Random) -> Option<ActT> {
    Some(common::with!(ActT, kind = Activation(r.below(16) as u8), a = number(r) as f32, b = f32::NAN))
}

fn epilogue(r: &mut Random, e: &mut Option<Box<EpilogueT>>) {
    let e = e.get_or_insert_default();
    match r.below(6) {
        0 => e.bias = number(r) as i32,
        1 => e.scale = number(r) as i32,
        2 => e.shift = number(r) as i32,
        3 => e.residual = number(r) as i32,
        4 => e.act = act(r),
        _ => e.act2 = act(r),
    }
}

fn op(r: &mut Random, op: &mut OpT) {
    let n = number(r);
    let (v, u) = (n as i32, n as u32);
    match &mut op.kind {
        OpKindT::Conv(o) => match r.below(9) {
            0 => values(r, &mut o.src),
            1 => o.weight = v,
            2 => list(r, &mut o.kernel),
            3 => list(r, &mut o.stride),
            4 => list(r, &mut o.padding),
            5 => list(r, &mut o.dilation),
            6 => o.groups = u,
            7 => o.shuffle = u,
            _ => epilogue(r, &mut o.epilogue),
        },
        OpKindT::Depthwise(o) => match r.below(7) {
            0 => o.src = v,
            1 => o.weight = v,
            2 => list(r, &mut o.kernel),
            3 => list(r, &mut o.stride),
            4 => list(r, &mut o.padding),
            5 => list(r, &mut o.dilation),
            _ => epilogue(r, &mut o.epilogue),
        },
        OpKindT::Linear(o) => match r.below(3) {
            0 => o.src = v,
            1 => o.weight = v,
            _ => epilogue(r, &mut o.epilogue),
        },
        OpKindT::MatMul(o) => match r.below(4) {
            0 => o.a = v,
            1 => o.b = v,
            2 => o.scale = n as f32,
            _ => epilogue(r, &mut o.epilogue),
        },
        OpKindT::Attention(o) => match r.below(5) {
            0 => o.q = v,
            1 => o.k = v,
            2 => o.v = v,
            3 => o.mask = v,
            _ => o.causal = !o.causal,
        },
        OpKindT::Pool(o) => match r.below(7) {
            0 => o.src = v,
            1 => list(r, &mut o.kernel),
            2 => list(r, &mut o.stride),
            3 => list(r, &mut o.padding),
            4 => list(r, &mut o.dilation),
            5 => o.kind = PoolKind(u as u8),
            _ => (o.count_include_pad, o.divisor) = (!o.count_include_pad, u),
        },
        OpKindT::AdaptivePool(o) => o.src = v,
        OpKindT::Softmax(o) => match r.below(2) {
            0 => o.src = v,
            _ => o.dim = u,
        },
        OpKindT::Norm(o) => match r.below(6) {
            0 => o.src = v,
            1 => o.axes = u,
            2 => o.groups = u,
            3 => o.scale = v,
            4 => o.kind = NormKind(r.below(5) as u8),
            _ => o.act = act(r),
        },
        OpKindT::Unary(o) => match r.below(3) {
            0 => o.src = v,
            1 => o.kind = UnaryKind(r.below(24) as u8),
            _ => o.act = act(r),
        },
        OpKindT::Binary(o) => match r.below(3) {
            0 => o.a = v,
            1 => o.b = v,
            _ => o.kind = BinaryKind(r.below(19) as u8),
        },
        OpKindT::Resize(o) => match r.below(4) {
            0 => o.src = v,
            1 => o.kind = ResizeKind(r.below(4) as u8),
            2 => o.align_corners = !o.align_corners,
            _ => o.scale = Some(vec![n as f64; r.below(4)]),
        },
        OpKindT::Reshape(o) => o.src = v,
        OpKindT::Permute(o) => match r.below(2) {
            0 => o.src = v,
            _ => list(r, &mut o.order),
        },
        OpKindT::Slice(o) => match r.below(4) {
            0 => o.src = v,
            1 => o.dim = u,
            2 => o.start = n,
            _ => o.step = n,
        },
        OpKindT::Expand(o) => o.src = v,
        OpKindT::Concat(o) => match r.below(2) {
            0 => values(r, &mut o.src),
            _ => o.dim = u,
        },
        _ => {}
    }
}

/// Puts an op of another kind that reads the same values where an op was.
fn other_kind(r: &mut Random, op: &mut OpT) {
    let src = number(r) as i32;
    op.kind = match r.below(9) {
        0 => OpKindT::Reduce(Box::new(common::with!(ReduceT, src = src, dims = vec![number(r) as u32]))),
        1 => OpKindT::Pad(Box::new(common::with!(
            PadT,
            src = src,
            kind = PadKind(r.below(5) as u8),
            before = (0..4).map(|_| number(r) as i32).collect()
        ))),
        2 => OpKindT::PixelShuffle(Box::new(common::with!(
            PixelShuffleT,
            src = src,
            factor = number(r) as u32,
            inverse = r.below(2) == 0
        ))),
        3 => OpKindT::Affine(Box::new(common::with!(
            AffineT,
            src = src,
            dim = number(r) as u32,
            scale = number(r) as i32
        ))),
        4 => OpKindT::Select(Box::default()),
        5 => OpKindT::Reshape(Box::new(common::with!(ReshapeT, src = src))),
        6 => OpKindT::Expand(Box::new(common::with!(ExpandT, src = src))),
        7 => OpKindT::Unary(Box::new(common::with!(UnaryT, src = src))),
        _ => OpKindT::ConvTranspose(Box::new(common::with!(
            ConvTransposeT,
            src = src,
            weight = number(r) as i32,
            kernel = vec![2, 2],
            stride = vec![2, number(r) as u32],
            padding = vec![0, number(r) as u32, 0, 0],
            output_padding = vec![0, 0],
            dilation = vec![1, 1],
            groups = 1
        ))),
    };
}

fn mutate(r: &mut Random, program: &mut ProgramT) {
    let n = number(r);
    let at = r.below(program.values.len());
    let which = r.below(program.ops.len());
    match r.below(16) {
        0 => {
            let shape = program.values[at].shape.get_or_insert_default();
            if !shape.is_empty() {
                let d = r.below(shape.len());
                shape[d].size_ = n;
            }
        }
        1 => {
            let shape = program.values[at].shape.get_or_insert_default();
            match r.below(2) {
                0 => shape.truncate(shape.len().saturating_sub(1)),
                _ => shape.push(Dim::new(n, -1).unpack()),
            }
        }
        2 => program.values[at].kind = ValueKind(r.below(7) as u8),
        3 => program.values[at].dtype = DType(r.below(11) as u8),
        4 => program.values[at].dim_order = Some((0..r.below(6)).map(|_| r.below(6) as u8).collect()),
        5 => program.values[at].constant = n as i32,
        6 => {
            let c = r.below(program.constants.len());
            let c = &mut program.constants[c];
            match r.below(5) {
                0 => c.offset = n as u64,
                1 => c.length = n as u64,
                2 => c.format = Format(r.below(5) as u8),
                3 => c.dtype = DType(r.below(11) as u8),
                _ => c.entry = n as i32,
            }
        }
        7 => values(r, &mut program.inputs),
        8 => values(r, &mut program.outputs),
        9 => values(r, &mut program.ops[which].outputs),
        10 => program.ops.swap(which, r.below(which + 1)),
        11 => drop(program.ops.remove(which)),
        12 => other_kind(r, &mut program.ops[which]),
        13..=15 if program.symbols.is_some() => symbolic(r, program, at),
        _ => op(r, &mut program.ops[which]),
    }
}

fn symbolic(r: &mut Random, program: &mut ProgramT, value: usize) {
    let n = number(r);
    let exprs = program.exprs.get_or_insert_default();
    let (expr, bounds) = (r.below(exprs.len()), program.symbols.get_or_insert_default());
    let symbol = r.below(bounds.len());
    match (r.below(6), exprs.get_mut(expr), bounds.get_mut(symbol)) {
        (0, Some(expr), _) => expr.op = ExprOp(r.below(12) as u8),
        (1, Some(expr), _) => expr.a = n,
        (2, Some(expr), _) => expr.b = n,
        (3, _, Some(symbol)) => symbol.min = n,
        (4, _, Some(symbol)) => symbol.max = if r.below(2) == 0 { i64::MAX } else { n },
        _ => {
            let dims = program.values[value].shape.get_or_insert_default();
            let at = r.below(dims.len());
            if let Some(dim) = dims.get_mut(at) {
                dim.expr = n as i32;
            }
        }
    }
}

/// Everything small enough that a mutation is run in microseconds.
fn bases() -> Vec<Model> {
    let mut b = Builder::default();
    let x = b.input(&[1, 4, 6, 6]);
    let a = b.conv(&[x], 8, 3, 1, &Stages { bias: true, scale: true, ..Stages::default() });
    let c = b.conv(&[a], 8, 1, 1, &Stages { residual: Some(a), relu2: true, ..Stages::default() });
    let d = b.depthwise(c, 3, 1, &Stages { bias: true, ..Stages::default() });
    let e = b.concat(&[d, c], 1);
    let f = b.conv_with(&[e, x], 2, 1, 1, (1, 2), &Stages::default());
    let g = b.pool(PoolKind::Max, f, 2, 2);
    let h = b.resize(ResizeKind::Bilinear, g, [4, 5]);
    let i = b.adaptive(h, 3);
    let j = b.norm(NormKind::Group, i, 2);
    let k = b.permute(j, &[0, 2, 3, 1]);
    let l = b.reshape(k, &[1, 9, 2]);
    let m = b.linear(l, 8, &Stages { bias: true, ..Stages::default() });
    let n = b.slice(m, 2, 2, 4);
    let o = b.norm(NormKind::Layer, n, 0);
    let p = b.softmax(o, 2);
    let q = b.permute(p, &[0, 2, 1]);
    let s = b.matmul(p, q);
    let t = b.expand(s, &[2, 9, 9]);
    let u = b.unary(Activation::Gelu, t);
    let v = b.binary(BinaryKind::Add, u, s);
    b.output(v);
    b.output(h);
    let mut w = Builder::default();
    let x = w.input(&[1, 2, 6, 4]);
    let y = w.input(&[1, 2, 6, 4]);
    let z = w.attention(x, y, y);
    let rows = w.permute(z, &[0, 2, 1, 3]);
    let rows = w.reshape(rows, &[1, 6, 8]);
    let out = w.linear(rows, 4, &Stages::default());
    w.output(out);
    let dynamic = [dynamic(image, &[(1, 24), (1, 32)]), dynamic_rows(40)];
    [vec![b.finish(), w.finish(), models::blocks(6, 4)], dynamic.into()].concat()
}

fn exercise(model: &Model) -> Result<bool, String> {
    let load = || model.load(&LoadOptions::default());
    let mut method = match catch_unwind(AssertUnwindSafe(load)) {
        Ok(Ok(method)) => method,
        Ok(Err(e)) if e.kind() == ErrorKind::Internal => return Err(e.to_string()),
        Ok(Err(e)) if e.to_string().len() < 10 => return Err(format!("a bare message: {e}")),
        Ok(Err(_)) => return Ok(false),
        Err(_) => return Err("a panic in load".to_owned()),
    };
    let report = method.report();
    let host = method.inputs().iter().chain(method.outputs());
    let host: usize = host.map(|s| 8 * s.sizes.iter().product::<usize>()).sum();
    let f32s = method.inputs().iter().chain(method.outputs()).all(|s| s.dtype == DType::F32);
    if !f32s || host + report.arena_bytes + 2 * report.scratch_bytes > MOST_MEMORY {
        return Ok(false);
    }
    let inputs = model.inputs(&method, 1);
    match catch_unwind(AssertUnwindSafe(|| run(&mut method, &inputs, 2))) {
        Ok(Ok(_)) => Ok(true),
        // Changed expressions may tell other symbols than those the sizes were made of.
        Ok(Err(e)) if model.program.symbols.is_some() && e.kind() != ErrorKind::Internal => Ok(false),
        Ok(Err(e)) => Err(format!("an error in execute: {e}")),
        Err(_) => Err("a panic in execute".to_owned()),
    }
}

#[test]
fn changed_programs_are_refused_or_run() {
    let bases = bases();
    for base in &bases {
        assert_eq!(exercise(base), Ok(true));
    }
    let times = if std::env::var_os("TANDEM_TEST_ALL").is_some() { 10 } else { 1 };
    let (mut ran, mut refused, mut wrong) = (0, 0, Vec::new());
    for seed in 0..MUTATIONS * times {
        let mut r = Random(seed);
        let mut model = bases[r.below(bases.len())].clone();
        for _ in 0..=r.below(3) {
            if !model.program.ops.is_empty() {
                mutate(&mut r, &mut model.program);
            }
        }
        match exercise(&model) {
            Ok(true) => ran += 1,
            Ok(false) => refused += 1,
            Err(what) => wrong.push((seed, what)),
        }
    }
    println!("{ran} ran, {refused} refused or too large");
    assert!(
        wrong.is_empty(),
        "{} of {}: {:?}",
        wrong.len(),
        MUTATIONS * times,
        &wrong[..wrong.len().min(12)]
    );
    assert!(ran > 500 && refused > 5000);
}
