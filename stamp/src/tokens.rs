//! Source text as tokens, without what cannot change a result: comments, layout, documentation, tests.
//!
//! Knows nothing of modules and paths.

use std::path::Path;
use std::str::FromStr;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::error::Error;

/// Pairs of characters that mean something else together than apart.
const OPERATORS: [&str; 20] = [
    "::", "->", "=>", "==", "!=", "<=", ">=", "&&", "||", "+=", "-=", "*=", "/=", "%=", "^=", "&=", "|=",
    "<<", ">>", "..",
];

/// Words that an item can begin with, after its attributes and visibility.
const ITEMS: [&str; 14] = [
    "mod",
    "fn",
    "use",
    "const",
    "static",
    "struct",
    "enum",
    "trait",
    "impl",
    "type",
    "unsafe",
    "async",
    "extern",
    "macro_rules",
];

/// The tokens of a source file, stripped. Line ends are read as the compiler reads them.
///
/// # Errors
/// Text that is not Rust.
pub fn tokenize(path: &Path, text: &str) -> Result<Vec<TokenTree>, Error> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let code = match text.strip_prefix("#!") {
        Some(rest) if !rest.trim_start().starts_with('[') => {
            rest.split_once('\n').map_or("", |(_, rest)| rest)
        }
        _ => &text,
    };
    let stream =
        TokenStream::from_str(code).map_err(|source| Error::Tokens { path: path.to_path_buf(), source })?;
    Ok(strip(stream))
}

/// Tokens without documentation and without items under `#[cfg(test)]`.
fn strip(stream: TokenStream) -> Vec<TokenTree> {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut kept = Vec::with_capacity(trees.len());
    let mut rest = trees.as_slice();
    while !rest.is_empty() {
        let attributes = leading_attributes(rest);
        if attributes.iter().any(|attribute| attribute.inner && is_cfg_test(&attribute.content)) {
            return Vec::new();
        }
        let after =
            rest.get(attributes.iter().map(|attribute| attribute.tokens.len()).sum()..).unwrap_or(&[]);
        let length = item_length(after);
        if length > 0 && attributes.iter().any(|attribute| is_cfg_test(&attribute.content)) {
            rest = after.get(length..).unwrap_or(&[]);
            continue;
        }
        for attribute in attributes.iter().filter(|attribute| !is_word(attribute.content.first(), "doc")) {
            kept.extend_from_slice(attribute.tokens);
        }
        rest = match after.split_first() {
            Some((first, rest)) => {
                kept.push(strip_within(first));
                rest
            }
            None => after,
        };
    }
    kept
}

fn strip_within(tree: &TokenTree) -> TokenTree {
    match tree {
        TokenTree::Group(group) => {
            let content: TokenStream = strip(group.stream()).into_iter().collect();
            Group::new(group.delimiter(), content).into()
        }
        other => other.clone(),
    }
}

struct Attribute<'a> {
    tokens: &'a [TokenTree],
    content: Vec<TokenTree>,
    inner: bool,
}

impl<'a> Attribute<'a> {
    fn at(trees: &'a [TokenTree]) -> Option<Self> {
        if !is_punct(trees.first(), '#') {
            return None;
        }
        let inner = is_punct(trees.get(1), '!');
        let length = if inner { 3 } else { 2 };
        let content = group_content(trees.get(length - 1), Delimiter::Bracket)?;
        Some(Self { tokens: trees.get(..length)?, content, inner })
    }
}

fn leading_attributes(mut trees: &[TokenTree]) -> Vec<Attribute<'_>> {
    let mut found = Vec::new();
    while let Some(attribute) = Attribute::at(trees) {
        trees = trees.get(attribute.tokens.len()..).unwrap_or(&[]);
        found.push(attribute);
    }
    found
}

/// Whether an attribute is `cfg(test)` or `cfg(all(test, …))`.
fn is_cfg_test(attribute: &[TokenTree]) -> bool {
    let [TokenTree::Ident(name), TokenTree::Group(condition)] = attribute else { return false };
    let condition: Vec<TokenTree> = condition.stream().into_iter().collect();
    name == "cfg"
        && match condition.as_slice() {
            [TokenTree::Ident(word)] => word == "test",
            [TokenTree::Ident(word), TokenTree::Group(group)] if word == "all" => {
                let parts: Vec<TokenTree> = group.stream().into_iter().collect();
                parts
                    .split(|part| is_punct(Some(part), ','))
                    .any(|part| part.len() == 1 && is_word(part.first(), "test"))
            }
            _ => false,
        }
}

/// How many tokens the item takes that begins here; 0 where what begins is no item, as a field or an arm.
fn item_length(trees: &[TokenTree]) -> usize {
    let visibility = visibility_length(trees);
    let item = trees.get(visibility..).unwrap_or(&[]);
    let Some(TokenTree::Ident(word)) = item.first() else { return 0 };
    if !ITEMS.iter().any(|known| word == known) || (word == "macro_rules" && !is_punct(item.get(1), '!')) {
        return 0;
    }
    let is_block = |tree: &TokenTree| group_content(Some(tree), Delimiter::Brace).is_some();
    let is_end = |tree: &TokenTree| is_punct(Some(tree), ';');
    let has_value = match item.get(1) {
        Some(TokenTree::Ident(second)) if word == "const" => {
            !["fn", "unsafe", "async", "extern"].iter().any(|other| second == other)
        }
        Some(second) if word == "const" => !is_block(second),
        _ => ["use", "static", "type"].iter().any(|other| word == other),
    };
    let end = item.iter().position(|tree| is_end(tree) || (!has_value && is_block(tree)));
    visibility + end.map_or(item.len(), |end| end + 1)
}

