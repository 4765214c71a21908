//! How many threads a process of low power has: one test, as other tests' threads would be counted too.
#![cfg(target_os = "linux")]

mod common;

use common::{models, run};
use tandem_engine::{EngineChoice, LoadOptions, Power};

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn executes_use_few_threads() {
    let model = models::blocks(16, 16);
    let device = Some("apple-m4".to_owned());
    let engine = EngineChoice::Cpu;
    let options = LoadOptions { power: Power::Low, device, engine, ..LoadOptions::default() };
    let mut method = model.load(&options).unwrap();
    let inputs = model.inputs(&method, 2);
    let before = threads();
    let first = run(&mut method, &inputs, 8).unwrap();
    assert_eq!(threads() - before, 1, "beside the caller, of four fast cores");
    let mut method = model.load(&LoadOptions { power: Power::Balanced, ..options }).unwrap();
    assert!(run(&mut method, &inputs, 8).unwrap() == first);
    assert_eq!(threads() - before, 7);
}
