//! What executions show of a plan: how long steps take, and at what pace engines that share one work.

use std::collections::HashMap;

use serde::Serialize;

use crate::Error;
use crate::bridge::ffi;
use crate::model::Model;
use crate::profile::intervals::{self, Place};
use crate::profile::table;
use crate::stats::{Progress, median};

/// Of a step that cores and matrix units share as they find themselves to be fast: ns of a tile, and who computed how many.
#[derive(Clone, Serialize)]
pub struct Seen {
    core_predicted_ns: f64,
    unit_predicted_ns: f64,
    core_ns: f64,
    unit_ns: f64,
    /// Of the tiles, as planned.
    unit_share: f64,
    core_tiles: u64,
    unit_tiles: u64,
}

impl Seen {
    /// Of a step that shares nothing, `None`.
    pub fn of(step: &ffi::Step) -> Option<Self> {
        let ffi::Seen {
            core_predicted_ns,
            unit_predicted_ns,
            core_ns,
            unit_ns,
            unit_share,
            core_tiles,
            unit_tiles,
        } = step.seen;
        (core_predicted_ns > 0.0).then_some(Self {
            core_predicted_ns,
            unit_predicted_ns,
            core_ns,
            unit_ns,
            unit_share,
            core_tiles,
            unit_tiles,
        })
    }
}

/// Every step's time in ns, by method, each in every execution.
pub type Times = HashMap<usize, Vec<Vec<f64>>>;

/// Executes with seeded inputs, so many times.
///
/// # Errors
/// Those of the executions.
pub fn execute(model: &mut Model, repeat: u32) -> Result<Times, Error> {
    let inputs = model.seeded_inputs(1)?;
    model.set_inputs(&inputs)?;
    let mut times = Times::new();
    let progress = Progress::new("executing", repeat as usize);
    for _ in 0..repeat {
        let _ = model.take_events();
        model.execute()?;
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for interval in intervals::read(&model.take_events())?.intervals {
            let Place::Tandem(method) = interval.place else { continue };
            let (steps, at) = (times.entry(method).or_default(), counts.entry(method).or_default());
            steps.resize_with(steps.len().max(*at + 1), Vec::new);
            steps[*at].push(interval.ns as f64);
            *at += 1;
        }
        progress.step();
    }
    Ok(times)
}

/// Of a method's step, the median.
pub fn time(times: &Times, method: usize, step: usize) -> Option<f64> {
    times.get(&method)?.get(step).map(|ns| median(ns))
}

/// Prints how engines that share steps were seen to work.
pub fn print<'a>(steps: impl Iterator<Item = (&'a str, &'a Seen)>) {
    let header = ["shared step", "tile in a unit, µs", "on a core, µs", "of the unit"];
    let (mut out, mut any) = (table::table(&header, &[1, 2, 3]), false);
    let both = |before: f64, now: f64| format!("{:.1} → {:.1}", before / 1e3, now / 1e3);
    for (name, seen) in steps.filter(|(_, seen)| seen.core_tiles + seen.unit_tiles > 0) {
        let all = (seen.core_tiles + seen.unit_tiles) as f64;
        let share = format!("{:.0} → {:.0} %", 100.0 * seen.unit_share, 100.0 * seen.unit_tiles as f64 / all);
        out.add_row([
            name.to_owned(),
            both(seen.unit_predicted_ns, seen.unit_ns),
            both(seen.core_predicted_ns, seen.core_ns),
            share,
        ]);
        any = true;
    }
    if any {
        println!("as planned → as seen, which is what the next execute shares by\n{out}");
    }
}
