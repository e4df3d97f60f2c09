//! All code that a module's results can depend on.
//!
//! From one module, every path is followed to the modules and crates it leads to, and on from there. Three
//! ways lead on without a path: a macro, whose own paths count where it is called; an `impl` block in a
//! module of its own, which counts as soon as what it names is used; and a name that is passed on.

use std::collections::BTreeSet;
use std::path::Path;

use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree};

use crate::error::Error;
use crate::interface;
use crate::module::Piece;
use crate::resolve::Found;
use crate::sources::{Node, NodeId, Sources};
use crate::tokens::{group_content, is_punct, plain_string, word};

/// All code that a module's results can depend on.
#[derive(Debug, Default)]
pub struct Closure {
    /// Modules whose contents count.
    pub modules: BTreeSet<NodeId>,
    /// Interface modules that are passed through.
    pub interfaces: BTreeSet<NodeId>,
    /// Crates outside: the package whose manifest names them, and the name that code writes.
    pub crates: BTreeSet<(usize, String)>,
    /// Names that a module only passes on: the module and the place of the import.
    pub passed_on: BTreeSet<(NodeId, usize)>,
}

impl Sources {
    /// The closure of one module.
    ///
    /// # Errors
    /// Code in it that cannot be followed.
    pub fn closure(&self, entry: NodeId) -> Result<Closure, Error> {
        let mut closure = Closure::default();
        let impls = self.foreign_impls();
        let mut waiting = vec![entry];
        loop {
            while let Some(id) = waiting.pop() {
                if let Some(node) = self.nodes.get(id).filter(|_| !closure.has(id)) {
                    waiting.extend(self.take_in(id, node, &mut closure)?);
                }
            }
            let reached = |named: &BTreeSet<NodeId>| !named.is_disjoint(&closure.modules);
            let applies = impls.iter().filter(|(id, named)| !closure.has(*id) && reached(named));
            waiting.extend(applies.map(|(id, _)| *id));
            if waiting.is_empty() {
                return Ok(closure);
            }
        }
    }

    /// Adds one module, and gives the modules that it leads to.
    fn take_in(&self, id: NodeId, node: &Node, closure: &mut Closure) -> Result<BTreeSet<NodeId>, Error> {
        let found = self.used_by(id, node);
        if interface::is_module(&node.path) {
            closure.interfaces.insert(id);
            return Ok(found.modules);
        }
        if let Some(what) = node.module.unfollowed.first() {
            return Err(Error::Unfollowed { path: node.file.clone(), what: what.clone() });
        }
        closure.modules.insert(id);
        closure.crates.extend(found.crates);
        closure.passed_on.extend(found.passed_on);
        Ok(found.modules)
    }

    fn used_by(&self, id: NodeId, node: &Node) -> Found {
        let mut found = Found::default();
        let module = &node.module;
        for path in module.imports.iter().map(|import| &import.path).chain(&module.paths) {
            self.resolve(id, path, &mut found);
        }
        for (defined_in, definer) in self.nodes.iter().enumerate() {
            for (_, paths) in definer.module.macros.iter().filter(|(name, _)| module.calls.contains(*name)) {
                found.modules.insert(defined_in);
                for path in paths {
                    self.resolve(id, path, &mut found);
                }
            }
        }
        found
    }

    /// The modules with an `impl` block of what others define, and those others.
    fn foreign_impls(&self) -> Vec<(NodeId, BTreeSet<NodeId>)> {
        let blocks = self.nodes.iter().enumerate().flat_map(|(id, node)| {
            node.module.foreign_impls.iter().map(move |head| {
                let mut found = Found::default();
                head.iter().for_each(|path| self.resolve(id, path, &mut found));
                found.modules.remove(&id);
                (id, found.modules)
            })
        });
        blocks.collect()
    }

    /// A crate cut down to the closure, as one file of Rust. It compiles when the closure is complete.
    pub fn render(&self, root: NodeId, closure: &Closure) -> String {
        let Some(node) = self.nodes.get(root) else { return String::new() };
        let whole = closure.has(root);
        let mut text = String::new();
        let mut children = node.in_order.iter();
        for piece in &node.module.pieces {
            match piece {
                Piece::Own(tokens) if whole => {
                    text.push_str(&with_absolute_includes(tokens, &node.file).to_string());
                    text.push('\n');
                }
                Piece::Own(_) => {}
                Piece::Child(child) => {
                    if let Some(&id) = children.next().filter(|&&id| self.is_needed(id, closure)) {
                        let attributes: TokenStream = child.attributes.iter().cloned().collect();
                        let content = self.render(id, closure);
                        text.push_str(&format!("{attributes} pub mod {} {{\n{content}}}\n", child.name));
                    }
                }
            }
        }
        if !whole {
            for (_, place) in closure.passed_on.range((root, 0)..(root + 1, 0)) {
                let import = node.module.imports.get(*place);
                let line = import
                    .map(|import| format!("pub(crate) use {} as {};\n", import.path.join("::"), import.name));
                text.extend(line);
            }
        }
        text
    }

    fn is_needed(&self, id: NodeId, closure: &Closure) -> bool {
        closure.has(id)
            || closure.passed_on.range((id, 0)..(id + 1, 0)).next().is_some()
            || self
                .nodes
                .get(id)
                .is_some_and(|node| node.in_order.iter().any(|&child| self.is_needed(child, closure)))
    }
}

impl Closure {
    /// Whether a module is in it, even if its tokens do not count.
    pub fn has(&self, id: NodeId) -> bool {
        self.modules.contains(&id) || self.interfaces.contains(&id)
    }
}

/// Tokens that mean the same in another folder.
fn with_absolute_includes(trees: &[TokenTree], file: &Path) -> TokenStream {
    let is_include = |place: usize| {
        let name = place.checked_sub(2).and_then(|before| word(trees.get(before)));
        name.is_some_and(|name| name.starts_with("include")) && is_punct(trees.get(place - 1), '!')
    };
    let absolute = |(place, tree): (usize, &TokenTree)| match tree {
        TokenTree::Group(group) => {
            let content: Vec<TokenTree> = group.stream().into_iter().collect();
            let path = group_content(Some(tree), Delimiter::Parenthesis)
                .and_then(|inner| plain_string(inner.first()));
            let content = match path.filter(|_| is_include(place)) {
                Some(path) => {
                    let path = file.with_file_name(path).display().to_string();
                    TokenStream::from(TokenTree::from(Literal::string(&path)))
                }
                None => with_absolute_includes(&content, file),
            };
            Group::new(group.delimiter(), content).into()
        }
        other => other.clone(),
    };
    trees.iter().enumerate().map(absolute).collect()
}
