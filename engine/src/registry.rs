//! The table of kinds that a binary has, and the lock file that it was built with.

use std::collections::BTreeMap;

use pipe_cache::{Digest, Hasher};

use crate::code::LockedCrates;
use crate::stage::Kind;

/// The kinds a binary knows, in the order in which they are listed.
pub struct Registry {
    kinds: Vec<Kind>,
    code: BTreeMap<&'static str, Digest>,
}

impl Registry {
    /// A registry of these kinds; `lock` is the text of the binary's `Cargo.lock`.
    pub fn new(kinds: Vec<Kind>, lock: &str) -> Self {
        let locked = LockedCrates::parse(lock);
        let code = kinds
            .iter()
            .map(|kind| {
                let about = kind.about();
                let mut hasher = Hasher::new("pipe code, version 1");
                hasher.field(about.code.source).field(locked.digest(about.code.crates).as_bytes());
                (about.name, hasher.finish())
            })
            .collect();
        Self { kinds, code }
    }

    /// All kinds.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The kind of that name.
    pub fn get(&self, name: &str) -> Option<Kind> {
        self.kinds.iter().copied().find(|kind| kind.about().name == name)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.iter().map(|kind| kind.about().name)
    }

    /// A kind's code fingerprint.
    pub fn code(&self, name: &str) -> Digest {
        self.code.get(name).copied().unwrap_or_else(|| Digest::of(b""))
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
