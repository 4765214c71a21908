//! Rust tests under the emulator: built once, run on every processor model.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::cpu::{CPUS, Cpu, LONGEST};
use super::rust::TARGET;
use super::toolchain::Toolchain;
use crate::stage::{self, Error, cargo};

/// Crates whose tests run.
const CRATES: [&str; 5] = ["tandem-base", "tandem-kernels", "tandem-compiler", "tandem-engine", "tandem-ffi"];

/// Longest that a test program may take: emulated threads have been seen to wait for ever.
const PATIENCE: Duration = Duration::from_secs(3600);
const PATIENCE_ALL: Duration = Duration::from_secs(4 * 3600);

/// Tests that take long and whose answer one processor model gives: a sample runs them on the first alone.
const ONCE: [&str; 19] = [
    "::several_",
    "::few_",
    "::widened_in_parts",
    "windows_in_bands",
    "every_way_matches",
    "::large_blocks",
    "::long_sums",
    "::activations",
    "::elementary_functions",
    "::transposes_of_several",
    "::padded_image",
    "attention::tests::random",
    "chain::tests",
    "deconv::tests::random",
    "norm::tests::random",
    "bits_do_not_depend",
    "executing_does_not_allocate",
    "changed_programs_are",
    "damaged_programs_give",
];

/// Test programs whose answers one processor model gives, as [`ONCE`]: emulated units are plain Rust, layouts are searched for
/// and devices modelled by the same prices everywhere.
const ONCE_PROGRAMS: [&str; 3] = ["engine/emulated", "engine/layout", "engine/modelled"];

/// A test program and the folder that cargo would start it in.
pub struct Binary {
    name: String,
    program: PathBuf,
    folder: PathBuf,
}

/// The lines of `cargo --message-format=json` that name what was built.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds every test program, optimised since emulation is slow enough, and static since that starts faster.
pub fn build(toolchain: &Toolchain) -> Result<Vec<Binary>, Error> {
    let mut build = cargo(["test", "--quiet", "--no-run", "--message-format=json-render-diagnostics"]);
    toolchain.prepare(&mut build, &std::env::var_os("PATH").unwrap_or_default());
    build.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static");
    build.env("CARGO_PROFILE_DEV_OPT_LEVEL", "3").env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    build.args(["--target", TARGET]).args(CRATES.iter().flat_map(|name| ["--package", name]));
    let lines = stage::quiet("building tests for arm64", &mut build)?;
    let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let binaries: Vec<Binary> = artifacts.filter_map(binary).collect();
    if binaries.is_empty() {
        return Err(Error::Check("cargo built no test program for arm64".to_owned()));
    }
    Ok(binaries)
}

fn binary(artifact: Artifact) -> Option<Binary> {
    let program = artifact.executable.filter(|_| artifact.profile.test)?;
    let folder = artifact.manifest_path.parent()?.to_owned();
    let package = folder.file_name()?.to_string_lossy().into_owned();
    Some(Binary { name: format!("{package}/{}", artifact.target.name), program, folder })
}

/// Tests of what runs in the matrix unit.
const UNIT: [&str; 6] = ["sme2::", "gemm::", "conv::", "depthwise::", "softmax::", "guard::"];

/// Runs them on every processor model, the matrix unit's on the longest vectors as well; `all` without the samples' limits.
pub fn run(toolchain: &Toolchain, binaries: &[Binary], all: bool) -> Result<(), Error> {
    let once: Vec<&str> = ONCE.iter().filter(|_| !all).flat_map(|name| ["--skip", name]).collect();
    for (index, cpu) in CPUS.iter().enumerate() {
        let cases = if index == 0 { 10 } else { 5 };
        let skipped: &[&str] = if index == 0 { &[] } else { &once };
        let alike = CPUS[..index].iter().find(|other| (other.isa, other.vector) == (cpu.isa, cpu.vector));
        if let Some(other) = alike.filter(|_| !all) {
            println!("  {:<14} has the instructions of {}: with --all only", cpu.name, other.name);
            continue;
        }
        let wanted = |binary: &&Binary| all || index == 0 || !ONCE_PROGRAMS.contains(&&*binary.name);
        let binaries = binaries.iter().filter(wanted);
        run_on(toolchain, cpu, binaries, skipped, (!all).then_some(cases))?;
    }
    let kernels = binaries.iter().filter(|binary| binary.name.starts_with("kernels/"));
    run_on(toolchain, &LONGEST, kernels, &[&UNIT[..], &once].concat(), (!all).then_some(5))
}

/// Runs the tests that the harness's arguments choose, of each property a number of random cases or the whole set.
fn run_on<'a>(
    toolchain: &Toolchain,
    cpu: &Cpu,
    binaries: impl Iterator<Item = &'a Binary>,
    args: &[&str],
    cases: Option<u32>,
) -> Result<(), Error> {
    let start = Instant::now();
    let mut passed = 0;
    for binary in binaries {
        let mut test = toolchain.emulated(cpu, &binary.program);
        test.current_dir(&binary.folder).args(args);
        match cases {
            None => test.env("TANDEM_TEST_ALL", "1"),
            Some(cases) => test.env("PROPTEST_CASES", cases.to_string()).env("TANDEM_TEST_FEW", "1"),
        };
        let what = format!("{} on {}", binary.name, cpu.name);
        let patience = if cases.is_some() { PATIENCE } else { PATIENCE_ALL };
        let report = stage::limited(&what, &mut test, patience)?;
        passed += tests_passed(&report);
    }
    println!("  {:<14} {passed} tests passed, {:.1} s", cpu.name, start.elapsed().as_secs_f64());
    Ok(())
}

/// `test result: ok. 18 passed; …` of the test harness.
fn tests_passed(report: &str) -> usize {
    let results = report.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    results.filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok()).sum()
}
