//! Parts of a machine that some tests need, and waits that come to an end.
//!
//! A test whose part is missing is skipped, and says so; where `PIPE_REQUIRE` names the part, as CI does, it fails. The
//! names of skipped tests are added to the file that `PIPE_SKIPPED` names.

#![allow(clippy::print_stderr, reason = "a test that was skipped says so")]

use std::io::Write as _;
use std::time::{Duration, Instant};

/// Whether a test can use a part of the machine (`python`, `torch`, `mount`, `database`, `chest-ct`, `ssh-keygen`, `qemu`, `rocrate`, `namespaces`); `found` says whether it is there.
pub fn has_part(part: &str, found: bool, test: &str) -> bool {
    if found {
        return true;
    }
    let required = std::env::var("PIPE_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|required| required.trim() == part);
    assert!(!is_required, "{test} needs `{part}`, which is missing, and PIPE_REQUIRE={required}");
    eprintln!("skipped: {test}: no {part}");
    if let Some(path) = std::env::var_os("PIPE_SKIPPED") {
        let file = std::fs::File::options().append(true).create(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{test} (no {part})"));
        written.unwrap_or_else(|error| panic!("PIPE_SKIPPED: {error}"));
    }
    false
}

/// Waits until something holds; fails when it does not in that time.
pub fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "not in {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
