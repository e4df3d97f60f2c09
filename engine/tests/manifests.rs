//! Any text as a manifest: a pipeline or problems with places, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use proptest::prelude::*;
use support::Project;

/// Pieces of manifests, right and wrong.
const PIECES: &[&str] = &[
    "[pipeline]\n",
    "[stage.repeat]\n",
    "[stage.case]\n",
    "[stage.x.params]\n",
    "[vars]\n",
    "[profile.p]\n",
    "[sweep]\n",
    "uses = \"join\"\n",
    "inputs = { table = \"rows.csv\" }\n",
    "inputs = { texts = \"@repeat\" }\n",
    "inputs = { texts = \"@x.y\" }\n",
    "inputs.texts = \"${v}\"\n",
    "v = \"${v}\"\n",
    "v = \"@case\"\n",
    "publish = \"\"\n",
    "foreach = { fold = [0, 1] }\n",
    "foreach = { fold = [] }\n",
    "resources = { gpu = -1 }\n",
    "separator = 3\n",
    "separator = \"é\"\n",
    "params = [1]\n",
    "seed = 99999999999\n",
    "name = \"\"\n",
    "root = \"..\"\n",
    "=",
    "\"",
    "\u{1F9EA}",
    "[[stage]]\n",
    "#\n",
    "a.b.c = 1\n",
    "@",
    "{",
    "\0",
    "\"stage.repeat.inputs.table\" = 1\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_text_is_a_pipeline_or_has_problems(pieces in proptest::collection::vec(0..PIECES.len(), 0..14)) {
        let project = Project::with_rows();
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        project.write("pipeline.toml", &text);
        if let Err(error) = project.load(&[]) {
            prop_assert!(!error.problems.is_empty());
            for problem in error.problems {
                prop_assert!(!problem.message.is_empty());
                if let Some(location) = problem.location {
                    prop_assert!(location.span.end <= location.source.text.len());
                    location.source.line_and_column(location.span.start);
                }
            }
        }
    }
}
