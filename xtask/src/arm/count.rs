//! Instructions of Tandem and XNNPACK on the same cases: one steady inference, one thread, 512-bit streaming vectors.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::counter::{Count, Counted, Counter, MODELS};
use super::cpu::CPUS;
use super::models;
use super::rust::TARGET;
use super::toolchain::{Toolchain, cargo_target};
use crate::artifacts;
use crate::env;
use crate::stage::{self, Error, cargo};

/// What to count.
#[derive(clap::Args)]
pub struct Options {
    /// Only these cases.
    #[arg(long)]
    case: Vec<String>,
}

/// A case of `tests/arm/cases.py`.
struct Case {
    name: &'static str,
    /// Most instructions Tandem is meant to execute.
    aim: u64,
    side: Side,
}

/// How Tandem's side runs.
enum Side {
    /// The exported file in ExecuTorch.
    File,
    /// The kernels alone, on the same shapes, doing all that the operator needs: Tandem's front end does not take these
    /// numbers yet.
    Kernels,
}

const fn file(name: &'static str, aim: u64) -> Case {
    Case { name, aim, side: Side::File }
}

const fn kernels(name: &'static str, aim: u64) -> Case {
    Case { name, aim, side: Side::Kernels }
}

const CASES: [Case; 13] = [
    file("linear_f32", 1_650_000),
    kernels("linear_f16", 900_000),
    kernels("linear_dynamic_int8", 800_000),
    kernels("linear_dynamic_int4", 900_000),
    kernels("linear_8da4w_g32", 2_000_000),
    kernels("linear_static_int8", 700_000),
    file("conv_f32", 1_000_000),
    kernels("conv_f16", 600_000),
    kernels("conv_static_int8", 500_000),
    file("matmul_f32", 330_000),
    file("softmax_f32", 1_300_000),
    file("depthwise_f32", 900_000),
    file("mobilenet_v2_f32", 12_000_000),
];

/// A case in `counts.json`; Tandem's half is null while no kernel takes the numbers.
#[derive(Serialize)]
struct Row {
    tandem: Option<Count>,
    xnnpack: Count,
    /// tandem.total / xnnpack.total
    ratio: Option<f64>,
}

/// Exports, builds, counts, prints the table and writes `target/arm/counts.json`.
pub fn run(options: &Options) -> Result<(), Error> {
    let unknown = options.case.iter().find(|name| !CASES.iter().any(|case| case.name == **name));
    if let Some(name) = unknown {
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        return Err(Error::Check(format!("no case {name}; there are {}", known.join(", "))));
    }
    let bench = Bench::ready()?;
    let wanted = |case: &&Case| options.case.is_empty() || options.case.iter().any(|name| name == case.name);
    let mut counted = Vec::new();
    for case in CASES.iter().filter(wanted) {
        counted.push((case, bench.file(case.name, "xnnpack")?, bench.tandem(case)?));
    }
    print_heading();
    let mut rows = BTreeMap::new();
    for (case, xnnpack, tandem) in &counted {
        print_row(case, xnnpack, tandem.as_ref());
        let ratio = tandem.as_ref().map(|tandem| ratio(tandem, xnnpack));
        rows.insert(
            case.name,
            Row { tandem: tandem.as_ref().map(|t| t.count), xnnpack: xnnpack.count, ratio },
        );
    }
    let path = env::target().join("arm/counts.json");
    let text = serde_json::to_string_pretty(&rows).expect("plain data");
    fs::write(&path, text).map_err(Error::writing(&path))?;
    print_verdict(&counted);
    println!("by function: {}\n{}", bench.out.display(), path.display());
    Ok(())
}

fn ratio(tandem: &Counted, xnnpack: &Counted) -> f64 {
    tandem.count.total as f64 / xnnpack.count.total as f64
}

fn print_heading() {
    let [m4, c1] = MODELS;
    println!(
        "{:<20} {:>11} {:>11} {:>11} {:>6}  {:>15} {:>15}  Tandem through",
        "case", "XNNPACK", "Tandem", "aim", "ratio", m4, c1
    );
}

