//! What a running program tells through the channel that it is given: how far it is, numbers, warnings.

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// How far the work is: `pipe: 12/40 aligning`.
    Progress {
        /// So much is done.
        done: u64,
        /// Of so much.
        total: u64,
        /// What is going on.
        note: String,
    },
    /// A number that tells of the result: `pipe: scalar auroc 0.81`.
    Scalar(String, f64),
    /// What whoever uses the result should know: `pipe: warning 3 scans have no spacing`.
    Warning(String),
}

impl Message {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(line: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "the program told {line:?}, expected `pipe: 12/40 text`, `pipe: scalar NAME NUMBER` or `pipe: warning TEXT`"
            )
        };
        let text = line.trim().strip_prefix("pipe:").ok_or_else(unknown)?.trim_start();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        match word {
            "warning" if !rest.is_empty() => Ok(Self::Warning(rest.to_string())),
            "scalar" => {
                let (name, number) = rest.rsplit_once(char::is_whitespace).ok_or_else(unknown)?;
                let number: f64 =
                    number.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(unknown)?;
                Ok(Self::Scalar(name.trim().to_string(), number))
            }
            _ => {
                let (done, total) = word.split_once('/').ok_or_else(unknown)?;
                match (done.parse(), total.parse()) {
                    (Ok(done), Ok(total)) => Ok(Self::Progress { done, total, note: rest.to_string() }),
                    _ => Err(unknown()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_others_are_told() {
        let progress =
            |done, total, note: &str| Ok(Message::Progress { done, total, note: note.to_string() });
        let table = [
            ("pipe: 12/40 aligning lungs", progress(12, 40, "aligning lungs")),
            ("pipe: 0/0", progress(0, 0, "")),
            ("pipe:3/4\r", progress(3, 4, "")),
            ("pipe: scalar auroc 0.81", Ok(Message::Scalar("auroc".to_string(), 0.81))),
            ("pipe: warning  two words ", Ok(Message::Warning("two words".to_string()))),
        ];
        for (line, expected) in table {
            assert_eq!(Message::parse(line), expected, "{line}");
        }
        for line in
            ["", "12/40", "pipe:", "pipe: scalar auroc", "pipe: scalar a nan", "pipe: 1/x", "pipe: warning"]
        {
            assert!(Message::parse(line).is_err_and(|told| told.contains(&format!("{line:?}"))), "{line}");
        }
    }
}
