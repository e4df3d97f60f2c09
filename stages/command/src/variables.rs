//! The environment of a program: what it needs, what it declares, what the scheduler gives it, and nothing of the caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pipe_plugin::context::{Device, Machine};

use crate::folder::MESSAGES;
use crate::program::{Program, is_of_system};

/// Folders of a system with programs.
const PROGRAMS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Variables that say how many threads numerical libraries begin.
const THREADS: [&str; 5] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
];

/// The variable that names the devices which a program may use.
const DEVICES: &str = "CUDA_VISIBLE_DEVICES";

/// What a program is given.
pub struct Given<'a> {
    /// The programs that it is started by.
    pub programs: &'a [Program],
    /// Folders of installed software.
    pub software: &'a [String],
    /// The variables that it declares.
    pub declared: &'a [String],
    /// Where its folder is, as it sees it.
    pub work: &'a Path,
    /// The device that is its own, if it asks for one.
    pub device: Option<Device>,
}

/// A program's environment.
pub fn variables(given: &Given<'_>, machine: &Machine<'_>) -> BTreeMap<String, String> {
    let place = |name: &str| given.work.join(name).display().to_string();
    let mut variables: BTreeMap<String, String> = [
        ("PATH", path(given)),
        ("HOME", place("home")),
        ("TMPDIR", place("tmp")),
        ("PIPE_PROGRESS", place(MESSAGES)),
        ("USER", "pipe".to_string()),
        ("LOGNAME", "pipe".to_string()),
        ("LC_ALL", "C.UTF-8".to_string()),
        ("LANG", "C.UTF-8".to_string()),
        ("TZ", "UTC".to_string()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_string()),
        ("PYTHONNOUSERSITE", "1".to_string()),
        ("PYTHONHASHSEED", "0".to_string()),
        ("PYTHONUNBUFFERED", "1".to_string()),
        ("MPLBACKEND", "Agg".to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_string(), value))
    .collect();
    let threads = machine.cpus.max(1).to_string();
    variables.extend(THREADS.iter().map(|name| ((*name).to_string(), threads.clone())));
    let devices = match given.device {
        // Of those that the scheduler of a cluster lets this process use.
        Some(Device::Cuda(number)) => Some(
            machine
                .host
                .variable(DEVICES)
                .and_then(|all| all.split(',').nth(number))
                .map_or_else(|| number.to_string(), str::to_string),
        ),
        Some(Device::Cpu) => Some(String::new()),
        None => machine.host.variable(DEVICES).map(str::to_string),
    };
    variables.extend(devices.map(|devices| (DEVICES.to_string(), devices)));
    // Last, so that what is declared counts.
    for name in given.declared {
        variables.extend(machine.host.variable(name).map(|value| (name.clone(), value.to_string())));
    }
    variables
}

/// Where the program looks for others: in software that it declares, beside the programs that count, in the system. The system's
/// folders are last, whichever of these programs lie in them: else another program of the same name would run.
fn path(given: &Given<'_>) -> String {
    let own = given.programs.iter().filter(|program| !is_of_system(&program.path));
    let beside = own.filter_map(|program| program.path.parent()).map(Path::to_path_buf);
    let software = given.software.iter().map(|folder| Path::new(folder).join("bin"));
    let system = PROGRAMS.iter().map(PathBuf::from);
    let mut seen = BTreeSet::new();
    let folders: Vec<String> = software
        .chain(beside)
        .chain(system)
        .filter(|folder| seen.insert(folder.clone()))
        .map(|folder| folder.display().to_string())
        .collect();
    folders.join(":")
}
