//! What was modelled, and its forms: JSON, a page, a trace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Baseline, Engine};
use crate::bridge::ffi;

/// The form of `--json`. All times and rates are modelled.
#[derive(Serialize)]
pub struct Document {
    file: PathBuf,
    device: String,
    /// Planned for.
    pub threads: usize,
    /// What may compute a step.
    pub engine: Engine,
    /// Whether a step may keep both engines busy.
    pub overlap: bool,
    /// The stack it is about, unless that is Tandem.
    pub baseline: Option<Baseline>,
    /// All steps.
    pub modelled_ms: f64,
    /// Tandem's, beside a baseline.
    pub tandem_modelled_ms: Option<f64>,
    /// Sums.
    pub categories: BTreeMap<String, f64>,
    /// Steps in order.
    pub rows: Vec<Row>,
}

/// A step.
#[derive(Serialize)]
pub struct Row {
    /// Readable.
    pub name: String,
    op: String,
    category: String,
    /// Readable.
    pub shape: String,
    /// "cpu", "sme" or "both"
    pub engine: String,
    /// Readable.
    pub kernel: String,
    layout_in: String,
    layout_out: String,
    start_ms: f64,
    /// On the threads planned for.
    pub modelled_ms: f64,
    /// Arithmetic by definition over time.
    pub gflops: f64,
    /// Of the arithmetic, in units.
    pub unit_share: f64,
    parts: Vec<Part>,
    reason: String,
}

/// What an engine does of a step, at a stretch.
#[derive(Serialize)]
struct Part {
    name: String,
    engine: String,
    category: String,
    start_ms: f64,
    modelled_ms: f64,
    share: f64,
}

impl Document {
    /// Of all delegates that are loaded, one after the other.
    pub fn new(file: &Path, device: String) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for step in ffi::delegates().into_iter().flat_map(|delegate| ffi::steps(delegate.method)) {
            let start_ms = rows.last().map_or(0.0, |row| row.start_ms + row.modelled_ms);
            rows.push(Row::new(step, start_ms));
        }
        let mut categories = BTreeMap::new();
        for (category, ms) in rows.iter().flat_map(Row::by_category) {
            *categories.entry(category.to_owned()).or_insert(0.0) += ms;
        }
        let modelled_ms = rows.iter().map(|row| row.modelled_ms).sum();
        Self {
            file: file.to_owned(),
            device,
            threads: 1,
            engine: Engine::Both,
            overlap: true,
            baseline: None,
            modelled_ms,
            tandem_modelled_ms: None,
            categories,
            rows,
        }
    }
}

impl Row {
    fn new(step: ffi::Step, start_ms: f64) -> Self {
        let ffi::Step { name, op, category, shape, engine, kernel, reason, flops, predicted_ns, .. } = step;
        let part = |part: ffi::Part| Part {
            name: part.name,
            engine: part.engine,
            category: part.category,
            start_ms: start_ms + part.start_ns * 1e-6,
            modelled_ms: part.ns * 1e-6,
            share: part.share,
        };
        let parts: Vec<Part> = step.parts.into_iter().map(part).collect();
        let gflops = if predicted_ns > 0.0 { flops / predicted_ns } else { 0.0 };
        let unit_share = parts.iter().filter(|part| part.engine == "sme").map(|part| part.share).sum();
        let (layout_in, layout_out, modelled_ms) = (step.layout_in, step.layout_out, predicted_ns * 1e-6);
        Self {
            name,
            op,
            category,
            shape,
            engine,
            kernel,
            layout_in,
            layout_out,
            start_ms,
            modelled_ms,
            gflops,
            unit_share,
            parts,
            reason,
        }
    }

    /// Its time by kind of work: engines that share a step do the same kind at the same time.
    fn by_category(&self) -> Vec<(&str, f64)> {
        if self.engine == "both" {
            return vec![(&self.category, self.modelled_ms)];
        }
        self.parts.iter().map(|part| (part.category.as_str(), part.modelled_ms)).collect()
    }
}

/// What a page shows.
pub fn page(document: &Document, about: &str) -> Value {
    let rows = document.rows.iter().map(|row| {
        let parts = row.parts.iter().map(|part| {
            json!({
                "name": part.name, "lane": part.engine, "category": part.category,
                "start_ms": part.start_ms, "ms": part.modelled_ms, "part": part.share,
            })
        });
        json!({
            "name": row.name, "op": row.op, "category": row.category, "shape": row.shape, "engine": row.engine,
            "kernel": row.kernel, "layout_in": row.layout_in, "layout_out": row.layout_out,
            "start_ms": row.start_ms, "ms": row.modelled_ms, "share": row.modelled_ms / document.modelled_ms,
            "gflops": row.gflops, "reason": row.reason, "parts": parts.collect::<Vec<_>>(),
        })
    });
    let categories = document.categories.iter().map(|(name, ms)| {
        let count = document.rows.iter().filter(|row| row.category == *name).count();
        json!({ "name": name, "ms": ms, "share": ms / document.modelled_ms, "count": count })
    });
    let stack = if document.baseline.is_some() { "XNNPACK, " } else { "" };
    let name = document.file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    json!({
        "modelled": about,
        "threads": document.threads,
        "models": [{
            "name": format!("{stack}{name}"), "file": document.file, "lanes": ["sme", "cpu"],
            "traced_ms": document.modelled_ms,
            "categories": categories.collect::<Vec<_>>(), "rows": rows.collect::<Vec<_>>(),
        }],
    })
}

/// Chrome's format: complete events, in microseconds, a thread for each engine.
pub fn trace(document: &Document) -> String {
    let events = document.rows.iter().flat_map(|row| {
        row.parts.iter().map(move |part| {
            let name = if part.name.is_empty() { row.name.clone() } else { format!("{}: {}", row.name, part.name) };
            json!({
                "ph": "X", "pid": 1, "tid": part.engine, "name": name, "cat": part.category,
                "ts": part.start_ms * 1e3, "dur": part.modelled_ms * 1e3,
                "args": { "op": row.op, "shape": row.shape, "kernel": row.kernel, "share": part.share, "modelled": true },
            })
        })
    });
    json!({ "traceEvents": events.collect::<Vec<Value>>() }).to_string()
}
