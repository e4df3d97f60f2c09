//! `pipe why`: what changed, and what bytes follow from.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use pipe_cache::{Digest, Store};
use pipe_engine::assess::{Policy, assess};
use pipe_engine::audit::Recorded;
use pipe_engine::explain::{
    Cause, Fate, Ingredient, IngredientSource, Product, Traced, Why, expected, makers, why,
};
use pipe_engine::lineage::ListedItem;
use pipe_engine::record::RunState;
use pipe_engine::run::check_stages;
use pipe_engine::session::Session;
use pipe_engine::view::VERSION;
use serde_json::json;

use crate::arguments::{ManifestArguments, WhyArguments};
use crate::commands::plan;
use crate::error::CliError;
use crate::{Running, render, session};

pub(crate) fn explain(arguments: WhyArguments, running: &Running) -> Result<ExitCode, CliError> {
    let is_json = arguments.output.json;
    let run = arguments.run.as_deref().unwrap_or("latest");
    let found = if run.ends_with(".toml") {
        before_a_run(arguments, running)?
    } else {
        session::refuse_changes_of_run(run, &arguments.in_place)?;
        let store = session::nearest_store(&arguments.cache)?;
        if let Some(digest) = digest_of(&arguments.target)? {
            return of_bytes(&arguments, &store, digest);
        }
        let found = why(&store, run, &arguments.target)?;
        let found = if found.is_empty() { not_yet(&store, run, &arguments.target, running)? } else { found };
        if found.is_empty() {
            let WhyArguments { target, .. } = &arguments;
            let message = format!("run {run} has no stage or instance {target}, and no file is called so");
            return Err(CliError::refused(message, format!("`pipe show {run}` lists what the run has")));
        }
        found
    };
    match is_json {
        true => render::json(&json!({ "version": VERSION, "instances": found })),
        false => render::out_fitted(&instances_in_words(&found)),
    }
    Ok(ExitCode::SUCCESS)
}

/// What is expected of instances that a run has not come to yet, by the manifest that its record keeps.
fn not_yet(store: &Arc<Store>, run: &str, target: &str, running: &Running) -> Result<Vec<Why>, CliError> {
    let recorded = Recorded::read(store, run)?;
    let goes_on = matches!(recorded.head().state(), RunState::Running);
    let Ok(pipeline) = recorded.pipeline(store, None, running.registry()) else { return Ok(Vec::new()) };
    if !goes_on || check_stages(&pipeline, [&target.to_string()]).is_err() {
        return Ok(Vec::new());
    }
    let session = Session::new(running.registry(), store, recorded.devices(), true);
    let verdicts = assess(&session, &pipeline, Policy { force: &[], with_reasons: true });
    Ok(expected(&pipeline, &verdicts, target))
}

/// The digest that a target is, or that of the file that it names; `None` for the name of a stage.
fn digest_of(target: &str) -> Result<Option<Digest>, CliError> {
    if let Ok(digest) = target.parse() {
        return Ok(Some(digest));
    }
    let path = Path::new(target);
    if !path.is_file() {
        return Ok(None);
    }
    let read = File::open(path).and_then(Digest::of_reader);
    let (digest, _) = read.map_err(|error| {
        CliError::refused(format!("{target} cannot be read: {error}"), "name a file that can be read")
    })?;
    Ok(Some(digest))
}

/// What a run of a manifest would do with instances, and why.
fn before_a_run(arguments: WhyArguments, running: &Running) -> Result<Vec<Why>, CliError> {
    let WhyArguments { target, run, in_place, cache, .. } = arguments;
    let manifest = run.unwrap_or_default().into();
    let given = ManifestArguments { manifest, changes: in_place.changes, cache };
    let device = in_place.device.unwrap_or_default();
    let named = std::slice::from_ref(&target);
    let (pipeline, verdicts) = plan::verdicts(&given, device, (named, &[]), running)?;
    Ok(expected(&pipeline, &verdicts, &target))
}

