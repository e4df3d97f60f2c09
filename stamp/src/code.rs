//! Stamps of a package's modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::closure::Closure;
use crate::error::Error;
use crate::interface;
use crate::sources::{NodeId, Sources};

/// The code of a package and of the packages beside it, for stamping modules of the first.
#[derive(Debug)]
pub struct Code {
    folder: PathBuf,
    sources: Sources,
}

/// A module to stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The module's name.
    pub name: String,
    node: NodeId,
}

/// A crate cut down to what counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The name of its library.
    pub library: String,
    /// Its code.
    pub source: String,
}

/// What is known of a module's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Digest over all that counts, in hexadecimal.
    pub source: String,
    /// The crates from elsewhere by their names in a lock file, sorted.
    pub crates: Vec<String>,
    /// Paths of the modules that count, sorted.
    pub modules: Vec<String>,
}

impl Code {
    /// Reads the package in `folder` and the packages that it depends on by path.
    ///
    /// # Errors
    /// A manifest or source file that cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let sources = Sources::read(folder, &interface::is_whole)?;
        Ok(Self { folder: folder.to_path_buf(), sources })
    }

    /// The modules in these places, in order: a file is one, a folder's files save its `mod.rs` are one each.
    ///
    /// # Errors
    /// A file that is no module of the package.
    pub fn kinds(&mut self, places: &[&str]) -> Result<Vec<Kind>, Error> {
        let mut files = Vec::new();
        for place in places {
            let path = place.split('/').fold(self.folder.clone(), |path, part| path.join(part));
            match path.is_dir() {
                true => files.extend(modules_in(&path)?),
                false => files.push(path),
            }
        }
        let mut kinds = Vec::new();
        for file in files {
            let node = self.sources.module_of_file(&file)?;
            kinds.push(Kind { name: module_name(&file), node });
        }
        Ok(kinds)
    }

    /// The stamp of a module, given which features of the package are on.
    ///
    /// A feature counts if code of the closure asks for it or if it touches a dependency of the closure.
    ///
    /// # Errors
    /// Code that cannot be followed.
    pub fn stamp(&self, kind: &Kind, is_on: &dyn Fn(&str) -> bool) -> Result<Stamp, Error> {
        let closure = self.sources.closure(kind.node)?;
        let modules = self.module_digests(&closure);
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"pipe code stamp, version 1").update(&interface::VERSION.to_le_bytes());
        for (path, digest) in &modules {
            field(&mut hasher, "module", path);
            hasher.update(digest.as_bytes());
        }
        for line in self.passed_on(&closure) {
            field(&mut hasher, "name", &line);
        }
        for line in self.packages_beside(&closure) {
            field(&mut hasher, "package", &line);
        }
        let mut crates = BTreeSet::new();
        for (line, package) in self.crates(&closure) {
            field(&mut hasher, "crate", &line);
            crates.insert(package);
        }
        for feature in self.features(&closure).into_iter().filter(|feature| is_on(feature)) {
            field(&mut hasher, "feature", &feature);
        }
        Ok(Stamp {
            source: hasher.finalize().to_hex().to_string(),
            crates: crates.into_iter().collect(),
            modules: modules.into_iter().map(|(path, _)| path).collect(),
        })
    }

    /// The crates of a module cut down to what [`Code::stamp`] counts, each as one file of Rust: they compile when
    /// nothing is missing. A crate comes after those that it uses, the module's own last; crates with interface modules
    /// are left as they are. The module `without` is left out.
    ///
    /// # Errors
    /// Code that cannot be followed.
    pub fn cut_down(&self, kind: &Kind, without: Option<&str>) -> Result<Vec<Cut>, Error> {
        let mut closure = self.sources.closure(kind.node)?;
        let packages = self.whole_packages(&closure);
        let is_left_out =
            |id: &NodeId| self.sources.nodes.get(*id).is_some_and(|node| Some(node.path.as_str()) == without);
        closure.modules.retain(|id| !is_left_out(id));
        let own = self.sources.nodes.get(kind.node).map_or(kind.node, |node| node.root);
        let cut = |package: usize| {
            let used = self.sources.packages.get(package)?;
            let root = if package == 0 { own } else { self.sources.library(&used.folder)? };
            Some(Cut { library: used.library.clone(), source: self.sources.render(root, &closure) })
        };
        Ok(packages.into_iter().filter_map(cut).collect())
    }

    /// The packages with modules in a closure and no interface modules, those that others use first.
    fn whole_packages(&self, closure: &Closure) -> Vec<usize> {
        let packages = |is_wanted: &dyn Fn(NodeId) -> bool| -> BTreeSet<usize> {
            let nodes = self.sources.nodes.iter().enumerate();
            nodes.filter(|(id, _)| is_wanted(*id)).map(|(_, node)| node.package).collect()
        };
        let used = packages(&|id| closure.modules.contains(&id));
        let interfaces =
            packages(&|id| self.sources.nodes.get(id).is_some_and(|node| interface::is_module(&node.path)));
        let mut ordered = Vec::new();
        self.add_after_what_it_uses(0, &mut ordered);
        ordered.retain(|package| used.contains(package) && !interfaces.contains(package));
        ordered
    }

    fn add_after_what_it_uses(&self, package: usize, ordered: &mut Vec<usize>) {
        let Some(user) = self.sources.packages.get(package).filter(|_| !ordered.contains(&package)) else {
            return;
        };
        for folder in user.dependencies.values().filter_map(|used| used.folder.as_ref()) {
            if let Some(used) = self.sources.package_in(folder) {
                self.add_after_what_it_uses(used, ordered);
            }
        }
        ordered.push(package);
    }

    /// Every file read, and the folders of the sources: when one changes, stamps may.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.files()
    }

    fn module_digests(&self, closure: &Closure) -> Vec<(String, blake3::Hash)> {
        let nodes = closure.modules.iter().filter_map(|&id| self.sources.nodes.get(id));
        let mut digests: Vec<_> = nodes.map(|node| (node.path.clone(), node.digest)).collect();
        digests.sort_by(|a, b| (&a.0, a.1.as_bytes()).cmp(&(&b.0, b.1.as_bytes())));
        digests
    }

    /// The names passed on, each with where it leads.
    fn passed_on(&self, closure: &Closure) -> BTreeSet<String> {
        let import = |&(id, place): &(NodeId, usize)| {
            let node = self.sources.nodes.get(id)?;
            let import = node.module.imports.get(place)?;
            Some(format!("{}::{} = {}", node.path, import.name, import.path.join("::")))
        };
        closure.passed_on.iter().filter_map(import).collect()
    }

    /// The crates from elsewhere: how each is specified, and its name in a lock file.
    fn crates(&self, closure: &Closure) -> BTreeSet<(String, String)> {
        let specified = |(user, name): &(usize, String)| {
            let user = self.sources.packages.get(*user)?;
            let used = user.dependencies.get(name)?;
            Some((format!("{} {name} {}", user.library, used.specification), used.package.clone()))
        };
        closure.crates.iter().filter_map(specified).collect()
    }

    /// How the packages of a closure specify each other: the features that they ask for.
    fn packages_beside(&self, closure: &Closure) -> BTreeSet<String> {
        let users = self.sources.packages.iter().filter(|package| self.has_package(closure, &package.folder));
        let edges = users.flat_map(|user| user.dependencies.iter().map(move |edge| (user, edge)));
        edges
            .filter(|(_, (_, used))| {
                used.folder.as_ref().is_some_and(|folder| self.has_package(closure, folder))
            })
            .map(|(user, (name, used))| format!("{} {name} {}", user.library, used.specification))
            .collect()
    }

    /// Whether a module of the package in `folder` is in a closure.
    fn has_package(&self, closure: &Closure, folder: &Path) -> bool {
        let package = self.sources.package_in(folder);
        let nodes = closure.modules.iter().filter_map(|&id| self.sources.nodes.get(id));
        package.is_some_and(|package| nodes.map(|node| node.package).any(|found| found == package))
    }

    /// The features of the package that can make a difference to a closure.
    fn features(&self, closure: &Closure) -> BTreeSet<String> {
        let Some(package) = self.sources.packages.first() else { return BTreeSet::new() };
        let nodes: Vec<_> = closure.modules.iter().filter_map(|&id| self.sources.nodes.get(id)).collect();
        let mut features: BTreeSet<String> = nodes
            .iter()
            .filter(|node| node.package == 0)
            .flat_map(|node| node.module.features.clone())
            .collect();
        let is_used = |name: &str| {
            let folder = package.dependencies.get(name).and_then(|dependency| dependency.folder.as_ref());
            closure.crates.contains(&(0, name.to_string()))
                || folder.is_some_and(|folder| self.has_package(closure, folder))
        };
        let used: Vec<&str> = package
            .dependencies
            .iter()
            .filter(|(name, _)| is_used(name))
            .map(|(_, dependency)| dependency.key.as_str())
            .collect();
        let touches = |entry: &String| {
            let entry = entry.strip_prefix("dep:").unwrap_or(entry);
            let name = entry.split('/').next().unwrap_or_default().trim_end_matches('?');
            used.contains(&name)
        };
        let touching = package.features.iter().filter(|(_, entries)| entries.iter().any(touches));
        features.extend(touching.map(|(name, _)| name.clone()));
        features.extend(used.iter().map(|key| key.to_string()));
        features
    }
}

/// The files of a folder that are modules, and `mod.rs` of the folders in it, sorted.
fn modules_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::File { path: folder.to_path_buf(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let inner = path.join("mod.rs");
        if inner.is_file() && !path.with_extension("rs").is_file() {
            files.push(inner);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("mod.rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn module_name(file: &Path) -> String {
    let named = if file.ends_with("mod.rs") { file.parent() } else { Some(file) };
    named.and_then(Path::file_stem).and_then(|stem| stem.to_str()).unwrap_or_default().replace('-', "_")
}

fn field(hasher: &mut blake3::Hasher, sort: &str, text: &str) {
    for part in [sort, text] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
}
