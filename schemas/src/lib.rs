//! The two blobs Tandem reads and writes, [`subgraph`] (partitioner → compiler) and [`program`]
//! (compiler → engine), generated from `schemas/*.fbs`, and the [`header`] both carry.
//!
//! Use the object API (`SubgraphT`, `ProgramT`): both sides copy a blob once, verified, into owned structs.

pub mod header;
pub mod symbols;

#[rustfmt::skip]
#[allow(missing_docs, unused, clippy::all, clippy::undocumented_unsafe_blocks, mismatched_lifetime_syntaxes, unsafe_op_in_unsafe_fn, unused_lifetimes)]
mod generated {
    pub mod program_generated;
    pub mod subgraph_generated;
}

/// `program.fbs`: fused ops and packed constants.
pub mod program {
    pub use crate::generated::program_generated::tandem::program::*;
}

/// `subgraph.fbs`: ATen-level nodes.
pub mod subgraph {
    pub use crate::generated::subgraph_generated::tandem::subgraph::*;
}

use header::{BlobError, BlobKind};

/// Verifies header and flatbuffer of a subgraph blob and copies it out.
pub fn read_subgraph(blob: &[u8]) -> Result<subgraph::SubgraphT, BlobError> {
    let payload = header::payload(blob, BlobKind::Subgraph)?;
    let root = flatbuffers::root_with_opts::<subgraph::Subgraph>(&verifier(), &payload)?;
    Ok(root.unpack())
}

/// Verifies header and flatbuffer of a program blob and copies it out.
///
/// Indices inside the program are not checked here: the engine does, op by op.
pub fn read_program(blob: &[u8]) -> Result<program::ProgramT, BlobError> {
    let payload = header::payload(blob, BlobKind::Program)?;
    let root = flatbuffers::root_with_opts::<program::Program>(&verifier(), &payload)?;
    Ok(root.unpack())
}

/// Serialises a subgraph with its header.
pub fn write_subgraph(subgraph: &subgraph::SubgraphT) -> Vec<u8> {
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let root = subgraph.pack(&mut builder);
    builder.finish_minimal(root);
    header::wrap(BlobKind::Subgraph, builder.finished_data())
}

/// Serialises a program with its header.
pub fn write_program(program: &program::ProgramT) -> Vec<u8> {
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let root = program.pack(&mut builder);
    builder.finish_minimal(root);
    header::wrap(BlobKind::Program, builder.finished_data())
}

fn verifier() -> flatbuffers::VerifierOptions {
    flatbuffers::VerifierOptions {
        max_depth: 16,
        max_tables: 1_000_000,
        max_apparent_size: 1 << 30,
        ignore_missing_null_terminator: false,
    }
}
