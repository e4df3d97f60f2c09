//! `pipe runs`

use std::process::ExitCode;

use pipe_engine::view::{RunInList, RunsView};

use crate::arguments::RunsArguments;
use crate::error::CliError;
use crate::{render, session, timing};

/// The heads of the columns.
const HEADS: [&str; 6] = ["run", "state", "begun (UTC)", "took", "pipeline", "result and changes"];

pub(crate) fn runs(arguments: &RunsArguments) -> Result<ExitCode, CliError> {
    let store = session::nearest_store(&arguments.cache)?;
    let view = RunsView::of(&store)?;
    if arguments.output.json {
        render::json(&view);
    } else if view.runs.is_empty() {
        render::line("no runs yet");
    } else {
        let rows: Vec<Row> = view.runs.into_iter().map(Row::of).collect();
        render::out(&text(&rows, render::width(&console::Term::stdout())));
    }
    Ok(ExitCode::SUCCESS)
}

/// A run in the list.
enum Row {
    /// Its columns.
    Told([String; 6]),
    /// A record that cannot be told.
    Unreadable { id: String, error: String },
}

impl Row {
    fn of(run: RunInList) -> Self {
        match run {
            RunInList::Unreadable { run, error } => Self::Unreadable { id: run, error },
            RunInList::Told { run, state, started, seconds, pipeline, headline, profiles, set } => {
                let profiles = profiles.iter().map(|profile| format!("profile {profile}"));
                let rest: Vec<String> = headline.into_iter().chain(profiles).chain(set).collect();
                Self::Told([
                    run,
                    state.to_owned(),
                    timing::to_the_minute(&started),
                    seconds.map_or_else(|| "?".to_owned(), timing::duration),
                    pipeline,
                    rest.join("  "),
                ])
            }
        }
    }
}

/// A line for each run where all of them fit, or nobody measures; else two, and the second is cut.
fn text(rows: &[Row], width: Option<usize>) -> String {
    let told: Vec<&[String; 6]> = rows
        .iter()
        .filter_map(|row| if let Row::Told(columns) = row { Some(columns) } else { None })
        .collect();
    let heads = HEADS.map(str::to_owned);
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let lengths = told.iter().copied().chain([&heads]).map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    });
    let whole = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
    let is_narrow = width.is_some_and(|width| whole > width);
    let is_terminal = width.is_some();
    let width = width.unwrap_or(usize::MAX);
    let line = |columns: &[String], widths: &[usize]| {
        let cells: Vec<String> =
            columns.iter().zip(widths).map(|(text, &width)| format!("{text:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    // A program that reads the list counts on a run in its first line.
    let has_heads = is_terminal && !is_narrow;
    let mut lines = if has_heads { vec![line(&heads, &widths)] } else { Vec::new() };
    for row in rows {
        match row {
            Row::Unreadable { id, error } => lines.push(format!("{id}  {error}")),
            Row::Told(columns) if !is_narrow => lines.push(line(columns, &widths)),
            Row::Told([run, state, begun, took, pipeline, rest]) => {
                lines.push(render::fitted(&format!("{run}  {state:11}  {took}"), width));
                let second = format!("    {begun} UTC  {pipeline}  {rest}");
                lines.push(render::fitted(second.trim_end(), width));
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |state: &str, took: &str, rest: &str| {
            let id = "20261128-084326-123-abc";
            Row::Told([id, state, "2026-11-28 08:43", took, "phantom", rest].map(str::to_owned))
        };
        vec![
            row("running", "1 min 12 s", ""),
            row("ok", "2 min 31 s", "AUROC 0.860 [0.792, 0.920]  train.lr=3e-4  pipeline.seed=2"),
        ]
    }

    #[test]
    fn the_list_fits_the_terminal() {
        for width in [20, 60, 80, 140] {
            let text = text(&rows(), Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
        let narrow = text(&rows(), Some(60));
        let expected = "20261128-084326-123-abc  running      1 min 12 s\n    2026-11-28 08:43 UTC  phantom\n\
                        20261128-084326-123-abc  ok           2 min 31 s\n    2026-11-28 08:43 UTC  phantom  AUROC 0.860 [0.792, 0.92…";
        assert_eq!(narrow, expected);
        let wide = text(&rows(), Some(160));
        assert!(wide.starts_with("run  ") && wide.contains("  begun (UTC)  "), "{wide}");
        assert_eq!(wide.lines().count(), 3);
        assert!(!text(&rows(), None).contains("begun (UTC)"));
    }
}
