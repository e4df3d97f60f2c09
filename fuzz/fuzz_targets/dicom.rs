//! The DICOM reader on up to three files, which the input holds one after another, parted by a marker.
//!
//! Seeds: the files of `stages/imaging/tests/fixtures/dicom`, alone and joined by the marker.

#![no_main]

use std::panic;

use libfuzzer_sys::fuzz_target;
use pipe_imaging::dicom::{Content, ReadOptions, SeriesFile, read_series};

const MARKER: &[u8] = b"-next-file-";
/// Decoders whose panics the reader catches and makes errors of.
const CAUGHT: [&str; 3] = ["jpeg-decoder", "jpeg2k", "openjp2"];

fn files(mut rest: &[u8]) -> Vec<SeriesFile> {
    let mut files = Vec::new();
    while files.len() < 3 && !rest.is_empty() {
        let end = rest.windows(MARKER.len()).position(|window| window == MARKER);
        let (file, after) = rest.split_at(end.unwrap_or(rest.len()));
        let name = files.len().to_string();
        files.push(SeriesFile { name, content: Content::Bytes(file.to_vec()) });
        rest = after.get(MARKER.len()..).unwrap_or_default();
    }
    files
}

fuzz_target!(
    init: {
        let abort = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let file = info.location().map_or("", |location| location.file());
            if !CAUGHT.iter().any(|name| file.contains(name)) {
                abort(info);
            }
        }));
    },
    |data: &[u8]| {
        let options = ReadOptions { memory_bytes: 1 << 24, ..ReadOptions::default() };
        if let Ok(series) = read_series(&files(data), &options) {
            series.nii_gz_bytes().expect("what is read can be written");
        }
    }
);
