//! Whole programs on the matrix unit, planned and run on any machine: the unit is emulated.

mod common;

use common::{Builder, Model, check_with, given, models, run, taken};
use tandem_base::sme;
use tandem_engine::{Entry, Input, Isa, LoadOptions, Method, Output, TensorSpec, Tracer};
use tandem_kernels::{Rates, TeamRates, f16, panels};
use tandem_schemas::program::{DType, Format};

const UNITS: [&str; 3] = ["emulated-sme2-128", "emulated-sme2-256", "emulated-sme2-512"];

/// Those to test: one, where the environment asks for few tests, as emulators of whole processors do.
fn units() -> &'static [&'static str] {
    if std::env::var_os("TANDEM_TEST_FEW").is_some() { &UNITS[2..] } else { &UNITS }
}

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
        for &unit in units() {
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
            assert!(same_bits(&alone, &together), "{threads} threads");
        }
    }
}

fn same_bits(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
    let bits = |all: &[Vec<f32>]| all.iter().map(|x| x.iter().map(|x| x.to_bits()).collect()).collect();
    let [a, b]: [Vec<Vec<u32>>; 2] = [bits(a), bits(b)];
    a == b
}

/// Convolutions and products large enough to share: a third segment, a residual, a batch of products.
fn large() -> Model {
    let mut b = Builder::default();
    let x = b.input(&[1, 24, 40, 40]);
    let stages = common::Stages { bias: true, relu: true, ..Default::default() };
    let deep = b.conv(&[x], 48, 3, 1, &stages);
    let y = b.conv(&[x, deep], 48, 3, 1, &common::Stages { residual: Some(deep), ..stages });
    b.output(y);
    let rows = b.input(&[1200, 160]);
    let z = b.linear(rows, 200, &stages);
    b.output(z);
    let [left, right] = [[4, 200, 64], [4, 64, 150]].map(|sizes| b.input(&sizes));
    let product = b.matmul(left, right);
    b.output(product);
    b.finish()
}

/// Planned for two threads and a unit little quicker than a core, executed on one and more: the bits of cores alone,
/// whoever computes what.
#[test]
fn units_and_cores_share_steps() {
    let (model, cores) = (large(), Isa::detect() & (Isa::AVX2 | Isa::NEON));
    let alone = LoadOptions { isa: Some(cores), fast_math: false, ..LoadOptions::default() };
    let mut alone = model.load(&alone).unwrap();
    let inputs = model.inputs(&alone, 3);
    let expected = run(&mut alone, &inputs, 1).unwrap();
    for &unit in units() {
        let mut rates =
            Rates { team: TeamRates { threads: 2, cores: 2.0, ..TeamRates::default() }, ..Rates::default() };
        rates.unit.f32_gflops = 1.5 * rates.fma_gflops;
        let options = LoadOptions { rates: Some(rates), ..beside(cores, unit) };
        let mut method = check_with(&model, &options);
        let both = method.report().steps.iter().filter(|step| step.engine == "both");
        let both: Vec<&str> = both.map(|step| step.op).collect();
        let shared = ["Conv", "Linear", "MatMul"].iter().all(|op| both.contains(op));
        assert!(shared, "{unit}: {:#?}", method.report().steps);
        for threads in [1, 2, 4, 8] {
            let together = run(&mut method, &inputs, threads).unwrap();
            assert!(same_bits(&expected, &together), "{unit}, {threads} threads");
        }
        let one = LoadOptions { rates: Some(Rates { team: TeamRates::default(), ..rates }), ..options };
        let steps = model.load(&one).unwrap().report().steps.clone();
        assert!(steps.iter().all(|step| step.engine != "both"), "one thread shares with nobody");
    }
}

