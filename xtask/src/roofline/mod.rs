//! Predictions against measurements, step by step, and the roofline they lie under.

mod picture;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::artifacts::{self, Artifacts};
use crate::bench;
use crate::env;
use crate::stage::{self, Error};

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// Only these models of the benchmarks and the zoo.
    #[arg(long, default_values_t = MODELS.map(str::to_owned))]
    model: Vec<String>,
    /// Rounds; in each, every model is executed with every candidate.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Executions of a model with a candidate in a round.
    #[arg(long, default_value_t = 15)]
    repeat: usize,
    /// Threads of an execution.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Plan with this profile instead of one measured now.
    #[arg(long)]
    device: Option<PathBuf>,
}

/// The models whose steps are compared.
const MODELS: [&str; 4] = ["squeezesam", "resnet50", "mobilenet_v3_large", "vit_b_16"];
/// Rows measured of a step: the pick and the next best predicted.
const CANDIDATES: usize = 3;

/// `tandem profile --json`, as far as it is wanted here.
#[derive(Deserialize)]
struct Profiled {
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    traced_ms: f64,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    place: String,
    shape: String,
    kernel: String,
    ms: f64,
    predicted_ms: Option<f64>,
    flops: Option<f64>,
    bytes: Option<f64>,
}

/// A step with all that was measured of it.
#[derive(Clone, Debug, Serialize)]
struct Step {
    name: String,
    shape: String,
    kernel: String,
    /// Of the pick: the least of the rounds' medians, since a prediction is of a machine that has nothing else to do.
    ms: f64,
    predicted_ms: f64,
    /// |predicted - measured| / measured
    error: f64,
    flops: f64,
    bytes: f64,
    /// Kernels of the candidates with their times, likewise, the pick first.
    candidates: Vec<(String, f64)>,
    /// How much longer the pick takes than the quickest candidate, relative to that.
    regret: f64,
}

/// A model's sums.
#[derive(Debug, Serialize)]
struct Total {
    measured_ms: f64,
    predicted_ms: f64,
    /// (predicted - measured) / measured
    error: f64,
    median_error: f64,
    p90_error: f64,
    regret: f64,
}

/// `summary.json`
#[derive(Serialize)]
struct Summary {
    threads: usize,
    median_error: f64,
    p90_error: f64,
    /// Mean over steps.
    regret: f64,
    totals: BTreeMap<String, Total>,
    steps: BTreeMap<String, Vec<Step>>,
}

/// Measures, prints the table and writes `target/roofline/`: `summary.json`, `roofline.svg`, `device.toml`.
pub fn run(options: &Options) -> Result<(), Error> {
    let built = artifacts::build()?;
    let out = env::target().join("roofline");
    fs::create_dir_all(&out).map_err(Error::writing(&out))?;
    let mut files = BTreeMap::new();
    for model in &options.model {
        let exported = bench::export(&built, model, &env::target().join("bench").join(model))?;
        files.insert(model.clone(), exported[0].clone());
    }
    let device = device(&built, options, &out)?;
    let mut samples: BTreeMap<String, Vec<Model>> = BTreeMap::new();
    for _ in 0..options.rounds {
        for (model, file) in &files {
            for candidate in 0..CANDIDATES {
                let sample = profile(&built, options, &out, &device, file, candidate)?;
                samples.entry(model.clone()).or_default().push(sample);
            }
        }
    }
    let summary = summary(options.threads, &samples)?;
    print(&summary);
    let picture = out.join("roofline.svg");
    let text = picture::draw(&read_device(&device)?, summary.steps.values().flatten(), options.threads);
    fs::write(&picture, text).map_err(Error::writing(&picture))?;
    let path = out.join("summary.json");
    let text = serde_json::to_string_pretty(&summary).expect("plain data");
    fs::write(&path, text).map_err(Error::writing(&path))?;
    println!("{}\n{}", picture.display(), path.display());
    Ok(())
}

/// The profile to plan with, measured now unless one is given.
fn device(built: &Artifacts, options: &Options, out: &Path) -> Result<PathBuf, Error> {
    if let Some(device) = &options.device {
        return Ok(device.clone());
    }
    let device = out.join("device.toml");
    stage::quiet(
        "measuring this machine",
        Command::new(&built.cli).arg("characterize").arg("--output").arg(&device),
    )?;
    Ok(device)
}

/// What the picture needs of a profile.
fn read_device(path: &Path) -> Result<picture::Ceilings, Error> {
    let text = fs::read_to_string(path).map_err(Error::reading(path))?;
    picture::Ceilings::parse(&text).map_err(|what| Error::Check(format!("{}: {what}", path.display())))
}

/// One profile with the `candidate`-th row of every step.
fn profile(
    built: &Artifacts,
    options: &Options,
    out: &Path,
    device: &Path,
    file: &Path,
    candidate: usize,
) -> Result<Model, Error> {
    let json = out.join("profile.json");
    let mut command = Command::new(&built.cli);
    command.arg("profile").arg(file).args(["--top", "0"]).arg("--json").arg(&json);
    command.args(["--threads", &options.threads.to_string(), "--repeat", &options.repeat.to_string()]);
    command.env("TANDEM_DEVICE", device).env("TANDEM_CANDIDATE", candidate.to_string());
    stage::quiet("profiling", &mut command)?;
    let mut profiled: Profiled = bench::read_json(&json)?;
    profiled.models.pop().ok_or_else(|| Error::Check(format!("{}: no model", json.display())))
}

