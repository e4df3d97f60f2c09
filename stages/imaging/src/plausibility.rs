//! What is implausible about a chest CT: geometry and values that no scanner gives, and that mean that something went
//! wrong on the way to the file.
//!
//! Bounds are wide: every chest CT lies within, and what lies outside deserves a look. Nothing is refused here.

use std::fmt;

use super::layout::Layout;
use super::scan::{Reach, ReadLimits, Scan, ScanError};
use super::voxels::Region;

/// Millimetres between voxels in the plane of the slices: fields of view of 100 to 700 mm with 256 to 1024 pixels
/// give 0.1 to 2.7.
const IN_PLANE: [f64; 2] = [0.1, 3.0];
/// Millimetres between slices: 0.25 in high-resolution CT, 10 in films of old.
const BETWEEN_SLICES: [f64; 2] = [0.2, 10.0];
/// Millimetres of a scan along an axis: less holds no lung, more holds more than a patient.
const EXTENT: [f64; 2] = [40.0, 2500.0];
/// The fewest voxels along an axis.
const FEWEST: usize = 8;
/// The values of CT in HU: some scanners mark what lies outside their field with −2000 to −4096, and metal on an
/// extended scale reaches about 31,000.
const VALUES: [f64; 2] = [-4096.0, 32_767.0];
/// Air is at −1000 HU and lung near −850: a part of a chest CT without anything below this is none in HU.
const AIR: f64 = -400.0;
/// Air and lung are below the negative of this, in HU; above it are only dense bone and metal.
const FAR_FROM_WATER: f32 = 700.0;
/// No chest CT has such a share of bone …
const MUCH: f64 = 0.25;
/// … and so little air.
const LITTLE: f64 = 0.02;
/// How much of a scan is looked at.
const LOOKED_AT_BYTES: usize = 1 << 20;

/// Something about a scan that is implausible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Implausible {
    /// The distance of voxels along a stored axis.
    Spacing {
        /// The stored axis, from 0.
        axis: usize,
        /// In millimetres.
        found: f64,
        /// The range expected.
        expected: [f64; 2],
    },
    /// The length of the scan along a stored axis.
    Extent {
        /// The stored axis, from 0.
        axis: usize,
        /// In millimetres.
        found: f64,
    },
    /// The number of voxels along a stored axis.
    Voxels {
        /// The stored axis, from 0.
        axis: usize,
        /// The number.
        found: usize,
    },
    /// All values of the scan are the same.
    Constant {
        /// The value.
        value: f64,
    },
    /// No value is that of air.
    NoAir {
        /// The lowest value.
        lowest: f64,
    },
    /// A value that CT does not have.
    Value {
        /// The value.
        found: f64,
    },
    /// Many values are as high as air is low, and hardly one is that of air.
    Turned {
        /// The share of values above 700.
        high: f64,
    },
    /// Values that are no numbers.
    NotFinite,
}

impl Implausible {
    /// What scans with such a thing are, in the plural.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Spacing { .. } => "scans with implausible distances of voxels",
            Self::Extent { .. } => "scans of implausible length",
            Self::Voxels { .. } => "scans of few voxels",
            Self::Constant { .. } => "scans of one value",
            Self::NoAir { .. } => "scans without air",
            Self::Value { .. } => "scans with values that CT does not have",
            Self::Turned { .. } => "scans whose values seem to have the opposite sign",
            Self::NotFinite => "scans with values that are not finite",
        }
    }
}

impl fmt::Display for Implausible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |axis: usize| ["first", "second", "third"].get(axis).copied().unwrap_or("last");
        match *self {
            Self::Spacing { axis, found, expected: [low, high] } => {
                write!(
                    formatter,
                    "voxels are {found} mm apart along the {} axis, expected {low} to {high}",
                    name(axis)
                )
            }
            Self::Extent { axis, found } => {
                let [low, high] = EXTENT;
                write!(
                    formatter,
                    "the scan is {found:.1} mm long along the {} axis, expected {low} to {high}",
                    name(axis)
                )
            }
            Self::Voxels { axis, found } => {
                write!(
                    formatter,
                    "the scan has {found} voxels along the {} axis, expected {FEWEST} or more",
                    name(axis)
                )
            }
            Self::Constant { value } => write!(formatter, "all values are {value}"),
            Self::NoAir { lowest } => write!(
                formatter,
                "the lowest value looked at is {lowest}, where HU have air near -1000: values may be raw or windowed"
            ),
            Self::Value { found } => {
                let [low, high] = VALUES;
                write!(formatter, "a value is {found}, expected {low} to {high} HU")
            }
            Self::Turned { high } => write!(
                formatter,
                "{:.0} % of the values looked at are above 700 HU and next to none below -700: they seem to have the \
                 opposite sign",
                100.0 * high
            ),
            Self::NotFinite => formatter.write_str("some values looked at are not finite"),
        }
    }
}

