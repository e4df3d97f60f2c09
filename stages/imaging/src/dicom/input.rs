//! The bytes of one file: read forward, never past its end, never more at once than it holds.
//!
//! Knows the preamble and the file meta information, which say how the rest is encoded; nothing of
//! what the rest means.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use flate2::bufread::DeflateDecoder;

use super::elements::{Elements, Encoding};
use super::error::{Attribute, FileError};
use super::syntax::Syntax;
use super::{Content, attributes::Value};

const PREAMBLE_BYTES: u64 = 128;
const MAGIC: &[u8; 4] = b"DICM";
const META_GROUP: u16 = 0x0002;
/// What a deflated file may become: far above any single CT slice.
const LARGEST_INFLATED: u64 = 64 << 20;
/// The longest value that is read into memory; those wanted are far shorter.
const LONGEST_VALUE: u64 = 1 << 16;

trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// A stream with a known length and position.
pub(super) struct Input<'a> {
    reader: BufReader<Box<dyn ReadSeek + 'a>>,
    position: u64,
    length: u64,
}

impl<'a> Input<'a> {
    fn new(reader: Box<dyn ReadSeek + 'a>, length: u64) -> Self {
        Self { reader: BufReader::new(reader), position: 0, length }
    }

    fn open(content: &'a Content) -> io::Result<Self> {
        match content {
            Content::Bytes(bytes) => {
                Ok(Self::new(Box::new(Cursor::new(bytes.as_slice())), bytes.len() as u64))
            }
            Content::Path(path) => {
                let file = File::open(path)?;
                let metadata = file.metadata()?;
                if !metadata.is_file() {
                    return Err(io::Error::other("not a file"));
                }
                Ok(Self::new(Box::new(file), metadata.len()))
            }
        }
    }

    /// Bytes from the start.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes up to the end.
    pub fn remaining(&self) -> u64 {
        self.length.saturating_sub(self.position)
    }

    /// Fails unless `count` bytes are left.
    pub fn require(&self, count: u64) -> Result<(), FileError> {
        if count <= self.remaining() { Ok(()) } else { Err(self.truncated(count)) }
    }

    /// The error of a file that lacks the `wanted` bytes from here on.
    pub fn truncated(&self, wanted: u64) -> FileError {
        FileError::Truncated { offset: self.position, wanted, length: self.length }
    }

    /// Moves forward.
    pub fn skip(&mut self, count: u64) -> Result<(), FileError> {
        self.require(count)?;
        self.shift(i64::try_from(count).map_err(|_| self.truncated(count))?)
    }

    fn shift(&mut self, by: i64) -> Result<(), FileError> {
        self.reader.seek_relative(by)?;
        self.position = self.position.saturating_add_signed(by);
        Ok(())
    }

    /// The next `count` bytes, which must be there.
    pub fn exactly(&mut self, count: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        self.append(count, &mut bytes)?;
        Ok(bytes)
    }

    /// Appends the next `count` bytes, which must be there.
    pub fn append(&mut self, count: u64, bytes: &mut Vec<u8>) -> Result<(), FileError> {
        self.require(count)?;
        let read = self.reader.by_ref().take(count).read_to_end(bytes)? as u64;
        // A file that shrinks while it is read.
        if read < count {
            return Err(self.truncated(count));
        }
        self.position += read;
        Ok(())
    }

    /// The value of an element, refused when it is longer than any value of use.
    pub fn value(&mut self, tag: Tag, length: u64, big_endian: bool) -> Result<Value, FileError> {
        let offset = self.position;
        if length > LONGEST_VALUE {
            let expected = "a value of at most 65536 bytes";
            return Err(FileError::Value { attribute: Attribute(tag), offset, expected });
        }
        Ok(Value { bytes: self.exactly(length)?, big_endian, offset })
    }

    fn next_group(&mut self) -> Result<Option<u16>, FileError> {
        if self.remaining() < 2 {
            return Ok(None);
        }
        let mut group = [0; 2];
        self.read_exact(&mut group)?;
        self.shift(-2)?;
        Ok(Some(u16::from_le_bytes(group)))
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A DICOM file opened at its data set.
pub(super) struct DataSet<'a> {
    pub input: Input<'a>,
    pub syntax: Syntax,
}

/// Opens a file at its data set; `None` for what is no DICOM file or a directory of files (DICOMDIR).
pub(super) fn open(content: &Content) -> Result<Option<DataSet<'_>>, FileError> {
    let mut input = Input::open(content)?;
    if input.remaining() < PREAMBLE_BYTES + MAGIC.len() as u64 {
        return Ok(None);
    }
    input.skip(PREAMBLE_BYTES)?;
    if input.exactly(MAGIC.len() as u64)? != MAGIC {
        return Ok(None);
    }
    let (mut input, meta) = meta_information(input)?;
    if meta.class.is_some_and(|class| class.uid() == uids::MEDIA_STORAGE_DIRECTORY_STORAGE) {
        return Ok(None);
    }
    let uid = meta.syntax.ok_or(FileError::Missing(Attribute(tags::TRANSFER_SYNTAX_UID)))?.uid();
    let syntax = Syntax::from_uid(&uid)?;
    if syntax == Syntax::Deflated {
        input = inflated(input)?;
    }
    Ok(Some(DataSet { input, syntax }))
}

#[derive(Default)]
struct Meta {
    class: Option<Value>,
    syntax: Option<Value>,
}

/// Reads the elements of group 0002, which are always explicit and little-endian.
fn meta_information(input: Input<'_>) -> Result<(Input<'_>, Meta), FileError> {
    let mut meta = Meta::default();
    let mut elements = Elements::new(input, Encoding::ExplicitLittle, &[]);
    while elements.input().next_group()? == Some(META_GROUP) {
        let Some(element) = elements.next()? else { break };
        match element.tag {
            tags::MEDIA_STORAGE_SOP_CLASS_UID => meta.class = Some(elements.value(&element)?),
            tags::TRANSFER_SYNTAX_UID => meta.syntax = Some(elements.value(&element)?),
            _ => elements.skip()?,
        }
    }
    Ok((elements.into_input(), meta))
}

fn inflated(mut input: Input<'_>) -> Result<Input<'static>, FileError> {
    let offset = input.position();
    let too_large = FileError::Structure { offset, expected: "deflated data of at most 64 MiB" };
    if input.remaining() > LARGEST_INFLATED {
        return Err(too_large);
    }
    let compressed = input.exactly(input.remaining())?;
    let mut bytes = Vec::new();
    let read = DeflateDecoder::new(compressed.as_slice()).take(LARGEST_INFLATED + 1).read_to_end(&mut bytes);
    if read.is_err() || bytes.len() as u64 > LARGEST_INFLATED {
        return Err(too_large);
    }
    let length = bytes.len() as u64;
    Ok(Input::new(Box::new(Cursor::new(bytes)), length))
}
