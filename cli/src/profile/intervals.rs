//! One execution's events as intervals that follow each other.

use crate::Error;
use crate::bridge::ffi::{Event, EventKind};

/// Who ran it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Step of a delegate of Tandem: the method's handle.
    Tandem(usize),
    /// Inside another backend's delegate.
    Delegate,
    /// An operator of ExecuTorch's own kernels.
    Portable,
    /// What a delegate call takes beside the steps it logs.
    Call,
}

/// One operator, or what lies between.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Who ran it.
    pub place: Place,
    /// As logged.
    pub name: String,
    /// What the delegate added to the event.
    pub detail: String,
    /// Of the result, where known.
    pub shape: String,
    /// Since the execution began.
    pub start_ns: u64,
    /// Its length.
    pub ns: u64,
}

/// A thread in a matrix unit, inside a step of Tandem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// "thread N", and the step.
    pub what: String,
    /// Since the execution began.
    pub start_ns: u64,
    /// Its length.
    pub ns: u64,
}

/// What the adapter calls such an event.
const ENTRY: &str = "matrix unit";

/// An execution.
#[derive(Clone, Debug, Default)]
pub struct Execution {
    /// In the order they began.
    pub intervals: Vec<Interval>,
    /// In the order they began.
    pub entries: Vec<Entry>,
    /// Delegate calls of any backend.
    pub delegates: usize,
    /// From entry to return.
    pub ns: u64,
}

/// Reads the events of one execution, given in the order they began.
///
/// # Errors
/// Events without an execution around them.
pub fn read(events: &[Event]) -> Result<Execution, Error> {
    let whole = events.iter().find(|e| e.kind == EventKind::Runtime && e.name == "Method::execute");
    let whole = whole.ok_or_else(|| Error::Profile("the runtime logged no execution".to_owned()))?;
    let mut execution = Execution { ns: length(whole), ..Execution::default() };
    for (at, event) in events.iter().enumerate() {
        if event.kind != EventKind::Runtime {
            continue;
        }
        let inside = &events[at + 1..];
        let since = |e: &Event| e.start_ns.saturating_sub(whole.start_ns);
        match event.name.as_str() {
            "OPERATOR_CALL" => {
                let kernel = inside.first().filter(|e| e.start_ns <= event.end_ns).unwrap_or(event);
                execution.intervals.push(Interval {
                    place: Place::Portable,
                    name: kernel.name.trim_start_matches("native_call_").to_owned(),
                    detail: String::new(),
                    shape: kernel.shape.clone(),
                    start_ns: since(event),
                    ns: length(event),
                });
            }
            "DELEGATE_CALL" => {
                execution.delegates += 1;
                delegate_call(event, inside, since, &mut execution);
            }
            _ => {}
        }
    }
    Ok(execution)
}

fn delegate_call(call: &Event, inside: &[Event], since: impl Fn(&Event) -> u64, into: &mut Execution) {
    let mut spent = 0;
    for event in inside.iter().take_while(|e| e.kind == EventKind::Delegate) {
        if event.method != 0 && event.name == ENTRY {
            let what = event.detail.clone();
            into.entries.push(Entry { what, start_ns: since(event), ns: length(event) });
            continue;
        }
        spent += length(event);
        into.intervals.push(Interval {
            place: if event.method == 0 { Place::Delegate } else { Place::Tandem(event.method) },
            name: event.name.clone(),
            detail: event.detail.clone(),
            shape: String::new(),
            start_ns: since(event),
            ns: length(event),
        });
    }
    into.intervals.push(Interval {
        place: Place::Call,
        name: "delegate call".to_owned(),
        detail: String::new(),
        shape: call.shape.clone(),
        start_ns: since(call),
        ns: length(call).saturating_sub(spent),
    });
}

fn length(event: &Event) -> u64 {
    event.end_ns.saturating_sub(event.start_ns)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn event(kind: EventKind, name: &str, (start_ns, end_ns): (u64, u64), method: usize) -> Event {
        let text = String::new;
        let name = name.to_owned();
        Event { kind, name, detail: text(), shape: text(), instruction: 0, method, start_ns, end_ns }
    }

    #[test]
    fn operators_and_calls_are_told_apart() {
        let events = [
            event(EventKind::Runtime, "Method::execute", (100, 1100), 0),
            event(EventKind::Runtime, "OPERATOR_CALL", (110, 210), 0),
            event(EventKind::Runtime, "native_call_add.out", (120, 200), 0),
            event(EventKind::Runtime, "DELEGATE_CALL", (300, 900), 0),
            event(EventKind::Delegate, "enc.conv", (350, 650), 7),
            Event {
                detail: "thread 1 of enc.conv".to_owned(),
                ..event(EventKind::Delegate, ENTRY, (360, 500), 7)
            },
            event(EventKind::Delegate, "enc.pool", (650, 850), 7),
            event(EventKind::Runtime, "DELEGATE_CALL", (900, 1000), 0),
            event(EventKind::Delegate, "Copy (NC, X32) #1", (910, 1000), 0),
        ];
        let execution = read(&events).unwrap();
        assert_eq!((execution.ns, execution.delegates), (1000, 2));
        let entry = Entry { what: "thread 1 of enc.conv".to_owned(), start_ns: 260, ns: 140 };
        assert_eq!(execution.entries, [entry]);
        let seen: Vec<(&str, Place, u64, u64)> =
            execution.intervals.iter().map(|i| (i.name.as_str(), i.place, i.start_ns, i.ns)).collect();
        let expected = [
            ("add.out", Place::Portable, 10, 100),
            ("enc.conv", Place::Tandem(7), 250, 300),
            ("enc.pool", Place::Tandem(7), 550, 200),
            ("delegate call", Place::Call, 200, 100),
            ("Copy (NC, X32) #1", Place::Delegate, 810, 90),
            ("delegate call", Place::Call, 800, 10),
        ];
        assert_eq!(seen, expected);
        assert!(read(&events[1..]).is_err());
    }
}
