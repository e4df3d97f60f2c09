//! Files on a model hub: `hf://OWNER/NAME[@REVISION][/FILE][#sha256=DIGEST]`.
//!
//! A manifest may name such a file where a kind takes one. Nothing here downloads: whoever can gives the place of the
//! local copy, and from then on it is a file like any other, which counts by its content.

use std::fmt;

/// What an address begins with.
const SCHEME: &str = "hf://";
/// The revision and the file of an address that names none.
const REVISION: &str = "main";
const FILE: &str = "model.safetensors";

/// A file on the hub.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubFile {
    /// Owner and name of the repository.
    pub repository: String,
    /// A branch, tag or commit.
    pub revision: String,
    /// The file's path in the repository.
    pub file: String,
    /// The SHA-256 that it must have, 64 hexadecimal digits.
    pub sha256: Option<String>,
}

impl HubFile {
    /// Reads an address; `None` for a text that is none.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        text.strip_prefix(SCHEME).map(Self::parse_rest)
    }

    fn parse_rest(rest: &str) -> Result<Self, String> {
        let (rest, sha256) = match rest.split_once('#') {
            None => (rest, None),
            Some((rest, fragment)) => (rest, Some(digest(fragment)?)),
        };
        let mut parts = rest.splitn(3, '/');
        let owner = parts.next().unwrap_or_default();
        let name = parts.next().unwrap_or_default();
        let file = parts.next().unwrap_or(FILE);
        let (name, revision) = name.split_once('@').unwrap_or((name, REVISION));
        let segments = [owner, name, revision].into_iter().chain(file.split('/'));
        for segment in segments {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
            if segment.is_empty() || segment.starts_with('.') || !segment.chars().all(plain) {
                return Err(format!("`{segment}` is no name in {SCHEME}OWNER/NAME[@REVISION][/FILE]"));
            }
        }
        Ok(Self {
            repository: format!("{owner}/{name}"),
            revision: revision.to_owned(),
            file: file.to_owned(),
            sha256,
        })
    }
}

fn digest(fragment: &str) -> Result<String, String> {
    match fragment.strip_prefix("sha256=") {
        Some(digest) if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(digest.to_ascii_lowercase())
        }
        _ => Err(format!("`#{fragment}` is not #sha256= and 64 hexadecimal digits")),
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, revision, file, .. } = self;
        write!(formatter, "{SCHEME}{repository}@{revision}/{file}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_defaults_and_are_written_whole() {
        let digest = "0123456789abcdefABCDEF".to_owned() + &"0".repeat(42);
        for (text, whole) in [
            ("hf://openai/clip-vit-base-patch32", "hf://openai/clip-vit-base-patch32@main/model.safetensors"),
            ("hf://a/b@v1.0/sub/x.pt", "hf://a/b@v1.0/sub/x.pt"),
            (&format!("hf://a/b#sha256={digest}"), "hf://a/b@main/model.safetensors"),
        ] {
            let file = HubFile::parse(text).expect("an address").expect("sound");
            assert_eq!(file.to_string(), whole);
            assert_eq!(file.sha256.is_some(), text.contains('#'));
        }
        assert_eq!(HubFile::parse("weights/hf.pt"), None);
    }

    #[test]
    fn unsound_addresses_are_refused() {
        for text in [
            "hf://",
            "hf://a",
            "hf://a/",
            "hf:///b",
            "hf://a/b@",
            "hf://a/b/",
            "hf://a/b/../c",
            "hf://a/b/x y",
            "hf://a/b?x",
            "hf://a/b#md5=0",
            "hf://a/b#sha256=12",
        ] {
            assert!(matches!(HubFile::parse(text), Some(Err(_))), "{text}");
        }
    }
}
