//! ExecuTorch's own backend test suite, through Tandem and through XNNPACK.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::artifacts::{self, Artifacts};
use crate::env;
use crate::stage::{self, Error};

/// What to run.
#[derive(clap::Args)]
pub struct Options {
    /// One operator a test.
    #[arg(long)]
    operators: bool,
    /// Whole models of torchvision and torchaudio.
    #[arg(long)]
    models: bool,
    /// This many tests of each suite, always the same ones.
    #[arg(long)]
    sample: Option<usize>,
    /// Flows to run.
    #[arg(long, value_delimiter = ',', default_values_t = ["tandem".to_owned(), "xnnpack".to_owned()])]
    flow: Vec<String>,
    /// Only tests whose names match this expression of pytest.
    #[arg(long)]
    keyword: Option<String>,
    /// Leave out tests that did not fail in an earlier run, perhaps an interrupted one.
    #[arg(long)]
    resume: bool,
    /// Folder for every program that answers as it should, its inputs and eager's answers.
    #[arg(long)]
    golden: Option<PathBuf>,
}

/// A line of the record: one finished test.
#[derive(Deserialize, Serialize)]
struct Test {
    nodeid: String,
    outcome: String,
    seconds: f64,
    #[serde(default)]
    longrepr: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize, Serialize)]
struct Metadata {
    #[serde(default)]
    subtests: Vec<Subtest>,
    /// Of each program that was lowered.
    #[serde(default)]
    delegates: Vec<u64>,
}

#[derive(Deserialize, Serialize)]
struct Subtest {
    #[serde(rename = "Result Detail", default)]
    detail: String,
    #[serde(rename = "Error", default)]
    error: String,
    #[serde(rename = "Delegated Ops", default)]
    delegated: BTreeMap<String, u64>,
    #[serde(rename = "Undelegated Ops", default)]
    undelegated: BTreeMap<String, u64>,
}

/// A flow's half of `summary.json`.
#[derive(Default, Serialize)]
struct Summary {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Passed tests all of whose subtests left no operator to the host.
    fully_delegated: u64,
    /// Tests that lowered anything, and those of them all of whose programs have one delegate.
    lowered: u64,
    single_delegate: u64,
    /// Operators of all subtests.
    delegated_ops: u64,
    undelegated_ops: u64,
    /// Operators left to the host by name, with the number of their uses.
    left_to_host: BTreeMap<String, u64>,
    failures: Vec<Failure>,
    /// Tests that passed or were skipped with something left to the host.
    undelegated: Vec<String>,
    /// Tests with another number of delegates than one.
    split: Vec<String>,
    /// Seconds of the tests that took longest.
    slowest: Vec<(String, f64)>,
}

/// Tests that the summary tells the seconds of.
const SLOWEST: usize = 20;

#[derive(Serialize)]
struct Failure {
    test: String,
    error: String,
}

/// Runs the suites, prints the table and writes `target/conformance/summary.json`.
pub fn run(options: &Options) -> Result<(), Error> {
    run_with(&artifacts::build()?, options)
}

/// Tests of the suite that are run each time, always the same ones.
pub const SAMPLE: usize = 40;

/// Where [`sample`] leaves every program that answers as it should, with its inputs and eager's answers.
pub fn golden() -> PathBuf {
    env::target().join("conformance/golden/tandem")
}

/// The operators, or a sample of them, through Tandem; a failure is an error.
pub fn sample(built: &Artifacts, sample: Option<usize>) -> Result<(), Error> {
    let flow = vec!["tandem".to_owned()];
    let golden = golden().parent().map(Path::to_owned);
    let options =
        Options { operators: true, models: false, sample, flow, keyword: None, resume: false, golden };
    run_with(built, &options)
}

fn run_with(built: &Artifacts, options: &Options) -> Result<(), Error> {
    let out = env::target().join("conformance");
    fs::create_dir_all(&out).map_err(Error::writing(&out))?;
    let mut summaries = BTreeMap::new();
    for flow in &options.flow {
        let mut summary = Summary::default();
        let suites = [("operators", options.operators || !options.models), ("models", options.models)];
        for (suite, _) in suites.iter().filter(|(_, wanted)| *wanted) {
            let record = out.join(format!("{flow}.{suite}.jsonl"));
            let mut done = if options.resume { read(&record)? } else { vec![] };
            done.retain(|test| test.outcome != "failed");
            let lines: Vec<String> =
                done.iter().map(|test| serde_json::to_string(test).expect("plain data") + "\n").collect();
            fs::write(&record, lines.concat()).map_err(Error::writing(&record))?;
            pytest(built, options, flow, suite, (&record, &done))?;
            read(&record)?.iter().for_each(|test| summary.add(test));
        }
        summary.slowest.sort_by(|a, b| b.1.total_cmp(&a.1));
        summary.slowest.truncate(SLOWEST);
        summaries.insert(flow.clone(), summary);
    }
    print(&summaries);
    let path = out.join("summary.json");
    let text = serde_json::to_string_pretty(&summaries).expect("plain data");
    fs::write(&path, text).map_err(Error::writing(&path))?;
    println!("{}", path.display());
    match summaries.get("tandem") {
        Some(tandem) if tandem.failed > 0 => {
            Err(Error::Check(format!("{} tests of the suite fail through Tandem", tandem.failed)))
        }
        _ => Ok(()),
    }
}

