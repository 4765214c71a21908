//! The same bits whatever the threads, and methods beside each other.

mod common;

use common::{models, run};
use tandem_engine::{LoadOptions, Tracer};

fn bits(outputs: &[Vec<f32>]) -> Vec<Vec<u32>> {
    outputs.iter().map(|o| o.iter().map(|x| x.to_bits()).collect()).collect()
}

/// Thread counts and repetitions; TANDEM_TEST_FEW is for emulators.
fn counts() -> (&'static [usize], usize) {
    if std::env::var_os("TANDEM_TEST_FEW").is_some() { (&[2, 3], 1) } else { (&[0, 2, 4, 1, 8, 3], 5) }
}

#[test]
fn bits_do_not_depend_on_threads_or_repetition() {
    for model in [models::squeezesam(32, 3, 32), models::blocks(48, 32), models::vit(16, 64, 2)] {
        for fast_math in [true, false] {
            let mut method = model.load(&LoadOptions { fast_math, ..LoadOptions::default() }).unwrap();
            let inputs = model.inputs(&method, 11);
            let first = bits(&run(&mut method, &inputs, 1).unwrap());
            let (counts, times) = counts();
            for &threads in counts {
                for _ in 0..times {
                    assert!(bits(&run(&mut method, &inputs, threads).unwrap()) == first, "{threads} threads");
                }
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_answer() {
    for isa in ["scalar", "avx2", "avx512"] {
        let model = models::blocks(16, 16);
        let mut options = LoadOptions::default();
        options.parse("isa", isa).unwrap();
        options.parse("algorithm", "direct").unwrap();
        let mut method = model.load(&options).unwrap();
        let inputs = model.inputs(&method, 2);
        let got = run(&mut method, &inputs, 2).unwrap();
        let want = common::reference::run(&model, &inputs);
        assert!(got[0].iter().zip(&want[0]).all(|(g, w)| (f64::from(*g) - w).abs() < 1e-4), "{isa}");
    }
}

#[test]
fn two_methods_on_two_threads() {
    let model = models::squeezesam(32, 2, 16);
    let mut method = model.load(&LoadOptions::default()).unwrap();
    let inputs = model.inputs(&method, 5);
    let first = run(&mut method, &inputs, 1).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let mut own = model.load(&LoadOptions::default()).unwrap();
                    for threads in [2, 4, 1, 3] {
                        assert!(run(&mut own, &inputs, threads).unwrap() == first);
                    }
                }
            });
        }
    });
}

/// Executions of each of two threads; TANDEM_TEST_FEW is for emulators.
fn executions() -> usize {
    if std::env::var_os("TANDEM_TEST_FEW").is_some() { 50 } else { 5000 }
}

#[test]
fn ten_thousand_executions_beside_loads_with_more_threads_than_cores() {
    let model = models::blocks(16, 16);
    let mut method = model.load(&LoadOptions::default()).unwrap();
    let inputs = model.inputs(&method, 7);
    let first = bits(&run(&mut method, &inputs, 1).unwrap());
    std::thread::scope(|scope| {
        let crowds = [[8, 1, 2], [1, 8, 5]].map(|crowd| {
            let (model, inputs, first) = (&model, &inputs, &first);
            scope.spawn(move || {
                let mut own = model.load(&LoadOptions::default()).unwrap();
                for threads in crowd.into_iter().cycle().take(executions()) {
                    assert!(bits(&run(&mut own, inputs, threads).unwrap()) == *first, "{threads} threads");
                }
            })
        });
        while !crowds.iter().all(|crowd| crowd.is_finished()) {
            let mut other = model.load(&LoadOptions::default()).unwrap();
            assert!(bits(&run(&mut other, &inputs, 3).unwrap()) == first);
        }
    });
}

#[test]
fn the_tracer_sees_every_step_in_order() {
    struct Seen(Vec<(usize, u64, u64)>);
    impl Tracer for Seen {
        fn step(&mut self, index: usize, start_ns: u64, end_ns: u64) {
            self.0.push((index, start_ns, end_ns));
        }
    }
    let model = models::blocks(16, 16);
    let mut method = model.load(&LoadOptions::default()).unwrap();
    let data = model.inputs(&method, 2);
    let mut result = vec![0f32; 20];
    let mut seen = Seen(Vec::new());
    let spec = (method.inputs()[0].clone(), method.outputs()[0].clone());
    let input = tandem_engine::Input {
        dtype: spec.0.dtype,
        sizes: &spec.0.sizes,
        dim_order: &spec.0.dim_order,
        bytes: bytemuck::cast_slice(&data[0]),
    };
    let output = tandem_engine::Output {
        dtype: spec.1.dtype,
        sizes: &spec.1.sizes,
        dim_order: &spec.1.dim_order,
        bytes: bytemuck::cast_slice_mut(&mut result),
    };
    method.execute(&[input], &mut [output], 2, Some(&mut seen)).unwrap();
    assert_eq!(seen.0.len(), method.report().steps.len());
    for (i, pair) in seen.0.windows(2).enumerate() {
        assert!(pair[0].0 == i && pair[0].1 <= pair[0].2 && pair[0].2 <= pair[1].1);
    }
}
