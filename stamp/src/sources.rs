//! The modules of a package and of the packages beside it that it uses, as read from disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::TokenTree;

use crate::error::Error;
use crate::module::{Include, Module, Piece};
use crate::package::Package;
use crate::tokens::{hash, tokenize};

/// A module's place in [`Sources::nodes`].
pub type NodeId = usize;

/// A module and where it stands.
#[derive(Debug)]
pub struct Node {
    /// Its path, beginning with the crate's name.
    pub path: String,
    /// Its package's place in [`Sources::packages`].
    pub package: usize,
    /// The root of its crate.
    pub root: NodeId,
    /// The module that declares it; a root's is itself.
    pub parent: NodeId,
    /// The modules within it.
    pub children: BTreeMap<String, Vec<NodeId>>,
    /// The same in the order of the source.
    pub in_order: Vec<NodeId>,
    /// The file it is written in.
    pub file: PathBuf,
    /// Digest of its attributes, its own tokens and the files that it takes in.
    pub digest: blake3::Hash,
    /// What its tokens say.
    pub module: Module,
}

/// All that is read.
#[derive(Debug, Default)]
pub struct Sources {
    /// The modules; a parent comes before its children.
    pub nodes: Vec<Node>,
    /// The packages.
    pub packages: Vec<Package>,
    /// Crate roots by file.
    roots: BTreeMap<PathBuf, NodeId>,
    files: BTreeSet<PathBuf>,
}

/// Where a module is declared.
struct Declaration {
    path: String,
    package: usize,
    parent: Option<NodeId>,
    attributes: Vec<TokenTree>,
    file: PathBuf,
    /// The folder of the files of the modules within it.
    folder: PathBuf,
}

