//! Instances as plain values, for job files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use pipe_cache::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bind::Done;
use crate::input::Selector;
use crate::manifest::{InputBinding, InputSource, Instance, Origin, ParamOrigins, Resources};
use crate::stage::Kind;

/// An instance with all that decides its result besides the content of its inputs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InstanceValues {
    stage: String,
    label: String,
    selector: Selector,
    pub(super) kind: String,
    /// The kind's code; another program may have another.
    pub(super) code: Digest,
    params: Value,
    /// The parameters that are written and not defaults.
    written: Vec<String>,
    inputs: Vec<InputValues>,
    pub(super) resources: Resources,
    is_last: bool,
}

/// An input of an instance.
#[derive(Debug, Serialize, Deserialize)]
struct InputValues {
    input: String,
    name: Option<String>,
    given: String,
    sources: Vec<SourceValue>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SourceValue {
    Word(String),
    Path(PathBuf),
    /// An output of the instance at that position of [`JobFile::upstream`].
    Output(usize, String),
}

/// An instance that a job takes inputs from.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Upstream {
    /// Its position in the pipeline that the job is of.
    pub(super) position: usize,
    label: String,
    selector: Selector,
    pub(super) kind: String,
    /// What the kind was declared by, for a kind whose stages declare their own.
    #[serde(default)]
    pub(super) params: Value,
    #[serde(default)]
    pub(super) inputs: Vec<String>,
    pub(super) done: Arc<Done>,
}

impl InstanceValues {
    /// The values of an instance; `makers` are the positions of those that it takes inputs from. `None` if something is
    /// not placed yet that a job cannot fetch.
    pub(super) fn of(instance: &Instance, code: Digest, makers: &[usize]) -> Option<Self> {
        let input = |binding: &InputBinding| {
            let sources = binding.sources.iter().map(|source| SourceValue::of(source, makers));
            Some(InputValues {
                input: binding.spec.name.to_string(),
                name: binding.name.as_deref().map(str::to_string),
                given: binding.given.to_string(),
                sources: sources.collect::<Option<_>>()?,
            })
        };
        Some(Self {
            stage: instance.stage.clone(),
            label: instance.label.clone(),
            selector: instance.selector.as_ref().clone(),
            kind: instance.kind.about().name.to_string(),
            code,
            params: instance.params.as_ref().clone(),
            written: instance.written().map(|(name, _)| name.clone()).collect(),
            inputs: instance.inputs.iter().map(input).collect::<Option<_>>()?,
            resources: instance.resources,
            is_last: instance.is_last,
        })
    }

    pub(super) fn params(&self) -> &Value {
        &self.params
    }

    /// The names of its inputs, sorted.
    pub(super) fn input_names(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.inputs.iter().map(|values| &values.input).collect();
        names.into_iter().cloned().collect()
    }

    /// The instance, which takes inputs from those before it; `None` if the kind has no such input or output.
    pub(super) fn to_instance(&self, kind: Kind, seed: u64, before: &[Instance]) -> Option<Instance> {
        let input = |values: &InputValues| {
            let sources = values.sources.iter().map(|source| source.to_source(before));
            Some(InputBinding {
                spec: kind.about().inputs.iter().find(|spec| spec.name == values.input)?,
                name: values.name.as_deref().map(Arc::from),
                origin: Origin::Default,
                variable: None,
                given: values.given.as_str().into(),
                sources: sources.collect::<Option<_>>()?,
            })
        };
        Some(Instance {
            stage: self.stage.clone(),
            label: self.label.clone(),
            selector: self.selector.clone().into(),
            place: Origin::Default,
            kind,
            params: self.params.clone().into(),
            origins: ParamOrigins::somewhere(&self.written),
            inputs: self.inputs.iter().map(input).collect::<Option<_>>()?,
            seed,
            seed_origin: Origin::Default,
            resources: self.resources,
            is_last: self.is_last,
        })
    }
}

impl SourceValue {
    fn of(source: &InputSource, makers: &[usize]) -> Option<Self> {
        match source {
            InputSource::Keyword(word) => Some(Self::Word(word.clone())),
            InputSource::Path(path) => Some(Self::Path(path.clone())),
            InputSource::Hub(_) => None,
            InputSource::Output { instance, output } => {
                let maker = makers.iter().position(|maker| maker == instance)?;
                Some(Self::Output(maker, (*output).to_string()))
            }
        }
    }

    fn to_source(&self, before: &[Instance]) -> Option<InputSource> {
        Some(match self {
            Self::Word(word) => InputSource::Keyword(word.clone()),
            Self::Path(path) => InputSource::Path(path.clone()),
            Self::Output(maker, output) => {
                let outputs = before.get(*maker)?.kind.about().outputs;
                let output = outputs.iter().find(|spec| spec.name == output)?.name;
                InputSource::Output { instance: *maker, output }
            }
        })
    }
}

impl Upstream {
    pub(super) fn of(position: usize, maker: &Instance, done: &Arc<Done>) -> Self {
        let is_declared = maker.kind.is_declared();
        Self {
            position,
            label: maker.label.clone(),
            selector: maker.selector.as_ref().clone(),
            kind: maker.kind.about().name.to_string(),
            params: if is_declared { maker.params.as_ref().clone() } else { Value::Null },
            inputs: if is_declared { maker.input_names() } else { Vec::new() },
            done: Arc::clone(done),
        }
    }

    /// The instance without what a job has no use for: its parameters and inputs.
    pub(super) fn to_instance(&self, kind: Kind) -> Instance {
        Instance {
            stage: self.label.clone(),
            label: self.label.clone(),
            selector: self.selector.clone().into(),
            place: Origin::Default,
            kind,
            params: Value::Object(serde_json::Map::new()).into(),
            origins: ParamOrigins::somewhere(&[]),
            inputs: Arc::from([]),
            seed: 0,
            seed_origin: Origin::Default,
            resources: Resources::usual(kind.about()),
            is_last: false,
        }
    }
}
