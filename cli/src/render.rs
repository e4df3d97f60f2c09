//! Errors as people read them: manifest problems with the lines they are on, everything else in a sentence
//! and a next step. All of it on stderr.

use std::fmt;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode, SourceSpan,
};
use pipe_engine::manifest::Problem;

use crate::error::CliError;
use crate::findings;

/// Writes an error and gives its exit code.
pub(crate) fn error(error: &CliError) -> ExitCode {
    match error {
        CliError::Manifest(manifest) => problems(&manifest.problems),
        CliError::Findings(found) => findings::lines(found).iter().for_each(|text| line(text)),
        other => {
            line(&format!("error: {}", with_causes(other)));
            if let Some(help) = other.help() {
                line(&format!("  help: {help}"));
            }
        }
    }
    error.code()
}

/// Writes one line on stderr.
pub fn line(text: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a value as JSON on stdout.
pub(crate) fn json(value: &impl serde::Serialize) {
    // What the views hold can be written.
    out(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// How many characters a line on a terminal has; `None` where nobody looks at one.
pub(crate) fn width(stream: &console::Term) -> Option<usize> {
    let (_, columns) = stream.is_term().then(|| stream.size_checked()).flatten()?;
    Some(usize::from(columns)).filter(|columns| *columns > 0)
}

/// A text that fits, cut where it is too long.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    console::truncate_str(text, width, "…").into_owned()
}

/// A line broken between words into lines that fit; those that go on are set in.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let indent = text.len() - text.trim_start_matches(' ').len();
    let mut lines = vec![" ".repeat(indent)];
    let mut is_first = true;
    for word in text.trim_start_matches(' ').split(' ') {
        let line = lines.last().map_or(0, |line| console::measure_text_width(line));
        if !is_first && line + 1 + console::measure_text_width(word) > width {
            lines.push(format!("{}{word}", " ".repeat(indent + 2)));
        } else if let Some(line) = lines.last_mut() {
            line.push_str(if is_first { "" } else { " " });
            line.push_str(word);
        }
        is_first = false;
    }
    lines.join("\n")
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Messages about manifests are broken into lines no wider than this.
const WIDEST: usize = 100;

/// Whether something could not be written on stdout.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Writes a text for people on stdout: on a terminal, lines that are too long go on below, tables at the end of a column.
pub(crate) fn out_fitted(text: &str) {
    match width(&console::Term::stdout()) {
        Some(width) => {
            let fits = |line: &str| console::measure_text_width(line) <= width;
            let lines =
                text.lines().map(|line| if fits(line) { line.to_owned() } else { broken(line, width) });
            out(&lines.collect::<Vec<_>>().join("\n"));
        }
        None => out(text),
    }
}

/// A line in lines that fit. That of a table, which has several blanks between columns, keeps them, so that what goes on
/// below is still aligned.
fn broken(line: &str, width: usize) -> String {
    if !line.trim_start().contains("  ") {
        return wrapped(line, width);
    }
    let characters: Vec<char> = line.chars().collect();
    let is_end =
        |at: &usize| characters.get(*at) == Some(&' ') && characters.get(at - 1).is_some_and(|c| *c != ' ');
    let Some(end) = (1..=width.min(characters.len().saturating_sub(1))).rev().find(is_end) else {
        return line.to_owned();
    };
    let part = |range: &[char]| range.iter().collect::<String>();
    format!("{}\n{}", part(&characters[..end]), wrapped(&part(&characters[end..]), width))
}

/// Rows as lines, each column as wide as its widest cell.
pub(crate) fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| console::measure_text_width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| console::pad_str(cell, *width, console::Alignment::Left, None));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

/// Writes a text on stdout. A reader that has gone away is no error; anything else is told once, and
/// `output_is_lost` from then on.
pub fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(end.as_bytes()))
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe && !OUTPUT_LOST.swap(true, Ordering::Relaxed) => {
            line(&format!("error: cannot write on stdout: {error}"));
        }
        _ => {}
    }
}

/// Whether a result did not reach stdout.
pub(crate) fn output_is_lost() -> bool {
    OUTPUT_LOST.load(Ordering::Relaxed)
}

/// Whether people who like colours are looking at stderr.
fn colourful() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// An error with those that led to it.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

fn problems(problems: &[Problem]) {
    let theme = if colourful() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let width = width(&console::Term::stderr()).unwrap_or(WIDEST).min(WIDEST);
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    for problem in problems {
        let mut text = String::new();
        match handler.render_report(&mut text, &Shown::new(problem)) {
            Ok(()) => line(text.trim_end_matches('\n')),
            Err(_) => line(&problem.to_string()),
        }
    }
    if problems.len() > 1 {
        line(&format!("{} problems; nothing was run", problems.len()));
    }
}

/// A problem with its source text, as miette wants it.
#[derive(Debug)]
struct Shown {
    message: String,
    help: Option<String>,
    code: &'static str,
    source: Option<NamedSource<String>>,
    span: Option<SourceSpan>,
}

impl Shown {
    fn new(problem: &Problem) -> Self {
        let message = match &problem.place {
            Some(place) => format!("{place}: {}", problem.message),
            None => problem.message.clone(),
        };
        let source = problem.location.as_ref().map(|location| {
            NamedSource::new(location.source.path.display().to_string(), location.source.text.clone())
        });
        // Tables span many lines; pointing at their first one is enough.
        let span = problem.location.as_ref().map(|location| {
            let text = location.source.text.get(location.span.clone()).unwrap_or_default();
            SourceSpan::from((location.span.start, text.lines().next().map_or(0, str::len)))
        });
        Self { message, help: problem.help.clone(), code: problem.code, source, span }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown {}

impl Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some("here".to_string()), span))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_go_on_below_at_the_end_of_a_column() {
        let table = ["name    first  second  third", "a         1.0     2.0    3.0"];
        let [header, row] = table.map(|line| broken(line, 24));
        assert_eq!(
            (header.as_str(), row.as_str()),
            ("name    first  second\n  third", "a         1.0     2.0\n    3.0")
        );
        assert_eq!(broken("one two three", 9), "one two\n  three");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrapped("  help: one two three", 13), "  help: one\n    two three");
        assert_eq!(wrapped("short", 80), "short");
        assert_eq!(wrapped("/a/path/that/is/longer", 5), "/a/path/that/is/longer");
    }
}
