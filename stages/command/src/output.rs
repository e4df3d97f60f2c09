//! What a program writes to its standard output and error, as lines, in bounded memory: bars that rewrite a line count once, a line
//! without end is cut, and of very much the beginning and the end are kept.

use std::collections::VecDeque;

/// So long may a line be; longer ones are cut into several.
const LONGEST: usize = 4096;
/// So many bytes of lines are passed on as they come.
const HEAD: usize = 8 << 20;
/// So many bytes of the last lines are kept of what comes after.
const TAIL: usize = 64 << 10;
/// So many of the last lines are told when a program fails.
const TOLD: usize = 20;

/// Splits bytes into lines.
#[derive(Default)]
pub struct Lines {
    held: Vec<u8>,
    /// Whether a carriage return came last: what follows is written over what is held, unless the line ends.
    is_rewritten: bool,
}

impl Lines {
    /// Takes bytes and gives each line that is complete.
    pub fn take(&mut self, bytes: &[u8], line: &mut dyn FnMut(&str)) {
        for byte in bytes {
            match byte {
                b'\n' => self.end(line),
                b'\r' => self.is_rewritten = true,
                _ => {
                    if std::mem::take(&mut self.is_rewritten) {
                        self.held.clear();
                    }
                    self.held.push(*byte);
                    if self.held.len() >= LONGEST {
                        self.end(line);
                    }
                }
            }
        }
    }

    /// Gives what is held as a line.
    pub fn finish(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.held.is_empty() {
            self.end(line);
        }
    }

    fn end(&mut self, line: &mut dyn FnMut(&str)) {
        self.is_rewritten = false;
        line(&plain(&String::from_utf8_lossy(&self.held)));
        self.held.clear();
    }
}

/// A text without the sequences that colour it on a terminal, and without other control characters but tabs.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' if characters.next_if_eq(&'[').is_some() => {
                // Up to the letter that ends the sequence.
                for next in characters.by_ref() {
                    if ('@'..='~').contains(&next) {
                        break;
                    }
                }
            }
            '\t' => out.push('\t'),
            other if other.is_control() => {}
            other => out.push(other),
        }
    }
    out
}

/// Passes lines on, and keeps the last ones.
#[derive(Default)]
pub struct Kept {
    passed: usize,
    /// The last lines of those that were not passed on.
    tail: VecDeque<String>,
    tail_bytes: usize,
    left_out: usize,
    last: VecDeque<String>,
}

impl Kept {
    /// Takes a line, which goes to `log` unless there were too many.
    pub fn take(&mut self, line: &str, log: &dyn Fn(&str)) {
        self.last.push_back(line.to_string());
        if self.last.len() > TOLD {
            self.last.pop_front();
        }
        if self.passed < HEAD {
            self.passed += line.len() + 1;
            return log(line);
        }
        self.tail_bytes += line.len() + 1;
        self.tail.push_back(line.to_string());
        while self.tail_bytes > TAIL {
            let Some(first) = self.tail.pop_front() else { break };
            self.tail_bytes -= first.len() + 1;
            self.left_out += first.len() + 1;
        }
    }

    /// Gives the last lines to `log`, with what was left out before them; and those that tell why the program failed.
    pub fn finish(self, log: &dyn Fn(&str)) -> Vec<String> {
        if self.left_out > 0 {
            log(&format!("… {} bytes are left out here …", self.left_out));
        }
        self.tail.iter().for_each(|line| log(line));
        self.last.into_iter().filter(|line| !line.trim().is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.take(chunk, &mut |line| found.push(line.to_string()));
        }
        lines.finish(&mut |line| found.push(line.to_string()));
        found
    }

    #[test]
    fn lines_are_whole_whatever_the_chunks() {
        assert_eq!(lines(&[b"one\ntw", b"o\n", b"three"]), ["one", "two", "three"]);
        assert_eq!(lines(&[b"a\r\nb\r\n"]), ["a", "b"]);
        assert_eq!(lines(&[b" 1%\r 2%\r", b" 3%\n"]), [" 3%"]);
        assert_eq!(lines(&[b" 1%\r"]), [" 1%"]);
        assert_eq!(lines(&[b"\x1b[31mred\x1b[0m\x07 \xff\n\n"]), ["red \u{fffd}", ""]);
        assert_eq!(lines(&[&[b'x'; 10_000]]).iter().map(String::len).collect::<Vec<_>>(), [4096, 4096, 1808]);
    }

    #[test]
    fn of_very_much_the_beginning_and_the_end_are_kept() {
        let log = RefCell::new(Vec::new());
        let add = |line: &str| log.borrow_mut().push(line.to_string());
        let mut kept = Kept::default();
        let line = "y".repeat(1023);
        for number in 0..20_000 {
            kept.take(&format!("{number}{line}")[..1023], &add);
        }
        kept.take("the end", &add);
        let told = kept.finish(&add);
        assert_eq!(told.len(), 20);
        assert_eq!(told.last().map(String::as_str), Some("the end"));
        let log = log.into_inner();
        assert!(log.len() < 8300, "{}", log.len());
        assert!(log.iter().any(|line| line.contains("bytes are left out here")), "what is missing is told");
        assert_eq!(log.last().map(String::as_str), Some("the end"));
    }
}
