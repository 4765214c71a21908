//! What a profile says: rows, categories, memory; the form of `--json`.

use std::collections::HashMap;

use serde::Serialize;

use super::classify::{self, Category};
use super::intervals::{Execution, Interval, Place};
use crate::Error;
use crate::bridge::ffi::Step;
use crate::stats::median;

/// One operator.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Name in the model, or the kernel's where nothing better is known.
    pub name: String,
    /// Kind of operator.
    pub op: String,
    /// Kind of work.
    pub category: Option<Category>,
    /// "tandem", "delegate", "portable" or "call".
    pub place: &'static str,
    /// Readable.
    pub shape: String,
    /// "cpu", "sme" or "both"
    pub engine: String,
    /// Readable.
    pub kernel: String,
    /// Readable.
    pub layout_in: String,
    /// Readable.
    pub layout_out: String,
    /// Why this kernel.
    pub reason: String,
    /// Median time since the execution began.
    pub start_ms: f64,
    /// Median.
    pub ms: f64,
    /// Of the sum of all rows.
    pub share: f64,
    /// What was predicted for these threads.
    pub predicted_ms: Option<f64>,
    /// Arithmetic by definition.
    pub flops: Option<f64>,
    /// Bytes that must move at least, by definition.
    pub bytes: Option<f64>,
    /// Arithmetic by definition over time.
    pub gflops: Option<f64>,
    /// Of the machine's measured multiply-add peak.
    pub peak_share: Option<f64>,
}

/// Sum of a category.
#[derive(Clone, Debug, Serialize)]
pub struct Total {
    /// Which.
    pub name: &'static str,
    /// Sum of medians.
    pub ms: f64,
    /// Of the sum of all rows.
    pub share: f64,
    /// Rows.
    pub count: usize,
}

/// Memory and loading, all of Tandem's delegates together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Footprint {
    /// Mapping and verifying the file.
    pub load_ms: f64,
    /// Loading the method, delegates of any backend included.
    pub method_ms: f64,
    /// Of it, in Tandem's init.
    pub init_ms: f64,
    /// Of it, verifying programs.
    pub verify_ms: f64,
    /// Of it, planning.
    pub plan_ms: f64,
    /// Intermediate values.
    pub arena_bytes: u64,
    /// Most bytes alive at once.
    pub live_bytes: u64,
    /// Workspaces.
    pub scratch_bytes: u64,
    /// Constants where the file is mapped.
    pub weight_bytes: u64,
    /// Growth of the peak resident size from before loading to after the third execution.
    pub rss_growth_bytes: u64,
}

/// A model's profile.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Profile {
    /// Its file.
    pub file: String,
    /// The file's name without folders and extension.
    pub name: String,
    /// Delegate calls an execution makes, of any backend.
    pub delegates: usize,
    /// Operators outside delegates.
    pub portable_ops: usize,
    /// Stand-alone transposes, layout conversions and copies, wherever they run.
    pub transposes: usize,
    /// Median execution with nothing traced.
    pub wall_ms: f64,
    /// Median execution with events.
    pub traced_ms: f64,
    /// Instruction sets of Tandem's plan.
    pub isa: String,
    /// Memory and loading.
    #[serde(flatten)]
    pub footprint: Footprint,
    /// Sums.
    pub categories: Vec<Total>,
    /// Operators in order.
    pub rows: Vec<Row>,
}

/// Medians over executions of the same method.
///
/// # Errors
/// Executions that ran different operators.
pub fn rows(
    executions: &[Execution],
    shapes: &Execution,
    steps: &HashMap<usize, Vec<Step>>,
    peak_gflops: f64,
) -> Result<Vec<Row>, Error> {
    let first = executions.first().ok_or_else(|| Error::Profile("nothing was executed".to_owned()))?;
    let same = |e: &Execution| {
        e.intervals.len() == first.intervals.len()
            && e.intervals.iter().zip(&first.intervals).all(|(a, b)| a.name == b.name)
    };
    if !executions.iter().all(same) || !same(shapes) {
        return Err(Error::Profile("executions of one method ran different operators".to_owned()));
    }
    let mut cursors: HashMap<usize, usize> = HashMap::new();
    let mut rows: Vec<Row> = Vec::with_capacity(first.intervals.len());
    for (i, interval) in first.intervals.iter().enumerate() {
        let of = |f: fn(&Interval) -> u64| {
            median(&executions.iter().map(|e| f(&e.intervals[i]) as f64 * 1e-6).collect::<Vec<_>>())
        };
        let mut row = describe(interval, &shapes.intervals[i].shape, steps, &mut cursors);
        row.start_ms = of(|x| x.start_ns);
        row.ms = of(|x| x.ns);
        if let Some(flops) = row.flops.filter(|f| *f > 0.0 && row.ms > 0.0) {
            let gflops = flops / row.ms * 1e-6;
            row.gflops = Some(gflops);
            row.peak_share = Some(gflops / peak_gflops);
        }
        rows.push(row);
    }
    let sum: f64 = rows.iter().map(|row| row.ms).sum();
    for row in &mut rows {
        row.share = if sum > 0.0 { row.ms / sum } else { 0.0 };
    }
    Ok(rows)
}

