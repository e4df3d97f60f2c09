//! Arguments with placeholders: `{script}`, `{out.points}`, `{params.threshold}`, `{row.pid}`.
//!
//! What is put in stays within its argument, whatever characters it has: nothing is split, and no shell reads it. `{{` and `}}` are
//! braces; braces around anything but a name, as in `{print $1}`, are left as they are.

use std::collections::BTreeSet;

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(String),
}

impl Template {
    /// Reads a text.
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (taken, placeholder) = match rest {
                _ if rest.starts_with("{{") || rest.starts_with("}}") => {
                    plain.push(first);
                    (2, None)
                }
                _ => match placeholder(rest) {
                    Some(name) => (name.len() + 2, Some(name.to_string())),
                    None => {
                        plain.push(first);
                        (first.len_utf8(), None)
                    }
                },
            };
            if let Some(name) = placeholder {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Placeholder(name));
            }
            rest = &rest[taken..];
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Self(pieces)
    }

    /// The names of its placeholders.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The name of the placeholder that it is, if it is nothing else.
    pub fn lone(&self) -> Option<&str> {
        match &*self.0 {
            [Piece::Placeholder(name)] => Some(name),
            _ => None,
        }
    }

    /// The text with values put in.
    pub fn filled<E>(&self, value: &mut dyn FnMut(&str) -> Result<String, E>) -> Result<String, E> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Placeholder(name) => text.push_str(&value(name)?),
            }
        }
        Ok(text)
    }

    /// A shell's text in which the placeholders are its arguments `"$1"`, `"$2"` …, so that no value is read as part of it; and the
    /// names of these, in order.
    pub fn for_shell(&self) -> (String, Vec<String>) {
        let mut names: Vec<String> = Vec::new();
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Placeholder(name) => {
                    let known = names.iter().position(|known| known == name);
                    let position = known.unwrap_or_else(|| {
                        names.push(name.clone());
                        names.len() - 1
                    });
                    text.push_str(&format!("\"${{{}}}\"", position + 1));
                }
            }
        }
        (text, names)
    }

    /// The placeholders that stand between single quotes, where a shell puts nothing in; as far as quotes can be told.
    pub fn within_single_quotes(&self) -> BTreeSet<&str> {
        let (mut single, mut double, mut escaped) = (false, false, false);
        let mut within = BTreeSet::new();
        for piece in &self.0 {
            match piece {
                Piece::Placeholder(name) if single => drop(within.insert(name.as_str())),
                Piece::Placeholder(_) => escaped = false,
                Piece::Text(plain) => {
                    for character in plain.chars() {
                        match character {
                            _ if escaped => escaped = false,
                            '\\' if !single => escaped = true,
                            '\'' if !double => single = !single,
                            '"' if !single => double = !double,
                            _ => {}
                        }
                    }
                }
            }
        }
        within
    }
}

/// The name of the placeholder that a text begins with.
fn placeholder(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('{')?;
    let name = &inner[..inner.find('}')?];
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
    let begins = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    // A column may be called as its owner likes.
    let is_column =
        name.strip_prefix("row.").is_some_and(|column| !column.is_empty() && !column.contains('{'));
    (begins && (name.chars().all(plain) || is_column)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let value = &mut |name: &str| Ok::<_, ()>(format!("<{name}>"));
        Template::parse(text).filled(value).unwrap_or_default()
    }

    #[test]
    fn placeholders_are_names_in_braces_and_nothing_else_is() {
        let table = [
            ("{script}", "<script>"),
            ("--out={out.points}", "--out=<out.points>"),
            ("{a}{b}", "<a><b>"),
            ("{row.Nodule size (mm)}", "<row.Nodule size (mm)>"),
            ("{ünïcode}", "<ünïcode>"),
            ("{{a}}", "{a}"),
            ("{print $1}", "{print $1}"),
            ("{}", "{}"),
            ("{1}", "{1}"),
            ("{\"a\": 1}", "{\"a\": 1}"),
            ("a { b } c", "a { b } c"),
            ("{open", "{open"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn a_shell_gets_values_as_arguments() {
        let template = Template::parse("cat {a} \"x {b}\" {a} # '{c}' it\\'s {d}");
        let (text, names) = template.for_shell();
        assert_eq!(text, "cat \"${1}\" \"x \"${2}\"\" \"${1}\" # '\"${3}\"' it\\'s \"${4}\"");
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(template.within_single_quotes().into_iter().collect::<Vec<_>>(), ["c"]);
    }
}
