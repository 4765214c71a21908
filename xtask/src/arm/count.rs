//! Instructions of Tandem and XNNPACK on the same cases: one steady inference, one thread, 512-bit streaming vectors.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::counter::{Count, Counted, Counter, MODELS};
use super::cpu::CPUS;
use super::models;
use super::rust::TARGET;
use super::toolchain::{Toolchain, cargo_target};
use super::verdict;
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
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Most instructions Tandem is meant to execute.
    pub aim: u64,
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

/// The cases and their aims.
pub const CASES: [Case; 14] = [
    file("linear_f32", 1_650_000),
    file("gemv_f32", 93_132),
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

/// Largest difference of the two files' answers, relative to the answer's range: both sum up to 1280 products in f32, in
/// orders of their own, layer after layer.
const TOLERANCE: &str = "1e-4";

/// A case in `counts.json`; Tandem's half is null while no kernel takes the numbers.
#[derive(Deserialize, Serialize)]
struct Row {
    tandem: Option<Count>,
    xnnpack: Count,
    /// tandem.total / xnnpack.total
    ratio: Option<f64>,
}

/// Exports, builds, counts, prints the table and puts the rows into `target/arm/counts.json`.
///
/// # Errors
/// A case where Tandem's answer is not XNNPACK's, executes more than it is meant to, or takes more modelled cycles.
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
        counted.push((case, bench.xnnpack(case)?, bench.tandem(case)?));
    }
    print_heading();
    counted.iter().for_each(|(case, xnnpack, tandem)| print_row(case, xnnpack, tandem.as_ref()));
    let path = env::target().join("arm/counts.json");
    merge(&path, &counted)?;
    println!("\nby function: {}\n{}", bench.out.display(), path.display());
    verdict::give(&counted)
}

/// A case, XNNPACK's side and Tandem's, if there is one.
pub type Pair = (&'static Case, Counted, Option<Counted>);

/// Puts rows into a file, beside those of the cases that were not counted now.
fn merge(path: &Path, counted: &[Pair]) -> Result<(), Error> {
    let mut rows: BTreeMap<String, Row> = match fs::read_to_string(path) {
        Ok(text) => {
            serde_json::from_str(&text).map_err(|e| Error::Check(format!("{}: {e}", path.display())))?
        }
        Err(_) => BTreeMap::new(),
    };
    for (case, xnnpack, tandem) in counted {
        let tandem = tandem.as_ref();
        let row = Row {
            tandem: tandem.map(|tandem| tandem.count),
            xnnpack: xnnpack.count,
            ratio: tandem.map(|tandem| ratio(tandem, xnnpack)),
        };
        rows.insert(case.name.to_owned(), row);
    }
    let text = serde_json::to_string_pretty(&rows).expect("plain data");
    fs::write(path, text).map_err(Error::writing(path))
}

fn ratio(tandem: &Counted, xnnpack: &Counted) -> f64 {
    tandem.count.total as f64 / xnnpack.count.total as f64
}

fn print_heading() {
    let [m4, c1] = MODELS;
    println!(
        "{:<20} {:>11} {:>11} {:>11} {:>6}  {:>17} {:>17}  Tandem through",
        "case", "XNNPACK", "Tandem", "aim", "ratio", m4, c1
    );
}

/// Cycles are in thousands, at least so many by a model of each machine, XNNPACK's first.
fn print_row(case: &Case, xnnpack: &Counted, tandem: Option<&Counted>) {
    let total = |count: &Counted| count.count.total;
    let cycles = |model: usize| {
        let thousands = |count: &Counted| format!("{:.1}", count.cycles[model] / 1e3);
        format!("{:>8} {:>8}", thousands(xnnpack), tandem.map_or_else(|| "-".to_owned(), thousands))
    };
    println!(
        "{:<20} {:>11} {:>11} {:>11} {:>6}  {:>17} {:>17}  {}",
        case.name,
        total(xnnpack),
        tandem.map_or_else(|| "-".to_owned(), |t| total(t).to_string()),
        case.aim,
        tandem.map_or_else(|| "-".to_owned(), |t| format!("{:.3}", ratio(t, xnnpack))),
        cycles(0),
        cycles(1),
        match (&case.side, tandem) {
            (Side::File, Some(t)) => format!("file: {}", t.output.lines().last().unwrap_or_default()),
            (Side::Kernels, Some(t)) => format!("kernels: {}", t.output.trim().replace('\n', ", ")),
            (_, None) => "no kernel yet".to_owned(),
        }
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

    /// Counts XNNPACK's file; its answer stays beside it.
    fn xnnpack(&self, case: &Case) -> Result<Counted, Error> {
        self.file(case, "xnnpack", &["--output".as_ref(), self.answer(case).as_os_str()])
    }

    /// Counts Tandem's side, if there is one; a file's answer is XNNPACK's.
    fn tandem(&self, case: &Case) -> Result<Option<Counted>, Error> {
        match case.side {
            Side::File => {
                let answer = self.answer(case);
                let compare =
                    ["--expect".as_ref(), answer.as_os_str(), "--tolerance".as_ref(), TOLERANCE.as_ref()];
                self.file(case, "tandem", &compare).map(Some)
            }
            Side::Kernels if self.known.iter().any(|name| name == case.name) => {
                self.count(&self.driver, &[case.name.as_ref()], case.name, "tandem").map(Some)
            }
            Side::Kernels => Ok(None),
        }
    }

    fn answer(&self, case: &Case) -> PathBuf {
        self.files.join(format!("{}.answer", case.name))
    }

    /// Counts an exported file, run with some more arguments.
    fn file(&self, case: &Case, backend: &str, more: &[&OsStr]) -> Result<Counted, Error> {
        let file = self.files.join(format!("{}.{backend}.pte", case.name));
        let args = [file.as_os_str(), "--threads".as_ref(), "1".as_ref(), "--phases".as_ref()];
        self.count(&self.app, &[&args[..], more].concat(), case.name, backend)
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

#[cfg(test)]
mod tests {
    use super::super::counter::Count;
    use super::*;

    #[test]
    fn cases_that_are_not_counted_stay() {
        let folder = std::env::temp_dir().join(format!("tandem-counts-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("counts.json");
        let counted =
            |total| Counted { count: Count { total, outer: 1 }, cycles: [1.0; 2], output: String::new() };
        merge(&path, &[(&CASES[0], counted(200), Some(counted(100))), (&CASES[1], counted(10), None)])
            .unwrap();
        merge(&path, &[(&CASES[0], counted(200), Some(counted(50)))]).unwrap();
        let rows: BTreeMap<String, Row> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((rows.len(), rows[CASES[0].name].ratio), (2, Some(0.25)));
        assert_eq!((rows[CASES[1].name].xnnpack.total, rows[CASES[1].name].ratio), (10, None));
    }
}
