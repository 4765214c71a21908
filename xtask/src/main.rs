//! The project's own commands. `cargo xtask demo` and `cargo xtask test` are the two a newcomer needs: they set up
//! everything else (a Python environment with ExecuTorch, the adapter, the CLI) under the user's cache folder and
//! `target/`.
#![forbid(unsafe_code)]

mod arm;
mod artifacts;
mod bench;
mod conformance;
mod demo;
mod env;
mod layout;
mod published;
mod roofline;
mod schemas;
mod stage;
mod test;

use clap::{Parser, Subcommand};

/// Tandem's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets up the Python environment with ExecuTorch and prints where it is.
    Setup,
    /// Builds the libraries, the ExecuTorch adapter and the `tandem` CLI in release.
    Build,
    /// Everything CI checks: lints, Rust, Python and end-to-end tests.
    Test(test::Options),
    /// SqueezeSAM through Tandem and XNNPACK side by side: table, mask, profile page, summary.
    Demo(demo::Options),
    /// Tandem against XNNPACK on the benchmark models, interleaved.
    Bench(bench::Options),
    /// Layouts by the rule and by the state pass: conversions, bytes and time of every benchmark model.
    Layout(layout::Options),
    /// Predicted against measured time of every step of the benchmark models, and a roofline picture.
    Roofline(roofline::Options),
    /// What others published, beside what is modelled of it: every figure with its error, hit or miss.
    Published,
    /// ExecuTorch's own backend test suite through Tandem and through XNNPACK.
    Conformance(conformance::Options),
    /// Arm under emulation: cross toolchain, emulator and the tests that run there.
    #[command(subcommand)]
    Arm(arm::Command),
    /// Regenerates the committed code of the two schemas.
    Schemas {
        /// Fail where the committed code is not current, and change nothing.
        #[arg(long)]
        check: bool,
    },
}

fn main() {
    let result = match Cli::parse().command {
        Command::Setup => env::Python::ready().map(|python| println!("{}", python.root().display())),
        Command::Build => artifacts::build().map(|_| ()),
        Command::Test(options) => test::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Layout(options) => layout::run(&options),
        Command::Roofline(options) => roofline::run(&options),
        Command::Published => published::run(),
        Command::Conformance(options) => conformance::run(&options),
        Command::Arm(command) => arm::run(&command),
        Command::Schemas { check } => schemas::run(check),
    };
    if let Err(error) = result {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
