//! The bytes of a scan's file, compressed or not, read in order.
//!
//! Whether a NIfTI file is compressed is seen from its first bytes, not from its name; other headers say it. Bytes are inflated,
//! or read, straight into one buffer that is lent out. Parts of a plain file that nobody needs are
//! passed by seeking; those of a compressed one have to be inflated. What the bytes mean is not known
//! here, but for how many are expected.

use std::fs;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::ZlibDecoder;

use super::error::ScanError;
use super::gzip::{GzipError, GzipReader, LARGEST_EXPANSION, MAGIC};

/// The size of a lent buffer that pays: large beside the inflater's window of 32 KiB, which it copies
/// whenever a buffer is full, and small beside a second-level cache.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;
const STORED_BUFFER_BYTES: usize = 64 * 1024;
/// What may follow behind the declared data of a compressed file. The standard has nothing there, but
/// some writers do; without a bound a small file could inflate for hours.
pub(super) const LARGEST_SURPLUS: u64 = 16 << 20;

pub(super) trait Stored: Read + Seek + Send {}
impl<T: Read + Seek + Send> Stored for T {}

/// How bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are.
    Plain,
    /// As gzip members.
    Gzip,
    /// As a zlib stream.
    Zlib,
}

/// A file of which nothing is known yet.
pub(super) struct File {
    path: PathBuf,
    stored: Box<dyn Stored>,
    length: u64,
}

impl File {
    pub(super) fn open_stored(path: &Path) -> Result<Self, ScanError> {
        let open = || {
            let file = fs::File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_file() { Ok((file, metadata.len())) } else { Err(io::Error::other("not a file")) }
        };
        let (file, length) = open().map_err(|cause| ScanError::Open { path: path.to_owned(), cause })?;
        Ok(Self::new(path, file, length))
    }

    /// Of `length` bytes; `path` serves messages only.
    pub(super) fn new(path: &Path, stored: impl Read + Seek + Send + 'static, length: u64) -> Self {
        Self { path: path.to_owned(), stored: Box::new(stored), length }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes at the start as they are stored, as many of `length` as there are.
    pub(super) fn head(&mut self, length: usize) -> Result<Vec<u8>, ScanError> {
        let mut head = Vec::new();
        let read = self.stored.by_ref().take(length as u64).read_to_end(&mut head);
        let read = read.and_then(|_| self.stored.rewind());
        read.map_err(|cause| self.failed(cause))?;
        Ok(head)
    }

    /// The part of it from a byte on, as a file.
    pub(super) fn behind(mut self, start: u64) -> Result<Self, ScanError> {
        let start = start.min(self.length);
        self.stored.seek(SeekFrom::Start(start)).map_err(|cause| self.failed(cause))?;
        let length = self.length - start;
        Ok(Self { path: self.path, stored: Box::new(Part { stored: self.stored, start }), length })
    }

    /// Its bytes, inflated if they begin as gzip does.
    pub(super) fn plain(mut self) -> Result<Source, ScanError> {
        let is_gzip = self.head(MAGIC.len())? == MAGIC;
        self.encoded(if is_gzip { Encoding::Gzip } else { Encoding::Plain })
    }

    /// Its bytes, which are encoded so.
    pub(super) fn encoded(self, encoding: Encoding) -> Result<Source, ScanError> {
        let Self { path, stored, length } = self;
        let stream = Stream::new(stored, length, encoding);
        let stream = stream.map_err(|cause| ScanError::Read { path: path.clone(), offset: 0, cause })?;
        Ok(Source { path, stream, stored_length: length, position: 0, expected: 0, buffer: Vec::new() })
    }

    fn failed(&self, cause: io::Error) -> ScanError {
        ScanError::Read { path: self.path.clone(), offset: 0, cause }
    }
}

/// The bytes of a file from one on.
struct Part {
    stored: Box<dyn Stored>,
    start: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stored.read(buffer)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(place) => SeekFrom::Start(place.saturating_add(self.start)),
            other => other,
        };
        let place = self.stored.seek(to)?;
        place.checked_sub(self.start).ok_or_else(|| io::Error::other("a place before the beginning"))
    }
}

