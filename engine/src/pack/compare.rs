//! Comparing a pack with what writing its entries again, or packing a run again, gives.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use pipe_cache::Store;

use super::header;
use super::read::{Place, places};
use super::write::{Outputs, write_into};
use crate::pack::PackError;

/// Where a pack is not as it would be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Differs {
    /// The entry, or a word for its place.
    entry: String,
    /// The first byte that differs, counted from the beginning of the pack; none where it goes on behind its end.
    at: Option<u64>,
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}: byte {at} of the pack is not as it was written", self.entry),
            None => write!(f, "{}: the pack goes on behind its end", self.entry),
        }
    }
}

/// Compares a pack with what writing its entries gives.
pub(super) fn rewritten(path: &Path, places: &[Place]) -> io::Result<Option<Differs>> {
    let mut builder = tar::Builder::new(Comparing::with(path)?);
    let mut file = File::open(path)?;
    for place in places {
        file.seek(SeekFrom::Start(place.start))?;
        builder.append_data(&mut header(place.size), &place.name, (&mut file).take(place.size))?;
    }
    builder.into_inner()?.end(places)
}

/// Compares a pack with what packing a run with all its files gives: the first entry that differs, if one does.
///
/// # Errors
/// What cannot be read.
pub fn first_difference(store: &Store, run: &str, path: &Path) -> Result<Option<String>, PackError> {
    let unreadable =
        |error: io::Error| PackError::Damaged { path: path.to_path_buf(), problem: error.to_string() };
    let comparing = Comparing::with(path).map_err(unreadable)?;
    let (compared, _) = write_into(store, run, Outputs::All, None, comparing, path)?;
    let places = places(path).map_err(unreadable)?;
    Ok(compared.end(&places).map_err(unreadable)?.map(|differs| differs.entry))
}

/// Compares what is written with a file.
struct Comparing {
    file: BufReader<File>,
    at: u64,
    /// The first byte that differs.
    differs: Option<u64>,
}

impl Comparing {
    fn with(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::new(File::open(path)?), at: 0, differs: None })
    }

    /// Whether all was the same, when all is written.
    fn end(mut self, places: &[Place]) -> io::Result<Option<Differs>> {
        let rest = self.file.read(&mut [0])?;
        let near = |at: u64| {
            let near = places.iter().rev().find(|place| place.start <= at + 512);
            near.map_or("its beginning", |place| place.name.as_str()).to_string()
        };
        Ok(match (self.differs, rest) {
            (Some(at), _) => Some(Differs { entry: near(at), at: Some(at) }),
            (None, 0) => None,
            (None, _) => Some(Differs { entry: near(self.at), at: None }),
        })
    }
}

impl Write for Comparing {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        let mut there = Vec::new();
        (&mut self.file).take(written.len() as u64).read_to_end(&mut there)?;
        let same = written.iter().zip(&there).take_while(|(one, other)| one == other).count();
        if same < written.len() && self.differs.is_none() {
            self.differs = Some(self.at + same as u64);
        }
        self.at += written.len() as u64;
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
