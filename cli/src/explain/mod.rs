//! `tandem explain`

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::bridge::ffi;
use crate::model::{self, Layout, Model};
use crate::profile::table;
use crate::{Error, sweep};

mod seen;
use seen::{Seen, Times};

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
    /// Threads of the sweep; default: one a core of the device. Of executions: those of ExecuTorch's pool.
    #[arg(long)]
    threads: Option<usize>,
    /// First execute the program so many times with inputs of random numbers, and tell what its steps were seen to take.
    #[arg(long, default_value_t = 0, conflicts_with = "sweep")]
    repeat: u32,
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
    /// Median of the executions that were asked for.
    measured_ns: Option<f64>,
    /// Where cores and matrix units share it as they find themselves to be fast.
    seen: Option<Seen>,
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
    if let Some(threads) = options.threads {
        model::set_threads(threads)?;
    }
    let mut model = Model::load(file, options.repeat > 0, options.layout)?;
    let times = if options.repeat > 0 { seen::execute(&mut model, options.repeat)? } else { Times::new() };
    let delegates: Vec<Delegate> = ffi::delegates().iter().map(|d| delegate(d, &times)).collect();
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

fn delegate(delegate: &ffi::Delegate, times: &Times) -> Delegate {
    let steps = ffi::steps(delegate.method);
    let total_ns = steps.iter().map(|s| s.predicted_ns).sum();
    let measured = |i| seen::time(times, delegate.method, i);
    let listed = steps.iter().enumerate().map(|(i, s)| step(s, measured(i))).collect();
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

fn step(s: &ffi::Step, measured_ns: Option<f64>) -> Step {
    let seen = Seen::of(s);
    let ffi::Step { name, op, shape, engine, kernel, layout_in, layout_out, predicted_ns, reason, .. } =
        s.clone();
    Step { name, op, shape, engine, kernel, layout_in, layout_out, predicted_ns, measured_ns, seen, reason }
}

fn conversion(s: ffi::Step) -> Conversion {
    let ffi::Step { name, op, shape, layout_in, layout_out, bytes, predicted_ns, reason, .. } = s;
    Conversion { name, op, shape, layout_in, layout_out, bytes, predicted_ns, reason }
}

fn print_steps(steps: &[Step]) {
    let header = ["step", "shape", "engine", "layout", "µs", "seen", "pick and candidates"];
    let mut out = table::table(&header, &[4, 5]);
    for s in steps {
        let layout = format!("{} → {}", s.layout_in, s.layout_out);
        let us = format!("{:.1}", s.predicted_ns / 1e3);
        let seen = s.measured_ns.map_or_else(String::new, |ns| format!("{:.1}", ns / 1e3));
        out.add_row([&s.name, &s.shape, &s.engine, &layout, &us, &seen, &s.reason]);
    }
    println!("{out}");
}

fn print(delegate: &Delegate, steps: bool) {
    println!("planned with {}", delegate.basis);
    if steps {
        print_steps(&delegate.steps);
    }
    seen::print(delegate.steps.iter().filter_map(|s| Some((s.name.as_str(), s.seen.as_ref()?))));
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
