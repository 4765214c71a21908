//! Which Rust compiles for Arm: the project's own toolchain where it has the target or rustup can add it, else Debian's
//! `rustc-web` with a standard library of the same version. `$TANDEM_ARM_RUST` (`own`, `debian`) decides instead.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::env;
use crate::stage::{self, Error};

/// What is compiled for.
pub const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The oldest Rust that compiles the project.
pub const LEAST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Longest that rustup may take to add the target.
const PATIENCE: Duration = Duration::from_secs(180);

/// A Rust for Arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rust {
    /// The toolchain that runs this program.
    Own,
    /// Debian's package.
    Debian,
}

impl Rust {
    /// Decides, and has rustup add the target where that is possible; what it could not do is not tried again.
    pub fn choose() -> Result<Self, Error> {
        match std::env::var("TANDEM_ARM_RUST").as_deref() {
            Ok("own") => return Ok(Self::Own),
            Ok("debian") => return Ok(Self::Debian),
            Ok(other) => {
                return Err(Error::Setup(format!("TANDEM_ARM_RUST={other} is neither own nor debian")));
            }
            Err(_) => {}
        }
        if own_has_target() {
            return Ok(Self::Own);
        }
        let note = note();
        if note.exists() {
            return Ok(Self::Debian);
        }
        let mut rustup = Command::new("rustup");
        let added =
            stage::limited("adding Rust's Arm target", rustup.args(["target", "add", TARGET]), PATIENCE);
        if added.is_ok() && own_has_target() {
            return Ok(Self::Own);
        }
        fs::create_dir_all(env::cache()).map_err(Error::writing(&env::cache()))?;
        fs::write(&note, "rustup could not add the target\n").map_err(Error::writing(&note))?;
        Ok(Self::Debian)
    }

    /// Forgets that rustup could not add the target.
    pub fn forget() {
        let _ = fs::remove_file(note());
    }
}

fn note() -> PathBuf {
    env::cache().join("arm-no-rustup")
}

/// Whether the toolchain at hand has the target's standard library and test harness.
fn own_has_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let Ok(answer) = asked else { return false };
    let folder = PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim());
    let libraries: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".rlib"))
        .collect();
    ["libcore-", "libstd-", "libtest-"].iter().all(|part| libraries.iter().any(|name| name.starts_with(part)))
}
