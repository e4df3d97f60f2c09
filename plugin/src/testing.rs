//! Running a kind by itself, for tests of kinds that compute in one go: no manifest, no cache, no schedule. The functions of a
//! kind that works item by item are called directly.
//!
//! ```
//! # use pipe_plugin::{code::CodeStamp, context::Context, stage::*, testing};
//! # #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema, Default)] struct NoParams {}
//! # struct CountRows;
//! # impl Stage for CountRows {
//! #     type Params = NoParams;
//! #     const ABOUT: About = About::new("count", "counts rows", CodeStamp { source: "", crates: &[] })
//! #         .inputs(&[InputSpec::new("table", InputForm::Table, "any table")])
//! #         .outputs(&[OutputSpec::file("count", "count.txt", "the number of rows")]);
//! #     fn columns(&self, _: &NoParams, _: &str) -> Vec<Column> { vec![Column::required("pid")] }
//! # }
//! # impl Whole for CountRows {
//! #     fn run(&self, _: &NoParams, context: &mut Context<'_>) -> Result<(), StageError> {
//! #         let count = context.table("table")?.rows().len();
//! #         context.write("count", "count.txt", count.to_string().as_bytes())
//! #     }
//! # }
//! # fn main() -> Result<(), StageError> {
//! let ran = testing::run(&CountRows, NoParams {}).table("table", "pid\nP1\nP2\n").finish()?;
//! assert_eq!(ran.text("count", "count.txt"), Some("2"));
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pipe_cache::{Form, InputMemo, Store};

use crate::context::{Cancel, Context, ContextParts, Device, Machine, Report};
use crate::host::Host;
use crate::input::{Files, Input, InputFile, InputValue, Selector};
use crate::stage::{InputForm, InputSpec, StageError, Whole};
use crate::table::Table;

/// A kind that is about to run, with what it is given.
pub struct Trial<'a, S: Whole> {
    kind: &'a S,
    params: S::Params,
    seed: u64,
    given: Vec<(String, Selector, Gift)>,
}

/// What is given to an input.
enum Gift {
    Word(String),
    Table(String),
    File(Vec<u8>),
    Files(Vec<(String, Vec<u8>)>),
}

/// What a kind has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ran {
    /// The files that it wrote, by `OUTPUT/NAME`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What it warned of.
    pub warnings: Vec<String>,
    /// Its scalars.
    pub scalars: BTreeMap<String, f64>,
    /// The lines of its log.
    pub log: Vec<String>,
}

/// Prepares to run a kind with these parameters.
pub fn run<S: Whole>(kind: &S, params: S::Params) -> Trial<'_, S> {
    Trial { kind, params, seed: 0, given: Vec::new() }
}

