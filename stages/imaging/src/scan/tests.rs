use std::io::{Cursor, Write as _};

use super::*;
use crate::nifti_write::{Volume, header_bytes, nii_bytes, nii_gz_bytes};

const SHAPE: [usize; 3] = [3, 2, 4];
const VOXELS: [i16; 24] = [
    -1024, -1000, 0, 1, 2, 3, 40, 41, 42, 43, 44, 45, 400, 500, 600, 700, 800, 900, -5, -6, -7, -8, 3000,
    3071,
];

fn volume() -> Volume<'static> {
    Volume { shape: SHAPE, affine: Affine::from_spacing([0.7, 0.8, 2.0]), voxels: &VOXELS }
}

fn plain() -> Vec<u8> {
    nii_bytes(&volume()).expect("valid")
}

fn compressed() -> Vec<u8> {
    nii_gz_bytes(&volume()).expect("valid")
}

/// A file of the given type whose header is patched and whose voxels are these bytes.
fn typed(code: i16, bits: i16, voxels: &[u8]) -> Vec<u8> {
    let mut bytes = plain();
    bytes.truncate(352);
    put(&mut bytes, 70, &code.to_le_bytes());
    put(&mut bytes, 72, &bits.to_le_bytes());
    bytes.extend(voxels);
    bytes
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

/// Turns a little-endian file of 16-bit voxels into a big-endian one.
fn big_endian(mut bytes: Vec<u8>) -> Vec<u8> {
    let fields = [(0, 1, 4), (32, 1, 4), (36, 1, 2), (40, 8, 2), (56, 3, 4), (68, 4, 2), (76, 11, 4)];
    let more = [(120, 1, 2), (124, 6, 4), (252, 2, 2), (256, 18, 4), (352, VOXELS.len(), 2)];
    for (offset, count, size) in fields.into_iter().chain(more) {
        bytes[offset..offset + count * size].chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    bytes
}

fn scan(bytes: Vec<u8>) -> Result<Scan, ScanError> {
    let length = bytes.len() as u64;
    Scan::from_reader(Path::new("scan.nii"), Cursor::new(bytes), length)
}

fn values(bytes: Vec<u8>) -> Result<Vec<f32>, ScanError> {
    let blocks = scan(bytes)?.read_blocks(&[Region::whole(SHAPE)], ReadLimits::default())?;
    Ok(blocks[0].values())
}

fn message(bytes: Vec<u8>) -> String {
    values(bytes).expect_err("not readable").to_string()
}

fn expected() -> Vec<f32> {
    VOXELS.map(f32::from).to_vec()
}

#[test]
fn plain_compressed_and_big_endian_files_read_alike() {
    for bytes in [plain(), compressed(), big_endian(plain())] {
        assert_eq!(values(bytes).expect("readable"), expected());
    }
    let scan = scan(big_endian(plain())).expect("readable");
    assert!(scan.layout().big_endian);
    let affine = scan.affine(Orientation::Qform).expect("given");
    assert_eq!(affine.spacing().map(|spacing| spacing as f32), [0.7, 0.8, 2.0]);
}

#[test]
fn every_scalar_type_is_read_and_scaled() {
    fn stored<const N: usize>(bytes: impl Fn(u8) -> [u8; N]) -> Vec<u8> {
        (0..24).flat_map(bytes).collect()
    }
    for (code, bits, voxels) in [
        (2, 8, stored(|v| [v])),
        (256, 8, stored(|v| (v as i8).to_le_bytes())),
        (4, 16, stored(|v| i16::from(v).to_le_bytes())),
        (512, 16, stored(|v| u16::from(v).to_le_bytes())),
        (8, 32, stored(|v| i32::from(v).to_le_bytes())),
        (768, 32, stored(|v| u32::from(v).to_le_bytes())),
        (16, 32, stored(|v| f32::from(v).to_le_bytes())),
        (1024, 64, stored(|v| i64::from(v).to_le_bytes())),
        (1280, 64, stored(|v| u64::from(v).to_le_bytes())),
        (64, 64, stored(|v| f64::from(v).to_le_bytes())),
    ] {
        let mut bytes = typed(code, bits, &voxels);
        put(&mut bytes, 112, &2.5_f32.to_le_bytes());
        put(&mut bytes, 116, &(-1024_f32).to_le_bytes());
        let expected: Vec<f32> = (0..24).map(|v| v as f32 * 2.5 - 1024.0).collect();
        assert_eq!(values(bytes).expect("readable"), expected, "datatype {code}");
    }
    // The top half of the unsigned types is not negative, nor is the signed types' sign lost.
    let extreme =
        |code, bits, bytes: &[u8]| values(typed(code, bits, &bytes.repeat(24))).expect("readable")[0];
    assert_eq!(extreme(2, 8, &[255]), 255.0);
    assert_eq!(extreme(256, 8, &[255]), -1.0);
    assert_eq!(extreme(512, 16, &[255, 255]), 65535.0);
    assert_eq!(extreme(8, 32, &[255; 4]), -1.0);
    assert_eq!(extreme(768, 32, &[0, 0, 0, 128]), 2_147_483_648.0);
}

#[test]
fn regions_come_out_of_one_pass() {
    let regions = [
        Region { start: [1, 0, 1], end: [3, 2, 2] },
        Region::EMPTY,
        Region { start: [0, 1, 1], end: [1, 9, 9] },
        Region { start: [7, 7, 7], end: [9, 9, 9] },
    ];
    for bytes in [plain(), compressed()] {
        let blocks = scan(bytes).expect("readable").read_blocks(&regions, ReadLimits::default());
        let found: Vec<_> = blocks.expect("readable").iter().map(Block::values).collect();
        assert_eq!(found, [vec![41.0, 42.0, 44.0, 45.0], vec![], vec![43.0, 700.0, -8.0], vec![]]);
    }
}

#[test]
fn truncated_files_are_refused_wherever_they_end() {
    for bytes in [plain(), compressed()] {
        for length in [0, 1, 2, 100, 347, 351, 360, bytes.len() - 1] {
            let cut = bytes[..length.min(bytes.len() - 1)].to_vec();
            let message = message(cut);
            assert!(message.starts_with("scan.nii: truncated: "), "{length}: {message}");
        }
    }
    let declared = message(plain()[..380].to_vec());
    assert_eq!(declared, "scan.nii: truncated: 400 bytes of uncompressed data expected, ends near byte 380");
}

#[test]
fn voxels_that_begin_past_the_end_are_truncation() {
    for mut bytes in [plain(), plain()] {
        put(&mut bytes, 108, &4000_f32.to_le_bytes());
        assert!(message(bytes.clone()).contains("truncated: 4048 bytes"));
        assert!(message(gzip(&bytes)).contains("truncated: 4048 bytes"));
    }
}

#[test]
fn a_declared_size_beyond_what_the_file_can_hold_is_refused_on_opening() {
    let mut bytes = header_bytes([32767; 3], &volume().affine).expect("valid").to_vec();
    bytes.resize(10_000, 0);
    for bytes in [gzip(&bytes), bytes] {
        let message = scan(bytes).expect_err("35 terabytes").to_string();
        assert!(message.contains("truncated: 70362301923678 bytes"), "{message}");
    }
}

#[test]
fn memory_above_the_limit_is_refused() {
    let limits = ReadLimits { memory_bytes: 47, ..ReadLimits::default() };
    let found = scan(plain()).expect("readable").read_blocks(&[Region::whole(SHAPE)], limits);
    let message = found.expect_err("48 bytes").to_string();
    assert_eq!(message, "scan.nii: needs 48 bytes of memory, above the limit of 47");
}

#[test]
fn damage_in_a_compressed_file_is_noticed_up_to_its_end() {
    let mut bytes = compressed();
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    assert!(message(bytes.clone()).starts_with("scan.nii: cannot read at byte 400 of the uncompressed data"));
    // Unless the caller does without.
    let limits = ReadLimits { reach: Reach::LastSlice, ..ReadLimits::default() };
    let first_slice = Region { end: [3, 2, 1], ..Region::whole(SHAPE) };
    let found = scan(bytes).expect("readable").read_blocks(&[first_slice], limits);
    assert_eq!(found.expect("readable")[0].values(), expected()[..6]);
}

/// The first slice of the file, read with the default limits.
fn first_slice(bytes: Vec<u8>) -> Result<Vec<f32>, ScanError> {
    let region = Region { end: [3, 2, 1], ..Region::whole(SHAPE) };
    Ok(scan(bytes)?.read_blocks(&[region], ReadLimits::default())?[0].values())
}

#[test]
fn a_prefix_is_trusted_only_when_the_end_is_as_declared() {
    let whole = compressed();
    // What nobody needs is not looked at …
    let mut damaged = whole.clone();
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    assert_eq!(first_slice(damaged.clone()).expect("trusted"), expected()[..6]);
    // … unless the file's end is not the declared length: cut off, padded, or a wrong length.
    for length in 100..whole.len() {
        let message = first_slice(whole[..length].to_vec()).expect_err("cut off").to_string();
        assert!(message.starts_with("scan.nii: truncated: 400 bytes"), "{length}: {message}");
    }
    damaged.extend([0; 3]);
    let message = first_slice(damaged).expect_err("read through").to_string();
    assert!(message.contains("gzip member 1: CRC-32 (byte "), "{message}");
    let mut wrong_length = whole.clone();
    wrong_length[checksum + 4] ^= 1;
    let message = first_slice(wrong_length).expect_err("read through").to_string();
    assert!(message.contains("ISIZE"), "{message}");
    let padded = [whole, vec![0; 1000]].concat();
    assert_eq!(first_slice(padded).expect("padding"), expected()[..6]);
}

#[test]
fn several_gzip_members_are_one_file() {
    let bytes = plain();
    let members = [gzip(&bytes[..200]), gzip(&bytes[200..380]), gzip(&bytes[380..])].concat();
    assert_eq!(values(members.clone()).expect("readable"), expected());
    assert_eq!(first_slice(members.clone()).expect("readable"), expected()[..6]);
    // A last member that is cut off is noticed although no voxel of it is needed.
    let message = first_slice(members[..members.len() - 1].to_vec()).expect_err("cut off").to_string();
    assert!(message.starts_with("scan.nii: truncated: "), "{message}");
}

#[test]
fn what_follows_the_voxels_is_bounded() {
    let with_surplus = |bytes: usize| gzip(&[plain(), vec![0; bytes]].concat());
    assert_eq!(first_slice(with_surplus(1 << 20)).expect("a little"), expected()[..6]);
    let message = first_slice(with_surplus(17 << 20)).expect_err("too much").to_string();
    assert_eq!(
        message,
        "scan.nii: more than 16777216 bytes behind the 400 bytes of uncompressed data that its header declares"
    );
}

/// Header and voxels as two files.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let mut bytes = plain();
    put(&mut bytes, 344, b"ni1\0");
    put(&mut bytes, 108, &0_f32.to_le_bytes());
    let voxels = bytes.split_off(352);
    (bytes, voxels)
}

fn open_pair(header: Vec<u8>, voxels: Vec<u8>) -> Result<Vec<f32>, ScanError> {
    let [header_length, length] = [&header, &voxels].map(|bytes| bytes.len() as u64);
    let scan = Scan::from_pair_of_readers(
        (Path::new("scan.hdr"), Cursor::new(header), header_length),
        (Path::new("scan.img"), Cursor::new(voxels), length),
    )?;
    Ok(scan.read_blocks(&[Region::whole(SHAPE)], ReadLimits::default())?[0].values())
}

#[test]
fn pairs_are_read_compressed_or_not() {
    let (header, voxels) = pair();
    for header in [header.clone(), header[..348].to_vec(), gzip(&header)] {
        for voxels in [voxels.clone(), gzip(&voxels)] {
            assert_eq!(open_pair(header.clone(), voxels).expect("a pair"), expected());
        }
    }
}

#[test]
fn errors_of_pairs_name_the_file_at_fault() {
    let (header, voxels) = pair();
    let said = |header: &[u8], voxels: &[u8]| {
        open_pair(header.to_vec(), voxels.to_vec()).expect_err("bad").to_string()
    };
    assert_eq!(
        said(&header, &voxels[..40]),
        "scan.img: truncated: 48 bytes of uncompressed data expected, ends near byte 40"
    );
    assert!(said(&header[..300], &voxels).starts_with("scan.hdr: truncated: 348 bytes"));
    assert!(
        said(&plain(), &voxels).starts_with("scan.hdr: magic (byte 344) says that the voxels are in this")
    );
    let zipped = gzip(&header);
    assert!(said(&zipped[..zipped.len() - 1], &voxels).starts_with("scan.hdr: truncated"));
    assert_eq!(
        message(header),
        "scan.nii: magic (byte 344) says that the voxels are in a file of their own: its image file (.img) is \
         missing"
    );
}

#[test]
fn names_of_pairs_keep_their_case_and_compression() {
    for (name, other) in [
        ("a/b.hdr", "a/b.img"),
        ("a.b.hdr.gz", "a.b.img.gz"),
        ("SCAN.HDR.GZ", "SCAN.IMG.GZ"),
        (".hdr", ".img"),
    ] {
        assert_eq!(pair_of(name).as_deref(), Some(other));
        assert_eq!(pair_of(other).as_deref(), Some(name));
    }
    for name in ["", "hdr", "a.nii", "a.hdr.bz2", "a.gz", "a.hdr/b", ".gz", "a.hDr"] {
        assert_eq!(pair_of(name), None, "{name}");
    }
}

#[test]
fn bad_headers_and_orientations_name_the_file() {
    let mut bytes = plain();
    put(&mut bytes, 42, &0_i16.to_le_bytes());
    assert_eq!(message(bytes), "scan.nii: dim[1] (byte 42) is 0, expected 1 to 32767");
    let mut bytes = plain();
    put(&mut bytes, 280, &f32::NAN.to_le_bytes());
    let error = scan(bytes).expect("a readable header").affine(Orientation::Auto).expect_err("a NaN");
    assert_eq!(error.to_string(), "scan.nii: the sform (srow_x, byte 280) is not finite");
}

#[test]
fn what_is_no_file_cannot_be_opened() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for path in [folder.path().to_owned(), folder.path().join("none.nii")] {
        let error = Scan::open(&path).expect_err("no file");
        assert!(matches!(error, ScanError::Open { .. }), "{error}");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}
