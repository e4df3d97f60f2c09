//! Publishing: a stage's outputs as a whole set, in the place of the set that was published there before.
//!
//! A file replaces only what was published in its place and has not been changed since, as the folder's
//! `provenance.json` tells; anything else is refused by name before a byte is written. One run at a time publishes to a
//! folder. A new set is put together beside the folder, with hard links to what stays, and changes places with it in one
//! step, so that a reader sees one set or the other. Where the file system cannot do that, files are replaced one by one,
//! the account last.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipe_cache::{Claim, Claimed, Digest, Error, InputMemo, Store, own_mark};

use super::exchange::{carry_over, change_places, keep_late_files, open_to_read, remove_left_over};
use super::provenance::{FILE, Provenance, PublishedFile};
use super::{Copy, CopyError, State, list_copies, place, refuse_links, state, write};
use crate::bind::{Binder, Done};
use crate::context::Cancel;
use crate::event::{Event, Observer};
use crate::manifest::Instance;
use crate::requests::sleep_until;
use crate::sha256::sha256_of;

/// How long to wait before asking again for a folder that another process publishes to.
const NAP: Duration = Duration::from_millis(50);

/// Publishes a stage's outputs, when all its instances have results.
pub(crate) fn publish_stage(
    binder: &Binder<'_>,
    stage: &str,
    folder: &Path,
    result: &dyn Fn(usize) -> Option<Arc<Done>>,
    (observer, cancel): (&dyn Observer, &Cancel),
) -> Result<(), CopyError> {
    let instances =
        binder.pipeline.instances.iter().enumerate().filter(|(_, instance)| instance.stage == stage);
    let done: Option<Vec<(&Instance, Arc<Done>)>> =
        instances.map(|(position, instance)| Some((instance, result(position)?))).collect();
    let Some(done) = done else { return Ok(()) };
    let set = Set::of(binder, stage, folder, &done)?;
    let mut outcome = Outcome::default();
    // Another run may be publishing there: without the claim only a folder that is as it should be is believed.
    let unclaimed = set.compare(binder.memo).ok().filter(Compared::is_complete);
    let found = match unclaimed {
        Some(found) => found,
        None => {
            let _claim = claim(binder.store, folder, cancel)?;
            let found = set.compare(binder.memo)?;
            if !found.is_complete() {
                outcome = set.put(binder, &done, &found)?;
            }
            found
        }
    };
    for path in &found.kept_changed {
        let text = format!(
            "{} is no longer given, but has been changed since it was published: it stays",
            path.display()
        );
        observer.event(&Event::Warning { stage: None, text });
    }
    if found.is_adopted && outcome.written > 0 {
        let text = format!(
            "{} had no {FILE}: files that equal those given count as published there, and what else is there stays",
            folder.display()
        );
        observer.event(&Event::Warning { stage: None, text });
    }
    if let Some(why) = &outcome.one_by_one {
        let shown = folder.display();
        let text = format!(
            "the files of {shown} were replaced one by one: it cannot be exchanged as a whole ({why})"
        );
        observer.event(&Event::Warning { stage: None, text });
    }
    observer.event(&Event::Published {
        stage: stage.to_string(),
        to: folder.to_path_buf(),
        files: outcome.written,
        removed: outcome.removed,
        replaced_run: found.replaced_run.filter(|_| outcome.written + outcome.removed > 0),
    });
    Ok(())
}

/// Asks to be the one that publishes to a folder; waits while another process is.
fn claim(store: &Store, folder: &Path, cancel: &Cancel) -> Result<Claim, CopyError> {
    let (parent, name) = parent_and_name(folder);
    fs::create_dir_all(&parent).map_err(Error::io("create folder", &parent))?;
    let path = parent.join(format!(".{name}.publishing"));
    // Beside the folder every run sees it. Where nothing may be written there, runs of the same cache do.
    let apart = Digest::of(parent.join(&name).as_os_str().as_encoded_bytes());
    loop {
        let claimed = store.claim_file(path.clone()).or_else(|error| match &error {
            Error::Io { source, .. } if is_forbidden(source) => store.claim(apart),
            _ => Err(error),
        });
        match claimed? {
            Claimed::Mine(claim) => return Ok(claim),
            Claimed::Busy(owner) => sleep_until(Instant::now() + NAP, cancel)
                .map_err(|_| CopyError::Busy { path: folder.to_path_buf(), owner })?,
        }
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Where a folder is, links followed, as its parent and its name.
fn parent_and_name(folder: &Path) -> (PathBuf, String) {
    let real = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
    let name =
        real.file_name().map_or_else(|| "published".to_string(), |name| name.to_string_lossy().into_owned());
    (real.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf), name)
}

/// Why a folder is not exchanged for another.
enum CannotExchange {
    /// The place does not allow it; its files can be replaced one by one.
    Place(io::Error),
    /// The files themselves cannot be had or written.
    Content(CopyError),
}

impl From<CopyError> for CannotExchange {
    fn from(error: CopyError) -> Self {
        Self::Content(error)
    }
}

/// A stage's outputs as files of a folder.
pub(super) struct Set<'a> {
    stage: &'a str,
    folder: &'a Path,
    pub(super) copies: Vec<Copy>,
    /// What is known of the instances, without files.
    pub(super) about: Provenance,
}

