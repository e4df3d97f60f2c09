//! A package as its manifest says: its crate, its dependencies as specified, its features.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::Error;

/// A package on disk.
#[derive(Debug)]
pub struct Package {
    /// The folder of its manifest.
    pub folder: PathBuf,
    /// The name of its library as code writes it.
    pub library: String,
    /// The file of its library, where it has one.
    pub library_file: Option<PathBuf>,
    /// What it depends on, by the name that code writes.
    pub dependencies: BTreeMap<String, Dependency>,
    /// Its features and what each switches on.
    pub features: BTreeMap<String, Vec<String>>,
    /// The manifests read.
    pub manifests: Vec<PathBuf>,
}

/// What a package depends on.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The package's own name, as in a lock file.
    pub package: String,
    /// Its key in the manifest.
    pub key: String,
    /// Its folder, where its source is at hand.
    pub folder: Option<PathBuf>,
    /// Version requirement and features in one canonical text.
    pub specification: String,
}

impl Package {
    /// Reads the manifest in `folder`, and its workspace's where it refers to it.
    ///
    /// # Errors
    /// A manifest that cannot be read, or lacks what is referred to.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("Cargo.toml");
        let manifest = read_manifest(&path)?;
        let lacks = |missing: &str| Error::ManifestLacks { path: path.clone(), missing: missing.to_string() };
        let name = text_at(&manifest, &["package", "name"]).ok_or_else(|| lacks("no package name"))?;
        let library = text_at(&manifest, &["lib", "name"]).unwrap_or(name).replace('-', "_");
        let library_file = folder.join(text_at(&manifest, &["lib", "path"]).unwrap_or("src/lib.rs"));
        let mut package = Self {
            folder: folder.to_path_buf(),
            library,
            library_file: library_file.is_file().then_some(library_file),
            dependencies: BTreeMap::new(),
            features: features(&manifest),
            manifests: vec![path.clone()],
        };
        let mut workspace = None;
        for (key, specification) in dependency_tables(&manifest).into_iter().flatten() {
            let inherits = specification.get("workspace").and_then(Value::as_bool) == Some(true);
            if inherits && workspace.is_none() {
                workspace = Some(Workspace::around(folder, &manifest)?);
            }
            let inherited = match &workspace {
                Some(workspace) if inherits => Some(workspace.dependency(key)?),
                _ => None,
            };
            let dependency = Dependency::new(folder, key, specification, inherited);
            let known =
                package.dependencies.entry(key.replace('-', "_")).or_insert_with(|| dependency.clone());
            if known.specification != dependency.specification {
                known.specification.push_str(&dependency.specification);
            }
        }
        package.manifests.extend(workspace.map(|workspace| workspace.path));
        Ok(package)
    }
}

impl Dependency {
    fn new(folder: &Path, key: &str, specification: &Value, inherited: Option<(&Path, &Value)>) -> Self {
        let field = |name: &str| {
            let own = specification.get(name).map(|value| (folder, value));
            own.or_else(|| inherited.and_then(|(root, value)| Some((root, value.get(name)?))))
        };
        let text = |name: &str| field(name).and_then(|(root, value)| Some((root, value.as_str()?)));
        let beside = text("path").map(|(root, path)| root.join(path));
        // The code of a package beside this one counts itself; elsewhere, its version stands for it.
        let without: &[&str] = if beside.is_some() { &["path", "version"] } else { &["path"] };
        let mut canonical = canonical_text(specification, without);
        if let Some((_, value)) = inherited {
            canonical.push_str(&canonical_text(value, without));
        }
        Self {
            package: text("package").map_or(key, |(_, name)| name).to_string(),
            key: key.to_string(),
            folder: beside,
            specification: canonical,
        }
    }
}

struct Workspace {
    path: PathBuf,
    manifest: Table,
}

impl Workspace {
    /// The workspace that a package says it is in, or else the nearest above it.
    fn around(folder: &Path, manifest: &Table) -> Result<Self, Error> {
        let named = text_at(manifest, &["package", "workspace"]).map(|path| folder.join(path));
        for candidate in named.iter().map(PathBuf::as_path).chain(folder.ancestors()) {
            let path = candidate.join("Cargo.toml");
            if path.is_file() {
                let manifest = read_manifest(&path)?;
                if manifest.contains_key("workspace") {
                    return Ok(Self { path, manifest });
                }
            }
        }
        let missing = "a dependency is of the workspace, but there is no workspace around it".to_string();
        Err(Error::ManifestLacks { path: folder.join("Cargo.toml"), missing })
    }

