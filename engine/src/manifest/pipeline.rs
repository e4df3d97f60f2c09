//! A resolved manifest: stage instances with typed parameters, bound to paths and to one another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::hub::HubFile;
use super::layers::Overrides;
use super::node::Origin;
use super::resources::Resources;
use crate::input::Selector;
use crate::stage::{InputSpec, Kind};

/// A pipeline that is ready to be planned.
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The manifest as it was given.
    pub manifest: PathBuf,
    /// The folder that paths are read against.
    pub root: PathBuf,
    /// The seed.
    pub seed: u64,
    /// Where the seed comes from.
    pub seed_origin: Origin,
    /// The overrides that were applied.
    pub overrides: Overrides,
    /// All stage instances; an instance's inputs come from instances before it.
    pub instances: Vec<Instance>,
    /// Folders to copy a stage's outputs to, by stage.
    pub publish: Vec<(String, PathBuf)>,
    /// The merged manifest with variables replaced.
    pub resolved: Value,
    /// Variables that are given and used nowhere, with the places that give them.
    pub unused_variables: Vec<(String, Origin)>,
}

impl Pipeline {
    /// The files on the hub that have no place yet, each once.
    pub fn hub_files(&self) -> BTreeSet<HubFile> {
        let bindings = self.instances.iter().flat_map(|instance| instance.inputs.iter());
        let file = |source: &InputSource| match source {
            InputSource::Hub(file) => Some(file.clone()),
            _ => None,
        };
        bindings.flat_map(|binding| binding.sources.iter()).filter_map(file).collect()
    }

    /// Puts a local copy in the place of a file on the hub. What was written is told with the commit.
    pub fn place_hub_file(&mut self, file: &HubFile, path: &Path, commit: &str) {
        let placed = HubFile { revision: commit.to_owned(), ..file.clone() };
        let is_it = |source: &InputSource| matches!(source, InputSource::Hub(known) if known == file);
        for instance in &mut self.instances {
            if !instance.inputs.iter().any(|binding| binding.sources.iter().any(is_it)) {
                continue;
            }
            for binding in Arc::make_mut(&mut instance.inputs) {
                if binding.sources.iter().any(is_it) {
                    let place = |source: &InputSource| match is_it(source) {
                        true => InputSource::Path(path.to_path_buf()),
                        false => source.clone(),
                    };
                    binding.sources = binding.sources.iter().map(place).collect();
                    binding.given = placed.to_string().into();
                }
            }
        }
    }
}

/// One instance of a stage.
pub struct Instance {
    /// The stage's name.
    pub stage: String,
    /// The name with the foreach values, such as `train[fold=0]`.
    pub label: String,
    /// The foreach values.
    pub selector: Arc<Selector>,
    /// Where its stage is written.
    pub place: Origin,
    /// Its kind.
    pub kind: Kind,
    /// The parameters with defaults filled in.
    pub params: Arc<Value>,
    /// Where each parameter comes from.
    pub origins: ParamOrigins,
    /// Its inputs by name, in the kind's order; instances that are given the same share them.
    pub inputs: Arc<[InputBinding]>,
    /// The seed that it is given, if its kind draws random numbers.
    pub seed: u64,
    /// Where the seed comes from.
    pub seed_origin: Origin,
    /// What it needs while it runs.
    pub resources: Resources,
    /// Whether nothing builds on it.
    pub is_last: bool,
}

impl Instance {
    /// Where a parameter comes from.
    pub fn origin(&self, param: &str) -> Origin {
        self.origins.get(param).cloned().unwrap_or(Origin::Default)
    }

    /// Where the written parameters come from, by name.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&String, &Origin)> {
        let of_stage = self.origins.stage.iter();
        of_stage.chain(self.origins.foreach.iter().map(|(name, origin)| (name, origin)))
    }

    /// Whether a parameter is written; others are defaults.
    pub fn is_written(&self, param: &str) -> bool {
        self.origins.get(param).is_some()
    }

    /// The files and folders outside the store that the manifest gives it.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let sources = self.inputs.iter().flat_map(|binding| binding.sources.iter());
        sources.filter_map(|source| match source {
            InputSource::Path(path) => Some(path),
            _ => None,
        })
    }

    /// The names of its inputs, sorted.
    pub(crate) fn input_names(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self.inputs.iter().map(|binding| binding.spec.name).collect();
        names.into_iter().map(str::to_string).collect()
    }

    /// The positions of the instances that it takes inputs from.
    pub fn upstream(&self) -> BTreeSet<usize> {
        let sources = self.inputs.iter().flat_map(|binding| binding.sources.iter());
        sources
            .filter_map(|source| match source {
                InputSource::Output { instance, .. } => Some(*instance),
                _ => None,
            })
            .collect()
    }
}

/// Where the written parameters of an instance come from.
#[derive(Clone)]
pub struct ParamOrigins {
    /// Those that all instances of the stage have.
    pub(super) stage: Arc<BTreeMap<String, Origin>>,
    /// Those of its foreach values.
    pub(super) foreach: Vec<(String, Origin)>,
}

impl ParamOrigins {
    /// Of parameters of which it is known that they are written, and not where.
    pub(crate) fn somewhere(names: &[String]) -> Self {
        let stage = names.iter().map(|name| (name.clone(), Origin::Default)).collect();
        Self { stage: Arc::new(stage), foreach: Vec::new() }
    }

    fn get(&self, param: &str) -> Option<&Origin> {
        let own = self.foreach.iter().find(|(name, _)| name == param).map(|(_, origin)| origin);
        own.or_else(|| self.stage.get(param))
    }
}

/// What an instance's input is bound to.
#[derive(Clone)]
pub struct InputBinding {
    /// The kind's description of the input.
    pub spec: &'static InputSpec,
    /// The name among several artifacts of the input, where they were given by name.
    pub name: Option<Arc<str>>,
    /// Where it was written.
    pub origin: Origin,
    /// The variable that gave it.
    pub variable: Option<Arc<str>>,
    /// What was written.
    pub given: Arc<str>,
    /// The artifacts, in the order of their foreach values.
    pub sources: Arc<[InputSource]>,
}

impl InputBinding {
    /// What was written and where, in words.
    pub(crate) fn described(&self) -> String {
        match &self.origin {
            Origin::Default => self.given.to_string(),
            origin => format!("{}, {origin}", self.given),
        }
    }
}

/// One artifact that an input is bound to.
#[derive(Clone, Debug)]
pub enum InputSource {
    /// A word of the kind.
    Keyword(String),
    /// A file or folder outside the store.
    Path(PathBuf),
    /// A file on the hub of which there is no local copy yet.
    Hub(HubFile),
    /// An output of another instance.
    Output {
        /// The instance's position in [`Pipeline::instances`].
        instance: usize,
        /// The output's name.
        output: &'static str,
    },
}