/// How many tokens `pub` or `pub(…)` takes at the beginning.
fn visibility_length(trees: &[TokenTree]) -> usize {
    match is_word(trees.first(), "pub") {
        true if group_content(trees.get(1), Delimiter::Parenthesis).is_some() => 2,
        true => 1,
        false => 0,
    }
}

/// Whether a token is this word.
pub fn is_word(tree: Option<&TokenTree>, word: &str) -> bool {
    matches!(tree, Some(TokenTree::Ident(ident)) if ident == word)
}

/// Whether a token is this punctuation character.
pub fn is_punct(tree: Option<&TokenTree>, character: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

/// What is between these brackets.
pub fn group_content(tree: Option<&TokenTree>, delimiter: Delimiter) -> Option<Vec<TokenTree>> {
    match tree {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => {
            Some(group.stream().into_iter().collect())
        }
        _ => None,
    }
}

/// A name, without the mark of a raw identifier.
pub fn word(tree: Option<&TokenTree>) -> Option<String> {
    match tree {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string().trim_start_matches("r#").to_string()),
        _ => None,
    }
}

/// The text of a string literal that has no escapes.
pub fn plain_string(tree: Option<&TokenTree>) -> Option<String> {
    let Some(TokenTree::Literal(literal)) = tree else { return None };
    let text = literal.to_string();
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('\\')).then(|| inner.to_string())
}

/// Hashes tokens: each with its sort and, where it has a text, its length.
pub fn hash(trees: &[TokenTree], hasher: &mut blake3::Hasher) {
    for (place, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                hasher.update(open);
                hash(&group.stream().into_iter().collect::<Vec<_>>(), hasher);
                hasher.update(close);
            }
            TokenTree::Ident(ident) => hash_text(b"i", &ident.to_string(), hasher),
            TokenTree::Literal(literal) => hash_text(b"l", &literal.to_string(), hasher),
            TokenTree::Punct(punct) => {
                let joined = joins(punct, trees.get(place + 1));
                hash_text(if joined { b"j" } else { b"p" }, &punct.as_char().to_string(), hasher);
            }
        }
    }
}

/// Whether a character makes one operator with the next, as in `::`, and does not just stand close to it.
fn joins(punct: &proc_macro2::Punct, next: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Punct(next)) = next else { return false };
    let pair = [punct.as_char(), next.as_char()];
    punct.spacing() == proc_macro2::Spacing::Joint
        && OPERATORS.iter().any(|operator| operator.chars().eq(pair))
}

fn hash_text(sort: &[u8], text: &str, hasher: &mut blake3::Hasher) {
    hasher.update(sort).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}

fn brackets(delimiter: Delimiter) -> (&'static [u8], &'static [u8]) {
    match delimiter {
        Delimiter::Parenthesis => (b"(", b")"),
        Delimiter::Brace => (b"{", b"}"),
        Delimiter::Bracket => (b"[", b"]"),
        Delimiter::None => (b"<", b">"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn digest(text: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hash(&tokenize(Path::new("a.rs"), text).unwrap(), &mut hasher);
        hasher.finalize()
    }

    const CODE: &str = "pub fn area(a: &[f64]) -> f64 { a[0] * -1.5 }\nconst N: usize = 2;\n";

    #[test]
    fn comments_layout_documentation_and_tests_do_not_count() {
        let same = [
            CODE.replace(' ', "  \n"),
            CODE.replace('\n', "\r\n"),
            CODE.replace("* -1.5", "*-1.5"),
            format!("//! Idea.\n#![doc = \"more\"]\n/** Long. */ {CODE} // end"),
            format!("{CODE} #[cfg(test)] mod tests {{ use super::*; #[test] fn f() {{}} }}"),
            format!(
                "#[cfg(test)] use std::fmt; {CODE} #[cfg(all(test, unix))] pub(crate) const A: S = S {{ a: 1 }};"
            ),
            format!(
                "/// Says.\n#[cfg(test)]\n#[allow(dead_code)]\nconst fn g() -> u8 {{ 1 }} {CODE} #[cfg(test)] mod more;"
            ),
            format!("#!/usr/bin/env run\n{CODE}"),
        ];
        for text in same {
            assert_eq!(digest(CODE), digest(&text), "{text}");
        }
    }

    #[test]
    fn every_token_counts() {
        let other = [
            CODE.replace("1.5", "1.50"),
            CODE.replace("area", "r#area"),
            CODE.replace('*', "/"),
            CODE.replace('[', "(").replace(']', ")"),
            CODE.replace("-> f64", "- > f64"),
            format!("#[inline] {CODE}"),
            format!("#[cfg(not(test))] {CODE}"),
            format!("{CODE} struct S {{ #[cfg(test)] a: u8, b: u8 }}"),
        ];
        for text in other {
            assert_ne!(digest(CODE), digest(&text), "{text}");
        }
    }

    #[test]
    fn a_test_field_does_not_hide_what_follows() {
        let fields = |rest: &str| digest(&format!("struct S {{ #[cfg(test)] a: u8, {rest} }}"));
        assert_ne!(fields("b: u8"), fields("c: u8"));
        let arms = |rest: &str| digest(&format!("fn f() {{ match x {{ #[cfg(test)] 1 => 2, {rest} }} }}"));
        assert_ne!(arms("3 => 4"), arms("3 => 5"));
    }

    #[test]
    fn a_file_for_tests_only_is_empty() {
        assert_eq!(digest("#![cfg(test)]\nfn f() {}"), digest(""));
    }

    #[test]
    fn text_that_is_not_rust_is_named() {
        let error = tokenize(Path::new("bad.rs"), "fn f( {").unwrap_err();
        assert!(error.to_string().starts_with("bad.rs: not Rust"), "{error}");
    }
}
