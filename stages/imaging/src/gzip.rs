//! Inflating a gzip file straight into the caller's memory.
//!
//! A file may have several members, one after the other, and be padded with zeros (RFC 1952; block
//! devices and tapes pad). The deflate streams go through `flate2`; the framing is here, so that no
//! buffer lies between the inflater and the caller, that a damaged place is named by its byte in the
//! file, and that the CRC-32 can be left out by a caller that will not reach the end of a member. This
//! module does not know what the bytes mean.

use std::io::{self, BufRead};

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// First bytes of a member.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Deflate expands by at most this factor (RFC 1951: 258 bytes for two bits).
pub(super) const LARGEST_EXPANSION: u64 = 1032;
/// Bytes at the end of a member: CRC-32 and length.
const TRAILER_BYTES: usize = 8;
const DEFLATE_METHOD: u8 = 8;
const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA_FIELD: u8 = 1 << 2;
const FILE_NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED_FLAGS: u8 = 0b1110_0000;

/// Why a gzip file cannot be inflated. Bytes are those of the compressed file.
#[derive(Debug, thiserror::Error)]
pub enum GzipError {
    /// The system failed to read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The file ends within a member.
    #[error("gzip member {member} is cut off at byte {offset} of the file")]
    CutOff {
        /// Number of the member, from 1.
        member: u64,
        /// Length of the file.
        offset: u64,
    },
    /// Neither a member nor zeros.
    #[error("byte {offset} of the file is no gzip member (found {found}), expected one, zeros or the end")]
    NoMember {
        /// Where a member should begin.
        offset: u64,
        /// The bytes found.
        found: String,
    },
    /// A member's header is not acceptable.
    #[error("gzip member {member}: {field} (byte {offset} of the file) is {found}, expected {expected}")]
    Field {
        /// Number of the member, from 1.
        member: u64,
        /// CM or FLG.
        field: &'static str,
        /// Where it lies.
        offset: u64,
        /// Its value.
        found: u8,
        /// Values that are acceptable.
        expected: &'static str,
    },
    /// The compressed data is damaged.
    #[error("gzip member {member} is damaged near byte {offset} of the file: {cause}")]
    Deflate {
        /// Number of the member, from 1.
        member: u64,
        /// Where the inflater stopped.
        offset: u64,
        /// What the inflater said.
        cause: String,
    },
    /// The inflated bytes have another CRC-32 than the trailer says.
    #[error(
        "gzip member {member}: CRC-32 (byte {offset} of the file) is {declared:08x}, expected {found:08x} from the data"
    )]
    Checksum {
        /// Number of the member, from 1.
        member: u64,
        /// Where the trailer begins.
        offset: u64,
        /// As stored.
        declared: u32,
        /// Of the inflated bytes.
        found: u32,
    },
    /// There are more or fewer inflated bytes than the trailer says.
    #[error(
        "gzip member {member}: ISIZE (byte {offset} of the file) is {declared}, expected {found} from the data"
    )]
    Length {
        /// Number of the member, from 1.
        member: u64,
        /// Where ISIZE lies.
        offset: u64,
        /// As stored: the length modulo 2³².
        declared: u32,
        /// Of the inflated bytes.
        found: u32,
    },
}

/// Where the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a member, or at the end.
    Between,
    /// In a member's deflate stream.
    Inside,
    /// Behind it, before the member's trailer.
    Trailer,
    /// Behind the last member.
    End,
}

/// A gzip file that inflates into what the caller provides.
pub(super) struct GzipReader<R> {
    stored: R,
    /// Bytes of the file behind us.
    offset: u64,
    inflater: Decompress,
    place: Place,
    member: u64,
    /// Inflated bytes of this member.
    length: u64,
    /// `None` once nobody wants to know.
    checksum: Option<Crc>,
}

impl<R: BufRead> GzipReader<R> {
    /// From a reader at the beginning of a gzip file.
    pub(super) fn new(stored: R) -> Self {
        Self {
            stored,
            offset: 0,
            inflater: Decompress::new(false),
            place: Place::Between,
            member: 0,
            length: 0,
            checksum: Some(Crc::new()),
        }
    }

    /// Computes no checksums from here on: for a caller that will stop before the end.
    pub(super) fn without_checksum(&mut self) {
        self.checksum = None;
    }

    /// Inflates some bytes into `out`; 0 means the end of the file (or an empty `out`).
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, GzipError> {
        while !out.is_empty() {
            match self.place {
                Place::End => break,
                Place::Between => self.begin()?,
                Place::Trailer => self.check_trailer()?,
                Place::Inside => {
                    let inflated = self.inflate(out)?;
                    if inflated > 0 {
                        return Ok(inflated);
                    }
                }
            }
        }
        Ok(0)
    }

