//! Augmentation of report texts in training (SPEC section 3): synonyms and a removed run of words.
//!
//! Phrases are found on whole words without regard to case, the longest first, so that overlapping
//! phrases cannot corrupt each other. The module does not know of tokens.

use pipe_numerics::random::Generator;

/// Probability that a text is augmented at all.
const AUGMENTED: f64 = 0.5;
/// Probability of each of the two steps within an augmented text.
const STEP: f64 = 0.8;

/// Phrases that may stand for each other.
const GROUPS: [&[&str]; 14] = [
    &["mm", "millimeter"],
    &["attached", "adhered"],
    &["attachment", "adhesion"],
    &["presence", "existence", "appearance"],
    &["border", "margin", "boundary"],
    &["displays", "shows", "exhibits", "presents", "demonstrates", "reveals", "showcases"],
    &["greatest", "longest", "maximum"],
    &["shortest", "smallest", "minimum"],
    &["observed", "seen", "evident", "noted"],
    &["presence", "evidence", "signs"],
    &["absence", "no evidence", "no signs"],
    &["not attached", "unattached"],
    &["retraction", "indentation"],
    &["around", "in the vicinity of", "surrounding", "adjacent to", "near"],
];

/// What augmentation does to a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextAugmentation {
    /// Largest number of replaced phrases.
    pub most_replaced: usize,
    /// Share of the words that is removed, in [0, 1].
    pub removed_share: f64,
}

impl TextAugmentation {
    /// The text as it is, or a changed one.
    pub fn apply(&self, text: &str, generator: &mut Generator) -> String {
        let mut text = text.to_owned();
        if !generator.chance(AUGMENTED) {
            return text;
        }
        if generator.chance(STEP) {
            text = self.replace_synonyms(&text, generator);
        }
        if generator.chance(STEP) {
            text = self.remove_run(&text, generator);
        }
        text
    }

    fn replace_synonyms(&self, text: &str, generator: &mut Generator) -> String {
        let mut found = phrases(text);
        generator.shuffle(&mut found);
        found.truncate(self.most_replaced);
        // From the end, so that earlier positions stay valid.
        found.sort_unstable_by_key(|phrase| std::cmp::Reverse(phrase.start));
        let mut text = text.to_owned();
        for phrase in found {
            if let Some(synonym) = generator.choose(&synonyms(phrase.entry)) {
                text.replace_range(phrase.start..phrase.end, synonym);
            }
        }
        text
    }

    /// Removes ⌈share · n⌉ words in a row, but never the last word of a text.
    fn remove_run(&self, text: &str, generator: &mut Generator) -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        let wanted = (self.removed_share * words.len() as f64).ceil() as usize;
        let count = wanted.min(words.len().saturating_sub(1));
        let start = generator.below(words.len() - count + 1);
        let kept = words.iter().take(start).chain(words.iter().skip(start + count));
        kept.copied().collect::<Vec<_>>().join(" ")
    }
}

/// A phrase found in a text, as a range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Phrase {
    start: usize,
    end: usize,
    /// As it stands in the groups.
    entry: &'static str,
}

/// Every phrase of the text that does not overlap an earlier one.
fn phrases(text: &str) -> Vec<Phrase> {
    let words = words(text);
    let mut found = Vec::new();
    let mut rest = words.as_slice();
    while let Some((_, later)) = rest.split_first() {
        let longest = GROUPS.iter().copied().flatten().filter_map(|&entry| phrase_at(text, rest, entry));
        match longest.max_by_key(|(phrase, _)| phrase.end) {
            Some((phrase, count)) => {
                found.push(phrase);
                rest = rest.get(count..).unwrap_or_default();
            }
            None => rest = later,
        }
    }
    found
}

