//! Timelines of executions in the form of Chrome's traces.

use serde_json::{Value, json};

use super::intervals::{Execution, Place};

/// Chrome's format: complete events, in microseconds; a process for each file, in it a lane for what the executing thread ran
/// and one for each thread that was in a matrix unit.
pub fn trace(files: &[(String, Execution)]) -> String {
    let event = |file: &str, lane: &str, name: &str, (start_ns, ns): (u64, u64), kernel: &str| {
        json!({
            "ph": "X", "pid": file, "tid": lane, "name": name,
            "ts": start_ns as f64 * 1e-3, "dur": ns as f64 * 1e-3, "args": { "kernel": kernel },
        })
    };
    let mut events: Vec<Value> = Vec::new();
    for (file, execution) in files {
        // A call's interval stands for what its steps leave of it, wherever that lies.
        for step in execution.intervals.iter().filter(|interval| interval.place != Place::Call) {
            events.push(event(file, "steps", &step.name, (step.start_ns, step.ns), &step.detail));
        }
        for entry in &execution.entries {
            let (thread, step) = entry.what.split_once(" of ").unwrap_or((&entry.what, ""));
            let lane = format!("matrix unit, {thread}");
            events.push(event(file, &lane, step, (entry.start_ns, entry.ns), ""));
        }
    }
    json!({ "traceEvents": events }).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::intervals::{Entry, Interval};
    use super::*;

    #[test]
    fn steps_and_threads_in_units_have_lanes() {
        let interval = |place, name: &str| Interval {
            place,
            name: name.to_owned(),
            detail: "a-row".to_owned(),
            shape: String::new(),
            start_ns: 1000,
            ns: 2500,
        };
        let entry = Entry { what: "thread 2 of enc.conv".to_owned(), start_ns: 1500, ns: 500 };
        let execution = Execution {
            intervals: vec![interval(Place::Tandem(7), "enc.conv"), interval(Place::Call, "delegate call")],
            entries: vec![entry],
            ..Execution::default()
        };
        let text = trace(&[("model".to_owned(), execution)]);
        let events = serde_json::from_str::<Value>(&text).unwrap()["traceEvents"].take();
        let seen =
            |i: usize| [&events[i]["tid"], &events[i]["name"]].map(|text| text.as_str().unwrap().to_owned());
        assert_eq!(events.as_array().unwrap().len(), 2);
        assert_eq!(
            (seen(0), seen(1)),
            (
                ["steps", "enc.conv"].map(str::to_owned),
                ["matrix unit, thread 2", "enc.conv"].map(str::to_owned)
            )
        );
        assert_eq!((&events[1]["ts"], &events[1]["dur"]), (&json!(1.5), &json!(0.5)));
    }
}
