//! `pipe get`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use pipe_cache::{ArtifactRef, InputMemo, Store};
use pipe_engine::assess::{Policy, Verdict, assess};
use pipe_engine::export::{Export, Exported};
use pipe_engine::input::Selector;
use pipe_engine::manifest::{InputBinding, InputSource, Instance};
use pipe_engine::naming::{self, Named};
use pipe_engine::publish::{CopyError, Copyable, copy_out, listed, write_out};
use pipe_engine::record::{InstanceRecord, RunState, read_run};
use pipe_engine::registry::Registry;
use pipe_engine::session::Session;
use pipe_engine::stage::{Kind, OutputSpec, StageError};
use pipe_engine::view::VERSION;
use serde_json::json;

use crate::arguments::{GetArguments, InPlaceOfRun};
use crate::error::{CliError, exit};
use crate::forms::{FORMS, Form};
use crate::{Running, render, session, timing};

/// A store, what it may have, and the state of the run if it is of one.
type Source = (Arc<Store>, Vec<Found>, Option<RunState>);

/// An instance of the pipeline or run that was asked for.
struct Found {
    stage: String,
    kind: String,
    /// What its kind makes; `None` if the program does not have the kind.
    specs: Option<&'static [OutputSpec]>,
    selector: Selector,
    outputs: Option<BTreeMap<String, ArtifactRef>>,
    label: String,
    /// Files outside the store that are given to its inputs.
    given: BTreeMap<String, PathBuf>,
}

impl Found {
    fn is_meant_by(&self, named: &Named<'_>) -> bool {
        named.means(&self.stage, &self.label)
    }
}

pub(crate) fn get(arguments: &GetArguments, running: &Running) -> Result<ExitCode, CliError> {
    let named = Named::read(&arguments.stage);
    let (store, all, state) = if Path::new(&arguments.source).is_file() {
        from_manifest(arguments, running)?
    } else {
        from_run(arguments, running.registry())?
    };
    let found: Vec<&Found> = all.iter().filter(|found| found.is_meant_by(&named)).collect();
    if found.is_empty() {
        let names = all.iter().map(|found| (found.stage.as_str(), found.label.as_str()));
        let known = naming::known(&named, names);
        if let Some(state) = state.filter(|state| *state != RunState::Ok) {
            let message = format!("the run, which is {}, has not come to `{}`", state.word(), named.name);
            let help = match all.is_empty() {
                true => "run the pipeline again; it came to no stage's end".to_string(),
                false => format!("run the pipeline again; it came to {known}"),
            };
            return Err(CliError::refused(message, help));
        }
        return Err(CliError::refused(
            format!("there is no stage `{}`", named.name),
            format!("stages: {known}"),
        ));
    }
    if let Some(instance) = found.iter().find(|instance| instance.outputs.is_none()) {
        return Err(CliError::Other {
            message: format!("{} is not computed", instance.label),
            help: format!("run the pipeline first; `pipe plan` tells what `{}` waits for", named.name),
            code: exit::FAILED,
        });
    }
    let kind = found.first().map_or("", |found| found.kind.as_str());
    let is_of_kind = |format: &str| {
        running.program.exports.iter().any(|export| export.kind == kind && export.name == format)
    };
    let general = arguments.format.as_ref().filter(|format| !is_of_kind(format));
    let general = general.and_then(|format| FORMS.iter().find(|form| form.name == *format));
    let files = match (&arguments.format, general) {
        (_, Some(form)) => converted(arguments, form, named.output, &store, &found)?,
        (Some(format), None) => exported(arguments, &running.program.exports, format, &named, &store, &all)?,
        (None, None) => copied(arguments, named.output, &store, &found)?,
    };
    match arguments.output.json {
        true => render::json(&json!({ "version": VERSION, "files": files, "to": arguments.to })),
        false => render::line(&format!("{files} files copied to {}", arguments.to.display())),
    }
    Ok(ExitCode::SUCCESS)
}

/// Copies outputs as they are.
fn copied(
    arguments: &GetArguments,
    output: Option<&str>,
    store: &Store,
    found: &[&Found],
) -> Result<usize, CliError> {
    let memo = InputMemo::open(store, true);
    Ok(copy_out(store, &memo, &copies(output, found)?, &arguments.to)?)
}

