//! The helper process that a program runs under. It closes the program off from what it does not declare, starts it, and ends all
//! that it leaves behind. When whoever started the helper goes away, it ends the program.
//!
//! It is the calling program itself, started anew with a word of its own: [`serve`] is the first thing that such a program's `main`
//! does. An [`Order`] comes over its standard input, which stays open as long as the program is wanted; the [`Ending`] goes to a
//! file.

#[cfg(target_os = "linux")]
mod isolate;
#[cfg(target_os = "linux")]
mod supervise;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// The word that makes a program this helper.
pub const WORD: &str = "run-apart";

/// What to run, and how far apart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    /// The folder that the program works in.
    pub work: PathBuf,
    /// An empty folder, for a file system of its own.
    pub root: PathBuf,
    /// Where to write the ending.
    pub ending: PathBuf,
    /// The program and its arguments; none to find out whether it could be closed off.
    pub argv: Vec<String>,
    /// Its environment.
    pub variables: BTreeMap<String, String>,
    /// What it may read besides a system's folders and its own.
    pub readable: Vec<PathBuf>,
    /// Files that it sees in its folder: where they are, and their names there.
    pub shown: Vec<(PathBuf, PathBuf)>,
    /// Whether it may use the network.
    pub network: bool,
    /// How far apart it runs.
    pub isolation: Isolation,
    /// Memory that it may take in bytes; 0 if nobody says.
    pub memory_bytes: u64,
}

/// How far a program is closed off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// It has a file system of its own, with what it declares and a system's folders, and no network.
    Namespaces,
    /// It is refused what it does not declare, and connections.
    Landlock,
    /// It can reach all that its user can.
    #[default]
    None,
}

/// How a program ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ending {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was ended for taking more memory than it may.
    pub is_too_large: bool,
    /// Whether it was ended because it was not wanted any more.
    pub is_stopped: bool,
    /// Why it could not be closed off, or started.
    pub problem: Option<String>,
    /// The most memory that it was seen to have, in bytes, where its memory is limited.
    pub peak_bytes: u64,
}

impl fmt::Display for Isolation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "landlock",
            Self::None => "none",
        })
    }
}

/// Does a helper's work, if that is what the program was started for.
pub fn serve(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.nth(1)? != WORD {
        return None;
    }
    #[cfg(target_os = "linux")]
    return Some(supervise::obey());
    #[cfg(not(target_os = "linux"))]
    return Some(ExitCode::FAILURE);
}
