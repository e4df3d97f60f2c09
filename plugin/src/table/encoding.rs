//! Bytes to text: UTF-8, UTF-16 and Windows-1252, told apart by byte-order marks and by what is valid.
//!
//! Knows nothing of tables. What fits no encoding is refused, and a guess is told.

use std::borrow::Cow;

/// A text with what was guessed to read it.
pub(super) struct Decoded<'a> {
    pub(super) text: Cow<'a, str>,
    /// Read as Windows-1252, since it is not UTF-8.
    pub(super) guessed: bool,
}

/// Why bytes are no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoText {
    /// Where it begins, in bytes.
    pub at: usize,
    /// What is wrong, in words.
    pub problem: &'static str,
}

/// What Windows-1252 has in place of Latin-1's second set of control characters; five codes are not used.
const WINDOWS_1252: [Option<char>; 32] = [
    Some('€'),
    None,
    Some('‚'),
    Some('ƒ'),
    Some('„'),
    Some('…'),
    Some('†'),
    Some('‡'),
    Some('ˆ'),
    Some('‰'),
    Some('Š'),
    Some('‹'),
    Some('Œ'),
    None,
    Some('Ž'),
    None,
    None,
    Some('‘'),
    Some('’'),
    Some('“'),
    Some('”'),
    Some('•'),
    Some('–'),
    Some('—'),
    Some('˜'),
    Some('™'),
    Some('š'),
    Some('›'),
    Some('œ'),
    None,
    Some('ž'),
    Some('Ÿ'),
];

/// Reads a text in whatever encoding it has.
///
/// # Errors
/// [`NoText`].
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded<'_>, NoText> {
    let whole = |text| Decoded { text, guessed: false };
    if bytes.starts_with(&[0xff, 0xfe, 0, 0]) || bytes.starts_with(&[0, 0, 0xfe, 0xff]) {
        return Err(NoText { at: 0, problem: "is UTF-32, which is not read" });
    }
    match bytes {
        [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes).map(|text| whole(text.into())),
        [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes).map(|text| whole(text.into())),
        // A header is ASCII in all tables that people have: every other byte is 0.
        [1..=255, 0, 1..=255, 0, ..] => {
            return utf16(bytes, u16::from_le_bytes).map(|text| whole(text.into()));
        }
        [0, 1..=255, 0, 1..=255, ..] => {
            return utf16(bytes, u16::from_be_bytes).map(|text| whole(text.into()));
        }
        _ => {}
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(NoText { at, problem: "has a byte of value 0, so it is no text" });
    }
    let marked = bytes.strip_prefix(b"\xef\xbb\xbf");
    match std::str::from_utf8(marked.unwrap_or(bytes)) {
        Ok(text) => Ok(whole(text.into())),
        // Letters of more than one byte that are right by chance are rare: it was UTF-8 and is damaged.
        Err(error) if marked.is_some() || has_long_letters(bytes) => {
            let at = error.valid_up_to() + marked.map_or(0, |_| 3);
            Err(NoText { at, problem: "is UTF-8 with a damaged letter" })
        }
        Err(_) => windows_1252(bytes).map(|text| Decoded { text: text.into(), guessed: true }),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, NoText> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(NoText {
            at: bytes.len(),
            problem: "is UTF-16 that was cut off in the middle of a letter",
        });
    }
    let mut text = String::with_capacity(pairs.len());
    for (position, letter) in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).enumerate() {
        match letter {
            Ok(letter) => text.push(letter),
            Err(_) => return Err(NoText { at: 2 * position, problem: "is UTF-16 with half a letter" }),
        }
    }
    Ok(text)
}

/// Whether some letter of more than one byte is valid UTF-8.
fn has_long_letters(bytes: &[u8]) -> bool {
    bytes.utf8_chunks().any(|chunk| !chunk.valid().is_ascii())
}

fn windows_1252(bytes: &[u8]) -> Result<String, NoText> {
    let letter = |(at, byte): (usize, &u8)| match byte {
        0x80..=0x9f => WINDOWS_1252
            .get(usize::from(*byte) - 0x80)
            .copied()
            .flatten()
            .ok_or(NoText { at, problem: "is neither UTF-8 nor Windows-1252" }),
        // As in Latin-1, whose codes are Unicode's.
        byte => Ok(char::from(*byte)),
    };
    bytes.iter().enumerate().map(letter).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_apart() {
        let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            "pid,größe\n😀".encode_utf16().flat_map(unit).collect()
        };
        let (little, big) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
        let table: &[(&[u8], &str, bool)] = &[
            ("größe".as_bytes(), "größe", false),
            ("\u{feff}größe".as_bytes(), "größe", false),
            (&[b"\xff\xfe", &little[..]].concat(), "pid,größe\n😀", false),
            (&[b"\xfe\xff", &big[..]].concat(), "pid,größe\n😀", false),
            (&little, "pid,größe\n😀", false),
            (&big, "pid,größe\n😀", false),
            (b"gr\xf6\xdfe \x80 \x93a\x94", "größe € “a”", true),
            (b"", "", false),
        ];
        for (bytes, text, guessed) in table {
            let decoded = decode(bytes).unwrap();
            assert_eq!((&*decoded.text, decoded.guessed), (*text, *guessed), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_named_with_its_place() {
        let table: &[(&[u8], usize, &str)] = &[
            ("größe\u{0}".as_bytes(), 7, "byte of value 0"),
            (b"gr\xc3\xb6\xdfe", 4, "damaged"),
            (b"\xef\xbb\xbfgr\xf6", 5, "damaged"),
            (b"a\x81", 1, "neither UTF-8 nor Windows-1252"),
            (b"\xff\xfea\0b", 3, "cut off"),
            (b"\xff\xfe\x00\xd8a\0", 0, "half a letter"),
            (b"\xff\xfe\0\0a\0\0\0", 0, "UTF-32"),
        ];
        for (bytes, at, problem) in table {
            let error = decode(bytes).err().unwrap();
            assert_eq!(error.at, *at, "{bytes:?}");
            assert!(error.problem.contains(problem), "{bytes:?}: {}", error.problem);
        }
    }
}