/// How a folder compares with the set that is to be there.
#[derive(Default)]
struct Compared {
    /// What is there already.
    same: BTreeSet<PathBuf>,
    wanted: Vec<usize>,
    /// Published before, unchanged, and no longer given.
    gone: Vec<PathBuf>,
    /// Published before, changed since, and no longer given.
    kept_changed: Vec<PathBuf>,
    /// Whether the account that is there is of these results.
    is_told: bool,
    /// Whether files that are there have no account.
    is_adopted: bool,
    /// The run whose results are there, if it is another.
    replaced_run: Option<String>,
}

impl Compared {
    fn is_complete(&self) -> bool {
        self.wanted.is_empty() && self.gone.is_empty() && self.is_told
    }
}

/// What publishing did.
#[derive(Default)]
struct Outcome {
    written: usize,
    removed: usize,
    /// Why the folder was not exchanged as a whole, if it was not.
    one_by_one: Option<String>,
}

impl<'a> Set<'a> {
    pub(super) fn of(
        binder: &Binder<'_>,
        stage: &'a str,
        folder: &'a Path,
        done: &[(&Instance, Arc<Done>)],
    ) -> Result<Self, CopyError> {
        let mut copies: Vec<Copy> = Vec::new();
        for (instance, done) in done {
            for spec in instance.kind.about().outputs {
                if let Some(artifact) = done.outputs.get(spec.name) {
                    let output = super::Copyable { selector: &instance.selector, spec, artifact };
                    list_copies(binder.store, &output, folder, &mut copies)?;
                }
            }
        }
        super::refuse_clashes(&copies)?;
        copies.sort_by(|a, b| a.to.cmp(&b.to));
        copies.dedup_by(|a, b| a.to == b.to);
        Ok(Self { stage, folder, copies, about: Provenance::new(binder, stage, done, Vec::new()) })
    }

    /// A file's name within the folder.
    pub(super) fn name(&self, path: &Path) -> String {
        let within = path.strip_prefix(self.folder).unwrap_or(path);
        let parts = within.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        parts.collect::<Vec<_>>().join("/")
    }

    /// Compares the folder with the set; refuses what must not be replaced.
    fn compare(&self, memo: &InputMemo) -> Result<Compared, CopyError> {
        if self.folder.exists() && !self.folder.is_dir() {
            return Err(CopyError::NoFolder { path: self.folder.to_path_buf() });
        }
        let before = Provenance::read(self.folder);
        let account = self.folder.join(FILE);
        if before.is_none() && fs::symlink_metadata(&account).is_ok() {
            return Err(CopyError::Foreign { path: account });
        }
        let known = before.as_ref().map(Provenance::digests).unwrap_or_default();
        let mut found = Compared::default();
        for (position, copy) in self.copies.iter().enumerate() {
            refuse_links(self.folder, &copy.to)?;
            match state(memo, copy)? {
                State::Same => {
                    found.same.insert(copy.to.clone());
                }
                State::Absent => found.wanted.push(position),
                State::Different => {
                    refuse_foreign(memo, &copy.to, known.get(self.name(&copy.to).as_str()).copied())?;
                    found.wanted.push(position);
                }
            }
        }
        found.is_adopted = before.is_none() && !found.same.is_empty();
        self.look_for_old(memo, &known, &mut found)?;
        if let Some(before) = &before {
            let mut now = self.about.clone();
            now.files.clone_from(&before.files);
            let all = known.len() == self.copies.len() && found.wanted.is_empty() && found.gone.is_empty();
            found.is_told = all && now.is_of_same_results(before);
            if !found.is_told && before.run != self.about.run {
                found.replaced_run = Some(before.run.clone());
            }
        }
        Ok(found)
    }