    #[allow(clippy::cast_possible_truncation, reason = "no more than the buffers hold")]
    fn inflate(&mut self, out: &mut [u8]) -> Result<usize, GzipError> {
        let input = self.stored.fill_buf()?;
        let at_end = input.is_empty();
        let before = (self.inflater.total_in(), self.inflater.total_out());
        let status = self.inflater.decompress(input, out, FlushDecompress::None);
        let used = self.inflater.total_in() - before.0;
        let inflated = self.inflater.total_out() - before.1;
        self.stored.consume(used as usize);
        self.offset += used;
        let (member, offset) = (self.member, self.offset);
        let status =
            status.map_err(|cause| GzipError::Deflate { member, offset, cause: cause.to_string() })?;
        self.length += inflated;
        if let (Some(checksum), Some(bytes)) = (&mut self.checksum, out.get(..inflated as usize)) {
            checksum.update(bytes);
        }
        if status == Status::StreamEnd {
            self.place = Place::Trailer;
        } else if inflated == 0 && at_end {
            return Err(GzipError::CutOff { member, offset });
        } else if inflated == 0 && used == 0 {
            return Err(GzipError::Deflate { member, offset, cause: "no progress".to_owned() });
        }
        Ok(inflated as usize)
    }

    /// Reads a member's header, or finds that there is none.
    fn begin(&mut self) -> Result<(), GzipError> {
        // The file's first bytes have to be a member; what is behind one may also be nothing or zeros.
        if self.member > 0 && !self.another_member()? {
            self.place = Place::End;
            return Ok(());
        }
        let start = self.offset;
        self.member += 1;
        let [first, second, method, flags, ..] = self.take::<10>()?;
        if [first, second] != MAGIC {
            let found = [first, second].escape_ascii().to_string();
            return Err(GzipError::NoMember { offset: start, found });
        }
        self.check("CM", start + 2, method, method == DEFLATE_METHOD, "8 (deflate)")?;
        self.check("FLG", start + 3, flags, flags & RESERVED_FLAGS == 0, "no reserved bits")?;
        if flags & EXTRA_FIELD != 0 {
            let length = u16::from_le_bytes(self.take()?);
            for _ in 0..length {
                self.take::<1>()?;
            }
        }
        for text in [FILE_NAME, COMMENT] {
            while flags & text != 0 && self.take()? != [0] {}
        }
        if flags & HEADER_CHECKSUM != 0 {
            self.take::<2>()?;
        }
        self.inflater.reset(false);
        self.length = 0;
        if let Some(checksum) = &mut self.checksum {
            checksum.reset();
        }
        self.place = Place::Inside;
        Ok(())
    }

    /// Passes over padding; false at the end of the file.
    fn another_member(&mut self) -> Result<bool, GzipError> {
        let mut padded = false;
        loop {
            let input = self.stored.fill_buf()?;
            let zeros = input.iter().take_while(|&&byte| byte == 0).count();
            let next = input.get(zeros).copied();
            let at_end = input.is_empty();
            self.stored.consume(zeros);
            self.offset += zeros as u64;
            padded |= zeros > 0;
            match next {
                None if at_end => return Ok(false),
                None => {}
                Some(byte) if padded => {
                    let found = [byte].escape_ascii().to_string();
                    return Err(GzipError::NoMember { offset: self.offset, found });
                }
                Some(_) => return Ok(true),
            }
        }
    }

    fn check(
        &self,
        field: &'static str,
        offset: u64,
        found: u8,
        accepted: bool,
        expected: &'static str,
    ) -> Result<(), GzipError> {
        let member = self.member;
        if accepted { Ok(()) } else { Err(GzipError::Field { member, field, offset, found, expected }) }
    }

    /// Holds a member against its trailer.
    #[allow(clippy::cast_possible_truncation, reason = "a trailer holds the length modulo 2³²")]
    fn check_trailer(&mut self) -> Result<(), GzipError> {
        let (member, offset) = (self.member, self.offset);
        let [a, b, c, d, rest @ ..] = self.take::<TRAILER_BYTES>()?;
        let declared = u32::from_le_bytes([a, b, c, d]);
        if let Some(found) = self.checksum.as_ref().map(Crc::sum).filter(|&found| found != declared) {
            return Err(GzipError::Checksum { member, offset, declared, found });
        }
        let (declared, found) = (u32::from_le_bytes(rest), self.length as u32);
        if declared != found {
            return Err(GzipError::Length { member, offset: offset + 4, declared, found });
        }
        self.place = Place::Between;
        Ok(())
    }

