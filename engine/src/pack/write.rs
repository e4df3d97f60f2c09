//! Writing a pack.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use pipe_cache::{Digest, Form, Store, check_name};

use super::{ABOUT, About, PackError, VERSION, header};
use crate::lineage::Source;
use crate::record::{InstanceRecord, RunHead, Shared, read_own, read_run};

/// Input files of no more bytes are put in.
const SMALL_INPUT: u64 = 1 << 20;
/// All input files together take no more.
const ALL_INPUTS: u64 = 64 << 20;

/// Whose bytes are put in; of others their digests tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outputs {
    /// Those of instances on which nothing builds.
    #[default]
    Last,
    /// Those of all instances.
    All,
    /// None.
    None,
}

/// What was put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The run.
    pub run: String,
    /// Entries.
    pub entries: usize,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// Files of results that are in it.
    pub blobs: usize,
    /// Files of results of which only the digest is.
    pub left_out: usize,
    /// Input files that are in it.
    pub inputs: usize,
}

/// Where an entry's bytes come from.
enum Content {
    Bytes(Vec<u8>),
    Blob(Digest, u64),
    File(PathBuf, u64),
}

/// Writes a run into a file: its record and those of the runs that computed results of it, what its fingerprints were made
/// of, its results, and of bytes what `outputs` says, besides small inputs below `root`.
///
/// # Errors
/// What cannot be read or written. The file is then not there, or is as it was.
pub fn pack(
    store: &Store,
    run: &str,
    outputs: Outputs,
    root: Option<&Path>,
    to: &Path,
) -> Result<Packed, PackError> {
    let failed = |source: io::Error| PackError::Write { path: to.to_path_buf(), source };
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let (writer, told) = write_into(store, run, outputs, root, BufWriter::new(file), to)?;
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    let bytes = file.as_file().metadata().map_err(failed)?.len();
    file.persist(to).map_err(|error| failed(error.error))?;
    Ok(Packed { bytes, ..told })
}

/// Writes a run into a writer, which is called as `to`.
pub(super) fn write_into<W: Write>(
    store: &Store,
    run: &str,
    outputs: Outputs,
    root: Option<&Path>,
    writer: W,
    to: &Path,
) -> Result<(W, Packed), PackError> {
    let record = read_run(store, run)?;
    let header = &record.head.header;
    let (entries, leaves_out) = (BTreeMap::new(), header.de_identified);
    let mut gathered = Gathered { store, leaves_out, entries, told: Packed::default() };
    gathered.told.run = header.run.clone();
    let about = About { pipe_pack: VERSION, run: header.run.clone() };
    let mut about = serde_json::to_vec(&about).unwrap_or_default();
    about.push(b'\n');
    gathered.add(ABOUT.to_string(), Content::Bytes(about));
    gathered.records(&record.head, &record.instances)?;
    gathered.results(&record.instances, outputs)?;
    let then = header.root.clone().filter(|root| root.is_dir());
    let around = store.root().parent().map(Path::to_path_buf);
    // Paths of a de-identified run lead nowhere.
    if let Some(root) = root.map(Path::to_path_buf).or(then).or(around).filter(|_| !header.de_identified) {
        gathered.inputs(&record.instances, &root);
    }
    gathered.write(writer, to)
}

struct Gathered<'a> {
    store: &'a Store,
    /// Whether the store lacks the bytes of most results, as that of a de-identified run does.
    leaves_out: bool,
    entries: BTreeMap<String, Content>,
    told: Packed,
}

