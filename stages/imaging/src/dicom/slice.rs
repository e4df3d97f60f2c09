//! The facts of one file: how its pixels are stored, where they are, and where each frame lies in the
//! patient. Pixels are not read here.
//!
//! Knows nothing of the other files of the series.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};

use super::Content;
use super::attributes::{Attributes, View};
use super::elements::{Element, Elements};
use super::error::{Attribute, FileError, PixelError};
use super::input;
use super::syntax::Syntax;

const CT_CLASSES: [&str; 6] = [
    uids::CT_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
    uids::CT_IMAGE_STORAGE_FOR_PROCESSING,
    uids::ENHANCED_CT_IMAGE_STORAGE_FOR_PROCESSING,
    uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE_FOR_PROCESSING,
];
/// What NIfTI can say of an extent.
const LARGEST_EXTENT: u16 = i16::MAX as u16;
/// Pixels of a frame, so that a frame being decoded stays small whatever the header says.
const LARGEST_FRAME: usize = 1 << 26;
/// Coordinates beyond this many mm are no patient's.
const FARTHEST: f64 = 1e4;
/// Distances of voxels in mm.
const SPACINGS: std::ops::RangeInclusive<f64> = 1e-3..=1e3;
/// Words in kinds of images that are made of many slices, such as the largest value along each ray.
const PROJECTIONS: [&str; 10] =
    ["MIP", "MINIP", "MAXIP", "MIPS", "IP", "RENDER", "RENDERING", "VRT", "SSD", "PROJECTION"];
/// Words in kinds of images that are no slice of a volume.
const LOCALIZERS: [&str; 4] = ["LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM"];
/// Kinds of multi-energy images whose values are no CT numbers, or those of one material alone.
const MAPS: [&str; 15] = [
    "MAT_SPECIFIC",
    "MAT_FRACTIONAL",
    "MAT_VALUE_BASED",
    "EFF_ATOMIC_NUM",
    "ELECTRON_DENSITY",
    // What vendors write.
    "IODINE",
    "IODINE_MAP",
    "EFF_Z",
    "ZEFF",
    "DENSITY",
    "BLOOD_VOLUME",
    "PERFUSION",
    "SUBTRACTION",
    "DOSE_INFO",
    "SCREEN SAVE",
];
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// How a pixel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PixelFormat {
    pub columns: u16,
    pub rows: u16,
    /// 8, 16 or 32.
    pub bits_allocated: u16,
    pub bits_stored: u16,
    pub high_bit: u16,
    pub signed: bool,
}

impl PixelFormat {
    /// Pixels of a frame.
    pub fn pixels(&self) -> usize {
        usize::from(self.columns) * usize::from(self.rows)
    }

    /// Bytes of an uncompressed pixel.
    pub fn pixel_bytes(&self) -> usize {
        usize::from(self.bits_allocated / 8)
    }
}

/// A run of bytes in a file (or in what it inflates to).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub offset: u64,
    pub length: u64,
}

/// Where a frame lies and how its stored values become HU.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// ImagePositionPatient: the centre of the first pixel, LPS mm.
    pub position: [f64; 3],
    /// ImageOrientationPatient: the directions of rows and of columns, LPS.
    pub orientation: [f64; 6],
    /// PixelSpacing: between rows, between columns, in mm.
    pub spacing: [f64; 2],
    pub slope: f64,
    pub intercept: f64,
    /// The distance between slices that the file declares, for series of one slice.
    pub declared_step: Option<f64>,
    /// The first three values of ImageType.
    pub image_type: String,
    /// Its bytes, fragments in order.
    pub data: Vec<Extent>,
}

/// What a file says, pixels excepted.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub syntax: Syntax,
    pub format: PixelFormat,
    /// Whether the bytes of uncompressed pixels are swapped in pairs.
    pub swapped_words: bool,
    /// Compared between files, never shown.
    pub series: String,
    /// Compared between files, never shown.
    pub frame_of_reference: String,
    pub frames: Vec<Frame>,
}

