//! Options that say how plans come about and how much of a machine executes use.

mod common;

use std::path::PathBuf;

use common::{Builder, Model, Stages, models, run};
use tandem_engine::{Isa, LoadOptions, Method, Power, device};
use tandem_kernels::{Rates, TeamRates};

fn bits(outputs: &[Vec<f32>]) -> Vec<Vec<u32>> {
    outputs.iter().map(|o| o.iter().map(|x| x.to_bits()).collect()).collect()
}

/// What a plan is, but for the time it took.
fn plan(method: &Method) -> Vec<String> {
    let report = method.report();
    let steps = report.steps.iter().map(|step| format!("{step:?}"));
    steps
        .chain(report.values.iter().map(|value| format!("{value:?}")))
        .chain([report.basis.clone()])
        .collect()
}

/// A profile like a shipped one, whose cores are so many times as quick with vectors and as many.
fn profile(folder: &tempfile::TempDir, name: &str, times: usize) -> String {
    let mut device = device::find(Some("x86-server")).unwrap().device;
    name.clone_into(&mut device.name);
    for cores in &mut device.cores {
        cores.count *= times;
        cores.rates.iter_mut().for_each(|rates| rates.fma_gflops.value *= times as f64);
    }
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, device.text()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn deterministic_plans_follow_from_program_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let devices = [profile(&folder, "slow", 1), profile(&folder, "quick", 100)];
    for model in [models::squeezesam(32, 2, 16), models::vit(16, 32, 2)] {
        let load = |deterministic: bool, which: usize| {
            let threads = Some([1, 16][which]);
            let device = Some(devices[which].clone());
            model.load(&LoadOptions { deterministic, threads, device, ..LoadOptions::default() }).unwrap()
        };
        let [mut one, mut other] = [0, 1].map(|which| load(true, which));
        assert_eq!(plan(&one), plan(&other));
        assert!(one.report().basis.starts_with("deterministic, "), "{}", one.report().basis);
        let inputs = model.inputs(&one, 5);
        let first = bits(&run(&mut one, &inputs, 1).unwrap());
        for threads in [2, 5, 1] {
            assert!(bits(&run(&mut other, &inputs, threads).unwrap()) == first, "{threads} threads");
        }
        let [slow, quick] = [0, 1].map(|which| plan(&load(false, which)));
        assert_ne!(slow, quick, "profiles and threads count otherwise");
    }
}

fn shared_product() -> Model {
    let mut b = Builder::default();
    let rows = b.input(&[1200, 160]);
    let z = b.linear(rows, 200, &Stages { bias: true, ..Stages::default() });
    b.output(z);
    b.finish()
}

/// A split stays as planned whatever is seen, and its bits are those of one that follows.
#[test]
fn deterministic_splits_stay() {
    let model = shared_product();
    let cores = Isa::detect() & (Isa::AVX2 | Isa::NEON);
    let team = TeamRates { threads: 2, cores: 2.0, ..TeamRates::default() };
    let mut rates = Rates { team, ..Rates::default() };
    rates.unit.f32_gflops = 1.5 * rates.fma_gflops;
    let options = LoadOptions {
        isa: Some(cores | Isa::EMULATED_SME2_512),
        rates: Some(rates),
        ..LoadOptions::default()
    };
    let load = |deterministic| model.load(&LoadOptions { deterministic, ..options.clone() }).unwrap();
    let [mut settled, mut follows] = [true, false].map(load);
    let reason = |method: &Method| method.report().steps[0].reason.clone();
    assert_eq!(reason(&settled), format!("always {}", reason(&follows)));
    let inputs = model.inputs(&settled, 5);
    let first = bits(&run(&mut follows, &inputs, 1).unwrap());
    for threads in [1, 2, 4] {
        assert!(bits(&run(&mut settled, &inputs, threads).unwrap()) == first, "{threads} threads");
    }
}

/// Threads planned for by a device of four fast cores, with and without its unit.
#[test]
fn low_power_plans_for_few_threads() {
    let model = models::blocks(16, 16);
    let basis = |isa: Isa, power| {
        let device = Some("apple-m4".to_owned());
        let options = LoadOptions { isa: Some(isa), power, device, ..LoadOptions::default() };
        let mut method = model.load(&options).unwrap();
        let inputs = model.inputs(&method, 2);
        let outputs = [1, 2, 8].map(|threads| bits(&run(&mut method, &inputs, threads).unwrap()));
        assert!(outputs.iter().all(|output| *output == outputs[0]));
        method.report().basis.clone()
    };
    let cores = Isa::detect() & (Isa::AVX2 | Isa::NEON);
    let m4 = "apple-m4 (named by an option)";
    assert_eq!(basis(cores, Power::Balanced), format!("{m4}, 10 threads"));
    assert_eq!(basis(cores, Power::Low), format!("{m4}, 2 threads; low power"));
    assert_eq!(basis(cores | Isa::EMULATED_SME2_512, Power::Low), format!("{m4}, 1 threads; low power"));
}

#[test]
fn options_say_what_they_take() {
    let mut options = LoadOptions::default();
    options.parse("power", "low").unwrap();
    options.parse("deterministic", "on").unwrap();
    assert_eq!((options.power, options.deterministic), (Power::Low, true));
    for (key, takes) in [("power", "balanced or low"), ("deterministic", "on or off")] {
        let error = options.parse(key, "perhaps").unwrap_err().to_string();
        assert!(error.contains(takes), "{error}");
    }
}
