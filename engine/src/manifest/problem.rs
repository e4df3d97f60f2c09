//! What is wrong with a manifest: every problem has a place, a message and a next step.

use super::node::{Location, Origin};

/// One problem, found before any work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A short stable code, such as `unknown-key`.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The place in a manifest.
    pub location: Option<Location>,
    /// The place in words, when it is not in a file.
    pub place: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem with a value or key from that origin.
    pub fn at(origin: Origin, code: &'static str, message: impl Into<String>) -> Self {
        let place = match &origin {
            Origin::CommandLine(text) => Some(format!("--set {text}")),
            _ => None,
        };
        Self { code, message: message.into(), location: origin.location().cloned(), place, help: None }
    }

    /// A problem that has no place in a manifest.
    pub fn general(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), location: None, place: None, help: None }
    }

    /// Adds the next step.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the next step, if there is one.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(location) = &self.location {
            let (line, column) = location.source.line_and_column(location.span.start);
            write!(f, "{}:{line}:{column}: ", location.source.path.display())?;
        } else if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Problems collected so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one, unless it is known: a variable that several stages use is wrong once.
    pub fn add(&mut self, problem: Problem) {
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All but those of these codes.
    #[must_use]
    pub fn but_for<const N: usize>(mut self, codes: [&str; N]) -> Self {
        self.0.retain(|problem| !codes.contains(&problem.code));
        self
    }

    /// Returns the value if there is no problem.
    ///
    /// # Errors
    /// All problems, in the order of files and lines.
    pub fn or<T>(self, value: T) -> Result<T, ManifestError> {
        if self.0.is_empty() { Ok(value) } else { Err(self.into_error()) }
    }

    /// All problems as an error, in the order of files and lines.
    pub fn into_error(mut self) -> ManifestError {
        let key = |problem: &Problem| {
            problem.location.as_ref().map(|location| (location.source.path.clone(), location.span.start))
        };
        self.0.sort_by_key(key);
        ManifestError { problems: self.0 }
    }
}

/// A manifest that cannot be run as it stands.
#[derive(Debug, thiserror::Error)]
#[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ManifestError {
    /// Everything that is wrong with it.
    pub problems: Vec<Problem>,
}

/// The known name that is closest to a mistyped one, as a question.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}