/// Reads the facts of a file; `None` when it is no DICOM image file at all.
pub(super) fn read(content: &Content) -> Result<Option<Facts>, FileError> {
    let Some(data) = input::open(content)? else { return Ok(None) };
    let syntax = data.syntax;
    let (attributes, elements, pixel_data) = Attributes::read(data)?;
    let root = attributes.root();
    if !CT_CLASSES.contains(&root.text(tags::SOP_CLASS_UID)?) {
        return Err(root.wrong(tags::SOP_CLASS_UID, "a CT image"));
    }
    if root.find(tags::MODALITY).is_some() && root.text(tags::MODALITY)?.trim() != "CT" {
        return Err(root.wrong(tags::MODALITY, "CT"));
    }
    if root.find(tags::MODALITY_LUT_SEQUENCE).is_some() {
        return Err(
            root.wrong(tags::MODALITY_LUT_SEQUENCE, "RescaleSlope and RescaleIntercept, and no table")
        );
    }
    let format = pixel_format(&root)?;
    let count = frame_count(&root, syntax)?;
    let pixel_data = pixel_data.ok_or(FileError::Missing(Attribute(tags::PIXEL_DATA)))?;
    let swapped_words =
        syntax == Syntax::ExplicitBig && format.bits_allocated == 8 && pixel_data.vr == VR::OW;
    let places = places(elements, &pixel_data, syntax, &format, count)?;
    let frame = |(index, data)| frame(&attributes.frame(index), data);
    Ok(Some(Facts {
        syntax,
        format,
        swapped_words,
        series: root.text(tags::SERIES_INSTANCE_UID)?.to_owned(),
        frame_of_reference: root.find(tags::FRAME_OF_REFERENCE_UID).map(|uid| uid.uid()).unwrap_or_default(),
        frames: places.into_iter().enumerate().map(frame).collect::<Result<_, _>>()?,
    }))
}