/// The phrase at the first of the words, and its number of words, if it stands there.
fn phrase_at(text: &str, words: &[(usize, usize)], entry: &'static str) -> Option<(Phrase, usize)> {
    let count = entry.split(' ').count();
    let words = words.get(..count)?;
    let matches = |(&(start, end), expected): (&(usize, usize), &str)| {
        text.get(start..end).is_some_and(|word| word.eq_ignore_ascii_case(expected))
    };
    let gap_is_blank = |pair: &[(usize, usize)]| match pair {
        [(_, end), (start, _)] => text.get(*end..*start).is_some_and(|gap| gap.trim().is_empty()),
        _ => false,
    };
    let whole = words.iter().zip(entry.split(' ')).all(matches) && words.windows(2).all(gap_is_blank);
    let (start, end) = (words.first()?.0, words.last()?.1);
    whole.then_some((Phrase { start, end, entry }, count))
}

/// Ranges of the words: runs of letters and digits, hyphens within them included.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices() {
        let within = character.is_alphanumeric() || (character == '-' && start.is_some());
        match (within, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|from| (from, text.len())));
    words
}

/// The other members of every group that a phrase belongs to.
fn synonyms(entry: &str) -> Vec<&'static str> {
    let groups = GROUPS.iter().filter(|group| group.contains(&entry));
    groups.copied().flatten().copied().filter(|&other| other != entry).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use pipe_numerics::random::RandomKey;

    const AUGMENTATION: TextAugmentation = TextAugmentation { most_replaced: 2, removed_share: 0.1 };

    fn found(text: &str) -> Vec<&'static str> {
        phrases(text).into_iter().map(|phrase| phrase.entry).collect()
    }

    #[test]
    fn phrases_are_whole_words_and_the_longest_wins() {
        let table: [(&str, &[&str]); 7] = [
            ("No evidence of it", &["no evidence"]),
            ("evidence, no  signs.", &["evidence", "no signs"]),
            ("is not attached; unattached", &["not attached", "unattached"]),
            ("no. evidence", &["evidence"]),
            ("10 mm, 5mm, mm-wide", &["mm"]),
            ("IN THE VICINITY OF", &["in the vicinity of"]),
            ("in the vicinity", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn synonyms_come_from_every_group_of_the_phrase() {
        assert_eq!(synonyms("presence"), ["existence", "appearance", "evidence", "signs"]);
        assert_eq!(synonyms("mm"), ["millimeter"]);
    }

    #[test]
    fn at_most_the_given_number_is_replaced() {
        let text = "seen near the border, noted around the margin";
        let mut generator = RandomKey::new(1, "test").generator();
        for _ in 0..50 {
            let changed = AUGMENTATION.replace_synonyms(text, &mut generator);
            let kept = found(&changed).iter().zip(found(text)).filter(|(a, b)| **a == *b).count();
            assert_eq!(found(&changed).len(), 6, "{changed}");
            assert_eq!(kept, 4, "{changed}");
        }
    }

    #[test]
    fn a_contiguous_run_of_words_is_removed() {
        let text: Vec<String> = (0..25).map(|i| format!("w{i}")).collect();
        let mut generator = RandomKey::new(2, "test").generator();
        let cut = AUGMENTATION.remove_run(&text.join(" "), &mut generator);
        let kept: Vec<&str> = cut.split(' ').collect();
        assert_eq!(kept.len(), 22);
        let gap = (0..22).find(|&i| kept[i] != text[i]).unwrap_or(22);
        assert!((gap..22).all(|i| kept[i] == text[i + 3]), "{cut}");
    }

    #[test]
    fn short_texts_survive() {
        let mut generator = RandomKey::new(3, "test").generator();
        let all = TextAugmentation { most_replaced: 9, removed_share: 1.0 };
        for text in ["", " ", "mm", "one two"] {
            for _ in 0..40 {
                let changed = all.apply(text, &mut generator);
                assert_eq!(changed.trim().is_empty(), text.trim().is_empty(), "{text:?} → {changed:?}");
            }
        }
    }

    #[test]
    fn half_of_the_texts_stay_as_they_are() {
        let text = "There is evidence of a nodule with a lobulated margin seen near the pleura.";
        let mut generator = RandomKey::new(4, "test").generator();
        let same = (0..4000).filter(|_| AUGMENTATION.apply(text, &mut generator) == text).count();
        // 0.5 untouched, and 0.5 · 0.2 · 0.2 with neither step.
        assert!(same.abs_diff(2080) < 120, "{same}");
    }
}
