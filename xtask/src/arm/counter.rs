//! The counting emulator: every instruction that a program executes, by phase. It is not part of the project; where its
//! sources lie, it is built into the cache folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::env;
use crate::stage::{self, Error};

/// Every feature, streaming vectors of 512 bits, others of 128.
const CPU: &str = "max,sme-default-vector-length=64,sve-default-vector-length=16";
/// The phase that programs mark as their steady run.
const STEADY: &str = "3";
/// Machines with a cost model.
pub const MODELS: [&str; 2] = ["m4", "c1-ultra"];

/// What one steady inference executes.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Count {
    /// Instructions.
    pub total: u64,
    /// Outer products among them.
    #[serde(alias = "sme_outer")]
    pub outer: u64,
}

/// A count and what the emulated program printed.
pub struct Counted {
    /// The steady run.
    pub count: Count,
    /// Least cycles on each of [`MODELS`].
    pub cycles: [f64; MODELS.len()],
    /// Standard output.
    pub output: String,
}

#[derive(Deserialize)]
struct Phases {
    phases: BTreeMap<String, Count>,
}

/// The emulator, ready to run.
pub struct Counter {
    sources: PathBuf,
    built: PathBuf,
}

impl Counter {
    /// Finds the sources in `$TANDEM_INSN_COUNT`, else beside the checkout, and builds the emulator the first time:
    /// some minutes and half a GB.
    pub fn ready() -> Result<Self, Error> {
        let named = std::env::var_os("TANDEM_INSN_COUNT").map(PathBuf::from);
        let sources = named.unwrap_or_else(|| env::root().join("../shared/tools/insn-count"));
        let script = sources.join("build.sh");
        if !script.exists() {
            let folder = sources.display();
            return Err(Error::Setup(format!(
                "counting needs the tool insn-count, which is not in {folder}; TANDEM_INSN_COUNT names its folder"
            )));
        }
        let counter = Self { sources, built: env::cache().join("insn-count") };
        if !counter.emulator().exists() || !counter.plugin().exists() {
            fs::create_dir_all(&counter.built).map_err(Error::writing(&counter.built))?;
            stage::quiet("building the counting emulator", Command::new(script).arg(&counter.built))?;
        }
        Ok(counter)
    }

    fn emulator(&self) -> PathBuf {
        self.built.join("bin/qemu-aarch64")
    }

    fn plugin(&self) -> PathBuf {
        self.built.join("lib/libinsncount.so")
    }

    /// Runs a program that marks its phases; what it executed by phase and function stays in `json`.
    pub fn count(&self, root: &Path, program: &Path, args: &[&OsStr], json: &Path) -> Result<Counted, Error> {
        let mut run = Command::new(self.emulator());
        run.arg("-L").arg(root).args(["-cpu", CPU, "-plugin"]);
        run.arg(format!("{},out={},top=0", self.plugin().display(), json.display())).arg(program).args(args);
        let name = json.file_stem().unwrap_or_default().to_string_lossy();
        let output = stage::quiet(&format!("counting {name}"), &mut run)?;
        let text = fs::read_to_string(json).map_err(Error::reading(json))?;
        let Phases { phases } = serde_json::from_str(&text).map_err(|e| bad(json, &e))?;
        let count = *phases.get(STEADY).ok_or_else(|| bad(json, &"no steady run"))?;
        let mut cycles = [0.0; MODELS.len()];
        for (cycles, model) in cycles.iter_mut().zip(MODELS) {
            *cycles = self.cycles(model, json)?;
        }
        Ok(Counted { count, cycles, output })
    }

    /// Least cycles by a model: the busiest unit of each function, everything else overlapping.
    fn cycles(&self, model: &str, json: &Path) -> Result<f64, Error> {
        let mut cost = Command::new("python3");
        cost.arg(self.sources.join("cost.py")).args(["--model", model, "--phase", STEADY]).arg(json);
        let text = stage::quiet("modelling cycles", &mut cost)?;
        let cycles = text.split_once("at least ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        cycles.ok_or_else(|| bad(json, &format!("no cycles for {model}")))
    }
}

fn bad(json: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Check(format!("{}: {why}", json.display()))
}
