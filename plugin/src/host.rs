//! The machine that kinds run on, as far as results may follow from it: environment variables and what programs answer.
//!
//! Libraries do not read the environment: whoever begins the process hands it over, and a test hands over one of its own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What was found out about the machine, or why it could not be.
pub type Finding = Result<String, String>;

/// A machine. Copies of one share what was found out.
#[derive(Clone, Default)]
pub struct Host(Arc<Inner>);

#[derive(Default)]
struct Inner {
    variables: BTreeMap<String, String>,
    program: Option<PathBuf>,
    findings: Mutex<HashMap<String, Arc<OnceLock<Finding>>>>,
}

impl Host {
    /// A machine with these environment variables, on which this program runs.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, program: Option<PathBuf>) -> Self {
        let variables = variables.into_iter().collect();
        Self(Arc::new(Inner { variables, program, findings: Mutex::default() }))
    }

    /// The value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.0.variables.get(name).map(String::as_str)
    }

    /// All environment variables.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The program that runs, for kinds that start it anew as a helper.
    pub fn program(&self) -> Option<&Path> {
        self.0.program.as_deref()
    }

    /// What `find` finds out, which is asked once for each name.
    pub fn once(&self, name: &str, find: impl FnOnce() -> Finding) -> Finding {
        let cell = {
            let mut findings = self.0.findings.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(findings.entry(name.to_string()).or_default())
        };
        cell.get_or_init(find).clone()
    }
}

impl fmt::Debug for Host {
    // Values of variables may be secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Host")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_out_is_asked_once() {
        let host = Host::new([("A".to_string(), "secret".to_string())], None);
        assert_eq!((host.variable("A"), host.variable("B")), (Some("secret"), None));
        let first = host.once("version", || Ok("1".to_string()));
        let again = host.clone().once("version", || Err("asked again".to_string()));
        assert_eq!((first.as_deref(), again.as_deref()), (Ok("1"), Ok("1")));
        assert_eq!(format!("{host:?}"), "Host");
    }
}
