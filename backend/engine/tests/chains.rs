//! Convolutions computed together give the bits they give apart, and only where nobody else reads what lies between.

mod common;

use common::{Builder, Model, Random, Stages, check_with, run};
use tandem_base::Isa;
use tandem_engine::{LoadOptions, Method};
use tandem_kernels::Rates;
use tandem_schemas::program::*;

/// Cores alone, a matrix unit may be quicker op by op, and an L2 that what lies between leaves.
fn options(chains: bool) -> LoadOptions {
    let cores = Isa::AVX2 | Isa::AVX512 | Isa::NEON;
    let isa = Some(Isa::detect() & cores);
    let rates = Some(Rates { l2_bytes: 256e3, ..Rates::default() });
    LoadOptions { isa, chains, fast_math: false, rates, ..LoadOptions::default() }
}

fn biased() -> Stages {
    Stages { bias: true, relu: true, ..Stages::default() }
}

/// An inverted bottleneck, every op with a handle of its own.
fn bottleneck(b: &mut Builder, x: i32, wide: usize, to: usize, stride: usize) -> i32 {
    let from = b.sizes(x)[1];
    let residual = (from == to && stride == 1).then_some(x);
    let wide = b.conv(&[x], wide, 1, 1, &biased());
    let deep = b.depthwise(wide, 3, stride, &biased());
    let out = b.conv(&[deep], to, 1, 1, &Stages { bias: true, residual, ..Stages::default() });
    for (handle, op) in b.program.ops.iter_mut().enumerate() {
        op.debug_handles = Some(vec![handle as i32 + 1]);
    }
    out
}

/// Two of them, large enough that what lies between leaves L2.
fn large() -> Model {
    let mut b = Builder::default();
    let image = b.input(&[1, 3, 96, 96]);
    let x = b.conv(&[image], 16, 3, 2, &biased());
    let x = bottleneck(&mut b, x, 96, 16, 1);
    let x = bottleneck(&mut b, x, 96, 24, 2);
    b.output(x);
    b.finish()
}

fn chains(method: &Method) -> usize {
    method.report().steps.iter().filter(|step| step.kernel.ends_with("-chain")).count()
}

/// Answers with chains are those without, bit for bit; how many chains there are.
fn same_bits(model: &Model) -> usize {
    let mut apart = model.load(&options(false)).unwrap();
    assert_eq!(chains(&apart), 0);
    let mut together = model.load(&options(true)).unwrap();
    let inputs = model.inputs(&apart, 3);
    let want = run(&mut apart, &inputs, 1).unwrap();
    for threads in [1, 2, 3] {
        let got = run(&mut together, &inputs, threads).unwrap();
        let same = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(got.iter().zip(&want).all(same), "{:#?}", together.report().steps);
    }
    chains(&together)
}

#[test]
fn bottlenecks_are_chains() {
    let model = large();
    assert!(same_bits(&model) >= 2);
    let (apart, together) = (check_with(&model, &options(false)), check_with(&model, &options(true)));
    let [apart, together] = [apart.report(), together.report()];
    assert!(3 * together.arena_bytes < 2 * apart.arena_bytes, "{}", together.arena_bytes);
    let handles = |report: &tandem_engine::Report| {
        let mut all: Vec<u32> = report.steps.iter().flat_map(|step| step.debug_handles.clone()).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(handles(apart), handles(together));
    let flops = |report: &tandem_engine::Report| report.steps.iter().map(|step| step.flops).sum::<f64>();
    assert!((flops(apart) - flops(together)).abs() < 1.0);
    let chain = together.steps.iter().find(|step| step.kernel.ends_with("-chain")).unwrap();
    assert!(chain.reason.starts_with("with op") && chain.shape.matches('→').count() >= 2, "{chain:?}");
}

#[test]
fn what_others_read_is_written() {
    for kind in 0..3 {
        let mut b = Builder::default();
        let image = b.input(&[1, 16, 48, 48]);
        let wide = b.conv(&[image], 96, 1, 1, &biased());
        let residual = (kind == 0).then_some(wide);
        let deep = b.depthwise(wide, 3, 1, &Stages { bias: true, residual, ..Stages::default() });
        if kind == 1 {
            b.output(wide);
        }
        let sum = if kind == 2 { b.binary(BinaryKind::Add, deep, wide) } else { deep };
        b.output(sum);
        assert_eq!(same_bits(&b.finish()), 0, "kind {kind}");
    }
}

#[test]
fn random_networks() {
    let mut found = 0;
    for seed in 0..40 {
        let mut r = Random(seed);
        let mut b = Builder::default();
        let channels = [8, 16, 24][r.below(3)];
        let mut x = b.input(&[1 + r.below(2), channels, 9 + r.below(40), 9 + r.below(40)]);
        for _ in 0..1 + r.below(4) {
            let (wide, stride) = (16 * (1 + r.below(6)), 1 + r.below(2));
            x = match r.below(4) {
                0 => b.conv(&[x], wide, 3, stride, &biased()),
                1 => b.depthwise(x, 5, stride, &biased()),
                _ => {
                    let to = if r.below(2) == 0 { b.sizes(x)[1] } else { 24 };
                    bottleneck(&mut b, x, wide, to, stride)
                }
            };
        }
        b.output(x);
        found += same_bits(&b.finish());
    }
    assert!(found > 10, "{found} chains");
}
