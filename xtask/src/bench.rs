//! Tandem against XNNPACK: every benchmark model, interleaved in one process, at one and two threads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::artifacts::{self, Artifacts};
use crate::env;
use crate::stage::{self, Error};

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Only these models.
    #[arg(long)]
    model: Vec<String>,
    /// Interleaved rounds per model and thread count.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Thread counts.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
}

/// Models and the ratio Tandem / XNNPACK each is meant to stay under.
const MODELS: [(&str, f64); 6] = [
    ("squeezesam", 0.40),
    ("resnet18", 0.60),
    ("resnet50", 0.75),
    ("mobilenet_v2", 0.85),
    ("mobilenet_v3_large", 0.85),
    ("vit_b_16", 0.55),
];

/// One file's figures as `tandem bench --json` writes them.
#[derive(Clone, Debug, Deserialize)]
pub struct Timing {
    /// Path of the file.
    pub file: PathBuf,
    /// Median wall time of an inference.
    pub wall_ms: f64,
    /// Median process CPU time of an inference.
    pub cpu_ms: f64,
}

/// `tandem bench --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct BenchJson {
    /// One entry a file, in the order given.
    pub files: Vec<Timing>,
}

/// One cell of `summary.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Medians, Tandem and the fastest XNNPACK form.
    pub tandem_ms: f64,
    /// As above.
    pub xnnpack_ms: f64,
    /// tandem_ms / xnnpack_ms
    pub ratio: f64,
    /// CPU time of the same inferences.
    pub tandem_cpu_ms: f64,
    /// As above.
    pub xnnpack_cpu_ms: f64,
}

/// Exports, measures, prints the table and writes `target/bench/summary.json`.
pub fn run(options: &Options) -> Result<(), Error> {
    let built = artifacts::build()?;
    let out = env::target().join("bench");
    let mut summary: BTreeMap<String, BTreeMap<String, Cell>> = BTreeMap::new();
    println!(
        "{:<20} {:>7} {:>11} {:>12} {:>7} {:>7}",
        "model", "threads", "tandem ms", "xnnpack ms", "ratio", "aim"
    );
    for (model, aim) in MODELS {
        if !options.model.is_empty() && !options.model.iter().any(|m| m == model) {
            continue;
        }
        let files = export(&built, model, &out.join(model))?;
        for &threads in &options.threads {
            let timings = compare(&built, &files, threads, options.rounds)?;
            let cell = cell(&timings);
            println!(
                "{model:<20} {threads:>7} {:>11.2} {:>12.2} {:>7.3} {aim:>7.2}",
                cell.tandem_ms, cell.xnnpack_ms, cell.ratio
            );
            summary.entry(model.to_owned()).or_default().insert(threads.to_string(), cell);
        }
    }
    let path = out.join("summary.json");
    let text = serde_json::to_string_pretty(&summary).expect("plain data");
    fs::write(&path, text).map_err(Error::writing(&path))?;
    println!("{}", path.display());
    Ok(())
}

/// The exported files of a model, Tandem's first.
pub fn export(built: &Artifacts, model: &str, out: &Path) -> Result<Vec<PathBuf>, Error> {
    let what = format!("exporting {model}");
    let names: &[&str] = if model == "squeezesam" {
        built.export(&what, &["examples/squeezesam/export.py"], out)?;
        &["tandem", "xnnpack", "xnnpack_contiguous", "xnnpack_channels_last"]
    } else {
        built.export(&what, &["examples/torchvision/export.py", "--model", model], out)?;
        &["tandem", "xnnpack"]
    };
    Ok(names
        .iter()
        .map(|name| out.join(format!("{model}.{name}.pte")))
        .filter(|path| path.exists())
        .collect())
}

/// Runs `tandem bench` on files, interleaved.
pub fn compare(
    built: &Artifacts,
    files: &[PathBuf],
    threads: usize,
    rounds: usize,
) -> Result<Vec<Timing>, Error> {
    let json = env::target().join("bench/last.json");
    fs::create_dir_all(json.parent().expect("a folder")).map_err(Error::writing(&json))?;
    let mut bench = Command::new(&built.cli);
    bench.arg("bench").args(files).args(["--threads", &threads.to_string(), "--rounds", &rounds.to_string()]);
    stage::quiet("measuring", bench.arg("--json").arg(&json))?;
    let text = fs::read_to_string(&json).map_err(Error::reading(&json))?;
    let parsed: BenchJson =
        serde_json::from_str(&text).map_err(|e| Error::Check(format!("{}: {e}", json.display())))?;
    Ok(parsed.files)
}

/// Tandem (first) against the fastest of the rest.
pub fn cell(timings: &[Timing]) -> Cell {
    let tandem = &timings[0];
    let xnnpack =
        timings[1..].iter().min_by(|a, b| a.wall_ms.total_cmp(&b.wall_ms)).expect("an XNNPACK form");
    Cell {
        tandem_ms: tandem.wall_ms,
        xnnpack_ms: xnnpack.wall_ms,
        ratio: tandem.wall_ms / xnnpack.wall_ms,
        tandem_cpu_ms: tandem.cpu_ms,
        xnnpack_cpu_ms: xnnpack.cpu_ms,
    }
}