/// What is implausible about the grid of a scan: voxels along each stored axis, and their distances in millimetres.
/// The third axis is taken for that of the slices, unless another has the largest distance.
pub fn geometry(shape: [usize; 3], spacing: [f64; 3]) -> Vec<Implausible> {
    let outside = |[low, high]: [f64; 2], found: f64| !(low..=high).contains(&found);
    let largest = (0..3).max_by(|&a, &b| spacing[a].total_cmp(&spacing[b])).unwrap_or(2);
    let slices = if outside(IN_PLANE, spacing[largest]) { largest } else { 2 };
    let mut found = Vec::new();
    for axis in 0..3 {
        let expected = if axis == slices { BETWEEN_SLICES } else { IN_PLANE };
        let extent = shape[axis] as f64 * spacing[axis];
        if outside(expected, spacing[axis]) {
            found.push(Implausible::Spacing { axis, found: spacing[axis], expected });
        } else if shape[axis] < FEWEST {
            found.push(Implausible::Voxels { axis, found: shape[axis] });
        } else if outside(EXTENT, extent) {
            found.push(Implausible::Extent { axis, found: extent });
        }
    }
    found
}

/// The values of a part of a scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Looked {
    /// The lowest finite one.
    pub lowest: f64,
    /// The highest finite one.
    pub highest: f64,
    /// The share below −700 HU, as air is, and the share above 700.
    pub shares: [f64; 2],
    /// Whether all were finite.
    pub finite: bool,
    /// Whether these are all values of the scan. A part may be one of padding, which says nothing.
    pub whole: bool,
}

/// The values of the first slices of a scan, about 1 MiB of voxels. A compressed file is read to its end, so that its
/// checksum is compared.
///
/// # Errors
/// When they cannot be read.
pub fn look(scan: Scan) -> Result<Looked, ScanError> {
    let limits = ReadLimits { memory_bytes: u64::MAX, reach: Reach::WholeFile };
    let region = first_slices(scan.layout());
    let whole = region == Region::whole(scan.layout().shape);
    let (lowest, highest) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut looked = Looked { lowest, highest, shares: [0.0; 2], finite: true, whole };
    let (mut count, mut low, mut high) = (0_usize, 0_usize, 0_usize);
    for block in scan.read_blocks(&[region], limits)? {
        for value in block.values() {
            count += 1;
            if value.is_finite() {
                looked.lowest = looked.lowest.min(f64::from(value));
                looked.highest = looked.highest.max(f64::from(value));
                low += usize::from(value < -FAR_FROM_WATER);
                high += usize::from(value > FAR_FROM_WATER);
            } else {
                looked.finite = false;
            }
        }
    }
    looked.shares = [low, high].map(|part| part as f64 / count.max(1) as f64);
    Ok(looked)
}

/// Some rows of the first slices, so many that they stay small whatever the header says.
fn first_slices(layout: &Layout) -> Region {
    let [columns, rows, slices] = layout.shape;
    let row_bytes = layout.row_bytes().max(1);
    let rows_read = (LOOKED_AT_BYTES / row_bytes).clamp(1, rows.max(1));
    let slices_read = (LOOKED_AT_BYTES / row_bytes.saturating_mul(rows.max(1))).clamp(1, slices.max(1));
    Region { start: [0; 3], end: [columns, rows_read, slices_read] }
}

