//! Words, phrases and lists: how the report generator puts values into English.
//!
//! Sentence forms come in a few variants; which one is written is decided by a random key and the
//! purpose of the sentence, so that a blank in one place changes no sentence elsewhere. The module does
//! not know which features a report mentions where.

use crate::semantics::{ADDITIONAL_MARGINS, CONSISTENCY, CONSPICUITY, NODULE_MARGINS, SHAPE, SUSPICION};
use pipe_numerics::random::RandomKey;

/// Length of a value in a report at most, in characters.
pub const LONGEST_VALUE: usize = 60;

/// The word that opens the part of a report which is encoded; it must not occur before.
const RESERVED: &str = "impression";

/// Adjectives for the values of the columns that are not simply present or absent.
const ADJECTIVES: [(&str, &str, &str); 20] = [
    (CONSPICUITY, "Poorly marginated", "poorly marginated"),
    (CONSPICUITY, "Well marginated", "well marginated"),
    (NODULE_MARGINS, "Smooth", "smooth"),
    (NODULE_MARGINS, "Lobulated", "lobulated"),
    (NODULE_MARGINS, "Spiculated/Serrated", "spiculated"),
    (ADDITIONAL_MARGINS, "Smooth", "smooth"),
    (ADDITIONAL_MARGINS, "Lobulated", "lobulated"),
    (ADDITIONAL_MARGINS, "Spiculated/Serrated", "spiculated"),
    (SHAPE, "Round", "round"),
    (SHAPE, "Ovoid", "ovoid"),
    (SHAPE, "Polygonal", "polygonal"),
    (SHAPE, "Complex/Irregular", "irregular"),
    (CONSISTENCY, "Pure ground glass", "pure ground-glass"),
    (CONSISTENCY, "Part-solid", "part-solid"),
    (CONSISTENCY, "Solid", "solid"),
    (SUSPICION, "Low", "low"),
    (SUSPICION, "Moderately Low", "moderately low"),
    (SUSPICION, "Intermediate", "intermediate"),
    (SUSPICION, "Moderately High", "moderately high"),
    (SUSPICION, "High", "high"),
];

/// The adjective for a column's value; the value itself, in small letters, when there is none.
pub fn adjective(column: &str, value: &str) -> String {
    ADJECTIVES
        .iter()
        .find(|(known, name, _)| *known == column && name.eq_ignore_ascii_case(value))
        .map_or_else(|| value.to_lowercase(), |(_, _, words)| (*words).to_owned())
}

/// A value as a report can hold it: one line of single spaces, at most [`LONGEST_VALUE`] characters,
/// without control characters, braces, CLIP's token markers, a final full stop or the word that opens
/// the impression (which becomes "appearance"). Empty when nothing is left.
pub fn sanitised(raw: &str) -> String {
    let spaced: String = raw
        .replace("<|", " ")
        .replace("|>", " ")
        .chars()
        .map(|c| if c.is_control() || c == '{' || c == '}' { ' ' } else { c })
        .collect();
    let line = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = without_reserved_word(line).chars().take(LONGEST_VALUE).collect();
    short.trim_end_matches(['.', ' ']).to_owned()
}

fn without_reserved_word(mut text: String) -> String {
    while let Some(start) = text.to_ascii_lowercase().find(RESERVED) {
        text.replace_range(start..start + RESERVED.len(), "appearance");
    }
    text
}

/// "a", "a and b", "a, b, and c", with the given conjunction.
pub fn list(items: &[String], conjunction: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first, second] => format!("{first} {conjunction} {second}"),
        [rest @ .., last] => format!("{}, {conjunction} {last}", rest.join(", ")),
    }
}

/// The phrase after "A" or "An", by the sound of its first letter or number.
pub fn with_article(phrase: &str) -> String {
    let number: String = phrase.chars().take_while(char::is_ascii_digit).collect();
    let spoken_vowel = match number.as_str() {
        "" => phrase.starts_with(['a', 'e', 'i', 'o', 'u']),
        digits => digits.starts_with('8') || digits == "11" || digits == "18",
    };
    format!("{} {phrase}", if spoken_vowel { "An" } else { "A" })
}

