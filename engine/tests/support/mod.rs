//! A small world of text files and stage kinds that work on them, for tests of the engine's promises.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test file uses a part of it")]

mod devices;
mod gathering;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pipe_cache::{Digest, Store};
use pipe_engine::code::CodeStamp;
use pipe_engine::context::{Cancel, Context, Devices, ItemContext};
use pipe_engine::event::{Event, Observer, Summary};
use pipe_engine::input::InputValue;
use pipe_engine::manifest::{ManifestError, Overrides, Pipeline, load_pipeline};
use pipe_engine::record::{RecordEnder, Surroundings};
use pipe_engine::registry::Registry;
use pipe_engine::requests::Secrets;
use pipe_engine::run::{ExecutorChoice, RunError, RunOptions, run};
use pipe_engine::session::Session;
use pipe_engine::stage::{
    About, Column, FileColumn, InputForm, InputSpec, Item, ItemSource, Kind, LeadsTo, OutputSpec, PerItem,
    RowItems, Stage, StageError, Whole,
};
use pipe_engine::table::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub const CODE: CodeStamp = CodeStamp { source: "test", crates: &[] };

/// Repeats each row's file as often as its `times` column says.
pub struct Repeat;

#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub struct NoParams {}

impl Stage for Repeat {
    type Params = NoParams;
    const ABOUT: About = About::new("repeat", "repeats each row's file", CODE)
        .inputs(&[InputSpec::new("table", InputForm::Table, "id, path, times")])
        .outputs(&[OutputSpec::collection("texts", "txt", "texts")]);
}

impl PerItem for Repeat {
    fn items(&self, _params: &NoParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        ItemSource::Rows(
            RowItems::new("table", ["id"])
                .columns([Column::required("times")])
                .file(FileColumn::new("path", LeadsTo::File))
                .group_by("path"),
        )
    }

    fn check_item(&self, _params: &NoParams, item: &Item) -> Result<(), StageError> {
        item.number("times").map(|_| ())
    }

    fn run_group(
        &self,
        _: &NoParams,
        group: &[Item],
        context: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        let run = |item: &Item| {
            let text = String::from_utf8(item.file("path")?.read()?)?;
            if item.number("times")? == 0.0 {
                context.warn(item, "nothing is left of the text");
            }
            match text.trim() {
                "bad" => Err(StageError::message("the file is bad").advise("mend it")),
                "panic" => panic!("the code is bad"),
                text => Ok(text.repeat(item.number("times")? as usize).into_bytes()),
            }
        };
        group.iter().map(run).collect()
    }
}

/// Changes each text's case.
pub struct Case;

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CaseParams {
    /// To upper case instead of lower case.
    pub upper: bool,
    /// Changes nothing in the output.
    pub remark: String,
}

impl Default for CaseParams {
    fn default() -> Self {
        Self { upper: true, remark: String::new() }
    }
}

impl Stage for Case {
    type Params = CaseParams;
    const ABOUT: About = About::new("case", "changes each text's case", CODE)
        .inputs(&[InputSpec::new("texts", InputForm::Collection, "texts")])
        .outputs(&[OutputSpec::collection("texts", "txt", "texts")]);
}

impl PerItem for Case {
    fn items(&self, _params: &CaseParams, _given: &dyn Fn(&str) -> bool) -> ItemSource {
        ItemSource::Collection { input: "texts" }
    }

    fn run_group(
        &self,
        p: &CaseParams,
        group: &[Item],
        _: &ItemContext<'_>,
    ) -> Vec<Result<Vec<u8>, StageError>> {
        let run = |item: &Item| {
            let text = String::from_utf8(item.file("texts")?.read()?)?;
            Ok(if p.upper { text.to_uppercase() } else { text.to_lowercase() }.into_bytes())
        };
        group.iter().map(run).collect()
    }
}

/// Joins everything it is given.
pub struct Join;

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JoinParams {
    /// Between two texts; with `late:` a file that is written while inputs are bound.
    pub separator: String,
    /// The fold.
    #[schemars(range(min = 0, max = 100))]
    pub fold: u32,
    /// Fail.
    pub fail: bool,
    /// Write other bytes each time.
    pub dice: bool,
}