/// The tests of a record; none where there is no record.
fn read(record: &Path) -> Result<Vec<Test>, Error> {
    if !record.exists() {
        return Ok(vec![]);
    }
    let text = fs::read_to_string(record).map_err(Error::reading(record))?;
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().map_err(|e| Error::Check(format!("{}: {e}", record.display())))
}

/// Exit codes of pytest.
const FAILED_TESTS: i32 = 1;
const NO_TESTS: i32 = 5;

/// Runs what a suite's record does not have; failed tests are the record's to tell, anything else is an error.
fn pytest(
    built: &Artifacts,
    options: &Options,
    flow: &str,
    suite: &str,
    (record, done): (&Path, &[Test]),
) -> Result<(), Error> {
    let root = built.python.executorch()?.join("backends/test/suite");
    let mut pytest = built.python.command();
    // The suite's time limits are for a quiet machine.
    pytest.args(["-m", "pytest", "-q", "-p", "executorch_tandem.conformance", "-p", "no:timeout"]);
    pytest.args([
        "-p",
        "no:cacheprovider",
        "--tb=no",
        "--no-header",
        "-rN",
        "-W",
        "ignore",
        "-n",
        "auto",
        "--dist",
        "worksteal",
    ]);
    // The suite tells of a test what it tells pytest-json-report.
    pytest.args(["--json-report", "--json-report-file=none", "--record"]).arg(record);
    pytest.args(["-m", &format!("flow_{flow}")]);
    pytest.args(done.iter().flat_map(|test| ["--deselect", &test.nodeid]));
    pytest.arg("--rootdir").arg(&root).arg("--confcutdir").arg(&root).arg(root.join(suite));
    if let Some(count) = options.sample {
        pytest.arg(format!("--sample={count}"));
    }
    if let Some(keyword) = &options.keyword {
        pytest.args(["-k", keyword]);
    }
    pytest.env("TANDEM_ADAPTER", &built.adapter);
    if let Some(folder) = &options.golden {
        let _ = fs::remove_dir_all(folder.join(flow));
        pytest.env("GOLDEN_ARTIFACTS_DIR", folder);
    }
    match stage::loud(&format!("{suite} through {flow}"), &mut pytest) {
        Err(Error::Failed { status, .. }) if status.code() == Some(FAILED_TESTS) => Ok(()),
        Err(Error::Failed { status, .. }) if status.code() == Some(NO_TESTS) && !done.is_empty() => Ok(()),
        result => result,
    }
}

impl Summary {
    fn add(&mut self, test: &Test) {
        let (mut delegated, mut left) = (0, 0);
        for subtest in &test.metadata.subtests {
            delegated += subtest.delegated.values().sum::<u64>();
            left += subtest.undelegated.values().sum::<u64>();
            for (name, uses) in &subtest.undelegated {
                *self.left_to_host.entry(name.clone()).or_default() += uses;
            }
        }
        self.delegated_ops += delegated;
        self.undelegated_ops += left;
        let name = test.nodeid.rsplit('/').next().unwrap_or(&test.nodeid).to_owned();
        self.slowest.push((name.clone(), test.seconds));
        let delegates = &test.metadata.delegates;
        if !delegates.is_empty() {
            self.lowered += 1;
            if delegates.iter().all(|&count| count == 1) {
                self.single_delegate += 1;
            } else {
                self.split.push(name.clone());
            }
        }
        match test.outcome.as_str() {
            "passed" => {
                self.passed += 1;
                self.fully_delegated += u64::from(left == 0 && delegated > 0);
            }
            "skipped" => self.skipped += 1,
            _ => {
                self.failed += 1;
                let last = test.metadata.subtests.last();
                let error = last
                    .map_or_else(|| test.longrepr.clone(), |last| format!("{} {}", last.detail, last.error));
                self.failures.push(Failure { test: name.clone(), error });
            }
        }
        if left > 0 {
            self.undelegated.push(name);
        }
    }
}

fn print(summaries: &BTreeMap<String, Summary>) {
    println!(
        "{:<10} {:>7} {:>7} {:>8} {:>16} {:>16} {:>14} {:>16}",
        "flow",
        "passed",
        "failed",
        "skipped",
        "fully delegated",
        "one delegate",
        "delegated ops",
        "undelegated ops"
    );
    for (flow, s) in summaries {
        println!(
            "{flow:<10} {:>7} {:>7} {:>8} {:>16} {:>16} {:>14} {:>16}",
            s.passed,
            s.failed,
            s.skipped,
            s.fully_delegated,
            format!("{} of {}", s.single_delegate, s.lowered),
            s.delegated_ops,
            s.undelegated_ops
        );
        for failure in &s.failures {
            println!("  failed: {} {}", failure.test, failure.error.lines().next().unwrap_or_default());
        }
    }
}