    /// The next bytes of the file as they are.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], GzipError> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let input = self.stored.fill_buf()?;
            if input.is_empty() {
                return Err(GzipError::CutOff { member: self.member, offset: self.offset });
            }
            let count = rest.len().min(input.len());
            for (to, from) in rest.iter_mut().zip(input) {
                *to = *from;
            }
            self.stored.consume(count);
            self.offset += count as u64;
            filled += count;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};

    use flate2::{Compression, GzBuilder, write::GzEncoder};

    use super::*;

    fn member(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    /// Everything, through buffers of awkward sizes.
    fn inflated(file: &[u8]) -> Result<Vec<u8>, GzipError> {
        let mut reader = GzipReader::new(BufReader::with_capacity(5, file));
        let (mut bytes, mut out) = (Vec::new(), [0; 7]);
        loop {
            match reader.read(&mut out)? {
                0 => return Ok(bytes),
                count => bytes.extend(&out[..count]),
            }
        }
    }

    #[test]
    fn members_follow_one_another_and_may_be_empty_or_padded() {
        let text = b"one after the other".repeat(9);
        let whole = [member(&text), member(b""), member(&text)].concat();
        for padding in [0, 1, 4, 512, 100_000] {
            let padded = [whole.clone(), vec![0; padding]].concat();
            assert_eq!(inflated(&padded).expect("valid"), text.repeat(2), "{padding} zeros");
        }
    }

    #[test]
    fn every_part_of_a_header_is_passed_over() {
        let builder = GzBuilder::new().extra(vec![7; 300]).filename("scan.nii").comment("a comment");
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(b"voxels").expect("in memory");
        let mut file = encoder.finish().expect("in memory");
        assert_eq!(inflated(&file).expect("valid"), b"voxels");
        // A header checksum, which flate2 does not write.
        file[3] |= HEADER_CHECKSUM;
        let name_end = 10 + 2 + 300 + "scan.nii".len() + 1 + "a comment".len() + 1;
        file.splice(name_end..name_end, [1, 2]);
        assert_eq!(inflated(&file).expect("valid"), b"voxels");
    }

    #[test]
    fn damage_is_named_with_its_byte_in_the_file() {
        let file = [member(b"first"), member(b"second")].concat();
        let (first, end) = (member(b"first").len(), file.len());
        let with = |offset: usize, value: u8| {
            let mut file = file.clone();
            file[offset] = value;
            file
        };
        for (file, expected) in [
            (with(1, 0), "byte 0 of the file is no gzip member (found \\x1f\\x00)".to_owned()),
            (with(2, 7), "gzip member 1: CM (byte 2 of the file) is 7, expected 8 (deflate)".to_owned()),
            (with(3, 0x80), "gzip member 1: FLG (byte 3 of the file) is 128".to_owned()),
            (with(10, 7), "gzip member 1 is damaged near byte ".to_owned()),
            (with(first, 9), format!("byte {first} of the file is no gzip member (found \\t\\x8b)")),
            (with(end - 8, 0), format!("gzip member 2: CRC-32 (byte {} of the file)", end - 8)),
            (
                with(end - 4, 9),
                format!("gzip member 2: ISIZE (byte {} of the file) is 9, expected 6", end - 4),
            ),
            ([&file[..], b"\0\0junk"].concat(), format!("byte {} of the file is no gzip member", end + 2)),
        ] {
            let message = inflated(&file).expect_err(&expected).to_string();
            assert!(message.starts_with(&expected), "{message}\n{expected}");
        }
    }

    #[test]
    fn a_member_that_is_cut_off_anywhere_is_noticed() {
        let file = [member(b"first"), member(b"second")].concat();
        let between = member(b"first").len();
        for length in (0..file.len()).filter(|&length| length != between) {
            let error = inflated(&file[..length]).expect_err("cut off");
            assert!(matches!(error, GzipError::CutOff { offset, .. } if offset == length as u64), "{error}");
        }
    }

    #[test]
    fn the_checksum_can_be_left_out_and_the_length_not() {
        let mut file = member(b"voxels");
        let trailer = file.len() - 8;
        file[trailer] ^= 1;
        let read = |file: &[u8]| {
            let mut reader = GzipReader::new(file);
            reader.without_checksum();
            let mut out = [0; 100];
            assert_eq!(reader.read(&mut out).expect("nobody looks"), 6);
            reader.read(&mut out)
        };
        assert_eq!(read(&file).expect("nobody looks"), 0);
        file[trailer + 4] ^= 1;
        assert!(matches!(read(&file), Err(GzipError::Length { .. })));
    }
}
