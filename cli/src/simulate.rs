//! `tandem simulate`: the plan a device would get, in modelled time.
//!
//! A device's cores are modelled by rows of this machine's cores at the device's rates, its matrix unit by the emulated one of
//! its vector length: tiles, slabs and parts are those of the device, and nothing is run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tandem_base::Isa;
use tandem_engine::device::{self, Device};

use crate::Error;
use crate::bridge::ffi;
use crate::model::{Layout, Model, Settings};
use crate::profile::table;

/// What to model.
#[derive(clap::Args)]
pub struct Options {
    /// The .pte file.
    file: PathBuf,
    /// A shipped profile's name, e.g. apple-m4, or a file.
    #[arg(long)]
    device: String,
    /// Threads; default: one a core of the device.
    #[arg(long)]
    threads: Option<usize>,
    /// What may compute a step.
    #[arg(long, default_value = "both")]
    engine: Engine,
    /// How Tandem decides where values lie.
    #[arg(long)]
    layout: Option<Layout>,
    /// Only the rows that take most time.
    #[arg(long)]
    top: Option<usize>,
    /// Write everything as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a timeline in the form of Chrome's traces.
    #[arg(long)]
    trace: Option<PathBuf>,
}

/// What may compute a step.
#[derive(Clone, Copy, Debug, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Engine {
    /// Cores.
    Cpu,
    /// Matrix units or cores, each alone.
    Sme,
    /// These, or both together.
    Both,
}

/// The form of `--json`. All times are modelled.
#[derive(Serialize)]
struct Document {
    file: PathBuf,
    device: String,
    threads: usize,
    engine: Engine,
    modelled_ms: f64,
    categories: BTreeMap<String, f64>,
    rows: Vec<Row>,
}

/// A step.
#[derive(Serialize)]
struct Row {
    name: String,
    op: String,
    category: String,
    shape: String,
    engine: String,
    kernel: String,
    start_ms: f64,
    modelled_ms: f64,
    gflops: f64,
    reason: String,
}

/// Models, prints and writes.
pub fn run(options: &Options) -> Result<(), Error> {
    let device = device::find(Some(&options.device)).map_err(|e| Error::Input(e.to_string()))?.device;
    let _model = Model::load(&options.file, false, settings(options, &device))?;
    let rows = rows();
    let mut categories = BTreeMap::new();
    for row in &rows {
        *categories.entry(row.category.clone()).or_insert(0.0) += row.modelled_ms;
    }
    let modelled_ms = rows.iter().map(|row| row.modelled_ms).sum();
    let (file, name) = (options.file.clone(), device.name.clone());
    let (threads, engine) = (threads(options, &device), options.engine);
    let document = Document { file, device: name, threads, engine, modelled_ms, categories, rows };
    print(&document, &device, options.top);
    let json = serde_json::to_string_pretty(&document).expect("plain data");
    write(options.json.as_deref(), || json)?;
    write(options.trace.as_deref(), || trace(&document))
}

fn threads(options: &Options, device: &Device) -> usize {
    options.threads.unwrap_or_else(|| device.cores.iter().map(|kind| kind.count).sum())
}

/// Load options that plan for the device.
fn settings(options: &Options, device: &Device) -> Settings {
    let unit = device.sme.as_ref().map_or_else(String::new, |sme| format!(",emulated-sme2-{}", sme.svl_bits));
    let cores = Isa::detect() & (Isa::AVX2 | Isa::NEON);
    let engine = match options.engine {
        Engine::Cpu => "cpu",
        Engine::Sme => "sme",
        Engine::Both => "both",
    };
    let settings = Settings::from(options.layout)
        .with("isa", format!("{cores}{unit}"))
        .with("device", options.device.clone())
        .with("engine", engine);
    settings.with("threads", threads(options, device).to_string())
}

/// Steps of all delegates, one after the other.
fn rows() -> Vec<Row> {
    let mut start_ms = 0.0;
    let steps = ffi::delegates().into_iter().flat_map(|delegate| ffi::steps(delegate.method));
    let row = |step: ffi::Step| {
        let ffi::Step { name, op, category, shape, engine, kernel, reason, flops, predicted_ns, .. } = step;
        let modelled_ms = predicted_ns * 1e-6;
        let gflops = if predicted_ns > 0.0 { flops / predicted_ns } else { 0.0 };
        let row = Row { name, op, category, shape, engine, kernel, start_ms, modelled_ms, gflops, reason };
        start_ms += modelled_ms;
        row
    };
    steps.map(row).collect()
}

fn print(document: &Document, device: &Device, top: Option<usize>) {
    let mut out = table::table(&["operator", "shape", "engine", "kernel", "modelled ms", "GFLOP/s"], &[4, 5]);
    let mut rows: Vec<&Row> = document.rows.iter().collect();
    if let Some(top) = top {
        rows.sort_by(|a, b| b.modelled_ms.total_cmp(&a.modelled_ms));
        rows.truncate(top);
    }
    for row in rows {
        let (ms, gflops) = (format!("{:.3}", row.modelled_ms), format!("{:.0}", row.gflops));
        out.add_row([
            row.name.clone(),
            row.shape.clone(),
            row.engine.clone(),
            row.kernel.clone(),
            ms,
            gflops,
        ]);
    }
    println!("{out}");
    let mut out = table::table(&["category", "modelled ms", "share"], &[1, 2]);
    for (name, ms) in &document.categories {
        let share = format!("{:.1} %", 100.0 * ms / document.modelled_ms.max(f64::MIN_POSITIVE));
        out.add_row([name.clone(), format!("{ms:.3}"), share]);
    }
    println!("{out}");
    let counted = table::counted(document.threads, "thread", "threads");
    println!("{:.3} ms modelled, delegates only, {counted} of {}", document.modelled_ms, device.about);
    let assumed = device.figures().filter(|(_, figure)| figure.confidence == device::Confidence::Assumed);
    let assumed: Vec<String> = assumed.map(|(name, _)| name).collect();
    if !assumed.is_empty() {
        println!("assumed by nobody's measurement: {}", assumed.join(", "));
    }
}

/// Chrome's format: complete events, in microseconds.
fn trace(document: &Document) -> String {
    let events = document.rows.iter().map(|row| {
        serde_json::json!({
            "ph": "X", "pid": 1, "tid": row.engine, "name": row.name, "cat": row.category,
            "ts": row.start_ms * 1e3, "dur": row.modelled_ms * 1e3,
            "args": { "op": row.op, "shape": row.shape, "kernel": row.kernel, "modelled": true },
        })
    });
    let events: Vec<serde_json::Value> = events.collect();
    serde_json::json!({ "traceEvents": events }).to_string()
}

fn write(path: Option<&Path>, text: impl FnOnce() -> String) -> Result<(), Error> {
    path.map_or(Ok(()), |path| fs::write(path, text()).map_err(Error::file(path)))
}
