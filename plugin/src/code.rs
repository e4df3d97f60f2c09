//! Code fingerprints: what a kind computes is decided by its source and by the crates that it uses.
//!
//! The source part is hashed at build time over token streams, so that comments and layout do not count.
//! The crate part is the locked versions of the named crates and of all that they depend on, taken from
//! the lock file of the binary that runs.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{Digest, Hasher};
use serde::Deserialize;

/// What is known of a kind's code when it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeStamp {
    /// Digest over the token streams of its module and of the workspace modules that it uses.
    pub source: &'static str,
    /// The crates outside the workspace that those modules use.
    pub crates: &'static [&'static str],
}

/// The versions in a lock file, for looking up what a kind depends on.
#[derive(Debug, Default)]
pub struct LockedCrates {
    /// By name: one package for each locked version.
    packages: BTreeMap<String, Vec<Package>>,
}

/// The parts of a `Cargo.lock` that count.
#[derive(Deserialize)]
struct LockFile {
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Where it comes from; a git source names its commit. Absent for crates of the workspace.
    source: Option<String>,
    checksum: Option<String>,
    /// `name`, or `name version`, or `name version (source)`: as much as tells it from others.
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Package {
    fn identity(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "local".to_string());
        format!("{} {} {} {}", self.name, self.version, part(&self.source), part(&self.checksum))
    }

    /// Whether a dependency that is written so means this package, given that the name is right.
    fn answers_to(&self, dependency: &str) -> bool {
        let mut parts = dependency.splitn(3, ' ').skip(1);
        let source = |written: &str| self.source.as_deref() == Some(written.trim_matches(['(', ')']));
        parts.next().is_none_or(|version| version == self.version) && parts.next().is_none_or(source)
    }
}

impl LockedCrates {
    /// Reads a `Cargo.lock`. Where a crate is not found in it, its name alone counts.
    ///
    /// # Errors
    /// What is wrong with a text that is no lock file.
    pub fn parse(lock: &str) -> Result<Self, String> {
        let mut packages: BTreeMap<String, Vec<Package>> = BTreeMap::new();
        for package in toml::from_str::<LockFile>(lock).map_err(|error| error.message().to_string())?.package
        {
            packages.entry(package.name.clone()).or_default().push(package);
        }
        Ok(Self { packages })
    }

    /// The versions of the named crates; of several of one name, all.
    pub fn versions(&self, crates: &BTreeSet<&str>) -> BTreeMap<String, String> {
        let locked = crates.iter().filter_map(|name| self.packages.get(*name));
        let version = |packages: &Vec<Package>| {
            let versions: Vec<&str> = packages.iter().map(|package| package.version.as_str()).collect();
            Some((packages.first()?.name.clone(), versions.join(", ")))
        };
        locked.filter_map(version).collect()
    }

    /// A digest of the named crates and all that they depend on. A name means every locked version of it.
    pub fn digest(&self, crates: &[&str]) -> Digest {
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<&str> = crates.to_vec();
        let mut identities = BTreeSet::new();
        while let Some(dependency) = waiting.pop() {
            if !seen.insert(dependency) {
                continue;
            }
            let name = dependency.split(' ').next().unwrap_or(dependency);
            let versions = self.packages.get(name).map_or(&[][..], Vec::as_slice);
            for package in versions.iter().filter(|package| package.answers_to(dependency)) {
                identities.insert(package.identity());
                waiting.extend(package.dependencies.iter().map(String::as_str));
            }
            if versions.is_empty() {
                identities.insert(name.to_string());
            }
        }
        let mut hasher = Hasher::new("pipe locked crates, version 1");
        for identity in &identities {
            hasher.field(identity);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
version = 4

[[package]]
name = "libm"
version = "0.2.16"
source = "registry"
checksum = "aa"

[[package]]
name = "gemm"
version = "0.19.0"
checksum = "bb"
dependencies = [
 "libm",
 "rayon 1.12.0",
]

[[package]]
name = "rayon"
version = "1.12.0"
checksum = "cc"

[[package]]
name = "rayon"
version = "0.9.0"
checksum = "old"

[[package]]
name = "fork"
version = "0.1.0"
source = "git+somewhere?branch=main#1111"
"#;

    fn digest(lock: &str, name: &str) -> Digest {
        LockedCrates::parse(lock).map(|locked| locked.digest(&[name])).unwrap_or(Digest::of(b"no lock file"))
    }

    #[test]
    fn a_crate_deep_below_counts_and_one_beside_does_not() {
        let newer = LOCK.replace("checksum = \"cc\"", "checksum = \"dd\"");
        assert_ne!(newer, LOCK);
        assert_ne!(digest(LOCK, "gemm"), digest(&newer, "gemm"));
        assert_eq!(digest(LOCK, "libm"), digest(&newer, "libm"));
    }

    #[test]
    fn of_two_versions_only_the_used_one_counts() {
        let newer = LOCK.replace("checksum = \"old\"", "checksum = \"other\"");
        assert_ne!(newer, LOCK);
        assert_eq!(digest(LOCK, "gemm"), digest(&newer, "gemm"));
        assert_ne!(digest(LOCK, "rayon"), digest(&newer, "rayon"));
    }

    #[test]
    fn another_commit_of_a_git_crate_counts() {
        let newer = LOCK.replace("#1111", "#2222");
        assert_ne!(newer, LOCK);
        assert_ne!(digest(LOCK, "fork"), digest(&newer, "fork"));
    }
}
