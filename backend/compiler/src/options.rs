//! What a caller may choose.

use crate::error::LowerError;
use crate::passes;

/// Options of [`crate::lower`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Names of passes to leave out.
    pub without: Vec<String>,
}

impl Options {
    /// No rewrites at all: one op per node.
    pub fn plain() -> Self {
        Self { without: passes::names().map(str::to_owned).collect() }
    }

    /// Reads "key=value;…". Keys: `without` = comma-separated names of passes, or `all`.
    ///
    /// # Errors
    /// An unknown key or pass.
    pub fn parse(text: &str) -> Result<Self, LowerError> {
        let mut options = Self::default();
        for pair in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            match pair.split_once('=') {
                Some(("without", "all")) => options = Self::plain(),
                Some(("without", names)) => {
                    for name in names.split(',').map(str::trim) {
                        if !passes::names().any(|known| known == name) {
                            let known: Vec<&str> = passes::names().collect();
                            let message =
                                format!("no pass is named {name:?}; there are {}", known.join(", "));
                            return Err(LowerError::Options(message));
                        }
                        options.without.push(name.to_owned());
                    }
                }
                _ => return Err(LowerError::Options(format!("{pair:?} is not \"without=…\""))),
            }
        }
        Ok(options)
    }
}