/// What is implausible about values in HU.
pub fn values(looked: &Looked) -> Vec<Implausible> {
    let Looked { lowest, highest, shares: [low_share, high_share], finite, whole } = *looked;
    let mut found = Vec::new();
    if !finite {
        found.push(Implausible::NotFinite);
    }
    if lowest > highest {
        return found;
    }
    let [low, high] = VALUES;
    if lowest < low {
        found.push(Implausible::Value { found: lowest });
    } else if highest > high {
        found.push(Implausible::Value { found: highest });
    } else if lowest == highest {
        found.extend(whole.then_some(Implausible::Constant { value: lowest }));
    } else if lowest > AIR {
        found.push(Implausible::NoAir { lowest });
    } else if high_share > MUCH && low_share < LITTLE {
        found.push(Implausible::Turned { high: high_share });
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::path::Path;

    use super::*;
    use crate::affine::Affine;
    use crate::nifti_write::{Volume, nii_gz_bytes};

    #[test]
    fn grids_of_chest_ct_are_plausible() {
        for (shape, spacing) in [
            ([512, 512, 300], [0.7, 0.7, 1.0]),
            ([512, 512, 30], [0.98, 0.98, 10.0]),
            ([1024, 1024, 900], [0.25, 0.25, 0.25]),
            ([64, 64, 64], [1.0, 1.0, 1.0]),
            // Sagittal slices: the coarse axis is the first.
            ([40, 512, 400], [8.0, 0.8, 1.0]),
        ] {
            assert_eq!(geometry(shape, spacing), [], "{shape:?} {spacing:?}");
        }
    }

    #[test]
    fn other_grids_are_told_with_their_numbers() {
        let told = |shape, spacing| -> Vec<String> {
            geometry(shape, spacing).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            told([512, 512, 300], [0.0007, 0.0007, 0.001]),
            [
                "voxels are 0.0007 mm apart along the first axis, expected 0.1 to 3",
                "voxels are 0.0007 mm apart along the second axis, expected 0.1 to 3",
                "voxels are 0.001 mm apart along the third axis, expected 0.2 to 10",
            ]
        );
        assert_eq!(
            told([512, 512, 100], [0.7, 0.7, 50.0]),
            ["voxels are 50 mm apart along the third axis, expected 0.2 to 10"]
        );
        assert_eq!(
            told([512, 512, 5], [0.7, 0.7, 2.5]),
            ["the scan has 5 voxels along the third axis, expected 8 or more"]
        );
        assert_eq!(
            told([512, 30, 300], [0.7, 0.7, 2.5]),
            ["the scan is 21.0 mm long along the second axis, expected 40 to 2500"]
        );
    }

    #[test]
    fn values_that_are_no_hounsfield_units_are_told() {
        let table = [
            (-1024.0, 1500.0, true, vec![]),
            (-3024.0, 3071.0, true, vec![]),
            (0.0, 4095.0, true, vec![Implausible::NoAir { lowest: 0.0 }]),
            (0.0, 0.0, true, vec![Implausible::Constant { value: 0.0 }]),
            (-32768.0, 500.0, true, vec![Implausible::Value { found: -32768.0 }]),
            (-1000.0, 60_000.0, true, vec![Implausible::Value { found: 60_000.0 }]),
            (-1000.0, 60.0, false, vec![Implausible::NotFinite]),
            (f64::INFINITY, f64::NEG_INFINITY, false, vec![Implausible::NotFinite]),
        ];
        for (lowest, highest, finite, expected) in table {
            let shares = [0.5, 0.1];
            assert_eq!(values(&Looked { lowest, highest, shares, finite, whole: true }), expected);
        }
        let padding = Looked { lowest: 0.0, highest: 0.0, shares: [0.0; 2], finite: true, whole: false };
        assert_eq!(values(&padding), []);
        let turned = Looked { lowest: -1500.0, highest: 1000.0, shares: [0.01, 0.6], ..padding };
        assert_eq!(values(&turned), [Implausible::Turned { high: 0.6 }]);
    }

    #[test]
    fn a_look_is_at_the_values_of_the_first_slices_and_at_the_checksum_of_all() {
        let mut voxels = vec![-1000_i16; 256 * 256 * 20];
        voxels[7] = 300;
        // Behind the first MiB.
        voxels[256 * 256 * 19] = 3000;
        let affine = Affine::from_spacing([1.0; 3]);
        let bytes = nii_gz_bytes(&Volume { shape: [256, 256, 20], affine, voxels: &voxels }).expect("valid");
        let opened = |bytes: Vec<u8>| {
            let length = bytes.len() as u64;
            Scan::from_reader(Path::new("scan.nii.gz"), Cursor::new(bytes), length).expect("readable")
        };
        let mut damaged = bytes.clone();
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert!(matches!(look(opened(damaged)), Err(ScanError::Gzip { .. })));
        assert_eq!(
            look(opened(bytes)).expect("readable"),
            Looked {
                lowest: -1000.0,
                highest: 300.0,
                shares: [1.0 - 1.0 / (256.0 * 256.0 * 8.0), 0.0],
                finite: true,
                whole: false
            }
        );
    }
}
