//! The `tandem` command: runs, profiles and compares `.pte` files in ExecuTorch's own runtime.

mod bench;
mod bridge;
mod characterize;
mod explain;
mod info;
mod machine;
mod model;
mod page;
mod profile;
mod run;
mod simulate;
mod stats;
mod sweep;
mod tensor;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

/// Runs, profiles and compares .pte files.
#[derive(Parser)]
#[command(name = "tandem", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a model and prints or writes its outputs.
    Run(run::Options),
    /// One row per operator: where the time goes, and what every operator ran on.
    Profile(profile::Options),
    /// Compares files, interleaved in one process.
    Bench(bench::Options),
    /// How values lie, who decided it, every copy left, and what computes each step; or what would compute which shapes where.
    Explain(explain::Options),
    /// What a model is modelled to take on a device that is described, not there.
    Simulate(simulate::Options),
    /// Measures this machine once, for all later plans.
    Characterize(characterize::Options),
    /// This machine: instruction sets, peak, kernels.
    Info,
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// the file
        path: PathBuf,
        /// the system's answer
        source: std::io::Error,
    },
    /// What was asked for does not fit the model.
    #[error("{0}")]
    Input(String),
    /// A model does not do what it must.
    #[error("{0}")]
    Check(String),
    /// Events that make no profile.
    #[error("profile: {0}")]
    Profile(String),
    /// ExecuTorch's answer and what it logged on the way.
    #[error("{0}")]
    ExecuTorch(#[from] cxx::Exception),
}

impl Error {
    /// For `map_err` on reading or writing a file.
    pub fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    }
}

fn main() {
    let result = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Profile(options) => profile::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Characterize(options) => characterize::run(&options),
        Command::Info => info::run(),
    };
    if let Err(error) = result {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
