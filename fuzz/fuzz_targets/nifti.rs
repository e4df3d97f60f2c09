//! Any bytes as a NIfTI scan: an error or voxels, and nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The test suite runs the same over the seeds and over what once crashed.
#[path = "../../stages/tests/nifti_files/exercise.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::nifti(bytes));
