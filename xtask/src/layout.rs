//! The layout pass against the rule it replaces, on every model of the benchmarks and the zoo, interleaved in one process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::artifacts::{self, Artifacts};
use crate::bench::{self, MODELS, ZOO};
use crate::env;
use crate::stage::{self, Error};

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Only these models.
    #[arg(long)]
    model: Vec<String>,
    /// Measure these exported files instead.
    #[arg(long)]
    file: Vec<PathBuf>,
    /// Interleaved rounds per model.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Threads of an execution.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// The two policies, the one to compare with first.
const POLICIES: [&str; 2] = ["greedy", "state"];

/// `tandem explain --json`, as far as it is wanted here.
#[derive(Deserialize)]
struct Explained {
    delegates: Vec<Delegate>,
}

#[derive(Deserialize)]
struct Delegate {
    conversions: Vec<Moved>,
    total_ns: f64,
    plan_ns: u64,
}

#[derive(Deserialize)]
struct Moved {
    bytes: f64,
    predicted_ns: f64,
}

/// A policy's figures for a model.
#[derive(Clone, Debug, Serialize)]
struct Figures {
    /// Steps that only move data.
    conversions: usize,
    /// Bytes these read and write.
    bytes: f64,
    /// Their predicted time.
    conversions_ns: f64,
    /// Predicted time of all steps.
    predicted_ns: f64,
    plan_ns: u64,
    /// Median wall time of an inference.
    wall_ms: f64,
}

/// One entry of `summary.json`.
#[derive(Serialize)]
struct Entry {
    greedy: Figures,
    state: Figures,
    /// Wall time, greedy over state.
    speedup: f64,
}

/// Exports, explains, measures, prints the table and writes `target/layout/summary.json`.
pub fn run(options: &Options) -> Result<(), Error> {
    let built = artifacts::build()?;
    let out = env::target().join("layout");
    fs::create_dir_all(&out).map_err(Error::writing(&out))?;
    let mut summary = BTreeMap::new();
    println!(
        "{:<20} {:>7} {:>11} {:>11} {:>13} {:>11} {:>11}",
        "model", "layout", "conversions", "KiB moved", "predicted ms", "wall ms", "plan ms"
    );
    for (model, file) in files(&built, options)? {
        let timings =
            bench::compare(&built, std::slice::from_ref(&file), &POLICIES, options.threads, options.rounds)?;
        let [greedy, state] = [0, 1].map(|i| figures(&built, &out, &file, POLICIES[i], timings[i].wall_ms));
        let (greedy, state) = (greedy?, state?);
        for (policy, f) in POLICIES.iter().zip([&greedy, &state]) {
            println!(
                "{model:<20} {policy:>7} {:>11} {:>11.1} {:>13.3} {:>11.3} {:>11.2}",
                f.conversions,
                f.bytes / 1024.0,
                f.predicted_ns * 1e-6,
                f.wall_ms,
                f.plan_ns as f64 * 1e-6
            );
        }
        let speedup = greedy.wall_ms / state.wall_ms;
        summary.insert(model, Entry { greedy, state, speedup });
    }
    let path = out.join("summary.json");
    let text = serde_json::to_string_pretty(&summary).expect("plain data");
    fs::write(&path, text).map_err(Error::writing(&path))?;
    println!("{}", path.display());
    Ok(())
}

/// Names and files of what is to be measured.
fn files(built: &Artifacts, options: &Options) -> Result<Vec<(String, PathBuf)>, Error> {
    if !options.file.is_empty() {
        let name =
            |file: &PathBuf| file.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        return Ok(options.file.iter().map(|file| (name(file), file.clone())).collect());
    }
    let wanted = |model: &&str| options.model.is_empty() || options.model.iter().any(|m| m == model);
    let mut files = Vec::new();
    for model in MODELS.iter().map(|(model, _)| *model).chain(ZOO).filter(wanted) {
        let exported = bench::export(built, model, &env::target().join("bench").join(model))?;
        files.push((model.to_owned(), exported[0].clone()));
    }
    Ok(files)
}

/// What `tandem explain` says of a file, summed over its delegates.
fn figures(built: &Artifacts, out: &Path, file: &Path, policy: &str, wall_ms: f64) -> Result<Figures, Error> {
    let json = out.join("explain.json");
    let mut explain = Command::new(&built.cli);
    explain.arg("explain").arg(file).args(["--layout", policy, "--json"]).arg(&json);
    stage::quiet("explaining", &mut explain)?;
    let delegates = bench::read_json::<Explained>(&json)?.delegates;
    let moved = || delegates.iter().flat_map(|d| &d.conversions);
    Ok(Figures {
        conversions: moved().count(),
        bytes: moved().fold(0.0, |sum, m| sum + m.bytes),
        conversions_ns: moved().fold(0.0, |sum, m| sum + m.predicted_ns),
        predicted_ns: delegates.iter().map(|d| d.total_ns).sum(),
        plan_ns: delegates.iter().map(|d| d.plan_ns).sum(),
        wall_ms,
    })
}
