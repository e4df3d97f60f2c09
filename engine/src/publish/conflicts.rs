//! Folders to publish to that lie where they must not: about inputs, about each other, about the project itself.
//!
//! Places are compared as they are, links followed, as far as they are there already.

use std::path::{Component, Path, PathBuf};

use crate::bind::shell_head;

/// Where a path leads, links followed as far as there is something; what is not there yet is added as it is written.
pub(crate) fn real_path(path: &Path) -> PathBuf {
    let plain = plain_path(path);
    let mut missing = Vec::new();
    let mut there = plain.as_path();
    loop {
        if let Ok(real) = std::fs::canonicalize(there) {
            return missing.iter().rev().fold(real, |path, part| path.join(part));
        }
        match (there.parent(), there.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name.to_os_string());
                there = parent;
            }
            _ => return plain,
        }
    }
}

/// A path without `.` and `..`, as far as its text tells.
pub(crate) fn plain_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// The stage whose published folder holds a path, if one does.
pub(crate) fn publisher_of<'a>(publish: &'a [(String, PathBuf)], path: &Path) -> Option<&'a str> {
    let real = real_path(path);
    let holds = |folder: &Path| real.starts_with(real_path(folder));
    publish.iter().find(|(_, folder)| holds(folder)).map(|(stage, _)| stage.as_str())
}

/// What is wrong with a place to publish to, and the next step; `others` are the folders of the stages before it.
///
/// # Errors
/// One sentence, and what to do about it.
pub(crate) fn refuse_conflicts(
    text: &str,
    (folder, root): (&Path, &Path),
    inputs: &[&PathBuf],
    others: &[(String, PathBuf)],
) -> Result<(), (String, String)> {
    let own = "give each stage a folder of its own, such as \"results/evaluate\"".to_string();
    if shell_head(text).is_some() {
        let message =
            format!("`publish = {text:?}` begins like a name that a shell puts in, which is not done here");
        return Err((message, "write the path out, or give it as a variable with --set".to_string()));
    }
    let real = real_path(folder);
    if real_path(root).starts_with(&real) {
        return Err((
            format!("`publish = {text:?}` would put files into the project's root or above it"),
            own,
        ));
    }
    if inputs.iter().any(|input| input.is_dir() && real.starts_with(real_path(input))) {
        return Err((format!("`publish = {text:?}` would put files into an input"), own));
    }
    if folder.is_file() {
        return Err((format!("`publish = {text:?}` is a file, not a folder"), own));
    }
    if let Some((other, _)) = others.iter().find(|(_, known)| real_path(known) == real) {
        return Err((format!("stage `{other}` is published to the same folder, {text:?}"), own));
    }
    let nested = |known: &Path| {
        let known = real_path(known);
        known.starts_with(&real) || real.starts_with(&known)
    };
    match others.iter().find(|(_, known)| nested(known)) {
        Some((other, _)) => Err((
            format!("`publish = {text:?}` and the folder of stage `{other}` lie inside one another"),
            "a folder holds what one stage gives: give them folders beside each other".to_string(),
        )),
        None => writable(&real).map_or(Ok(()), |problem| {
            Err((
                format!("`publish = {text:?}`: {problem}"),
                "choose a folder that can be written to".to_string(),
            ))
        }),
    }
}

/// Why nothing can be written to a folder, or to the one that it would be made in.
fn writable(folder: &Path) -> Option<String> {
    let there = folder.ancestors().find(|folder| folder.exists())?;
    if !there.is_dir() {
        return Some(format!("{} is no folder", there.display()));
    }
    #[cfg(target_os = "linux")]
    if rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_err() {
        return Some(format!("{} cannot be written to", there.display()));
    }
    None
}
