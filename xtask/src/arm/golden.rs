//! Programs of ExecuTorch's operator suite, lowered on this machine, inside ExecuTorch's arm64 runtime under the emulator
//! with SME2: each must give eager PyTorch's answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::cpu::CPUS;
use super::models::{self, Programs};
use super::toolchain::Toolchain;
use crate::artifacts;
use crate::conformance;
use crate::stage::{self, Error};

/// What to run.
#[derive(clap::Args)]
pub struct Options {
    /// This many tests of the suite, always the same ones.
    #[arg(long)]
    sample: Option<usize>,
}

/// As the suite's flow: sums in another order than eager's.
const TOLERANCE: &str = "1e-4";

/// Longest that a program may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Exports the programs, builds for arm64 and runs them.
pub fn run(options: &Options) -> Result<(), Error> {
    let built = artifacts::build()?;
    conformance::sample(&built, options.sample)?;
    let toolchain = Toolchain::ready()?;
    check(&toolchain, &models::build(&toolchain, &built.python)?)
}

/// Runs what lies in the folder, as many at once as there are cores.
pub fn check(toolchain: &Toolchain, programs: &Programs) -> Result<(), Error> {
    let folder = conformance::golden();
    let mut files = with_ending(&folder, ".pte")?;
    let count = files.len();
    if count == 0 {
        return Err(Error::Check(format!("no program in {}", folder.display())));
    }
    files.reverse();
    let (left, failures) = (Mutex::new(files), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(file) = next(&left) {
                    if let Err(error) = one(toolchain, programs, &file) {
                        failures.lock().expect("no panic while held").push(format!("{error}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic while held");
    println!("  {}: {} of {count} programs answer as eager PyTorch", CPUS[0].name, count - failures.len());
    if failures.is_empty() { Ok(()) } else { Err(Error::Check(failures.join("\n"))) }
}

fn next(left: &Mutex<Vec<PathBuf>>) -> Option<PathBuf> {
    left.lock().expect("no panic while held").pop()
}

fn one(toolchain: &Toolchain, programs: &Programs, file: &Path) -> Result<(), Error> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut app = toolchain.emulated(&CPUS[0], &programs.app);
    app.arg(file).args(["--threads", "1", "--tolerance", TOLERANCE]);
    for (option, kind) in [("--input", "input"), ("--expect", "expected_output")] {
        for part in parts(file, &format!("{name}_{kind}")) {
            app.arg(option).arg(part);
        }
    }
    stage::limited(&format!("{name} on {}", CPUS[0].name), &mut app, PATIENCE).map(|_| ())
}

/// `STEM.bin`, or `STEM_0.bin`, `STEM_1.bin` and so on.
fn parts(file: &Path, stem: &str) -> Vec<PathBuf> {
    let alone = file.with_file_name(format!("{stem}.bin"));
    if alone.exists() {
        return vec![alone];
    }
    let numbered = (0..).map(|i| file.with_file_name(format!("{stem}_{i}.bin")));
    numbered.take_while(|path| path.exists()).collect()
}

/// The folder's files of a kind, in order.
fn with_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::reading(folder))?.flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    files.sort();
    Ok(files)
}
