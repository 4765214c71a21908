//! `tandem explain`

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::bridge::ffi;
use crate::model::{Layout, Model};
use crate::profile::table;
use crate::{Error, sweep};

/// What to explain.
#[derive(clap::Args)]
pub struct Options {
    /// The .pte file.
    #[arg(required_unless_present = "sweep")]
    file: Option<PathBuf>,
    /// Instead of a file: what would compute products of many shapes on devices, modelled.
    #[arg(long, conflicts_with = "file")]
    sweep: bool,
    /// Devices of the sweep, by the names of shipped profiles or as files; default: all shipped ones.
    #[arg(long, requires = "sweep")]
    device: Vec<String>,
    /// Threads of the sweep; default: one a core of the device.
    #[arg(long, requires = "sweep")]
    threads: Option<usize>,
    /// Draw the sweep.
    #[arg(long, requires = "sweep")]
    svg: Option<PathBuf>,
    /// How Tandem decides where values lie.
    #[arg(long)]
    layout: Option<Layout>,
    /// What computes every step, and what the other candidates were predicted to take.
    #[arg(long)]
    steps: bool,
    /// Write everything as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The form of `--json`.
#[derive(Serialize)]
struct Document {
    file: PathBuf,
    delegates: Vec<Delegate>,
}

/// A delegate of Tandem.
#[derive(Serialize)]
struct Delegate {
    /// Whose rates the plan rests on, and for how many threads.
    basis: String,
    values: Vec<Value>,
    steps: Vec<Step>,
    conversions: Vec<Conversion>,
    /// Sums over the conversions.
    bytes: f64,
    predicted_ns: f64,
    /// Of all steps.
    total_ns: f64,
    plan_ns: u64,
}

/// How a value lies.
#[derive(Serialize)]
struct Value {
    name: String,
    shape: String,
    layout: String,
    copy: String,
    decided: String,
    bytes: u64,
}

/// What computes a step, and why.
#[derive(Serialize)]
struct Step {
    name: String,
    op: String,
    shape: String,
    engine: String,
    kernel: String,
    layout_in: String,
    layout_out: String,
    predicted_ns: f64,
    /// The split between engines if any, the pick, then every other candidate with its time on one thread or its refusal.
    reason: String,
}

/// A step that only moves data.
#[derive(Serialize)]
struct Conversion {
    name: String,
    op: String,
    shape: String,
    layout_in: String,
    layout_out: String,
    bytes: f64,
    predicted_ns: f64,
    reason: String,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<(), Error> {
    let Some(file) = &options.file else {
        return sweep::run(&options.device, options.threads, options.json.as_deref(), options.svg.as_deref());
    };
    let _model = Model::load(file, false, options.layout)?;
    let delegates: Vec<Delegate> = ffi::delegates().iter().map(delegate).collect();
    for delegate in &delegates {
        print(delegate, options.steps);
    }
    if let Some(path) = &options.json {
        let document = Document { file: file.clone(), delegates };
        let text = serde_json::to_string_pretty(&document).expect("plain data");
        fs::write(path, text).map_err(Error::file(path))?;
    }
    Ok(())
}

fn delegate(delegate: &ffi::Delegate) -> Delegate {
    let steps = ffi::steps(delegate.method);
    let total_ns = steps.iter().map(|s| s.predicted_ns).sum();
    let listed = steps.iter().map(step).collect();
    let moves = steps.into_iter().filter(|s| s.category == "Data movement");
    let conversions: Vec<Conversion> = moves.map(conversion).collect();
    Delegate {
        basis: delegate.basis.clone(),
        values: ffi::values(delegate.method).into_iter().map(value).collect(),
        steps: listed,
        bytes: conversions.iter().fold(0.0, |sum, c| sum + c.bytes),
        predicted_ns: conversions.iter().fold(0.0, |sum, c| sum + c.predicted_ns),
        conversions,
        total_ns,
        plan_ns: delegate.plan_ns,
    }
}

fn value(v: ffi::Value) -> Value {
    let ffi::Value { name, shape, layout, copy, decided, bytes } = v;
    Value { name, shape, layout, copy, decided, bytes }
}

fn step(s: &ffi::Step) -> Step {
    let ffi::Step { name, op, shape, engine, kernel, layout_in, layout_out, predicted_ns, reason, .. } =
        s.clone();
    Step { name, op, shape, engine, kernel, layout_in, layout_out, predicted_ns, reason }
}

fn conversion(s: ffi::Step) -> Conversion {
    let ffi::Step { name, op, shape, layout_in, layout_out, bytes, predicted_ns, reason, .. } = s;
    Conversion { name, op, shape, layout_in, layout_out, bytes, predicted_ns, reason }
}

fn print_steps(steps: &[Step]) {
    let mut out = table::table(&["step", "shape", "engine", "layout", "µs", "pick and candidates"], &[4]);
    for s in steps {
        let layout = format!("{} → {}", s.layout_in, s.layout_out);
        let us = format!("{:.1}", s.predicted_ns / 1e3);
        out.add_row([&s.name, &s.shape, &s.engine, &layout, &us, &s.reason]);
    }
    println!("{out}");
}

fn print(delegate: &Delegate, steps: bool) {
    println!("planned with {}", delegate.basis);
    if steps {
        print_steps(&delegate.steps);
    }
    let mut values = table::table(&["value", "shape", "layout", "KiB", "decided by"], &[3]);
    for v in &delegate.values {
        let copied = if v.copy.is_empty() { String::new() } else { format!(" and {}", v.copy) };
        let kib = format!("{:.1}", v.bytes as f64 / 1024.0);
        values.add_row([v.name.clone(), v.shape.clone(), v.layout.clone() + &copied, kib, v.decided.clone()]);
    }
    println!("{values}");
    let mut copies = table::table(&["conversion", "op", "shape", "layout", "KiB", "µs", "reason"], &[4, 5]);
    for c in &delegate.conversions {
        copies.add_row([
            c.name.clone(),
            c.op.clone(),
            c.shape.clone(),
            format!("{} → {}", c.layout_in, c.layout_out),
            format!("{:.1}", c.bytes / 1024.0),
            format!("{:.1}", c.predicted_ns / 1e3),
            c.reason.split("; ").next().unwrap_or_default().to_owned(),
        ]);
    }
    if !delegate.conversions.is_empty() {
        println!("{copies}");
    }
    println!(
        "{} conversions, {:.1} KiB, {:.1} µs predicted of {:.1}; planned in {:.2} ms",
        delegate.conversions.len(),
        delegate.bytes / 1024.0,
        delegate.predicted_ns / 1e3,
        delegate.total_ns / 1e3,
        delegate.plan_ns as f64 / 1e6
    );
}
