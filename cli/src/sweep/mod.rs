//! `tandem explain --sweep`: what would compute products and attention of many shapes on devices, as the planner predicts it. No model, nothing
//! is run.

mod svg;

use std::fs;
use std::path::Path;

use serde::Serialize;
use tandem_engine::device::{self, Device};
use tandem_engine::{Shape, place, stand_in};

use crate::Error;
use crate::profile::table;

/// Layers, k and n: the FFN of Llama-3.2-3B, and a square one.
const LAYERS: [(&str, usize, usize); 2] = [("3072x8192", 3072, 8192), ("4096x4096", 4096, 4096)];

/// Rows of lhs, from decode to long prefill.
const ROWS: [usize; 14] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

/// 3x3 convolutions of SqueezeSAM at 512²: name, channels in and out, edge of the image.
const CONVOLUTIONS: [(&str, [usize; 2], usize); 10] = [
    ("up7.c1", [128, 64], 256),
    ("enc0.c1", [64, 64], 256),
    ("up6.c1", [192, 128], 128),
    ("down1.c2", [128, 128], 128),
    ("down1.c1", [64, 128], 128),
    ("up5.c1", [192, 128], 64),
    ("down2.c1", [128, 128], 64),
    ("up4.c1", [192, 128], 32),
    ("down3.c1", [128, 128], 32),
    ("down4.c1", [128, 128], 16),
];

/// Heads of queries, of keys and values, and their width: attention of Qwen3-4B.
const HEADS: ([usize; 2], usize) = ([32, 8], 128);

/// Tokens of a prompt.
const PROMPTS: [usize; 4] = [512, 1024, 2048, 4096];

/// A shape on a device. Times and rates are modelled.
#[derive(Serialize)]
pub struct Row {
    /// Layer, convolution or attention.
    pub layer: String,
    /// Rows of lhs, output positions, or tokens.
    pub m: usize,
    /// "cpu", "sme" or "both"
    pub engine: &'static str,
    /// The pick's rows.
    pub kernel: String,
    /// Of the pick.
    pub modelled_ms: f64,
    /// Of the pick.
    pub gflops: f64,
    /// Of the arithmetic, in units.
    pub unit_share: f64,
    /// Cores alone, in GFLOP/s.
    pub cores_gflops: Option<f64>,
    /// Units alone, in GFLOP/s.
    pub units_gflops: Option<f64>,
    /// Of a pipeline whose stages follow each other, in GFLOP/s.
    pub apart_gflops: Option<f64>,
    /// Arithmetic a byte that must move.
    pub intensity: f64,
}

/// A device's rows.
#[derive(Serialize)]
pub struct Swept {
    /// As options name it.
    pub device: String,
    about: String,
    threads: usize,
    rows: Vec<Row>,
}

/// Sweeps the devices, all shipped ones where none is named, prints a table each and writes.
pub fn run(
    names: &[String],
    threads: Option<usize>,
    json: Option<&Path>,
    picture: Option<&Path>,
) -> Result<(), Error> {
    let find = |name: &String| device::find(Some(name)).map(|found| found.device);
    let named: Result<Vec<Device>, _> = names.iter().map(find).collect();
    let named = named.map_err(|e| Error::Input(e.to_string()))?;
    let devices = if named.is_empty() { device::shipped().collect() } else { named };
    let swept: Vec<Swept> = devices.iter().map(|device| sweep(device, threads)).collect();
    swept.iter().for_each(print);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&swept).expect("plain data");
        fs::write(path, text).map_err(Error::file(path))?;
    }
    picture.map_or(Ok(()), |path| fs::write(path, svg::picture(&swept)).map_err(Error::file(path)))
}

/// Every shape on a device, on all its cores unless threads are given.
fn sweep(device: &Device, threads: Option<usize>) -> Swept {
    let threads = threads.unwrap_or_else(|| device.threads()).clamp(1, device.threads());
    let isa = stand_in(device);
    let rates = device.rates(isa, Some(threads));
    let linear = LAYERS.iter().flat_map(|&(name, k, n)| ROWS.map(|m| (name, m, Shape::Linear { m, k, n })));
    let convolutions = CONVOLUTIONS.iter().map(|&(name, channels, edge)| {
        (name, edge * edge, Shape::Convolution { channels, size: [edge; 2], kernel: 3 })
    });
    let attention = PROMPTS.iter().map(|&tokens| {
        let (heads, width) = HEADS;
        ("attention", tokens, Shape::Attention { heads, tokens, width })
    });
    let row = |(layer, m, shape): (&str, usize, Shape)| {
        let placed = place(shape, isa, &rates)?;
        Some(Row {
            layer: layer.to_owned(),
            m,
            engine: placed.engine,
            modelled_ms: placed.ns * 1e-6,
            gflops: placed.flops / placed.ns,
            unit_share: placed.unit_share,
            cores_gflops: placed.cores_ns.map(|ns| placed.flops / ns),
            units_gflops: placed.units_ns.map(|ns| placed.flops / ns),
            apart_gflops: placed.apart_ns.map(|ns| placed.flops / ns),
            intensity: placed.flops / placed.bytes,
            kernel: placed.kernel,
        })
    };
    let rows = linear.chain(convolutions).chain(attention).filter_map(row).collect();
    Swept { device: device.name.clone(), about: device.about.clone(), threads, rows }
}

fn print(swept: &Swept) {
    println!("{}: {}, {}", swept.device, swept.about, table::counted(swept.threads, "thread", "threads"));
    let header = [
        "layer",
        "rows",
        "engine",
        "unit's share",
        "modelled ms",
        "modelled GFLOP/s",
        "cores alone, modelled",
        "units alone, modelled",
    ];
    let mut out = table::table(&header, &[1, 3, 4, 5, 6, 7]);
    let rate = |gflops: Option<f64>| gflops.map_or_else(String::new, |gflops| format!("{gflops:.0}"));
    for row in &swept.rows {
        out.add_row([
            row.layer.clone(),
            row.m.to_string(),
            row.engine.to_owned(),
            format!("{:.0} %", 100.0 * row.unit_share),
            format!("{:.3}", row.modelled_ms),
            rate(Some(row.gflops)),
            rate(row.cores_gflops),
            rate(row.units_gflops),
        ]);
    }
    println!("{out}");
}