    /// Files that were published before and are no longer given.
    fn look_for_old(
        &self,
        memo: &InputMemo,
        known: &BTreeMap<&str, Digest>,
        found: &mut Compared,
    ) -> Result<(), CopyError> {
        let given: BTreeSet<String> = self.copies.iter().map(|copy| self.name(&copy.to)).collect();
        for (name, digest) in known.iter().filter(|(name, _)| !given.contains(**name)) {
            let path = self.folder.join(name);
            if !path.is_file() || pipe_cache::check_name(name).is_err() {
                continue;
            }
            refuse_links(self.folder, &path)?;
            match memo.digest(&path)?.digest == *digest {
                true => found.gone.push(path),
                false => found.kept_changed.push(path),
            }
        }
        Ok(())
    }

    /// Puts the set in the folder's place.
    fn put(
        &self,
        binder: &Binder<'_>,
        done: &[(&Instance, Arc<Done>)],
        found: &Compared,
    ) -> Result<Outcome, CopyError> {
        let account = Provenance::new(binder, self.stage, done, self.hashed(binder.store)?).to_bytes();
        let outcome =
            Outcome { written: found.wanted.len(), removed: found.gone.len(), ..Outcome::default() };
        let (parent, name) = parent_and_name(self.folder);
        let prefix = format!(".{name}.new-");
        remove_left_over(&parent, &prefix);
        let whole = tempfile::Builder::new().prefix(&format!("{prefix}{}", own_mark())).tempdir_in(&parent);
        let real = parent.join(&name);
        let exchange = |whole: &tempfile::TempDir| {
            self.fill(binder.store, whole.path(), &account, found)?;
            change_places(whole.path(), &real).map_err(CannotExchange::Place)
        };
        let exchanged =
            whole.map_err(CannotExchange::Place).and_then(|whole| exchange(&whole).map(|()| whole));
        match exchanged {
            Ok(whole) => {
                keep_late_files(whole.path(), &real, &found.gone, self.folder);
                Ok(outcome)
            }
            Err(CannotExchange::Place(error)) => {
                self.replace_each(binder.store, &account, found)?;
                Ok(Outcome { one_by_one: Some(error.to_string()), ..outcome })
            }
            Err(CannotExchange::Content(error)) => Err(error),
        }
    }

    /// The files with their digests, read from the store.
    fn hashed(&self, store: &Store) -> Result<Vec<PublishedFile>, CopyError> {
        let file = |copy: &Copy| {
            let sha256 = sha256_of(store.open_blob(copy.digest)?).map_err(Error::io("read", &copy.to))?;
            Ok(PublishedFile { name: self.name(&copy.to), bytes: copy.size, blake3: copy.digest, sha256 })
        };
        self.copies.iter().map(file).collect()
    }

    /// Makes the folder as it is to be, beside it.
    fn fill(
        &self,
        store: &Store,
        new: &Path,
        account: &[u8],
        found: &Compared,
    ) -> Result<(), CannotExchange> {
        if let Ok(metadata) = fs::metadata(self.folder) {
            let _ = fs::set_permissions(new, metadata.permissions());
        } else {
            open_to_read(new);
        }
        let replaced: BTreeSet<PathBuf> = found
            .wanted
            .iter()
            .filter_map(|position| self.copies.get(*position))
            .map(|copy| copy.to.clone())
            .chain(found.gone.iter().cloned())
            .chain([self.folder.join(FILE)])
            .collect();
        if self.folder.is_dir() {
            carry_over(self.folder, new, &replaced).map_err(CannotExchange::Place)?;
        }
        for copy in found.wanted.iter().filter_map(|position| self.copies.get(*position)) {
            let to = new.join(copy.to.strip_prefix(self.folder).unwrap_or(&copy.to));
            write(store, &Copy { to, ..*copy }).map_err(CopyError::from)?;
        }
        Ok(write_account(&new.join(FILE), account)?)
    }

    /// Replaces files one by one, the account last.
    fn replace_each(&self, store: &Store, account: &[u8], found: &Compared) -> Result<(), CopyError> {
        for copy in found.wanted.iter().filter_map(|position| self.copies.get(*position)) {
            write(store, copy)?;
        }
        for path in &found.gone {
            fs::remove_file(path).map_err(Error::io("remove", path))?;
        }
        write_account(&self.folder.join(FILE), account)
    }
}

/// Refuses a file that was not published here, or was changed since.
fn refuse_foreign(memo: &InputMemo, path: &Path, published: Option<Digest>) -> Result<(), CopyError> {
    let path_buf = || path.to_path_buf();
    let Some(published) = published else { return Err(CopyError::Foreign { path: path_buf() }) };
    let is_plain = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    match is_plain && memo.digest(path)?.digest == published {
        true => Ok(()),
        false => Err(CopyError::Changed { path: path_buf() }),
    }
}

fn write_account(path: &Path, bytes: &[u8]) -> Result<(), CopyError> {
    Ok(place(path, |file| fs::write(file, bytes).map_err(Error::io("write", path)))?)
}
