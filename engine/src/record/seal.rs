//! The seal of a record: each line ends with a digest of itself and of all lines before it, so that a line that was edited,
//! moved or taken out is noticed at its place. What is cut off at the end is noticed by whoever knows a later seal: the
//! runs that began afterwards, and people who wrote it down.
//!
//! A seal is no secret. Whoever can write the whole cache can make all of it anew; a signature cannot be made anew.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use pipe_cache::{Digest, Hasher};

/// What stands between a line's object and its seal, and behind that.
const BEFORE: &[u8] = b",\"seal\":\"";
const AFTER: &[u8] = b"\"}\n";
/// The hexadecimal digits of a seal.
const DIGITS: usize = 64;
/// The last whole line's seal lies within so many bytes of the end, also if a crash left a part of a line behind it.
const LAST_BYTES: u64 = 1 << 16;

/// The seal of the lines so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal(Digest);

impl Seal {
    /// Of no line.
    pub(super) fn new() -> Self {
        Self(Hasher::new("pipe record, version 3").finish())
    }

    /// The seal's digest.
    pub(super) fn digest(self) -> Digest {
        self.0
    }

    /// With one more line, an object without its closing brace.
    fn with(self, object: &[u8]) -> Self {
        Self(Hasher::new("pipe record line, version 3").field(self.0.as_bytes()).field(object).finish())
    }

    /// A line with its seal, and the seal; `line` is a JSON object that has fields, with or without an end of line.
    pub(super) fn add(self, line: &[u8]) -> (Vec<u8>, Self) {
        let object = line.trim_ascii_end();
        let object = object.strip_suffix(b"}").unwrap_or(object);
        let seal = self.with(object);
        let sealed = [object, BEFORE, seal.0.to_string().as_bytes(), AFTER].concat();
        (sealed, seal)
    }
}

/// A line's object and its seal; `None` for a line that has none.
fn parts(line: &[u8]) -> Option<(&[u8], Digest)> {
    let rest = line.strip_suffix(AFTER)?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let object = rest.strip_suffix(BEFORE)?;
    Some((object, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

/// What the seals of a record say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// The seal after each line, as far as they are right.
    pub seals: Vec<Digest>,
    /// The first line, counted from 1, that is not what its seal says.
    pub broken: Option<usize>,
    /// Whether the last line has no end: a crash of the machine, or a full disk, cut it short.
    pub cut: bool,
}

impl Sealed {
    /// Reads a record's seals.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (mut sealed, mut seal) = (Self::default(), Seal::new());
        for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            if !line.ends_with(b"\n") {
                sealed.cut = true;
                break;
            }
            let next = parts(line).filter(|(object, told)| seal.with(object).0 == *told);
            match next {
                Some((object, told)) => {
                    seal = seal.with(object);
                    sealed.seals.push(told);
                }
                None => {
                    sealed.broken = Some(number);
                    break;
                }
            }
        }
        sealed
    }

    /// The seal of the last line.
    pub fn head(&self) -> Option<Digest> {
        self.seals.last().copied()
    }
}

/// The seal that a record ends with; `None` when it has none yet, or is of before there were any.
pub(super) fn head_of(path: &Path) -> io::Result<Option<Digest>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
    file.read_to_end(&mut end)?;
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    Ok(parts(&end[..whole]).map(|(_, seal)| seal))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn record(lines: &[&str]) -> Vec<u8> {
        let mut seal = Seal::new();
        let mut bytes = Vec::new();
        for line in lines {
            let (sealed, next) = seal.add(line.as_bytes());
            bytes.extend(sealed);
            seal = next;
        }
        bytes
    }

    const LINES: [&str; 4] = [r#"{"a":1}"#, r#"{"b":{"c":[2]}}"#, "{\"d\":\"}\"}\n", r#"{"e":4}"#];

    #[test]
    fn lines_stay_json_and_end_with_seals() {
        let bytes = record(&LINES);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let values: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((values.len(), &values[2]["d"]), (4, &"}".into()));
        let sealed = Sealed::of(&bytes);
        assert_eq!((sealed.seals.len(), sealed.broken), (4, None));
        assert_eq!(values[3]["seal"], sealed.head().unwrap().to_string());
    }

    #[test]
    fn every_changed_byte_is_noticed_at_its_line() {
        let bytes = record(&LINES);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let line = 1 + bytes[..place].iter().filter(|byte| **byte == b'\n').count();
            let sealed = Sealed::of(&changed);
            // Without its end the last line is one that a crash cut short.
            let is_cut = place + 1 == bytes.len();
            assert_eq!((sealed.broken, sealed.cut), ((!is_cut).then_some(line), is_cut), "byte {place}");
            assert_ne!(sealed.head(), Sealed::of(&bytes).head());
        }
    }

    #[test]
    fn lines_that_were_moved_taken_out_or_added_are_noticed() {
        let bytes = record(&LINES);
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for (order, broken) in [
            (vec![0, 2, 1, 3], Some(2)),
            (vec![1, 2, 3], Some(1)),
            (vec![0, 1, 3], Some(3)),
            (vec![0, 1, 1, 2, 3], Some(3)),
            // What is cut off at the end, its seals cannot tell.
            (vec![0, 1, 2], None),
        ] {
            let other: Vec<u8> = order.iter().flat_map(|line| lines[*line].to_vec()).collect();
            assert_eq!(Sealed::of(&other).broken, broken, "{order:?}");
        }
    }

    #[test]
    fn a_record_goes_on_behind_a_line_that_was_cut_short() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = record(&LINES);
        let head = Sealed::of(&bytes).head();
        bytes.extend(b"{\"cut");
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(head_of(file.path()).unwrap(), head);
        std::fs::write(file.path(), "").unwrap();
        assert_eq!(head_of(file.path()).unwrap(), None);
    }
}
