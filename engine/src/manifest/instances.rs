//! Making the instances of all stages, and the edges between them.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::node::Node;
use super::pipeline::{InputBinding, InputSource, Instance};
use super::problem::{Problem, Problems};
use super::references::{Reference, StagesByName, check_reference, parse};
use super::stage_table::{GivenInput, Seed, StageSpec};
use super::variants::{Variant, label};
use crate::graph;
use crate::stage::InputSpec;

/// Makes the instances, in an order in which inputs come first.
pub(super) fn bind(stages: &[StageSpec], seed: &Seed, root: &Path, problems: &mut Problems) -> Vec<Instance> {
    let known = StagesByName::new(stages);
    // The instances of a stage stand together, in the order of its variants.
    let mut first = vec![0; stages.len()];
    let mut instances = Vec::new();
    for stage in graph::order(stages) {
        let spec = &stages[stage];
        first[stage] = instances.len();
        let inputs: Vec<Prepared<'_>> =
            spec.inputs.iter().filter_map(|given| prepare(given, spec, &known, root, problems)).collect();
        let is_shared = inputs.iter().all(|input| matches!(input.sources, Sources::Same(_)));
        let mut shared: Option<Arc<[InputBinding]>> = None;
        for (number, variant) in spec.variants.iter().enumerate() {
            let bind = |input: &Prepared<'_>| input.bind(spec, (number, variant), &first, problems);
            let bound = match shared.clone() {
                Some(bound) => bound,
                None => inputs.iter().map(bind).collect(),
            };
            if is_shared {
                shared = Some(Arc::clone(&bound));
            }
            instances.push(Instance {
                stage: spec.name.clone(),
                label: label(&spec.name, &variant.selector),
                selector: Arc::clone(&variant.selector),
                place: spec.origin.clone(),
                kind: spec.kind,
                params: Arc::clone(&variant.params),
                origins: variant.origins.clone(),
                inputs: bound,
                seed: spec.seed.as_ref().unwrap_or(seed).value,
                seed_origin: spec.seed.as_ref().unwrap_or(seed).origin.clone(),
                resources: spec.resources,
                is_last: true,
            });
        }
    }
    let used: BTreeSet<usize> = instances.iter().flat_map(Instance::upstream).collect();
    for position in used {
        instances[position].is_last = false;
    }
    instances
}

/// An input of a stage with what is the same for all its instances.
struct Prepared<'a> {
    given: &'a GivenInput,
    text: &'a str,
    sources: Sources<'a>,
}

enum Sources<'a> {
    Same(InputSource),
    Outputs(Target<'a>),
}

/// Another stage's output.
struct Target<'a> {
    position: usize,
    stage: &'a StageSpec,
    output: &'static str,
    /// The foreach keys that both stages have.
    shared: Vec<&'a str>,
    /// The variants by their values of these.
    variants: HashMap<Vec<Option<&'a String>>, Vec<usize>>,
}

fn prepare<'a>(
    given: &'a GivenInput,
    stage: &'a StageSpec,
    stages: &StagesByName<'a>,
    root: &Path,
    problems: &mut Problems,
) -> Option<Prepared<'a>> {
    let GivenInput { spec, node, .. } = given;
    let text = node.as_text()?;
    let target = check_reference(spec, node, stages, root, problems);
    let sources = match parse(text, spec, root) {
        Reference::Keyword => Sources::Same(InputSource::Keyword(text.to_string())),
        Reference::Path(path) => Sources::Same(InputSource::Path(path)),
        Reference::Hub(file) => Sources::Same(InputSource::Hub(file.ok()?)),
        Reference::Stage { .. } => {
            let (position, output) = target?;
            Sources::Outputs(Target::new(stage, position, &stages.all[position], output.name))
        }
    };
    Some(Prepared { given, text, sources })
}

impl<'a> Target<'a> {
    fn new(user: &'a StageSpec, position: usize, stage: &'a StageSpec, output: &'static str) -> Self {
        let shared = user.foreach.iter().filter(|key| stage.foreach.contains(key));
        let mut target = Self {
            position,
            stage,
            output,
            shared: shared.map(String::as_str).collect(),
            variants: HashMap::new(),
        };
        for (number, variant) in stage.variants.iter().enumerate() {
            target.variants.entry(target.values(variant)).or_default().push(number);
        }
        target
    }

    fn values(&self, variant: &'a Variant) -> Vec<Option<&'a String>> {
        self.shared.iter().map(|key| variant.selector.get(*key)).collect()
    }
}

impl<'a> Prepared<'a> {
    /// The input of one instance: of another stage those that agree with it on every foreach key that both have.
    fn bind(
        &self,
        stage: &StageSpec,
        (number, variant): (usize, &'a Variant),
        first: &[usize],
        problems: &mut Problems,
    ) -> InputBinding {
        let GivenInput { spec, name, node } = self.given;
        let sources = match &self.sources {
            Sources::Same(source) => [source.clone()].into(),
            Sources::Outputs(target) => {
                let chosen = target.variants.get(&target.values(variant)).map_or(&[][..], Vec::as_slice);
                check_count(spec, node, stage, number, target.stage, chosen, problems);
                let instance = |number: &usize| first[target.position] + number;
                let output = target.output;
                let output = |number| InputSource::Output { instance: instance(number), output };
                chosen.iter().map(output).collect()
            }
        };
        InputBinding {
            spec,
            name: name.as_deref().map(Arc::from),
            origin: node.origin.clone(),
            variable: node.variable.as_deref().map(Arc::from),
            given: self.text.into(),
            sources,
        }
    }
}

fn check_count(
    spec: &InputSpec,
    node: &Node,
    stage: &StageSpec,
    variant: usize,
    target: &StageSpec,
    chosen: &[usize],
    problems: &mut Problems,
) {
    let own = label(&stage.name, &stage.variants[variant].selector);
    if chosen.is_empty() {
        let message =
            format!("`{own}` has no matching instance of `{}` for its input `{}`", target.name, spec.name);
        let problem = Problem::at(node.origin.clone(), "no-instance", message);
        problems.add(problem.help("give both stages the same foreach values"));
    } else if chosen.len() > 1 && !spec.many && variant == 0 {
        let message = format!(
            "`{}` takes one artifact, but `{}` has {} instances",
            spec.name,
            target.name,
            chosen.len()
        );
        let problem = Problem::at(node.origin.clone(), "many-instances", message);
        problems
            .add(problem.help(format!("give `{}` the same foreach key as `{}`", stage.name, target.name)));
    }
}
