//! What a stage says of the program that it runs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of `command`. All others are the program's own: `{params.NAME}` in its arguments, and in the file `{params}`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct CommandParams {
    /// The program and its arguments, each whole whatever characters it has. Placeholders: `{INPUT}`, `{out.NAME}`,
    /// `{params.NAME}`, `{params}` for a JSON file of all parameters of its own, `{seed}`, `{threads}`; with `each` also
    /// `{row.COLUMN}` and `{item}`. `{{` and `}}` are braces.
    pub run: Vec<String>,
    /// In place of `run`: a script for bash, which stops at the first command that fails, in a pipe too. Placeholders are one word
    /// each, whatever characters they have.
    pub shell: String,
    /// What the program makes, by name: `"table"` for a CSV table of that name, `"folder"`, a file's name such as `"roc.png"`, or
    /// `"*.nii.gz"` for a collection with a file for each item.
    pub outputs: BTreeMap<String, String>,
    /// Run once for each row of an input table, or each file of an input collection: its name, or `"row"` for the only table.
    /// As a table: `rows`, the input; `name`, the columns that name a row (`pid`, and `nodule_id` if there is one); `columns`, those
    /// whose values count (those that arguments name; all, if the program is given the table); `batch`, rows at a time.
    pub each: Option<Each>,
    /// The columns of input tables whose cells lead to files or folders, by input. The program finds them in its folder, and each
    /// counts by content.
    pub files: BTreeMap<String, Vec<String>>,
    /// Environment variables that the program is given. Their values count, and stand in records: no place for secrets.
    pub env: Vec<String>,
    /// Commands whose answers count, such as `"python3 --version"`.
    pub tools: Vec<String>,
    /// Folders of installed software that the program may read, whose `bin` is searched first. Their names count, and what `tools`
    /// answer; not what is in them.
    pub software: Vec<String>,
    /// An image for Apptainer or Singularity to run the program in. It counts by its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// A lock of Python packages, as `pip freeze` or `uv pip compile` write it: they are installed once into an environment in the
    /// cache, and `python3` is that environment's. The lock counts by its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venv: Option<String>,
    /// A lock of conda packages, as `conda list --explicit --md5` writes it: they are installed once into an environment in the cache,
    /// whose programs are found first. It counts by its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conda: Option<String>,
    /// Whether the program may use the network.
    pub network: bool,
    /// Whether it computes on the device of the run: `--device cuda` gives each instance one, in `CUDA_VISIBLE_DEVICES`.
    pub gpu: bool,
    /// Whether the same inputs give the same bytes. If not, an audit tells differences and does not count them.
    pub deterministic: bool,
    /// Whether to refuse to run where the program cannot be closed off from what it does not declare.
    pub strict: bool,
    /// When to try again.
    pub retry: Retry,
    /// The program's own parameters.
    #[serde(flatten)]
    pub own: BTreeMap<String, Value>,
}

impl Default for CommandParams {
    fn default() -> Self {
        Self {
            run: Vec::new(),
            shell: String::new(),
            outputs: BTreeMap::new(),
            each: None,
            files: BTreeMap::new(),
            env: Vec::new(),
            tools: Vec::new(),
            software: Vec::new(),
            container: None,
            venv: None,
            conda: None,
            network: false,
            gpu: false,
            deterministic: true,
            strict: false,
            retry: Retry::default(),
            own: BTreeMap::new(),
        }
    }
}

/// What a program runs once for.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Each {
    /// Each row or file of this input.
    Of(String),
    /// Each row of a table, with what names it and counts of it.
    Rows(EachRow),
}

/// How rows become items.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EachRow {
    /// The input; the only table if it is not named.
    pub rows: Option<String>,
    /// The columns that name a row.
    pub name: Option<Vec<String>>,
    /// The columns whose values count.
    pub columns: Option<Vec<String>>,
    /// So many rows at a time.
    #[schemars(range(min = 1, max = 100000))]
    pub batch: usize,
}

impl EachRow {
    /// Rows of that input, one at a time.
    pub fn of(input: &str) -> Self {
        Self { rows: Some(input.to_string()), batch: 1, ..Self::default() }
    }
}

/// When a program that failed is tried again.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The exit codes after which it is.
    pub codes: Vec<i32>,
    /// So many times at most.
    #[schemars(range(max = 100))]
    pub times: u32,
    /// Seconds before the first of these; before each other one twice as many as before the last.
    #[schemars(range(min = 0.0, max = 86400.0))]
    pub wait_s: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { codes: Vec::new(), times: 3, wait_s: 10.0 }
    }
}
