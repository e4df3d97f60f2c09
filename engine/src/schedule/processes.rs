//! Jobs in processes of their own on this machine. A file tells a worker what to do, another one how it ended; its
//! standard output tells how it gets on. A worker whose standard input ends stops, so none outlives the run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use pipe_cache::{Error, create_folder};

use super::executor::Executor;
use crate::event::{Event, Observer};
use crate::execute::{Worker, file_label};
use crate::job::{Ending, Failure, Job, JobFile};
use crate::options::WorkerCommand;

/// How often to look whether the run was asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// How long a worker whose time is up may take to stop by itself.
const GRACE: Duration = Duration::from_secs(30);

/// So many bytes of what a worker wrote on standard error are told when it dies.
const TOLD: usize = 2_000;

/// Starts a process for each job.
pub(crate) struct Processes<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    worker: &'scope Worker<'scope>,
    command: &'scope WorkerCommand,
    running: BTreeMap<usize, Running>,
    /// Endings of jobs that could not be begun.
    refused: Vec<Ending>,
    /// Tells of workers that write nothing more.
    silent: Sender<usize>,
    silence: Receiver<usize>,
}

/// A worker at work.
struct Running {
    child: Child,
    /// It stops when this is dropped.
    input: Option<ChildStdin>,
    started: Instant,
    /// When it is killed, if its time is limited.
    kill_at: Option<Instant>,
    ending: PathBuf,
    errors: PathBuf,
}

impl<'scope, 'env> Processes<'scope, 'env> {
    /// An executor whose threads, one for each worker, live in a scope.
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        worker: &'scope Worker<'scope>,
        command: &'scope WorkerCommand,
    ) -> Self {
        let (silent, silence) = channel();
        Self { scope, worker, command, running: BTreeMap::new(), refused: Vec::new(), silent, silence }
    }

    /// Writes a job's file and starts a worker with it.
    fn start(&self, job: &Job) -> Result<(Running, ChildStdout), Failure> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            let advice = "run with `--executor local`, or see why processes cannot be started here";
            Failure::message(format!("{what}: {error}"), advice)
        };
        let instance = self.worker.binder.pipeline.instances.get(job.position);
        let file = JobFile::new(self.worker, job, self.command.verify);
        let (Some(instance), Some(file)) = (instance, file) else {
            return Err(Failure::message("its inputs are not in place yet", "run it again"));
        };
        let folder = self.worker.run_folder.join("jobs");
        create_folder(&folder)?;
        let path = folder.join(format!("{}.json", file_label(&instance.label)));
        let (ending, errors) = (JobFile::ending_of(&path), path.with_extension("stderr"));
        // That of an earlier attempt would be taken for this one's.
        let _ = fs::remove_file(&ending);
        let bytes = file.to_bytes().map_err(|error| failed("cannot write the job", &error))?;
        fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        let stderr = File::create(&errors).map_err(Error::io("write", &errors))?;
        let mut command = Command::new(&self.command.program);
        command.args(&self.command.arguments).arg(&path).stderr(stderr);
        let told = format!("cannot start {}", self.command.program.display());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&told, &error))?;
        let output = child.stdout.take().ok_or_else(|| failed(&told, &"it has no output"))?;
        let (input, started) = (child.stdin.take(), Instant::now());
        let kill_at = instance.resources.time.and_then(|time| started.checked_add(time + GRACE));
        Ok((Running { child, input, started, kill_at, ending, errors }, output))
    }

    /// Stops workers whose time is up, and all when the run is asked to stop.
    fn stop_overdue(&mut self) {
        let (is_cancelled, now) = (self.worker.cancel.is_cancelled(), Instant::now());
        for running in self.running.values_mut() {
            if is_cancelled {
                running.input = None;
            }
            if running.kill_at.is_some_and(|time| now >= time) {
                // One that has ended meanwhile cannot be killed.
                let _ = running.child.kill();
            }
        }
    }

    fn ended(&mut self, position: usize) -> Option<Ending> {
        let Running { mut child, input, started, kill_at, ending, errors } =
            self.running.remove(&position)?;
        let status = child.wait();
        drop(input);
        let seconds = started.elapsed().as_secs_f64();
        let read = || serde_json::from_slice::<Ending>(&fs::read(&ending).ok()?).ok();
        Some(read().unwrap_or_else(|| {
            let is_late = kill_at.is_some_and(|time| Instant::now() >= time);
            let failure = match (self.worker.cancel.is_cancelled(), is_late) {
                (true, _) => Failure::interrupted(),
                (false, true) => Failure::message(
                    "its worker was killed: its `time` was up and it did not stop",
                    "give it more `time` in its `resources`",
                ),
                (false, false) => died(status, &errors),
            };
            Ending { seconds, ..Ending::failed(position, failure) }
        }))
    }
}

impl Executor for Processes<'_, '_> {
    fn submit(&mut self, job: Job) -> Result<(), Error> {
        let position = job.position;
        let (running, output) = match self.start(&job) {
            Ok(started) => started,
            Err(failure) => {
                self.refused.push(Ending::failed(position, failure));
                return Ok(());
            }
        };
        self.running.insert(position, running);
        let (silent, observer) = (Falling(self.silent.clone(), position), self.worker.observer);
        let thread = Builder::new().name(format!("pipe-worker-{position}"));
        let follow = move || {
            follow(output, observer);
            drop(silent);
        };
        let place = Path::new("a worker's output");
        thread.spawn_scoped(self.scope, follow).map(drop).map_err(Error::io("follow", place))
    }

    fn poll(&mut self, until: Option<Instant>) -> Vec<Ending> {
        loop {
            let mut endings = std::mem::take(&mut self.refused);
            let look = if endings.is_empty() { LOOK } else { Duration::ZERO };
            let wait = until.map_or(look, |until| until.saturating_duration_since(Instant::now()).min(look));
            let first = self.silence.recv_timeout(wait).ok();
            let silent: Vec<usize> = first.into_iter().chain(self.silence.try_iter()).collect();
            endings.extend(silent.into_iter().filter_map(|position| self.ended(position)));
            self.stop_overdue();
            if !endings.is_empty() || until.is_some_and(|until| Instant::now() >= until) {
                return endings;
            }
        }
    }
}

/// Tells of a worker's silence when it is dropped, whatever happened.
struct Falling(Sender<usize>, usize);

impl Drop for Falling {
    fn drop(&mut self) {
        // Nobody listens any more only when the run has broken off.
        let _ = self.0.send(self.1);
    }
}

/// Hands on the events that a worker tells, until it tells no more.
fn follow(output: ChildStdout, observer: &dyn Observer) {
    for line in BufReader::new(output).split(b'\n').map_while(io::Result::ok) {
        // What else stands there a library has printed, and there is nobody whom it tells anything.
        if let Ok(event) = serde_json::from_slice::<Event>(&line) {
            observer.event(&event);
        }
    }
}

/// The failure of a worker that left no ending.
fn died(status: io::Result<std::process::ExitStatus>, errors: &Path) -> Failure {
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    let written = fs::read(errors).unwrap_or_default();
    let last = String::from_utf8_lossy(&written[written.len().saturating_sub(TOLD)..]).trim().to_string();
    let advice = match last.is_empty() {
        true => "where it was killed, memory may have run out: give the stage `memory_gb` in its `resources`"
            .to_string(),
        false => format!("it wrote: {last}"),
    };
    Failure::message(format!("its worker ended without a result ({status})"), advice)
}
