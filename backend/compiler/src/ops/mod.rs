//! The ATen operators, a file for each or for a few of a kind, each turning a checked node into ops.

mod activation;
mod conv;
mod linear;
mod view;

use crate::error::Reason;
use crate::import::Call;

/// Reads one node and pushes its ops.
pub(crate) type Parse = fn(&mut Call<'_, '_>) -> Result<(), Reason>;

/// ATen name, or several of one form, and what reads them.
pub(crate) type Row = (&'static str, Parse);

/// The tables of all files.
const TABLES: &[&[Row]] = &[activation::OPS, conv::OPS, linear::OPS, view::OPS];

/// What reads nodes of an ATen name ("aten.relu.default").
pub(crate) fn find(name: &str) -> Option<Parse> {
    TABLES.iter().flat_map(|t| t.iter()).find(|(known, _)| *known == name).map(|(_, parse)| *parse)
}
