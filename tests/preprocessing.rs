//! From scans of every form to crops, through the program: pairs of files, DICOM series, label masks, and what
//! `pipe check` sees at a glance.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;

use pipe_imaging::affine::Affine;
use pipe_imaging::nifti_write::{Volume, nii_bytes, nii_gz_bytes};
use support::Workspace;

const SHAPE: [usize; 3] = [48, 40, 24];

/// A scan at 1 × 1 × 2 mm whose first voxel lies at RAS (−20, −30, 100): air with a soft block.
fn voxels() -> Vec<i16> {
    let value = |index: usize| {
        let (x, y, z) = (index % SHAPE[0], index / SHAPE[0] % SHAPE[1], index / SHAPE[0] / SHAPE[1]);
        let soft = (20..26).contains(&x) && (12..18).contains(&y) && (9..13).contains(&z);
        if soft { 40 } else { -1000 + (index % 7) as i16 }
    };
    (0..SHAPE.iter().product()).map(value).collect()
}

fn affine() -> Affine {
    Affine::from_rows([[1.0, 0.0, 0.0, -20.0], [0.0, 1.0, 0.0, -30.0], [0.0, 0.0, 2.0, 100.0]])
}

fn volume(voxels: &[i16]) -> Volume<'_> {
    Volume { shape: SHAPE, affine: affine(), voxels }
}

/// Writes a scan as a header and an image in two files.
fn write_pair(workspace: &Workspace, name: &str, voxels: &[i16]) {
    let bytes = nii_bytes(&volume(voxels)).unwrap();
    let mut header = bytes[..348].to_vec();
    header[344..348].copy_from_slice(b"ni1\0");
    header[108..112].copy_from_slice(&0.0_f32.to_le_bytes());
    workspace.write(&format!("{name}.hdr"), header);
    workspace.write(&format!("{name}.img"), &bytes[352..]);
}

const CROP: &str =
    "[stage.crop]\nparams = { size_mm = 16 }\ninputs = { dataset = \"nodules.csv\" }\npublish = \"crops\"\n";

