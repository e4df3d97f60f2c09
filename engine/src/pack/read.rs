//! Reading a pack into a store of its own, in a folder that whoever asks provides.
//!
//! A pack comes from elsewhere: names that lead out of it are refused, sizes are those of the file, and every byte of it
//! must be what writing the same entries gives.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipe_cache::{Digest, ResultRecord, Store, check_name, create_folder};
use tempfile::TempDir;

use super::compare::rewritten;
use super::{ABOUT, About, PackError, VERSION};

/// A name has no more bytes.
const LONGEST_NAME: u64 = 4096;
/// Blobs of more bytes are never in memory.
const AT_ONCE: u64 = 1 << 20;
/// An entry that is no blob has no more bytes.
const MOST: u64 = 1 << 28;

/// Whether a file begins as a pack does.
pub fn is_pack(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(ABOUT.len() as u64 + 1).read_to_end(&mut beginning));
    read.is_ok() && beginning.strip_prefix(ABOUT.as_bytes()) == Some(b"\0")
}

/// A pack that was read.
pub struct Unpacked {
    /// A store with what was in it.
    pub store: Arc<Store>,
    /// The run.
    pub run: String,
    /// The folder with the inputs that were in it.
    pub root: PathBuf,
    /// What is not as it was written, by entry.
    pub problems: Vec<String>,
    _folder: TempDir,
}

/// An entry's name, and where its bytes are in the file.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) start: u64,
    pub(super) size: u64,
}

/// Reads a pack into a temporary folder.
///
/// # Errors
/// A file that is no pack, or of a newer program; a folder that cannot be written.
pub fn unpack(path: &Path) -> Result<Unpacked, PackError> {
    let damaged = |problem: String| PackError::Damaged { path: path.to_path_buf(), problem };
    let unreadable = |error: io::Error| damaged(error.to_string());
    let places = places(path).map_err(unreadable)?;
    let mut file = File::open(path).map_err(unreadable)?;
    let about = match places.first() {
        Some(first) if first.name == ABOUT && first.size < 1 << 16 => {
            read(&mut file, first).map_err(unreadable)?
        }
        _ => return Err(damaged("this is no pack: it does not begin with pack.json".to_string())),
    };
    let about: About =
        serde_json::from_slice(&about).map_err(|error| damaged(format!("{ABOUT}: {error}")))?;
    if about.pipe_pack != VERSION {
        return Err(PackError::Newer { path: path.to_path_buf(), found: about.pipe_pack });
    }
    let folder = tempfile::tempdir().map_err(|error| damaged(format!("cannot be unpacked: {error}")))?;
    let store = Arc::new(Store::open(&folder.path().join("cache"))?);
    let root = folder.path().join("inputs");
    create_folder(&root)?;
    let mut problems = Vec::new();
    for place in places.iter().skip(1) {
        if check_name(&place.name).is_err() {
            problems.push(format!("{}: a name that leads elsewhere", place.name));
            continue;
        }
        let taken = take(&store, &root, &mut file, place);
        problems.extend(taken.err().map(|problem| format!("{}: {problem}", place.name)));
    }
    if problems.is_empty() {
        problems.extend(rewritten(path, &places).map_err(unreadable)?.map(|place| place.to_string()));
    }
    Ok(Unpacked { store, run: about.run, root, problems, _folder: folder })
}

/// All entries in their order.
pub(super) fn places(path: &Path) -> io::Result<Vec<Place>> {
    refuse_long_names(path)?;
    let mut archive = tar::Archive::new(BufReader::new(File::open(path)?));
    let length = fs::metadata(path)?.len();
    let mut places = Vec::new();
    for entry in archive.entries()? {
        let entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let place = Place { name, start: entry.raw_file_position(), size: entry.size() };
        if place.start.checked_add(place.size).is_none_or(|end| end > length) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} is cut short", place.name)));
        }
        places.push(place);
    }
    Ok(places)
}

/// Refuses entries of other sorts than those that are written, before anything of them is in memory.
fn refuse_long_names(path: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(BufReader::new(File::open(path)?));
    for entry in archive.entries()?.raw(true) {
        let entry = entry?;
        let is_known = match entry.header().entry_type() {
            tar::EntryType::Regular => true,
            tar::EntryType::GNULongName => entry.size() <= LONGEST_NAME,
            _ => false,
        };
        if !is_known {
            return Err(io::Error::other("an entry is neither a file nor its name"));
        }
    }
    Ok(())
}

/// An entry's bytes, of which the file is known to have as many.
fn read(file: &mut File, place: &Place) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(place.start))?;
    let mut bytes = Vec::new();
    file.take(place.size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts an entry where it belongs.
fn take(store: &Store, root: &Path, file: &mut File, place: &Place) -> Result<(), String> {
    let (kind, rest) = place.name.split_once('/').ok_or("what it is, is not known")?;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    if kind == "blobs" && place.size > AT_ONCE {
        return take_large(store, file, place, rest).map_err(|error| text(&error));
    }
    if place.size > MOST {
        return Err(format!("it has more than {MOST} bytes"));
    }
    let bytes = read(file, place).map_err(|error| text(&error))?;
    let fingerprint = |name: &str| name.parse::<Digest>().map_err(|_| "its name is no digest".to_string());
    match kind {
        "blobs" => {
            let found = store.put(&bytes).map_err(|error| text(&error))?;
            if found != fingerprint(rest)? { Err("it does not have its digest".to_string()) } else { Ok(()) }
        }
        "listings" => {
            let found = store.keep_listing(&[bytes]).map_err(|error| text(&error))?;
            if found != fingerprint(rest)? { Err("it does not have its digest".to_string()) } else { Ok(()) }
        }
        "preimages" => store.record_preimage(fingerprint(rest)?, &bytes).map_err(|error| text(&error)),
        "results" => {
            let result: ResultRecord = serde_json::from_slice(&bytes).map_err(|error| text(&error))?;
            let of = rest.split('/').next().unwrap_or_default();
            store.record_result(fingerprint(of)?, &result).map(drop).map_err(|error| text(&error))
        }
        "runs" => put_file(&store.runs().join(rest), &bytes),
        "inputs" => put_file(&root.join(rest), &bytes),
        _ => Err("what it is, is not known".to_string()),
    }
}

/// Puts a large blob into the store without having it in memory.
fn take_large(store: &Store, file: &mut File, place: &Place, name: &str) -> io::Result<()> {
    let staging = store.staging().map_err(io::Error::other)?;
    let path = staging.path().join("blob");
    file.seek(SeekFrom::Start(place.start))?;
    io::copy(&mut file.take(place.size), &mut File::create(&path)?)?;
    let (digest, _) = store.adopt(&path).map_err(io::Error::other)?;
    if digest.to_string() == name { Ok(()) } else { Err(io::Error::other("it does not have its digest")) }
}

fn put_file(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    create_folder(folder).map_err(|error| error.to_string())?;
    fs::write(path, bytes).map_err(|error| error.to_string())
}
