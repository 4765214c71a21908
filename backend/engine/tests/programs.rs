//! Programs against their definition, and what the plan must not contain.

mod common;

use common::{Builder, Model, Stages, check, models, moves, run, with};
use tandem_engine::{Category, ErrorKind, LoadOptions};
use tandem_schemas::program::*;

fn relu() -> Stages {
    Stages { bias: true, relu: true, ..Stages::default() }
}

#[test]
fn networks_move_nothing_and_waste_little() {
    for (name, model) in [
        ("squeezesam", models::squeezesam(32, 2, 16)),
        ("blocks", models::blocks(24, 16)),
        ("vit", models::vit(16, 32, 2)),
    ] {
        let method = check(&model);
        let report = method.report();
        let expected = if name == "vit" { 1 } else { 0 };
        let moves = moves(&method);
        assert_eq!(moves.len(), expected, "{name}: {moves:#?}");
        assert!(
            report.arena_bytes * 100 <= report.live_bytes * 115,
            "{name}: {} bytes of arena for {}",
            report.arena_bytes,
            report.live_bytes
        );
    }
}

#[test]
fn residuals_are_added_in_place() {
    let mut b = Builder::default();
    let x = b.input(&[1, 16, 8, 8]);
    let first = b.conv(&[x], 32, 3, 1, &relu());
    let mut last = first;
    for _ in 0..3 {
        let inner = b.conv(&[last], 32, 3, 1, &relu());
        last = b.conv(&[inner], 32, 3, 1, &Stages { bias: true, residual: Some(last), ..Stages::default() });
    }
    let y = b.conv(&[last], 8, 1, 1, &relu());
    b.output(y);
    let method = check(&b.finish());
    let image = 32 * 8 * 8 * 4;
    assert_eq!(method.report().arena_bytes, 2 * image, "one image and the sum's");
}

#[test]
fn a_value_is_not_overwritten_while_needed() {
    let mut b = Builder::default();
    let x = b.input(&[1, 4, 6, 6]);
    let a = b.unary(Activation::Relu, x);
    let flat = b.reshape(a, &[4, 36]);
    let s = b.unary(Activation::Sigmoid, a);
    let t = b.unary(Activation::Tanh, s);
    let u = b.binary(BinaryKind::Mul, t, s);
    let v = b.unary(Activation::Silu, flat);
    let part = b.slice(v, 0, 1, 2);
    let w = b.unary(Activation::Relu, v);
    let top = b.slice(w, 0, 0, 2);
    let sum = b.binary(BinaryKind::Add, part, top);
    b.output(u);
    b.output(sum);
    b.output(w);
    check(&b.finish());
}

#[test]
fn concatenations_are_written_in_place() {
    for dim in [1, 2] {
        let mut b = Builder::default();
        let x = b.input(&[1, 3, 8, 8]);
        let a = b.conv(&[x], 16, 3, 1, &relu());
        let c = b.conv(&[a], 16, 3, 1, &relu());
        let d = b.conv(&[a], 16, 1, 1, &relu());
        let all = b.concat(&[c, d], dim);
        let y = b.conv(&[all], 8, 3, 1, &relu());
        b.output(y);
        let method = check(&b.finish());
        assert_eq!(moves(&method), Vec::<String>::new(), "along {dim}");
    }
}

#[test]
fn concatenations_of_what_also_lies_elsewhere() {
    let mut b = Builder::default();
    let x = b.input(&[1, 4, 5, 5]);
    let a = b.unary(Activation::Relu, x);
    let twice = b.concat(&[a, x, a], 1);
    let b2 = b.unary(Activation::Sigmoid, a);
    let more = b.concat(&[b2, twice, a], 1);
    b.output(more);
    b.output(twice);
    check(&b.finish());
}

#[test]
fn views_of_views() {
    let mut b = Builder::default();
    let x = b.input(&[2, 6, 4, 5]);
    let y = b.unary(Activation::Tanh, x);
    let p = b.permute(y, &[0, 2, 3, 1]);
    let s = b.slice(p, 1, 1, 2);
    let r = b.reshape(s, &[2, 10, 6]);
    let q = b.permute(r, &[0, 2, 1]);
    let e = b.reshape(q, &[2, 1, 6, 10]);
    let e = b.expand(e, &[2, 3, 6, 10]);
    let z = b.unary(Activation::Relu, e);
    let back = b.reshape(z, &[36, 10]);
    b.output(back);
    let t = b.reshape(p, &[240]);
    b.output(t);
    b.output(p);
    let method = check(&b.finish());
    assert!(moves(&method).len() <= 2, "{:#?}", moves(&method));
}