impl Default for JoinParams {
    fn default() -> Self {
        Self { separator: "+".to_string(), fold: 0, fail: false, dice: false }
    }
}

static DICE: AtomicUsize = AtomicUsize::new(0);

/// Whether a file has been written while inputs were bound, which is done once.
static LATE: AtomicBool = AtomicBool::new(false);

impl Stage for Join {
    type Params = JoinParams;
    const ABOUT: About = About::new("join", "joins texts", CODE)
        .inputs(&[
            InputSpec::new("texts", InputForm::Collection, "texts").optional(),
            InputSpec::new("parts", InputForm::File, "joined texts").optional().many(),
            InputSpec::new("more", InputForm::File, "one more text").optional().keywords(&["nothing"]),
            InputSpec::new("table", InputForm::Table, "labels").optional(),
            InputSpec::new("folder", InputForm::Tree, "a folder for each fold").optional(),
        ])
        .outputs(&[OutputSpec::file("text", "text.txt", "the text")])
        .headline("text", "text.txt");

    fn columns(&self, params: &JoinParams, _input: &str) -> Vec<Column> {
        assert!(params.separator != "panic", "the code is bad");
        if let Some(path) = params.separator.strip_prefix("late:")
            && !LATE.swap(true, Ordering::Relaxed)
        {
            fs::write(path, "late").unwrap();
        }
        vec![Column::required("id"), Column::optional("label")]
    }

    fn files(&self, params: &JoinParams, input: &str) -> Option<Vec<String>> {
        (input == "folder").then(|| vec![format!("fold_{}", params.fold)])
    }

    fn check_table(&self, _params: &JoinParams, _input: &str, table: &Table) -> Vec<StageError> {
        let blank = table.rows().iter().filter(|row| table.get(row, "label").is_none());
        blank.map(|row| StageError::message(format!("{}:{}: no label", table.source, row.line))).collect()
    }
}

impl Whole for Join {
    fn run(&self, params: &JoinParams, context: &mut Context<'_>) -> Result<(), StageError> {
        context.log("joining");
        if params.separator.is_empty() {
            context.warn("without a separator the texts run into one another");
        }
        if params.fail {
            return Err(StageError::message("asked to fail"));
        }
        let mut parts: Vec<String> = vec![params.fold.to_string()];
        if let Ok(files) = context.files("texts") {
            for name in files.names() {
                parts.push(String::from_utf8(files.read(name)?)?);
            }
        }
        if let Ok(files) = context.files("folder") {
            parts.extend(files.names().map(str::to_string));
        }
        for name in ["parts", "more"] {
            for input in context.inputs(name) {
                if let InputValue::File(file) = &input.value {
                    parts.push(String::from_utf8(file.read()?)?);
                }
            }
        }
        if params.dice {
            parts.push(DICE.fetch_add(1, Ordering::Relaxed).to_string());
        }
        context.scalar("parts", parts.len() as f64)?;
        context.write("text", "text.txt", parts.join(&params.separator).as_bytes())
    }
}

pub static KINDS: &[Kind] = &[
    Kind::per_item(&Repeat),
    Kind::per_item(&Case),
    Kind::whole(&Join),
    Kind::per_item(&gathering::Pack).inspected_by(gathering::odd_rows),
    Kind::per_item(&gathering::Measure),
    Kind::whole(&devices::Occupy),
];

/// Remembers every event.
#[derive(Default)]
pub struct Memory(pub Mutex<Vec<Event>>);

impl Observer for Memory {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A project in a temporary folder.
pub struct Project {
    pub folder: tempfile::TempDir,
    pub jobs: usize,
    pub cache: PathBuf,
    pub devices: Devices,
    pub registry: Registry,
}

/// What a run did.
pub struct Outcome {
    pub summary: Summary,
    pub events: Vec<Event>,
}

impl Outcome {
    /// The instances that were computed, sorted.
    pub fn executed(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::StageFinished { stage, executed: true, .. } => Some(stage.clone()),
                _ => None,
            })
            .collect();
        names.sort();
        names
    }

    /// The last headline of a stage.
    pub fn headline(&self, wanted: &str) -> String {
        self.events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::Headline { stage, text } if stage == wanted => Some(text.clone()),
                _ => None,
            })
            .unwrap()
    }
}