enum Stream {
    Plain(Box<dyn Stored>),
    Gzip {
        reader: Box<GzipReader<BufReader<Box<dyn Stored>>>>,
        /// The file's last four bytes: ISIZE, when they end a member.
        last_word: u32,
    },
    Zlib(Box<ZlibDecoder<BufReader<Box<dyn Stored>>>>),
}

/// A file of a scan.
pub(super) struct Source {
    path: PathBuf,
    stream: Stream,
    /// Length of the file as it is stored.
    stored_length: u64,
    /// Position in the uncompressed data.
    position: u64,
    /// Bytes of uncompressed data that there should be.
    expected: u64,
    buffer: Vec<u8>,
}

impl Source {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Says how many bytes of uncompressed data there should be.
    ///
    /// # Errors
    /// [`ScanError::Truncated`] when a file of this length cannot hold them.
    pub(super) fn expect(&mut self, expected: u64) -> Result<(), ScanError> {
        self.expected = expected;
        let found = match self.stream {
            Stream::Plain(_) => self.stored_length,
            Stream::Gzip { .. } | Stream::Zlib(_) => self.stored_length.saturating_mul(LARGEST_EXPANSION),
        };
        if expected > found { Err(self.truncated(found)) } else { Ok(()) }
    }

    /// Whether the file's end shows that it holds the expected bytes and nothing else, as far as can
    /// be told without reading it through. A plain file holds what its length says.
    #[allow(clippy::cast_possible_truncation, reason = "a trailer holds the length modulo 2³²")]
    pub(super) fn ends_as_expected(&self) -> bool {
        match self.stream {
            Stream::Plain(_) => true,
            Stream::Gzip { last_word, .. } => last_word == self.expected as u32,
            Stream::Zlib(_) => false,
        }
    }

    /// Leaves checksums out, for a caller that will not come to the end.
    pub(super) fn without_checksum(&mut self) {
        if let Stream::Gzip { reader, .. } = &mut self.stream {
            reader.without_checksum();
        }
    }

    /// Lends the next `length` bytes.
    pub(super) fn read(&mut self, length: usize) -> Result<&[u8], ScanError> {
        self.fill(length)?;
        Ok(self.buffer.get(..length).unwrap_or_default())
    }

    /// The bytes at the start, as many of `length` as there are before the end or the first damage.
    pub(super) fn head(&mut self, length: usize) -> Vec<u8> {
        let mut filled = 0;
        if self.reserve(length).is_ok() {
            while let Ok(count @ 1..) = self.some(filled, length) {
                filled += count;
            }
        }
        self.buffer.get(..filled).unwrap_or_default().to_vec()
    }

    /// Passes over the bytes up to `target`; one that lies behind is left alone.
    pub(super) fn skip_to(&mut self, target: u64) -> Result<(), ScanError> {
        let missing = target.saturating_sub(self.position);
        match (&mut self.stream, i64::try_from(missing)) {
            (_, Ok(0)) => Ok(()),
            (Stream::Plain(stored), Ok(step)) => {
                let sought = stored.seek(SeekFrom::Current(step));
                sought.map_err(|cause| self.failed(cause))?;
                self.position = target;
                Ok(())
            }
            (Stream::Plain(_), Err(_)) => Err(self.truncated(self.stored_length)),
            (Stream::Gzip { .. } | Stream::Zlib(_), _) => {
                while self.position < target {
                    let step = usize::try_from(target - self.position).unwrap_or(BUFFER_BYTES);
                    self.fill(step.min(BUFFER_BYTES))?;
                }
                Ok(())
            }
        }
    }

