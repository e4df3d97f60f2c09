//! Values of attributes, and where a frame finds its own: in its functional group, in the shared one,
//! or in the data set itself.

use std::collections::BTreeMap;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::elements::{Element, Elements};
use super::error::{Attribute, FileError};
use super::input::DataSet;

/// What is read of a data set. Everything else is skipped unread.
const WANTED: &[Tag] = &[
    tags::SOP_CLASS_UID,
    tags::SERIES_INSTANCE_UID,
    tags::FRAME_OF_REFERENCE_UID,
    tags::IMAGE_TYPE,
    tags::MODALITY,
    tags::FRAME_TYPE,
    tags::SLICE_THICKNESS,
    tags::SPACING_BETWEEN_SLICES,
    tags::IMAGE_POSITION_PATIENT,
    tags::IMAGE_ORIENTATION_PATIENT,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::PIXEL_SPACING,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::RESCALE_TYPE,
];

/// Functional groups that hold wanted attributes.
const MACROS: &[Tag] = &[
    tags::CT_IMAGE_FRAME_TYPE_SEQUENCE,
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
];

const ENTERED: &[Tag] = &[
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::CT_IMAGE_FRAME_TYPE_SEQUENCE,
    tags::PLANE_POSITION_SEQUENCE,
    tags::PLANE_ORIENTATION_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
];

/// The value of an element as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub bytes: Vec<u8>,
    pub big_endian: bool,
    /// Where it is in the file.
    pub offset: u64,
}

impl Value {
    /// A UID, without padding.
    pub fn uid(&self) -> String {
        self.text().to_owned()
    }

    /// Text, without padding; empty when it is not ASCII.
    pub fn text(&self) -> &str {
        let text = if self.bytes.is_ascii() { std::str::from_utf8(&self.bytes).unwrap_or("") } else { "" };
        text.trim_matches([' ', '\0'])
    }
}

type Values = BTreeMap<Tag, Value>;

/// The wanted attributes of one file.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    root: Values,
    shared: Values,
    frames: Vec<Values>,
}

enum Scope {
    Root,
    Shared,
    Frame(usize),
}

impl Attributes {
    /// Reads up to the pixel data, which are returned with the walk standing at them.
    pub fn read(data: DataSet<'_>) -> Result<(Self, Elements<'_>, Option<Element>), FileError> {
        let mut attributes = Self::default();
        let mut elements = Elements::new(data.input, data.syntax.encoding(), ENTERED);
        while let Some(element) = elements.next()? {
            if element.tag == tags::PIXEL_DATA && elements.path().len() == 0 {
                return Ok((attributes, elements, Some(element)));
            }
            attributes.note_lookup_table(&elements, &element);
            let Some(scope) = scope(&elements).filter(|_| WANTED.contains(&element.tag)) else { continue };
            let value = elements.value(&element)?;
            attributes.values(scope).insert(element.tag, value);
        }
        Ok((attributes, elements, None))
    }

    /// Of a lookup table only that there is one is noted. One of unknown length shows in the path of its elements.
    fn note_lookup_table(&mut self, elements: &Elements<'_>, element: &Element) {
        let tag = tags::MODALITY_LUT_SEQUENCE;
        let is_within = elements.path().next().is_some_and(|(outermost, _)| outermost == tag);
        let is_given = element.tag == tag && element.length != Some(0) && elements.path().len() == 0;
        if is_within || is_given {
            let there = Value { bytes: vec![b'1'], big_endian: false, offset: elements.position() };
            self.root.entry(tag).or_insert(there);
        }
    }

    fn values(&mut self, scope: Scope) -> &mut Values {
        match scope {
            Scope::Root => &mut self.root,
            Scope::Shared => &mut self.shared,
            Scope::Frame(index) => {
                if self.frames.len() <= index {
                    self.frames.resize_with(index + 1, Values::new);
                }
                &mut self.frames[index]
            }
        }
    }

    /// The data set itself.
    pub fn root(&self) -> View<'_> {
        View { scopes: [Some(&self.root), None, None] }
    }

    /// As one frame sees them.
    pub fn frame(&self, index: usize) -> View<'_> {
        View { scopes: [self.frames.get(index), Some(&self.shared), Some(&self.root)] }
    }
}

/// Where an element of this path belongs; `None` for sequences of no interest.
fn scope(elements: &Elements) -> Option<Scope> {
    let mut path = elements.path();
    let Some((group, index)) = path.next() else { return Some(Scope::Root) };
    let (within, _) = path.next()?;
    if path.next().is_some() || !MACROS.contains(&within) {
        return None;
    }
    match group {
        tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE => Some(Scope::Shared),
        tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE => Some(Scope::Frame(index)),
        _ => None,
    }
}

/// Attributes, the first scope that has one deciding.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    scopes: [Option<&'a Values>; 3],
}

impl<'a> View<'a> {
    /// The value, if the attribute is there and not empty.
    pub fn find(&self, tag: Tag) -> Option<&'a Value> {
        let mut found = self.scopes.iter().flatten().filter_map(|values| values.get(&tag));
        found.find(|value| !value.bytes.is_empty())
    }

    /// The value of a required attribute.
    pub fn require(&self, tag: Tag) -> Result<&'a Value, FileError> {
        self.find(tag).ok_or(FileError::Missing(Attribute(tag)))
    }

    /// Required text.
    pub fn text(&self, tag: Tag) -> Result<&'a str, FileError> {
        Ok(self.require(tag)?.text())
    }

    /// A required 16-bit number.
    pub fn short(&self, tag: Tag) -> Result<u16, FileError> {
        let value = self.require(tag)?;
        let bytes = <[u8; 2]>::try_from(value.bytes.as_slice())
            .map_err(|_| wrong(tag, value, "one 16-bit number"))?;
        Ok(if value.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// As many decimal numbers as asked for, all finite.
    pub fn numbers<const N: usize>(&self, tag: Tag, expected: &'static str) -> Result<[f64; N], FileError> {
        let value = self.require(tag)?;
        let numbers: Option<Vec<f64>> = value.text().split('\\').map(number).collect();
        numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| wrong(tag, value, expected))
    }

    /// The error of an attribute whose value will not do.
    pub fn wrong(&self, tag: Tag, expected: &'static str) -> FileError {
        match self.find(tag) {
            Some(value) => wrong(tag, value, expected),
            None => FileError::Missing(Attribute(tag)),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.trim_matches([' ', '\0']).parse().ok().filter(|number: &f64| number.is_finite())
}

fn wrong(tag: Tag, value: &Value, expected: &'static str) -> FileError {
    FileError::Value { attribute: Attribute(tag), offset: value.offset, expected }
}
