//! What an audit shows, in words.

use std::fmt;

use serde::Serialize;

/// What an audit shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something was found.
    None {
        /// How many findings there are.
        findings: usize,
    },
    /// What is kept agrees with itself and with the inputs.
    Consistent,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None { findings: 1 } => f.write_str("level: none, for what was found"),
            Self::None { findings } => write!(f, "level: none, for the {findings} findings"),
            Self::Consistent => f.write_str(
                "level: consistent. Record, fingerprints, results, bytes and inputs agree with one another. Whoever can \
                 write the cache could have invented all of them: compare the head with one that was noted before, verify \
                 a signature, or compute it again with --replay.",
            ),
        }
    }
}
