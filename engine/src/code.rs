//! Code fingerprints: what a kind computes is decided by its source and by the crates that it uses.
//!
//! The source part is hashed at build time over token streams, so that comments and layout do not count.
//! The crate part is the locked versions of the named crates and of all that they depend on, taken from
//! the lock file of the binary that runs.

use std::collections::{BTreeMap, BTreeSet};

use pipe_cache::{Digest, Hasher};

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
    packages: BTreeMap<String, Package>,
}

#[derive(Debug, Default)]
struct Package {
    /// Name, version and checksum.
    identity: String,
    dependencies: Vec<String>,
}

impl LockedCrates {
    /// Reads a `Cargo.lock`. Packages are known by name, and by "name version" where a name occurs twice.
    pub fn parse(lock: &str) -> Self {
        let mut packages = BTreeMap::new();
        for block in lock.split("[[package]]").skip(1) {
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
            };
            let (Some(name), Some(version)) = (field("name"), field("version")) else { continue };
            let identity = format!("{name} {version} {}", field("checksum").unwrap_or("local"));
            let dependencies = block.split_once("dependencies = [").map_or(Vec::new(), |(_, rest)| {
                let list = rest.split(']').next().unwrap_or_default();
                list.split('"').skip(1).step_by(2).map(str::to_string).collect()
            });
            for key in [name.to_string(), format!("{name} {version}")] {
                packages
                    .insert(key, Package { identity: identity.clone(), dependencies: dependencies.clone() });
            }
        }
        Self { packages }
    }

    /// A digest of the named crates and all that they depend on.
    pub fn digest(&self, crates: &[&str]) -> Digest {
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<&str> = crates.to_vec();
        let mut identities = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if !seen.insert(name) {
                continue;
            }
            match self.packages.get(name) {
                Some(package) => {
                    identities.insert(package.identity.as_str());
                    waiting.extend(package.dependencies.iter().map(String::as_str));
                }
                None => {
                    identities.insert(name);
                }
            }
        }
        let mut hasher = Hasher::new("pipe locked crates, version 1");
        for identity in identities {
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
"#;

    #[test]
    fn a_crate_deep_below_counts_and_one_beside_does_not() {
        let digest = |lock: &str, name: &str| LockedCrates::parse(lock).digest(&[name]);
        let newer = LOCK.replace("checksum = \"cc\"", "checksum = \"dd\"");
        assert_ne!(digest(LOCK, "gemm"), digest(&newer, "gemm"));
        assert_eq!(digest(LOCK, "libm"), digest(&newer, "libm"));
    }
}
