//! Any bytes in the place of any file of a cache; the first byte says of which.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The test suite runs the same over random bytes.
#[path = "../../cache/tests/disk_files/exercise.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| {
    if let Some((format, bytes)) = bytes.split_first() {
        exercise::disk_file(*format, bytes);
    }
});
