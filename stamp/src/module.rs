//! One module as its tokens say: the modules within it, what it imports, and every path that it writes.
//!
//! Knows nothing of files and of what a name means. Where tokens leave open whether something is a path, it
//! is taken for one: to follow too much costs a run, to follow too little a wrong result.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::path::{Import, Path, all_paths, read_use_tree, written_path};
use crate::tokens::{group_content, is_punct, is_word, plain_string, word};

/// Words that give the name after them to what they define.
const DEFINING: [&str; 10] =
    ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "mut", "macro_rules"];

/// A part of a module, in the order of the source.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Tokens of its own.
    Own(Vec<TokenTree>),
    /// A module within it.
    Child(ChildModule),
}

/// A module as its parent declares it.
#[derive(Clone, Debug)]
pub struct ChildModule {
    /// Its name.
    pub name: String,
    /// The attributes of its declaration.
    pub attributes: Vec<TokenTree>,
    /// Its tokens where they are written in the parent.
    pub body: Option<Vec<TokenTree>>,
}

/// A file that the compiler takes in where the module says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Include {
    /// A path relative to the source file.
    BesideSource {
        /// The path.
        path: String,
        /// Whether it is Rust.
        code: bool,
    },
    /// A path relative to the package's folder.
    InPackage {
        /// The path.
        path: String,
        /// Whether it is Rust.
        code: bool,
    },
    /// The constants that this crate writes.
    Stamps,
    /// A path that only the compiler knows.
    Unknown,
}

/// What a module's tokens say.
#[derive(Debug, Default)]
pub struct Module {
    /// Its parts in order.
    pub pieces: Vec<Piece>,
    /// What it imports.
    pub imports: Vec<Import>,
    /// All other paths of two names or more.
    pub paths: BTreeSet<Path>,
    /// Names that it defines.
    pub defines: BTreeSet<String>,
    /// Those of them that are types and traits.
    pub types: BTreeSet<String>,
    /// Macros that it calls by their last name.
    pub calls: BTreeSet<String>,
    /// Macros that it defines, with the paths in each.
    pub macros: BTreeMap<String, BTreeSet<Path>>,
    /// For each `impl` block of nothing defined here, the paths and names in its head.
    pub foreign_impls: Vec<BTreeSet<Path>>,
    /// Cargo features that it asks for.
    pub features: BTreeSet<String>,
    /// Files that it takes in.
    pub includes: Vec<Include>,
    /// What in it cannot be followed.
    pub unfollowed: Vec<String>,
}

impl Module {
    /// Reads a module's tokens.
    pub fn read(tokens: Vec<TokenTree>) -> Self {
        let mut module = Self { pieces: split(tokens), ..Self::default() };
        for piece in module.pieces.clone() {
            match piece {
                Piece::Own(tokens) => module.scan(&tokens, 0),
                Piece::Child(child) => {
                    if child.attributes.iter().any(names_a_path) {
                        module.unfollowed.push(format!("`#[path]` on module `{}`", child.name));
                    }
                }
            }
        }
        let Self { foreign_impls, types, .. } = &mut module;
        let is_own = |path: &Path| matches!(path.as_slice(), [name] if types.contains(name));
        foreign_impls.retain(|head| !head.iter().any(is_own));
        module
    }

    /// Reads tokens that belong to the module though they are written elsewhere.
    pub fn scan_more(&mut self, tokens: &[TokenTree]) {
        self.scan(tokens, 1);
    }

    fn scan(&mut self, trees: &[TokenTree], depth: usize) {
        let mut place = 0;
        while let Some(tree) = trees.get(place) {
            let rest = trees.get(place..).unwrap_or(&[]);
            let before = place.checked_sub(1).and_then(|before| trees.get(before));
            place += match tree {
                TokenTree::Group(group) => {
                    self.scan(&group.stream().into_iter().collect::<Vec<_>>(), depth + 1);
                    1
                }
                TokenTree::Literal(_) => {
                    self.scan_literal(tree);
                    1
                }
                TokenTree::Ident(_) => self.scan_words(rest, before, depth),
                TokenTree::Punct(_) => match written_path(rest) {
                    Some((path, length)) => {
                        self.paths.insert(path);
                        length
                    }
                    None => 1,
                },
            };
        }
    }