/// A batch of products of f16, shared: the same bits every time on as many threads, near those of f32.
#[test]
fn units_and_cores_share_halves() {
    let (exact, cores) = (batch_of_products(), Isa::detect() & (Isa::AVX2 | Isa::NEON));
    let mut halves = exact.clone();
    halves.program.values.iter_mut().for_each(|value| value.dtype = DType::F16);
    let whole = check_with(&exact, &LoadOptions { fast_math: false, ..LoadOptions::default() });
    // What f16 holds, so that both multiply the same.
    let round = |x: &f32| f16::from_f32(*x).to_f32();
    let inputs: Vec<Vec<f32>> =
        exact.inputs(&whole, 3).iter().map(|all| all.iter().map(round).collect()).collect();
    let narrow: Vec<Vec<f16>> =
        inputs.iter().map(|all| all.iter().map(|x| f16::from_f32(*x)).collect()).collect();
    let mut whole = whole;
    let want = &run(&mut whole, &inputs, 1).unwrap()[0];
    for &unit in units() {
        let mut rates =
            Rates { team: TeamRates { threads: 2, cores: 2.0, ..TeamRates::default() }, ..Rates::default() };
        rates.unit.f16_gflops = rates.fma_gflops;
        let options = LoadOptions { rates: Some(rates), ..beside(cores, unit) };
        let mut method = halves.load(&options).unwrap();
        assert_eq!(method.report().steps[0].engine, "both", "{unit}: {:#?}", method.report().steps);
        for threads in [1, 2, 4] {
            let mut execute = || in_halves(&mut method, &narrow, threads);
            let first = execute();
            assert!((0..3).all(|_| execute() == first), "{unit}, {threads} threads");
            // Rounded once: half a unit in the last of 11 bits of the largest, and as much for f32's other order.
            let range = want.iter().fold(0f32, |most, x| most.max(x.abs()));
            let near = first.iter().zip(want).all(|(a, b)| (a.to_f32() - b).abs() <= range / 1024.0);
            assert!(near, "{unit}, {threads} threads");
        }
    }
}

/// What a program of f16 answers.
fn in_halves(method: &mut Method, inputs: &[Vec<f16>], threads: usize) -> Vec<f16> {
    let (specs, out) = (method.inputs().to_vec(), method.outputs().to_vec());
    let given: Vec<Input<'_>> = specs.iter().zip(inputs).map(|(s, data)| host(s, data)).collect();
    let (sizes, dim_order) = (&out[0].sizes, &out[0].dim_order);
    let mut got = vec![f16::ZERO; sizes.iter().product()];
    let mut taken =
        [Output { dtype: DType::F16, sizes, dim_order, bytes: bytemuck::cast_slice_mut(&mut got) }];
    method.execute(&given, &mut taken, threads, None).unwrap();
    got
}

fn batch_of_products() -> Model {
    let mut b = Builder::default();
    let [left, right] = [[4, 200, 64], [4, 64, 150]].map(|sizes| b.input(&sizes));
    let product = b.matmul(left, right);
    b.output(product);
    b.finish()
}

fn host<'a>(spec: &'a TensorSpec, data: &'a [f16]) -> Input<'a> {
    let TensorSpec { sizes, dim_order, .. } = spec;
    Input { dtype: DType::F16, sizes, dim_order, bytes: bytemuck::cast_slice(data) }
}

/// What a tracer is told.
#[derive(Default)]
struct Seen {
    entries: Vec<(usize, Entry)>,
    steps: Vec<(u64, u64)>,
}

impl Tracer for Seen {
    fn entry(&mut self, index: usize, entry: Entry) {
        assert_eq!(index, self.steps.len(), "before its step");
        self.entries.push((index, entry));
    }
    fn step(&mut self, _: usize, start_ns: u64, end_ns: u64) {
        self.steps.push((start_ns, end_ns));
    }
}

