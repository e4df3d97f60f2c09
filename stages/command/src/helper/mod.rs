//! The helper process that a program runs under. It closes the program off from what it does not declare, starts it, and ends all
//! that it leaves behind. When whoever started the helper goes away, it ends the program.
//!
//! It is the calling program itself, started anew with words of its own: [`serve`] is the first thing that such a program's `main`
//! does. Its standard input is one end of a socket: an [`Order`] comes over it, a [`Word`] goes back when the program has started
//! and when it has ended, and while the other end is open the program is wanted.
//!
//! For a program with a file system of its own there are two: one that makes the namespaces, and within these another, which is
//! their first process. When it ends, so does everything in them.

#[cfg(target_os = "linux")]
mod isolate;
#[cfg(target_os = "linux")]
mod namespaces;
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

/// This program, also when its file has been replaced meanwhile.
pub const THIS: &str = "/proc/self/exe";

/// Where a program finds its folder, in a file system of its own.
pub const WORK: &str = "/pipe";

/// What to run, and how far apart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    /// The folder that the program works in.
    pub work: PathBuf,
    /// An empty folder, for a file system of its own.
    pub root: PathBuf,
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
    /// Whether it may use graphics processors.
    pub devices: bool,
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

/// What the helper tells, one line of JSON each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// The program has started, as this process and group.
    Started(i32),
    /// It has ended.
    Ended(Ending),
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

/// The words behind [`WORD`] for a helper that does as [`Order::isolation`] and [`Order::network`] say.
pub fn words(isolation: Isolation, network: bool) -> [&'static str; 2] {
    let isolation = match isolation {
        Isolation::Namespaces => "namespaces",
        Isolation::Landlock | Isolation::None => "here",
    };
    [isolation, if network { "network" } else { "alone" }]
}

/// Does a helper's work, if that is what the program was started for.
pub fn serve(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.nth(1)? != WORD {
        return None;
    }
    let how = arguments.next().unwrap_or_default();
    let network = arguments.next().is_some_and(|word| word == "network");
    #[cfg(target_os = "linux")]
    return Some(match how.to_str() {
        Some("namespaces") => namespaces::make(network),
        _ => supervise::obey(false),
    });
    #[cfg(not(target_os = "linux"))]
    return Some(ExitCode::FAILURE);
}
