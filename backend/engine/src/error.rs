//! What goes wrong, in which stage, at which op, with which values.

use tandem_schemas::header::BlobError;

/// Category of an [`Error`], for hosts that map it to codes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An argument of a call does not fit.
    InvalidArgument,
    /// Not a Tandem program, or one of a newer format.
    IncompatibleBlob,
    /// A damaged program.
    InvalidProgram,
    /// Well-formed, but no kernel takes it.
    NotSupported,
    /// A constant is absent or of another length.
    MissingConstant,
    /// The host wanted an execute to end.
    Cancelled,
    /// A fault of Tandem's own.
    Internal,
}

/// An error of loading or executing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The blob is not a program this library reads.
    #[error("load: {0}")]
    Blob(#[from] BlobError),
    /// An index, shape or length in the program is wrong.
    #[error("verify: {op}: {what}")]
    Program {
        /// op or value
        op: String,
        /// what is wrong with it
        what: String,
    },
    /// No kernel takes an op.
    #[error("plan: {op}: {what}")]
    NotSupported {
        /// op
        op: String,
        /// what is not taken
        what: String,
    },
    /// The host has no such constant.
    #[error("load: constant {key}: {what}")]
    Constant {
        /// named-data key
        key: String,
        /// what is wrong
        what: String,
    },
    /// An argument of `execute` does not fit its specification.
    #[error("execute: {what}")]
    Argument {
        /// which tensor, expected and found
        what: String,
    },
    /// An option is unknown or its value is.
    #[error("option {key}={value}: {what}")]
    Option {
        /// key
        key: String,
        /// value
        value: String,
        /// what is wrong
        what: String,
    },
    /// The host wanted the execute to end, which it did before an op.
    #[error("execute: cancelled before {op}")]
    Cancelled {
        /// op
        op: String,
    },
    /// A kernel refused what the plan gave it.
    #[error("execute: {op}: {what}")]
    Internal {
        /// op
        op: String,
        /// what happened
        what: String,
    },
}

impl Error {
    /// Its category.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Blob(BlobError::Magic(_) | BlobError::Kind { .. } | BlobError::Newer { .. }) => {
                ErrorKind::IncompatibleBlob
            }
            Self::Blob(_) | Self::Program { .. } => ErrorKind::InvalidProgram,
            Self::NotSupported { .. } => ErrorKind::NotSupported,
            Self::Constant { .. } => ErrorKind::MissingConstant,
            Self::Argument { .. } | Self::Option { .. } => ErrorKind::InvalidArgument,
            Self::Cancelled { .. } => ErrorKind::Cancelled,
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }

    pub(crate) fn program(op: &str, what: impl Into<String>) -> Self {
        Self::Program { op: op.to_owned(), what: what.into() }
    }

    pub(crate) fn unsupported(op: &str, what: impl Into<String>) -> Self {
        Self::NotSupported { op: op.to_owned(), what: what.into() }
    }
}
