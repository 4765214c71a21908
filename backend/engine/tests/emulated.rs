//! Whole programs on the matrix unit, planned and run on any machine: the unit is emulated.

mod common;

use common::{Builder, Model, check_with, models, run};
use tandem_engine::{Isa, LoadOptions, Method};

const UNITS: [&str; 3] = ["emulated-sme2-128", "emulated-sme2-256", "emulated-sme2-512"];

/// An emulated unit beside cores with these instruction sets.
fn beside(cores: Isa, unit: &str) -> LoadOptions {
    let isa = Some(cores | Isa::parse(unit).unwrap());
    LoadOptions { isa, fast_math: false, ..LoadOptions::default() }
}

fn networks() -> [Model; 3] {
    [models::squeezesam(32, 2, 16), models::blocks(24, 16), models::vit(16, 32, 2)]
}

/// Ops of the steps that rows of `unit` compute; every report names one beside the rows it was preferred to.
fn in_unit(method: &Method, unit: &str) -> Vec<&'static str> {
    let steps = method.report().steps.iter().filter(|step| step.engine == "sme");
    let (_, bits) = unit.rsplit_once('-').unwrap();
    let ops = steps.map(|step| {
        let kernel = &step.kernel;
        assert!(kernel.starts_with("emulated-") && kernel.ends_with(bits), "{kernel}: {}", step.reason);
        assert!(step.reason.contains(unit) && step.reason.contains("scalar-reference"), "{}", step.reason);
        step.op
    });
    ops.collect()
}

#[test]
fn networks_at_every_vector_length() {
    for model in networks() {
        for unit in UNITS {
            // Cores with vectors take what is small.
            for (cores, least) in [(Isa::SCALAR, 8), (Isa::detect() & (Isa::AVX2 | Isa::NEON), 3)] {
                let method = check_with(&model, &beside(cores, unit));
                let ops = in_unit(&method, unit);
                assert!(ops.len() >= least, "{unit} beside {cores}: {ops:?}");
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for model in networks() {
        let mut method = model.load(&beside(Isa::detect(), UNITS[2])).unwrap();
        let inputs = model.inputs(&method, 3);
        let alone = run(&mut method, &inputs, 1).unwrap();
        for threads in [2, 4] {
            let together = run(&mut method, &inputs, threads).unwrap();
            let same = |(a, b): (&Vec<f32>, &Vec<f32>)| {
                a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
            };
            assert!(alone.iter().zip(&together).all(same), "{threads} threads");
        }
    }
}

#[test]
fn softmax_and_depthwise() {
    for unit in UNITS {
        let mut b = Builder::default();
        let x = b.input(&[1, 20, 12, 12]);
        let deep = b.depthwise(x, 3, 1, &common::Stages { bias: true, relu: true, ..Default::default() });
        b.output(deep);
        let rows = b.input(&[20, 144]);
        let y = b.softmax(rows, 1);
        b.output(y);
        let method = check_with(&b.finish(), &beside(Isa::SCALAR, unit));
        assert_eq!(in_unit(&method, unit), ["Depthwise", "Softmax"]);
    }
}

#[test]
fn nobody_gets_an_emulated_unit_unasked() {
    for model in networks() {
        let method = model.load(&LoadOptions::default()).unwrap();
        for step in &method.report().steps {
            assert!(!step.kernel.contains("emulated"), "{}", step.reason);
        }
        assert!(!method.report().isa.to_string().contains("emulated"));
    }
}
