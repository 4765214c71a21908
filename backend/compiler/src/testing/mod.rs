//! What the passes' tests share: small graphs, the text they turn into, and what they compute.

mod build;
mod interpret;
mod random;

pub(crate) use build::Build;

use crate::error::Stage;
use crate::graph::{Graph, text, verify};
use crate::passes;
use interpret::{Array, interpret};

/// Numbers for a graph's inputs, the same every time.
fn inputs(graph: &Graph<'_>) -> Vec<Array> {
    let shape = |&id: &i32| Array::new(graph.shape(id), |i| f64::from(build::number(77 * id as usize + i)));
    graph.inputs.iter().map(shape).collect()
}

/// Largest difference of two results, relative to their largest element.
fn difference(a: &[Array], b: &[Array]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pair = |(a, b): (&Array, &Array)| {
        assert_eq!(a.shape, b.shape);
        let largest = a.data.iter().chain(&b.data).fold(1e-3, |m: f64, x| m.max(x.abs()));
        a.data.iter().zip(&b.data).fold(0.0, |m: f64, (x, y)| m.max((x - y).abs())) / largest
    };
    a.iter().zip(b).map(pair).fold(0.0, f64::max)
}

/// Fails unless the text and the results of `graph` are the expected ones; indentation does not matter.
fn expect(before: &Graph<'_>, graph: &Graph<'_>, expected: &str) {
    let lines = |text: &str| text.trim().lines().map(|l| l.trim().to_owned()).collect::<Vec<_>>().join("\n");
    let (found, expected) = (lines(&text(graph)), lines(expected));
    assert!(found == expected, "found:\n{found}\n\nexpected:\n{expected}\n");
    let difference = difference(&interpret(before, &inputs(before)), &interpret(graph, &inputs(graph)));
    assert!(difference < 1e-5, "results differ by {difference}:\n{found}");
}

/// Runs the named passes once each; fails unless they give the graph of the text `expected` with the results it had.
pub(crate) fn check(passes: &str, before: Build, expected: &str) {
    let before = before.graph();
    verify(&before, Stage::Import).unwrap();
    let mut graph = before.clone();
    for pass in passes.split(' ') {
        passes::run_one(&mut graph, pass).unwrap();
    }
    expect(&before, &graph, expected);
}

/// Fails if a pass changes anything.
pub(crate) fn check_untouched(pass: &str, before: Build) {
    let before = before.graph();
    verify(&before, Stage::Import).unwrap();
    let mut graph = before.clone();
    let changes = passes::run_one(&mut graph, pass).unwrap();
    assert!(changes == 0, "{changes} changes to\n{}\n{}", text(&before), text(&graph));
}
