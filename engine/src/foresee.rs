//! Looking ahead through a pipeline before any work: each kind sees what it is given and what is foreseen of its inputs.
//!
//! Nothing is computed and nothing is kept. Whatever a kind reads on the way, it reads of files outside the store.

use serde_json::Value;

use crate::manifest::{InputBinding, InputSource, Instance, Pipeline};
use crate::oddities;
use crate::session::Session;
use crate::stage::{Finding, Given, GivenSource, Preview};

/// What is wrong with what the instances of a pipeline are given, in their order; each finding once. With `thorough`, also
/// what takes seconds to look at.
pub fn foresee(session: &Session<'_>, pipeline: &Pipeline, thorough: bool) -> Vec<Finding> {
    let mut foreseen: Vec<Value> = Vec::with_capacity(pipeline.instances.len());
    let mut findings: Vec<Finding> = oddities::look(session, pipeline);
    for instance in &pipeline.instances {
        let given: Vec<Given> = instance
            .inputs
            .iter()
            .flat_map(|binding| binding.sources.iter().map(move |source| (binding, source)))
            .map(|(binding, source)| given(pipeline, binding, source, &foreseen))
            .collect();
        let place = instance.place.to_string();
        let preview = Preview {
            label: &instance.label,
            place: &place,
            root: &pipeline.root,
            given: &given,
            is_written: &|name| instance.is_written(name),
            thorough,
            tables: &session.tables,
            listings: &session.listings,
        };
        let own = instance.kind.foresee(&instance.params, &preview);
        // Every fold is given the same.
        for finding in own.findings {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        foreseen.push(own.results);
    }
    findings
}

fn given(pipeline: &Pipeline, binding: &InputBinding, source: &InputSource, foreseen: &[Value]) -> Given {
    let maker = |position: &usize| pipeline.instances.get(*position);
    let mut selector = match source {
        InputSource::Output { instance, .. } => maker(instance).map(|maker| maker.selector.as_ref().clone()),
        _ => None,
    }
    .unwrap_or_default();
    selector.extend(binding.name.iter().map(|name| (crate::input::NAME.to_string(), name.to_string())));
    Given {
        input: binding.spec.name,
        selector,
        place: binding.origin.to_string(),
        text: binding.given.to_string(),
        source: match source {
            InputSource::Keyword(word) => GivenSource::Word(word.clone()),
            InputSource::Path(path) => GivenSource::Outside(path.clone()),
            InputSource::Hub(_) => GivenSource::Absent,
            InputSource::Output { instance, output } => GivenSource::Made {
                label: maker(instance).map_or_else(String::new, |maker: &Instance| maker.label.clone()),
                output,
                foreseen: foreseen.get(*instance).cloned().unwrap_or(Value::Null),
            },
        },
    }
}