impl Project {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join(".pipe");
        Self {
            folder,
            jobs: 2,
            cache,
            devices: Devices::Cpu,
            registry: Registry::new(KINDS.to_vec(), "").unwrap(),
        }
    }

    /// A project with three rows and the stages repeat → case → join.
    pub fn with_rows() -> Self {
        let project = Self::new();
        for (name, text) in [("a", "ant"), ("b", "bee"), ("c", "cat")] {
            project.write(&format!("data/{name}.txt"), text);
        }
        project
            .write("rows.csv", "id,path,times,label\n1,data/a.txt,1,0\n2,data/b.txt,2,1\n3,data/c.txt,1,0\n");
        project.write("pipeline.toml", ROWS);
        project
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn load(&self, set: &[&str]) -> Result<Pipeline, ManifestError> {
        let overrides =
            Overrides { set: set.iter().map(|text| (*text).to_string()).collect(), profiles: vec![] };
        load_pipeline(&self.path("pipeline.toml"), &overrides, &self.registry)
    }

    pub fn options(&self) -> RunOptions {
        RunOptions {
            jobs: self.jobs,
            force: vec![],
            only: vec![],
            keep_going: false,
            memory_bytes: None,
            executor: ExecutorChoice::Local,
            secrets: Secrets::default(),
            surroundings: Surroundings::default(),
            ender: RecordEnder::default(),
        }
    }

    pub fn store(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.cache).unwrap())
    }

    pub fn run_with(&self, set: &[&str], change: impl FnOnce(&mut RunOptions)) -> Outcome {
        let mut options = self.options();
        change(&mut options);
        let memory = Memory::default();
        let pipeline = self.load(set).unwrap();
        let cancel = Cancel::default();
        let summary = self.run_pipeline(&pipeline, &options, &memory, &cancel).unwrap();
        Outcome { summary, events: memory.0.into_inner().unwrap() }
    }

    pub fn run_pipeline(
        &self,
        pipeline: &Pipeline,
        options: &RunOptions,
        observer: &dyn Observer,
        cancel: &Cancel,
    ) -> Result<Summary, RunError> {
        run(&self.session(), pipeline, options, observer, cancel)
    }

    pub fn session(&self) -> Session<'_> {
        Session::new(&self.registry, &self.store(), self.devices.clone(), true)
    }

    pub fn run(&self, set: &[&str]) -> Outcome {
        self.run_with(set, |_| {})
    }

    /// The digests of all blobs.
    pub fn digests(&self) -> Vec<Digest> {
        self.store().blobs().unwrap().into_keys().collect()
    }

    /// All blobs of artifacts; results name runs and times.
    pub fn blobs(&self) -> BTreeMap<Digest, Vec<u8>> {
        let store = self.store();
        let results = store.result_blobs().unwrap();
        let artifacts = self.digests().into_iter().filter(|digest| !results.contains(digest));
        artifacts.map(|digest| (digest, store.read(digest).unwrap())).collect()
    }

    /// Flips a bit of a blob on the disk, or takes its record out of the index, so that it is gone.
    pub fn spoil(&self, digest: Digest, is_gone: bool) {
        let files = fs::read_dir(self.cache.join("packs")).unwrap().flatten().map(|entry| entry.path());
        let wanted = if is_gone { "index" } else { "pack" };
        for path in files.filter(|path| path.extension().unwrap() == wanted) {
            let mut bytes = fs::read(&path).unwrap();
            let places: Vec<usize> =
                (0..bytes.len()).filter(|place| bytes[*place..].starts_with(digest.as_bytes())).collect();
            for place in places {
                bytes[if is_gone { place } else { place + 40 }] ^= 0x20;
                fs::write(&path, &bytes).unwrap();
            }
        }
    }
}

pub const ROWS: &str = r#"
[stage.repeat]
inputs = { table = "rows.csv" }

[stage.case]
inputs = { texts = "@repeat" }

[stage.join]
inputs = { texts = "@case" }
"#;
