//! A job as a file: all that another process needs to do it. It holds resolved values, so that nobody who edits the
//! manifest meanwhile changes what is computed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipe_cache::{Store, write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::values::{InstanceValues, Upstream};
use super::{Cause, Demand, Ending, Failure, Job};
use crate::bind::Done;
use crate::context::{Cancel, Device, Devices};
use crate::event::Observer;
use crate::execute::Worker;
use crate::manifest::{Origin, Overrides, Pipeline};
use crate::registry::Registry;
use crate::requests::Secrets;
use crate::run::thread_pool;
use crate::session::Session;

/// The version of job files that this program writes and reads.
const VERSION: u32 = 1;

/// A job with the run that it is of and the instance that it is for.
#[derive(Debug, Serialize, Deserialize)]
pub struct JobFile {
    version: u32,
    /// The folder of the cache.
    cache: PathBuf,
    run: String,
    run_folder: PathBuf,
    keep_going: bool,
    /// Whether inputs are hashed whatever is remembered of them.
    verify: bool,
    root: PathBuf,
    seed: u64,
    /// The instance's position in the pipeline.
    position: usize,
    instance: InstanceValues,
    /// The instances that it takes inputs from.
    upstream: Vec<Upstream>,
    demand: Demand,
    device: Device,
    processors: usize,
}

/// Why a job cannot be done by a process.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file cannot be read.
    #[error("cannot read the job {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is no job.
    #[error("{} is no job of this program's version: {problem}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The program is not the one that made the job.
    #[error("the job is for `{kind}` with other code than this program has")]
    Code {
        /// The kind.
        kind: String,
    },
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] pipe_cache::Error),
}

impl JobFile {
    /// A job of a worker's run.
    pub(crate) fn new(worker: &Worker<'_>, job: &Job, verify: bool) -> Option<Self> {
        let pipeline = worker.binder.pipeline;
        let instance = pipeline.instances.get(job.position)?;
        let makers: Vec<usize> = job.upstream.keys().copied().collect();
        let code = worker.binder.registry.code(instance.kind.about().name);
        let upstream = |(position, done): (&usize, &Arc<Done>)| {
            Some(Upstream::of(*position, pipeline.instances.get(*position)?, done))
        };
        Some(Self {
            version: VERSION,
            cache: worker.binder.store.root().to_path_buf(),
            run: worker.run.clone(),
            run_folder: worker.run_folder.clone(),
            keep_going: worker.keep_going,
            verify,
            root: pipeline.root.clone(),
            seed: instance.seed,
            position: job.position,
            instance: InstanceValues::of(instance, code, &makers)?,
            upstream: job.upstream.iter().map(upstream).collect::<Option<_>>()?,
            demand: job.demand,
            device: job.device,
            processors: job.processors,
        })
    }

    /// Reads a job.
    ///
    /// # Errors
    /// When the file cannot be read or is no job of this version.
    pub fn read(path: &Path) -> Result<Self, JobError> {
        let bytes =
            std::fs::read(path).map_err(|source| JobError::Read { path: path.to_path_buf(), source })?;
        let refuse = |problem: String| JobError::Shape { path: path.to_path_buf(), problem };
        let file: Self = serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        match file.version {
            VERSION => Ok(file),
            other => Err(refuse(format!("it is of version {other}, expected {VERSION}"))),
        }
    }

    /// The stored form.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    /// Where the ending of a job is written that stands in this file.
    pub fn ending_of(job: &Path) -> PathBuf {
        job.with_extension("ending.json")
    }

    /// Does the job in this process, with as many threads as it may keep processors busy. The ending is written beside the
    /// job's file, at [`JobFile::ending_of`], whole or not at all.
    ///
    /// # Errors
    /// When the program is not the one that made it, or the store cannot be opened or written.
    pub fn perform(
        &self,
        path: &Path,
        registry: &Registry,
        secrets: Secrets,
        observer: &dyn Observer,
        cancel: &Cancel,
    ) -> Result<(), JobError> {
        let pipeline = self.pipeline(registry)?;
        let store = Arc::new(Store::open(&self.cache)?);
        let session = Session::new(registry, &store, Devices::from(self.device), !self.verify);
        let worker = Worker {
            strict: false,
            binder: session.binder(&pipeline),
            secrets,
            run: self.run.clone(),
            run_folder: self.run_folder.clone(),
            keep_going: self.keep_going,
            observer,
            cancel: cancel.clone(),
        };
        let upstream = self.upstream.iter().map(|maker| Arc::clone(&maker.done)).enumerate();
        let job = Job {
            position: self.upstream.len(),
            upstream: upstream.collect::<BTreeMap<usize, Arc<Done>>>(),
            demand: self.demand,
            device: self.device,
            processors: self.processors,
        };
        let ending = match thread_pool(self.processors.max(1)) {
            Ok(pool) => pool.install(|| worker.perform(&job)),
            Err(error) => {
                let failure = Failure::message(error.to_string(), "give it fewer `cpus`");
                Ending::failed(job.position, failure)
            }
        };
        store.sync()?;
        // What saves work is done if it can be; the result does not need it.
        let _ = store.tidy();
        let _ = session.memo.save();
        let refuse = |error: serde_json::Error| JobError::Shape {
            path: path.to_path_buf(),
            problem: error.to_string(),
        };
        let bytes = serde_json::to_vec(&self.of_the_run(ending)).map_err(refuse)?;
        Ok(write_atomically(&Self::ending_of(path), &bytes)?)
    }

    /// An ending with the positions of the pipeline that the job is of.
    fn of_the_run(&self, ending: Ending) -> Ending {
        let mut ending = Ending { position: self.position, ..ending };
        if let Err(Failure { cause: Cause::Damaged(makers), .. }) = &mut ending.outcome {
            let position = |maker: &usize| self.upstream.get(*maker).map(|maker| maker.position);
            *makers = makers.iter().filter_map(position).collect();
        }
        ending
    }

    /// The instance and those that it takes inputs from, as a pipeline of their own.
    fn pipeline(&self, registry: &Registry) -> Result<Pipeline, JobError> {
        let mut instances = Vec::new();
        for maker in &self.upstream {
            let kind = registry.kind_of(&maker.kind, &maker.params, &maker.inputs);
            let kind = kind.ok_or_else(|| JobError::Code { kind: maker.kind.clone() })?;
            instances.push(maker.to_instance(kind));
        }
        let InstanceValues { kind, code, .. } = &self.instance;
        if registry.code(kind) != *code {
            return Err(JobError::Code { kind: kind.clone() });
        }
        let instance = registry
            .kind_of(kind, self.instance.params(), &self.instance.input_names())
            .and_then(|kind| self.instance.to_instance(kind, self.seed, &instances));
        instances.push(instance.ok_or_else(|| JobError::Code { kind: kind.clone() })?);
        Ok(Pipeline {
            name: String::new(),
            manifest: PathBuf::new(),
            root: self.root.clone(),
            seed: self.seed,
            seed_origin: Origin::Default,
            overrides: Overrides::default(),
            instances,
            publish: Vec::new(),
            resolved: Value::Null,
            unused_variables: Vec::new(),
        })
    }
}
