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
    /// Only these models, which may be of the zoo.
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
pub const MODELS: [(&str, f64); 6] = [
    ("squeezesam", 0.40),
    ("resnet18", 0.60),
    ("resnet50", 0.75),
    ("mobilenet_v2", 0.85),
    ("mobilenet_v3_large", 0.85),
    ("vit_b_16", 0.55),
];

/// Models of other kinds, which no ratio is asked of.
pub const ZOO: [&str; 9] = [
    "squeezesam_bn_first",
    "unet_gelu",
    "deeplabv3",
    "efficientnet_b0",
    "convnext_tiny",
    "swin_t",
    "deit_tiny",
    "whisper_encoder",
    "mobilebert",
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
    for (model, aim) in models(&options.model)? {
        let files = export(&built, model, &out.join(model))?;
        for &threads in &options.threads {
            let timings = compare(&built, &files, &[], threads, options.rounds)?;
            let cell = cell(&timings);
            println!(
                "{model:<20} {threads:>7} {:>11.2} {:>12.2} {:>7.3} {:>7}",
                cell.tandem_ms,
                cell.xnnpack_ms,
                cell.ratio,
                aim.map_or_else(String::new, |aim| format!("{aim:.2}"))
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

/// The models of these names, or those with a ratio to stay under, which comes with them.
fn models(names: &[String]) -> Result<Vec<(&'static str, Option<f64>)>, Error> {
    let aimed = MODELS.map(|(model, aim)| (model, Some(aim)));
    if names.is_empty() {
        return Ok(aimed.to_vec());
    }
    let all: Vec<_> = aimed.into_iter().chain(ZOO.map(|model| (model, None))).collect();
    let find = |name: &String| all.iter().find(|(model, _)| model == name).copied();
    names.iter().map(|name| find(name).ok_or_else(|| Error::Setup(format!("no model {name}")))).collect()
}

/// The exported files of a model, Tandem's first.
pub fn export(built: &Artifacts, model: &str, out: &Path) -> Result<Vec<PathBuf>, Error> {
    let what = format!("exporting {model}");
    let names: &[&str] = if model == "squeezesam" {
        built.export(&what, &["examples/squeezesam/export.py"], out)?;
        &["tandem", "xnnpack", "xnnpack_contiguous", "xnnpack_channels_last"]
    } else {
        built.export(&what, &["examples/zoo/export.py", "--model", model], out)?;
        &["tandem", "xnnpack"]
    };
    Ok(names
        .iter()
        .map(|name| out.join(format!("{model}.{name}.pte")))
        .filter(|path| path.exists())
        .collect())
}

/// Runs `tandem bench` on files, interleaved, each once with every one of `layouts` or with the default.
pub fn compare(
    built: &Artifacts,
    files: &[PathBuf],
    layouts: &[&str],
    threads: usize,
    rounds: usize,
) -> Result<Vec<Timing>, Error> {
    let json = env::target().join("bench/last.json");
    fs::create_dir_all(json.parent().expect("a folder")).map_err(Error::writing(&json))?;
    let mut bench = Command::new(&built.cli);
    bench.arg("bench").args(files).args(["--threads", &threads.to_string(), "--rounds", &rounds.to_string()]);
    for layout in layouts {
        bench.args(["--layout", layout]);
    }
    stage::quiet("measuring", bench.arg("--json").arg(&json))?;
    Ok(read_json::<BenchJson>(&json)?.files)
}

/// What a command wrote as JSON.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(Error::reading(path))?;
    serde_json::from_str(&text).map_err(|e| Error::Check(format!("{}: {e}", path.display())))
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