fn describe(
    interval: &Interval,
    shape: &str,
    steps: &HashMap<usize, Vec<Step>>,
    cursors: &mut HashMap<usize, usize>,
) -> Row {
    let name = interval.name.clone();
    match interval.place {
        Place::Tandem(method) => {
            let row = Row { name, place: "tandem", kernel: interval.detail.clone(), ..Row::default() };
            let steps = steps.get(&method).map_or(&[][..], Vec::as_slice);
            let cursor = cursors.entry(method).or_insert(0);
            let found = (0..steps.len())
                .map(|ahead| (*cursor + ahead) % steps.len())
                .find(|&index| steps[index].name == interval.name);
            let Some(index) = found else { return Row { category: Some(Category::Other), ..row } };
            *cursor = index + 1;
            with_step(row, &steps[index])
        }
        Place::Delegate => {
            let parts = classify::xnnpack(&interval.name);
            Row {
                op: parts.op.to_owned(),
                kernel: parts.kernel.to_owned(),
                layout_in: parts.layout.to_owned(),
                layout_out: parts.layout.to_owned(),
                category: Some(parts.category),
                place: "delegate",
                engine: "cpu".to_owned(),
                name,
                ..Row::default()
            }
        }
        Place::Portable => Row {
            op: name.clone(),
            category: Some(Category::Portable),
            place: "portable",
            engine: "cpu".to_owned(),
            shape: shape.to_owned(),
            name,
            ..Row::default()
        },
        Place::Call => Row {
            op: "call".to_owned(),
            category: Some(Category::Other),
            place: "call",
            reason: "entering and leaving the delegate, and logging its events".to_owned(),
            name,
            ..Row::default()
        },
    }
}

fn with_step(row: Row, step: &Step) -> Row {
    Row {
        op: step.op.clone(),
        category: Some(Category::named(&step.category)),
        shape: step.shape.clone(),
        engine: step.engine.clone(),
        kernel: if row.kernel.is_empty() { step.kernel.clone() } else { row.kernel },
        layout_in: step.layout_in.clone(),
        layout_out: step.layout_out.clone(),
        reason: step.reason.clone(),
        predicted_ms: Some(step.predicted_ns * 1e-6),
        flops: Some(step.flops),
        bytes: Some(step.bytes),
        ..row
    }
}

/// Sums by category, in the order of [`Category::ALL`], the empty ones left out.
pub fn totals(rows: &[Row]) -> Vec<Total> {
    let total = |category: Category| {
        let of = || rows.iter().filter(move |row| row.category == Some(category));
        let (ms, share) = (of().map(|r| r.ms).sum(), of().map(|r| r.share).sum());
        Total { name: category.name(), ms, share, count: of().count() }
    };
    Category::ALL.into_iter().map(total).filter(|total| total.count > 0).collect()
}

/// Stand-alone layout changes and copies among rows: every step of Tandem that only moves data, and what is known to do
/// no more elsewhere.
pub fn transposes(rows: &[Row]) -> usize {
    let moves = |row: &&Row| match row.place {
        "tandem" => row.category == Some(Category::DataMovement),
        _ => classify::moves_layout(&row.op),
    };
    rows.iter().filter(moves).count()
}

#[cfg(test)]
mod tests {
    use super::super::intervals;
    use super::super::intervals::tests::event;
    use super::*;
    use crate::bridge::ffi::EventKind;

    fn execution(scale: u64) -> Execution {
        let events = [
            event(EventKind::Runtime, "Method::execute", (0, 1000 * scale), 0),
            event(EventKind::Runtime, "DELEGATE_CALL", (0, 600 * scale), 0),
            event(EventKind::Delegate, "a", (0, 400 * scale), 7),
            event(EventKind::Delegate, "b", (400 * scale, 600 * scale), 7),
            event(EventKind::Runtime, "OPERATOR_CALL", (600 * scale, 1000 * scale), 0),
            event(EventKind::Runtime, "native_call_permute_copy.out", (600 * scale, 1000 * scale), 0),
        ];
        intervals::read(&events).unwrap()
    }

    fn steps() -> HashMap<usize, Vec<Step>> {
        let step = |name: &str, category: &str, flops: f64| Step {
            name: name.to_owned(),
            category: category.to_owned(),
            flops,
            ..Step::default()
        };
        HashMap::from([(7, vec![step("a", "Convolution", 4e6), step("b", "GEMM", 0.0)])])
    }

    #[test]
    fn rows_are_medians_with_what_steps_say() {
        let executions = [execution(1000), execution(3000), execution(2000)];
        let rows = rows(&executions, &executions[0], &steps(), 10.0).unwrap();
        let names: Vec<&str> = rows.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "delegate call", "permute_copy.out"]);
        assert_eq!(rows[0].category, Some(Category::Convolution));
        assert!((rows[0].ms - 0.8).abs() < 1e-12 && (rows[0].share - 0.4).abs() < 1e-9);
        assert!((rows[0].gflops.unwrap() - 5.0).abs() < 1e-9);
        assert!((rows[0].peak_share.unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(rows[1].gflops, None);
        assert_eq!(transposes(&rows), 1);
        let totals = totals(&rows);
        assert_eq!(
            totals.iter().map(|t| t.name).collect::<Vec<_>>(),
            ["Convolution", "GEMM", "Portable", "Other"]
        );
        assert!((totals.iter().map(|t| t.share).sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn different_operators_are_an_error() {
        let mut other = execution(1);
        other.intervals[0].name = "c".to_owned();
        assert!(rows(&[execution(1), other], &execution(1), &steps(), 10.0).is_err());
        assert!(rows(&[], &execution(1), &steps(), 10.0).is_err());
    }
}
