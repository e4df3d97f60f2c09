//! The elements of a data set, one after another; no object is built from them.
//!
//! A value is read only when it is asked for and skipped otherwise, so that what tells of the patient
//! never comes into memory, and neither depth nor declared lengths cost anything. Headers are decoded
//! by `dicom-encoding`; the nesting of sequences is kept here, in a stack of bounded depth.

use dicom_core::header::{DataElementHeader, HasLength, Header};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::decode::Decode;
use dicom_encoding::decode::explicit_be::ExplicitVRBigEndianDecoder;
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;
use dicom_encoding::decode::implicit_le::ImplicitVRLittleEndianDecoder;

use super::attributes::Value;
use super::error::FileError;
use super::input::Input;

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
/// Sequences within sequences; an enhanced CT has two.
const DEEPEST: usize = 16;

/// How elements are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
}

/// An element that is no sequence, and the pixel data of the data set itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub tag: Tag,
    pub vr: VR,
    /// Bytes of its value; `None` for encapsulated pixel data.
    pub length: Option<u64>,
}

/// A sequence that is being walked through.
struct Level {
    tag: Tag,
    /// Where it ends; `None` when a delimiter ends it.
    end: Option<u64>,
    /// Items begun.
    items: usize,
    /// The current item, with its end as for the sequence; `None` between items.
    item: Option<Option<u64>>,
    /// Items hold bytes and no elements.
    opaque: bool,
    /// The encoding outside.
    outer: Encoding,
}

/// Walks through a data set.
pub(super) struct Elements<'a> {
    input: Input<'a>,
    encoding: Encoding,
    /// Sequences of known length that are walked through instead of skipped.
    entered: &'static [Tag],
    levels: Vec<Level>,
    /// Bytes of the last element's value that nobody has read.
    unread: u64,
}

impl<'a> Elements<'a> {
    /// Begins at the input's position. Of the sequences, those `entered` are walked through.
    pub fn new(input: Input<'a>, encoding: Encoding, entered: &'static [Tag]) -> Self {
        Self { input, encoding, entered, levels: Vec::new(), unread: 0 }
    }

    /// The input; between [`Elements::next`] and reading the value it stands at the value.
    pub fn input(&mut self) -> &mut Input<'a> {
        &mut self.input
    }

    /// Bytes from the start.
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// Gives the input back.
    pub fn into_input(self) -> Input<'a> {
        self.input
    }

    /// The sequences around the last element, outermost first, with the index of their current item.
    pub fn path(&self) -> impl ExactSizeIterator<Item = (Tag, usize)> {
        self.levels.iter().map(|level| (level.tag, level.items.saturating_sub(1)))
    }

    /// Reads the value of the element that [`Elements::next`] has just given.
    pub fn value(&mut self, element: &Element) -> Result<Value, FileError> {
        let big_endian = self.encoding == Encoding::ExplicitBig;
        self.unread = 0;
        self.input.value(element.tag, element.length.unwrap_or(0), big_endian)
    }

    /// Skips the value of the element that [`Elements::next`] has just given.
    pub fn skip(&mut self) -> Result<(), FileError> {
        self.input.skip(std::mem::take(&mut self.unread))
    }

    /// The next element at any depth; `None` at the end of the data set.
    pub fn next(&mut self) -> Result<Option<Element>, FileError> {
        loop {
            self.skip()?;
            self.close_finished()?;
            if self.levels.is_empty() && self.input.remaining() == 0 {
                return Ok(None);
            }
            let offset = self.input.position();
            let header = self.header()?;
            let length = header.length().get().map(u64::from);
            match header.tag() {
                ITEM => self.begin_item(offset, length)?,
                ITEM_END => self.end_item(offset)?,
                SEQUENCE_END => self.end_sequence(offset)?,
                tag => {
                    if self.levels.last().is_some_and(|level| level.item.is_none()) {
                        return Err(FileError::Structure {
                            offset,
                            expected: "an item or the sequence's end",
                        });
                    }
                    let is_image = tag == tags::PIXEL_DATA && self.levels.is_empty();
                    if !is_image && (length.is_none() || self.entered.contains(&tag)) {
                        self.begin_sequence(offset, &header, length)?;
                        continue;
                    }
                    self.unread = length.unwrap_or(0);
                    return Ok(Some(Element { tag, vr: header.vr(), length }));
                }
            }
        }
    }

    fn header(&mut self) -> Result<DataElementHeader, FileError> {
        // The shortest header there is. A longer one that is cut off is a failure of the decoder.
        self.input.require(8)?;
        let input = &mut self.input;
        let header = match self.encoding {
            Encoding::ImplicitLittle => ImplicitVRLittleEndianDecoder::default().decode_header(input),
            Encoding::ExplicitLittle => ExplicitVRLittleEndianDecoder::default().decode_header(input),
            Encoding::ExplicitBig => ExplicitVRBigEndianDecoder::default().decode_header(input),
        };
        header.map(|(header, _)| header).map_err(|_| self.input.truncated(4))
    }

    fn begin_sequence(
        &mut self,
        offset: u64,
        header: &DataElementHeader,
        length: Option<u64>,
    ) -> Result<(), FileError> {
        if self.levels.len() == DEEPEST {
            return Err(FileError::Structure { offset, expected: "sequences at most 16 deep" });
        }
        let outer = self.encoding;
        let end = length.map(|length| self.input.position().saturating_add(length));
        let opaque = header.tag() == tags::PIXEL_DATA || matches!(header.vr(), VR::OB | VR::OW);
        // An unknown element of unknown length is a sequence that was implicit and stayed so (PS3.5, 6.2.2).
        if header.vr() == VR::UN && outer == Encoding::ExplicitLittle {
            self.encoding = Encoding::ImplicitLittle;
        }
        self.levels.push(Level { tag: header.tag(), end, items: 0, item: None, opaque, outer });
        Ok(())
    }

    fn begin_item(&mut self, offset: u64, length: Option<u64>) -> Result<(), FileError> {
        let position = self.input.position();
        let Some(level) = self.levels.last_mut().filter(|level| level.item.is_none()) else {
            return Err(FileError::Structure { offset, expected: "an element, found a sequence item" });
        };
        level.items += 1;
        if level.opaque {
            self.unread =
                length.ok_or(FileError::Structure { offset, expected: "a fragment of known length" })?;
        } else {
            level.item = Some(length.map(|length| position.saturating_add(length)));
        }
        Ok(())
    }

    fn end_item(&mut self, offset: u64) -> Result<(), FileError> {
        let Some(level) = self.levels.last_mut().filter(|level| level.item == Some(None)) else {
            return Err(FileError::Structure { offset, expected: "an element, found an item's end" });
        };
        level.item = None;
        Ok(())
    }

    fn end_sequence(&mut self, offset: u64) -> Result<(), FileError> {
        if !self.levels.last().is_some_and(|level| level.item.is_none() && level.end.is_none()) {
            return Err(FileError::Structure { offset, expected: "an element, found a sequence's end" });
        }
        self.leave();
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.encoding = level.outer;
        }
    }

    /// Closes the items and sequences of known length that end here.
    fn close_finished(&mut self) -> Result<(), FileError> {
        let offset = self.input.position();
        while let Some(level) = self.levels.last_mut() {
            let end = level.item.unwrap_or(level.end);
            match end {
                Some(end) if end < offset => {
                    let expected = "the end of a sequence or item, found an element across it";
                    return Err(FileError::Structure { offset: end, expected });
                }
                Some(end) if end == offset => {
                    if level.item.take().is_none() {
                        self.leave();
                    }
                }
                _ => break,
            }
        }
        Ok(())
    }
}