    fn dependency(&self, key: &str) -> Result<(&Path, &Value), Error> {
        let table = self.manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
        match (self.path.parent(), table.and_then(|table| table.get(key))) {
            (Some(root), Some(value)) => Ok((root, value)),
            _ => Err(Error::ManifestLacks {
                path: self.path.clone(),
                missing: format!("no `{key}` in [workspace.dependencies]"),
            }),
        }
    }
}

fn read_manifest(path: &Path) -> Result<Table, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_path_buf(), source })?;
    text.parse().map_err(|source| Error::Manifest { path: path.to_path_buf(), source })
}

fn text_at<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a str> {
    let (first, rest) = keys.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(key))?.as_str()
}

/// `[dependencies]` and those of each `[target.…]`.
fn dependency_tables(manifest: &Table) -> Vec<&Table> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let of_targets = targets.filter_map(|target| target.get("dependencies"));
    manifest.get("dependencies").into_iter().chain(of_targets).filter_map(Value::as_table).collect()
}

fn features(manifest: &Table) -> BTreeMap<String, Vec<String>> {
    let table = manifest.get("features").and_then(Value::as_table).into_iter().flatten();
    table
        .map(|(name, list)| {
            let entries = list.as_array().into_iter().flatten().filter_map(Value::as_str);
            (name.clone(), entries.map(str::to_string).collect())
        })
        .collect()
}

/// A specification in one text: keys and features sorted, without the keys that do not count.
fn canonical_text(value: &Value, without: &[&str]) -> String {
    match value {
        Value::Table(table) => {
            let mut entries: Vec<String> = table
                .iter()
                .filter(|(key, _)| !without.contains(&key.as_str()))
                .map(|(key, value)| format!("{key}={}", canonical_text(value, without)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(values) => {
            let mut entries: Vec<String> =
                values.iter().map(|value| canonical_text(value, without)).collect();
            entries.sort();
            format!("[{}]", entries.join(","))
        }
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn package(member: &str, workspace: &str) -> Package {
        let folder = tempfile::tempdir().unwrap();
        let member_folder = folder.path().join("member");
        fs::create_dir(&member_folder).unwrap();
        fs::write(folder.path().join("Cargo.toml"), workspace).unwrap();
        fs::write(member_folder.join("Cargo.toml"), format!("[package]\nname = \"my-member\"\n{member}"))
            .unwrap();
        Package::read(&member_folder).unwrap()
    }

    fn specification(member: &str, workspace: &str) -> String {
        let package = package(member, &format!("[workspace.dependencies]\n{workspace}"));
        package.dependencies.get("rand_mt").unwrap().specification.clone()
    }

    #[test]
    fn versions_and_features_count_and_their_order_does_not() {
        let inherited = "[dependencies]\nrand_mt.workspace = true\n";
        let first = specification(inherited, "rand_mt = { version = \"6\", features = [\"a\", \"b\"] }");
        assert_eq!(
            first,
            specification(inherited, "rand_mt = { features = [\"b\", \"a\"], version = \"6\" }")
        );
        assert_ne!(first, specification(inherited, "rand_mt = { features = [\"a\"], version = \"6\" }"));
        assert_ne!(
            first,
            specification(inherited, "rand_mt = { features = [\"b\", \"a\"], version = \"7\" }")
        );
        let more = "[dependencies]\nrand_mt = { workspace = true, default-features = false }\n";
        assert_ne!(first, specification(more, "rand_mt = { version = \"6\", features = [\"a\", \"b\"] }"));
    }

    #[test]
    fn names_paths_and_targets_are_followed() {
        let package = package(
            "[dependencies]\nnear.workspace = true\n[target.'cfg(unix)'.dependencies]\nmy-far = { package = \"far\", version = \"1\" }\n",
            "[workspace.dependencies]\nnear = { path = \"near\" }\n",
        );
        assert_eq!(package.library, "my_member");
        assert!(package.library_file.is_none());
        assert!(package.dependencies["near"].folder.as_ref().unwrap().ends_with("near"));
        assert_eq!(package.dependencies["my_far"].package, "far");
        assert_eq!(package.manifests.len(), 2);
    }
}