#[test]
fn channels_last_inputs_and_outputs() {
    let mut b = Builder::default();
    let x = b.input(&[2, 8, 6, 6]);
    let y = b.conv(&[x], 16, 3, 1, &relu());
    let z = b.conv(&[y], 8, 3, 1, &relu());
    b.output(z);
    b.output(y);
    for v in [x, z] {
        b.program.values[v as usize].dim_order = Some(vec![0, 2, 3, 1]);
    }
    let method = check(&b.finish());
    assert_eq!(method.inputs()[0].dim_order, [0, 2, 3, 1]);
    assert_eq!(moves(&method), Vec::<String>::new());
}

#[test]
fn products_of_values() {
    let mut b = Builder::default();
    let x = b.input(&[2, 3, 4, 8]);
    let y = b.input(&[3, 8, 5]);
    let p = b.matmul(x, y);
    let w = b.plain(&[2, 3, 5, 7]);
    let r = b.plain(&[2, 3, 4, 7]);
    let q = b.matmul(p, w);
    if let OpKindT::MatMul(op) = &mut b.program.ops[1].kind {
        let act = Some(with!(ActT, kind = Activation::Relu));
        op.epilogue =
            Some(Box::new(with!(EpilogueT, bias = -1, scale = -1, shift = -1, residual = r, act2 = act)));
        op.scale = 0.5;
    }
    let t = b.permute(q, &[1, 0, 3, 2]);
    b.output(t);
    check(&b.finish());
}

#[test]
fn masked_and_grouped_attention() {
    for causal in [false, true] {
        let mut b = Builder::default();
        let q = b.input(&[1, 4, 5, 8]);
        let k = b.input(&[1, 2, 5, 8]);
        let v = b.input(&[1, 2, 5, 6]);
        let mask = b.plain(&[1, 1, 5, 5]);
        let out = b.attention(q, k, v);
        if let OpKindT::Attention(op) = &mut b.program.ops[0].kind {
            (op.mask, op.causal) = (mask, causal);
        }
        let rows = b.permute(out, &[0, 2, 1, 3]);
        let flat = b.reshape(rows, &[5, 24]);
        let s = b.softmax(flat, 1);
        b.output(s);
        let method = check(&b.finish());
        assert_eq!(moves(&method), Vec::<String>::new());
    }
}

#[test]
fn grouped_and_shuffled_convolutions() {
    let mut b = Builder::default();
    let x = b.input(&[1, 8, 5, 7]);
    let y = b.conv_with(&[x], 12, 3, 1, (4, 1), &relu());
    let z = b.conv_with(
        &[y, x],
        6,
        1,
        1,
        (1, 2),
        &Stages { bias: true, relu: true, scale: true, ..Stages::default() },
    );
    let w = b.pool(PoolKind::Average, z, 2, 2);
    b.output(w);
    check(&b.finish());
}

#[test]
fn outputs_that_are_inputs_or_constants() {
    let mut b = Builder::default();
    let x = b.input(&[2, 3]);
    let c = b.plain(&[3]);
    let y = b.unary(Activation::Relu, x);
    b.output(x);
    b.output(y);
    b.output(c);
    b.output(y);
    let model = b.finish();
    let method = check(&model);
    let copies = method.report().steps.iter().filter(|s| s.category == Category::DataMovement).count();
    assert_eq!(copies, 3);
}

