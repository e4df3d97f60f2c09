//! What a run is and how it ended: the first line of its record and the last. What lies between is not read, so that
//! lists of runs cost the same however many instances they had.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use pipe_cache::{Store, Writer};
use serde_json::Value;

use super::read::{FILE, id_of};
use super::{Line, RecordError, RunHeader, VERSION};

/// The line that tells how a run ended has fewer bytes.
const LAST_LINE: u64 = 1 << 16;

/// What has become of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It ended and all stages have their results.
    Ok,
    /// It ended, and a stage failed.
    Failed,
    /// It was asked to stop.
    Interrupted,
    /// Its process lives.
    Running,
    /// Its process is gone and has not told of an end.
    Killed,
    /// It has not told of an end, and was written by a program that does not say which process it was.
    Unfinished,
}

impl RunState {
    /// The state in a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Unfinished => "unfinished",
        }
    }
}

/// A run without its instances.
#[derive(Clone, Debug)]
pub struct RunHead {
    /// What was asked for.
    pub header: RunHeader,
    /// How it ended; `None` while it is going on or when it was killed.
    pub summary: Option<Value>,
    /// The record's folder.
    pub folder: PathBuf,
}

impl RunHead {
    /// The name of the record's folder, which is the run's id.
    pub fn id(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The record's file.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Whether the run has ended well.
    pub fn is_ok(&self) -> bool {
        self.summary.as_ref().and_then(|summary| summary.get("status")).is_some_and(|status| status == "ok")
    }

    /// What has become of it, as far as can be told.
    pub fn state(&self) -> RunState {
        let status = self.summary.as_ref().and_then(|summary| summary.get("status")?.as_str());
        let writer = || Writer::of(&self.path(), self.header.process.as_deref()?);
        match status {
            Some("ok") => RunState::Ok,
            Some("interrupted") => RunState::Interrupted,
            Some(_) => RunState::Failed,
            None => match writer() {
                Some(Writer::Lives) => RunState::Running,
                Some(Writer::Gone) => RunState::Killed,
                None => RunState::Unfinished,
            },
        }
    }
}

/// A run by its id, a unique beginning of it, or `latest`, without its instances.
///
/// # Errors
/// When there is no such run, there are several, or its first line cannot be read.
pub fn read_head(store: &Store, name: &str) -> Result<RunHead, RecordError> {
    let folder = store.runs().join(id_of(store, name)?);
    let path = folder.join(FILE);
    let unreadable =
        |error: std::io::Error| RecordError::Unreadable { path: path.clone(), problem: error.to_string() };
    let mut file = BufReader::new(File::open(&path).map_err(unreadable)?);
    let mut first = Vec::new();
    file.read_until(b'\n', &mut first).map_err(unreadable)?;
    let header = header_of(&path, &first)?;
    let summary = last_line(file.into_inner()).map_err(unreadable)?.and_then(|last| {
        match serde_json::from_slice(&last) {
            Ok(Line::Finished { summary }) => Some(summary),
            _ => None,
        }
    });
    Ok(RunHead { header, summary, folder })
}

/// The header in the first line of a record.
///
/// # Errors
/// A run that was killed before it said what it is, a record of a newer program, or something else.
pub(super) fn header_of(path: &Path, line: &[u8]) -> Result<RunHeader, RecordError> {
    let path = || path.to_path_buf();
    if !line.ends_with(b"\n") {
        return Err(RecordError::Empty { path: path() });
    }
    let value: Value = serde_json::from_slice(line).unwrap_or_default();
    match value.get("version").and_then(Value::as_u64) {
        Some(found) if found > u64::from(VERSION) => {
            return Err(RecordError::Newer { path: path(), found, known: VERSION });
        }
        _ => {}
    }
    match serde_json::from_value(value) {
        Ok(Line::Run(header)) => Ok(*header),
        _ => Err(RecordError::Unreadable {
            path: path(),
            problem: "its first line is not a run header".to_string(),
        }),
    }
}

/// The last line of a file, if it is whole.
fn last_line(mut file: File) -> std::io::Result<Option<Vec<u8>>> {
    let length = file.metadata()?.len();
    let mut end = Vec::new();
    match file
        .seek(SeekFrom::Start(length.saturating_sub(LAST_LINE)))
        .and_then(|_| file.read_to_end(&mut end))
    {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        outcome => outcome?,
    };
    let whole = end.strip_suffix(b"\n");
    Ok(whole.and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next()).map(<[u8]>::to_vec))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs;

    use super::*;

    fn store_with(record: &str) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".pipe")).unwrap();
        fs::create_dir_all(store.runs().join("r")).unwrap();
        fs::write(store.runs().join("r").join(FILE), record).unwrap();
        (folder, store)
    }

    fn header(version: u32) -> String {
        format!(
            r#"{{"record":"run","version":{version},"run":"r","pipeline":"p","manifest":"p.toml","started":"","seed":0,"device":"cpu","device_class":"cpu","jobs":1,"set":[],"profiles":[],"code":"{}","surroundings":{{"program":"","host":"","git":null,"command":[]}},"manifest_resolved":{{}}}}"#,
            pipe_cache::Digest::of(b"code")
        )
    }

    #[test]
    fn the_first_line_and_the_last_tell_what_a_run_was() {
        let end = r#"{"record":"finished","summary":{"status":"ok"}}"#;
        for (rest, expected) in [
            (format!("not read\n{end}\n"), Some(RunState::Ok)),
            (format!("{}\n{end}\n", "x".repeat(200_000)), Some(RunState::Ok)),
            (format!("{}\n{}", end, &end[..20]), Some(RunState::Unfinished)),
            (String::new(), Some(RunState::Unfinished)),
        ] {
            let (_folder, store) = store_with(&format!("{}\n{rest}", header(VERSION)));
            assert_eq!(read_head(&store, "r").ok().map(|head| head.state()), expected);
        }
        let (_folder, store) = store_with(&header(VERSION)[..50]);
        assert!(matches!(read_head(&store, "r"), Err(RecordError::Empty { .. })));
    }

    #[test]
    fn a_record_of_a_newer_program_is_told_as_such() {
        let (_folder, store) = store_with(&format!("{}\n", header(VERSION + 1)));
        let told = read_head(&store, "r").unwrap_err().to_string();
        assert!(told.ends_with("is of version 4; this program reads up to 3"), "{told}");
        let (_folder, store) = store_with(&format!("{}\n", header(1)));
        assert_eq!(read_head(&store, "r").unwrap().header.pipeline, "p");
    }
}
