//! `tandem profile`

pub mod classify;
pub mod intervals;
pub mod report;
pub mod table;
mod trace;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bridge::ffi;
use crate::machine::Machine;
use crate::model::{self, Layout, Model};
use crate::stats::{Progress, median, ms, peak_resident_bytes, reset_peak};
use crate::{Error, page};
use intervals::{Execution, Place};
use report::{Footprint, Profile};

/// How to profile.
#[derive(clap::Args)]
pub struct Options {
    /// Files to profile, side by side.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Threads of an execution.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How Tandem decides where values lie.
    #[arg(long)]
    layout: Option<Layout>,
    /// Executions that medians are taken over.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Seed of the inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print only this many rows, the slowest.
    #[arg(long)]
    top: Option<usize>,
    /// Write everything as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a page to read in a browser.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Write a timeline in the form of Chrome's traces: of each file the last execution's steps, and who was in a matrix unit.
    #[arg(long)]
    trace: Option<PathBuf>,
}

/// The form of `--json`.
#[derive(Serialize)]
pub struct Document {
    /// Where it was measured.
    pub machine: Machine,
    /// Threads of an execution.
    pub threads: usize,
    /// One entry a file, in the order given.
    pub models: Vec<Profile>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<(), Error> {
    model::set_threads(options.threads)?;
    let mut document = Document { machine: Machine::measure(), threads: options.threads, models: vec![] };
    let mut timelines = Vec::new();
    for file in &options.files {
        let (profile, last) = profile(file, options, &document.machine)?;
        timelines.push((profile.name.clone(), last));
        table::print(&profile, options.top, options.threads);
        document.models.push(profile);
    }
    if options.files.len() > 1 {
        table::print_comparison(&document.models);
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&document).expect("plain data");
        fs::write(path, text).map_err(Error::file(path))?;
    }
    if let Some(path) = &options.html {
        fs::write(path, page::page(&document)).map_err(Error::file(path))?;
    }
    if let Some(path) = &options.trace {
        fs::write(path, trace::trace(&timelines)).map_err(Error::file(path))?;
    }
    Ok(())
}

/// A file's profile and its last execution.
fn profile(file: &Path, options: &Options, machine: &Machine) -> Result<(Profile, Execution), Error> {
    let (footprint, isa, wall_ms) = untraced(file, options)?;
    let mut model = Model::load(file, true, options.layout)?;
    let inputs = model.seeded_inputs(options.seed)?;
    model.set_inputs(&inputs)?;
    let mut once = |keep_shapes: bool| -> Result<Execution, Error> {
        model.keep_shapes(keep_shapes);
        let _ = model.take_events();
        model.execute()?;
        intervals::read(&model.take_events())
    };
    let shapes = once(true)?;
    let progress = Progress::new("profiling", options.repeat as usize);
    let mut executions = Vec::new();
    for _ in 0..options.repeat {
        executions.push(once(false)?);
        progress.step();
    }
    drop(progress);
    let peak = machine.peak_gflops * options.threads.clamp(1, machine.cores) as f64;
    let rows = report::rows(&executions, &shapes, &steps_of(&shapes), peak)?;
    let profile = Profile {
        file: file.display().to_string(),
        name: file.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned()),
        delegates: shapes.delegates,
        portable_ops: rows.iter().filter(|row| row.place == "portable").count(),
        transposes: report::transposes(&rows),
        wall_ms,
        traced_ms: median(&executions.iter().map(|e| e.ns as f64 * 1e-6).collect::<Vec<_>>()),
        isa,
        footprint,
        categories: report::totals(&rows),
        rows,
    };
    Ok((profile, executions.pop().unwrap_or_default()))
}

/// Steps of every delegate of Tandem that logged events.
fn steps_of(execution: &Execution) -> HashMap<usize, Vec<ffi::Step>> {
    let mut steps = HashMap::new();
    for interval in &execution.intervals {
        if let Place::Tandem(method) = interval.place {
            steps.entry(method).or_insert_with(|| ffi::steps(method));
        }
    }
    steps
}

/// Loads a file, runs it untraced and lets it go again: memory, load times, instruction sets, median wall time.
fn untraced(file: &Path, options: &Options) -> Result<(Footprint, String, f64), Error> {
    reset_peak();
    let before = peak_resident_bytes();
    let others: Vec<usize> = ffi::delegates().iter().map(|d| d.method).collect();
    let mut model = Model::load(file, false, options.layout)?;
    // Not kept: the model has a copy of its own, and the growth counts what a program needs.
    let inputs = model.seeded_inputs(options.seed)?;
    model.set_inputs(&inputs)?;
    drop(inputs);
    let mut walls = Vec::new();
    let mut grown = 0;
    let progress = Progress::new("running", options.repeat as usize + 3);
    for i in 0..options.repeat as usize + 3 {
        let spent = model.execute()?;
        match i {
            0 | 1 => {}
            2 => grown = peak_resident_bytes().saturating_sub(before),
            _ => walls.push(ms(spent.wall)),
        }
        progress.step();
    }
    let delegates: Vec<ffi::Delegate> =
        ffi::delegates().into_iter().filter(|d| !others.contains(&d.method)).collect();
    let times = model.load_times();
    let sum = |f: fn(&ffi::Delegate) -> u64| delegates.iter().map(f).sum::<u64>();
    let footprint = Footprint {
        load_ms: times.program_ns as f64 * 1e-6,
        method_ms: times.method_ns as f64 * 1e-6,
        init_ms: sum(|d| d.init_ns) as f64 * 1e-6,
        verify_ms: sum(|d| d.verify_ns) as f64 * 1e-6,
        plan_ms: sum(|d| d.plan_ns) as f64 * 1e-6,
        arena_bytes: sum(|d| d.arena_bytes),
        live_bytes: sum(|d| d.live_bytes),
        scratch_bytes: sum(|d| d.scratch_bytes),
        weight_bytes: sum(|d| d.weight_bytes),
        rss_growth_bytes: grown,
    };
    let isa = delegates.first().map(|d| d.isa.clone()).unwrap_or_default();
    Ok((footprint, isa, median(&walls)))
}
