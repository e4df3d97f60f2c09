//! Paths and `use` trees, as they stand among tokens.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenTree};

use crate::tokens::{group_content, is_punct, is_word, word};

/// A path as written: `crate`, `self`, `super` and names. A leading empty name stands for a leading `::`.
pub type Path = Vec<String>;

/// One name that `use` brings in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Where it is from.
    pub path: Path,
    /// The name here; `*` for all names of the module that the path leads to.
    pub name: String,
}

/// The path that begins here and how many tokens it takes; a name alone is a path of one.
pub fn written_path(trees: &[TokenTree]) -> Option<(Path, usize)> {
    let mut path = Path::new();
    let mut length = 0;
    if is_double_colon(trees) {
        path.push(String::new());
        length = 2;
    }
    path.push(word(trees.get(length))?);
    length += 1;
    while is_double_colon(trees.get(length..).unwrap_or(&[])) {
        let Some(name) = word(trees.get(length + 2)) else { break };
        path.push(name);
        length += 3;
    }
    Some((path, length))
}

fn is_double_colon(trees: &[TokenTree]) -> bool {
    is_punct(trees.first(), ':') && is_punct(trees.get(1), ':')
}

/// All paths and names among tokens, in brackets as well.
pub fn all_paths(trees: &[TokenTree], found: &mut BTreeSet<Path>) {
    let mut place = 0;
    while let Some(tree) = trees.get(place) {
        if let TokenTree::Group(group) = tree {
            all_paths(&group.stream().into_iter().collect::<Vec<_>>(), found);
        }
        place += match written_path(trees.get(place..).unwrap_or(&[])) {
            Some((path, length)) => {
                found.insert(path);
                length
            }
            None => 1,
        };
    }
}

/// Reads what stands between `use` and its semicolon, after the path `before`.
pub fn read_use_tree(trees: &[TokenTree], before: &[String], imports: &mut Vec<Import>) {
    let mut path = before.to_vec();
    let mut rest = trees;
    if is_double_colon(rest) && path.is_empty() {
        path.push(String::new());
    }
    loop {
        if is_double_colon(rest) {
            rest = rest.get(2..).unwrap_or(&[]);
        }
        if let Some(parts) = group_content(rest.first(), Delimiter::Brace) {
            for part in parts.split(|tree| is_punct(Some(tree), ',')) {
                read_use_tree(part, &path, imports);
            }
            return;
        }
        if is_punct(rest.first(), '*') {
            imports.push(Import { path, name: "*".to_string() });
            return;
        }
        let Some(name) = word(rest.first()) else { return };
        rest = rest.get(1..).unwrap_or(&[]);
        if name != "self" || path.is_empty() {
            path.push(name);
        }
        if !is_double_colon(rest) {
            let alias = if is_word(rest.first(), "as") { word(rest.get(1)) } else { path.last().cloned() };
            imports.push(Import { path, name: alias.unwrap_or_default() });
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::path::Path as FilePath;

    use crate::module::Module;
    use crate::tokens::tokenize;

    fn imports(text: &str) -> Vec<String> {
        Module::read(tokenize(FilePath::new("a.rs"), text).unwrap())
            .imports
            .into_iter()
            .map(|import| format!("{} = {}", import.name, import.path.join("::")))
            .collect()
    }

    #[test]
    fn use_trees_are_read_to_their_leaves() {
        assert_eq!(imports("use crate::a::b;"), ["b = crate::a::b"]);
        assert_eq!(imports("pub(crate) use super::a as c;"), ["c = super::a"]);
        assert_eq!(
            imports("use crate::{a::{self, b as c, d::*}, e};"),
            ["a = crate::a", "c = crate::a::b", "* = crate::a::d", "e = crate::e"]
        );
        assert_eq!(imports("use {self::a, ::csv::Reader};"), ["a = self::a", "Reader = ::csv::Reader"]);
        assert_eq!(imports("fn f() { use super::*; }"), ["* = super"]);
        assert_eq!(imports("extern crate alloc as memory;"), ["memory = ::alloc"]);
    }
}
