//! What can go wrong while lowering.

use std::fmt;

use tandem_schemas::header::BlobError;

/// Why an op, value or argument was refused, in words; the stage and the op are added by whoever called.
pub(crate) type Reason = String;

/// Where lowering was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Turning the subgraph's nodes into ops.
    Import,
    /// A named rewrite.
    Pass(&'static str),
    /// Finding one program for all sizes.
    Dynamic,
    /// Packing constants and writing the program.
    Emit,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Import => f.write_str("import"),
            Self::Pass(name) => write!(f, "pass {name}"),
            Self::Dynamic => f.write_str("sizes"),
            Self::Emit => f.write_str("emit"),
        }
    }
}

/// Why a subgraph could not be lowered.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// The blob is damaged, of the wrong kind, or newer than this library.
    #[error("lower: read: {0}")]
    Blob(#[from] BlobError),
    /// An option is unknown or has a value it cannot have.
    #[error("lower: options: {0}")]
    Options(String),
    /// The graph as a whole is wrong.
    #[error("lower: {stage}: {message}")]
    Graph {
        /// where
        stage: Stage,
        /// what, with the values
        message: String,
    },
    /// One node or op is wrong or not supported.
    #[error("lower: {stage}: {op} \"{node}\": {message}")]
    Node {
        /// where
        stage: Stage,
        /// ATen name or op kind
        op: String,
        /// the node's name
        node: String,
        /// what, with the values
        message: String,
    },
}

impl LowerError {
    /// Where lowering was.
    pub(crate) fn stage(&self) -> Option<Stage> {
        match self {
            Self::Graph { stage, .. } | Self::Node { stage, .. } => Some(*stage),
            Self::Blob(_) | Self::Options(_) => None,
        }
    }
}
