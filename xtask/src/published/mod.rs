//! What others published of SME devices beside what `tandem` models of it. One named row calibrates C1's unit, every other is
//! held out: profiles hold what is known of the hardware, whatever these rows say, and a miss is kept with its likely reason.

mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::artifacts::{self, Artifacts};
use crate::env;
use crate::stage::{self, Error};

/// The largest error of a hit, in percent.
const HIT: f64 = 20.0;

/// A published figure and what is modelled of it.
#[derive(Debug, Serialize)]
struct Row {
    /// Whose figure.
    source: &'static str,
    /// Of what.
    what: String,
    unit: &'static str,
    /// From, to; the same where it is one.
    published: [f64; 2],
    /// None where nothing models it.
    modelled: Option<f64>,
    /// To the nearer end of what is published, 0 inside.
    error_percent: Option<f64>,
    outcome: Outcome,
    /// What the comparison leaves out, or why it likely misses.
    note: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Hit,
    Miss,
    Calibrates,
    #[serde(rename = "not modelled")]
    NotModelled,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Calibrates => "calibrates",
            Self::NotModelled => "not modelled",
        }
    }
}

impl Row {
    fn new(
        source: &'static str,
        (what, unit): (impl Into<String>, &'static str),
        published: [f64; 2],
        modelled: Option<f64>,
        note: &'static str,
    ) -> Self {
        let [from, to] = published;
        let error_percent = modelled.map(|value| match value {
            value if value < from => 100.0 * (value / from - 1.0),
            value if value > to => 100.0 * (value / to - 1.0),
            _ => 0.0,
        });
        let outcome = match error_percent {
            None => Outcome::NotModelled,
            Some(error) if error.abs() <= HIT => Outcome::Hit,
            Some(_) => Outcome::Miss,
        };
        Self { source, what: what.into(), unit, published, modelled, error_percent, outcome, note }
    }
}

/// `tandem explain --sweep --json`, as far as it is wanted here.
#[derive(Deserialize)]
struct Swept {
    rows: Vec<Placed>,
}

#[derive(Deserialize)]
struct Placed {
    layer: String,
    m: usize,
    gflops: f64,
    cores_gflops: f64,
    units_gflops: Option<f64>,
    apart_gflops: Option<f64>,
}

/// `tandem simulate --json`, as far as it is wanted here. In ms.
#[derive(Deserialize)]
struct Simulated {
    modelled_ms: f64,
    rows: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    shape: String,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    category: String,
    modelled_ms: f64,
}

impl Simulated {
    /// Of a kind of work, a linear layer behind a permute, here a 1x1 convolution, counting as the product it is there.
    fn category(&self, name: &str) -> f64 {
        let parts = self.rows.iter().flat_map(|row| {
            let linear = row.shape.contains(" 1x1 ");
            row.parts.iter().map(move |part| match part.category.as_str() {
                "Convolution" if linear => ("GEMM", part.modelled_ms),
                category => (category, part.modelled_ms),
            })
        });
        parts.filter(|(category, _)| *category == name).map(|(_, ms)| ms).sum()
    }
}

/// What models.
struct Models {
    built: Artifacts,
    out: PathBuf,
}

/// Exports, models, prints and writes `target/published/summary.json`.
pub fn run() -> Result<(), Error> {
    let models = Models { built: artifacts::build()?, out: env::target().join("published") };
    fs::create_dir_all(&models.out).map_err(Error::writing(&models.out))?;
    let mut all = rows::smepilot(&models)?;
    let (talk, calibrated) = rows::talk(&models)?;
    all.extend(talk);
    all.extend(rows::networks(&models, &calibrated)?);
    print(&all);
    let path = models.out.join("summary.json");
    let text = serde_json::to_string_pretty(&all).expect("plain data");
    fs::write(&path, text).map_err(Error::writing(&path))?;
    println!("{}", path.display());
    Ok(())
}

impl Models {
    /// Products of all sizes on so many threads of a device.
    fn sweep(&self, device: &str, threads: usize) -> Result<Vec<Placed>, Error> {
        let json = self.out.join(format!("{device}.sweep.json"));
        let mut command = Command::new(&self.built.cli);
        command.args(["explain", "--sweep", "--device", device, "--threads", &threads.to_string()]);
        stage::quiet("sweeping products", command.arg("--json").arg(&json))?;
        let swept: Vec<Swept> = read(&json)?;
        Ok(swept.into_iter().flat_map(|swept| swept.rows).collect())
    }

