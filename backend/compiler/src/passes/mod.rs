//! Rewrites, each a file of its own with before and after in its tests.

mod activation;
mod attention;
mod batch_norm;
mod casts;
mod concat;
mod dead;
mod elementwise;
mod hoist;
mod identity;
mod linear;
mod moves;
mod pixel_shuffle;
mod pointwise;
mod projections;
mod residual;
mod scalars;
mod slices;
mod storage;
mod views;

use crate::Options;
use crate::error::{LowerError, Reason, Stage};
use crate::graph::{Graph, GraphEdit, text, verify};

/// A rewrite: changes the graph through the edit, or leaves it alone.
struct Pass {
    name: &'static str,
    run: fn(&mut GraphEdit<'_, '_>) -> Result<(), Reason>,
}

/// The pass whose results depend on sizes.
pub(crate) const MOVES: &str = "moves";

/// Every pass, in the order they run.
const PASSES: &[Pass] = &[
    Pass { name: "identity", run: identity::run },
    Pass { name: "casts", run: casts::run },
    Pass { name: "scalars", run: scalars::run },
    Pass { name: "views", run: views::run },
    Pass { name: "linear", run: linear::run },
    Pass { name: "hoist", run: hoist::run },
    Pass { name: "slices", run: slices::run },
    Pass { name: "pointwise", run: pointwise::run },
    Pass { name: "elementwise", run: elementwise::run },
    Pass { name: "attention", run: attention::run },
    Pass { name: "projections", run: projections::run },
    Pass { name: "activation", run: activation::run },
    Pass { name: "batch_norm", run: batch_norm::run },
    Pass { name: "residual", run: residual::run },
    Pass { name: "pixel_shuffle", run: pixel_shuffle::run },
    Pass { name: "concat", run: concat::run },
    Pass { name: MOVES, run: moves::run },
    Pass { name: "dead", run: dead::run },
];

/// Passes that run once, behind all others.
const LAST: &[Pass] = &[Pass { name: "storage", run: storage::run }, Pass { name: "dead", run: dead::run }];

/// Most times the passes run over a graph; each run only ever makes it simpler.
const MAX_ROUNDS: usize = 16;

/// Names of the passes.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PASSES.iter().map(|pass| pass.name).chain(["storage"])
}

/// Runs the passes until none changes anything.
pub(crate) fn run(graph: &mut Graph<'_>, options: &Options) -> Result<(), LowerError> {
    let wanted = |pass: &&Pass| !options.without.iter().any(|name| name == pass.name);
    for _ in 0..MAX_ROUNDS {
        let mut changes = 0;
        for pass in PASSES.iter().filter(wanted) {
            changes += run_pass(graph, pass)?;
        }
        if changes == 0 {
            break;
        }
    }
    for pass in LAST.iter().filter(wanted) {
        run_pass(graph, pass)?;
    }
    Ok(())
}

/// Runs one pass once; gives the number of its changes.
#[cfg(test)]
pub(crate) fn run_one(graph: &mut Graph<'_>, name: &str) -> Result<usize, LowerError> {
    let named = PASSES.iter().chain(LAST).find(|pass| pass.name == name);
    named.map_or(Err(LowerError::Options(format!("no pass is named {name:?}"))), |pass| run_pass(graph, pass))
}

fn run_pass(graph: &mut Graph<'_>, pass: &Pass) -> Result<usize, LowerError> {
    let stage = Stage::Pass(pass.name);
    let mut edit = GraphEdit::new(graph);
    (pass.run)(&mut edit).map_err(|message| LowerError::Graph { stage, message })?;
    let changes = edit.changes();
    if changes > 0 {
        verify(graph, stage)?;
        log::trace!("{stage}: {changes} changes\n{}", text(graph));
    }
    Ok(changes)
}