fn pixel_format(root: &View) -> Result<PixelFormat, FileError> {
    let within = |tag, range: std::ops::RangeInclusive<u16>, expected| {
        root.short(tag)
            .and_then(|value| if range.contains(&value) { Ok(value) } else { Err(root.wrong(tag, expected)) })
    };
    within(tags::SAMPLES_PER_PIXEL, 1..=1, "1: a grey image")?;
    if root.text(tags::PHOTOMETRIC_INTERPRETATION)? != "MONOCHROME2" {
        return Err(root.wrong(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2, the only one a CT image has"));
    }
    let bits_allocated = root.short(tags::BITS_ALLOCATED)?;
    if !matches!(bits_allocated, 8 | 16 | 32) {
        return Err(root.wrong(tags::BITS_ALLOCATED, "8, 16 or 32"));
    }
    let bits_stored = within(tags::BITS_STORED, 1..=bits_allocated, "1 to BitsAllocated")?;
    let high_bit = within(tags::HIGH_BIT, bits_stored - 1..=bits_allocated - 1, "a bit of BitsAllocated")?;
    let format = PixelFormat {
        columns: within(tags::COLUMNS, 1..=LARGEST_EXTENT, "1 to 32767")?,
        rows: within(tags::ROWS, 1..=LARGEST_EXTENT, "1 to 32767")?,
        bits_allocated,
        bits_stored,
        high_bit,
        signed: within(tags::PIXEL_REPRESENTATION, 0..=1, "0 or 1")? == 1,
    };
    if format.pixels() > LARGEST_FRAME {
        return Err(root.wrong(tags::ROWS, "frames of at most 67108864 pixels"));
    }
    Ok(format)
}

/// Frames of the file; several only where each can have a place of its own.
fn frame_count(root: &View, syntax: Syntax) -> Result<usize, FileError> {
    let tag = tags::NUMBER_OF_FRAMES;
    let expected = "1 to 32767 frames";
    let Some(value) = root.find(tag) else { return Ok(1) };
    let count = value.text().parse().ok().filter(|count| (1..=usize::from(LARGEST_EXTENT)).contains(count));
    let count: usize = count.ok_or_else(|| root.wrong(tag, expected))?;
    // Each frame inflates the whole file.
    if count > 1 && syntax == Syntax::Deflated {
        return Err(root.wrong(tag, "1 frame in a deflated file"));
    }
    Ok(count)
}

fn frame(view: &View, data: Vec<Extent>) -> Result<Frame, FileError> {
    let declared =
        |tag| view.numbers::<1>(tag, "").ok().filter(|[step]| SPACINGS.contains(step)).map(|[step]| step);
    let expected = "two numbers from 0.001 to 1000 mm";
    let spacing = view.numbers(tags::PIXEL_SPACING, expected)?;
    if !spacing.iter().all(|spacing| SPACINGS.contains(spacing)) {
        return Err(view.wrong(tags::PIXEL_SPACING, expected));
    }
    let [slope] = view.numbers(tags::RESCALE_SLOPE, "a number other than 0")?;
    if slope == 0.0 {
        return Err(view.wrong(tags::RESCALE_SLOPE, "a number other than 0"));
    }
    let [intercept] = view.numbers(tags::RESCALE_INTERCEPT, "a number")?;
    in_hounsfield_units(view)?;
    let expected = "three numbers within 10 m of the origin";
    let position = view.numbers(tags::IMAGE_POSITION_PATIENT, expected)?;
    if position.iter().any(|position| position.abs() > FARTHEST) {
        return Err(view.wrong(tags::IMAGE_POSITION_PATIENT, expected));
    }
    Ok(Frame {
        position,
        orientation: orientation(view)?,
        spacing,
        slope,
        intercept,
        declared_step: declared(tags::SPACING_BETWEEN_SLICES).or_else(|| declared(tags::SLICE_THICKNESS)),
        image_type: image_type(view)?,
        data,
    })
}

/// Refuses what says that its values are something else. `US` is "unspecified", and many files say nothing.
fn in_hounsfield_units(view: &View) -> Result<(), FileError> {
    let tag = tags::RESCALE_TYPE;
    let Some(value) = view.find(tag) else { return Ok(()) };
    let is_plain = |sign: &char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | ' ');
    let found: String = String::from_utf8_lossy(&value.bytes).chars().filter(is_plain).take(16).collect();
    if matches!(found.trim().to_ascii_uppercase().as_str(), "" | "HU" | "US") {
        return Ok(());
    }
    Err(FileError::Units { attribute: Attribute(tag), offset: value.offset, found: found.trim().to_owned() })
}

fn orientation(view: &View) -> Result<[f64; 6], FileError> {
    /// Cosines rounded to three decimals pass; directions that are not perpendicular do not.
    const UNIT: f64 = 2e-3;
    let tag = tags::IMAGE_ORIENTATION_PATIENT;
    let expected = "two perpendicular directions of length 1";
    let orientation = view.numbers::<6>(tag, expected)?;
    let [a, b, c, d, e, f] = orientation;
    let errors = [a * a + b * b + c * c - 1.0, d * d + e * e + f * f - 1.0, a * d + b * e + c * f];
    if errors.iter().all(|error| error.abs() < UNIT) {
        Ok(orientation)
    } else {
        Err(view.wrong(tag, expected))
    }
}

/// The first three values: pixel data, examination and kind of image. An enhanced CT has them for each frame.
fn image_type(view: &View) -> Result<String, FileError> {
    let tag = if view.find(tags::FRAME_TYPE).is_some() { tags::FRAME_TYPE } else { tags::IMAGE_TYPE };
    let text = view.text(tag)?;
    let text = text.to_ascii_uppercase();
    let has_word = |words: &[&str]| text.split(['\\', ' ', '_']).any(|word| words.contains(&word));
    if has_word(&LOCALIZERS) {
        return Err(view.wrong(tag, "a slice of a volume, found a localizer"));
    }
    if has_word(&PROJECTIONS) {
        return Err(view.wrong(tag, "a slice of a volume, found a projection of several"));
    }
    if text.split('\\').any(|value| MAPS.contains(&value.trim())) {
        return Err(
            view.wrong(tag, "an image of CT numbers, found a map of a material or of another quantity")
        );
    }
    Ok(text.split('\\').take(3).map(str::trim).collect::<Vec<_>>().join("\\"))
}

/// Where each frame's bytes are.
fn places(
    elements: Elements,
    element: &Element,
    syntax: Syntax,
    format: &PixelFormat,
    count: usize,
) -> Result<Vec<Vec<Extent>>, FileError> {
    let mut elements = elements;
    let offset = elements.input().position();
    match (element.length, syntax.is_encapsulated()) {
        (Some(length), false) => {
            elements.input().require(length)?;
            native(offset, length, format, count)
        }
        (None, true) => encapsulated(elements, count),
        (Some(_), true) => Err(FileError::Structure { offset, expected: "encapsulated pixel data" }),
        (None, false) => Err(FileError::Structure { offset, expected: "pixel data of known length" }),
    }
}

fn native(
    offset: u64,
    length: u64,
    format: &PixelFormat,
    count: usize,
) -> Result<Vec<Vec<Extent>>, FileError> {
    let frame = (format.pixels() * format.pixel_bytes()) as u64;
    let expected = frame * count as u64;
    // A byte of padding makes an odd length even.
    if length != expected && length != expected + expected % 2 {
        return Err(FileError::Pixels { frame: 1, cause: PixelError::Length { found: length, expected } });
    }
    Ok((0..count as u64)
        .map(|index| vec![Extent { offset: offset + index * frame, length: frame }])
        .collect())
}

/// Notes the fragments, and which frame each belongs to.
fn encapsulated(mut elements: Elements, count: usize) -> Result<Vec<Vec<Extent>>, FileError> {
    let table = fragment(elements.input(), "an offset table")?;
    let Some(table) = table else { return Err(FileError::Missing(Attribute(tags::PIXEL_DATA))) };
    let input = elements.input();
    // Four bytes for each frame; a longer one is no offset table.
    let offset = input.position();
    if table.length > 4 * u64::from(LARGEST_EXTENT) {
        return Err(FileError::Structure {
            offset,
            expected: "an offset table with an entry for each frame",
        });
    }
    let starts: Vec<u64> = {
        let bytes = input.exactly(table.length)?;
        bytes.chunks_exact(4).map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
    };
    let begin = input.position();
    let mut fragments = Vec::new();
    while let Some(extent) = fragment(input, "a fragment or the end of the pixel data")? {
        input.skip(extent.length)?;
        fragments.push(extent);
    }
    if fragments.is_empty() {
        return Err(FileError::Missing(Attribute(tags::PIXEL_DATA)));
    }
    if count == 1 {
        return Ok(vec![fragments]);
    }
    if fragments.len() == count {
        return Ok(fragments.into_iter().map(|extent| vec![extent]).collect());
    }
    by_table(&fragments, &starts, begin, count)
        .ok_or(FileError::Structure { offset, expected: "one fragment for each frame, or an offset table" })
}

/// The header of an item; `None` at the end of the sequence.
fn fragment(input: &mut input::Input, expected: &'static str) -> Result<Option<Extent>, FileError> {
    let offset = input.position();
    let header = input.exactly(8)?;
    let number =
        |from: usize| header.get(from..from + 2).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let length = u64::from(number(4)) | u64::from(number(6)) << 16;
    match Tag(number(0), number(2)) {
        ITEM => {
            input.require(length)?;
            Ok(Some(Extent { offset: input.position(), length }))
        }
        SEQUENCE_END => Ok(None),
        _ => Err(FileError::Structure { offset, expected }),
    }
}

/// Fragments by frame; `starts` counts from the first fragment's item header at `begin`.
fn by_table(fragments: &[Extent], starts: &[u64], begin: u64, count: usize) -> Option<Vec<Vec<Extent>>> {
    if starts.len() != count {
        return None;
    }
    let mut frames: Vec<Vec<Extent>> = vec![Vec::new(); count];
    let mut next = 0;
    for &extent in fragments {
        let item = extent.offset - 8 - begin;
        if starts.get(next) == Some(&item) {
            next += 1;
        }
        frames.get_mut(next.checked_sub(1)?)?.push(extent);
    }
    (next == count).then_some(frames)
}
