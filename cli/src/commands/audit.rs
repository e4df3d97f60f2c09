//! `pipe audit`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use pipe_cache::Store;
use pipe_engine::audit::{
    Asked, Audit, Checked, Finding, Outcome, Recorded, Replay, Replayed, ReplayedInstance, Target,
    audit as look, find, replay, unreadable,
};
use pipe_engine::context::Cancel;
use pipe_engine::deidentify::{DeidentifyError, Key, deidentify};
use pipe_engine::manifest::Pipeline;
use pipe_engine::pack::{Unpacked, first_difference, is_pack, unpack};
use pipe_engine::record::{AllowedSigners, RecordEnder, RecordError, read_head};
use pipe_engine::session::Session;
use pipe_engine::view::AuditView;

use super::run::{interrupt, processors};
use crate::arguments::{AuditArguments, DeviceArgument};
use crate::error::{CliError, exit};
use crate::progress::{Display, Verbosity};
use crate::{Running, hub, render, session, timing};

pub(crate) fn audit(arguments: &AuditArguments, running: &Running) -> Result<ExitCode, CliError> {
    let key = session::signing_key(arguments.sign.as_ref())?;
    let (name, stages) = named(arguments);
    let path = Path::new(&name);
    let pack = if is_pack(path) { Some(unpack(path)?) } else { None };
    let store = match &pack {
        Some(pack) => Arc::clone(&pack.store),
        None => session::nearest_store(&arguments.cache)?,
    };
    // A run is meant by its name, also where a file is called like it.
    let is_run = !name.contains('/') && read_head(&store, &name).is_ok();
    let (run, target) = match (&pack, path.exists() && !is_run) {
        (Some(pack), _) => (pack.run.clone(), Target::Run),
        (None, true) => find(&store, path)?,
        (None, false) => (name.clone(), Target::Run),
    };
    if key.is_some() {
        refuse_to_sign(&store, &run, &target, pack.is_some())?;
    }
    let mut audit = audited(arguments, running, (&store, pack.as_ref()), (&run, target, stages))?;
    if let Some(key) = &arguments.key {
        compare_with_run(arguments, running, (path, key), &mut audit)?;
    }
    let is_interrupted = audit.replayed.as_ref().is_some_and(|replayed| replayed.interrupted);
    if let Some(key) = key.filter(|_| audit.findings.is_empty() && !is_interrupted) {
        let path = key.sign(&read_head(&store, &audit.run)?)?;
        render::line(&format!("signed: {}", path.display()));
    }
    match arguments.output.json {
        true => render::json(&AuditView::new(&audit)),
        false => render::out_fitted(&text(&audit)),
    }
    Ok(match (is_interrupted, audit.findings.is_empty()) {
        (true, _) => ExitCode::from(exit::INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(exit::FOUND),
    })
}

/// What is to be audited, and what of it is to be computed again. `--replay` takes words as long as there are any: the last of them
/// is what is to be audited if it names a run or a pack and nothing else does.
fn named(arguments: &AuditArguments) -> (String, Option<Vec<String>>) {
    let mut stages = arguments.replay.clone();
    if let (None, Some(words)) = (&arguments.target, &mut stages) {
        let is_meant = |word: &String| {
            let store = || session::nearest_store(&arguments.cache).ok();
            is_pack(Path::new(word)) || store().is_some_and(|store| read_head(&store, word).is_ok())
        };
        if words.last().is_some_and(is_meant)
            && let Some(target) = words.pop()
        {
            return (target, stages);
        }
    }
    (arguments.target.clone().unwrap_or_else(|| "latest".to_string()), stages)
}

/// Compares a de-identified pack with what a key gives of the run in the cache.
fn compare_with_run(
    arguments: &AuditArguments,
    running: &Running,
    (path, key): (&Path, &Path),
    audit: &mut Audit,
) -> Result<(), CliError> {
    if !audit.is_de_identified() {
        return Err(CliError::refused(
            "--key is of a de-identified pack",
            "`pipe pack RUN --de-identified --to FILE` makes one",
        ));
    }
    let store = session::nearest_store(&arguments.cache)?;
    let again = match deidentify(&store, &audit.run, &Key::read(key)?, running.registry()) {
        Err(DeidentifyError::Record(RecordError::Unknown { name, cache })) => {
            return Err(RecordError::Unknown { name, cache }.into());
        }
        Err(error) => {
            let (cache, problem) = (store.root().to_path_buf(), error.to_string());
            audit.findings.push(Finding::NotCompared { cache, problem });
            return Ok(());
        }
        Ok(again) => again,
    };
    match first_difference(&again.store, &again.run, path)? {
        None => audit.same_as_in = Some(store.root().to_path_buf()),
        Some(entry) => {
            audit.findings.push(Finding::OtherThanKey { entry, cache: store.root().to_path_buf() });
        }
    }
    Ok(())
}

/// A signature is of a whole record: nobody vouches for more than was looked at.
fn refuse_to_sign(store: &Store, run: &str, target: &Target, is_pack: bool) -> Result<(), CliError> {
    let refuse =
        |message: &str| Err(CliError::refused(message, format!("`pipe audit {run} --sign KEY` signs a run")));
    if is_pack {
        return refuse("a pack cannot be signed: it has the signatures of the record that was packed");
    }
    if !matches!(target, Target::Run) {
        return refuse("only a whole run is signed, not what a file or folder follows from");
    }
    match read_head(store, run) {
        Ok(head) if head.summary.is_none() => refuse("the run has not told of its end: its record may go on"),
        _ => Ok(()),
    }
}

fn audited(
    arguments: &AuditArguments,
    running: &Running,
    (store, pack): (&Arc<Store>, Option<&Unpacked>),
    (run, target, stages): (&str, Target, Option<Vec<String>>),
) -> Result<Audit, CliError> {
    let registry = running.registry();
    let recorded = match Recorded::read(store, run) {
        Ok(recorded) if stages.is_some() && recorded.is_de_identified() => {
            return Err(CliError::refused(
                "of a de-identified pack nothing can be computed again: its inputs are told by keyed hashes only",
                "compare it with the run, with --key FILE, and audit that with --replay",
            ));
        }
        Err(error @ (RecordError::Unreadable { .. } | RecordError::Empty { .. })) => {
            return Ok(unreadable(run, &error));
        }
        recorded => recorded?,
    };
    let root = arguments.root.as_deref().or(pack.map(|pack| pack.root.as_path()));
    let mut pipeline = recorded.pipeline(store, root, registry);
    if let Ok(pipeline) = &mut pipeline {
        // What is not at hand is told as such: an audit downloads nothing.
        let _ = hub::place_known(pipeline);
    }
    let session = Session::new(registry, store, recorded.devices(), false);
    let signers = arguments.trusted.as_deref().map(AllowedSigners::read).transpose()?;
    let asked = Asked { target, head: arguments.head, signers, is_pack: pack.is_some() };
    let mut audit = look(&session, &recorded, pipeline.as_ref(), &asked)?;
    let problems = pack.into_iter().flat_map(|pack| pack.problems.iter().cloned());
    audit.findings.extend(problems.map(|problem| Finding::Pack { problem }));
    if let (Some(stages), Ok(pipeline)) = (&stages, &pipeline) {
        compute_again(arguments, running, (stages, store), (&recorded, pipeline, &asked), &mut audit)?;
    }
    Ok(audit)
}

fn compute_again(
    arguments: &AuditArguments,
    running: &Running,
    (stages, store): (&[String], &Arc<Store>),
    (recorded, pipeline, asked): (&Recorded, &Pipeline, &Asked),
    audit: &mut Audit,
) -> Result<(), CliError> {
    let of_run = if recorded.device() == "cuda" { DeviceArgument::Cuda(None) } else { DeviceArgument::Cpu };
    let devices = session::devices(arguments.device.unwrap_or(of_run), running)?;
    let verbosity = if arguments.output.json { Verbosity::Quiet } else { Verbosity::Normal };
    let display = Display::new(verbosity);
    let cancel = Cancel::default();
    let signalled = cancel.clone();
    let _ = ctrlc::set_handler(move || interrupt(&signalled, &RecordEnder::default()));
    let how = Replay {
        stages: stages.to_vec(),
        sample: arguments.sample.clone(),
        jobs: arguments.jobs.map_or_else(processors, usize::from),
        devices,
        observer: &display,
        cancel,
    };
    Ok(replay((running.registry(), store), (recorded, pipeline), asked, &how, audit)?)
}

fn text(audit: &Audit) -> String {
    let mut lines: Vec<String> = audit.findings.iter().map(|finding| format!("finding: {finding}")).collect();
    lines.extend(audit.notes.iter().map(|note| format!("note: {note}")));
    lines.push(format!("run {}", audit.run));
    lines.extend(facts(audit));
    lines.extend(audit.replayed.iter().flat_map(computed_again));
    lines.push(audit.level().to_string());
    lines.join("\n")
}

fn facts(Audit { record, checked, signed_by, .. }: &Audit) -> Vec<String> {
    let Checked { instances, bound, blobs, bytes, published } = checked;
    let mut lines = Vec::new();
    if let Some(head) = record.head {
        let seen = match record.seen_by {
            0 => "no later run has seen it".to_string(),
            1 => "1 later run has seen it".to_string(),
            many => format!("{many} later runs have seen it"),
        };
        lines.push(format!("  record     {} lines; {seen}", record.lines));
        lines.push(format!("  head       {head}"));
    }
    if !signed_by.is_empty() {
        lines.push(format!("  signed     by {}", signed_by.join(", ")));
    }
    lines.push(format!("  instances  {instances} with results, {bound} bound anew to their inputs"));
    lines.push(format!("  bytes      {blobs} blobs, {}", render::size(*bytes)));
    lines.push(format!("  published  {published} files"));
    lines
}

fn computed_again(replayed: &Replayed) -> Vec<String> {
    let width = replayed.instances.iter().map(|one| one.instance.len()).max().unwrap_or(0);
    let line = |ReplayedInstance { instance, outcome, items, seconds }: &ReplayedInstance| {
        let word = match outcome {
            Outcome::Identical => "identical".to_string(),
            Outcome::WithinTolerance { largest, tolerance } => {
                format!("within tolerance (at most {largest:.1e}, allowed {tolerance:.1e})")
            }
            Outcome::NotPromised { differences } => {
                let first = differences.first().map(|one| format!(": {one}")).unwrap_or_default();
                format!("different, as deterministic = false allows{first}")
            }
            Outcome::Different { .. } => "different".to_string(),
            Outcome::Failed { .. } | Outcome::NotAtHand { .. } => "not computed".to_string(),
        };
        let items = items.map(|(done, of)| format!(", {done} of {of} items")).unwrap_or_default();
        format!("    {instance:width$}  {word}{items}, {}", timing::duration(*seconds))
    };
    let sample = replayed.sample.as_ref().map(|sample| {
        format!(", at most {} items of each, --sample {}:{}", sample.count, sample.count, sample.seed)
    });
    let first = format!("  again      {} instances{}", replayed.instances.len(), sample.unwrap_or_default());
    [first].into_iter().chain(replayed.instances.iter().map(line)).collect()
}