    /// Reads a compressed file to its end, so that damage and truncation are noticed.
    ///
    /// # Errors
    /// [`ScanError`] when it is damaged, too short, or goes on far behind the expected bytes.
    pub(super) fn finish(&mut self) -> Result<(), ScanError> {
        if matches!(self.stream, Stream::Plain(_)) {
            return Ok(());
        }
        self.skip_to(self.expected)?;
        self.reserve(BUFFER_BYTES)?;
        while let count @ 1.. = self.some(0, BUFFER_BYTES)? {
            self.position += count as u64;
            if self.position - self.expected > LARGEST_SURPLUS {
                let (path, expected) = (self.path.clone(), self.expected);
                return Err(ScanError::Surplus { path, expected, allowed: LARGEST_SURPLUS });
            }
        }
        Ok(())
    }

    fn fill(&mut self, length: usize) -> Result<(), ScanError> {
        self.reserve(length)?;
        let mut filled = 0;
        while filled < length {
            let count = self.some(filled, length)?;
            if count == 0 {
                return Err(self.truncated(self.position));
            }
            filled += count;
            self.position += count as u64;
        }
        Ok(())
    }

    fn reserve(&mut self, length: usize) -> Result<(), ScanError> {
        let missing = length.saturating_sub(self.buffer.len());
        if missing > 0 {
            let reserved = self.buffer.try_reserve_exact(missing);
            reserved.map_err(|_| self.failed(io::ErrorKind::OutOfMemory.into()))?;
            self.buffer.resize(length, 0);
        }
        Ok(())
    }

    /// Reads some bytes into a part of the buffer; 0 at the end of the data.
    fn some(&mut self, start: usize, end: usize) -> Result<usize, ScanError> {
        let part = self.buffer.get_mut(start..end).unwrap_or_default();
        match &mut self.stream {
            Stream::Plain(stored) => loop {
                match stored.read(part) {
                    Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                    read => return read.map_err(|cause| self.failed(cause)),
                }
            },
            Stream::Gzip { reader, .. } => reader.read(part).map_err(|cause| self.damaged(cause)),
            Stream::Zlib(reader) => reader.read(part).map_err(|cause| match cause.kind() {
                io::ErrorKind::UnexpectedEof => self.truncated(self.position),
                _ => self.failed(cause),
            }),
        }
    }

    fn damaged(&self, cause: GzipError) -> ScanError {
        match cause {
            GzipError::CutOff { .. } => self.truncated(self.position),
            GzipError::Read(cause) => self.failed(cause),
            cause => ScanError::Gzip { path: self.path.clone(), offset: self.position, cause },
        }
    }

    fn failed(&self, cause: io::Error) -> ScanError {
        ScanError::Read { path: self.path.clone(), offset: self.position, cause }
    }

    fn truncated(&self, found: u64) -> ScanError {
        ScanError::Truncated { path: self.path.clone(), expected: self.expected, found }
    }
}

impl Stream {
    fn new(mut stored: Box<dyn Stored>, length: u64, encoding: Encoding) -> io::Result<Self> {
        match encoding {
            Encoding::Plain => return Ok(Self::Plain(stored)),
            Encoding::Zlib => {
                let reader = BufReader::with_capacity(STORED_BUFFER_BYTES, stored);
                return Ok(Self::Zlib(Box::new(ZlibDecoder::new(reader))));
            }
            Encoding::Gzip => {}
        }
        stored.seek(SeekFrom::Start(length.saturating_sub(4)))?;
        let mut last = Vec::new();
        stored.by_ref().take(4).read_to_end(&mut last)?;
        let last_word = last.first_chunk().map_or(0, |&word| u32::from_le_bytes(word));
        stored.rewind()?;
        let reader = GzipReader::new(BufReader::with_capacity(STORED_BUFFER_BYTES, stored));
        Ok(Self::Gzip { reader: Box::new(reader), last_word })
    }
}
