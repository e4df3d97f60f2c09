//! `pipe graph`

use std::collections::BTreeSet;
use std::process::ExitCode;

use pipe_engine::manifest::{InputSource, Pipeline};
use pipe_engine::registry::Registry;

use crate::arguments::{GraphArguments, GraphFormat};
use crate::error::CliError;
use crate::{render, session};

pub(crate) fn graph(arguments: &GraphArguments, registry: &Registry) -> Result<ExitCode, CliError> {
    let pipeline = session::pipeline(&arguments.manifest, registry)?;
    let graph = Graph::of(&pipeline);
    render::out(&match arguments.format {
        GraphFormat::Mermaid => graph.mermaid(),
        GraphFormat::Dot => graph.dot(),
    });
    Ok(ExitCode::SUCCESS)
}

/// Stages in running order and the inputs between them.
struct Graph<'a> {
    stages: Vec<(&'a str, usize)>,
    edges: BTreeSet<(&'a str, &'a str, &'a str)>,
}

impl<'a> Graph<'a> {
    fn of(pipeline: &'a Pipeline) -> Self {
        let mut stages: Vec<(&str, usize)> = Vec::new();
        let mut edges = BTreeSet::new();
        for instance in &pipeline.instances {
            match stages.iter_mut().find(|(name, _)| *name == instance.stage) {
                Some((_, count)) => *count += 1,
                None => stages.push((&instance.stage, 1)),
            }
            for binding in instance.inputs.iter() {
                for source in binding.sources.iter() {
                    if let InputSource::Output { instance: maker, .. } = source
                        && let Some(maker) = pipeline.instances.get(*maker)
                    {
                        edges.insert((maker.stage.as_str(), instance.stage.as_str(), binding.spec.name));
                    }
                }
            }
        }
        Self { stages, edges }
    }

    fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let id = |name: &str| name.replace('-', "_");
        for (name, count) in &self.stages {
            let label = if *count > 1 { format!("{name} ×{count}") } else { (*name).to_string() };
            text.push_str(&format!("    {}[\"{label}\"]\n", id(name)));
        }
        for (from, to, input) in &self.edges {
            text.push_str(&format!("    {} -->|{input}| {}\n", id(from), id(to)));
        }
        text
    }

    fn dot(&self) -> String {
        let mut text = String::from("digraph pipeline {\n    rankdir=LR;\n    node [shape=box];\n");
        for (name, count) in &self.stages {
            let label = if *count > 1 { format!("{name} ×{count}") } else { (*name).to_string() };
            text.push_str(&format!("    \"{name}\" [label=\"{label}\"];\n"));
        }
        for (from, to, input) in &self.edges {
            text.push_str(&format!("    \"{from}\" -> \"{to}\" [label=\"{input}\"];\n"));
        }
        text.push_str("}\n");
        text
    }
}
