//! DICOM series that other software wrote: compressed fixtures in the repository, and whatever pydicom
//! writes where Python has it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../../tests/support/require.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod require;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pipe_imaging::affine::Affine;
use pipe_imaging::dicom::{Content, ReadOptions, SeriesFile, Voxels, read_series};

const SCRIPT: &str = "tests/python/dicom_pydicom.py";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn files(case: &Path) -> Vec<SeriesFile> {
    let file = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        SeriesFile { name, content: Content::Path(path) }
    };
    cases(case).into_iter().map(file).collect()
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|entry| entry.as_f64().unwrap()).collect()
}

/// Compares a case with its `expected.json` and `expected.bin`, which are also files that the reader skips.
fn check(case: &Path) {
    let name = case.file_name().unwrap().to_string_lossy();
    let series = match read_series(&files(case), &ReadOptions::default()) {
        Ok(series) => series,
        Err(error) if name.starts_with("jpegls") && !cfg!(feature = "jpeg-ls") => {
            let message = error.to_string();
            assert!(message.contains("transfer syntax 1.2.840.10008.1.2.4.8"), "{message}");
            assert!(message.contains("cargo feature `jpeg-ls`"), "{message}");
            return;
        }
        Err(error) => panic!("{name}: {error}"),
    };
    let json = fs::read_to_string(case.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&json).unwrap();
    let shape = series.geometry.shape.map(|extent| extent as f64);
    assert_eq!(shape.as_slice(), numbers(&expected["shape"]), "{name}");
    let rows: Vec<Vec<f64>> = expected["affine"].as_array().unwrap().iter().map(numbers).collect();
    let rows = Affine::from_rows([0, 1, 2].map(|row| <[f64; 4]>::try_from(rows[row].clone()).unwrap()));
    let entries = |m: &Affine| [m.linear.as_flattened(), &m.translation].concat();
    for (found, expected) in entries(&series.geometry.affine).iter().zip(entries(&rows)) {
        assert!((found - expected).abs() < 1e-6, "{name}: {:?}, expected {rows:?}", series.geometry.affine);
    }
    assert_eq!(series.geometry.tilt_degrees != 0.0, name.starts_with("tilt"), "{name}");
    assert_eq!(series.geometry.skipped, ["expected.bin", "expected.json"]);
    let bytes = fs::read(case.join("expected.bin")).unwrap();
    let found: Vec<u8> = match &series.voxels {
        Voxels::Integers(voxels) => voxels.iter().flat_map(|voxel| voxel.to_le_bytes()).collect(),
        Voxels::Reals(voxels) => voxels.iter().flat_map(|voxel| voxel.to_le_bytes()).collect(),
    };
    assert_eq!(matches!(series.voxels, Voxels::Integers(_)), expected["type"] == "i16", "{name}");
    let differing = found.iter().zip(&bytes).filter(|(a, b)| a != b).count();
    assert!(found == bytes, "{name}: {differing} of {} bytes differ", bytes.len());
}

#[test]
fn compressed_fixtures_are_read_exactly() {
    let cases = cases(&folder("tests/fixtures/dicom"));
    assert_eq!(cases.len(), 9);
    cases.iter().for_each(|case| check(case));
}

#[test]
fn what_pydicom_writes_is_read_exactly() {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let has = Command::new(&python).args(["-c", "import pydicom, numpy"]).output();
    let has = has.is_ok_and(|output| output.status.success());
    if !require::has_part("python", has, "what_pydicom_writes_is_read_exactly") {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let run = Command::new(&python).arg(folder(SCRIPT)).arg(out.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let cases = cases(out.path());
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    cases.iter().for_each(|case| check(case));
}

/// What a decoder of compressed pixels makes of damaged data is not known, but it is no panic, and the
/// volume has the size that the header says.
#[test]
fn damaged_fixtures_never_panic() {
    for case in cases(&folder("tests/fixtures/dicom")) {
        let path = cases_of_images(&case).remove(0);
        let bytes = fs::read(&path).unwrap();
        let read = |bytes: Vec<u8>| {
            let file = SeriesFile { name: "a".to_owned(), content: Content::Bytes(bytes) };
            read_series(&[file], &ReadOptions::default())
        };
        for position in (132..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << (position % 8);
            if let Ok(series) = read(damaged) {
                assert!(series.geometry.shape.iter().product::<usize>() < 100_000, "{}", path.display());
            }
            let cut = read(bytes[..position].to_vec());
            // A deflated file may lose the end of its last block's checkless stream and stay whole.
            assert!(cut.is_err() || case.ends_with("deflated"), "{} cut at {position}", path.display());
        }
    }
}

/// Found by the fuzz target: inputs on which a decoder panics, at least in builds that check for overflow.
#[test]
fn a_panic_of_a_decoder_is_an_error() {
    for path in cases(&folder("tests/fixtures/dicom_damaged")) {
        let file = SeriesFile { name: "a".to_owned(), content: Content::Path(path) };
        match read_series(&[file], &ReadOptions::default()) {
            Ok(series) => assert_eq!(series.geometry.shape, [33, 32, 1]),
            Err(error) => assert!(error.to_string().contains("damaged JPEG 2000 data"), "{error}"),
        }
    }
}

fn cases_of_images(case: &Path) -> Vec<PathBuf> {
    let is_image = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "dcm");
    cases(case).into_iter().filter(is_image).collect()
}