impl Sources {
    /// Reads the package in `folder` and the packages beside it that it uses, save those that `skip` names.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(folder: &Path, skip: &dyn Fn(&str) -> bool) -> Result<Self, Error> {
        let mut sources = Self::default();
        let mut waiting = vec![folder.to_path_buf()];
        while let Some(folder) = waiting.pop() {
            if sources.package_in(&folder).is_some() {
                continue;
            }
            let package = Package::read(&folder)?;
            sources.files.extend(package.manifests.iter().cloned());
            waiting.extend(
                package
                    .dependencies
                    .iter()
                    .filter(|(name, _)| !skip(name))
                    .filter_map(|(_, d)| d.folder.clone()),
            );
            let library = package.library_file.clone().map(|file| (file, package.library.clone()));
            sources.packages.push(package);
            if let Some((file, name)) = library {
                sources.read_root(&file, &name, sources.packages.len() - 1)?;
            }
        }
        Ok(sources)
    }

    /// Every file read, and the folder of each crate's sources.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let folders = self.roots.keys().filter_map(|root| root.parent());
        self.files.iter().map(PathBuf::as_path).chain(folders)
    }

    /// The root of the library of the package in `folder`.
    pub fn library(&self, folder: &Path) -> Option<NodeId> {
        let package = self.packages.get(self.package_in(folder)?)?;
        self.roots.get(package.library_file.as_ref()?).copied()
    }

    /// The module that is the file `path`; `src/main.rs` and files beside no library are read as programs.
    ///
    /// # Errors
    /// A file that is no module of the first package.
    pub fn module_of_file(&mut self, path: &Path) -> Result<NodeId, Error> {
        if let Some(found) = self.nodes.iter().position(|node| node.file == path) {
            return Ok(found);
        }
        let folder = self.packages.first().map(|package| package.folder.clone()).unwrap_or_default();
        let binaries = folder.join("src").join("bin");
        let own_root = path.parent() == Some(binaries.as_path()) || path.ends_with("src/main.rs");
        let root = if own_root { path.to_path_buf() } else { folder.join("src").join("main.rs") };
        if root.is_file() && !self.roots.contains_key(&root) {
            let stem = root.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_string();
            self.read_root(
                &root,
                &format!("{stem} of {}", self.packages.first().map_or("", |p| &p.library)),
                0,
            )?;
        }
        let found = self.nodes.iter().position(|node| node.file == path);
        found.ok_or_else(|| Error::NotAModule { path: path.to_path_buf() })
    }

    /// The place of the package in `folder`, if it is read.
    pub fn package_in(&self, folder: &Path) -> Option<usize> {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        self.packages.iter().position(|package| real(&package.folder) == real(folder))
    }

    fn read_root(&mut self, file: &Path, name: &str, package: usize) -> Result<(), Error> {
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let declaration = Declaration {
            path: name.to_string(),
            package,
            parent: None,
            attributes: Vec::new(),
            file: file.to_path_buf(),
            folder,
        };
        self.roots.insert(file.to_path_buf(), self.nodes.len());
        let tokens = self.read_tokens(file)?;
        self.read_module(declaration, tokens).map(|_| ())
    }

    fn read_bytes(&mut self, file: &Path) -> Result<Vec<u8>, Error> {
        self.files.insert(file.to_path_buf());
        fs::read(file).map_err(|source| Error::File { path: file.to_path_buf(), source })
    }

    fn read_tokens(&mut self, file: &Path) -> Result<Vec<TokenTree>, Error> {
        self.files.insert(file.to_path_buf());
        let text =
            fs::read_to_string(file).map_err(|source| Error::File { path: file.to_path_buf(), source })?;
        tokenize(file, &text)
    }

    fn read_module(&mut self, declaration: Declaration, tokens: Vec<TokenTree>) -> Result<NodeId, Error> {
        let Declaration { path, package, parent, attributes, file, folder } = declaration;
        let id = self.nodes.len();
        let mut module = Module::read(tokens);
        module.scan_more(&attributes);
        let digest = self.digest(&mut module, &attributes, &file, package)?;
        let root = parent.and_then(|parent| self.nodes.get(parent)).map_or(id, |parent| parent.root);
        let children: Vec<_> = module
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Child(child) => Some(child.clone()),
                Piece::Own(_) => None,
            })
            .collect();
        self.nodes.push(Node {
            path: path.clone(),
            package,
            root,
            parent: parent.unwrap_or(id),
            children: BTreeMap::new(),
            in_order: Vec::new(),
            file: file.clone(),
            digest,
            module,
        });
        for child in children {
            let (child_file, child_folder, tokens) = match child.body {
                Some(body) => (file.clone(), folder.join(&child.name), body),
                None => self.read_child(&file, &folder, &child.name)?,
            };
            let declaration = Declaration {
                path: format!("{path}::{}", child.name),
                package,
                parent: Some(id),
                attributes: child.attributes,
                file: child_file,
                folder: child_folder,
            };
            let child_id = self.read_module(declaration, tokens)?;
            if let Some(node) = self.nodes.get_mut(id) {
                node.children.entry(child.name).or_default().push(child_id);
                node.in_order.push(child_id);
            }
        }
        Ok(id)
    }

    fn read_child(
        &mut self,
        declared_in: &Path,
        folder: &Path,
        name: &str,
    ) -> Result<(PathBuf, PathBuf, Vec<TokenTree>), Error> {
        let within = folder.join(name);
        let candidates = [folder.join(format!("{name}.rs")), within.join("mod.rs")];
        let Some(file) = candidates.into_iter().find(|file| file.is_file()) else {
            return Err(Error::NoModule { declared_in: declared_in.to_path_buf(), module: name.to_string() });
        };
        let tokens = self.read_tokens(&file)?;
        Ok((file, within, tokens))
    }

    /// Hashes what is a module's own. Rust files that it takes in are read as part of it.
    fn digest(
        &mut self,
        module: &mut Module,
        attributes: &[TokenTree],
        file: &Path,
        package: usize,
    ) -> Result<blake3::Hash, Error> {
        let mut hasher = blake3::Hasher::new();
        hash(attributes, &mut hasher);
        for piece in &module.pieces {
            if let Piece::Own(tokens) = piece {
                hash(tokens, &mut hasher);
            }
        }
        for include in std::mem::take(&mut module.includes) {
            let (path, code) = match &include {
                Include::BesideSource { path, code } => (file.with_file_name(path), *code),
                Include::InPackage { path, code } => {
                    (self.packages.get(package).map(|p| p.folder.join(path)).unwrap_or_default(), *code)
                }
                Include::Stamps => continue,
                Include::Unknown => {
                    module
                        .unfollowed
                        .push("a file taken in by a path that only the compiler knows".to_string());
                    continue;
                }
            };
            if code {
                let tokens = self.read_tokens(&path)?;
                hash(&tokens, &mut hasher);
                module.scan_more(&tokens);
            } else {
                hasher.update(blake3::hash(&self.read_bytes(&path)?).as_bytes());
            }
            module.includes.push(include);
        }
        Ok(hasher.finalize())
    }
}