/// The outputs that were asked for, of all instances.
fn copies<'f>(output: Option<&str>, found: &[&'f Found]) -> Result<Vec<Copyable<'f>>, CliError> {
    let mut copies = Vec::new();
    for instance in found {
        for spec in specs(instance, output)? {
            if let Some(artifact) = instance.outputs.as_ref().and_then(|outputs| outputs.get(spec.name)) {
                copies.push(Copyable { selector: &instance.selector, spec, artifact });
            }
        }
    }
    Ok(copies)
}

/// Writes those files of outputs that have a form, in that form.
fn converted(
    arguments: &GetArguments,
    form: &Form,
    output: Option<&str>,
    store: &Store,
    found: &[&Found],
) -> Result<usize, CliError> {
    if let Some((name, _)) = arguments.input.first() {
        let message = format!("the form `{}` takes no input `{name}`", form.name);
        return Err(CliError::refused(message, "leave `--input` out"));
    }
    let listed = listed(store, &copies(output, found)?)?;
    let (mut files, mut left_out) = (0, 0);
    for (name, digest) in &listed {
        let bytes = store.read(*digest).map_err(CopyError::from)?;
        let made = form.of(name, &bytes).map_err(|error| CliError::Other {
            message: error.to_string(),
            help: "leave `--format` out: the file is copied as it is".to_string(),
            code: exit::FAILED,
        })?;
        match made {
            Some((name, bytes)) => files += usize::from(write_out(&arguments.to, &name, &bytes)?),
            None => left_out += 1,
        }
    }
    if left_out == listed.len() {
        let message =
            format!("none of the {} files has the form `{}`: {}", listed.len(), form.name, form.summary);
        return Err(CliError::refused(message, "leave `--format` out: the files are copied as they are"));
    }
    if left_out > 0 {
        render::line(&format!("{left_out} files have no form `{}` and were left out", form.name));
    }
    Ok(files)
}

