//! Patients and scans that two sets of cases share, whatever they are called.
//!
//! Patients are compared by what is left of an identifier on its way through spreadsheets and scripts, which lose
//! leading zeros, add `.0`, write exponents and change case. Scans are compared by content: by their signatures, and
//! where those are not known, by the planes that were cut.

use std::collections::{BTreeMap, HashMap, HashSet};

use unicode_normalization::UnicodeNormalization as _;

/// A patient's identifier without what spreadsheets and scripts change of it.
pub(crate) fn patient_key(pid: &str) -> String {
    // Excel's form of a text that it must leave alone.
    let pid = pid.strip_prefix("=\"").and_then(|pid| pid.strip_suffix('"')).unwrap_or(pid);
    // Letters in one form: composed, of usual width.
    let plain: String =
        pid.trim_start_matches('\'').nfkc().filter(|c| is_seen(*c)).map(as_keyboards_write).collect();
    let plain = plain.to_lowercase();
    whole_number(&plain).unwrap_or_else(|| without_leading_zeros(&plain))
}

/// Blanks and characters without width are seen by nobody.
fn is_seen(character: char) -> bool {
    !character.is_whitespace()
        && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
}

/// Hyphens of printers as those of keyboards.
fn as_keyboards_write(character: char) -> char {
    match character {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        _ => character,
    }
}

/// The digits of a whole number, such as `200000` of `200000.0` and of `2E+05`.
fn whole_number(text: &str) -> Option<String> {
    let text = text.replacen(',', ".", 1);
    let is_number = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || ".e+".contains(c));
    if !is_number {
        return None;
    }
    if let Some((digits, zeros)) = text.split_once('.')
        && !text.contains('e')
    {
        return zeros.bytes().all(|byte| byte == b'0').then(|| trimmed(digits));
    }
    if text.contains('e') {
        let number: f64 = text.parse().ok()?;
        // Above this, neighbouring whole numbers are one double.
        let is_whole = number.fract() == 0.0 && number < 9e15;
        return is_whole.then(|| format!("{}", number as u64));
    }
    Some(trimmed(&text))
}

fn trimmed(digits: &str) -> String {
    let rest = digits.trim_start_matches('0');
    if rest.is_empty() { "0".to_owned() } else { rest.to_owned() }
}

/// `nlst-000123` as `nlst-123`.
fn without_leading_zeros(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, digits) = rest.split_at(start);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        plain.push_str(before);
        plain.push_str(&trimmed(&digits[..end]));
        rest = &digits[end..];
    }
    plain.push_str(rest);
    plain
}

/// A patient of the second set who is one of the first, with the identifier that each has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedPatient {
    pub(crate) first: String,
    pub(crate) second: String,
}

impl SharedPatient {
    /// The second's identifier, with the first's where that is written otherwise.
    pub(crate) fn shown(&self, there: &str) -> String {
        match self.first == self.second {
            true => self.second.clone(),
            false => format!("{}, which is {} {there},", self.second, self.first),
        }
    }
}

/// The patients of the second set who are in the first, each once, in the order of the second.
pub(crate) fn shared_patients<'a>(
    first: impl IntoIterator<Item = &'a str>,
    second: impl IntoIterator<Item = &'a str>,
) -> Vec<SharedPatient> {
    let mut known: HashMap<String, Vec<&str>> = HashMap::new();
    for pid in first {
        known.entry(patient_key(pid)).or_default().push(pid);
    }
    let mut seen = HashSet::new();
    second
        .into_iter()
        .filter(|pid| seen.insert(*pid))
        .filter_map(|pid| {
            let alike = known.get(&patient_key(pid))?;
            let same = alike.iter().find(|known| **known == pid).or(alike.first())?;
            Some(SharedPatient { first: (*same).to_owned(), second: pid.to_owned() })
        })
        .collect()
}

/// Identifiers of one set that differ and seem to be of one patient, as pairs.
pub(crate) fn alike_within<'a>(pids: impl IntoIterator<Item = &'a str>) -> Vec<SharedPatient> {
    let mut first: BTreeMap<String, &str> = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for pid in pids.into_iter().filter(|pid| seen.insert(*pid)) {
        match first.get(&patient_key(pid)) {
            None => {
                first.insert(patient_key(pid), pid);
            }
            Some(known) => pairs.push(SharedPatient { first: (*known).to_owned(), second: pid.to_owned() }),
        }
    }
    pairs
}

/// What a nodule's images are known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageRecord {
    /// Of the scan; blank where it is not known.
    pub(crate) scan: String,
    /// Of the nodule's planes.
    pub(crate) planes: String,
}

/// The positions in the second set whose scan or planes are in the first.
pub(crate) fn shared_images(first: &[ImageRecord], second: &[ImageRecord]) -> Vec<usize> {
    let scans: HashSet<&str> =
        first.iter().map(|one| one.scan.as_str()).filter(|scan| !scan.is_empty()).collect();
    let planes: HashSet<&str> = first.iter().map(|one| one.planes.as_str()).collect();
    let is_shared =
        |one: &ImageRecord| scans.contains(one.scan.as_str()) || planes.contains(one.planes.as_str());
    (0..second.len()).filter(|position| second.get(*position).is_some_and(is_shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spreadsheets_make_of_an_identifier_is_the_same_patient() {
        for (a, b) in [
            ("00001", "1"),
            ("1", "1.0"),
            ("100000", "1E+05"),
            ("123000", "1,23E+05"),
            ("'0042", "42"),
            ("LUNG-0001", "lung-1"),
            ("p 7", "P7"),
            ("000", "0"),
            ("A01B002", "a1b2"),
            ("M\u{fc}ller", "Mu\u{308}ller"),
            ("\u{ff30}\u{ff11}", "p1"),
            ("a\u{2011}1", "a-1"),
        ] {
            assert_eq!(patient_key(a), patient_key(b), "{a} {b}");
        }
        for (a, b) in
            [("1", "10"), ("1.5", "1"), ("a1", "1"), ("1.2.840", "1.2.84"), ("1e3x", "1000x"), ("1.50", "15")]
        {
            assert_ne!(patient_key(a), patient_key(b), "{a} {b}");
        }
    }

    #[test]
    fn shared_patients_are_told_with_both_identifiers() {
        let shared = shared_patients(["00001", "2", "1"], ["3", "1.0", "1", "1", "2"]);
        let told: Vec<String> = shared.iter().map(|one| one.shown("there")).collect();
        assert_eq!(told, ["1.0, which is 00001 there,", "1", "2"]);
        assert_eq!(
            alike_within(["1", "01", "2", "1"]),
            [SharedPatient { first: "1".into(), second: "01".into() }]
        );
    }

    #[test]
    fn scans_are_shared_by_content() {
        let image = |scan: &str, planes: &str| ImageRecord { scan: scan.into(), planes: planes.into() };
        let trained = [image("s1", "a"), image("", "b")];
        let tested = [image("s2", "c"), image("s1", "d"), image("", "b"), image("", "e")];
        assert_eq!(shared_images(&trained, &tested), [1, 2]);
    }
}
