//! What a written path leads to: modules, crates, and the names on the way that another module passes on.

use std::collections::BTreeSet;

use crate::interface;
use crate::path::{Import, Path};
use crate::sources::{NodeId, Sources};

/// Paths that grow longer than this run in a circle of imports.
const LONGEST: usize = 32;

/// How many `use …::*` one path is followed through.
const GLOBS_THROUGH_GLOBS: usize = 3;

/// What paths lead to.
#[derive(Debug, Default)]
pub struct Found {
    /// Modules whose contents are used.
    pub modules: BTreeSet<NodeId>,
    /// Crates outside: the package whose manifest names them, and the name that code writes.
    pub crates: BTreeSet<(usize, String)>,
    /// Names that a module only passes on: the module and the place of the import.
    pub passed_on: BTreeSet<(NodeId, usize)>,
    seen: BTreeSet<(NodeId, Path, bool)>,
    glob_depth: usize,
}

impl Sources {
    /// Follows a path as the module `from` writes it.
    pub fn resolve(&self, from: NodeId, path: &[String], found: &mut Found) {
        let Some(node) = self.nodes.get(from) else { return };
        if path.len() > LONGEST || !found.seen.insert((from, path.to_vec(), true)) {
            return;
        }
        let Some((first, rest)) = path.split_first() else { return };
        match first.as_str() {
            "crate" => self.walk(node.root, rest, found),
            "self" => self.walk(from, rest, found),
            "super" => self.walk(node.parent, rest, found),
            "" => self.resolve_crate(from, rest, found),
            name => {
                for &child in node.children.get(name).into_iter().flatten() {
                    self.walk(child, rest, found);
                }
                for (_, import) in self.imports_of(from, name) {
                    self.resolve(from, &joined(&import.path, rest), found);
                }
                self.walk_globs(from, path, found);
                self.resolve_crate(from, path, found);
            }
        }
    }

    /// Follows a path whose first name is a crate.
    fn resolve_crate(&self, from: NodeId, path: &[String], found: &mut Found) {
        let Some((name, rest)) = path.split_first() else { return };
        let Some(package) = self.nodes.get(from).and_then(|node| self.packages.get(node.package)) else {
            return;
        };
        let folder = match package.dependencies.get(name) {
            Some(_) if interface::is_whole(name) => return,
            Some(dependency) => dependency.folder.as_ref(),
            None if *name == package.library => Some(&package.folder),
            None => return,
        };
        match folder.and_then(|folder| self.library(folder)) {
            Some(root) => self.walk(root, rest, found),
            None => {
                let package = self.nodes.get(from).map_or(0, |node| node.package);
                found.crates.insert((package, name.clone()));
            }
        }
    }

    /// Follows a path from within the module `at`.
    fn walk(&self, at: NodeId, path: &[String], found: &mut Found) {
        let Some(node) = self.nodes.get(at) else { return };
        if path.len() > LONGEST || !found.seen.insert((at, path.to_vec(), false)) {
            return;
        }
        let Some((name, rest)) = path.split_first() else {
            found.modules.insert(at);
            return;
        };
        match name.as_str() {
            "self" => return self.walk(at, rest, found),
            "super" => return self.walk(node.parent, rest, found),
            _ => {}
        }
        let children = node.children.get(name);
        for &child in children.into_iter().flatten() {
            self.walk(child, rest, found);
        }
        let mut imported = false;
        for (place, import) in self.imports_of(at, name) {
            imported = true;
            found.passed_on.insert((at, place));
            self.resolve(at, &joined(&import.path, rest), found);
        }
        let elsewhere = imported || children.is_some();
        if !elsewhere || node.module.defines.contains(name) {
            found.modules.insert(at);
        }
        if !elsewhere {
            self.walk_globs(at, path, found);
        } else if rest.is_empty()
            && self.glob_targets(at, found.glob_depth).iter().any(|&t| self.may_have(t, name))
        {
            // The name may be of two things, a module and a function from elsewhere.
            found.modules.insert(at);
        }
    }

    /// Follows a path whose first name may come from `use …::*`: through the modules that have the name.
    fn walk_globs(&self, at: NodeId, path: &[String], found: &mut Found) {
        let name = path.first().map_or("", String::as_str);
        for target in self.glob_targets(at, found.glob_depth) {
            if self.may_have(target, name) {
                self.walk(target, path, found);
            }
        }
    }

    /// The modules whose names `use …::*` brings into the module `at`.
    fn glob_targets(&self, at: NodeId, depth: usize) -> BTreeSet<NodeId> {
        let mut found = Found { glob_depth: depth + 1, ..Found::default() };
        if found.glob_depth <= GLOBS_THROUGH_GLOBS {
            for (_, import) in self.imports_of(at, "*") {
                self.resolve(at, &import.path, &mut found);
            }
        }
        found.modules
    }

    /// Whether a module has a name, as far as its tokens tell.
    fn may_have(&self, at: NodeId, name: &str) -> bool {
        self.nodes.get(at).is_some_and(|node| {
            let is_imported =
                node.module.imports.iter().any(|import| import.name == name || import.name == "*");
            is_imported || node.children.contains_key(name) || node.module.defines.contains(name)
        })
    }

    fn imports_of(&self, at: NodeId, name: &str) -> impl Iterator<Item = (usize, &Import)> {
        let imports = self.nodes.get(at).map_or(&[][..], |node| node.module.imports.as_slice());
        imports.iter().enumerate().filter(move |(_, import)| import.name == name)
    }
}

fn joined(path: &[String], rest: &[String]) -> Path {
    path.iter().chain(rest).cloned().collect()
}
