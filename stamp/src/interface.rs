//! The workspace's modules that carry no numbers: how a stage is asked and answers, and how bytes are kept.
//!
//! Their tokens do not count, or else every edit of the engine would run every stage again. What they use
//! does. A change of theirs that changes results raises [`VERSION`].

/// Version of what the interface modules do to numbers; part of every stamp.
pub const VERSION: u64 = 1;

/// Crates that are an interface as a whole.
const CRATES: [&str; 1] = ["pipe_cache"];

/// Modules that are an interface, with all within them.
const MODULES: [&str; 6] = [
    "pipe_plugin::code",
    "pipe_plugin::context",
    "pipe_plugin::input",
    "pipe_plugin::stage",
    "pipe_plugin::stamps",
    "pipe_plugin::testing",
];

/// Whether nothing of a crate counts.
pub fn is_whole(library: &str) -> bool {
    CRATES.contains(&library)
}

/// Whether a module's tokens do not count.
pub fn is_module(path: &str) -> bool {
    MODULES
        .iter()
        .any(|module| path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_meant_with_all_within_it_and_not_by_the_beginning_of_its_name() {
        assert!(is_module("pipe_plugin::stage") && is_module("pipe_plugin::stage::item"));
        assert!(
            !is_module("pipe_plugin::stages")
                && !is_module("pipe_plugin::table")
                && !is_module("pipe_plugin")
        );
    }
}
