//! What `--json` prints of a run that could not begin, or not go on: what programs read must say why, too.

use pipe_engine::manifest::Problem;
use pipe_engine::stage::Severity;
use pipe_engine::view::VERSION;
use serde_json::{Value, json};

use crate::error::{CliError, exit};
use crate::render;

/// The answer of a command that cannot do what it was asked.
pub(crate) fn object(error: &CliError) -> Value {
    json!({ "version": VERSION, "problems": problems(error) })
}

/// The events: the problems, and that nothing more follows.
pub(crate) fn events(error: &CliError) -> [Value; 2] {
    let status = if error.exit_code() == exit::REFUSED { "refused" } else { "failed" };
    let finished = json!({
        "event": "finished", "run": null, "status": status, "executed": 0, "cached": 0, "failed": 0,
        "items_executed": 0, "items_cached": 0, "seconds": 0.0,
    });
    [json!({ "event": "refused", "problems": problems(error) }), finished]
}

fn problems(error: &CliError) -> Vec<Value> {
    match error {
        CliError::Manifest(manifest) => manifest.problems.iter().map(problem).collect(),
        CliError::Findings(findings) => findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(|finding| {
                let (place, message) = (finding.place.to_string(), &finding.message);
                json!({ "place": place, "message": message, "help": finding.advice, "code": "finding" })
            })
            .collect(),
        other => {
            let message = render::with_causes(other);
            vec![json!({ "place": null, "message": message, "help": other.help(), "code": "error" })]
        }
    }
}

fn problem(problem: &Problem) -> Value {
    // The row of a table is nearer than the manifest's line that names the table.
    let in_manifest = problem.location.as_ref().map(|location| {
        let before = location.source.text.get(..location.span.start).unwrap_or_default();
        format!("{}:{}", location.source.path.display(), before.matches('\n').count() + 1)
    });
    json!({
        "place": problem.place.as_ref().map(ToString::to_string).or(in_manifest),
        "message": problem.message,
        "help": problem.help,
        "code": problem.code,
    })
}
