//! One file with known content, in the store or outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipe_cache::{Digest, Hashed, InputMemo, Stamp, Store};

use super::{InputError, extension};

/// A file with known content.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its name in words, for messages.
    pub shown: String,
    pub(super) place: Place,
}

/// Where a file is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Stored(Arc<Store>),
    Outside { path: PathBuf, stamp: Stamp, settled: bool },
}

impl InputFile {
    /// A blob of the store.
    pub fn stored(store: &Arc<Store>, digest: Digest, size: u64, shown: String) -> Self {
        Self { digest, size, shown, place: Place::Stored(Arc::clone(store)) }
    }

    /// A file outside the store, hashed now or remembered.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn outside(memo: &InputMemo, path: &Path) -> Result<Self, InputError> {
        let Hashed { digest, size, stamp, settled } = memo.digest(path)?;
        let shown = path.display().to_string();
        Ok(Self { digest, size, shown, place: Place::Outside { path: path.to_path_buf(), stamp, settled } })
    }

    /// The extension of its name with its dot; see [`extension`].
    pub fn extension(&self) -> &str {
        extension(match &self.place {
            Place::Outside { path, .. } => path.to_str().unwrap_or_default(),
            // Of a folder, it is called `NAME of FOLDER`.
            Place::Stored(_) => self.shown.split(" of ").next().unwrap_or_default(),
        })
    }

    /// All bytes, compared with the digest.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged or has changed.
    pub fn read(&self) -> Result<Vec<u8>, InputError> {
        match &self.place {
            Place::Stored(store) => Ok(store.read(self.digest)?),
            Place::Outside { path, .. } => {
                let bytes =
                    fs::read(path).map_err(|source| InputError::Read { path: path.clone(), source })?;
                if Digest::of(&bytes) == self.digest {
                    Ok(bytes)
                } else {
                    Err(InputError::Changed { path: path.clone() })
                }
            }
        }
    }

    /// A path to read the bytes from: a stored blob is compared with its digest first, a file outside must
    /// still have the stamp that it had when it was hashed. The name need not have an extension.
    ///
    /// # Errors
    /// When the file is damaged, missing or has changed.
    pub fn path(&self) -> Result<PathBuf, InputError> {
        match &self.place {
            Place::Stored(store) => Ok(store.verified_path(self.digest)?),
            Place::Outside { path, .. } => {
                self.check_unchanged()?;
                Ok(path.clone())
            }
        }
    }

    /// Whether a file outside the store is still as it was when it was hashed.
    ///
    /// # Errors
    /// [`InputError::Changed`] when it is not.
    pub fn check_unchanged(&self) -> Result<(), InputError> {
        let Place::Outside { path, stamp, settled } = &self.place else { return Ok(()) };
        let read = |source| InputError::Read { path: path.clone(), source };
        let same = Stamp::of(&fs::metadata(path).map_err(read)?) == *stamp
            // Written so shortly before it was hashed that its stamp tells nothing.
            && (*settled || Digest::of_reader(fs::File::open(path).map_err(read)?).map_err(read)?.0 == self.digest);
        if same { Ok(()) } else { Err(InputError::Changed { path: path.clone() }) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_file_rewritten_at_once_is_noticed_even_if_its_times_do_not_tell() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        let memo = InputMemo::open(&store, true);
        let path = folder.path().join("scan.nii");
        // Times have a grain of some milliseconds: of so many quick rewrites some leave the same stamp.
        for round in 0..200u32 {
            fs::write(&path, round.to_le_bytes()).unwrap();
            let file = InputFile::outside(&memo, &path).unwrap();
            file.check_unchanged().unwrap();
            fs::write(&path, (!round).to_le_bytes()).unwrap();
            assert!(matches!(file.check_unchanged(), Err(InputError::Changed { .. })), "round {round}");
        }
    }
}
