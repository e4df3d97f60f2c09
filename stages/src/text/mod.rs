//! From a radiology report to the token ids that the CLIP text tower reads (SPEC section 3).
//!
//! [`impression`] picks the part of a report that is encoded, [`Repair`] undoes damage done to the
//! text on its way, and [`Tokenizer`] turns it into ids. Nothing here knows of models, files or
//! nodules.

mod repair;
mod tokenizer;

pub use repair::Repair;
pub use tokenizer::{CONTEXT_LENGTH, END_OF_TEXT, START_OF_TEXT, Tokenizer};

/// What can go wrong when the text tools are built; using them cannot fail.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A pattern that is part of this module is refused by the regular expression engine.
    #[error("cannot compile the pattern of {purpose}")]
    Pattern {
        /// What the pattern is for.
        purpose: &'static str,
        /// The engine's complaint.
        source: regex::Error,
    },
}

/// The word at which the encoded part of a report begins.
const IMPRESSION: &[u8] = b"impression";

/// The part of a report that is encoded: from the first "impression" (in any case) to the end,
/// line breaks removed; the whole report, unchanged, if it has no such word.
///
/// Published models were trained with line breaks removed rather than replaced by a space, so two
/// words with only a line break between them are joined here too.
pub fn impression(report: &str) -> String {
    let start = report
        .as_bytes()
        .windows(IMPRESSION.len())
        .position(|window| window.eq_ignore_ascii_case(IMPRESSION));
    match start.and_then(|start| report.get(start..)) {
        Some(part) => part.replace(['\n', '\r'], ""),
        None => report.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_cut_at_its_first_impression() {
        let cases = [
            ("Findings: round.\nImpression: benign.\n", "Impression: benign."),
            ("IMPRESSION one. Impression two.", "IMPRESSION one. Impression two."),
            ("no such word\nhere", "no such word\nhere"),
            ("5 µm — iMpReSsIoN:\r\na\nb", "iMpReSsIoN:ab"),
            ("Impressions count", "Impressions count"),
            ("impressio", "impressio"),
            ("", ""),
        ];
        for (report, expected) in cases {
            assert_eq!(impression(report), expected, "{report:?}");
        }
    }
}
