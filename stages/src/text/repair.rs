//! Undoes damage that text takes on its way through other programs: text decoded with the wrong
//! encoding ("mojibake"), HTML entities, terminal colours, ligatures, wide letters, curly quotes.
//!
//! The reference cleans with ftfy and then unescapes HTML twice. Here `plsfix`, a port of ftfy, does
//! the first step, with three differences put right around it:
//! - its pattern for terminal escapes never matches one (it looks for NUL, "33", "["), so that fix
//!   is switched off there and made here;
//! - it splits lines of over a million bytes without regard to characters, so it is told never to;
//! - it knows only entities that end with a semicolon, so the two rounds after it use `htmlize`,
//!   which follows the HTML standard as Python's `html.unescape` does.

use plsfix::TextFixerConfig;
use regex::Regex;

use super::TextError;

/// The repair steps, with their patterns compiled.
#[derive(Debug)]
pub struct Repair {
    terminal_escape: Regex,
}

impl Repair {
    /// Compiles the patterns.
    pub fn new() -> Result<Self, TextError> {
        let terminal_escape = Regex::new(r"\x1b\[[0-9;]*[a-zA-Z]")
            .map_err(|source| TextError::Pattern { purpose: "terminal escapes", source })?;
        Ok(Self { terminal_escape })
    }

    /// The repaired text; text without damage comes back as it was, outer white space aside.
    pub fn repair(&self, text: &str) -> String {
        let config = TextFixerConfig {
            remove_terminal_escapes: false,
            max_decode_length: i32::MAX,
            ..TextFixerConfig::default()
        };
        let plain = self.terminal_escape.replace_all(text, "");
        let fixed = plsfix::fix_text(&plain, Some(&config));
        let once = htmlize::unescape(fixed);
        htmlize::unescape(once).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_undone() {
        let cases = [
            ("", ""),
            ("plain text, 5 mm", "plain text, 5 mm"),
            ("schÃ¶n", "schön"),
            ("doesnâ€™t", "doesn't"),
            ("5 Â± 1 mm", "5 ± 1 mm"),
            ("a &lt; b &amp;amp; c", "a < b & c"),
            ("a &lt b", "a < b"),
            ("AT&T R&D", "AT&T R&D"),
            ("ﬁne ﬂow", "fine flow"),
            ("Ｓｏｌｉｄ", "Solid"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\0 33[1m", "33[1m"),
        ];
        let repair = Repair::new().expect("valid patterns");
        for (text, expected) in cases {
            assert_eq!(repair.repair(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_very_long_line_of_wide_characters_is_accepted() {
        let text = "日本".repeat(200_000);
        assert_eq!(Repair::new().expect("valid patterns").repair(&text), text);
    }
}