fn of_bytes(arguments: &WhyArguments, store: &Store, digest: Digest) -> Result<ExitCode, CliError> {
    let traced = makers(store, digest, arguments.run.as_deref())?;
    if traced.products.is_empty() && traced.used_by.is_empty() {
        let place = match &arguments.run {
            Some(run) => format!("of run {run}"),
            None => format!("in {}", store.root().display()),
        };
        let message = format!(
            "no result {place} holds the bytes of {}, and none has them as an input (digest {digest})",
            arguments.target
        );
        let advice = "they were changed, or made by something else, or their result has been collected";
        return Err(CliError::refused(message, advice));
    }
    match arguments.output.json {
        true => render::json(&json!({ "version": VERSION, "bytes": traced })),
        false => render::out_fitted(&bytes_in_words(&traced)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Instances that came to the same for the same causes are told together.
fn instances_in_words(found: &[Why]) -> String {
    let mut told: Vec<(String, Vec<&str>)> = Vec::new();
    for why in found {
        let text = lines(why).join("\n");
        match told.iter_mut().find(|(known, _)| *known == text) {
            Some((_, labels)) => labels.push(&why.instance),
            None => told.push((text, vec![&why.instance])),
        }
    }
    let text = |(text, labels): (String, Vec<&str>)| format!("{} {text}", labels.join(", "));
    told.into_iter().map(text).collect::<Vec<String>>().join("\n")
}

/// What became of an instance, and a line for each way from a first cause to it.
fn lines(why: &Why) -> Vec<String> {
    let run = why.run.as_deref().unwrap_or_default();
    let since = why.since.as_ref().map(|since| format!(", compared with run {since}")).unwrap_or_default();
    let mut lines = vec![match &why.fate {
        Fate::Computed => format!("was computed in run {run}{since}:"),
        Fate::Known { from_run, .. } if why.run.is_none() => format!("is known from run {from_run}"),
        Fate::Known { from_run, .. } if why.causes.is_empty() => {
            format!(
                "was known in run {run}: nothing that counts has changed since run {from_run} computed it"
            )
        }
        Fate::Known { from_run, .. } => {
            format!("was known in run {run}, from run {from_run}; it differs from what was before{since}:")
        }
        Fate::Failed { error } if why.run.is_none() => format!("cannot be computed: {error}"),
        Fate::Failed { error } => format!("failed in run {run}: {error}{since}"),
        Fate::Expected => "would be computed:".to_string(),
        Fate::Waiting => "would be computed if what it takes from others changes:".to_string(),
        Fate::NotReached { reason } => format!("was not reached in run {run}: {reason}"),
    }];
    let ways = by_root(why.causes.iter().flat_map(ways));
    lines.extend(ways.into_iter().map(|way| format!("  {}", way.text)));
    if let Fate::Known { computed: Some(computed), .. } = &why.fate {
        let first = format!("  {} ", computed.instance);
        let more = self::lines(computed).into_iter().enumerate();
        lines.extend(
            more.map(|(place, line)| if place == 0 { format!("{first}{line}") } else { format!("  {line}") }),
        );
    }
    lines
}

/// A way from a first cause to what came of it: `slice.window 500 → 400 (p.toml:31) → slice was computed → input slices
/// changed`.
struct Way {
    root: String,
    text: String,
}

/// A way for each first cause of a cause.
fn ways(cause: &Cause) -> Vec<Way> {
    let ways = by_root(cause.upstream.iter().flat_map(|why| ways_through(why, cause)));
    match ways.is_empty() {
        true => vec![Way { root: cause.text.clone(), text: cause.text.clone() }],
        false => ways,
    }
}

fn ways_through(why: &Why, cause: &Cause) -> Vec<Way> {
    let what = match &why.fate {
        Fate::Known { .. } => "has another known result",
        Fate::Failed { .. } => "failed",
        Fate::NotReached { .. } => "was not reached",
        Fate::Expected | Fate::Waiting => "would be computed",
        Fate::Computed => "was computed",
    };
    let step = format!("{} {what} → {}", why.instance, cause.text);
    let before = by_root(why.causes.iter().flat_map(ways));
    if before.is_empty() {
        return vec![Way { root: step.clone(), text: step }];
    }
    let longer = |way: Way| Way { text: format!("{} → {step}", way.text), root: way.root };
    before.into_iter().map(longer).collect()
}

/// One way for each first cause: in a graph of many paths there would be too many to be read.
fn by_root(ways: impl Iterator<Item = Way>) -> Vec<Way> {
    let mut roots = BTreeSet::new();
    ways.filter(|way| roots.insert(way.root.clone())).collect()
}

fn bytes_in_words(traced: &Traced) -> String {
    let mut lines = vec![format!("blake3 {}", traced.digest)];
    for product in &traced.products {
        let file = product.file.as_ref().map(|file| format!("{file} in ")).unwrap_or_default();
        let output = product.output.as_deref().unwrap_or_default();
        lines.push(format!("{file}output {output} of {}", name_of(product)));
        add_inputs(product, 1, &mut lines);
    }
    lines.extend(traced.used_by.iter().map(|used| format!("used as {used}")));
    lines.join("\n")
}

fn name_of(product: &Product) -> String {
    let instance = product.instance.clone().unwrap_or_else(|| format!("a {}", product.kind));
    format!("{instance} (kind {}), computed in run {}", product.kind, product.run)
}

fn add_inputs(product: &Product, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    for Ingredient { input, written, sources, counts, item } in &product.inputs {
        let counts =
            item.as_ref().map_or_else(|| in_brackets(counts), |item| format!(" ({})", item_in_words(item)));
        lines.push(format!("{indent}{input} = {written}{counts}"));
        for source in sources {
            match source {
                IngredientSource::Made(made) => {
                    lines.push(format!("{indent}  {}", name_of(made)));
                    add_inputs(made, depth + 2, lines);
                }
                IngredientSource::Told(output) => lines.push(format!("{indent}  {output}, told above")),
                IngredientSource::NotKept(output) => {
                    lines.push(format!("{indent}  {output}, of which nothing is kept any more"));
                }
                IngredientSource::Path(path) if path.as_os_str() != written.as_str() => {
                    lines.push(format!("{indent}  {}", path.display()));
                }
                IngredientSource::Path(_) | IngredientSource::Word(_) | IngredientSource::Hub(_) => {}
            }
        }
    }
}

/// An item, with the files and values that it was made of.
fn item_in_words(ListedItem { item, values, files, .. }: &ListedItem) -> String {
    let files = files.iter().map(|(name, digest)| format!("{name} {digest}"));
    let values = values.iter().map(|(name, value)| format!("{name} {value}"));
    format!("item {item}: {}", files.chain(values).collect::<Vec<_>>().join(", "))
}

fn in_brackets(counts: &[String]) -> String {
    match counts {
        [] => String::new(),
        [one] => format!(" ({one})"),
        [first, more @ ..] => format!(" ({first} and {} more)", more.len()),
    }
}