    /// Reads what begins with a word, and says how many tokens to go on by.
    fn scan_words(&mut self, rest: &[TokenTree], before: Option<&TokenTree>, depth: usize) -> usize {
        let first = word(rest.first()).unwrap_or_default();
        match first.as_str() {
            "use" if !is_punct(rest.get(1), '<') => return self.scan_use(rest),
            "extern" if is_word(rest.get(1), "crate") => return self.scan_extern_crate(rest),
            "impl" if begins_an_item(before) => self.scan_impl(rest),
            "mod" if depth > 0 => self.scan_nested_module(rest),
            "feature" if is_punct(rest.get(1), '=') => self.features.extend(plain_string(rest.get(2))),
            "macro_rules" if is_punct(rest.get(1), '!') => self.define_macro(rest),
            _ => {}
        }
        if DEFINING.contains(&first.as_str()) {
            self.defines.extend(word(rest.get(1)));
        }
        if ["struct", "enum", "union", "trait"].contains(&first.as_str()) {
            self.types.extend(word(rest.get(1)));
        }
        let Some((path, length)) = written_path(rest) else { return 1 };
        self.scan_call(&path, rest.get(length..).unwrap_or(&[]));
        if path.len() > 1 {
            self.paths.insert(path);
        }
        length
    }

    fn scan_call(&mut self, path: &[String], rest: &[TokenTree]) {
        let Some(name) = path.last().filter(|_| is_punct(rest.first(), '!')) else { return };
        let Some(TokenTree::Group(group)) = rest.get(1) else { return };
        self.calls.insert(name.clone());
        if ["include", "include_str", "include_bytes"].contains(&name.as_str()) {
            let argument: Vec<TokenTree> = group.stream().into_iter().collect();
            self.includes.push(included(&argument, name == "include"));
        }
    }

    /// A path in a string, as in `#[serde(with = "crate::hex")]`.
    fn scan_literal(&mut self, literal: &TokenTree) {
        let Some(text) = plain_string(Some(literal)) else { return };
        let is_path =
            text.contains("::") && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':');
        if let Some(stream) = is_path.then(|| text.parse::<TokenStream>().ok()).flatten() {
            self.scan(&stream.into_iter().collect::<Vec<_>>(), 1);
        }
    }

    fn scan_use(&mut self, rest: &[TokenTree]) -> usize {
        let end = rest.iter().position(|tree| is_punct(Some(tree), ';')).unwrap_or(rest.len());
        read_use_tree(rest.get(1..end).unwrap_or(&[]), &[], &mut self.imports);
        end.max(1)
    }

    fn scan_extern_crate(&mut self, rest: &[TokenTree]) -> usize {
        let Some(name) = word(rest.get(2)) else { return 2 };
        let alias = if is_word(rest.get(3), "as") { word(rest.get(4)) } else { None };
        let path = if name == "self" { vec!["crate".to_string()] } else { vec![String::new(), name.clone()] };
        self.imports.push(Import { path, name: alias.unwrap_or(name) });
        3
    }

    fn scan_impl(&mut self, rest: &[TokenTree]) {
        let is_end = |tree: &TokenTree| {
            is_punct(Some(tree), ';') || group_content(Some(tree), Delimiter::Brace).is_some()
        };
        let Some(end) = rest.iter().position(is_end) else { return };
        let mut head = BTreeSet::new();
        all_paths(rest.get(1..end).unwrap_or(&[]), &mut head);
        self.foreign_impls.push(head);
    }

    fn scan_nested_module(&mut self, rest: &[TokenTree]) {
        let Some(name) = word(rest.get(1)) else { return };
        if is_punct(rest.get(2), ';') {
            self.unfollowed.push(format!("module `{name}`, declared within a block or a macro call,"));
        } else if group_content(rest.get(2), Delimiter::Brace).is_some() {
            self.unfollowed.push(format!("module `{name}`, written within a block or a macro call,"));
        }
    }

    fn define_macro(&mut self, rest: &[TokenTree]) {
        let (Some(name), Some(TokenTree::Group(body))) = (word(rest.get(2)), rest.get(3)) else { return };
        let mut within = Self::default();
        within.scan(&body.stream().into_iter().collect::<Vec<_>>(), 1);
        let imported = within.imports.into_iter().map(|import| import.path);
        self.macros.entry(name.clone()).or_default().extend(within.paths.into_iter().chain(imported));
        self.defines.insert(name);
    }
}

/// Whether an `impl` after this token opens a block, rather than stands for a type.
fn begins_an_item(before: Option<&TokenTree>) -> bool {
    match before {
        None | Some(TokenTree::Group(_)) => true,
        Some(TokenTree::Ident(ident)) => ident == "unsafe" || ident == "default",
        Some(other) => is_punct(Some(other), ';'),
    }
}

/// Whether an attribute's brackets hold `path = …`, directly or under a condition.
fn names_a_path(tree: &TokenTree) -> bool {
    let Some(content) = group_content(Some(tree), Delimiter::Bracket) else { return false };
    is_word(content.first(), "path")
        || (is_word(content.first(), "cfg_attr")
            && content.iter().any(|part| {
                group_content(Some(part), Delimiter::Parenthesis)
                    .is_some_and(|inner| inner.iter().any(|tree| is_word(Some(tree), "path")))
            }))
}