/// Of one unit and several threads, at no moment two are there, and the trace tells who was.
#[test]
fn the_tracer_sees_who_is_in_the_unit() {
    let model = large();
    let team = TeamRates { threads: 2, cores: 2.0, ..TeamRates::default() };
    let mut rates = Rates { team, ..Rates::default() };
    rates.unit.f32_gflops = 1.5 * rates.fma_gflops;
    let options = LoadOptions { rates: Some(rates), ..beside(Isa::detect(), UNITS[2]) };
    let mut method = model.load(&options).unwrap();
    let inputs = model.inputs(&method, 3);
    let specs = (method.inputs().to_vec(), method.outputs().to_vec());
    let mut results: Vec<Vec<f32>> = specs.1.iter().map(|s| vec![0.0; s.sizes.iter().product()]).collect();
    for threads in [1, 2, 4, 8] {
        let (given, mut taken) = (given(&specs.0, &inputs), taken(&specs.1, &mut results));
        let mut seen = Seen::default();
        method.execute(&given, &mut taken, threads, Some(&mut seen)).unwrap();
        let steps = &method.report().steps;
        assert_eq!(seen.steps.len(), steps.len());
        for (index, step) in steps.iter().enumerate() {
            let in_unit = seen.entries.iter().any(|(of, _)| *of == index);
            // What is seen may move a step that either engine computes.
            let stays = method.seen(index).is_none();
            assert!(!stays || step.engine != "sme" || in_unit, "{step:?}");
            assert!(!stays || step.engine != "cpu" || !in_unit, "{step:?}");
        }
        for (index, entry) in &seen.entries {
            let (start, end) = seen.steps[*index];
            assert!(start <= entry.start_ns && entry.start_ns <= entry.end_ns && entry.end_ns <= end);
        }
        let mut all: Vec<Entry> = seen.entries.iter().map(|(_, entry)| *entry).collect();
        all.sort_by_key(|entry| entry.start_ns);
        let there =
            |at: &Entry| all.iter().filter(|e| e.start_ns < at.end_ns && at.start_ns < e.end_ns).count();
        assert!(all.iter().all(|entry| there(entry) <= sme::units()), "{threads} threads: {all:?}");
        assert!(threads > 1 || all.iter().all(|entry| entry.thread == 0));
    }
}

/// Heads of more queries than one group, on a unit that multiplies quicker than cores: products there, exponentials on cores,
/// the bits those of cores alone.
#[test]
fn units_and_cores_share_attention() {
    let mut b = Builder::default();
    let [q, k, v] = [[2, 3, 200, 16], [2, 3, 180, 16], [2, 3, 180, 16]].map(|sizes| b.input(&sizes));
    let out = b.attention(q, k, v);
    b.output(out);
    let (model, cores) = (b.finish(), Isa::detect() & (Isa::AVX2 | Isa::NEON));
    let alone = LoadOptions { isa: Some(cores), ..LoadOptions::default() };
    let mut alone = model.load(&alone).unwrap();
    let inputs = model.inputs(&alone, 3);
    let expected = run(&mut alone, &inputs, 1).unwrap();
    for &unit in units() {
        for planned in [1, 4] {
            let team = TeamRates { threads: planned, cores: planned as f64, ..TeamRates::default() };
            let rates = Some(Rates { team, ..Rates::default() });
            let mut method = check_with(&model, &LoadOptions { rates, ..beside(cores, unit) });
            let step = &method.report().steps[0];
            assert!(step.engine == "both" && step.reason.contains("groups in the matrix unit"), "{step:?}");
            for threads in [1, 3] {
                let together = run(&mut method, &inputs, threads).unwrap();
                assert!(same_bits(&expected, &together), "{unit}, {threads} threads");
            }
        }
    }
}

/// Projections in a unit write keys turned, for products of both engines to read where they lie, and values by tokens.
#[test]
fn projections_write_what_attention_reads() {
    let mut b = Builder::default();
    let x = b.input(&[1, 180, 96]);
    let stages = common::Stages { bias: true, ..Default::default() };
    let projected = [0, 1, 2].map(|_| b.linear(x, 96, &stages));
    let [q, k, v] = projected.map(|rows| {
        let heads = b.reshape(rows, &[1, 180, 3, 32]);
        b.permute(heads, &[0, 2, 1, 3])
    });
    let out = b.attention(q, k, v);
    b.output(out);
    let (model, cores) = (b.finish(), Isa::detect() & (Isa::AVX2 | Isa::NEON));
    let names = projected.map(|value| model.program.values[value as usize].name.clone());
    let alone = LoadOptions { isa: Some(cores), ..LoadOptions::default() };
    let mut alone = model.load(&alone).unwrap();
    let inputs = model.inputs(&alone, 3);
    let expected = run(&mut alone, &inputs, 1).unwrap();
    for &unit in units() {
        let team = TeamRates { threads: 4, cores: 4.0, ..TeamRates::default() };
        let rates = Some(Rates { team, ..Rates::default() });
        let mut method = check_with(&model, &LoadOptions { rates, ..beside(cores, unit) });
        let values = &method.report().values;
        let layouts = names.each_ref().map(|name| {
            let value = values.iter().find(|value| &value.name == name).unwrap();
            value.layout.as_str()
        });
        assert_eq!(layouts, ["ntc", "nct", "ntc"], "{unit}");
        for threads in [1, 3] {
            let together = run(&mut method, &inputs, threads).unwrap();
            assert!(same_bits(&expected, &together), "{unit}, {threads} threads");
        }
    }
}