/// Cycles are in thousands, XNNPACK's first.
fn print_row(case: &Case, xnnpack: &Counted, tandem: Option<&Counted>) {
    let total = |count: &Counted| count.count.total;
    let cycles = |model: usize| {
        let thousands = |count: &Counted| format!("{:.0}", count.cycles[model] / 1e3);
        format!("{:>7} {:>7}", thousands(xnnpack), tandem.map_or_else(|| "-".to_owned(), thousands))
    };
    println!(
        "{:<20} {:>11} {:>11} {:>11} {:>6}  {:>15} {:>15}  {}",
        case.name,
        total(xnnpack),
        tandem.map_or_else(|| "-".to_owned(), |t| total(t).to_string()),
        case.aim,
        tandem.map_or_else(|| "-".to_owned(), |t| format!("{:.3}", ratio(t, xnnpack))),
        cycles(0),
        cycles(1),
        match (&case.side, tandem) {
            (Side::File, _) => "file".to_owned(),
            (Side::Kernels, Some(t)) => format!("kernels: {}", t.output.trim().replace('\n', ", ")),
            (Side::Kernels, None) => "no kernel yet".to_owned(),
        }
    );
}

fn print_verdict(counted: &[(&Case, Counted, Option<Counted>)]) {
    let names = |wrong: fn(&Case, &Counted, &Counted) -> bool| {
        let both = counted.iter().filter_map(|(case, x, t)| Some((*case, x, t.as_ref()?)));
        let names: Vec<&str> =
            both.filter(|(case, x, t)| wrong(case, x, t)).map(|(case, ..)| case.name).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    println!("\ncycles are thousands, at least, by a model of each machine: XNNPACK's, then Tandem's");
    println!("above the aim: {}", names(|case, _, t| t.count.total > case.aim));
    println!(
        "more cycles than XNNPACK: {}",
        names(|_, x, t| t.cycles.iter().zip(x.cycles).any(|(t, x)| *t >= x))
    );
}

/// Everything to count with.
struct Bench {
    counter: Counter,
    toolchain: Toolchain,
    /// The C++ example, which runs exported files.
    app: PathBuf,
    /// `count` of the kernels' examples.
    driver: PathBuf,
    /// Cases that it knows.
    known: Vec<String>,
    /// Exported files.
    files: PathBuf,
    /// Counts by function.
    out: PathBuf,
}

impl Bench {
    fn ready() -> Result<Self, Error> {
        let counter = Counter::ready()?;
        let built = artifacts::build()?;
        let target = env::target().join("arm");
        let (files, out) = (target.join("cases"), target.join("counts"));
        built.export("exporting the cases", &["tests/arm/cases.py"], &files)?;
        fs::create_dir_all(&out).map_err(Error::writing(&out))?;
        let toolchain = Toolchain::ready()?;
        let app = models::build(&toolchain, &built.python)?.app;
        let driver = build_driver(&toolchain)?;
        let listed = stage::quiet("listing the kernels' cases", &mut toolchain.emulated(&CPUS[0], &driver))?;
        let known = listed.lines().map(str::to_owned).collect();
        Ok(Self { counter, toolchain, app, driver, known, files, out })
    }

    /// Counts an exported file.
    fn file(&self, name: &str, backend: &str) -> Result<Counted, Error> {
        let file = self.files.join(format!("{name}.{backend}.pte"));
        let args = [file.as_os_str(), "--threads".as_ref(), "1".as_ref(), "--phases".as_ref()];
        self.count(&self.app, &args, name, backend)
    }

    /// Counts Tandem's side, if there is one.
    fn tandem(&self, case: &Case) -> Result<Option<Counted>, Error> {
        match case.side {
            Side::File => self.file(case.name, "tandem").map(Some),
            Side::Kernels if self.known.iter().any(|name| name == case.name) => {
                self.count(&self.driver, &[case.name.as_ref()], case.name, "tandem").map(Some)
            }
            Side::Kernels => Ok(None),
        }
    }

    fn count(&self, program: &Path, args: &[&OsStr], name: &str, backend: &str) -> Result<Counted, Error> {
        let json = self.out.join(format!("{name}.{backend}.json"));
        self.counter.count(&self.toolchain.root(), program, args, &json)
    }
}

/// The kernel-level driver for arm64.
fn build_driver(toolchain: &Toolchain) -> Result<PathBuf, Error> {
    let mut build =
        cargo(["build", "--release", "--quiet", "--package", "tandem-kernels", "--example", "count"]);
    toolchain.prepare(&mut build, &std::env::var_os("PATH").unwrap_or_default());
    stage::quiet("building the kernel-level driver for arm64", build.args(["--target", TARGET]))?;
    Ok(cargo_target().join(TARGET).join("release/examples/count"))
}
