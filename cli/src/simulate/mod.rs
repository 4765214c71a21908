//! `tandem simulate`: the plan a device would get, in modelled time.
//!
//! A device's cores are modelled by rows of this machine's cores at the device's rates, its matrix unit by the emulated one of
//! its vector length: tiles, slabs and parts are those of the device, and nothing is run.

mod report;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tandem_engine::device::{self, Confidence, Device};
use tandem_engine::{XNNPACK_FIGURES, stand_in};

use crate::model::{Layout, Model, Settings};
use crate::profile::table;
use crate::{Error, page};
use report::{Document, Row};

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
    /// Units and cores never share an operator: each step is computed by one of them. The same as `--engine sme`.
    #[arg(long)]
    no_partition: bool,
    /// No step keeps units and cores busy at the same time, neither with parts of one operator nor with stages that follow
    /// each other.
    #[arg(long)]
    no_overlap: bool,
    /// Model another stack on the same program and device, and compare.
    #[arg(long)]
    baseline: Option<Baseline>,
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
    /// Write a page to read in a browser, with a lane for each engine.
    #[arg(long)]
    html: Option<PathBuf>,
}

/// What may compute a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Cores.
    Cpu,
    /// Matrix units or cores, each alone.
    Sme,
    /// These, or both together.
    Both,
}

/// Another stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Baseline {
    /// XNNPACK with KleidiAI's kernels, from counted instructions.
    Xnnpack,
}

/// Models, prints and writes.
pub fn run(options: &Options) -> Result<(), Error> {
    let device = device::find(Some(&options.device)).map_err(|e| Error::Input(e.to_string()))?.device;
    let mut document = modelled(options, &device, None)?;
    if options.baseline.is_some() {
        let tandem_ms = document.modelled_ms;
        document = modelled(options, &device, options.baseline)?;
        document.tandem_modelled_ms = Some(tandem_ms);
    }
    print(&document, &device, options.top);
    let json = serde_json::to_string_pretty(&document).expect("plain data");
    write(options.json.as_deref(), || json)?;
    write(options.html.as_deref(), || page::page(&report::page(&document, &device.about)))?;
    write(options.trace.as_deref(), || report::trace(&document))
}

fn modelled(options: &Options, device: &Device, baseline: Option<Baseline>) -> Result<Document, Error> {
    let _model = Model::load(&options.file, false, settings(options, device, baseline))?;
    let mut document = Document::new(&options.file, device.name.clone());
    (document.threads, document.engine) = (threads(options, device), engine(options));
    (document.overlap, document.baseline) = (!options.no_overlap, baseline);
    Ok(document)
}

fn threads(options: &Options, device: &Device) -> usize {
    options.threads.unwrap_or_else(|| device.threads())
}

fn engine(options: &Options) -> Engine {
    if options.no_partition && options.engine == Engine::Both { Engine::Sme } else { options.engine }
}

/// Load options that plan for the device.
fn settings(options: &Options, device: &Device, baseline: Option<Baseline>) -> Settings {
    let engine = match engine(options) {
        Engine::Cpu => "cpu",
        Engine::Sme => "sme",
        Engine::Both => "both",
    };
    Settings::from(options.layout)
        .with("isa", stand_in(device).to_string())
        .with("device", options.device.clone())
        .with("engine", engine)
        .with("overlap", if options.no_overlap { "off" } else { "on" })
        .with("stack", if baseline.is_some() { "xnnpack" } else { "tandem" })
        .with("threads", threads(options, device).to_string())
}

fn print(document: &Document, device: &Device, top: Option<usize>) {
    let header = ["operator", "shape", "engine", "kernel", "modelled ms", "modelled GFLOP/s"];
    let mut out = table::table(&header, &[4, 5]);
    let mut rows: Vec<&Row> = document.rows.iter().collect();
    if let Some(top) = top {
        rows.sort_by(|a, b| b.modelled_ms.total_cmp(&a.modelled_ms));
        rows.truncate(top);
    }
    for row in rows {
        let (ms, gflops) = (format!("{:.3}", row.modelled_ms), format!("{:.0}", row.gflops));
        let engine = match row.unit_share {
            share if row.engine == "both" => format!("both, {:.0} % sme", 100.0 * share),
            _ => row.engine.clone(),
        };
        out.add_row([row.name.clone(), row.shape.clone(), engine, row.kernel.clone(), ms, gflops]);
    }
    println!("{out}");
    let mut out = table::table(&["category", "modelled ms", "modelled share"], &[1, 2]);
    for (name, ms) in &document.categories {
        let share = format!("{:.1} %", 100.0 * ms / document.modelled_ms.max(f64::MIN_POSITIVE));
        out.add_row([name.clone(), format!("{ms:.3}"), share]);
    }
    println!("{out}");
    let counted = table::counted(document.threads, "thread", "threads");
    let what = if document.baseline.is_some() { "XNNPACK: " } else { "" };
    println!("{what}{:.3} ms modelled, delegates only, {counted} of {}", document.modelled_ms, device.about);
    if let Some(tandem) = document.tandem_modelled_ms {
        let ratio = tandem / document.modelled_ms.max(f64::MIN_POSITIVE);
        println!("Tandem: {tandem:.3} ms modelled, {ratio:.2} of it (modelled)");
        for figure in XNNPACK_FIGURES {
            println!("  {} {}: {}", figure.value, figure.name, figure.source);
        }
    }
    let assumed = device.figures().filter(|(_, figure)| figure.confidence == Confidence::Assumed);
    let assumed: Vec<String> = assumed.map(|(name, _)| name).collect();
    if !assumed.is_empty() {
        println!("assumed by nobody's measurement: {}", assumed.join(", "));
    }
}

fn write(path: Option<&Path>, text: impl FnOnce() -> String) -> Result<(), Error> {
    path.map_or(Ok(()), |path| fs::write(path, text()).map_err(Error::file(path)))
}
