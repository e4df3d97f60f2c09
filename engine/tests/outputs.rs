//! What a kind writes is what it declares, or it is told.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use pipe_engine::context::Context;
use pipe_engine::event::{Event, Status};
use pipe_engine::registry::Registry;
use pipe_engine::stage::{About, Kind, OutputSpec, Stage, StageError, Whole};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use support::{CODE, Project};

/// Writes to an output that it does not declare.
struct Careless;

#[derive(Deserialize, Serialize, JsonSchema)]
struct NoParams {}

impl Stage for Careless {
    type Params = NoParams;
    const ABOUT: About = About::new("careless", "writes too much", CODE)
        .outputs(&[OutputSpec::file("text", "text.txt", "a text")]);
}

impl Whole for Careless {
    fn run(&self, _: &NoParams, context: &mut Context<'_>) -> Result<(), StageError> {
        context.write("text", "text.txt", b"text")?;
        context.write("texts", "text.txt", b"text")
    }
}

#[test]
fn an_output_that_is_not_declared_is_refused() {
    let mut project = Project::new();
    project.registry = Registry::new(vec![Kind::whole(&Careless)], "").unwrap();
    project.write("pipeline.toml", "[stage.careless]\n");
    let outcome = project.run(&[]);
    assert_eq!(outcome.summary.status, Status::Failed);
    let told = outcome.events.iter().any(|event| match event {
        Event::StageFailed { error, .. } => {
            error.contains("wrote to an output `texts`, which it does not declare")
        }
        _ => false,
    });
    assert!(told, "{:?}", outcome.events);
}
