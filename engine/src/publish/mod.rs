//! Copying artifacts out of the store: `pipe get` here, and `publish` at a run's end in `folder`.

mod conflicts;
mod exchange;
mod folder;
mod look;
pub(crate) mod provenance;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pipe_cache::{ArtifactRef, Digest, Error, Form, InputMemo, Store, is_abandoned, own_mark};

pub(crate) use self::conflicts::{plain_path, publisher_of, real_path, refuse_conflicts};
pub(crate) use self::folder::publish_stage;
pub use self::look::PublishedProblem;
pub(crate) use self::look::{Found, Told, look_at_published};
pub(crate) use self::provenance::Provenance;
use crate::bind::Done;
use crate::input::Selector;
use crate::manifest::Instance;
use crate::stage::{OutputForm, OutputSpec};

/// Why an artifact cannot be copied out.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store's reason.
    #[error(transparent)]
    Store(#[from] Error),
    /// A file is there already and is another one.
    #[error("{} is there already and differs", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// A folder on the way to a file is a link to somewhere else.
    #[error("{} is a link: nothing is written through it", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// What is to be copied to is no folder.
    #[error("{} is no folder", path.display())]
    NoFolder {
        /// What it is named.
        path: PathBuf,
    },
    /// A file is there that no run has published.
    #[error("{} is there already and was not published by pipe", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file was changed after it had been published.
    #[error("{} has been changed since it was published", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The run was asked to stop while another process published to the folder.
    #[error("{owner} is publishing to {}", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
        /// The process.
        owner: String,
    },
    /// Two artifacts have a file of the same name.
    #[error("two outputs would both be written to {}", path.display())]
    Clash {
        /// The file.
        path: PathBuf,
    },
}

impl CopyError {
    /// What to do about it, where it is always the same.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Link { .. } => Some("choose another folder, or put a folder in the link's place"),
            Self::NoFolder { .. } => Some("name a folder; it is made if there is none"),
            Self::Foreign { .. } => {
                Some("move the file away, or change `publish`: a run replaces only what a run has published")
            }
            Self::Changed { .. } => {
                Some("keep it under another name and remove it here, or change `publish`")
            }
            Self::Busy { .. } => Some("run again when the other run has ended"),
            Self::Store(_) | Self::Differs { .. } | Self::Clash { .. } => None,
        }
    }
}

/// Writes one file that is in no store, below a folder; one that is there already with the same content stays.
/// True if it was written.
///
/// # Errors
/// When another file is there, or it cannot be written.
pub fn write_out(to: &Path, name: &str, bytes: &[u8]) -> Result<bool, CopyError> {
    let path = to.join(name);
    match fs::read(&path) {
        Ok(found) if found == bytes => return Ok(false),
        Ok(_) => return Err(CopyError::Differs { path }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("read", &path)(error).into()),
    }
    place(&path, |file| fs::write(file, bytes).map_err(Error::io("write", &path)))?;
    Ok(true)
}

/// A file to be copied out.
struct Copy {
    to: PathBuf,
    digest: Digest,
    size: u64,
}

/// An output of one instance, for copying out.
pub struct Copyable<'a> {
    /// The foreach values of the instance.
    pub selector: &'a Selector,
    /// The output's description.
    pub spec: &'a OutputSpec,
    /// The artifact.
    pub artifact: &'a ArtifactRef,
}

/// Refuses a file below a folder when a folder between them is a link.
pub(crate) fn refuse_links(to: &Path, file: &Path) -> Result<(), CopyError> {
    let between = file.ancestors().skip(1).take_while(|folder| *folder != to);
    let link = between.into_iter().find(|folder| folder.is_symlink());
    link.map_or(Ok(()), |link| Err(CopyError::Link { path: link.to_path_buf() }))
}