impl Gathered<'_> {
    fn add(&mut self, name: String, content: Content) {
        self.entries.insert(name, content);
    }

    /// The run's record with its files, and the records of the runs that computed its results.
    fn records(&mut self, run: &RunHead, instances: &[InstanceRecord]) -> Result<(), PackError> {
        let makers: BTreeSet<&str> = instances.iter().filter_map(|one| one.from_run.as_deref()).collect();
        let mut waiting: Vec<String> = makers.into_iter().map(str::to_string).collect();
        waiting.push(run.header.run.clone());
        let mut seen = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            // One that is gone is missed when the pack is audited, as it is here.
            let Ok(own) = read_own(self.store, &id) else { continue };
            if !seen.insert(id.clone()) {
                continue;
            }
            for shared in &own.shared {
                match shared {
                    Shared::Listing(digest) => {
                        let bytes = self.store.listing(*digest).map(Content::Bytes);
                        bytes.into_iter().for_each(|bytes| self.add(format!("listings/{digest}"), bytes));
                    }
                    Shared::Run(since) => waiting.push(since.clone()),
                }
            }
            let folder = own.head.folder.clone();
            let mut names = vec!["record.jsonl".to_string()];
            names.extend(list(&folder, "signatures"));
            names.extend(own.instances.iter().flat_map(|one| one.files.keys().cloned()));
            // Names that lead elsewhere are none that were written.
            for name in names.into_iter().filter(|name| check_name(name).is_ok()) {
                self.add_file(format!("runs/{id}/{name}"), folder.join(name));
            }
        }
        Ok(())
    }

    fn results(&mut self, instances: &[InstanceRecord], outputs: Outputs) -> Result<(), PackError> {
        let used: BTreeSet<&str> = instances.iter().flat_map(InstanceRecord::upstream).collect();
        for instance in instances {
            if let Some(fingerprint) = instance.fingerprint {
                if let Some(preimage) = self.store.preimage(fingerprint)? {
                    self.add(format!("preimages/{fingerprint}"), Content::Bytes(preimage));
                }
                for result in self.store.results(fingerprint)? {
                    if result.outputs == instance.outputs {
                        let class = result.class.replace('/', "-");
                        let bytes = serde_json::to_vec(&result).unwrap_or_default();
                        self.add(format!("results/{fingerprint}/{class}.json"), Content::Bytes(bytes));
                    }
                }
            }
            if let Some(listing) = instance.items.filter(|listing| self.store.contains(*listing)) {
                let bytes = self.store.read(listing)?;
                self.add(format!("blobs/{listing}"), Content::Bytes(bytes));
            }
            let is_wanted = match outputs {
                Outputs::All => true,
                Outputs::None => false,
                Outputs::Last => !used.contains(instance.label.as_str()),
            };
            self.outputs(instance, is_wanted)?;
        }
        Ok(())
    }

    /// An instance's outputs: indexes always, files if they are wanted.
    fn outputs(&mut self, instance: &InstanceRecord, is_wanted: bool) -> Result<(), PackError> {
        for artifact in instance.outputs.values() {
            let mut files = Vec::new();
            if artifact.form == Form::File {
                files.push((artifact.digest, artifact.bytes));
            } else {
                let bytes = self.store.read(artifact.digest)?;
                let index = self.store.index(artifact.digest)?;
                files.extend(index.entries().iter().map(|entry| (entry.digest, entry.size)));
                self.add(format!("blobs/{}", artifact.digest), Content::Bytes(bytes));
            }
            for (digest, size) in files {
                let is_wanted = is_wanted && (!self.leaves_out || self.store.contains(digest));
                match is_wanted {
                    true => self.add(format!("blobs/{digest}"), Content::Blob(digest, size)),
                    false => self.told.left_out += 1,
                }
                self.told.blobs += usize::from(is_wanted);
            }
        }
        Ok(())
    }

    /// Small files that were given: those themselves, and those in folders.
    fn inputs(&mut self, instances: &[InstanceRecord], root: &Path) {
        let given = instances.iter().flat_map(|one| &one.inputs).flat_map(|given| &given.sources);
        let paths: BTreeSet<&PathBuf> = given
            .filter_map(|source| match source {
                Source::Path(path) if path.is_relative() => Some(path),
                _ => None,
            })
            .collect();
        let mut all = 0;
        let names = paths.into_iter().filter_map(|path| path.to_str());
        let names: BTreeSet<String> = names.flat_map(|name| list(root, name)).collect();
        for name in names {
            let path = root.join(&name);
            let size = fs::metadata(&path).map_or(u64::MAX, |metadata| metadata.len());
            if size <= SMALL_INPUT && all + size <= ALL_INPUTS && check_name(&name).is_ok() {
                all += size;
                self.told.inputs += 1;
                self.add(format!("inputs/{name}"), Content::File(path, size));
            }
        }
    }

    fn add_file(&mut self, name: String, path: PathBuf) {
        if let Ok(metadata) = fs::metadata(&path) {
            self.add(name, Content::File(path, metadata.len()));
        }
    }

    fn write<W: Write>(mut self, writer: W, to: &Path) -> Result<(W, Packed), PackError> {
        let failed = |source: io::Error| PackError::Write { path: to.to_path_buf(), source };
        let mut builder = tar::Builder::new(writer);
        self.told.entries = self.entries.len();
        // What the pack is comes first.
        let about = self.entries.remove_entry(ABOUT);
        for (name, content) in about.into_iter().chain(self.entries) {
            match content {
                Content::Bytes(bytes) => {
                    builder.append_data(&mut header(bytes.len() as u64), &name, &*bytes).map_err(failed)?;
                }
                Content::Blob(digest, size) => {
                    let bytes = self.store.open_blob(digest)?;
                    builder.append_data(&mut header(size), &name, bytes).map_err(failed)?;
                }
                Content::File(path, size) => {
                    let bytes = io::Read::take(File::open(path).map_err(failed)?, size);
                    builder.append_data(&mut header(size), &name, bytes).map_err(failed)?;
                }
            }
        }
        let mut writer = builder.into_inner().map_err(failed)?;
        writer.flush().map_err(failed)?;
        Ok((writer, self.told))
    }
}

/// The files at a name in a folder, by their names in it: the file, or those in the folder of that name; hidden ones are
/// left out.
fn list(folder: &Path, name: &str) -> Vec<String> {
    let path = folder.join(name);
    // Links are followed as they are when a run is given what they lead to; deeper, nobody knows where they end.
    let is_top = !name.contains('/');
    let metadata = if is_top { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
    let Ok(metadata) = metadata else { return Vec::new() };
    if metadata.is_file() {
        return vec![name.to_string()];
    }
    if !metadata.is_dir() {
        return Vec::new();
    }
    let entries = fs::read_dir(&path).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let shown = names.filter(|name| !name.starts_with('.'));
    shown.flat_map(|below| list(folder, &format!("{name}/{below}"))).collect()
}
