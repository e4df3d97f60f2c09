//! NRRD and MetaImage: values and placement are SimpleITK's, in every way in which a header says them; what cannot be right is
//! refused by line.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use pipe_imaging::affine::Affine;
use pipe_imaging::orientation::Orientation;
use pipe_imaging::scan::{Reach, ReadLimits, Scan, ScanError, data_file_of};
use pipe_imaging::voxels::Region;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats")
}

fn open(name: &str) -> Result<Scan, ScanError> {
    let path = folder().join(name);
    let data = data_file_of(&fs::read(&path).unwrap()).unwrap();
    match data {
        Some(data) => Scan::open_pair(&path, &folder().join(data)),
        None => Scan::open(&path),
    }
}

/// SimpleITK's map as RAS.
fn affine_of(expected: &Value) -> Affine {
    let numbers = |name: &str| -> Vec<f64> {
        expected[name].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let (direction, spacing, origin) = (numbers("direction"), numbers("spacing"), numbers("origin"));
    let sign = [-1.0, -1.0, 1.0];
    let row = |row: usize| {
        let entry = |axis: usize| sign[row] * direction[3 * row + axis] * spacing[axis];
        [entry(0), entry(1), entry(2), sign[row] * origin[row]]
    };
    Affine::from_rows([row(0), row(1), row(2)])
}

#[test]
fn values_and_placement_are_those_of_simpleitk() {
    let expected: Value = serde_json::from_slice(&fs::read(folder().join("expected.json")).unwrap()).unwrap();
    let all = expected.as_object().unwrap();
    assert!(all.len() > 35);
    for (name, expected) in all {
        let is_placed = !name.starts_with("no_");
        let scan = open(name).unwrap_or_else(|error| panic!("{error}"));
        let shape = scan.layout().shape;
        assert_eq!(serde_json::json!(shape), expected["size"], "{name}");
        // What a header leaves open is refused until somebody asks for what ITK takes.
        assert_eq!(scan.affine(Orientation::Auto).is_ok(), is_placed, "{name}");
        let (found, wanted) = (scan.affine(Orientation::Itk).unwrap(), affine_of(expected));
        let pairs = found.linear.iter().flatten().zip(wanted.linear.iter().flatten());
        for (found, wanted) in pairs.chain(found.translation.iter().zip(&wanted.translation)) {
            assert!((found - wanted).abs() < 1e-9, "{name}: {found} and {wanted}");
        }
        let limits = ReadLimits { reach: Reach::WholeFile, ..ReadLimits::default() };
        let blocks = scan.read_blocks(&[Region::whole(shape)], limits).unwrap();
        let values = blocks[0].values();
        assert_eq!(values.iter().map(|value| f64::from(*value)).sum::<f64>(), expected["sum"], "{name}");
        let some: Vec<f64> = [0, 1, 3, 12, 59].map(|place| f64::from(values[place])).to_vec();
        assert_eq!(serde_json::json!(some), expected["values"], "{name}");
        // A part of it is read alike.
        let region = Region { start: [1, 1, 1], end: [3, 2, 3] };
        let blocks = open(name).unwrap().read_blocks(&[region], ReadLimits::default()).unwrap();
        let part = [16, 17, 28, 29].map(|place| values[place]);
        assert_eq!(blocks[0].values(), part, "{name}");
    }
}

fn opened(bytes: Vec<u8>) -> Result<Scan, ScanError> {
    let length = bytes.len() as u64;
    Scan::from_reader(Path::new("scan"), Cursor::new(bytes), length)
}

const NRRD: &str = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nspace: LPS\nendian: little\nencoding: raw\n\
                    space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n";
const META: &str = "ObjectType = Image\nNDims = 3\nBinaryData = True\nElementSpacing = 1 1 1\nOffset = 0 0 0\n\
                    DimSize = 2 2 2\nElementType = MET_SHORT\nElementDataFile = LOCAL\n";

#[test]
fn what_cannot_be_right_is_refused_by_line() {
    let table = [
        (NRRD, "type: short", "type: block", "scan:2: `type` is \"block\""),
        (NRRD, "dimension: 3", "dimension: 2", "scan:3: `dimension` is 2"),
        (NRRD, "sizes: 2 2 2", "sizes: 2 2", "scan:4: `sizes` is \"2 2\", expected 3 numbers"),
        (NRRD, "sizes: 2 2 2", "sizes: 2 0 2", "scan:4: `sizes` has 0"),
        (NRRD, "sizes: 2 2 2", "sizes: 2 2 99999999", "scan:4: `sizes` has 99999999"),
        (NRRD, "endian: little\n", "", "scan: the header has no `endian`"),
        (NRRD, "endian: little", "endian: middle", "scan:6: `endian` is \"middle\""),
        (NRRD, "encoding: raw", "encoding: bzip2", "scan:7: `encoding` is \"bzip2\", expected raw or gzip"),
        (NRRD, "(0,1,0)", "(1,0,0)", "scan:8: the directions are singular"),
        (NRRD, "(0,1,0)", "none", "scan:8: `space directions` is"),
        (NRRD, "(0,1,0)", "(0,nan,0)", "scan:8: directions and origin are not finite"),
        (NRRD, "(0,0,0)", "(0,0)", "scan:9: `space origin` is \"(0,0)\""),
        (
            NRRD,
            "endian",
            "data file: a.raw\nendian",
            "scan: its voxels are in a.raw, which is missing beside it",
        ),
        (NRRD, "endian", "data file: ../a.raw\nendian", "scan:6: the data file \"../a.raw\" is not beside"),
        (NRRD, "endian", "data file: LIST\nendian", "scan:6: `data file` names several files"),
        (NRRD, "endian", "line skip: 3\nendian", "scan:6: `line skip` is not read"),
        (META, "NDims = 3", "NDims = 2", "scan:2: `NDims` is 2"),
        (META, "BinaryData = True", "BinaryData = False", "scan:3: the voxels are written as text"),
        (META, "ElementSpacing = 1 1 1", "ElementSpacing = 1 0 1", "scan:4: `ElementSpacing` is \"1 0 1\""),
        (
            META,
            "Offset = 0 0 0",
            "TransformMatrix = 1 0 0 1 0 0 0 0 1",
            "scan:5: the directions are singular",
        ),
        (META, "MET_SHORT", "MET_SHORT_ARRAY", "scan:7: `ElementType` is \"MET_SHORT_ARRAY\""),
        (META, "NDims = 3", "NDims = 3\nElementNumberOfChannels = 3", "scan:3: a voxel has several values"),
        (META, "LOCAL", "/etc/passwd", "scan:8: the data file \"/etc/passwd\" is not beside"),
        (META, "LOCAL", "s%03d.raw 1 2 1", "scan:8: `ElementDataFile` names several files"),
        (META, "ElementDataFile = LOCAL\n", "", "scan:8: \"\\0"),
        (META, "DimSize = 2 2 2", "DimSize 2 2 2", "scan:6: \"DimSize 2 2 2\" is no `Key = value`"),
    ];
    for (whole, part, other, expected) in table {
        assert!(opened([whole.as_bytes(), &[0; 16]].concat()).is_ok());
        let changed = whole.replacen(part, other, 1);
        let error = opened([changed.as_bytes(), &[0; 16]].concat()).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}\nexpected {expected}");
    }
}

#[test]
fn no_damaged_or_missing_byte_makes_a_panic_or_a_wrong_length() {
    for name in ["gz.nrrd", "zlib.mha", "big.nrrd", "rows.mha"] {
        let bytes = fs::read(folder().join(name)).unwrap();
        let read = |bytes: Vec<u8>| {
            let scan = opened(bytes)?;
            let shape = scan.layout().shape;
            if shape.iter().product::<usize>() > 10_000 {
                return Ok(());
            }
            let limits = ReadLimits { reach: Reach::WholeFile, memory_bytes: 1 << 20 };
            scan.read_blocks(&[Region::whole(shape)], limits).map(drop)
        };
        assert!(read(bytes.clone()).is_ok(), "{name}");
        for length in 0..bytes.len() {
            assert!(read(bytes[..length].to_vec()).is_err(), "{name}: {length} bytes");
        }
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x15;
            let _ = read(changed);
        }
    }
}