#[test]
fn a_header_with_its_image_gives_the_crops_of_one_file_and_both_count() {
    let workspace = Workspace::new();
    let mut voxels = voxels();
    write_pair(&workspace, "scans/pair", &voxels);
    workspace.write("scans/one.nii.gz", nii_gz_bytes(&volume(&voxels)).unwrap());
    workspace.write("p.toml", CROP);
    workspace.write(
        "nodules.csv",
        "pid,nodule_id,image_path,coordX,coordY,coordZ\n\
         one,1,scans/one.nii.gz,-2,16,121\nimg,1,scans/pair.img,-2,16,121\nhdr,1,scans/pair.hdr,-2,16,121\n",
    );
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!(ran.count("items_executed"), 3);
    let crop = |pid: &str| fs::read(workspace.path(&format!("crops/{pid}_1.safetensors"))).unwrap();
    assert_eq!(crop("one"), crop("img"));
    assert_eq!(crop("one"), crop("hdr"));

    voxels[20 + 48 * (14 + 40 * 10)] = 77;
    write_pair(&workspace, "scans/pair", &voxels);
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!(ran.count("items_executed"), 2, "the image counts");
    assert_ne!(crop("one"), crop("img"));
    fs::remove_file(workspace.path("scans/pair.img")).unwrap();
    let ran = workspace.pipe(&["run", "p.toml"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("there is no file scans/pair.img in this folder, the other half of"),
        "{}",
        ran.stderr
    );
}

fn copy_series(workspace: &Workspace, fixture: &str, to: &str) {
    let from = Path::new("stages/imaging/tests/fixtures/dicom").join(fixture);
    workspace.copy(from.to_str().unwrap(), to);
    for name in ["expected.bin", "expected.json"] {
        fs::remove_file(workspace.path(to).join(name)).unwrap();
    }
}

/// Two patients' series of 4 × 5 × 2 voxels; the first has two nodules.
fn series() -> Workspace {
    let workspace = Workspace::new();
    copy_series(&workspace, "rle", "archive/a");
    copy_series(&workspace, "jpeg2000_lossless", "archive/b");
    workspace.write(
        "nodules.csv",
        "pid,nodule_id,image_path,coordX,coordY,coordZ,malignant\n\
         1,1,archive/a,-119.9,-96.6,310.2,0\n1,2,archive/a,-119.0,-95.9,311,1\n2,1,archive/b/,-119.9,-96.6,310.2,1\n",
    );
    workspace.write(
        "p.toml",
        "[stage.dicom]\ninputs = { dataset = \"nodules.csv\" }\npublish = \"converted\"\n\
         [stage.crop]\nparams = { size_mm = 4 }\ninputs = { dataset = \"@dicom\" }\n",
    );
    workspace
}

#[test]
fn each_dicom_series_is_converted_once_and_cropped() {
    let workspace = series();
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!((ran.count("executed"), ran.count("items_executed")), (2, 2 + 3));
    assert_eq!(
        workspace.read("converted/dataset.csv"),
        "pid,nodule_id,image_path,coordX,coordY,coordZ,malignant\n\
         1,1,scans/1.nii.gz,-119.9,-96.6,310.2,0\n1,2,scans/1.nii.gz,-119.0,-95.9,311,1\n\
         2,1,scans/2.nii.gz,-119.9,-96.6,310.2,1\n"
    );
    assert!(workspace.path("converted/scans/2.nii.gz").is_file());

    // A report beside the slices is a changed folder, but no changed scan.
    workspace.write("archive/a/report.txt", "nothing");
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!((ran.executed(), ran.count("items_executed")), (vec!["dicom".to_string()], 1));
    // A label is passed on and converts nothing.
    let table = workspace.read("nodules.csv").replace(",311,1", ",311,0");
    workspace.write("nodules.csv", table);
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!(ran.count("items_executed"), 0);
    assert!(workspace.read("converted/dataset.csv").contains("311,0"));
}

#[test]
fn the_shipped_pipeline_for_series_is_the_published_one_behind_dicom() {
    let workspace = series();
    workspace.copy("pipelines", "pipelines");
    copy_series(&workspace, "jpeg_lossless_4", "archive/c");
    workspace.write(
        "test.csv",
        "pid,nodule_id,image_path,coordX,coordY,coordZ,malignant\n3,1,archive/c,-119.9,-96.6,310.2,0\n",
    );
    let sets = ["series=nodules.csv", "test_series=test.csv", "weights=random"];
    let mut arguments = vec!["run", "pipelines/nlst-dicom.toml", "--json", "--only", "crop"];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    let ran = workspace.pipe_ok(&arguments);
    assert_eq!(
        (ran.executed(), ran.count("items_executed")),
        (vec!["crop".to_string(), "dicom".to_string()], 5)
    );
}

/// Every file under a folder.
fn files_under(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            files_under(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

#[test]
fn nothing_of_the_patient_gets_into_the_cache_or_the_results() {
    let workspace = series();
    workspace.pipe_ok(&["run", "p.toml"]);
    let name = b"Phantom^Synthetic";
    let holds = |path: &Path| fs::read(path).unwrap().windows(name.len()).any(|window| window == name);
    assert!(holds(&workspace.path("archive/a/00.dcm")), "the series names its patient");
    let mut files = Vec::new();
    for folder in [".pipe", "converted"] {
        files_under(&workspace.path(folder), &mut files);
    }
    assert!(files.len() > 10);
    for path in files {
        assert!(!holds(&path), "{}", path.display());
    }
}

#[test]
fn a_series_that_makes_no_volume_is_named_with_its_row() {
    let workspace = series();
    fs::copy(workspace.path("archive/a/00.dcm"), workspace.path("archive/b/99.dcm")).unwrap();
    let checked = workspace.pipe(&["check", "p.toml"]);
    assert_eq!(checked.code, 2);
    assert!(checked.stdout.contains("nodules.csv:4: error: archive/b/: "), "{}", checked.stdout);
    let ran = workspace.pipe(&["run", "p.toml", "--keep-going"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("nodules.csv:4: "), "{}", ran.stderr);
}

/// Two label values, the first in two pieces.
fn mask() -> Vec<i16> {
    let mut mask = vec![0_i16; SHAPE.iter().product()];
    let mut set = |x: usize, y: usize, z: usize, label| mask[x + 48 * (y + 40 * z)] = label;
    for x in 20..26 {
        set(x, 14, 10, 1);
    }
    set(40, 30, 20, 1);
    set(10, 10, 5, 3);
    set(12, 10, 5, 3);
    mask
}

#[test]
fn a_table_of_masks_becomes_a_dataset_that_can_be_cropped() {
    let workspace = Workspace::new();
    workspace.write("scan.nii.gz", nii_gz_bytes(&volume(&voxels())).unwrap());
    workspace.write("mask.nii", nii_bytes(&volume(&mask())).unwrap());
    workspace.write("masks.csv", "pid,image_path,mask_path,malignant\n7,scan.nii.gz,mask.nii,1\n");
    workspace.write(
        "p.toml",
        "[stage.centroid]\ninputs = { masks = \"masks.csv\" }\nparams = { each = \"component\" }\npublish = \"out\"\n\
         [stage.crop]\nparams = { size_mm = 8 }\ninputs = { dataset = \"@centroid\" }\n",
    );
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json"]);
    assert_eq!(ran.count("items_executed"), 1 + 4);
    assert_eq!(
        workspace.read("out/dataset.csv"),
        "pid,image_path,mask_path,malignant,nodule_id,coordX,coordY,coordZ,label,voxels,volume_mm3\n\
         7,scan.nii.gz,mask.nii,1,1,-2.5,16,120,1,6,12\n\
         7,scan.nii.gz,mask.nii,1,1-2,-20,0,140,1,1,2\n\
         7,scan.nii.gz,mask.nii,1,3,10,20,110,3,1,2\n\
         7,scan.nii.gz,mask.nii,1,3-2,8,20,110,3,1,2\n"
    );
    let ran = workspace.pipe_ok(&["run", "p.toml", "--json", "--set", "centroid.each=label"]);
    assert_eq!(ran.count("items_executed"), 1 + 2, "one of them at a new point, one under the old name");
    let rows = workspace.read("out/dataset.csv");
    assert!(rows.ends_with("7,scan.nii.gz,mask.nii,1,3,9,20,110,3,2,4\n"), "{rows}");
}

#[test]
fn masks_that_do_not_fit_are_refused_with_their_row() {
    let workspace = Workspace::new();
    workspace.write("p.toml", "[stage.centroid]\ninputs = { masks = \"masks.csv\" }\n");
    workspace.write("scan.nii.gz", nii_gz_bytes(&volume(&voxels())).unwrap());
    workspace.write("mask.nii", nii_bytes(&volume(&mask())).unwrap());
    let elsewhere = Affine { translation: [500.0, 0.0, 0.0], ..affine() };
    let voxels = mask();
    let shape = [48, 40, 23];
    let far = Volume { affine: elsewhere, shape, voxels: &voxels[..shape.iter().product()] };
    workspace.write("far.nii", nii_bytes(&far).unwrap());
    let run = |table: &str| {
        workspace.write("masks.csv", table);
        let ran = workspace.pipe(&["run", "p.toml"]);
        (ran.code, ran.stderr)
    };
    for (table, code, message) in [
        ("pid,image_path,mask_path\n7,scan.nii.gz,far.nii\n", 1, "they do not overlap in space"),
        ("pid,nodule_id,mask_path\n7,1,mask.nii\n", 1, "it holds 4 nodules, but its row names one, 1"),
        ("pid,mask_path\n7,scan.nii.gz\n", 1, "voxel [0, 0, 0] is -1000, expected whole label values"),
        ("pid,mask_path,coordX\n7,mask.nii,1\n", 2, "column `coordX` is there already"),
        ("pid,mask_path\n7,mask.nii\n7,far.nii\n", 2, "item 7 is on line 2 and again on line 3"),
    ] {
        let (found, text) = run(table);
        assert!(found == code && text.contains("masks.csv") && text.contains(message), "{found} {text}");
    }
    workspace.write("masks.csv", "pid,image_path,mask_path\n7,scan.nii.gz,far.nii\n");
    let checked = workspace.pipe(&["check", "p.toml"]);
    let expected = "masks.csv:2: error: far.nii and scan.nii.gz do not overlap in space";
    assert!(checked.code == 2 && checked.stdout.contains(expected), "{}", checked.stdout);
}

#[test]
fn a_check_tells_what_is_odd_about_a_cohort_before_any_work() {
    let workspace = Workspace::new();
    let good = nii_gz_bytes(&volume(&voxels())).unwrap();
    let raw: Vec<i16> = voxels().iter().map(|value| value + 1024).collect();
    let thick = Volume { affine: Affine::from_spacing([1.0, 1.0, 25.0]), ..volume(&raw) };
    workspace.write("a.nii.gz", &good);
    workspace.write("copy.nii.gz", &good);
    workspace.write("thick.nii.gz", nii_gz_bytes(&thick).unwrap());
    workspace.write("cut.nii.gz", &good[..good.len() / 2]);
    workspace
        .write("text.nii.gz", "not a scan, but long enough to be taken for the header of one, ".repeat(8));
    workspace.write(
        "nodules.csv",
        "pid,nodule_id,image_path,coordX,coordY,coordZ\n\
         1,1,a.nii.gz,-2,16,121\n1,2,a.nii.gz,-2.3,16.2,121\n1,3,a.nii.gz,2,-16,121\n1,4,a.nii.gz,0,0,900\n\
         2,1,a.nii.gz,5,10,121\n3,1,copy.nii.gz,-2,16,121\n4,1,thick.nii.gz,-10,-10,50\n\
         5,1,cut.nii.gz,-2,16,121\n6,1,text.nii.gz,0,0,0\n",
    );
    workspace.write("p.toml", CROP);
    let checked = workspace.pipe(&["check", "p.toml"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (2, ""));
    insta::assert_snapshot!(checked.stdout);
    assert!(!workspace.path(".pipe").exists());
    // Warnings alone are no failure.
    workspace
        .write("nodules.csv", "pid,nodule_id,image_path,coordX,coordY,coordZ\n4,1,thick.nii.gz,-10,-10,50\n");
    let checked = workspace.pipe_ok(&["check", "p.toml"]);
    assert!(
        checked.stdout.ends_with("1 rows and 1 scans looked at; 0 errors and 2 warnings\n"),
        "{}",
        checked.stdout
    );
}
