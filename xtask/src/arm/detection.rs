//! What the program finds out about each processor model is what the model has.

use std::path::Path;
use std::time::Duration;

use super::cpu::{CPUS, Cpu, LONGEST, WITHOUT_SME};
use super::toolchain::Toolchain;
use crate::stage::{self, Error};

/// Longest that `tandem info` may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs `tandem info` on every processor model.
pub fn run(toolchain: &Toolchain, cli: &Path) -> Result<(), Error> {
    for cpu in CPUS.iter().chain([&WITHOUT_SME, &LONGEST]) {
        let mut info = toolchain.emulated(cpu, cli);
        let report = stage::limited(&format!("tandem info on {}", cpu.name), info.arg("info"), PATIENCE)?;
        check(cpu, &report)?;
        println!("  {:<14} {}", cpu.name, cpu.isa);
    }
    Ok(())
}

/// The emulator does not say how many units there are, so there is one wherever there are any.
fn check(cpu: &Cpu, report: &str) -> Result<(), Error> {
    let units = match cpu.vector {
        Some(bytes) => {
            format!("SME units: 1 (one assumed: the system does not say), vectors of {bytes} bytes")
        }
        None => "SME units: none: the system reports no SME".to_owned(),
    };
    let expected = [format!("instruction sets: {}", cpu.isa), units];
    match expected.iter().find(|line| !report.lines().any(|found| found == *line)) {
        Some(line) => {
            Err(Error::Check(format!("tandem info on {}: no line \"{line}\" in\n{report}", cpu.name)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_lacks_is_not_found() {
        let report =
            |isa: &str, units: &str| format!("cpu: some\ninstruction sets: {isa}\nSME units: {units}\n");
        let none = "none: the system reports no SME";
        let one = "1 (one assumed: the system does not say), vectors of 256 bytes";
        assert!(check(&WITHOUT_SME, &report(WITHOUT_SME.isa, none)).is_ok());
        assert!(check(&WITHOUT_SME, &report(LONGEST.isa, none)).is_err());
        assert!(check(&WITHOUT_SME, &report(WITHOUT_SME.isa, one)).is_err());
        assert!(check(&LONGEST, &report(LONGEST.isa, one)).is_ok());
        assert!(check(&LONGEST, &report(WITHOUT_SME.isa, one)).is_err());
        assert!(check(&CPUS[0], &report(LONGEST.isa, one)).is_err());
    }
}