/// Writes a form of the results.
fn exported(
    arguments: &GetArguments,
    exports: &[&'static Export],
    format: &str,
    named: &Named<'_>,
    store: &Arc<Store>,
    all: &[Found],
) -> Result<usize, CliError> {
    let stage = named.name;
    let kind = all.iter().find(|found| found.is_meant_by(named)).map_or("", |found| found.kind.as_str());
    let export = form(exports, format, kind, stage)?;
    if let Some(output) = named.output {
        let message = format!("`{format}` is a form of `{stage}` as a whole, not of `{stage}.{output}`");
        return Err(CliError::refused(message, format!("give `{stage}`")));
    }
    let instances: Vec<Exported> =
        all.iter().filter_map(|found| exportable(arguments, store, found)).collect();
    let chosen: Vec<&Exported> =
        instances.iter().filter(|instance| named.means(&instance.stage, &instance.label)).collect();
    let mut files = 0;
    // A file that is there already is told as such, not as a failure of the form.
    let mut differs = None;
    let outcome = (export.write)(&chosen, &instances, &mut |name, bytes| {
        let written = write_out(&arguments.to, name, bytes);
        files += usize::from(*written.as_ref().unwrap_or(&false));
        written.map(|_| ()).map_err(|error| {
            let message = error.to_string();
            differs = Some(error);
            StageError::message(message)
        })
    });
    match (outcome, differs) {
        (_, Some(error)) => Err(error.into()),
        (Err(error), None) => Err(CliError::Other {
            message: error.to_string(),
            help: error.advice.unwrap_or_else(|| format!("`{format}` {}", export.summary)),
            code: exit::FAILED,
        }),
        (Ok(remarks), None) => {
            remarks.iter().for_each(|remark| render::line(remark));
            Ok(files)
        }
    }
}

/// The form of that name for a kind.
fn form(
    exports: &[&'static Export],
    format: &str,
    kind: &str,
    stage: &str,
) -> Result<&'static Export, CliError> {
    let of_kind = |export: &&&'static Export| export.kind == kind;
    if let Some(export) = exports.iter().filter(of_kind).find(|export| export.name == format) {
        return Ok(export);
    }
    let known: Vec<String> =
        exports.iter().filter(of_kind).map(|export| format!("{}: {}", export.name, export.summary)).collect();
    let general: Vec<&str> = FORMS.iter().map(|form| form.name).collect();
    let own =
        if known.is_empty() { String::new() } else { format!("its own forms are {}; ", known.join("; ")) };
    let help = format!("{own}all results have {}", general.join(", "));
    Err(CliError::refused(format!("the results of `{stage}` have no form `{format}`"), help))
}

fn exportable(arguments: &GetArguments, store: &Arc<Store>, found: &Found) -> Option<Exported> {
    let Found { stage, kind, selector, outputs, label, given, .. } = found;
    let (label, stage, kind) = (label.clone(), stage.clone(), kind.clone());
    let mut exported = Exported::new(store, label, stage, kind, selector.clone(), outputs.as_ref()?.clone());
    exported.given = given.clone();
    exported.given.extend(arguments.input.iter().cloned());
    Some(exported)
}

fn from_manifest(arguments: &GetArguments, running: &Running) -> Result<Source, CliError> {
    let InPlaceOfRun { changes, device } = &arguments.in_place;
    let source = Path::new(&arguments.source);
    let pipeline = session::pipeline_at(source, &changes.overrides(), running.registry())?;
    let store = session::store(&pipeline, &arguments.cache)?;
    let session = Session::new(running.registry(), &store, device.unwrap_or_default().kind().into(), true);
    let results = assess(&session, &pipeline, Policy::default()).into_iter().map(|verdict| match verdict {
        Verdict::UpToDate { outputs, .. } => Ok(Some(outputs)),
        Verdict::Wrong(error) => Err(CliError::Input(error)),
        Verdict::Stale { .. } | Verdict::Waiting { .. } => Ok(None),
    });
    let results = results.collect::<Result<Vec<_>, CliError>>()?;
    let given = |instance: &Instance| {
        let path = |binding: &InputBinding| match &*binding.sources {
            [InputSource::Path(path)] => Some((binding.spec.name.to_owned(), path.clone())),
            _ => None,
        };
        instance.inputs.iter().filter_map(path).collect()
    };
    let found = pipeline.instances.iter().zip(results).map(|(instance, outputs)| Found {
        stage: instance.stage.clone(),
        kind: instance.kind.about().name.to_string(),
        specs: Some(instance.kind.about().outputs),
        selector: instance.selector.as_ref().clone(),
        outputs,
        label: instance.label.clone(),
        given: given(instance),
    });
    Ok((store, found.collect(), None))
}

fn from_run(arguments: &GetArguments, registry: &Registry) -> Result<Source, CliError> {
    session::refuse_changes_of_run(&arguments.source, &arguments.in_place)?;
    let store = session::nearest_store(&arguments.cache)?;
    let run = read_run(&store, &arguments.source)?;
    let header = &run.head.header;
    render::line(&format!("from run {}, begun {}", header.run, timing::minute(&header.started)));
    let state = run.head.state();
    let found: Vec<Found> = run
        .instances
        .into_iter()
        .map(|record| Found {
            specs: kind_of(&record, &store, registry).map(|kind| kind.about().outputs),
            outputs: (!record.outputs.is_empty()).then_some(record.outputs),
            stage: record.stage,
            kind: record.kind,
            selector: record.selector,
            label: record.label,
            given: BTreeMap::new(),
        })
        .collect();
    Ok((store, found, Some(state)))
}

/// The kind of an instance of a run.
fn kind_of(record: &InstanceRecord, store: &Store, registry: &Registry) -> Option<Kind> {
    match record.preimage(store) {
        Some(preimage) => preimage.kind_in(registry),
        None => registry.get(&record.kind),
    }
}

/// The outputs that were asked for.
fn specs(found: &Found, output: Option<&str>) -> Result<Vec<&'static OutputSpec>, CliError> {
    let Found { stage, kind, .. } = found;
    let Some(all) = found.specs else {
        let message = format!("stage `{stage}` is of the kind `{kind}`, which this program does not have");
        return Err(CliError::refused(message, "use the program that ran it"));
    };
    match output {
        None => Ok(all.iter().collect()),
        Some(name) => match all.iter().find(|spec| spec.name == name) {
            Some(spec) => Ok(vec![spec]),
            None => {
                let known: Vec<&str> = all.iter().map(|spec| spec.name).collect();
                let message = format!("stage `{stage}` has no output `{name}`");
                Err(CliError::refused(message, format!("outputs: {}", known.join(", "))))
            }
        },
    }
}