/// Divides a module's tokens into its own and the modules within it.
fn split(tokens: Vec<TokenTree>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut own: Vec<TokenTree> = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let body = group_content(after.get(1), Delimiter::Brace);
        match word(after.first()) {
            Some(name) if is_word(Some(first), "mod") && (body.is_some() || is_punct(after.get(1), ';')) => {
                let attributes = take_attributes(&mut own);
                pieces.push(Piece::Own(std::mem::take(&mut own)));
                pieces.push(Piece::Child(ChildModule { name, attributes, body }));
                rest = after.get(2..).unwrap_or(&[]);
            }
            _ => {
                own.push(first.clone());
                rest = after;
            }
        }
    }
    pieces.push(Piece::Own(own));
    pieces
}

/// Takes a declaration's visibility and attributes off the end of the tokens before it; the visibility is dropped.
fn take_attributes(own: &mut Vec<TokenTree>) -> Vec<TokenTree> {
    if group_content(own.last(), Delimiter::Parenthesis).is_some() {
        own.pop();
    }
    if is_word(own.last(), "pub") {
        own.pop();
    }
    let mut start = own.len();
    while let Some(before) = start.checked_sub(2) {
        let is_attribute = is_punct(own.get(before), '#')
            && group_content(own.get(before + 1), Delimiter::Bracket).is_some();
        if !is_attribute {
            break;
        }
        start = before;
    }
    own.split_off(start)
}

fn included(argument: &[TokenTree], code: bool) -> Include {
    if let (Some(path), [_]) = (plain_string(argument.first()), argument) {
        return Include::BesideSource { path, code };
    }
    let parts = (is_word(argument.first(), "concat") && is_punct(argument.get(1), '!'))
        .then(|| group_content(argument.get(2), Delimiter::Parenthesis))
        .flatten()
        .unwrap_or_default();
    let [TokenTree::Ident(env), TokenTree::Punct(_), TokenTree::Group(variable), TokenTree::Punct(_), file] =
        parts.as_slice()
    else {
        return Include::Unknown;
    };
    let variable: Vec<TokenTree> = variable.stream().into_iter().collect();
    match (plain_string(variable.first()).as_deref(), plain_string(Some(file))) {
        (Some("CARGO_MANIFEST_DIR"), Some(path)) if env == "env" => {
            Include::InPackage { path: path.trim_start_matches('/').to_string(), code }
        }
        (Some("OUT_DIR"), Some(path)) if path.trim_start_matches('/') == crate::FILE => Include::Stamps,
        _ => Include::Unknown,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::path::Path as FilePath;

    use super::*;
    use crate::tokens::tokenize;

    fn module(text: &str) -> Module {
        Module::read(tokenize(FilePath::new("a.rs"), text).unwrap())
    }

    fn paths(text: &str) -> Vec<String> {
        module(text).paths.into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn paths_are_found_wherever_they_stand() {
        assert_eq!(
            paths("fn f(a: Vec<crate::a::B>) -> c::D { <E as super::F>::g::<::h::I>() }"),
            ["::g", "::h::I", "c::D", "crate::a::B", "super::F"]
        );
        assert_eq!(paths("macro_rules! m { () => { $crate::a::b() } }"), ["crate::a::b"]);
        assert_eq!(paths("m! { crate::a::b, [x::y] }"), ["crate::a::b", "x::y"]);
        assert_eq!(paths("#[serde(with = \"crate::hex\")] struct S;"), ["crate::hex"]);
    }

    #[test]
    fn impl_blocks_of_others_types_are_told_from_own_ones() {
        let heads = |text: &str| module(text).foreign_impls.len();
        assert_eq!(heads("use super::S; impl S { fn f() {} }"), 1);
        assert_eq!(heads("use super::S; impl<T: Copy> std::fmt::Display for S<T> {}"), 1);
        assert_eq!(heads("struct S; impl S {} impl super::T for S {}"), 0);
        assert_eq!(heads("fn f(a: impl Fn(u8)) -> impl Iterator<Item = S> { a }"), 0);
    }

    #[test]
    fn files_taken_in_are_known_by_how_their_path_is_written() {
        let include = |text: &str| module(text).includes;
        let beside = |path: &str, code| Include::BesideSource { path: path.to_string(), code };
        assert_eq!(include("const A: &str = include_str!(\"a.txt\");"), [beside("a.txt", false)]);
        assert_eq!(include("include!(\"a.rs\");"), [beside("a.rs", true)]);
        assert_eq!(
            include("const A: &[u8] = include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/a.bin\"));"),
            [Include::InPackage { path: "a.bin".to_string(), code: false }]
        );
        assert_eq!(include("include!(concat!(env!(\"OUT_DIR\"), \"/code_stamps.rs\"));"), [Include::Stamps]);
        assert_eq!(include("include!(concat!(env!(\"OUT_DIR\"), \"/other.rs\"));"), [Include::Unknown]);
    }
}
