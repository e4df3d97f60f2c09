//! Recorded runs, each read once however often it is asked for, with what several of them refer to held once.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use pipe_cache::{Digest, Store};

use super::read::{Instances, Shared, id_of, read_own, read_shared};
use super::{InstanceRecord, InstanceStatus, RecordError, RunHead, RunHeader, read_head, run_ids};

/// How many runs of a pipeline are looked at for what an instance was before.
const LOOKED_AT: usize = 50;

/// The runs of a store.
pub(crate) struct Runs<'a> {
    store: &'a Store,
    /// All runs, the one that began last first.
    ids: Vec<String>,
    /// The pipelines of runs; none of those whose record cannot be read.
    pipelines: RefCell<HashMap<String, Option<String>>>,
    read: RefCell<HashMap<String, Option<Rc<Run>>>>,
    shared: RefCell<HashMap<Shared, Rc<Instances>>>,
}

/// A run with its instances.
pub(crate) struct Run {
    pub(crate) head: RunHead,
    own: Instances,
    /// Those that stand elsewhere, unless the run tells of them itself.
    shared: Vec<Rc<Instances>>,
    /// The places of what it computed, by fingerprint.
    computed: OnceCell<HashMap<Digest, usize>>,
}

impl<'a> Runs<'a> {
    /// The runs that a store has now.
    ///
    /// # Errors
    /// When the folder of runs is there and cannot be read.
    pub(crate) fn of(store: &'a Store) -> Result<Self, pipe_cache::Error> {
        let (pipelines, read, shared) = (RefCell::default(), RefCell::default(), RefCell::default());
        Ok(Self { store, ids: run_ids(store)?, pipelines, read, shared })
    }

    /// A run by its id, a unique beginning of it, or `latest`.
    ///
    /// # Errors
    /// When there is no such run, there are several, or its record cannot be read.
    pub(crate) fn find(&self, name: &str) -> Result<Rc<Run>, RecordError> {
        let id = id_of(self.store, name)?;
        if let Some(Some(run)) = self.read.borrow().get(&id) {
            return Ok(Rc::clone(run));
        }
        let run = Rc::new(self.read(&id)?);
        self.read.borrow_mut().insert(id, Some(Rc::clone(&run)));
        Ok(run)
    }

    /// The run of an id, if it can be read.
    pub(crate) fn get(&self, id: &str) -> Option<Rc<Run>> {
        if let Some(known) = self.read.borrow().get(id) {
            return known.clone();
        }
        let run = self.read(id).ok().map(Rc::new);
        self.read.borrow_mut().insert(id.to_string(), run.clone());
        run
    }

    /// The ids of all runs, the one that began last first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// What an instance was in the runs of a pipeline that came so far as to know its inputs, the last one first; of
    /// those before a run, where one is given.
    pub(crate) fn former<'b>(
        &'b self,
        pipeline: &'b str,
        before: Option<&'b str>,
        label: &'b str,
    ) -> impl Iterator<Item = (Rc<Run>, InstanceRecord)> + 'b {
        let behind = before.map_or(0, |before| {
            self.ids.iter().position(|id| id == before).map_or(self.ids.len(), |place| place + 1)
        });
        let of_pipeline = self.ids.iter().skip(behind).filter(move |id| self.is_of(id, pipeline));
        of_pipeline.take(LOOKED_AT).filter_map(move |id| {
            let run = self.get(id)?;
            let record = run.instance(label).filter(|one| one.fingerprint.is_some())?.clone();
            Some((run, record))
        })
    }

    fn is_of(&self, id: &str, pipeline: &str) -> bool {
        let mut pipelines = self.pipelines.borrow_mut();
        let known = match pipelines.get(id) {
            Some(known) => known,
            None => {
                let read = read_head(self.store, id).ok().map(|head| head.header.pipeline);
                pipelines.entry(id.to_string()).or_insert(read)
            }
        };
        known.as_deref() == Some(pipeline)
    }

    fn read(&self, id: &str) -> Result<Run, RecordError> {
        let own = read_own(self.store, id)?;
        let shared = own.shared.iter().map(|shared| self.shared(&own.head, shared));
        let shared = shared.collect::<Result<_, _>>()?;
        let (head, own) = (own.head, own.instances.into_iter().collect());
        Ok(Run { head, own, shared, computed: OnceCell::new() })
    }

    fn shared(&self, head: &RunHead, shared: &Shared) -> Result<Rc<Instances>, RecordError> {
        if let Some(known) = self.shared.borrow().get(shared) {
            return Ok(Rc::clone(known));
        }
        let read: Rc<Instances> = Rc::new(read_shared(self.store, head, shared)?.into_iter().collect());
        self.shared.borrow_mut().insert(shared.clone(), Rc::clone(&read));
        Ok(read)
    }
}

impl Run {
    pub(crate) fn header(&self) -> &RunHeader {
        &self.head.header
    }

    /// The instance of a label.
    pub(crate) fn instance(&self, label: &str) -> Option<&InstanceRecord> {
        self.own.get(label).or_else(|| self.shared.iter().rev().find_map(|shared| shared.get(label)))
    }

    /// All instances, first those that stand elsewhere.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &InstanceRecord> {
        let all = self.shared.iter().flat_map(|shared| shared.iter()).chain(self.own.iter());
        // One that is told several times counts as it is told last.
        all.filter(|one| self.instance(&one.label).is_some_and(|last| std::ptr::eq(last, *one)))
    }

    /// What the run computed under a fingerprint; what stands elsewhere was known.
    pub(crate) fn computed(&self, fingerprint: Digest) -> Option<&InstanceRecord> {
        let computed = self.computed.get_or_init(|| {
            let all = self.own.iter().enumerate();
            let computed = all.filter(|(_, one)| one.status == InstanceStatus::Executed);
            computed.filter_map(|(place, one)| Some((one.fingerprint?, place))).collect()
        });
        self.own.iter().nth(*computed.get(&fingerprint)?)
    }
}
