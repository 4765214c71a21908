//! Whole models inside ExecuTorch's arm64 runtime, under the emulator: the C++ example, linked with ExecuTorch's arm64
//! wheel and the adapter, answers as eager PyTorch does on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::cpu::{CPUS, Cpu, WITHOUT_SME};
use super::rust::TARGET;
use super::toolchain::{Toolchain, cargo_target};
use crate::artifacts::Artifacts;
use crate::env::{self, Python};
use crate::stage::{self, Error};

/// What `tests/arm/export.py` writes, and the largest difference relative to the answer's range.
const MODELS: [(&str, &str); 3] = [("squeezesam", "1e-4"), ("mobilenet_v2", "1e-4"), ("transformer", "1e-4")];

/// Longest that a model may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What was built for arm64.
pub struct Programs {
    /// The C++ example.
    pub app: PathBuf,
    /// The `tandem` program.
    pub cli: PathBuf,
}

/// Builds the adapter, the C++ example and the CLI against ExecuTorch's arm64 wheel.
pub fn build(toolchain: &Toolchain, python: &Python) -> Result<Programs, Error> {
    let executorch = wheel(python)?;
    // CMake remembers where its compilers are.
    let name = toolchain.folder().file_name().unwrap_or_default();
    let folder = env::target().join("arm").join(name);
    let (adapter, app) = (folder.join("adapter"), folder.join("cpp_app"));
    let cross = Cross { toolchain, python, executorch: &executorch };
    let root = env::root();
    cross.build("adapter and CLI", &root, &adapter, &["-DTANDEM_PROGRAM=ON".to_owned()])?;
    let found = format!("-Dtandem_DIR={}", adapter.display());
    cross.build("C++ example", &root.join("examples/cpp_app"), &app, &[found])?;
    Ok(Programs { app: app.join("cpp_app"), cli: cargo_target().join(TARGET).join("release/tandem") })
}

/// ExecuTorch's arm64 package, as its wheel brings it.
pub fn wheel(python: &Python) -> Result<PathBuf, Error> {
    let version = env::pin("executorch")?;
    let name = format!("executorch-{version}-arm64");
    let folder = env::cached(&name, |folder| {
        let mut pip = Command::new(python.bin("python"));
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--only-binary=:all:", "--platform", "manylinux_2_28_aarch64"]);
        pip.arg("--dest").arg(folder).arg(format!("executorch=={version}"));
        stage::download("downloading ExecuTorch for arm64", &mut pip)?;
        let files = std::fs::read_dir(folder).map_err(Error::reading(folder))?.flatten();
        for wheel in files.map(|entry| entry.path()) {
            let mut unpack = Command::new(python.bin("python"));
            unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder);
            stage::quiet("unpacking ExecuTorch for arm64", &mut unpack)?;
            std::fs::remove_file(&wheel).map_err(Error::writing(&wheel))?;
        }
        Ok(())
    })?;
    Ok(folder.join("executorch"))
}

/// What CMake builds with.
struct Cross<'a> {
    toolchain: &'a Toolchain,
    python: &'a Python,
    executorch: &'a Path,
}

impl Cross<'_> {
    fn build(&self, what: &str, source: &Path, build: &Path, options: &[String]) -> Result<(), Error> {
        let mut configure = self.cmake();
        configure.arg("-S").arg(source).arg("-B").arg(build).args([
            "-G",
            "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
        ]);
        let file = env::root().join("cmake/aarch64-linux-gnu.cmake");
        configure.arg(format!("-DCMAKE_TOOLCHAIN_FILE={}", file.display()));
        configure.arg(format!("-DCMAKE_PREFIX_PATH={}", self.executorch.display())).args(options);
        stage::quiet(&format!("configuring the {what} for arm64"), &mut configure)?;
        stage::quiet(&format!("building the {what} for arm64"), self.cmake().arg("--build").arg(build))
            .map(|_| ())
    }

    fn cmake(&self) -> Command {
        let mut cmake = Command::new(self.python.bin("cmake"));
        self.toolchain.prepare(&mut cmake, &self.python.path());
        cmake.env("EXECUTORCH_DIR", self.executorch);
        cmake
    }
}

/// Runs every model on a processor with SME and on all without, where an instruction of it is illegal, and looks at the
/// plans.
pub fn run(toolchain: &Toolchain, programs: &Programs, built: &Artifacts) -> Result<(), Error> {
    let files = env::target().join("arm/models");
    built.export("exporting small models", &["tests/arm/export.py"], &files)?;
    let without = CPUS.iter().chain([&WITHOUT_SME]).filter(|cpu| cpu.vector.is_none());
    for cpu in [&CPUS[0]].into_iter().chain(without) {
        for (name, tolerance) in MODELS {
            let mut app = toolchain.emulated(cpu, &programs.app);
            app.arg(files.join(format!("{name}.pte"))).args(["--threads", "2", "--repeat", "2"]);
            app.arg("--input").arg(files.join(format!("{name}.input")));
            app.arg("--expect").arg(files.join(format!("{name}.expected"))).args(["--tolerance", tolerance]);
            let report = stage::limited(&format!("{name} on {}", cpu.name), &mut app, PATIENCE)?;
            let error = report.lines().find(|line| line.starts_with("max_abs_err")).unwrap_or_default();
            println!("  {:<14} {name:<14} {error}", cpu.name);
        }
    }
    MODELS
        .iter()
        .try_for_each(|(name, _)| plans(toolchain, programs, name, &files.join(format!("{name}.pte"))))
}

/// Steps are planned in the unit where there is one, unless the environment forbids it.
fn plans(toolchain: &Toolchain, programs: &Programs, name: &str, file: &Path) -> Result<(), Error> {
    let planned = |cpu, isa| steps_in_unit(toolchain, programs, cpu, isa, file);
    let [with, off, without] =
        [planned(&CPUS[0], None)?, planned(&CPUS[0], Some("neon"))?, planned(&WITHOUT_SME, None)?];
    let counts = format!(
        "{name}: {with} steps in the unit with SME2, {off} with TANDEM_ISA=neon, {without} without SME"
    );
    if with == 0 || off > 0 || without > 0 {
        return Err(Error::Check(counts));
    }
    println!("  {counts}");
    Ok(())
}

/// A row of `tandem profile --json`.
#[derive(Deserialize)]
struct Row {
    engine: String,
}

#[derive(Deserialize)]
struct Profile {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Document {
    models: Vec<Profile>,
}

/// How many steps of a file's plan run in the matrix unit.
fn steps_in_unit(
    toolchain: &Toolchain,
    programs: &Programs,
    cpu: &Cpu,
    isa: Option<&str>,
    file: &Path,
) -> Result<usize, Error> {
    let json = file.with_extension("profile.json");
    let mut profile = toolchain.emulated(cpu, &programs.cli);
    profile.args(["profile", "--repeat", "1", "--json"]).arg(&json).arg(file);
    profile.env_remove("TANDEM_ISA").envs(isa.map(|isa| ("TANDEM_ISA", isa)));
    stage::limited(&format!("profile on {}", cpu.name), &mut profile, PATIENCE)?;
    let text = std::fs::read_to_string(&json).map_err(Error::reading(&json))?;
    let wrong = |e| Error::Check(format!("{}: {e}", json.display()));
    let document: Document = serde_json::from_str(&text).map_err(wrong)?;
    let rows = document.models.iter().flat_map(|model| &model.rows);
    Ok(rows.filter(|row| ["sme", "both"].contains(&&*row.engine)).count())
}
