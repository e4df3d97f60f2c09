//! Jobs in processes of their own on this machine: a file tells a worker what to do, its standard output tells how it gets
//! on. A worker whose standard input ends stops, so none outlives the run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use pipe_cache::{Error, create_folder};
use serde::Deserialize;

use super::executor::Executor;
use super::local::next;
use crate::event::{Event, Observer};
use crate::execute::{Worker, file_label};
use crate::job::{Ending, Failure, Job, JobFile};
use crate::options::WorkerCommand;

/// How often to look whether the run was asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// So many bytes of what a worker wrote on standard error are told when it dies.
const TOLD: usize = 2_000;

/// Starts a process for each job.
pub(crate) struct Processes<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    worker: &'scope Worker<'scope>,
    command: &'scope WorkerCommand,
    /// The standard inputs of the workers at work, by position.
    inputs: BTreeMap<usize, ChildStdin>,
    ended: Sender<Ending>,
    endings: Receiver<Ending>,
}

impl<'scope, 'env> Processes<'scope, 'env> {
    /// An executor whose threads, one for each worker, live in a scope.
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        worker: &'scope Worker<'scope>,
        command: &'scope WorkerCommand,
    ) -> Self {
        let (ended, endings) = channel();
        Self { scope, worker, command, inputs: BTreeMap::new(), ended, endings }
    }

    /// Writes a job's file and starts a worker with it.
    fn start(&self, job: &Job) -> Result<(Child, PathBuf), Failure> {
        let advice = "run with `--executor local`, or see why processes cannot be started here";
        let failed =
            |what: &str, error: &dyn std::fmt::Display| Failure::message(format!("{what}: {error}"), advice);
        let label = self.worker.binder.pipeline.instances.get(job.position).map(|one| file_label(&one.label));
        let file = JobFile::new(self.worker, job, self.command.verify);
        let (Some(label), Some(file)) = (label, file) else {
            return Err(Failure::message("its inputs are not in place yet", "run it again"));
        };
        let folder = self.worker.run_folder.join("jobs");
        create_folder(&folder)?;
        let (path, errors) = (folder.join(format!("{label}.json")), folder.join(format!("{label}.stderr")));
        let bytes = file.to_bytes().map_err(|error| failed("cannot write the job", &error))?;
        fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        let stderr = File::create(&errors).map_err(Error::io("write", &errors))?;
        let child = Command::new(&self.command.program)
            .args(&self.command.arguments)
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn();
        let told = format!("cannot start {}", self.command.program.display());
        Ok((child.map_err(|error| failed(&told, &error))?, errors))
    }
}

impl Executor for Processes<'_, '_> {
    fn submit(&mut self, job: Job) -> Result<(), Error> {
        let (position, ended, observer) = (job.position, self.ended.clone(), self.worker.observer);
        let started = Instant::now();
        let give = move |failure| {
            let seconds = started.elapsed().as_secs_f64();
            // Nobody listens any more only when the run has broken off.
            let _ = ended.send(Ending { seconds, ..Ending::failed(position, failure) });
        };
        let (mut child, errors) = match self.start(&job) {
            Ok(started) => started,
            Err(failure) => {
                give(failure);
                return Ok(());
            }
        };
        self.inputs.extend(child.stdin.take().map(|input| (position, input)));
        let ended = self.ended.clone();
        let follow = move || match follow(&mut child, &errors, observer) {
            Ok(ending) => drop(ended.send(ending)),
            Err(failure) => give(failure),
        };
        let thread = Builder::new().name(format!("pipe-worker-{position}"));
        thread
            .spawn_scoped(self.scope, follow)
            .map(drop)
            .map_err(Error::io("start a thread for", Path::new("a job")))
    }

    fn poll(&mut self, until: Option<Instant>) -> Vec<Ending> {
        loop {
            let look = Instant::now() + LOOK;
            let endings = next(&self.endings, Some(until.map_or(look, |until| until.min(look))));
            for ending in &endings {
                self.inputs.remove(&ending.position);
            }
            if self.worker.cancel.is_cancelled() {
                self.inputs.clear();
            }
            if !endings.is_empty() || until.is_some_and(|until| Instant::now() >= until) {
                return endings;
            }
        }
    }
}

/// A line that a worker writes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Ending { ending: Box<Ending> },
    Event(Box<Event>),
}

/// Hands on what a worker tells, until it has ended.
fn follow(child: &mut Child, errors: &Path, observer: &dyn Observer) -> Result<Ending, Failure> {
    let mut found = None;
    let output = child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines());
    for line in output.map_while(io::Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Line::Ending { ending }) => found = Some(*ending),
            Ok(Line::Event(event)) => observer.event(&event),
            // Something that a library printed: there is nobody whom it tells anything.
            Err(_) => {}
        }
    }
    let status = child.wait();
    found.ok_or_else(|| {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let written = fs::read(errors).unwrap_or_default();
        let last = String::from_utf8_lossy(&written[written.len().saturating_sub(TOLD)..]).trim().to_string();
        let advice = match last.is_empty() {
            true => "where it was killed, memory may have run out: give the stage `memory_gb` in `resources`"
                .to_string(),
            false => format!("it wrote: {last}"),
        };
        Failure::message(format!("its worker ended without a result ({status})"), advice)
    })
}
