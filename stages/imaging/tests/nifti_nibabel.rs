//! Files that nibabel writes, in every variant, against what nibabel reads in them.
//!
//! Needs a `python3` (or the one that `PYTHON` names) with nibabel and numpy; skipped where there is none, unless
//! `PIPE_REQUIRE` names `python`.

#[path = "../../../tests/support/require.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod require;

use std::path::Path;
use std::process::Command;

use pipe_imaging::orientation::Orientation;
use pipe_imaging::scan::{ReadLimits, Scan, ScanError, pair_of};
use pipe_imaging::voxels::Region;
use serde::Deserialize;

/// One file, or pair of files, of `cases.json`.
#[derive(Deserialize)]
struct Case {
    name: String,
    /// In order of names, so that a header comes before its image.
    files: Vec<String>,
    shape: [usize; 3],
    affine: [[f64; 4]; 3],
    values: Vec<f64>,
}

/// Runs the script; `None` where Python or its packages are missing.
fn cases(folder: &Path) -> Option<Vec<Case>> {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python).args(["-c", "import nibabel, numpy"]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !require::has_part("python", found, "what_nibabel_writes_reads_as_nibabel_reads_it") {
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/nifti_nibabel.py");
    let output = Command::new(&python).arg(script).arg(folder).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read(folder.join("cases.json")).expect("the script's table");
    Some(serde_json::from_slice(&text).expect("cases"))
}

fn open(folder: &Path, case: &Case) -> Result<Scan, ScanError> {
    match case.files.as_slice() {
        [file] => Scan::open(&folder.join(file)),
        [header, image] => {
            assert_eq!(pair_of(header).as_ref(), Some(image));
            Scan::open_pair(&folder.join(header), &folder.join(image))
        }
        files => panic!("{files:?}"),
    }
}

/// f32 holds 24 bits, and so do the affines of NIfTI-1.
fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 2e-7 * expected.abs().max(1.0)
}

#[test]
fn what_nibabel_writes_reads_as_nibabel_reads_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(cases) = cases(folder.path()) else { return };
    assert_eq!(cases.len(), 160);
    for case in cases {
        let name = &case.name;
        let scan = open(folder.path(), &case).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scan.layout().shape, case.shape, "{name}");
        let affine = scan.affine(Orientation::Itk).unwrap_or_else(|error| panic!("{error}"));
        for row in 0..3 {
            let [x, y, z] = affine.linear[row];
            let found = [x, y, z, affine.translation[row]];
            let same = found.iter().zip(case.affine[row]).all(|(&found, expected)| {
                // The qform goes through a quaternion, which nibabel computes in its own way.
                (found - expected).abs() <= 2e-6 * expected.abs().max(1.0)
            });
            assert!(same, "{name}: {found:?}, expected {:?}", case.affine[row]);
        }
        let blocks = scan.read_blocks(&[Region::whole(case.shape)], ReadLimits::default());
        let values = blocks.unwrap_or_else(|error| panic!("{error}"))[0].values();
        assert_eq!(values.len(), case.values.len(), "{name}");
        for (index, (&found, &expected)) in values.iter().zip(&case.values).enumerate() {
            assert!(close(found.into(), expected), "{name}: voxel {index} is {found}, expected {expected}");
        }
    }
}