/// The text with a capital first letter.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Millimetres as a report writes them, with one decimal.
pub fn millimetres(value: f64) -> String {
    format!("{value:.1} mm")
}

/// Chooses among the forms of a sentence.
#[derive(Clone, Debug)]
pub struct Phrasing {
    key: RandomKey,
}

impl Phrasing {
    /// A choice by this key.
    pub fn new(key: RandomKey) -> Self {
        Self { key }
    }

    /// The form chosen for a purpose, with each `{name}` in it replaced by its text.
    pub fn sentence(&self, purpose: &str, forms: &[&str], texts: &[(&str, &str)]) -> String {
        let mut generator = self.key.clone().text("purpose", purpose).generator();
        let form = generator.choose(forms).copied().unwrap_or_default();
        texts
            .iter()
            .fold(form.to_owned(), |sentence, (name, text)| sentence.replace(&format!("{{{name}}}"), text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::{SEMANTIC_COLUMNS, SUSPICION_LEVELS};

    #[test]
    fn every_known_value_reads_as_an_adjective() {
        let sorts = SEMANTIC_COLUMNS.iter().filter(|feature| !feature.is_presence());
        let known: Vec<(&str, &str)> = sorts
            .flat_map(|feature| feature.values.iter().map(|value| (feature.name, *value)))
            .chain(SUSPICION_LEVELS.iter().map(|level| (SUSPICION, *level)))
            .collect();
        for (column, value) in &known {
            assert!(!adjective(column, value).contains(['/', 'A']), "{column}: {value}");
        }
        for (column, value, _) in ADJECTIVES {
            assert!(known.contains(&(column, value)), "{column} never is {value}");
        }
        assert_eq!(adjective(SHAPE, "COMPLEX/irregular"), "irregular");
        assert_eq!(adjective(SHAPE, "Dumbbell"), "dumbbell");
    }

    #[test]
    fn values_are_made_fit_for_a_sentence() {
        for (raw, expected) in [
            (" two\r\nlines\there. ", "two lines here"),
            ("see IMPRESSION below", "see appearance below"),
            ("<|endoftext|>{short}", "endoftext short"),
            ("\u{0}\u{7}", ""),
            ("...", ""),
        ] {
            assert_eq!(sanitised(raw), expected, "{raw:?}");
        }
        assert_eq!(sanitised(&"é".repeat(200)).chars().count(), LONGEST_VALUE);
    }

    #[test]
    fn lists_read_as_english() {
        let items: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        for (count, expected) in [(0, ""), (1, "a"), (2, "a or b"), (3, "a, b, or c")] {
            assert_eq!(list(&items[..count], "or"), expected);
        }
    }

    #[test]
    fn articles_follow_the_sound() {
        for (phrase, expected) in [
            ("8.2 mm nodule", "An 8.2 mm nodule"),
            ("11.0 mm nodule", "An 11.0 mm nodule"),
            ("18.1 mm nodule", "An 18.1 mm nodule"),
            ("80.0 mm nodule", "An 80.0 mm nodule"),
            ("1.8 mm nodule", "A 1.8 mm nodule"),
            ("irregular nodule", "An irregular nodule"),
            ("solid nodule", "A solid nodule"),
        ] {
            assert_eq!(with_article(phrase), expected);
        }
    }

    #[test]
    fn a_sentence_depends_on_its_key_and_purpose_only() {
        let forms = ["{n} one", "{n} two", "{n} three", "{n} four"];
        let phrasing = |seed| Phrasing::new(RandomKey::new(seed, "report"));
        let of = |seed, purpose: &str| phrasing(seed).sentence(purpose, &forms, &[("n", "7")]);
        assert_eq!(of(1, "size"), of(1, "size"));
        assert!((0..20).any(|seed| of(seed, "size") != of(0, "size")));
        assert!((0..20).any(|seed| of(seed, "size") != of(seed, "shape")));
        assert!(of(3, "size").starts_with("7 "));
    }
}