impl<S: Whole> Trial<'_, S> {
    /// Gives an input a table: its text in CSV.
    #[must_use]
    pub fn table(self, input: &str, text: &str) -> Self {
        self.give(input, &[], Gift::Table(text.to_string()))
    }

    /// Gives an input one file.
    #[must_use]
    pub fn file(self, input: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.give(input, &[], Gift::File(bytes.into()))
    }

    /// Gives an input files by their names in a folder: a tree or a collection.
    #[must_use]
    pub fn files<'f>(self, input: &str, files: impl IntoIterator<Item = (&'f str, Vec<u8>)>) -> Self {
        self.files_of(input, &[], files)
    }

    /// The same, as the output of an instance with these foreach values; for inputs that take several.
    #[must_use]
    pub fn files_of<'f>(
        self,
        input: &str,
        selector: &[(&str, &str)],
        files: impl IntoIterator<Item = (&'f str, Vec<u8>)>,
    ) -> Self {
        let files = files.into_iter().map(|(name, bytes)| (name.to_string(), bytes)).collect();
        self.give(input, selector, Gift::Files(files))
    }

    /// Gives an input a word in place of an artifact.
    #[must_use]
    pub fn word(self, input: &str, word: &str) -> Self {
        self.give(input, &[], Gift::Word(word.to_string()))
    }

    /// Sets the pipeline's seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    fn give(mut self, input: &str, selector: &[(&str, &str)], gift: Gift) -> Self {
        let pair = |(key, value): &(&str, &str)| ((*key).to_string(), (*value).to_string());
        self.given.push((input.to_string(), selector.iter().map(pair).collect(), gift));
        self
    }

    /// Checks parameters, inputs and tables, and runs the kind in this thread on the processor. What a run checks besides is not
    /// checked here: parameters against their schema, names of files in a collection, and inputs that fill parameters, which
    /// the kind is not given.
    ///
    /// # Errors
    /// What is wrong with the parameters or the tables; an input that the kind does not have, or that it lacks; the
    /// kind's own error.
    pub fn finish(mut self) -> Result<Ran, StageError> {
        self.kind.fill_in(&mut self.params);
        if let Some(problem) = self.kind.check(&self.params).into_iter().next() {
            return Err(StageError::message(problem));
        }
        let folder = tempfile::tempdir()?;
        let store = Arc::new(Store::open(&folder.path().join("store"))?);
        let place = Place { folder: folder.path().join("given"), memo: InputMemo::open(&store, true) };
        let mut inputs: BTreeMap<String, Vec<Input>> = BTreeMap::new();
        for (number, (name, selector, gift)) in self.given.iter().enumerate() {
            let value = self.value(name, gift, &place, number)?;
            inputs.entry(name.clone()).or_default().push(Input::new(selector.clone(), value));
        }
        if let Some(problem) =
            self.kind.check_inputs(&self.params, &|name| inputs.contains_key(name)).into_iter().next()
        {
            return Err(problem);
        }
        let several =
            |spec: &&InputSpec| !spec.many && inputs.get(spec.name).is_some_and(|all| all.len() > 1);
        if let Some(spec) = S::ABOUT.inputs.iter().find(several) {
            return Err(StageError::message(format!("the input `{}` takes one artifact", spec.name)));
        }
        let lacking = |spec: &&InputSpec| !spec.optional && !inputs.contains_key(spec.name);
        if let Some(spec) = S::ABOUT.inputs.iter().find(lacking) {
            return Err(StageError::message(format!("nothing is given to the input `{}`", spec.name)));
        }
        let host = Host::default();
        let (outputs, heard, cancel) = (folder.path().join("outputs"), Heard::default(), Cancel::default());
        let mut context = Context::new(ContextParts {
            inputs: &inputs,
            outputs: &outputs,
            side: folder.path().join("side"),
            seed: if S::ABOUT.random { self.seed } else { 0 },
            device: Device::Cpu,
            reporter: &heard,
            cancel: &cancel,
            resume: store.resume_point(pipe_cache::Digest::of(b"trial"), "any"),
            machine: Machine {
                host: &host,
                scratch: folder.path(),
                environments: store.environments(),
                cpus: 1,
                memory_bytes: 0,
                strict: false,
            },
        });
        self.kind.run(&self.params, &mut context)?;
        let mut ran = heard.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        collect(&outputs, "", &mut ran.files)?;
        let is_declared =
            |path: &String| S::ABOUT.outputs.iter().any(|output| path.split('/').next() == Some(output.name));
        match ran.files.keys().find(|path| !is_declared(path)) {
            Some(path) => Err(StageError::message(format!("{path} is written to no output of the kind"))),
            None => Ok(ran),
        }
    }

    /// What a kind sees of what it is given: of tables its columns, of folders its files.
    fn value(&self, name: &str, gift: &Gift, place: &Place, number: usize) -> Result<InputValue, StageError> {
        let spec = S::ABOUT.inputs.iter().find(|spec| spec.name == name);
        let spec = spec.ok_or_else(|| StageError::message(format!("there is no input `{name}`")))?;
        let fits = match gift {
            Gift::Word(word) => spec.keywords.contains(&word.as_str()),
            Gift::Table(_) => spec.form == InputForm::Table,
            Gift::File(_) => spec.form == InputForm::File,
            Gift::Files(_) => matches!(spec.form, InputForm::Tree | InputForm::Collection),
        };
        if !fits {
            let words: Vec<String> =
                spec.keywords.iter().map(|word| format!(" or the word {word:?}")).collect();
            let takes = format!("the input `{name}` takes a {}{}", spec.form, words.concat());
            return Err(StageError::message(takes));
        }
        Ok(match gift {
            Gift::Word(word) => InputValue::Keyword(word.clone()),
            Gift::Table(text) => {
                let table = Table::parse(&format!("{name}.csv"), text.as_bytes())?;
                let table = table.project(&self.kind.columns(&self.params, name))?;
                if let Some(problem) = self.kind.check_table(&self.params, name, &table).into_iter().next() {
                    return Err(problem);
                }
                InputValue::Table(Arc::new(table))
            }
            Gift::File(bytes) => {
                let path = place.write(number, name, bytes)?;
                InputValue::File(InputFile::outside(&place.memo, &path)?)
            }
            Gift::Files(files) => {
                for (file, bytes) in files {
                    place.write(number, file, bytes)?;
                }
                let form = if spec.form == InputForm::Tree { Form::Tree } else { Form::Collection };
                let files = Files::outside(&place.memo, &place.folder.join(number.to_string()), form)?;
                InputValue::Files(match self.kind.files(&self.params, name) {
                    Some(names) => files.part(&names)?,
                    None => files,
                })
            }
        })
    }
}

/// Where what is given lies.
struct Place {
    folder: PathBuf,
    memo: InputMemo,
}

impl Place {
    fn write(&self, number: usize, name: &str, bytes: &[u8]) -> Result<PathBuf, StageError> {
        let path = self.folder.join(number.to_string()).join(name);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        fs::write(&path, bytes)?;
        Ok(path)
    }
}

/// All files below a folder, by path.
fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), StageError> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), &format!("{name}/"), files)?,
            false => drop(files.insert(name, fs::read(entry.path())?)),
        }
    }
    Ok(())
}

impl Ran {
    /// A file of an output, as text; `None` if there is no such file, or it is no text.
    pub fn text(&self, output: &str, name: &str) -> Option<&str> {
        self.files.get(&format!("{output}/{name}")).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// Hears what a kind tells.
#[derive(Default)]
struct Heard(Mutex<Ran>);

impl Heard {
    fn add(&self, add: impl FnOnce(&mut Ran)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Report for Heard {
    fn warn(&self, text: &str) {
        self.add(|ran| ran.warnings.push(text.to_string()));
    }

    fn scalar(&self, name: &str, value: f64) {
        self.add(|ran| {
            ran.scalars.insert(name.to_string(), value);
        });
    }

    fn log(&self, line: &str) {
        self.add(|ran| ran.log.push(line.to_string()));
    }

    fn progress(&self, _done: u64, _total: u64, _note: &str) {}
}
