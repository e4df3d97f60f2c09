//! Paths in words, for messages.

use std::path::{Path, PathBuf};

/// A path as people know it: relative to the project's root where it lies within.
pub(crate) fn shown_path(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// What a path begins with that a shell would replace: `~`, or the name of a variable.
pub(crate) fn shell_head(text: &str) -> Option<&str> {
    let is_shell = text.starts_with('~') || (text.starts_with('$') && !text.starts_with("${"));
    is_shell.then(|| text.split('/').next().unwrap_or(text))
}

/// The path of something that is not there: against which folder it was read, and whether it lies in the current one.
pub(crate) fn missing_path(root: &Path, path: &Path) -> String {
    let Ok(name) = path.strip_prefix(root) else { return path.display().to_string() };
    let (shown, here) = (name.display(), std::env::current_dir().ok());
    let is_root = |here: &PathBuf| std::fs::canonicalize(root).is_ok_and(|root| root == *here);
    match here {
        Some(here) if is_root(&here) => format!("{shown} in this folder"),
        Some(here) if here.join(name).exists() => format!(
            "{shown} in {}; there is one in {}, where the command was started, but paths are read against the \
             manifest's root",
            root.display(),
            here.display()
        ),
        _ => format!("{shown} in {}", root.display()),
    }
}