/// Copies artifacts into a folder. Files of instances with foreach values go to a folder for each value,
/// such as `fold_0`. Files that are there already with the same content stay; others are refused before anything is
/// written. Gives the number of files written.
///
/// # Errors
/// When a file differs, two outputs clash, or something cannot be read or written.
pub fn copy_out(
    store: &Store,
    memo: &InputMemo,
    outputs: &[Copyable<'_>],
    to: &Path,
) -> Result<usize, CopyError> {
    if to.exists() && !to.is_dir() {
        return Err(CopyError::NoFolder { path: to.to_path_buf() });
    }
    let mut copies = Vec::new();
    for output in outputs {
        list_copies(store, output, to, &mut copies)?;
    }
    refuse_clashes(&copies)?;
    let mut wanted = Vec::new();
    for copy in &copies {
        refuse_links(to, &copy.to)?;
        match state(memo, copy)? {
            State::Same => {}
            State::Absent => wanted.push(copy),
            State::Different => return Err(CopyError::Differs { path: copy.to.clone() }),
        }
    }
    for folder in wanted.iter().filter_map(|copy| copy.to.parent()).collect::<BTreeSet<_>>() {
        remove_left_over(folder);
    }
    for copy in &wanted {
        write(store, copy)?;
    }
    Ok(wanted.len())
}

/// The files that [`copy_out`] would write, by their paths below the folder, with their digests.
///
/// # Errors
/// A listing that cannot be read.
pub fn listed(store: &Store, outputs: &[Copyable<'_>]) -> Result<Vec<(String, Digest)>, CopyError> {
    let mut copies = Vec::new();
    for output in outputs {
        list_copies(store, output, Path::new(""), &mut copies)?;
    }
    refuse_clashes(&copies)?;
    Ok(copies.into_iter().map(|copy| (copy.to.to_string_lossy().into_owned(), copy.digest)).collect())
}

/// Refuses two files of one name.
fn refuse_clashes(copies: &[Copy]) -> Result<(), CopyError> {
    let mut seen: BTreeMap<&Path, Digest> = BTreeMap::new();
    let clash = copies
        .iter()
        .find(|copy| seen.insert(&copy.to, copy.digest).is_some_and(|known| known != copy.digest));
    clash.map_or(Ok(()), |copy| Err(CopyError::Clash { path: copy.to.clone() }))
}

fn list_copies(store: &Store, output: &Copyable<'_>, to: &Path, copies: &mut Vec<Copy>) -> Result<(), Error> {
    let folder = output.selector.iter().fold(to.to_path_buf(), |folder, (key, value)| {
        folder.join(crate::execute::file_label(&format!("{key}_{value}")))
    });
    let ArtifactRef { form, digest, files: _, bytes } = output.artifact;
    if *form == Form::File {
        let name = match output.spec.form {
            OutputForm::File(name) | OutputForm::Table(name) => name,
            _ => output.spec.name,
        };
        copies.push(Copy { to: folder.join(name), digest: *digest, size: *bytes });
        return Ok(());
    }
    for entry in store.index(*digest)?.entries() {
        copies.push(Copy { to: folder.join(&entry.name), digest: entry.digest, size: entry.size });
    }
    Ok(())
}

enum State {
    Absent,
    Same,
    Different,
}

/// How a file compares with what is to be there. One that was compared before is not read again.
fn state(memo: &InputMemo, copy: &Copy) -> Result<State, Error> {
    match fs::metadata(&copy.to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::Absent),
        Err(error) => Err(Error::io("read", &copy.to)(error)),
        Ok(metadata) if !metadata.is_file() || metadata.len() != copy.size => Ok(State::Different),
        Ok(_) => {
            let is_same = memo.digest(&copy.to)?.digest == copy.digest;
            Ok(if is_same { State::Same } else { State::Different })
        }
    }
}

fn write(store: &Store, copy: &Copy) -> Result<(), Error> {
    let failed = || Error::io("write", &copy.to);
    if copy.size <= SMALL {
        let bytes = store.read(copy.digest)?;
        return place(&copy.to, |file| fs::write(file, bytes).map_err(failed()));
    }
    let from = store.verified_path(copy.digest)?;
    place(&copy.to, |file| fs::copy(&from, file).map(|_| ()).map_err(failed()))
}

/// Files of no more bytes are read and written; others are copied by the system, which may share their blocks.
const SMALL: u64 = 1 << 20;

/// How the names of files begin that are being written.
const WRITING: &str = ".writing-";

/// Removes what processes were writing to a folder when they were killed.
fn remove_left_over(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_abandoned(&entry.path(), WRITING) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Fills a file beside its place and then moves it there.
fn place(to: &Path, fill: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
    let file = tempfile::NamedTempFile::with_prefix_in(format!("{WRITING}{}", own_mark()), folder)
        .map_err(Error::io("write in", folder))?;
    fill(file.path())?;
    #[cfg(unix)]
    {
        // Results are for people and other programs; the store's own files are private.
        use std::os::unix::fs::PermissionsExt as _;
        let _ = fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644));
    }
    file.persist(to).map_err(|error| Error::io("write", to)(error.error))?;
    Ok(())
}

/// The text that a finished instance shows to people; `None` when it has none or it cannot be read.
pub(crate) fn headline(store: &Store, instance: &Instance, done: &Done) -> Option<String> {
    let (output, file) = instance.kind.about().headline?;
    read_text(store, done, output, file)
}

/// The file beside a headline's that says it in one line, for lists of runs.
const IN_A_LINE: &str = "headline.txt";

/// So many characters of it are shown.
const LONGEST: usize = 120;

/// What came out of a finished instance in one line, or the first line of a headline that is an output's only file; `None`
/// when its kind does not say it.
pub(crate) fn headline_in_a_line(store: &Store, instance: &Instance, done: &Done) -> Option<String> {
    let (output, _) = instance.kind.about().headline?;
    let text = read_text(store, done, output, IN_A_LINE)?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.chars().take(LONGEST).collect())
}

fn read_text(store: &Store, done: &Done, output: &str, file: &str) -> Option<String> {
    let artifact = done.outputs.get(output)?;
    let digest = match artifact.form {
        Form::File => artifact.digest,
        Form::Tree | Form::Collection => store.index(artifact.digest).ok()?.get(file)?.digest,
    };
    String::from_utf8(store.read(digest).ok()?).ok()
}
