//! From bytes to what made them: the results that hold a blob, and what these follow from, down to files outside.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

use pipe_cache::{Digest, Form, ResultRecord, Store};
use serde::Serialize;

use crate::lineage::{Content, Given, ListedItem, Preimage, Source, listed_items};
use crate::record::{RecordError, Run, Runs};

/// What is known of a blob.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Traced {
    /// Its digest.
    pub digest: Digest,
    /// The results that hold it.
    pub products: Vec<Product>,
    /// What it counts in: preimages, as a whole file or folder, by input, kind and fingerprint; and items, by input and instance.
    /// Columns of tables are not looked through.
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
    /// Of bytes that are one item's: what that item was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<ListedItem>,
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
    /// An output of an instance that is told elsewhere in the same answer.
    Told(String),
    /// An output of an instance whose record or result is gone.
    NotKept(String),
}

/// The results that hold a blob, with what they follow from; of a run's results, where one is named.
///
/// # Errors
/// When the store or the run's record cannot be read.
pub fn makers(store: &Store, digest: Digest, run: Option<&str>) -> Result<Traced, RecordError> {
    let tracer = Tracer { store, runs: Runs::of(store)?, listings: RefCell::default() };
    let mut traced = Traced { digest, products: Vec::new(), used_by: Vec::new() };
    let fingerprints: BTreeSet<Digest> = match run {
        Some(run) => tracer.runs.find(run)?.instances().filter_map(|one| one.fingerprint).collect(),
        None => store.fingerprints()?.into_iter().collect(),
    };
    for fingerprint in fingerprints {
        for record in store.results(fingerprint)? {
            for (output, file) in tracer.places(&record, digest) {
                let item = file.as_deref().filter(|_| tracer.is_of_items(&record, &output)).map(item_of);
                let product = tracer.product((fingerprint, &record), item, &mut BTreeSet::new());
                traced.products.push(Product { output: Some(output), file, ..product });
            }
        }
        traced.used_by.extend(tracer.uses(fingerprint, digest));
    }
    traced.used_by.extend(tracer.items_of(digest, run)?);
    traced.products.sort_by(|one, other| one.run.cmp(&other.run));
    traced.used_by.sort();
    traced.used_by.dedup();
    Ok(traced)
}

struct Tracer<'a> {
    store: &'a Store,
    runs: Runs<'a>,
    /// Listings of items that were read.
    listings: RefCell<HashMap<Digest, Rc<Vec<ListedItem>>>>,
}

/// The item whose file has a name: the name without its extension.
fn item_of(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(item, _)| item)
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

    /// Whether an output has a file for each item.
    fn is_of_items(&self, record: &ResultRecord, output: &str) -> bool {
        record.outputs.get(output).is_some_and(|artifact| artifact.form == Form::Collection)
    }

    /// The items in a listing; none where it is gone.
    fn listed(&self, listing: Digest) -> Rc<Vec<ListedItem>> {
        let mut listings = self.listings.borrow_mut();
        let items = || listed_items(&self.store.read(listing).ok()?);
        let read = || Rc::new(items().unwrap_or_default());
        Rc::clone(listings.entry(listing).or_insert_with(read))
    }

    /// The items that a file counts in: of all runs, or of one.
    fn items_of(&self, digest: Digest, run: Option<&str>) -> Result<Vec<String>, RecordError> {
        let runs = match run {
            Some(run) => vec![self.runs.find(run)?],
            None => self.runs.ids().filter_map(|id| self.runs.get(id)).collect(),
        };
        let mut told = Vec::new();
        let mut seen = BTreeSet::new();
        for run in runs {
            for record in run.instances() {
                let Some(listing) =
                    record.items.filter(|listing| seen.insert((*listing, record.label.clone())))
                else {
                    continue;
                };
                for ListedItem { item, files, .. } in self.listed(listing).iter() {
                    let inputs = files.iter().filter(|(_, file)| **file == digest);
                    told.extend(
                        inputs.map(|(input, _)| format!("{input} of item {item} of {}", record.label)),
                    );
                }
            }
        }
        Ok(told)
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

    /// A result, or one item of it, with what it follows from. `told` holds fingerprints that stand in the answer already.
    fn product(
        &self,
        (fingerprint, result): (Digest, &ResultRecord),
        item: Option<&str>,
        told: &mut BTreeSet<Digest>,
    ) -> Product {
        told.insert(fingerprint);
        let preimage = Preimage::kept(self.store, fingerprint);
        let run = self.runs.get(&result.run);
        let record = run.as_ref().and_then(|run| run.computed(fingerprint));
        let inputs = match (record, &run) {
            (Some(record), Some(run)) => {
                let listed = record.items.filter(|_| item.is_some()).map(|listing| self.listed(listing));
                let listed =
                    listed.as_ref().and_then(|all| all.iter().find(|one| Some(one.item.as_str()) == item));
                let given = record.inputs.iter();
                given.map(|given| self.ingredient((given, preimage.as_ref(), listed), run, told)).collect()
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
        (given, preimage, item): (&Given, Option<&Preimage>, Option<&ListedItem>),
        run: &Run,
        told: &mut BTreeSet<Digest>,
    ) -> Ingredient {
        let item = item.filter(|_| preimage.is_some_and(|preimage| is_of_items(preimage, &given.input)));
        // A file of a collection is that of the item of the same name there.
        let name = item.filter(|item| item.files.contains_key(&given.input)).map(|item| item.item.as_str());
        let mut source = |source: &Source| match source {
            Source::Word(word) => IngredientSource::Word(word.clone()),
            Source::Path(path) => IngredientSource::Path(path.clone()),
            Source::Hub(file) => IngredientSource::Hub(file.clone()),
            Source::Output { instance, output } => self.made(run, (instance, output), name, told),
        };
        Ingredient {
            input: given.input.clone(),
            written: given.written.clone(),
            sources: given.sources.iter().map(&mut source).collect(),
            counts: preimage.map(|preimage| counts(preimage, &given.input)).unwrap_or_default(),
            item: item.cloned(),
        }
    }

    /// The result that an instance had in a run, unless it is told already.
    fn made(
        &self,
        run: &Run,
        (label, output): (&str, &str),
        item: Option<&str>,
        told: &mut BTreeSet<Digest>,
    ) -> IngredientSource {
        let name = || format!("{label}.{output}");
        let record = run.instance(label);
        let Some((record, fingerprint)) = record.and_then(|record| Some((record, record.fingerprint?)))
        else {
            return IngredientSource::NotKept(name());
        };
        if told.contains(&fingerprint) {
            return IngredientSource::Told(name());
        }
        let found = self.store.results(fingerprint).unwrap_or_default();
        match found.iter().find(|result| result.outputs == record.outputs) {
            None => IngredientSource::NotKept(name()),
            Some(result) => {
                let made = self.product((fingerprint, result), item, told);
                IngredientSource::Made(Box::new(Product { output: Some(output.to_string()), ..made }))
            }
        }
    }
}

fn is_of_items(preimage: &Preimage, input: &str) -> bool {
    preimage.items.as_ref().is_some_and(|items| items.made_of.iter().any(|name| name == input))
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
            Content::RowFiles(columns) => {
                counts.extend(columns.iter().map(|(column, digest)| format!("files of {column} {digest}")));
            }
            Content::Extension(extension) => counts.push(format!("extension {extension}")),
        }
    }
    let items = preimage.items.as_ref().filter(|_| is_of_items(preimage, input));
    counts.extend(items.map(|items| format!("{} items", items.count)));
    counts
}
