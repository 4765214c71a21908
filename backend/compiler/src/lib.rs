//! Export-time lowering: Subgraph → graph → passes → packed constants → Program.
#![forbid(unsafe_code)]

mod dynamic;
mod emit;
mod error;
mod graph;
mod import;
mod ops;
mod options;
mod passes;
mod tensor;
#[cfg(test)]
mod testing;

use std::collections::HashMap;

use dynamic::Dims;
use tandem_schemas::{read_subgraph, write_program};

pub use emit::{Entry, dump};
pub use error::{LowerError, Stage};
pub use options::Options;

/// Where the bytes of a subgraph's constants are found.
pub trait ConstantSource {
    /// Row-major bytes of the constant with this key.
    fn get(&self, key: &str) -> Option<&[u8]>;
}

impl<B: AsRef<[u8]>> ConstantSource for HashMap<String, B> {
    fn get(&self, key: &str) -> Option<&[u8]> {
        HashMap::get(self, key).map(AsRef::as_ref)
    }
}

/// A lowered subgraph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// The Program with its header.
    pub program: Vec<u8>,
    /// The constants it names, to be stored as named data.
    pub entries: Vec<Entry>,
}

/// Reads a subgraph blob as [`lower`] does, at every size that does, and stops there: whether all of its nodes are taken.
///
/// # Errors
/// Those of [`lower`] that the nodes are the reason of.
pub fn check(blob: &[u8], constants: &dyn ConstantSource) -> Result<(), LowerError> {
    let subgraph = read_subgraph(blob)?;
    if dynamic::is_dynamic(&subgraph) {
        return dynamic::graph(&subgraph, constants, None).map(|_| ());
    }
    import::import(&subgraph, constants, HashMap::new()).map(|_| ())
}

/// Lowers a subgraph blob.
///
/// # Errors
/// Everything wrong with the blob, its constants or the options, and whatever is not supported; the message names the
/// stage, the op and the values.
pub fn lower(blob: &[u8], constants: &dyn ConstantSource, options: &Options) -> Result<Lowered, LowerError> {
    let subgraph = read_subgraph(blob)?;
    let (graph, dims) = if dynamic::is_dynamic(&subgraph) {
        let (graph, dims) = dynamic::graph(&subgraph, constants, Some(options))?;
        dynamic::solvable(&graph, &dims)?;
        (graph, dims)
    } else {
        let mut graph = import::import(&subgraph, constants, HashMap::new())?;
        passes::run(&mut graph, options)?;
        emit::separate_outputs(&mut graph);
        (graph, Dims::default())
    };
    let (program, entries) = emit::emit(&graph, &dims)?;
    Ok(Lowered { program: write_program(&program), entries })
}
