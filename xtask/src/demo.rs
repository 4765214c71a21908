//! SqueezeSAM through Tandem and XNNPACK side by side.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use crate::artifacts::{self, Artifacts};
use crate::bench::{self, Timing};
use crate::env;
use crate::stage::{self, Error};

/// How to run it.
#[derive(clap::Args)]
pub struct Options {
    /// Threads of the comparison and the profile.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Interleaved rounds of the comparison.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

#[derive(Serialize)]
struct Summary {
    model: String,
    params: u64,
    gmac: f64,
    delegates: u64,
    portable_ops: u64,
    transposes: u64,
    max_abs_err: f64,
    max_rel_err: f64,
    threads: usize,
    tandem_ms: f64,
    xnnpack_ms: f64,
    ratio: f64,
}

/// Exports, compares, profiles and writes the mask, the page and the summary under `target/demo`.
pub fn run(options: &Options) -> Result<(), Error> {
    let built = artifacts::build()?;
    let out = env::target().join("demo");
    let files = bench::export(&built, "squeezesam", &out)?;
    let timings = bench::compare(&built, &files, &[], options.threads, options.rounds)?;
    profile(&built, &files, &out, options)?;
    let mask = mask(&built, &out)?;
    print_forms(&timings);
    let summary = summarise(&out, &mask, &timings, options.threads)?;
    let path = out.join("summary.json");
    let text = serde_json::to_string_pretty(&summary).expect("plain data");
    fs::write(&path, &text).map_err(Error::writing(&path))?;
    println!("{text}");
    for name in ["mask.png", "profile.html", "summary.json"] {
        println!("{}", out.join(name).display());
    }
    Ok(())
}

fn profile(
    built: &Artifacts,
    files: &[std::path::PathBuf],
    out: &Path,
    options: &Options,
) -> Result<(), Error> {
    let mut profile = Command::new(&built.cli);
    profile.arg("profile").args(files).args(["--threads", &options.threads.to_string()]);
    profile.arg("--json").arg(out.join("profile.json")).arg("--html").arg(out.join("profile.html"));
    stage::loud("tandem profile", &mut profile)
}

/// Runs the example on its photo; it writes the picture and what it measured against eager.
fn mask(built: &Artifacts, out: &Path) -> Result<serde_json::Value, Error> {
    let mut run = built.python.command();
    run.args(["examples/squeezesam/run.py", "--model"]).arg(out.join("squeezesam.tandem.pte"));
    run.arg("--out").arg(out.join("mask.png")).arg("--json").arg(out.join("mask.json"));
    stage::quiet("cutting out the photo's subject, with Tandem and with eager", &mut run)?;
    read_json(&out.join("mask.json"))
}

fn print_forms(timings: &[Timing]) {
    println!("\n{:<44} {:>9} {:>9} {:>14}", "form", "wall ms", "CPU ms", "Tandem / form");
    for timing in timings {
        let name = timing.file.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        let ratio = timings[0].wall_ms / timing.wall_ms;
        println!("{name:<44} {:>9.1} {:>9.1} {ratio:>14.3}", timing.wall_ms, timing.cpu_ms);
    }
}

fn summarise(
    out: &Path,
    mask: &serde_json::Value,
    timings: &[Timing],
    threads: usize,
) -> Result<Summary, Error> {
    let profile = read_json(&out.join("profile.json"))?;
    let tandem = &profile["models"][0];
    let count = |value: &serde_json::Value, key: &str| {
        value[key]
            .as_u64()
            .ok_or_else(|| Error::Check(format!("no {key} in the profile or the mask's figures")))
    };
    let figure = |key: &str| mask[key].as_f64().ok_or_else(|| Error::Check(format!("no {key} in mask.json")));
    let cell = bench::cell(timings);
    Ok(Summary {
        model: "squeezesam".to_owned(),
        params: count(mask, "params")?,
        gmac: figure("gmac")?,
        delegates: count(tandem, "delegates")?,
        portable_ops: count(tandem, "portable_ops")?,
        transposes: count(tandem, "transposes")?,
        max_abs_err: figure("max_abs_err")?,
        max_rel_err: figure("max_rel_err")?,
        threads,
        tandem_ms: cell.tandem_ms,
        xnnpack_ms: cell.xnnpack_ms,
        ratio: cell.ratio,
    })
}

fn read_json(path: &Path) -> Result<serde_json::Value, Error> {
    let text = fs::read_to_string(path).map_err(Error::reading(path))?;
    serde_json::from_str(&text).map_err(|e| Error::Check(format!("{}: {e}", path.display())))
}
