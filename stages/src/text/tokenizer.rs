//! CLIP's byte-pair tokenizer (Radford et al. 2021): text to 77 ids out of 49,408.
//!
//! Byte-pair merging and its vocabulary come from `instant-clip-tokenizer`. Words are split here,
//! because that crate spells the two marker tokens `<start_of_text>` and `<end_of_text>` where the
//! original has `<|startoftext|>` and `<|endoftext|>`.

use regex::Regex;

use super::{Repair, TextError};

/// How many ids a text becomes: what CLIP's text tower has positions for.
pub const CONTEXT_LENGTH: usize = 77;

/// The id that starts every text.
pub const START_OF_TEXT: i64 = 49_406;

/// The id that ends every text; the text tower reads its output at this position.
pub const END_OF_TEXT: i64 = 49_407;

/// Markers, English contractions, runs of letters, single digits, runs of anything else.
const WORD: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";

/// The tokenizer with its vocabulary loaded. Building one takes tens of milliseconds; share it.
pub struct Tokenizer {
    repair: Repair,
    word: Regex,
    byte_pairs: instant_clip_tokenizer::Tokenizer,
}

impl Tokenizer {
    /// Loads the built-in vocabulary.
    pub fn new() -> Result<Self, TextError> {
        let word = Regex::new(WORD).map_err(|source| TextError::Pattern { purpose: "words", source })?;
        Ok(Self { repair: Repair::new()?, word, byte_pairs: instant_clip_tokenizer::Tokenizer::new() })
    }

    /// The ids of a text: start, the text's own, end, then zeros. A text that is too long loses
    /// its tail but keeps the end. Never fails: any text has ids.
    pub fn encode(&self, text: &str) -> [i64; CONTEXT_LENGTH] {
        let text = self.repair.repair(text).to_lowercase();
        let mut ids = vec![START_OF_TEXT];
        for word in self.word.find_iter(&text) {
            self.push_word(word.as_str(), &mut ids);
            if ids.len() >= CONTEXT_LENGTH {
                break;
            }
        }
        ids.truncate(CONTEXT_LENGTH - 1);
        ids.push(END_OF_TEXT);
        let mut padded = [0; CONTEXT_LENGTH];
        for (slot, id) in padded.iter_mut().zip(ids) {
            *slot = id;
        }
        padded
    }

    fn push_word(&self, word: &str, ids: &mut Vec<i64>) {
        match word {
            "<|startoftext|>" => ids.push(START_OF_TEXT),
            "<|endoftext|>" => ids.push(END_OF_TEXT),
            _ => {
                let mut tokens = Vec::new();
                self.byte_pairs.encode(word, &mut tokens);
                ids.extend(tokens.into_iter().map(|token| i64::from(token.to_u16())));
            }
        }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokenizer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_ids(text: &str) -> Vec<i64> {
        let ids = Tokenizer::new().expect("valid patterns").encode(text);
        assert_eq!(ids[0], START_OF_TEXT);
        let end = ids.iter().rposition(|id| *id == END_OF_TEXT).expect("an end token");
        assert!(ids[end + 1..].iter().all(|id| *id == 0), "{ids:?}");
        ids[1..end].to_vec()
    }

    #[test]
    fn markers_are_tokens_only_where_a_word_may_start() {
        assert_eq!(own_ids("a<|endoftext|>"), [320, END_OF_TEXT]);
        // A run of punctuation swallows the marker's bracket, as in the original.
        assert!(!own_ids("!<|endoftext|>").contains(&END_OF_TEXT));
        assert!(!own_ids("<start_of_text> <end_of_text>").contains(&START_OF_TEXT));
    }

    #[test]
    fn case_and_white_space_do_not_matter() {
        assert_eq!(own_ids("Solid  NODULE\n\t"), own_ids("solid nodule"));
    }

    #[test]
    fn the_end_survives_truncation_at_every_length() {
        let tokenizer = Tokenizer::new().expect("valid patterns");
        for words in 74..79 {
            let ids = tokenizer.encode(&"word ".repeat(words));
            let end = ids.iter().position(|id| *id == END_OF_TEXT).expect("an end token");
            assert_eq!(end, (words + 1).min(CONTEXT_LENGTH - 1));
        }
    }
}
