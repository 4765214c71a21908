//! What the program finds out about each processor model: it starts and says so on every one.

use std::path::Path;
use std::time::Duration;

use super::cpu::CPUS;
use super::toolchain::Toolchain;
use crate::stage::{self, Error};

/// Longest that `tandem info` may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `tandem info` on every processor model and prints the instruction sets it found.
pub fn run(toolchain: &Toolchain, cli: &Path) -> Result<(), Error> {
    for cpu in &CPUS {
        let mut info = toolchain.emulated(cpu, cli);
        let report = stage::limited(&format!("tandem info on {}", cpu.name), info.arg("info"), PATIENCE)?;
        let found = report.lines().find(|line| line.starts_with("instruction sets"));
        let found = found.ok_or_else(|| Error::Check(format!("tandem info on {}: {report}", cpu.name)))?;
        println!("  {:<14} {found}", cpu.name);
    }
    Ok(())
}
