//! Arguments with placeholders: `{script}`, `{out.points}`, `{params.threshold}`, `{row.pid}`.
//!
//! What is put in stays within its argument, whatever characters it has: nothing is split, and no shell reads it. `{{` and `}}` are
//! braces; `${name}`, and braces around anything but a name, as in `{print $1}`, are left as they are.

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// The name of a placeholder.
    Placeholder(String),
}

impl Template {
    /// Reads a text.
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        // How many braces stand for themselves and are still open.
        let mut open = 0_usize;
        while let Some(first) = rest.chars().next() {
            let (taken, placeholder) = match rest {
                _ if rest.starts_with("{{") => {
                    open += 1;
                    plain.push(first);
                    (2, None)
                }
                _ if rest.starts_with("}}") && open > 0 => {
                    open -= 1;
                    plain.push(first);
                    (2, None)
                }
                // A variable of the shell's own: `${name}`.
                _ => match placeholder(rest).filter(|_| !plain.ends_with('$')) {
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

    /// Its pieces in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
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
            ("{\"a\": {\"b\": 1}}", "{\"a\": {\"b\": 1}}"),
            ("{if (x) {print $2}}", "{if (x) {print $2}}"),
            ("{{if (x) {{print {a}}}}}", "{if (x) {print <a>}}"),
            ("${a} $ {a}", "${a} $ <a>"),
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
}