#[test]
fn errors_name_stage_op_and_values() {
    let mut b = Builder::default();
    let x = b.input(&[1, 4, 6, 6]);
    let y = b.conv(&[x], 8, 3, 1, &relu());
    b.output(y);
    let good = b.finish();
    let error = |change: &dyn Fn(&mut Model)| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = bad.load(&LoadOptions::default()).err().expect("a refusal");
        (error.kind(), error.to_string())
    };
    let conv = |m: &mut Model, change: &dyn Fn(&mut ConvT)| {
        if let OpKindT::Conv(op) = &mut m.program.ops[0].kind {
            change(op);
        }
    };
    type Case<'a> = (&'a dyn Fn(&mut Model), ErrorKind, &'a str);
    let cases: [Case<'_>; 8] = [
        (&|m| conv(m, &|op| op.weight = 99), ErrorKind::InvalidProgram, "verify: op0: constant 99 of 2"),
        (&|m| conv(m, &|op| op.src = vec![-3]), ErrorKind::InvalidProgram, "verify: op0: reads value -3"),
        (
            &|m| conv(m, &|op| op.stride = vec![2, 2]),
            ErrorKind::InvalidProgram,
            "output is [1, 8, 6, 6], the op gives [1, 8, 3, 3]",
        ),
        (&|m| conv(m, &|op| op.kernel = vec![5, 5]), ErrorKind::InvalidProgram, "verify: op0:"),
        (&|m| m.program.constants[0].length -= 4, ErrorKind::InvalidProgram, "verify: op0: c0 has"),
        (&|m| m.program.constants[1].offset = 1 << 40, ErrorKind::InvalidProgram, "verify: c1:"),
        (
            &|m| m.program.values[0].dtype = DType::F16,
            ErrorKind::InvalidProgram,
            "verify: op0: v0 is F16, F32 expected",
        ),
        (&|m| m.program.entries[0].key = "none".to_owned(), ErrorKind::MissingConstant, "constant none"),
    ];
    for (change, kind, message) in cases {
        let (got, text) = error(change);
        assert!(got == kind && text.contains(message), "{got:?} {text}: {message} expected");
    }
}

#[test]
fn arguments_that_do_not_fit() {
    let mut b = Builder::default();
    let x = b.input(&[1, 4, 6, 6]);
    let y = b.unary(Activation::Relu, x);
    b.output(y);
    let model = b.finish();
    let mut method = model.load(&LoadOptions::default()).unwrap();
    let inputs = model.inputs(&method, 1);
    use tandem_engine::{Input, Output};
    let mut out = vec![0f32; 144];
    let mut call = |sizes: &[usize], order: &[u8], dtype: DType| {
        let input = Input { dtype, sizes, dim_order: order, bytes: bytemuck::cast_slice(&inputs[0]) };
        let output = Output {
            dtype: DType::F32,
            sizes: &[1, 4, 6, 6],
            dim_order: &[0, 1, 2, 3],
            bytes: bytemuck::cast_slice_mut(&mut out),
        };
        method.execute(&[input], &mut [output], 1, None)
    };
    for (sizes, order, dtype) in [
        (&[1, 4, 6, 5][..], &[0, 1, 2, 3][..], DType::F32),
        (&[4, 6, 6], &[0, 1, 2], DType::F32),
        (&[1, 4, 6, 6], &[0, 2, 3, 1], DType::F32),
        (&[1, 4, 6, 6], &[0, 1, 2, 3], DType::I32),
        (&[1, 4, 6, 6], &[0, 1, 7, 3], DType::F32),
    ] {
        let error = call(sizes, order, dtype).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let text = error.to_string();
        assert!(
            text.contains("v0") && text.contains(&format!("{sizes:?}")) && text.contains("[1, 4, 6, 6]"),
            "{text}"
        );
    }
    call(&[1, 4, 6, 6], &[0, 1, 2, 3], DType::F32).unwrap();
    assert!(out.iter().zip(&inputs[0]).all(|(y, x)| *y == x.max(0.0)));
}

#[test]
fn skewed_constants_are_copied_once() {
    let model = models::blocks(12, 16);
    let blob = tandem_schemas::write_program(&model.program);
    let options = LoadOptions { fast_math: false, ..LoadOptions::default() };
    let mut results = Vec::new();
    for skew in [0, 4, 1] {
        let mut method = tandem_engine::Method::load(&blob, model.constants(skew), &options).unwrap();
        let inputs = model.inputs(&method, 3);
        results.push(run(&mut method, &inputs, 1).unwrap());
    }
    assert!(results[0] == results[1] && results[0] == results[2]);
}

/// Keys that lie turned, and values, in whole vectors: nothing is packed, so there is no shared memory.
#[test]
fn attention_that_packs_nothing() {
    let mut b = Builder::default();
    let [q, turned, v] = [[1, 2, 40, 16], [1, 2, 16, 48], [1, 2, 48, 16]].map(|sizes| b.input(&sizes));
    let k = b.permute(turned, &[0, 1, 3, 2]);
    let out = b.attention(q, k, v);
    b.output(out);
    check(&b.finish());
}
