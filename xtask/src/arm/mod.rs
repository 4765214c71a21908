//! Arm without Arm hardware: a cross toolchain and an emulator in the cache folder, and every test run with them.

mod apt;
mod assembly;
mod count;
mod counter;
mod cpu;
mod detection;
mod golden;
mod models;
mod rust;
mod toolchain;
mod units;
mod verdict;

use crate::artifacts::{self, Artifacts};
use crate::conformance;
use crate::env::Python;
use crate::stage::{Error, Stages};
use rust::Rust;
use toolchain::Toolchain;

/// What to do.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Downloads cross compiler, arm64 libraries and emulator into the cache folder and prints where they are.
    Setup,
    /// Runs the tests and small models under the emulator, at three vector lengths of SME and on cores without it.
    Test(Options),
    /// Counts instructions of Tandem and XNNPACK on the same cases: one thread, 512-bit streaming vectors.
    Count(count::Options),
    /// Runs the programs of ExecuTorch's operator suite under the emulator: exported here, compared with eager's answers.
    Golden(golden::Options),
}

/// What to test.
#[derive(clap::Args)]
pub struct Options {
    /// Whole test sets instead of samples: hours.
    #[arg(long)]
    all: bool,
}

/// Runs a command.
pub fn run(command: &Command) -> Result<(), Error> {
    match command {
        Command::Setup => {
            Rust::forget();
            println!("{}", Toolchain::ready()?.folder().display());
            Ok(())
        }
        Command::Count(options) => count::run(options),
        Command::Golden(options) => golden::run(options),
        Command::Test(options) => {
            let mut stages = Stages::default();
            let built = stages.run("build: libraries, adapter, CLI", artifacts::build)?;
            stages.run("ExecuTorch's operator suite", || {
                conformance::sample(&built, (!options.all).then_some(conformance::SAMPLE))
            })?;
            test(&mut stages, &built, options.all)?;
            stages.report();
            Ok(())
        }
    }
}

/// Fetches what the stages below need, for them to find it there.
pub fn download(python: &Python) -> Result<(), Error> {
    Toolchain::ready()?;
    models::wheel(python).map(|_| ())
}

/// The stages of `arm test`.
pub fn test(stages: &mut Stages, built: &Artifacts, all: bool) -> Result<(), Error> {
    let toolchain = stages.run("arm: toolchain and emulator", Toolchain::ready)?;
    let binaries = stages.run("arm: build tests", || units::build(&toolchain))?;
    let programs =
        stages.run("arm: build adapter, C++ example, CLI", || models::build(&toolchain, &built.python))?;
    stages.run("arm: assembly for other systems", assembly::run)?;
    stages.run("arm: detection", || detection::run(&toolchain, &programs.cli))?;
    stages.run("arm: rust tests under emulation", || units::run(&toolchain, &binaries, all))?;
    stages.run("arm: models under emulation", || models::run(&toolchain, &programs, built))?;
    stages.run("arm: operator suite under emulation", || golden::check(&toolchain, &programs))
}
