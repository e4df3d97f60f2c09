//! The table of kinds that a binary has, the lock file that it was built with, and the machine that it runs on.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{Digest, Hasher};
use serde_json::Value;

use crate::code::LockedCrates;
use crate::host::Host;
use crate::stage::{Declaration, Kind, Work};

/// The kinds a binary knows, in the order in which they are listed.
pub struct Registry {
    kinds: Vec<Kind>,
    code: BTreeMap<&'static str, Digest>,
    crates: BTreeMap<String, String>,
    host: Host,
}

/// Why kinds cannot be used: a mistake in a program's table of kinds.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Two kinds have one name.
    #[error("two kinds are named `{0}`")]
    Doubled(&'static str),
    /// A kind declares what cannot be.
    #[error("kind `{kind}`: {problem}")]
    Declaration {
        /// The kind.
        kind: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The lock file cannot be read.
    #[error("the lock file that the program was built with cannot be read: {0}")]
    Lock(String),
}

impl Registry {
    /// A registry of these kinds; `lock` is the text of the binary's `Cargo.lock`.
    ///
    /// # Errors
    /// Two kinds of one name, a kind that declares what cannot be, or a text that is no lock file.
    pub fn new(kinds: Vec<Kind>, lock: &str) -> Result<Self, RegistryError> {
        let locked = LockedCrates::parse(lock).map_err(RegistryError::Lock)?;
        let mut names = BTreeSet::new();
        for kind in &kinds {
            check(kind)?;
            if !names.insert(kind.about().name) {
                return Err(RegistryError::Doubled(kind.about().name));
            }
        }
        let code = kinds
            .iter()
            .map(|kind| {
                let about = kind.about();
                let mut hasher = Hasher::new("pipe code, version 1");
                hasher.field(about.code.source).field(locked.digest(about.code.crates).as_bytes());
                (about.name, hasher.finish())
            })
            .collect();
        let used = kinds.iter().flat_map(|kind| kind.about().code.crates.iter().copied()).collect();
        Ok(Self { kinds, code, crates: locked.versions(&used), host: Host::default() })
    }

    /// On this machine; without it, on one without environment variables.
    #[must_use]
    pub fn on(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// The machine that the kinds run on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// All kinds.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The kind of that name.
    pub fn get(&self, name: &str) -> Option<Kind> {
        self.kinds.iter().copied().find(|kind| kind.about().name == name)
    }

    /// The kind of that name for a stage with these parameters and inputs; `None` if there is none, or if it does not understand
    /// them.
    pub fn kind_of(&self, name: &str, params: &Value, inputs: &[String]) -> Option<Kind> {
        self.get(name)?.of(&Declaration { params, inputs }).ok()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.iter().map(|kind| kind.about().name)
    }

    /// A kind's code fingerprint.
    pub fn code(&self, name: &str) -> Digest {
        self.code.get(name).copied().unwrap_or_else(|| Digest::of(b""))
    }

    /// The versions of the crates outside the workspace that kinds use.
    pub fn crates(&self) -> &BTreeMap<String, String> {
        &self.crates
    }

    /// The fingerprint of all code together, for the run record.
    pub fn code_of_all(&self) -> Digest {
        let mut hasher = Hasher::new("pipe code of a binary, version 1");
        for (name, digest) in &self.code {
            hasher.field(name).field(digest.as_bytes());
        }
        hasher.finish()
    }
}

/// What a kind says of itself has to be possible, or else it is found out when the work is done.
fn check(kind: &Kind) -> Result<(), RegistryError> {
    let about = kind.about();
    let refuse = |problem: String| Err(RegistryError::Declaration { kind: about.name, problem });
    let has_output = |name: &str| about.outputs.iter().any(|output| output.name == name);
    match (kind.work(), about.outputs.len()) {
        (_, 0) if !kind.is_declared() => return refuse("it has no output".to_string()),
        (Work::Items(_), 2..) => return refuse("a kind with items has one output".to_string()),
        _ => {}
    }
    if let Some(results) = kind.results_of_all_cases().iter().find(|results| !has_output(results.output)) {
        return refuse(format!("what it says to be of all cases is no output: `{}`", results.output));
    }
    match about.headline {
        Some((output, _)) if !has_output(output) => {
            refuse(format!("its headline is of no output: `{output}`"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::code::CodeStamp;
    use crate::context::Context;
    use crate::stage::{About, OutputSpec, Stage, StageError, Whole};

    struct Plain;
    struct Silent;
    struct Proud;

    #[derive(Deserialize, Serialize, JsonSchema)]
    struct NoParams {}

    const CODE: CodeStamp = CodeStamp { source: "", crates: &[] };
    const OUTPUTS: &[OutputSpec] = &[OutputSpec::tree("text", "a text")];

    macro_rules! kind {
        ($kind:ty, $about:expr) => {
            impl Stage for $kind {
                type Params = NoParams;
                const ABOUT: About = $about;
            }
            impl Whole for $kind {
                fn run(&self, _: &NoParams, _: &mut Context<'_>) -> Result<(), StageError> {
                    Ok(())
                }
            }
        };
    }
    kind!(Plain, About::new("plain", "does nothing", CODE).outputs(OUTPUTS));
    kind!(Silent, About::new("silent", "has no output", CODE));
    kind!(Proud, About::new("proud", "shows what is not there", CODE).outputs(OUTPUTS).headline("txt", "t"));

    #[test]
    fn kinds_that_cannot_be_are_refused_when_the_program_begins() {
        let told =
            |kinds: Vec<Kind>, lock: &str| Registry::new(kinds, lock).err().map(|error| error.to_string());
        let plain = Kind::whole(&Plain);
        assert_eq!(told(vec![plain], ""), None);
        assert_eq!(told(vec![plain, plain], "").unwrap(), "two kinds are named `plain`");
        assert_eq!(told(vec![Kind::whole(&Silent)], "").unwrap(), "kind `silent`: it has no output");
        let proud = told(vec![Kind::whole(&Proud)], "").unwrap();
        assert_eq!(proud, "kind `proud`: its headline is of no output: `txt`");
        assert!(told(vec![plain], "no lock file").unwrap().starts_with("the lock file that the program"));
    }
}
