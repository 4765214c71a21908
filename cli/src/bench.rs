//! `tandem bench`

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Error;
use crate::machine::Machine;
use crate::model::{self, Layout, Model, Spent};
use crate::profile::table;
use crate::stats::{Progress, median, ms};
use crate::tensor::Tensor;

/// What to compare.
#[derive(clap::Args)]
pub struct Options {
    /// Files to compare, all taking the same inputs; ratios are the first one's time over each.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Threads of an execution.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How Tandem decides where values lie; with several, every file is loaded once with each.
    #[arg(long, value_delimiter = ',')]
    layout: Vec<Layout>,
    /// Executions of each file, taken in turn.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seed of the inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The form of `--json`.
#[derive(Debug, Serialize)]
struct Document {
    machine: Machine,
    threads: usize,
    rounds: u32,
    files: Vec<Figures>,
}

/// A file's figures. Times are medians.
#[derive(Clone, Debug, Serialize)]
struct Figures {
    file: PathBuf,
    wall_ms: f64,
    cpu_ms: f64,
    min_wall_ms: f64,
    /// The first file's wall time over this one's.
    ratio: f64,
    /// Median of the ratios of neighbouring executions.
    paired_ratio: f64,
    /// Outputs against the first file's: greatest difference, and the same over the range of the output.
    max_abs_diff: f64,
    max_rel_diff: f64,
    wall_samples_ms: Vec<f64>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<(), Error> {
    model::set_threads(options.threads)?;
    let mut models = load(options)?;
    let outputs = warm_up(&mut models)?;
    let spent = measure(&mut models, options.rounds)?;
    let files = figures(&models, &outputs, &spent);
    print(&files, options);
    if let Some(path) = &options.json {
        let machine = Machine::measure();
        let document = Document { machine, threads: options.threads, rounds: options.rounds, files };
        let text = serde_json::to_string_pretty(&document).expect("plain data");
        fs::write(path, text).map_err(Error::file(path))?;
    }
    Ok(())
}

/// Loads all files and gives them the same inputs.
fn load(options: &Options) -> Result<Vec<Model>, Error> {
    let mut models = Vec::new();
    let mut inputs: Option<Vec<Tensor>> = None;
    let given = options.layout.iter().copied().map(Some).collect::<Vec<_>>();
    let layouts = if given.is_empty() { &[None][..] } else { &given };
    for (file, &layout) in options.files.iter().flat_map(|file| layouts.iter().map(move |l| (file, l))) {
        let mut model = Model::load(file, false, layout)?;
        if inputs.is_none() {
            inputs = Some(model.seeded_inputs(options.seed)?);
        }
        model.set_inputs(inputs.as_deref().unwrap_or_default())?;
        models.push(model);
    }
    Ok(models)
}

/// Two executions each and at least a fifth of a second; returns the outputs.
fn warm_up(models: &mut [Model]) -> Result<Vec<Vec<Tensor>>, Error> {
    let mut outputs = Vec::new();
    for model in models {
        let start = Instant::now();
        model.execute()?;
        model.execute()?;
        while start.elapsed() < Duration::from_millis(200) {
            model.execute()?;
        }
        outputs.push(model.outputs()?);
    }
    Ok(outputs)
}

/// Executes the models in turn, A B C A B C ..., each on a machine that the one before has left.
fn measure(models: &mut [Model], rounds: u32) -> Result<Vec<Vec<Spent>>, Error> {
    let mut spent = vec![Vec::new(); models.len()];
    let progress = Progress::new("measuring", rounds as usize);
    for _ in 0..rounds {
        for (model, spent) in models.iter_mut().zip(&mut spent) {
            model::settle();
            spent.push(model.execute()?);
        }
        progress.step();
    }
    Ok(spent)
}

fn figures(models: &[Model], outputs: &[Vec<Tensor>], spent: &[Vec<Spent>]) -> Vec<Figures> {
    let walls: Vec<Vec<f64>> = spent.iter().map(|s| s.iter().map(|s| ms(s.wall)).collect()).collect();
    let first = median(&walls[0]);
    let one = |i: usize| {
        let cpus: Vec<f64> = spent[i].iter().map(|s| ms(s.cpu)).collect();
        let pairs: Vec<f64> = walls[0].iter().zip(&walls[i]).map(|(a, b)| a / b).collect();
        let (max_abs_diff, max_rel_diff) = difference(&outputs[0], &outputs[i]);
        Figures {
            file: models[i].path().to_owned(),
            wall_ms: median(&walls[i]),
            cpu_ms: median(&cpus),
            min_wall_ms: walls[i].iter().copied().fold(f64::INFINITY, f64::min),
            ratio: first / median(&walls[i]),
            paired_ratio: median(&pairs),
            max_abs_diff,
            max_rel_diff,
            wall_samples_ms: walls[i].clone(),
        }
    };
    (0..models.len()).map(one).collect()
}

/// Greatest differences over all outputs; infinite where their number differs.
fn difference(a: &[Tensor], b: &[Tensor]) -> (f64, f64) {
    if a.len() != b.len() {
        return (f64::INFINITY, f64::INFINITY);
    }
    let each = a.iter().zip(b).map(|(a, b)| a.difference(b));
    each.fold((0.0, 0.0), |worst, one| (worst.0.max(one.0), worst.1.max(one.1)))
}

fn print(files: &[Figures], options: &Options) {
    println!("{} threads, {} rounds, medians", options.threads, options.rounds);
    let header = ["file", "wall ms", "least", "CPU ms", "first / this", "max abs diff", "of range"];
    let mut out = table::table(&header, &[1, 2, 3, 4, 5, 6]);
    for f in files {
        let name = f.file.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        out.add_row([
            name,
            format!("{:.3}", f.wall_ms),
            format!("{:.3}", f.min_wall_ms),
            format!("{:.3}", f.cpu_ms),
            format!("{:.3}", f.ratio),
            format!("{:.2e}", f.max_abs_diff),
            format!("{:.2e}", f.max_rel_diff),
        ]);
    }
    println!("{out}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Element;

    #[test]
    fn differences_are_the_worst_of_all_outputs() {
        let one = Tensor::seeded(Element::F32, &[50], 1);
        let two = Tensor::seeded(Element::F32, &[50], 2);
        assert_eq!(difference(std::slice::from_ref(&one), std::slice::from_ref(&one)), (0.0, 0.0));
        let (abs, rel) = difference(&[one.clone(), one.clone()], &[one.clone(), two]);
        assert!(abs > 0.1 && rel > 0.05 && rel < 1.5);
        assert_eq!(difference(&[one.clone(), one.clone()], &[one]).0, f64::INFINITY);
    }
}
