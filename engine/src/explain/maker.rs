//! From bytes to what made them: the results that hold a blob, and what these follow from, down to files outside.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pipe_cache::{Digest, Form, ResultRecord, Store};
use serde::Serialize;

use crate::lineage::{Content, Given, ItemSummary, Preimage, Source};
use crate::record::{RecordError, Run, Runs};

/// What is known of a blob.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Traced {
    /// Its digest.
    pub digest: Digest,
    /// The results that hold it.
    pub products: Vec<Product>,
    /// The preimages that it counts in as a whole file or folder: input, kind, fingerprint. Columns of tables and files of items are
    /// not looked through.
    pub used_by: Vec<String>,
}

/// A result, and what it follows from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Product {
    /// The output that holds the bytes, and the file's name within it where it has several.
    pub output: Option<String>,
    /// The name of the file in the output.
    pub file: Option<String>,
    /// The instance, where a record tells it.
    pub instance: Option<String>,
    /// The kind.
    pub kind: String,
    /// The fingerprint.
    pub fingerprint: Digest,
    /// The run that computed it.
    pub run: String,
    /// What it was given.
    pub inputs: Vec<Ingredient>,
}

/// What a result was given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ingredient {
    /// The input's name.
    pub input: String,
    /// What was written.
    pub written: String,
    /// Where it comes from.
    pub sources: Vec<IngredientSource>,
    /// What counts of it, a digest for each part; of items their number.
    pub counts: Vec<String>,
}

/// Where an ingredient comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IngredientSource {
    /// A word of the kind.
    Word(String),
    /// A file or folder outside the store.
    Path(PathBuf),
    /// A file on the hub.
    Hub(String),
    /// An output of another result.
    Made(Box<Product>),
    /// An output of an instance that is told elsewhere in the same answer, or whose record is gone.
    Output(String),
}

/// The results that hold a blob, with what they follow from; of a run's results, where one is named.
///
/// # Errors
/// When the store or the run's record cannot be read.
pub fn makers(store: &Store, digest: Digest, run: Option<&str>) -> Result<Traced, RecordError> {
    let tracer = Tracer { store, runs: Runs::of(store)? };
    let mut traced = Traced { digest, products: Vec::new(), used_by: Vec::new() };
    let fingerprints: BTreeSet<Digest> = match run {
        Some(run) => tracer.runs.find(run)?.instances().filter_map(|one| one.fingerprint).collect(),
        None => store.fingerprints()?.into_iter().collect(),
    };
    for fingerprint in fingerprints {
        for record in store.results(fingerprint)? {
            for (output, file) in tracer.places(&record, digest) {
                let product = tracer.product(fingerprint, &record, &mut BTreeSet::new());
                traced.products.push(Product { output: Some(output), file, ..product });
            }
        }
        traced.used_by.extend(tracer.uses(fingerprint, digest));
    }
    traced.products.sort_by(|one, other| one.run.cmp(&other.run));
    traced.used_by.sort();
    Ok(traced)
}

struct Tracer<'a> {
    store: &'a Store,
    runs: Runs<'a>,
}

impl Tracer<'_> {
    /// The outputs of a result that hold a blob, each with the file's name in it.
    fn places(&self, record: &ResultRecord, digest: Digest) -> Vec<(String, Option<String>)> {
        let mut places = Vec::new();
        for (output, artifact) in &record.outputs {
            if artifact.digest == digest {
                places.push((output.clone(), None));
            } else if artifact.form != Form::File
                && let Ok(index) = self.store.index(artifact.digest)
            {
                let entries = index.entries().iter().filter(|entry| entry.digest == digest);
                places.extend(entries.map(|entry| (output.clone(), Some(entry.name.clone()))));
            }
        }
        places
    }

    /// The inputs of a fingerprint that a blob counts in.
    fn uses(&self, fingerprint: Digest, digest: Digest) -> Vec<String> {
        let Some(preimage) = Preimage::kept(self.store, fingerprint) else { return Vec::new() };
        let counts =
            |content: &Content| matches!(content, Content::File(one) | Content::Files(one) if *one == digest);
        let used = preimage.inputs.iter().filter(|used| counts(&used.content));
        let text = |name: String| format!("input {name} of a {} ({})", preimage.kind, fingerprint.short());
        used.map(|used| text(used.name())).collect()
    }

    /// A result with what it follows from. `told` holds fingerprints that stand in the answer already.
    fn product(&self, fingerprint: Digest, result: &ResultRecord, told: &mut BTreeSet<Digest>) -> Product {
        told.insert(fingerprint);
        let preimage = Preimage::kept(self.store, fingerprint);
        let run = self.runs.get(&result.run);
        let record = run.as_ref().and_then(|run| run.computed(fingerprint));
        let inputs = match (record, &run) {
            (Some(record), Some(run)) => {
                let given = record.inputs.iter();
                given.map(|given| self.ingredient((given, preimage.as_ref()), run, told)).collect()
            }
            _ => Vec::new(),
        };
        Product {
            output: None,
            file: None,
            instance: record.map(|record| record.label.clone()),
            kind: preimage.map(|preimage| preimage.kind).unwrap_or_default(),
            fingerprint,
            run: result.run.clone(),
            inputs,
        }
    }

    fn ingredient(
        &self,
        (given, preimage): (&Given, Option<&Preimage>),
        run: &Run,
        told: &mut BTreeSet<Digest>,
    ) -> Ingredient {
        let mut source = |source: &Source| match source {
            Source::Word(word) => IngredientSource::Word(word.clone()),
            Source::Path(path) => IngredientSource::Path(path.clone()),
            Source::Hub(file) => IngredientSource::Hub(file.clone()),
            Source::Output { instance, output } => match self.made(run, instance, told) {
                Some(made) => {
                    IngredientSource::Made(Box::new(Product { output: Some(output.clone()), ..made }))
                }
                None => IngredientSource::Output(format!("{instance}.{output}")),
            },
        };
        Ingredient {
            input: given.input.clone(),
            written: given.written.clone(),
            sources: given.sources.iter().map(&mut source).collect(),
            counts: preimage.map(|preimage| counts(preimage, &given.input)).unwrap_or_default(),
        }
    }

    /// The result that an instance had in a run, unless it is told already.
    fn made(&self, run: &Run, label: &str, told: &mut BTreeSet<Digest>) -> Option<Product> {
        let record = run.instance(label)?;
        let fingerprint = record.fingerprint.filter(|fingerprint| !told.contains(fingerprint))?;
        let found = self.store.results(fingerprint).ok()?;
        let result = found.iter().find(|result| result.outputs == record.outputs)?;
        Some(self.product(fingerprint, result, told))
    }
}

/// What counts of an input, in words.
fn counts(preimage: &Preimage, input: &str) -> Vec<String> {
    let mut counts = Vec::new();
    for used in preimage.inputs.iter().filter(|used| used.input == input) {
        match &used.content {
            Content::Word(_) => {}
            Content::File(digest) => counts.push(format!("file {digest}")),
            Content::Files(digest) => counts.push(format!("files {digest}")),
            Content::Columns(columns) => {
                counts.extend(columns.iter().map(|(column, digest)| format!("column {column} {digest}")));
            }
            Content::Headers(headers) => counts.push(format!("headers {headers}")),
        }
    }
    let is_of_items = |items: &&ItemSummary| items.made_of.iter().any(|name| name == input);
    counts.extend(preimage.items.as_ref().filter(is_of_items).map(|items| format!("{} items", items.count)));
    counts
}