fn summary(threads: usize, samples: &BTreeMap<String, Vec<Model>>) -> Result<Summary, Error> {
    let (mut totals, mut steps) = (BTreeMap::new(), BTreeMap::new());
    for (model, samples) in samples {
        let of = steps_of(samples).ok_or_else(|| Error::Check(format!("{model}: runs of other steps")))?;
        let measured_ms = least(samples.iter().step_by(CANDIDATES).map(|sample| sample.traced_ms));
        let predicted_ms = of.iter().map(|step| step.predicted_ms).sum();
        let error = (predicted_ms - measured_ms) / measured_ms;
        let [median_error, p90_error, regret] = figures(of.iter());
        totals.insert(
            model.clone(),
            Total { measured_ms, predicted_ms, error, median_error, p90_error, regret },
        );
        steps.insert(model.clone(), of);
    }
    let [median_error, p90_error, regret] = figures(steps.values().flatten());
    Ok(Summary { threads, median_error, p90_error, regret, totals, steps })
}

/// Median and 90th percentile of errors, mean regret.
fn figures<'s>(steps: impl Iterator<Item = &'s Step>) -> [f64; 3] {
    let (mut errors, regrets): (Vec<f64>, Vec<f64>) = steps.map(|step| (step.error, step.regret)).unzip();
    errors.sort_by(f64::total_cmp);
    let at = |share: f64| errors.get(((errors.len() as f64 - 1.0) * share).round() as usize).copied();
    let regret = regrets.iter().sum::<f64>() / regrets.len().max(1) as f64;
    [at(0.5).unwrap_or_default(), at(0.9).unwrap_or_default(), regret]
}

/// A model's steps, of samples that went through the candidates in turn; none where they are not of the same steps.
fn steps_of(samples: &[Model]) -> Option<Vec<Step>> {
    let rows = |sample: &'static str, model: &Model| -> Vec<usize> {
        (0..model.rows.len()).filter(|&row| model.rows[row].place == sample).collect()
    };
    let places: Vec<Vec<usize>> = samples.iter().map(|sample| rows("tandem", sample)).collect();
    let count = places.first()?.len();
    let same = |(sample, place): (&Model, &Vec<usize>)| {
        place.len() == count
            && place.iter().zip(&places[0]).all(|(&a, &b)| sample.rows[a].name == samples[0].rows[b].name)
    };
    samples.iter().zip(&places).all(same).then(|| {
        let row = |sample: usize, step: usize| &samples[sample].rows[places[sample][step]];
        (0..count).map(|step| one(samples.len(), |sample| row(sample, step))).collect()
    })
}

/// A step by its row in every sample.
fn one<'r>(samples: usize, row: impl Fn(usize) -> &'r Row) -> Step {
    let candidate = |which: usize| {
        let taken = (which..samples).step_by(CANDIDATES);
        (row(which).kernel.clone(), least(taken.map(|sample| row(sample).ms)))
    };
    let mut candidates: Vec<(String, f64)> = Vec::new();
    for which in 0..CANDIDATES.min(samples) {
        let (kernel, ms) = candidate(which);
        if candidates.iter().all(|(known, _)| *known != kernel) {
            candidates.push((kernel, ms));
        }
    }
    let (first, ms) = (row(0), candidates[0].1);
    let predicted_ms = first.predicted_ms.unwrap_or_default();
    let least = least(candidates.iter().map(|(_, ms)| *ms));
    Step {
        name: first.name.clone(),
        shape: first.shape.clone(),
        kernel: first.kernel.clone(),
        ms,
        predicted_ms,
        error: (predicted_ms - ms).abs() / ms,
        flops: first.flops.unwrap_or_default(),
        bytes: first.bytes.unwrap_or_default(),
        candidates,
        regret: ms / least - 1.0,
    }
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn print(summary: &Summary) {
    println!(
        "{:<20} {:>6} {:>12} {:>13} {:>7} {:>13} {:>10} {:>7}",
        "model", "steps", "measured ms", "predicted ms", "error", "median error", "p90 error", "regret"
    );
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    for (model, total) in &summary.totals {
        println!(
            "{model:<20} {:>6} {:>12.2} {:>13.2} {:>7} {:>13} {:>10} {:>7}",
            summary.steps[model].len(),
            total.measured_ms,
            total.predicted_ms,
            percent(total.error),
            percent(total.median_error),
            percent(total.p90_error),
            percent(total.regret)
        );
    }
    println!(
        "all steps: median error {}, 90th percentile {}, mean regret {} (aims: 15 %, 35 %, 5 %; totals 10 %)",
        percent(summary.median_error),
        percent(summary.p90_error),
        percent(summary.regret)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(rows: &[(&str, &str, f64)]) -> Model {
        let row = |&(name, kernel, ms): &(&str, &str, f64)| Row {
            name: name.to_owned(),
            place: "tandem".to_owned(),
            shape: String::new(),
            kernel: kernel.to_owned(),
            ms,
            predicted_ms: Some(1.0),
            flops: Some(2.0),
            bytes: Some(4.0),
        };
        Model { traced_ms: 3.0, rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn candidates_are_compared_by_the_least_of_rounds() {
        let round = |a: f64, b: f64| {
            [model(&[("x", "one", a)]), model(&[("x", "two", b)]), model(&[("x", "two", 9.0)])]
        };
        let samples: Vec<Model> =
            [round(2.0, 1.0), round(1.5, 1.2), round(1.6, 5.0)].into_iter().flatten().collect();
        let steps = steps_of(&samples).unwrap();
        assert_eq!(steps[0].candidates, [("one".to_owned(), 1.5), ("two".to_owned(), 1.0)]);
        assert!((steps[0].regret - 0.5).abs() < 1e-12);
        assert!((steps[0].error - 0.5 / 1.5).abs() < 1e-12);
    }

    #[test]
    fn runs_of_other_steps_are_told() {
        assert!(steps_of(&[model(&[("x", "one", 1.0)]), model(&[("y", "one", 1.0)])]).is_none());
    }
}
