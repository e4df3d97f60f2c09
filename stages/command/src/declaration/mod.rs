//! From what a stage says to a kind of its own, with inputs and outputs of its own; and all that is wrong with it.

mod check;
mod read;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};

use pipe_cache::{Digest, Hasher};
use pipe_plugin::stage::{
    About, Declaration, FileColumn, InputForm, InputSpec, LeadsTo, Misdeclared, OutputForm, OutputSpec,
};

pub use self::check::all_templates;
use self::check::{check_files, check_templates, misdeclared};
use self::read::{Form, items, outputs};
use crate::container::IMAGE;
use crate::environment::{CONDA, VENV};
use crate::params::{CommandParams, EachRow};

/// What a stage declares. It lives as long as the process, like kinds do.
#[derive(Debug)]
pub struct Declared {
    /// What the kind is.
    pub about: &'static About,
    /// The columns of input tables whose cells lead to files, by input.
    pub files: BTreeMap<&'static str, Vec<FileColumn>>,
    /// What it runs once for.
    pub items: Option<Items>,
    /// The input that is its program's software, if that is not the machine's.
    pub software: Option<&'static str>,
}

/// What a stage runs once for.
#[derive(Debug)]
pub enum Items {
    /// Rows of a table.
    Rows {
        /// The input.
        input: &'static str,
        /// How rows become items.
        rows: EachRow,
    },
    /// Files of a collection.
    Files {
        /// The input.
        input: &'static str,
    },
}

/// Inputs that are a program's software, and what they are.
const SOFTWARE: [(&str, &str); 3] = [
    (IMAGE, "an image for Apptainer or Singularity"),
    (VENV, "a lock of Python packages"),
    (CONDA, "a lock of conda packages"),
];

/// What a stage names as its program's software.
fn special(params: &CommandParams) -> impl Iterator<Item = (&'static str, &String)> {
    let given = [&params.container, &params.venv, &params.conda];
    SOFTWARE.into_iter().zip(given).filter_map(|((name, _), given)| Some((name, given.as_ref()?)))
}

/// Whether an input is a program's software, and nothing that it is given.
pub fn is_software(input: &str) -> bool {
    SOFTWARE.iter().any(|(name, _)| *name == input)
}

/// What a stage declares, the same for the same declaration.
///
/// # Errors
/// All that is wrong with it.
pub fn declared(base: &About, declaration: &Declaration<'_>) -> Result<&'static Declared, Vec<Misdeclared>> {
    let params: CommandParams = serde_json::from_value(declaration.params.clone()).map_err(|error| {
        vec![misdeclared("run", error.to_string(), "`pipe stages command` explains the parameters")]
    })?;
    let mut problems = Vec::new();
    let items = items(&params, declaration.inputs, &mut problems);
    let outputs = outputs(&params, items.is_some(), &mut problems);
    check_files(&params, declaration.inputs, &outputs, &mut problems);
    let used = check_templates(&params, declaration.inputs, items.as_ref(), &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut inputs = declaration.inputs.to_vec();
    let of_software: Vec<String> = special(&params).map(|(name, _)| name.to_string()).collect();
    inputs.extend(of_software.into_iter().filter(|name| !declaration.inputs.contains(name)));
    // The same however it was given.
    inputs.sort();
    let draft = Draft { base, params: &params, inputs: &inputs, items, outputs, used };
    Ok(draft.kept())
}

/// A declaration without faults.
struct Draft<'a> {
    base: &'a About,
    params: &'a CommandParams,
    inputs: &'a [String],
    items: Option<(String, Option<EachRow>)>,
    outputs: Vec<(String, Form)>,
    used: BTreeSet<String>,
}

impl Draft<'_> {
    /// Declarations are kept as long as the process lives: there are as many as stages differ.
    fn kept(self) -> &'static Declared {
        static KEPT: OnceLock<Mutex<HashMap<Digest, &'static Declared>>> = OnceLock::new();
        let name = self.digest();
        let mut kept = KEPT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(name).or_insert_with(|| Box::leak(Box::new(self.declared())))
    }

    /// A digest of all that decides the kind.
    fn digest(&self) -> Digest {
        let (random, params) = (self.used.contains("seed"), self.params);
        let what = format!(
            "{:?}",
            (
                self.inputs,
                &self.items,
                &self.outputs,
                &params.files,
                params.gpu,
                params.deterministic,
                random
            )
        );
        let mut hasher = Hasher::new("pipe declaration of a command, version 1");
        hasher.field(what);
        hasher.finish()
    }

    fn declared(&self) -> Declared {
        let inputs: Vec<InputSpec> = self.inputs.iter().map(|name| self.input(name)).collect();
        let outputs: Vec<OutputSpec> = self.outputs.iter().map(|(name, form)| output(name, form)).collect();
        let columns = |names: &Vec<String>| {
            names.iter().map(|name| FileColumn::new(text(name), LeadsTo::FileOrFolder).optional()).collect()
        };
        let base = self.base;
        let about = About {
            inputs: Vec::leak(inputs),
            outputs: Vec::leak(outputs),
            random: self.used.contains("seed"),
            device: self.params.gpu,
            deterministic: self.params.deterministic,
            ..About::new(base.name, base.summary, base.code)
        };
        Declared {
            about: Box::leak(Box::new(about)),
            files: self.params.files.iter().map(|(input, names)| (text(input), columns(names))).collect(),
            software: SOFTWARE
                .into_iter()
                .map(|(name, _)| name)
                .find(|name| self.inputs.iter().any(|input| input == name)),
            items: self.items.as_ref().map(|(input, rows)| match rows {
                Some(rows) => Items::Rows { input: text(input), rows: rows.clone() },
                None => Items::Files { input: text(input) },
            }),
        }
    }

    fn input(&self, name: &str) -> InputSpec {
        if let Some((name, summary)) = SOFTWARE.into_iter().find(|(known, _)| *known == name) {
            return InputSpec::new(name, InputForm::File, summary).also_parameter();
        }
        let of_items = self.items.as_ref().filter(|(input, _)| input == name).map(|(_, rows)| rows.is_some());
        let form = match (of_items, self.params.files.contains_key(name)) {
            (Some(true), _) | (None, true) => InputForm::Table,
            (Some(false), _) => InputForm::Collection,
            (None, false) => InputForm::Any,
        };
        let spec = InputSpec::new(text(name), form, "what the stage gives its program");
        if form == InputForm::Any { spec.many() } else { spec }
    }
}

fn output(name: &str, form: &Form) -> OutputSpec {
    let form = match form {
        Form::Table => OutputForm::Table(text(&format!("{name}.csv"))),
        Form::Folder => OutputForm::Tree,
        Form::File(file) => OutputForm::File(text(file)),
        Form::Collection(extension) => OutputForm::Collection(text(extension)),
    };
    OutputSpec { name: text(name), summary: "what the program makes", form }
}

fn text(text: &str) -> &'static str {
    String::leak(text.to_string())
}
