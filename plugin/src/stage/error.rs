//! Why a stage failed, with the next step.

use std::error::Error as StdError;
use std::fmt;
use std::io::ErrorKind;

use crate::table::TableError;

/// Why a stage or an item failed. Made from any error with `?`.
#[derive(Debug)]
pub struct StageError {
    /// The cause.
    pub source: Box<dyn StdError + Send + Sync>,
    /// What to do about it.
    pub advice: Option<String>,
}

impl StageError {
    /// An error that is only a message.
    pub fn message(text: impl Into<String>) -> Self {
        Self { source: text.into().into(), advice: None }
    }

    /// Puts words before the message. What is known of the cause stays: advice, and whether something stored is lost.
    #[must_use]
    pub fn prefixed(self, words: impl Into<String>) -> Self {
        let Self { source, advice } = self;
        Self { source: Box::new(Prefixed { words: words.into(), source }), advice }
    }

    /// Adds the next step.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The stored blob whose loss is the cause, if it is.
    pub fn lost_blob(&self) -> Option<pipe_cache::Digest> {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(self.source.as_ref());
        while let Some(error) = cause {
            if let Some(digest) = error.downcast_ref().and_then(pipe_cache::Error::lost_blob) {
                return Some(digest);
            }
            cause = error.source();
        }
        None
    }

    /// What to do about it, as far as anybody knows.
    pub fn full_advice(&self) -> Option<String> {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(self.source.as_ref());
        let mut is_full = false;
        let mut of_table = None;
        while let Some(error) = cause {
            of_table = of_table.or_else(|| error.downcast_ref().and_then(TableError::advice));
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            is_full |= matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded));
            cause = error.source();
        }
        let room =
            "make room on that disk (`pipe gc` does in a cache) and run again: what is finished is kept";
        self.advice.clone().or(of_table).or_else(|| is_full.then(|| room.to_owned()))
    }

    /// Whether the work stopped because it was asked to.
    pub fn is_interrupted(&self) -> bool {
        self.source.is::<Interrupted>()
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for StageError {
    fn from(error: E) -> Self {
        Self { source: Box::new(error), advice: None }
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.source.to_string();
        let mut cause = self.source.source();
        while let Some(error) = cause {
            // Many errors end with the words of their cause already.
            let next = error.to_string();
            if !text.ends_with(&next) {
                text = format!("{text}: {next}");
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

/// An error with words before its message.
#[derive(Debug)]
struct Prefixed {
    words: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl fmt::Display for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl StdError for Prefixed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

/// The work was asked to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;
