//! Which fingerprint gave which artifacts, and what it was made of.
//!
//! A journal leads from a fingerprint to its results, small blobs of JSON, one for each fine device class (`cpu`,
//! `cuda-sm_90`, or `any` where the bytes do not depend on it), and to its preimage. The first result of a class stays:
//! a later one with other bytes is a conflict, which is kept and does not count.

mod former;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::journal::{Journal, Layout, Lead, Writer};
use crate::{Digest, Form, Store};

const LAYOUT: Layout = Layout { header: b"pipe-results 1\n\0", extension: "results" };

/// So many files of processes that have ended are merged.
const MANY: usize = 8;

/// What takes fewer seconds is computed again after a power failure rather than waited for at the disk.
const LITTLE: f64 = 0.1;

/// A stored artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRef {
    /// What it is made of.
    pub form: Form,
    /// Digest of the file, or of the index.
    pub digest: Digest,
    /// How many files it has.
    pub files: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
}

/// The outputs that one fingerprint gave, and the run that computed them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultRecord {
    /// The fine device class on which it was computed.
    pub class: String,
    /// The artifacts by output name.
    pub outputs: BTreeMap<String, ArtifactRef>,
    /// The run that computed it.
    pub run: String,
    /// How long that took.
    pub seconds: f64,
    /// What whoever uses the outputs should know of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Numbers that tell of the result in brief, such as an AUROC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scalars: BTreeMap<String, f64>,
}

/// What became of a result that was handed in.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordOutcome {
    /// It is the first of its class.
    Stored,
    /// The same outputs were there already.
    Known,
    /// Other outputs were there; they stay, and the new ones are kept beside them.
    Conflict(Box<ResultRecord>),
}

/// What a record of the journal leads to: its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Preimage,
    /// Of several results of a class, the one of the highest rank counts.
    Result(u64),
}

/// The rank of a result that came when another was there.
const CONFLICT: u64 = 0;

/// The rank of a first result; those that replace it have higher ones.
const FIRST: u64 = 1;

impl Entry {
    fn of(number: u64) -> Self {
        match number.checked_sub(1) {
            None => Self::Preimage,
            Some(rank) => Self::Result(rank),
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Preimage => 0,
            Self::Result(rank) => rank.saturating_add(1),
        }
    }
}

/// The results of a store, as far as they have been read.
#[derive(Debug)]
pub(crate) struct Results(Mutex<State>);

#[derive(Debug)]
struct State {
    journal: Journal,
    is_loaded: bool,
    own: Option<Writer>,
    /// What this process has appended.
    appended: HashSet<(Digest, Lead)>,
}

impl Results {
    /// The results in a folder, of which nothing has been read.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let journal = Journal::unread(folder, LAYOUT);
        Self(Mutex::new(State { journal, is_loaded: false, own: None, appended: HashSet::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a fingerprint leads to; `again` takes what others have added since the last look.
    fn leads(&self, fingerprint: Digest, again: bool) -> Result<Vec<Lead>> {
        let mut state = self.lock();
        if again || !state.is_loaded {
            state.refresh()?;
        }
        Ok(state.journal.leads(fingerprint).collect())
    }

    /// Appends a record, unless this process has done so. One that others have written is written again: theirs may be
    /// about to be forgotten.
    fn append(&self, fingerprint: Digest, digest: Digest, entry: Entry) -> Result<()> {
        let lead = Lead { digest, number: entry.number() };
        let mut state = self.lock();
        if state.appended.contains(&(fingerprint, lead)) {
            return Ok(());
        }
        let State { journal, own, .. } = &mut *state;
        let writer = match own.take().filter(|writer| !writer.is_lost()) {
            Some(writer) => own.insert(writer),
            None => own.insert(journal.writer()?),
        };
        writer.append(fingerprint, lead)?;
        journal.add(fingerprint, lead);
        state.appended.insert((fingerprint, lead));
        Ok(())
    }

    /// Makes what this process has appended durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.lock().own.as_ref().map_or(Ok(()), Writer::sync)
    }

    /// Merges what ended processes have left, when it is much.
    pub(crate) fn tidy(&self) -> Result<()> {
        let mut state = self.lock();
        state.refresh()?;
        state.journal.tidy(MANY)
    }
}

impl State {
    fn refresh(&mut self) -> Result<()> {
        self.journal.refresh()?;
        self.is_loaded = true;
        Ok(())
    }
}

impl Store {
    /// The result of a fingerprint: of the preferred class when there is one, else of the first other
    /// class in the order of their names.
    ///
    /// A result that cannot be read counts as absent: computing it again is always safe.
    pub fn result(&self, fingerprint: Digest, class: &str) -> Option<ResultRecord> {
        let of_class = |mut found: Vec<(u64, ResultRecord)>| {
            let preferred = found.iter().position(|(_, record)| record.class == class);
            preferred.map(|place| found.swap_remove(place).1)
        };
        if let Some(record) = of_class(self.results_of(fingerprint, false).ok()?) {
            return Some(record);
        }
        // Another process may have added it.
        let mut found = self.results_of(fingerprint, true).ok()?;
        found.sort_by(|(_, one), (_, other)| {
            (one.class != class, &one.class).cmp(&(other.class != class, &other.class))
        });
        found.into_iter().next().map(|(_, record)| record)
    }

    /// Hands in a result.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn record_result(&self, fingerprint: Digest, record: &ResultRecord) -> Result<RecordOutcome> {
        let of_class = |found: Vec<(u64, ResultRecord)>| -> Vec<(u64, ResultRecord)> {
            found.into_iter().filter(|(_, found)| found.class == record.class).collect()
        };
        if let Some((rank, first)) = of_class(self.results_of(fingerprint, true)?).into_iter().next() {
            if first.outputs == record.outputs {
                // Written again, so that it is not forgotten with what is old.
                self.append_result(fingerprint, &first, rank)?;
                return Ok(RecordOutcome::Known);
            }
            self.append_result(fingerprint, record, CONFLICT)?;
            return Ok(RecordOutcome::Conflict(Box::new(first)));
        }
        self.append_result(fingerprint, record, FIRST)?;
        if record.seconds >= LITTLE {
            self.sync()?;
        }
        // Another process may have handed in its own at the same time.
        let found = of_class(self.results_of(fingerprint, true)?);
        let other = found.into_iter().map(|(_, found)| found).find(|found| found.outputs != record.outputs);
        Ok(other.map_or(RecordOutcome::Stored, |other| RecordOutcome::Conflict(Box::new(other))))
    }

    /// Puts a result in the place of one of its class that has been lost.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn replace_result(&self, fingerprint: Digest, record: &ResultRecord) -> Result<()> {
        let found = self.results_of(fingerprint, true)?;
        let before = found.iter().find(|(_, found)| found.class == record.class).map(|(rank, _)| *rank);
        self.append_result(fingerprint, record, before.map_or(FIRST, |rank| rank.saturating_add(1)))?;
        self.sync()
    }

