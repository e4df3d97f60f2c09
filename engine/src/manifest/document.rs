//! The manifest's own types: the one place that says which keys there are. The JSON schema made from them
//! serves editors (`pipe schema`) and checks every manifest before it is read.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pipeline manifest.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ManifestDocument {
    /// A manifest to start from, relative to this file. Tables are merged key by key.
    pub extends: Option<String>,
    /// What holds for the whole pipeline.
    pub pipeline: PipelineTable,
    /// Values for `${name}` anywhere below; `--set name=…` on the command line.
    pub vars: BTreeMap<String, serde_json::Value>,
    /// The stages by name.
    pub stage: BTreeMap<String, StageTable>,
    /// Named sets of overrides, chosen with `--profile`.
    pub profile: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    /// Overrides to try in every combination with `pipe sweep`: each key has a list of values. `points`, `zip`, `sample`, `when` and
    /// `skip` say which go together.
    pub sweep: BTreeMap<String, serde_json::Value>,
}

/// What holds for the whole pipeline.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineTable {
    /// The pipeline's name in run records.
    pub name: Option<String>,
    /// The folder that every path is read against, relative to this file (default: this file's folder).
    pub root: Option<String>,
    /// The seed given to stages that draw random numbers (default 42).
    pub seed: Option<u64>,
}

/// One stage.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StageTable {
    /// The stage's kind; `pipe stages` lists them. Default: the stage's own name.
    pub uses: Option<String>,
    /// Inputs by name: a path, `"@stage"` or `"@stage.output"`; where an input takes several artifacts, also a table of
    /// names with one of these each.
    pub inputs: BTreeMap<String, InputText>,
    /// Parameters of the kind; `pipe stages KIND` lists them.
    pub params: BTreeMap<String, serde_json::Value>,
    /// One instance for each value; several keys give their product. A key is also a parameter.
    pub foreach: BTreeMap<String, Vec<serde_json::Value>>,
    /// The seed given to the stage, if it draws random numbers (default: the pipeline's).
    pub seed: Option<u64>,
    /// A folder that the outputs are copied to when the run ends.
    pub publish: Option<String>,
    /// What an instance needs while it runs.
    pub resources: Option<ResourcesTable>,
    /// What a manifest that `extends` another takes away from the stage of this name: `true` for all of it, or keys of it such as
    /// `["inputs.reports", "params.size_mm"]`.
    pub remove: Option<Remove>,
    /// For a stage that runs a program: what it makes, by name. `"table"`, `"folder"`, a file's name such as `"roc.png"`, or a
    /// collection such as `"*.nii.gz"`.
    pub outputs: Option<BTreeMap<String, serde_json::Value>>,
    /// For a stage that runs a program: once for each row of a table, or each file of a collection.
    pub each: Option<serde_json::Value>,
    /// For a stage that runs a program: the columns of an input table whose cells lead to files, by input.
    pub files: Option<BTreeMap<String, Vec<String>>>,
    /// For a stage that runs a program: the environment variables that it is given. Their values count.
    pub env: Option<Vec<String>>,
    /// For a stage that runs a program: commands whose answers count, such as `"python3 --version"`.
    pub tools: Option<Vec<String>>,
    /// For a stage that runs a program: folders of installed software that it may read. They count by name, and by what `tools`
    /// answer.
    pub software: Option<Vec<String>>,
    /// For a stage that runs a program: whether the same inputs give the same bytes.
    pub deterministic: Option<bool>,
    /// For a stage that runs a program: whether to refuse to run where it cannot be closed off.
    pub strict: Option<bool>,
    /// For a stage that runs a program: an image for Apptainer or Singularity to run it in.
    pub container: Option<String>,
    /// For a stage that runs a program: a lock of Python packages, which are installed once.
    pub venv: Option<String>,
    /// For a stage that runs a program: a lock of conda packages, which are installed once.
    pub conda: Option<String>,
    /// For a stage that runs a program: whether it may use the network.
    pub network: Option<bool>,
    /// For a stage that runs a program: whether it computes on the device of the run.
    pub gpu: Option<bool>,
    /// For a stage that runs a program: after which exit codes, and how often, it is tried again.
    pub retry: Option<serde_json::Value>,
}

/// The keys with which a stage declares inputs and outputs of its own.
pub(super) const DECLARED: [&str; 14] = [
    "container",
    "venv",
    "conda",
    "outputs",
    "each",
    "files",
    "env",
    "tools",
    "software",
    "deterministic",
    "strict",
    "network",
    "gpu",
    "retry",
];

/// What is taken away from an inherited stage.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Remove {
    /// All of it.
    Whole(bool),
    /// Some keys.
    Keys(Vec<String>),
}

/// What is given to an input.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum InputText {
    /// One path or reference.
    One(String),
    /// Several, by name.
    Named(BTreeMap<String, String>),
}

/// What an instance needs while it runs; never part of a result's identity.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResourcesTable {
    /// Graphics processors of its own, 1 if not given; counted only with `--device cuda`.
    pub gpu: u32,
    /// Memory in gigabytes. Instances run side by side as long as the machine has that much for each; one that needs
    /// more runs alone.
    pub memory_gb: f64,
    /// Processors that it keeps busy, 1 if not given: together instances use no more than `--jobs`.
    #[schemars(range(min = 1, max = 4096))]
    pub cpus: u32,
    /// How long an instance may take, such as `"90s"`, `"30m"`, `"2h"` or `"1d"`. One that takes longer is stopped at its
    /// next step and fails, and what a kind keeps of unfinished work is kept; a process is killed if it does not stop.
    pub time: Option<String>,
    /// Requests a minute at most, for a kind that asks a service; as many as it answers if not given.
    pub requests_per_minute: Option<u32>,
    /// Seconds to wait for the answer to a request, 120 if not given.
    pub request_timeout_s: Option<u32>,
    /// How often a request is tried at most, 6 if not given.
    pub request_attempts: Option<u32>,
}

impl Default for ResourcesTable {
    fn default() -> Self {
        Self {
            gpu: 0,
            memory_gb: 0.0,
            cpus: 1,
            time: None,
            requests_per_minute: None,
            request_timeout_s: None,
            request_attempts: None,
        }
    }
}

/// The JSON schema of [`ManifestDocument`].
pub fn document_schema() -> serde_json::Value {
    schemars::schema_for!(ManifestDocument).to_value()
}
