//! Any text as a manifest of the shipped stage kinds: a pipeline or problems, and nothing else.
//!
//! Seeds: `pipelines`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pipe_engine::manifest::{Overrides, load_pipeline};
use pipe_engine::registry::Registry;
use pipe_stages::kinds::STAGES;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p.toml");
    std::fs::write(&path, bytes).expect("a file");
    // A manifest may start from another one, which a fuzzed name could make any file of this machine.
    if !bytes.windows(7).any(|window| window == b"extends") {
        let registry = Registry::new(STAGES.to_vec(), "").expect("the shipped kinds");
        let _ = load_pipeline(&path, &Overrides { set: vec![], profiles: vec![] }, &registry);
    }
});