    /// The results of a fingerprint with their ranks, the ones that count first. Those that are missing or damaged are
    /// absent, and conflicts are none.
    fn results_of(&self, fingerprint: Digest, again: bool) -> Result<Vec<(u64, ResultRecord)>> {
        let mut found: Vec<(u64, Digest)> = Vec::new();
        for lead in self.result_journal().leads(fingerprint, again)? {
            if let Entry::Result(rank) = Entry::of(lead.number)
                && rank != CONFLICT
            {
                found.push((rank, lead.digest));
            }
        }
        // Of those of one rank any will do, as long as all processes take the same.
        found.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
        let mut results = Vec::with_capacity(found.len());
        for (rank, digest) in found {
            match self.read(digest) {
                Ok(bytes) => results.extend(serde_json::from_slice(&bytes).ok().map(|record| (rank, record))),
                Err(Error::Missing { .. } | Error::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(results)
    }

    /// Appends a result, which is durable after [`Store::sync`].
    fn append_result(&self, fingerprint: Digest, record: &ResultRecord, rank: u64) -> Result<()> {
        let bytes =
            serde_json::to_vec(record).map_err(|error| Error::io("write", self.root())(error.into()))?;
        let digest = self.put(&bytes)?;
        self.result_journal().append(fingerprint, digest, Entry::Result(rank))
    }

    /// Keeps the preimage of a fingerprint: the JSON text that says what went into it.
    ///
    /// # Errors
    /// [`Error::Io`] when the store cannot be written.
    pub fn record_preimage(&self, fingerprint: Digest, preimage: &[u8]) -> Result<()> {
        // It explains a result and is not needed for it, so it need not be durable.
        let digest = self.put(preimage)?;
        self.result_journal().append(fingerprint, digest, Entry::Preimage)
    }

    /// The stored preimage of a fingerprint.
    ///
    /// # Errors
    /// [`Error::Io`] when it is there and cannot be read.
    pub fn preimage(&self, fingerprint: Digest) -> Result<Option<Vec<u8>>> {
        for again in [false, true] {
            for lead in self.result_journal().leads(fingerprint, again)? {
                if Entry::of(lead.number) == Entry::Preimage && self.contains(lead.digest) {
                    return self.read(lead.digest).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// All fingerprints that have results or preimages, sorted.
    ///
    /// # Errors
    /// [`Error::Io`] when a journal is there and cannot be read.
    pub fn fingerprints(&self) -> Result<BTreeSet<Digest>> {
        let mut state = self.result_journal().lock();
        state.refresh()?;
        Ok(state.journal.all().map(|(fingerprint, _)| fingerprint).collect())
    }

    /// The results of a fingerprint that can be read, of all classes, those that count first.
    ///
    /// # Errors
    /// [`Error::Io`] when a journal is there and cannot be read.
    pub fn results(&self, fingerprint: Digest) -> Result<Vec<ResultRecord>> {
        Ok(self.results_of(fingerprint, false)?.into_iter().map(|(_, record)| record).collect())
    }

    /// The blobs that hold results and preimages, not artifacts: results name runs and times.
    ///
    /// # Errors
    /// [`Error::Io`] when a journal is there and cannot be read.
    pub fn result_blobs(&self) -> Result<HashSet<Digest>> {
        let mut state = self.result_journal().lock();
        state.refresh()?;
        Ok(state.journal.all().map(|(_, lead)| lead.digest).collect())
    }

    /// How many fingerprints have results or preimages.
    pub(crate) fn count_results(&self) -> Result<u64> {
        let mut state = self.result_journal().lock();
        state.refresh()?;
        Ok(state.journal.len() as u64)
    }

    /// Forgets results that are not to be kept, of those in old journals that nobody writes to. Gives how many
    /// fingerprints are forgotten, and the blobs that belong to the others.
    pub(crate) fn sweep_results(
        &self,
        keep: &dyn Fn(Digest) -> bool,
        is_old: &dyn Fn(&Path) -> bool,
        dry: bool,
    ) -> Result<(u64, HashSet<Digest>)> {
        let mut state = self.result_journal().lock();
        let gone = state.journal.forget(keep, is_old, dry)?;
        state.is_loaded = true;
        let others = state.journal.all().filter(|(fingerprint, _)| !gone.contains(fingerprint));
        let blobs = others.map(|(_, lead)| lead.digest).collect();
        Ok((gone.len() as u64, blobs))
    }
}

#[cfg(test)]
mod tests;
