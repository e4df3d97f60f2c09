//! Scans and masks that would give a wrong answer in silence, through the program: `check` and `run` tell both.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use pipe_imaging::affine::Affine;
use pipe_imaging::nifti_write::{Volume, nii_bytes, nii_gz_bytes};
use support::Workspace;

/// What `check` and `run` say of a manifest, with their exit codes.
fn said(workspace: &Workspace, arguments: &[&str]) -> [(i32, String); 2] {
    let of = |verb: &str| {
        let ran = workspace.pipe(&[&[verb], arguments].concat());
        (ran.code, ran.stdout + &ran.stderr)
    };
    [of("check"), of("run")]
}

fn told_by_both(workspace: &Workspace, arguments: &[&str], parts: &[&str]) {
    for (code, text) in said(workspace, arguments) {
        assert_ne!(code, 0, "{text}");
        for part in parts {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}

const GRID: [usize; 3] = [40, 36, 30];

/// A scan off the origin, stored as LPS: the first voxel lies at RAS (47, 31, −37.5).
fn grid() -> Affine {
    Affine::from_rows([[-2.0, 0.0, 0.0, 47.0], [0.0, -2.0, 0.0, 31.0], [0.0, 0.0, 2.5, -37.5]])
}

/// 4 × 4 × 3 voxels from (8, 9, 12) on.
fn labelled(affine: Affine) -> Vec<u8> {
    let is_marked =
        |[x, y, z]: [usize; 3]| (8..12).contains(&x) && (9..13).contains(&y) && (12..15).contains(&z);
    let voxels = voxels(GRID, |index| i16::from(is_marked(index)));
    nii_gz_bytes(&Volume { shape: GRID, affine, voxels: &voxels }).unwrap()
}

fn voxels(shape: [usize; 3], value: impl Fn([usize; 3]) -> i16) -> Vec<i16> {
    let [columns, rows, _] = shape;
    let index = |at: usize| [at % columns, at / columns % rows, at / columns / rows];
    (0..shape.iter().product()).map(|at| value(index(at))).collect()
}

#[test]
fn a_mask_with_the_scans_voxels_must_lie_where_the_scan_lies() {
    let workspace = Workspace::new();
    let air = voxels(GRID, |[x, ..]| -1000 + (x as i16));
    workspace
        .write("ct.nii.gz", nii_gz_bytes(&Volume { shape: GRID, affine: grid(), voxels: &air }).unwrap());
    workspace.write("masks.csv", "pid,mask_path,image_path\nP1,mask.nii.gz,ct.nii.gz\n");
    workspace.write("p.toml", "[stage.centroid]\ninputs = { masks = \"masks.csv\" }\npublish = \"out\"\n");
    let rounded = Affine { translation: [47.000_3, 31.0, -37.5], ..grid() };
    for affine in [grid(), rounded] {
        workspace.write("mask.nii.gz", labelled(affine));
        workspace.pipe_ok(&["check", "p.toml"]);
        workspace.pipe_ok(&["run", "p.toml"]);
        let table = workspace.read("out/dataset.csv");
        assert!(table.contains(",1,48,480\n") && table.contains("-10,-5,1"), "{table}");
    }
    let lost = |spacing: f64| Affine::from_spacing([spacing; 3]);
    let lps = Affine::from_rows([[2.0, 0.0, 0.0, -47.0], [0.0, 2.0, 0.0, -31.0], [0.0, 0.0, 2.5, -37.5]]);
    let shifted = Affine { translation: [0.0; 3], ..grid() };
    let advice = "with the scan's affine";
    for (affine, part) in [(lost(1.0), advice), (shifted, advice), (lps, "it was written in LPS")] {
        workspace.write("mask.nii.gz", labelled(affine));
        let what = "the mask has the scan's 40 x 36 x 30 voxels, but lies elsewhere";
        told_by_both(&workspace, &["p.toml"], &["masks.csv:2", what, part]);
    }
}

#[test]
fn a_slice_that_was_lost_on_the_way_is_named_though_no_gap_shows() {
    let workspace = Workspace::new();
    let from = Path::new("stages/imaging/tests/fixtures/dicom/rle");
    workspace.copy(from.to_str().unwrap(), "series");
    for name in ["expected.bin", "expected.json"] {
        fs::remove_file(workspace.path("series").join(name)).unwrap();
    }
    workspace.write("t.csv", "pid,image_path\n1,series\n");
    workspace.write("p.toml", "[stage.dicom]\ninputs = { dataset = \"t.csv\" }\n");
    workspace.pipe_ok(&["run", "p.toml"]);
    let slice = fs::read(workspace.path("series/00.dcm")).unwrap();
    let head = |length: usize| slice[..length].to_vec();
    for (bytes, part) in [
        (Vec::new(), "the file is empty"),
        (head(100), "the file ends too early: 132 bytes expected at byte 0, of 100 in all"),
        (head(131), "the file ends too early"),
        (head(132), "is missing"),
        (head(slice.len() - 1), "ends too early"),
        (slice[132..].to_vec(), "DICOM without its preamble"),
        (b"<!DOCTYPE html><title>503</title>".to_vec(), "no DICOM file but a web page"),
    ] {
        workspace.write("series/99.dcm", bytes);
        told_by_both(&workspace, &["p.toml"], &["t.csv:2", "series", "99.dcm: ", part]);
    }
    fs::remove_file(workspace.path("series/99.dcm")).unwrap();
    workspace.write("series/notes.txt", "");
    workspace.pipe_ok(&["run", "p.toml"]);
}

const CROP: &str = "[stage.crop]\nparams = { size_mm = 8, sampling = \"exact\", pad_hu = -1000 }\n\
                    inputs = { dataset = \"nodules.csv\" }\npublish = \"crops\"\n";

/// A soft block at RAS x 6 to 12, y 5 to 11, all heights, in lung, in air: x from −30 to 30, y from −25 to 25.
fn chest() -> Vec<u8> {
    let shape = [60, 50, 24];
    let affine = Affine::from_rows([[1.0, 0.0, 0.0, -29.5], [0.0, 1.0, 0.0, -24.5], [0.0, 0.0, 2.0, 0.0]]);
    let voxels = voxels(shape, |[x, y, _]| {
        let (x, y) = (x as f64 - 29.5, y as f64 - 24.5);
        if (6.0..12.0).contains(&x) && (5.0..11.0).contains(&y) {
            40
        } else if x.abs() < 25.0 && y.abs() < 20.0 {
            -860
        } else {
            -1000
        }
    });
    nii_gz_bytes(&Volume { shape, affine, voxels: &voxels }).unwrap()
}

/// A row for each height, with the points that are given for it.
fn rows(points: impl Fn(usize) -> [f64; 2]) -> String {
    let row = |number: usize| {
        let [x, y] = points(number);
        format!("P{number},1,scan{}.nii.gz,{x},{y},{}\n", number % 2, 4 + 4 * number)
    };
    "pid,nodule_id,image_path,coordX,coordY,coordZ\n".to_string() + &(0..10).map(row).collect::<String>()
}

#[test]
fn a_cohort_in_ras_is_refused_by_its_voxels() {
    let workspace = Workspace::new();
    workspace.write("scan0.nii.gz", chest());
    workspace.write("scan1.nii.gz", chest());
    workspace.write("p.toml", CROP);
    let (lps, ras) = ([-9.0, -8.0], [9.0, 8.0]);
    workspace.write("nodules.csv", rows(|_| lps));
    let checked = workspace.pipe_ok(&["check", "p.toml"]);
    assert!(!checked.stdout.contains("nodules looked at"), "{}", checked.stdout);
    workspace.write("nodules.csv", rows(|_| ras));
    told_by_both(
        &workspace,
        &["p.toml"],
        &[
            "nodules.csv: error: of 10 nodules looked at, 10 (100 %) have their point in air, in lung or outside",
            "10 (100 %) lie in tissue: the coordinates are RAS, expected LPS",
            "help: change the sign of coordX and coordY in every row",
        ],
    );
    assert!(!workspace.path("crops").exists());
    // A mixed picture is told, and no more.
    workspace.write("nodules.csv", rows(|number| if number < 6 { lps } else { ras }));
    let ran = workspace.pipe_ok(&["run", "p.toml"]);
    assert!(ran.stderr.contains("nodules.csv: warning: of 10 nodules looked at, 4 (40 %)"), "{}", ran.stderr);
}

#[test]
fn rows_that_are_all_wrong_alike_are_told_once() {
    let workspace = Workspace::new();
    workspace.write("scan0.nii.gz", chest());
    workspace.write("scan1.nii.gz", chest());
    workspace.write("p.toml", CROP);
    workspace.write("nodules.csv", rows(|_| [900.0, 0.0]));
    let checked = workspace.pipe(&["check", "p.toml"]);
    let lines: Vec<&str> =
        checked.stdout.lines().filter(|line| line.contains("outside the scan scan")).collect();
    assert_eq!(lines.len(), 3, "{}", checked.stdout);
    assert!(
        checked.stdout.contains("nodules.csv: error: 10 points outside their scans:\n"),
        "{}",
        checked.stdout
    );
    assert!(checked.stdout.contains("    and 7 more\n"), "{}", checked.stdout);
    assert!(checked.stdout.contains("10 errors"), "{}", checked.stdout);
}

#[test]
fn a_header_without_codes_is_an_error_that_asks() {
    let workspace = Workspace::new();
    let shape = [44, 46, 30];
    let voxels = voxels(shape, |[x, y, z]| {
        if (8..12).contains(&x) && (30..34).contains(&y) && (20..24).contains(&z) { 100 } else { -1000 }
    });
    let affine = Affine::from_spacing([1.25, 1.25, 2.0]);
    let mut bytes = nii_bytes(&Volume { shape, affine, voxels: &voxels }).unwrap();
    bytes[252..256].fill(0);
    workspace.write("scan.nii", bytes);
    // SimpleITK 2.5.7: TransformContinuousIndexToPhysicalPoint((9.5, 31.5, 21.5)) of this header.
    workspace.write(
        "nodules.csv",
        "pid,nodule_id,image_path,coordX,coordY,coordZ\nP1,1,scan.nii,11.875,39.375,43\n",
    );
    workspace.write("p.toml", CROP);
    let parts = ["scan.nii", "does not say how the scan lies in the patient", "orientation = \"itk\""];
    told_by_both(&workspace, &["p.toml"], &parts);
    workspace.pipe_ok(&["run", "p.toml", "--set", "crop.orientation=itk"]);
    let crop = fs::read(workspace.path("crops/P1_1.safetensors")).unwrap();
    let header = usize::try_from(u64::from_le_bytes(crop[..8].try_into().unwrap())).unwrap();
    let value = |x: usize, y: usize, z: usize| {
        let at = 8 + header + 4 * (x + 8 * (y + 8 * z));
        f32::from_le_bytes(crop[at..at + 4].try_into().unwrap())
    };
    assert_eq!([value(4, 4, 4), value(3, 3, 3), value(5, 5, 4)], [100.0; 3]);
    assert!(value(0, 4, 4) < 0.0 && value(4, 0, 4) < 0.0 && value(7, 4, 4) < 0.0);
}

/// Files by name.
type NamedFiles = Vec<(&'static str, Vec<u8>)>;

/// A scan of that grid, in each format that is read: its name, and the files to write.
fn in_every_format(values: &[i16]) -> Vec<(&'static str, NamedFiles)> {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zlib = |bytes: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let nrrd = |encoding: &str, more: &str| {
        format!(
            "NRRD0005\ntype: short\ndimension: 3\nsizes: 40 36 30\nspace: left-posterior-superior\nendian: little\n\
             encoding: {encoding}\nspace directions: (2,0,0) (0,2,0) (0,0,2.5)\nspace origin: (-47,-31,-37.5)\n{more}"
        )
    };
    let meta = |more: &str, data: &str| {
        format!(
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{more}\
             TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = -47 -31 -37.5\nCenterOfRotation = 0 0 0\n\
             AnatomicalOrientation = RAI\nElementSpacing = 2 2 2.5\nDimSize = 40 36 30\nElementType = MET_SHORT\n\
             ElementDataFile = {data}\n"
        )
    };
    let nifti = nii_gz_bytes(&Volume { shape: GRID, affine: grid(), voxels: values }).unwrap();
    let with = |header: String, data: &[u8]| [header.as_bytes(), data].concat();
    vec![
        ("a.nii.gz", vec![("a.nii.gz", nifti)]),
        ("a.nrrd", vec![("a.nrrd", with(nrrd("raw", "\n"), &raw))]),
        ("gz.nrrd", vec![("gz.nrrd", with(nrrd("gzip", "\n"), &gzip(&raw)))]),
        ("a.nhdr", vec![("a.nhdr", nrrd("gzip", "data file: n.raw.gz\n").into()), ("n.raw.gz", gzip(&raw))]),
        ("a.mha", vec![("a.mha", with(meta("", "LOCAL"), &raw))]),
        ("z.mha", vec![("z.mha", with(meta("CompressedData = True\n", "LOCAL"), &zlib(&raw)))]),
        ("a.mhd", vec![("a.mhd", meta("", "a.raw").into()), ("a.raw", raw.clone())]),
        ("z.mhd", vec![("z.mhd", meta("CompressedData = True\n", "z.zraw").into()), ("z.zraw", zlib(&raw))]),
    ]
}

#[test]
fn a_scan_gives_the_same_crop_and_a_mask_the_same_centre_in_every_format() {
    let workspace = Workspace::new();
    let scan = voxels(GRID, |[x, y, z]| (x * 20 + y * 7 + z * 3) as i16 - 1000);
    let mask = voxels(GRID, |[x, y, z]| {
        i16::from((8..12).contains(&x) && (9..13).contains(&y) && (12..15).contains(&z))
    });
    workspace.write("p.toml", CROP);
    workspace
        .write("q.toml", "[stage.centroid]\ninputs = { masks = \"masks.csv\" }\npublish = \"centres\"\n");
    let masks = in_every_format(&mask);
    let mut first: Option<(Vec<u8>, String)> = None;
    for ((name, files), (_, mask_files)) in in_every_format(&scan).into_iter().zip(masks) {
        for (file, bytes) in &files {
            workspace.write(&format!("ct/{file}"), bytes);
        }
        for (file, bytes) in &mask_files {
            workspace.write(&format!("masks/{file}"), bytes);
        }
        workspace.write(
            "nodules.csv",
            format!("pid,nodule_id,image_path,coordX,coordY,coordZ\nP1,1,ct/{name},-10,-5,1\n"),
        );
        workspace.write("masks.csv", format!("pid,mask_path,image_path\nP1,masks/{name},ct/{name}\n"));
        workspace.pipe_ok(&["check", "p.toml"]);
        workspace.pipe_ok(&["run", "p.toml"]);
        workspace.pipe_ok(&["run", "q.toml"]);
        let crop = fs::read(workspace.path("crops/P1_1.safetensors")).unwrap();
        let centres = workspace.read("centres/dataset.csv").replace(name, "NAME");
        assert!(centres.contains("-10,-5,1"), "{name}: {centres}");
        let (known, told) = first.get_or_insert((crop.clone(), centres.clone()));
        assert!(*known == crop, "{name}");
        assert_eq!(*told, centres, "{name}");
        // The header's other half counts, too.
        if let [_, (data, bytes)] = &files[..] {
            let mut changed = bytes.clone();
            fs::remove_file(workspace.path(&format!("ct/{data}"))).unwrap();
            let lacks = format!("ct/{data}");
            told_by_both(&workspace, &["p.toml"], &["nodules.csv:2", &lacks, "the other half of"]);
            changed.truncate(bytes.len() / 2);
            workspace.write(&format!("ct/{data}"), changed);
            told_by_both(&workspace, &["p.toml"], &["nodules.csv:2", "truncated"]);
        }
    }
    workspace.write("ct/a.nrrd", "NRRD0005\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: hex\n\n");
    workspace
        .write("nodules.csv", "pid,nodule_id,image_path,coordX,coordY,coordZ\nP1,1,ct/a.nrrd,-10,-5,1\n");
    told_by_both(&workspace, &["p.toml"], &["nodules.csv:2", "ct/a.nrrd:5: `encoding` is \"hex\""]);
}

#[test]
fn files_of_other_formats_are_named_for_what_they_are() {
    let workspace = Workspace::new();
    workspace.write("p.toml", CROP);
    for (name, bytes, what, fix) in [
        (
            "a.nii.gz",
            &b"version https://git-lfs.github.com/spec/v1\n"[..],
            "a git-lfs pointer",
            "git lfs pull",
        ),
        ("a.nii", b"<!DOCTYPE html>\n<html>", "a web page", "download the file again"),
        ("a.mnc", b"\x89HDF\r\n\x1a\n", "a MINC file", "s.ReadImage('a.mnc')"),
        ("a.npy", b"\x93NUMPY\x01\0", "a NumPy file", "where its voxels lie"),
    ] {
        workspace.write(name, [bytes, &[0; 600]].concat());
        let rows = format!("pid,nodule_id,image_path,coordX,coordY,coordZ\nP1,1,{name},1,2,3\n");
        workspace.write("nodules.csv", rows);
        let what = format!("is {what}");
        told_by_both(&workspace, &["p.toml"], &["nodules.csv:2", name, &what, "expected NIfTI", fix]);
        fs::remove_file(workspace.path(name)).unwrap();
    }
}