fn convolutions() -> Model {
    let mut b = Builder::default();
    let x = b.input(&[1, 40, 44, 50]);
    let stages = common::Stages { bias: true, relu: true, ..Default::default() };
    let w = b.conv(&[x], 64, 1, 1, &stages);
    let y = b.conv(&[w], 72, 3, 1, &stages);
    let z = b.conv(&[w, y], 64, 3, 1, &common::Stages { residual: Some(w), ..stages });
    let z = b.conv(&[z], 20, 1, 1, &stages);
    b.output(z);
    b.finish()
}

/// k and columns of their weights.
const WEIGHTS: [[usize; 2]; 4] = [[40, 64], [9 * 64, 72], [9 * 136, 64], [64, 20]];

/// The same of f16, weights in words of two k.
fn convolutions_of_halves() -> Model {
    let mut model = convolutions();
    model.program.values.iter_mut().for_each(|value| value.dtype = DType::F16);
    let panels = model.program.constants.iter_mut().filter(|c| c.format == Format::Panels);
    for (constant, [k, n]) in panels.zip(WEIGHTS) {
        let first = constant.offset as usize;
        let bytes = &mut model.bytes[first..first + constant.length as usize];
        let from: Vec<f32> = bytes.chunks(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect();
        let to =
            panels::pack_words(2, k, n, |k_of, n_of| f16::from_f32(from[panels::index(k, n, k_of, n_of)]));
        (constant.dtype, constant.length) = (DType::F16, 2 * to.len() as u64);
        bytes[..2 * to.len()].copy_from_slice(bytemuck::cast_slice(&to));
    }
    model
}

/// Engines of steps by Winograd, and whether several have a part.
fn winograd(method: &Method) -> Vec<(&'static str, bool)> {
    let steps = method.report().steps.iter().filter(|step| step.kernel.contains("winograd"));
    steps.map(|step| (step.engine, step.parts.len() > 1)).collect()
}

/// Quick enough for the products, too slow to sum directly.
fn quick_unit() -> Rates {
    let team = TeamRates { threads: 4, cores: 4.0, ..TeamRates::default() };
    let mut rates = Rates { team, ..Rates::default() };
    (rates.unit.f32_gflops, rates.unit.copy_gelems) = (8.0 * rates.fma_gflops, 200.0);
    rates.unit.f16_gflops = rates.unit.f32_gflops;
    rates
}

/// 3x3 convolutions of f16 likewise: those of cores alone but for roundings of what is not transformed, and the same every time.
#[test]
fn units_and_cores_share_winograd_of_halves() {
    let (model, cores) = (convolutions_of_halves(), Isa::detect() & (Isa::AVX2 | Isa::NEON));
    let mut alone = model.load(&LoadOptions { isa: Some(cores), ..LoadOptions::default() }).unwrap();
    assert_eq!(winograd(&alone), [("cpu", false); 2], "{:#?}", alone.report().steps);
    let inputs = model.inputs(&alone, 3);
    let inputs: Vec<Vec<f16>> =
        inputs.iter().map(|all| all.iter().map(|x| f16::from_f32(*x)).collect()).collect();
    let expected = in_halves(&mut alone, &inputs, 1);
    let range = expected.iter().fold(0f32, |most, x| most.max(x.to_f32().abs()));
    for &unit in units() {
        let options = LoadOptions { rates: Some(quick_unit()), fast_math: true, ..beside(cores, unit) };
        let mut method = model.load(&options).unwrap();
        assert_eq!(winograd(&method), [("both", true); 2], "{:#?}", method.report().steps);
        for threads in [1, 3] {
            let first = in_halves(&mut method, &inputs, threads);
            assert!(in_halves(&mut method, &inputs, threads) == first, "{unit}, {threads} threads");
            // A rounding of 11 bits in each of the layers around, and what the next ones make of it.
            let near =
                first.iter().zip(&expected).all(|(a, b)| (a.to_f32() - b.to_f32()).abs() <= range / 256.0);
            assert!(near, "{unit}, {threads} threads");
        }
    }
}

/// A 3x3 convolution by Winograd: products in a unit, transforms on cores, the bits those of cores alone.
#[test]
fn units_and_cores_share_winograd() {
    let (model, cores) = (convolutions(), Isa::detect() & (Isa::AVX2 | Isa::NEON));
    let alone = LoadOptions { isa: Some(cores), ..LoadOptions::default() };
    let mut alone = model.load(&alone).unwrap();
    assert_eq!(winograd(&alone), [("cpu", false); 2], "{:#?}", alone.report().steps);
    let inputs = model.inputs(&alone, 3);
    let expected = run(&mut alone, &inputs, 1).unwrap();
    for &unit in units() {
        let options = LoadOptions { rates: Some(quick_unit()), fast_math: true, ..beside(cores, unit) };
        let mut method = model.load(&options).unwrap();
        assert_eq!(winograd(&method), [("both", true); 2], "{:#?}", method.report().steps);
        for threads in [1, 3] {
            let together = run(&mut method, &inputs, threads).unwrap();
            assert!(same_bits(&expected, &together), "{unit}, {threads} threads");
        }
        // What an emulated unit takes is far from what was assumed, and seen.
        let steps = 0..method.report().steps.len();
        let shared = steps.filter_map(|i| Some((method.report().steps[i].engine, method.seen(i)?)));
        let shared: Vec<_> = shared.collect();
        assert!(shared.iter().filter(|(engine, _)| *engine == "both").count() >= 2, "{shared:?}");
        for (_, seen) in shared {
            assert!(seen.computed.iter().sum::<u64>() > 0 && seen.pace != seen.predicted, "{seen:?}");
            assert!((0.0..=1.0).contains(&seen.share), "{seen:?}");
        }
    }
}

#[test]
fn softmax_and_depthwise() {
    for &unit in units() {
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

/// A unit that is far slower than planned with: cores come in, with the same bits, and what was seen says so.
#[test]
fn a_slow_unit_is_left() {
    let mut b = Builder::default();
    let x = b.input(&[64, 96]);
    let y = b.linear(x, 160, &common::Stages { bias: true, relu: true, ..Default::default() });
    b.output(y);
    let model = b.finish();
    for &unit in units() {
        for threads in [1, 2] {
            let rates = |gflops| {
                let mut rates =
                    Rates { team: TeamRates { threads, ..TeamRates::default() }, ..Rates::default() };
                rates.unit.f32_gflops = gflops;
                Some(rates)
            };
            let options = LoadOptions { rates: rates(1e4), ..beside(Isa::detect(), unit) };
            let mut method = model.load(&options).unwrap();
            assert_ne!(method.report().steps[0].engine, "cpu", "{unit}");
            let inputs = model.inputs(&method, 3);
            let first = run(&mut method, &inputs, threads).unwrap();
            for _ in 0..60 {
                assert!(same_bits(&first, &run(&mut method, &inputs, threads).unwrap()), "{unit}");
            }
            let seen = method.seen(0).expect("either engine may compute it");
            let [cores, units] = seen.computed;
            assert!(seen.share > 0.5 && cores > 0 && units > 0, "{seen:?}");
            assert!(seen.pace.unit > 2.0 * seen.predicted.unit, "{seen:?}");
            // Settled plans stay as they are.
            let fixed = LoadOptions { deterministic: true, ..options };
            assert!(model.load(&fixed).unwrap().seen(0).is_none());
        }
    }
}