    /// A model as XNNPACK is modelled to run it on one thread of a device.
    fn xnnpack(&self, file: &Path, device: &str, engine: &str) -> Result<Simulated, Error> {
        let json = self.out.join("simulated.json");
        let mut command = Command::new(&self.built.cli);
        command.arg("simulate").arg(file).args(["--device", device, "--threads", "1", "--engine", engine]);
        command.args(["--baseline", "xnnpack", "--json"]).arg(&json);
        stage::quiet(&format!("modelling {}", file.display()), &mut command)?;
        read(&json)
    }

    fn squeezesam_f16(&self) -> Result<PathBuf, Error> {
        let script = ["examples/squeezesam/export.py", "--form", "tandem_f16"];
        let out = self.out.join("squeezesam");
        self.built.export("exporting squeezesam of f16", &script, &out)?;
        Ok(out.join("squeezesam.tandem_f16.pte"))
    }

    fn network(&self, name: &str) -> Result<PathBuf, Error> {
        let script = ["examples/zoo/export.py", "--model", name];
        let out = self.out.join(name);
        self.built.export(&format!("exporting {name}"), &script, &out)?;
        Ok(out.join(format!("{name}.tandem.pte")))
    }

    /// A shipped profile whose unit reaches a share of every rate in it, as a file.
    fn calibrated(&self, device: &str, share: f64, source: &str) -> Result<PathBuf, Error> {
        let shipped = env::root().join(format!("backend/engine/src/device/profiles/{device}.toml"));
        let text = fs::read_to_string(&shipped).map_err(Error::reading(&shipped))?;
        let wrong = |what: String| Error::Check(format!("{}: {what}", shipped.display()));
        let mut profile: toml::Table = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let unit = profile.get_mut("sme").and_then(toml::Value::as_table_mut);
        for (name, figure) in unit.ok_or_else(|| wrong("no unit".to_owned()))?.iter_mut() {
            let rate =
                ["gflops", "gops", "gelems", "gbs"].iter().any(|unit| name.ends_with(&format!("_{unit}")));
            let Some(figure) = figure.as_table_mut().filter(|_| rate) else { continue };
            let value = figure.get("value").and_then(toml::Value::as_float);
            let value = value.ok_or_else(|| wrong(format!("{name} has no value")))?;
            figure.insert("value".to_owned(), toml::Value::Float(value * share));
            figure.insert("confidence".to_owned(), toml::Value::String("derived".to_owned()));
            figure.insert("source".to_owned(), toml::Value::String(source.to_owned()));
        }
        let path = self.out.join(format!("{device}-calibrated.toml"));
        fs::write(&path, profile.to_string()).map_err(Error::writing(&path))?;
        Ok(path)
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(Error::reading(path))?;
    serde_json::from_str(&text).map_err(|e| Error::Check(format!("{}: {e}", path.display())))
}

fn print(rows: &[Row]) {
    let mut source = "";
    for row in rows {
        if row.source != source {
            source = row.source;
            println!("\n{source}\n{:<58} {:>16} {:>10} {:>8}", "", "published", "modelled", "error");
        }
        let [from, to] = row.published;
        let range = if from == to { format!("{from}") } else { format!("{from} to {to}") };
        let modelled = row.modelled.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let error = row.error_percent.map_or_else(String::new, |error| format!("{error:+.0} %"));
        println!(
            "{:<58} {:>16} {modelled:>10} {error:>8}  {}",
            format!("{}, {}", row.what, row.unit),
            range,
            row.outcome.name()
        );
        if !row.note.is_empty() {
            println!("    {}", row.note);
        }
    }
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    println!(
        "\nheld out: {} hits (within {HIT} %), {} misses; {} not modelled; all figures of ours are modelled",
        count(Outcome::Hit),
        count(Outcome::Miss),
        count(Outcome::NotModelled)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_to_the_nearer_end() {
        let row = |modelled| Row::new("", ("", ""), [100.0, 200.0], modelled, "");
        let of = |modelled| (row(Some(modelled)).error_percent.unwrap().round(), row(Some(modelled)).outcome);
        assert_eq!(of(150.0), (0.0, Outcome::Hit));
        assert_eq!(of(81.0), (-19.0, Outcome::Hit));
        assert_eq!(of(79.0), (-21.0, Outcome::Miss));
        assert_eq!(of(242.0), (21.0, Outcome::Miss));
        assert_eq!((row(None).error_percent, row(None).outcome), (None, Outcome::NotModelled));
    }
}
