//! What of a store is still wanted: what recent runs, runs that go on and pins reach.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use pipe_cache::{Digest, Error, Form, Keep, Store, Swept};

use crate::record::{
    InstanceRecord, RecordError, RunHead, Shared, read_head, read_own, read_shared, run_ids, utc,
};

/// A run that has not ended counts as going on for so long, and one that ended badly as unfinished.
const UNFINISHED: Duration = Duration::from_secs(7 * 24 * 3600);

/// What to keep.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What so many of the last runs used.
    pub runs: usize,
    /// Of these, the last ones whose results together take no more bytes; the very last is kept in any case.
    pub most_bytes: Option<u64>,
    /// What is younger than that, whoever made it.
    pub grace: Duration,
}

/// What was kept and what went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The runs whose results are kept, newest first.
    pub runs: Vec<String>,
    /// Pins that name nothing.
    pub unknown_pins: Vec<String>,
    /// Bytes that are reached by what is kept.
    pub kept_bytes: u64,
    /// What went, or would go.
    pub swept: Swept,
}

/// What is reached.
#[derive(Default)]
struct Reached {
    blobs: HashSet<Digest>,
    fingerprints: HashSet<Digest>,
    /// The places of instances that have been looked at.
    shared: HashSet<Shared>,
}

/// Removes from a store what is not wanted; with `dry`, only tells. What an unfinished run has computed of its items is
/// kept.
///
/// # Errors
/// When the store cannot be read or written, or a record cannot be read: what is reached is not known then, and nothing
/// is removed.
pub fn collect(store: &Store, wanted: &Wanted, dry: bool) -> Result<Collected, RecordError> {
    let sizes = store.blobs()?;
    let mut reached = Reached::default();
    let mut collected = Collected::default();
    let pins = store.pins()?;
    let ids = run_ids(store)?;
    for pin in &pins {
        match pin.parse::<Digest>() {
            Ok(digest) if sizes.contains_key(&digest) => reached.artifact(store, digest)?,
            _ if ids.contains(pin) => {}
            _ => collected.unknown_pins.push(pin.clone()),
        }
    }
    let bytes_of =
        |blobs: &HashSet<Digest>| -> u64 { blobs.iter().filter_map(|digest| sizes.get(digest)).sum() };
    let mut kept_bytes = bytes_of(&reached.blobs);
    let mut counted = 0;
    let mut is_full = false;
    let mut finished = HashSet::new();
    let mut is_unfinished = false;
    let mut oldest: Option<String> = None;
    for id in ids {
        let Some(head) = read_whole_head(store, &id)? else { continue };
        is_unfinished |= is_going_on(&head)
            || (!head.is_ok() && is_recent(&head) && !finished.contains(&head.header.pipeline));
        if head.is_ok() {
            finished.insert(head.header.pipeline.clone());
        }
        let must = pins.contains(&id) || is_going_on(&head);
        if !must && (counted >= wanted.runs || is_full) {
            continue;
        }
        let more = reached.more(store, &id)?;
        let bytes = bytes_of(&more.blobs);
        if !must {
            let fits = wanted.most_bytes.is_none_or(|most| kept_bytes + bytes <= most);
            if !fits && counted > 0 {
                is_full = true;
                continue;
            }
            counted += 1;
        }
        reached.add(more);
        kept_bytes += bytes;
        oldest =
            Some(oldest.map_or_else(
                || head.header.started.clone(),
                |oldest| oldest.min(head.header.started.clone()),
            ));
        collected.runs.push(id);
    }
    if is_unfinished {
        reached.blobs.extend(store.items_of_all()?);
    }
    collected.kept_bytes = bytes_of(&reached.blobs);
    let keep = Keep {
        blob: &|digest| reached.blobs.contains(&digest),
        result: &|fingerprint| reached.fingerprints.contains(&fingerprint),
        // A run begins before it uses software.
        environment: &|used| oldest.as_ref().is_some_and(|oldest| utc(used) >= *oldest),
        grace: wanted.grace,
    };
    collected.swept = store.sweep(&keep, dry)?;
    Ok(collected)
}

/// What a run is and how it ended; `None` of one that was killed before it said what it is.
fn read_whole_head(store: &Store, id: &str) -> Result<Option<RunHead>, RecordError> {
    match read_head(store, id) {
        Err(RecordError::Empty { .. }) => Ok(None),
        head => head.map(Some),
    }
}

/// Whether a run may still be going on: it has not ended, and has lately written.
fn is_going_on(run: &RunHead) -> bool {
    run.summary.is_none() && is_recent(run)
}

fn is_recent(run: &RunHead) -> bool {
    let written = std::fs::metadata(run.path()).and_then(|metadata| metadata.modified());
    written.is_ok_and(|time| SystemTime::now().duration_since(time).map_or(true, |age| age < UNFINISHED))
}

impl Reached {
    /// What a run reaches besides.
    fn more(&self, store: &Store, id: &str) -> Result<Self, RecordError> {
        let mut more = Self::default();
        let run = read_own(store, id)?.whole()?;
        self.add_instances(store, &run.instances, &mut more)?;
        for shared in run.shared.iter().filter(|shared| !self.shared.contains(*shared)) {
            self.add_instances(store, &read_shared(store, &run.head, shared)?, &mut more)?;
            more.shared.insert(shared.clone());
        }
        Ok(more)
    }

    fn add(&mut self, more: Self) {
        self.blobs.extend(more.blobs);
        self.fingerprints.extend(more.fingerprints);
        self.shared.extend(more.shared);
    }

    fn add_instances(
        &self,
        store: &Store,
        instances: &[InstanceRecord],
        more: &mut Self,
    ) -> Result<(), Error> {
        for instance in instances {
            more.fingerprints.extend(instance.fingerprint);
            let artifacts = instance.outputs.values();
            let files = artifacts.clone().filter(|artifact| artifact.form == Form::File);
            let digests = instance.items.into_iter().chain(files.map(|artifact| artifact.digest));
            more.blobs.extend(digests.filter(|digest| !self.blobs.contains(digest)));
            for artifact in artifacts.filter(|artifact| artifact.form != Form::File) {
                if !self.blobs.contains(&artifact.digest) {
                    more.artifact(store, artifact.digest)?;
                }
            }
        }
        // An artifact of files that others have, too.
        more.blobs.retain(|digest| !self.blobs.contains(digest));
        Ok(())
    }

    /// An artifact and, when it is of many files, all of these.
    fn artifact(&mut self, store: &Store, digest: Digest) -> Result<(), Error> {
        if !self.blobs.insert(digest) {
            return Ok(());
        }
        match store.index(digest) {
            Ok(index) => self.blobs.extend(index.entries().iter().map(|entry| entry.digest)),
            // One file, or an index that is lost: its files are computed again.
            Err(Error::Invalid { .. } | Error::Missing { .. } | Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
