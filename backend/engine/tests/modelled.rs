//! What plans say of time: parts of steps, other stacks, products without a program.

mod common;

use common::{Builder, Model, Stages, check_with};
use tandem_engine::{
    Category, EngineChoice, Isa, LoadOptions, Shape, Stack, StepReport, device, place, stand_in,
};
use tandem_kernels::Rates;

fn m4() -> device::Device {
    device::find(Some("apple-m4")).unwrap().device
}

fn rates(threads: usize) -> Rates {
    let mut rates = m4().rates(stand_in(&m4()), Some(threads));
    rates.unit.f32_gflops = 3.0 * rates.fma_gflops;
    rates
}

/// For an Apple M4 with two threads and a slow unit, so that small steps are shared.
fn options() -> LoadOptions {
    let isa = stand_in(&m4());
    LoadOptions { isa: Some(isa), rates: Some(rates(2)), fast_math: false, ..LoadOptions::default() }
}

/// Two convolutions, the second over both results, with everything an epilogue may have; then a product.
fn network() -> Model {
    let mut b = Builder::default();
    let x = b.input(&[1, 24, 40, 40]);
    let stages = Stages { bias: true, relu: true, scale: true, ..Stages::default() };
    let deep = b.conv(&[x], 48, 3, 1, &stages);
    let y = b.conv(&[x, deep], 48, 3, 1, &Stages { residual: Some(deep), ..stages });
    b.output(y);
    let rows = b.input(&[1200, 160]);
    let z = b.linear(rows, 200, &Stages { bias: true, ..Stages::default() });
    b.output(z);
    b.finish()
}

fn steps(options: &LoadOptions) -> Vec<StepReport> {
    network().load(options).unwrap().report().steps.clone()
}

fn total(steps: &[StepReport]) -> f64 {
    steps.iter().map(|step| step.predicted_ns).sum()
}

/// Parts lie within their step, the last one ends with it (or a hand-off before), and they are all of its arithmetic.
#[test]
fn parts_are_their_step() {
    for stack in [Stack::Tandem, Stack::Xnnpack] {
        for step in steps(&LoadOptions { stack, ..options() }) {
            let end = step.parts.iter().map(|part| part.start_ns + part.ns).fold(0.0, f64::max);
            let late = step.predicted_ns - end;
            assert!((-1e-6 * end..=1e-6 * end + 1000.0).contains(&late), "{step:?}");
            let share: f64 = step.parts.iter().map(|part| part.share).sum();
            assert!((share - 1.0).abs() < 1e-9, "{step:?}");
            let engines = |engine| step.parts.iter().any(|part| part.engine == engine);
            assert_eq!(step.engine == "both", stack == Stack::Tandem && engines("cpu") && engines("sme"));
        }
    }
}

#[test]
fn engines_can_be_kept_from_working_together() {
    let both = steps(&options());
    let shared = |steps: &[StepReport]| steps.iter().any(|step| step.engine == "both");
    assert!(shared(&both), "{both:#?}");
    for apart in
        [LoadOptions { engine: EngineChoice::Sme, ..options() }, LoadOptions { overlap: false, ..options() }]
    {
        let apart = steps(&apart);
        assert!(!shared(&apart) && apart.iter().any(|step| step.engine == "sme"));
        assert!(total(&both) < total(&apart));
    }
}

/// Nothing runs differently, and what is fused here is a pass there.
#[test]
fn xnnpack_packs_and_passes() {
    let options = LoadOptions { stack: Stack::Xnnpack, ..options() };
    check_with(&network(), &options);
    let xnnpack = steps(&options);
    assert!(total(&xnnpack) > total(&steps(&LoadOptions { stack: Stack::Tandem, ..options.clone() })));
    let names = |op: &str| -> Vec<Vec<&'static str>> {
        let of = |step: &StepReport| step.parts.iter().map(|part| part.name).collect();
        let computes = |step: &&StepReport| step.op == op && step.category != Category::DataMovement;
        xnnpack.iter().filter(computes).map(of).collect()
    };
    assert_eq!(names("Linear"), [["packing", "product"]]);
    let [first, second] = names("Conv").try_into().unwrap();
    let no_transposes = |names: Vec<&'static str>| -> Vec<&str> {
        names.into_iter().filter(|name| !name.starts_with("transpose")).collect()
    };
    let [first, second] = [first, second].map(no_transposes);
    assert_eq!(first, ["packing", "product", "batch norm"]);
    assert_eq!(second, ["concatenation", "packing", "product", "batch norm", "residual"]);
    // Threads make a unit no quicker, but what cores do.
    let one = steps(&LoadOptions { rates: Some(rates(1)), ..options });
    let spent = |steps: &[StepReport], name| -> f64 {
        let parts = steps.iter().flat_map(|step| &step.parts).filter(|part| part.name == name);
        parts.map(|part| part.ns).sum()
    };
    let quicker = |name| spent(&one, name) / spent(&xnnpack, name);
    assert_eq!((quicker("packing"), quicker("product")), (1.0, 1.0));
    assert!((1.5..=2.0).contains(&quicker("batch norm")), "{}", quicker("batch norm"));
}

#[test]
fn products_are_placed_without_a_program() {
    let isa = stand_in(&m4());
    assert!(isa.has(Isa::EMULATED_SME2_512));
    let rates = m4().rates(isa, Some(4));
    let engine = |m| {
        let placed = place(Shape::Linear { m, k: 3072, n: 8192 }, isa, &rates).unwrap();
        let alone = placed.cores_ns.unwrap().min(placed.units_ns.unwrap());
        assert!(placed.ns <= alone && (0.0..=1.0).contains(&placed.unit_share), "{placed:?}");
        // No quicker than memory and both engines at their peaks.
        assert!(placed.ns >= placed.bytes / rates.team.dram_gbs);
        assert!(placed.flops / placed.ns <= rates.unit.f32_gflops + rates.team.cores * rates.fma_gflops);
        placed.engine
    };
    assert_eq!(engine(1), "cpu");
    assert_ne!(engine(256), "cpu");
    assert_eq!(engine(8192), "both");
    let shape = Shape::Convolution { channels: [64, 64], size: [256, 256], kernel: 3 };
    assert_ne!(place(shape, isa, &rates).unwrap().engine, "cpu");
    let phone = device::find(Some("armv8-phone")).unwrap().device;
    let isa = stand_in(&phone);
    let placed = place(shape, isa, &phone.rates(isa, None)).unwrap();
    assert_eq!((placed.engine, placed.units_ns), ("cpu", None));
}
