//! `pipe run`

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pipe_cache::Store;
use pipe_engine::context::Cancel;
use pipe_engine::event::{Event, Observer, Status, Summary};
use pipe_engine::manifest::Pipeline;
use pipe_engine::preflight::check_tables;
use pipe_engine::record::{GitState, RecordEnder, SignatureError, Surroundings, read_head};
use pipe_engine::run::{ExecutorChoice, RunOptions, WorkerCommand, run as run_pipeline};
use pipe_engine::session::Session;

use crate::arguments::{ExecutorName, RunArguments};
use crate::error::{CliError, exit};
use crate::progress::{Display, JsonLines};
use crate::{Running, findings, hub, panics, refusal, render, session};

/// How long a run may take to stop by itself.
const PATIENCE: Duration = Duration::from_millis(1500);

pub(crate) fn run(arguments: &RunArguments, running: &Running) -> Result<ExitCode, CliError> {
    let load = || session::pipeline(&arguments.manifest, running.registry());
    let outcome = run_loaded(arguments, running, &load, arguments.keep_going);
    refused_in_json(arguments.json, outcome.map(|(summary, _)| exit_code(&summary)))
}

/// An outcome whose refusal has been told as events, if events are what is told.
pub(super) fn refused_in_json(json: bool, outcome: Result<ExitCode, CliError>) -> Result<ExitCode, CliError> {
    if let (Err(error), true) = (&outcome, json) {
        refusal::events(error).iter().for_each(|event| render::out(&event.to_string()));
    }
    outcome
}

/// Runs a pipeline, which is loaded when all else is known to be in order.
pub(super) fn run_loaded(
    arguments: &RunArguments,
    running: &Running,
    load: &dyn Fn() -> Result<Pipeline, CliError>,
    keep_going: bool,
) -> Result<(Summary, Arc<Store>), CliError> {
    let devices = session::devices(arguments.device, running)?;
    let executor = executor(arguments)?;
    let key = session::signing_key(arguments.sign.as_ref())?;
    let verbosity = arguments.verbosity();
    let observer: Box<dyn Observer> =
        if arguments.json { Box::new(JsonLines(verbosity)) } else { Box::new(Display::new(verbosity)) };
    let mut pipeline = load()?;
    let store = session::store(&pipeline, &arguments.manifest.cache)?;
    session::refuse_publishing_into(store.root(), &pipeline)?;
    let session = Session::new(running.registry(), &store, devices, !arguments.verify);
    session.look_once();
    check_tables(&session, &pipeline)?;
    for warning in findings::refuse_errors(&session, &pipeline)?.iter().filter(|_| arguments.json) {
        let text = format!("{}: {}", warning.place, warning.message);
        observer.event(&Event::Warning { stage: None, text });
    }
    let may_wait = !pipeline.hub_files().is_empty();
    hub::place_all(&mut pipeline)?;
    if may_wait {
        session.look_once();
    }
    let surroundings = surroundings(&pipeline.root, running);
    let options = RunOptions { keep_going, ..options(arguments, surroundings, executor) };
    let cancel = Arc::new(Cancel::default());
    let signalled = Arc::clone(&cancel);
    // Without a handler an interrupt still leaves a good cache; it only ends less politely.
    let ender = options.ender.clone();
    let _ = ctrlc::set_handler(move || interrupt(&signalled, &ender));
    let noting = Noting { observer: observer.as_ref(), runs: store.runs() };
    let summary = run_pipeline(&session, &pipeline, &options, &noting, &cancel)?;
    if let Some(key) = key {
        let signed =
            read_head(&store, &summary.run).map_err(SignatureError::from).and_then(|run| key.sign(&run));
        signed.map_err(|error| CliError::Other {
            message: format!("the run has ended, and its record is not signed: {error}"),
            help: format!("`pipe audit {} --sign KEY` signs it", summary.run),
            code: exit::FAILED,
        })?;
    }
    Ok((summary, store))
}

/// Notes where the run's record is, for what has no other way to know it.
struct Noting<'a> {
    observer: &'a dyn Observer,
    runs: PathBuf,
}

impl Observer for Noting<'_> {
    fn event(&self, event: &Event) {
        if let Event::Started { run, .. } = event {
            panics::set_run(self.runs.join(run));
        }
        if let Event::StageStarted { .. } = event {
            panics::panic_on_demand("stage");
        }
        self.observer.event(event);
    }
}

fn options(arguments: &RunArguments, surroundings: Surroundings, executor: ExecutorChoice) -> RunOptions {
    RunOptions {
        jobs: arguments.jobs.map_or_else(processors, usize::from),
        force: arguments.force.clone(),
        only: arguments.only.clone(),
        keep_going: arguments.keep_going,
        memory_bytes: memory_bytes(),
        secrets: session::secrets(),
        executor,
        surroundings,
        ender: RecordEnder::default(),
    }
}

fn executor(arguments: &RunArguments) -> Result<ExecutorChoice, CliError> {
    match arguments.executor {
        ExecutorName::Local => Ok(ExecutorChoice::Local),
        ExecutorName::Process => {
            let program = std::env::current_exe().map_err(|error| {
                CliError::refused(
                    format!("this program cannot find itself: {error}"),
                    "run with --executor local",
                )
            })?;
            let arguments_before = ["worker", "--attached"].map(str::to_string).to_vec();
            Ok(ExecutorChoice::Processes(WorkerCommand {
                program,
                arguments: arguments_before,
                verify: arguments.verify,
            }))
        }
        ExecutorName::Slurm => {
            Err(CliError::refused("the Slurm executor is not built yet", "run with --executor local"))
        }
    }
}

pub(super) fn exit_code(summary: &Summary) -> ExitCode {
    match summary.status {
        Status::Ok => ExitCode::SUCCESS,
        Status::Failed => ExitCode::from(exit::FAILED),
        Status::Interrupted => ExitCode::from(exit::INTERRUPTED),
    }
}

/// Asks the run to stop; ends it when it does not, for what is kept is whole at any moment.
#[allow(clippy::exit, reason = "a step that does not listen cannot be left otherwise")]
pub(super) fn interrupt(cancel: &Cancel, ender: &RecordEnder) {
    cancel.cancel();
    let ender = ender.clone();
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE);
        // A record without an end would say that the run was killed.
        let _ = ender.end_interrupted();
        render::line("interrupted in the middle of a step: the next run computes it again");
        std::process::exit(i32::from(exit::INTERRUPTED));
    });
}

/// The machine's memory, or what a control group leaves of it; `None` where the system does not say.
pub fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let total = kilobytes.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = group.and_then(|limit| limit.trim().parse().ok());
    Some(limit.map_or(total, |limit: u64| limit.min(total)))
}

/// How many processors there are.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What a run's record says of its place.
pub fn surroundings(root: &Path, running: &Running) -> Surroundings {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Surroundings {
        program: format!("{} {}", running.program.name, running.program.version),
        host: host.trim().to_string(),
        git: git_state(root),
        command: std::env::args().collect(),
    }
}

fn git_state(root: &Path) -> Option<GitState> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").arg("-C").arg(root).args(arguments).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let modified = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(GitState { commit, modified })
}
