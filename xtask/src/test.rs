//! Everything CI checks, in stages.

use crate::arm;
use crate::artifacts;
use crate::conformance;
use crate::env::Python;
use crate::schemas;
use crate::stage::{self, Error, Stages, cargo};

/// What to run.
#[derive(clap::Args)]
pub struct Options {
    /// Large sets whole instead of seeded samples.
    #[arg(long)]
    all: bool,
}

/// Runs every stage; the first failure ends the run.
pub fn run(options: &Options) -> Result<(), Error> {
    let mut stages = Stages::default();
    let python = stages.run("python environment", Python::ready)?;
    stages.run("rustfmt", || stage::loud("rustfmt", &mut cargo(["fmt", "--all", "--check"])))?;
    stages.run("clippy", || clippy(&python))?;
    stages.run("ruff", || ruff(&python))?;
    stages.run("schemas", || schemas::run(true))?;
    // Downloads take no core from what compiles meanwhile.
    let downloads = std::thread::spawn({
        let python = python.clone();
        move || arm::download(&python)
    });
    stages.run("rust tests", || rust_tests(options, &python))?;
    let built = stages.run("build: libraries, adapter, CLI", artifacts::build)?;
    stages.run("python and end-to-end tests", || {
        let mut pytest = built.python.command();
        pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "auto", "tests"]);
        pytest.env("TANDEM_CLI", &built.cli).env("TANDEM_ADAPTER", &built.adapter);
        if options.all {
            pytest.env("TANDEM_TEST_ALL", "1");
        }
        stage::loud("pytest", &mut pytest)
    })?;
    stages.run("ExecuTorch's operator suite", || {
        conformance::sample(&built, (!options.all).then_some(conformance::SAMPLE))
    })?;
    // What failed is tried again, and told, by the stage that needs it.
    let _ = downloads.join();
    arm::test(&mut stages, &built, options.all)?;
    stages.report();
    Ok(())
}

fn clippy(python: &Python) -> Result<(), Error> {
    let mut clippy = cargo(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    stage::loud("clippy", clippy.env("EXECUTORCH_DIR", python.executorch()?).env("PATH", python.path()))
}

fn ruff(python: &Python) -> Result<(), Error> {
    for args in [&["check", "."][..], &["format", "--check", "."][..]] {
        let mut ruff = std::process::Command::new(python.bin("ruff"));
        stage::loud("ruff", ruff.current_dir(crate::env::root()).arg("--quiet").args(args))?;
    }
    Ok(())
}

fn rust_tests(options: &Options, python: &Python) -> Result<(), Error> {
    // With the tandem program, which needs ExecuTorch's headers: crates agree on features and are compiled once.
    let mut tests = cargo(["test", "--quiet", "--workspace"]);
    tests.env("EXECUTORCH_DIR", python.executorch()?).env("PATH", python.path());
    if options.all {
        tests.env("TANDEM_TEST_ALL", "1");
    }
    stage::loud("cargo test", &mut tests)
}
