//! What a language model is asked: a prompt with a place for a nodule's features.

use thiserror::Error;

use super::NoduleFeatures;

/// Where the features go.
const PLACE: &str = "{features}";

/// The prompt that is used when none is given.
const DEFAULT: &str = "You are a chest radiologist who reports one lung nodule of a low-dose CT scan. \
Write two paragraphs and nothing else. The first begins with \"Findings:\" and tells every feature below in full \
sentences, those that are absent too. The second begins with \"Impression:\" and repeats in at most 45 words the size, \
consistency, shape, margins, the features that are present, and the suspicion of cancer if it is given. \
Use only what is below; add no diagnosis, no advice and no headings, and use the word \"impression\" once.

{features}
";

/// Longest prompt that is taken, in bytes.
const MOST_BYTES: usize = 64 << 10;

/// Why a text is no prompt.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PromptError {
    /// It is not UTF-8.
    #[error("it is not UTF-8 text")]
    Encoding,
    /// It does not say where the features go.
    #[error("it has no {PLACE}, which stands for the nodule's features")]
    NoPlace,
    /// It is longer than any prompt.
    #[error("it is longer than {MOST_BYTES} bytes")]
    TooLong,
}

/// A text with a place for features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt(String);

impl Default for Prompt {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl Prompt {
    /// Takes the content of a file.
    ///
    /// # Errors
    /// [`PromptError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PromptError> {
        if bytes.len() > MOST_BYTES {
            return Err(PromptError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PromptError::Encoding)?;
        if !text.contains(PLACE) {
            return Err(PromptError::NoPlace);
        }
        Ok(Self(text.trim_start_matches('\u{feff}').to_owned()))
    }

    /// The prompt for a nodule: a line for each feature that was noted. Nothing else of the nodule is in it, and
    /// its patient's identifier least of all.
    pub fn for_nodule(&self, features: &NoduleFeatures) -> String {
        self.0.replace(PLACE, &features.listing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::{LONGEST_DIAMETER, SUSPICION};

    #[test]
    fn a_prompt_lists_what_was_noted() {
        let row = [
            (LONGEST_DIAMETER, "12.5"),
            ("necrosis", "Absent"),
            ("nodule_shape", "Round"),
            (SUSPICION, "Moderately suspicious"),
            ("pid", "100012"),
        ];
        let cell = |column: &str| row.iter().find(|(name, _)| *name == column).map(|(_, value)| *value);
        let features = NoduleFeatures::from_row(cell).expect("features");
        let prompt = Prompt::parse(b"Report:\n{features}\n").expect("prompt");
        assert_eq!(
            prompt.for_nodule(&features),
            "Report:\n- longest axial diameter: 12.5 mm\n- shape: Round\n- necrosis: Absent\n\
             - suspicion of lung cancer: Moderately suspicious\n"
        );
        assert!(Prompt::default().for_nodule(&features).contains("- necrosis: Absent\n"));
        let nothing = NoduleFeatures::from_row(|_| None).expect("features");
        assert_eq!(prompt.for_nodule(&nothing), "Report:\n- a nodule, of which nothing was noted\n");
    }

    #[test]
    fn what_is_no_prompt_is_refused() {
        assert_eq!(Prompt::parse(b"Report!"), Err(PromptError::NoPlace));
        assert_eq!(Prompt::parse(b"\xff{features}"), Err(PromptError::Encoding));
        assert_eq!(Prompt::parse(&vec![b' '; MOST_BYTES + 1]), Err(PromptError::TooLong));
    }
}
