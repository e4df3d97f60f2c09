//! Making an environment by the tools that its packages are installed with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pipe_plugin::context::{Cancel, Machine, Report};
use pipe_plugin::stage::StageError;

use super::Maker;
use crate::helper::{Isolation, Order};
use crate::run::follow;

/// What of the caller's environment has no part in an environment that is made: it would change what is installed, or where.
const LEFT_OUT: [&str; 5] = ["PYTHON", "VIRTUAL_ENV", "CONDA_", "MAMBA_", "PIP_"];

/// What of pip's has: where packages come from, and how it gets at them.
const OF_PIP: [&str; 14] = [
    "PIP_CONFIG_FILE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_FIND_LINKS",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_PROXY",
    "PIP_TIMEOUT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "PIP_KEYRING_PROVIDER",
    "PIP_CACHE_DIR",
];

/// Tells which of the packages that its arguments name are not in the environment of the Python that runs it.
const ABSENT: &str = "import sys, importlib.metadata as m
def absent(name):
    try:
        return not str(m.distribution(name).locate_file('')).startswith(sys.prefix)
    except m.PackageNotFoundError:
        return True
names = [name for name in sys.argv[1:] if absent(name)]
if names:
    sys.exit('not in the environment: ' + ', '.join(names) + '; see that no configuration of pip has a target, a root or a dry run')";

/// Makes the environment of a lock in a folder that is not there yet. Addresses of packages and proxies are the caller's.
///
/// # Errors
/// The last lines of the tool that failed.
pub(super) fn environment(
    maker: &Maker,
    lock: &str,
    folder: &Path,
    machine: &Machine<'_>,
    cancel: &Cancel,
    reporter: &dyn Report,
) -> Result<(), StageError> {
    let work = tempfile::Builder::new().prefix("environment-").tempdir_in(machine.scratch)?;
    let lock_path = work.path().join("lock.txt");
    fs::write(&lock_path, lock)?;
    let (lock_path, place) = (lock_path.display().to_string(), folder.display().to_string());
    let run = |argv: &[&str]| run(argv, work.path(), machine, cancel, reporter);
    match maker {
        Maker::Python(python) => {
            run(&[&python.path.display().to_string(), "-m", "venv", &place])?;
            let python = folder.join("bin/python3").display().to_string();
            let pip = [&*python, "-m", "pip", "--no-input", "--disable-pip-version-check"];
            // Nothing but the lock's packages, and all that these need among them.
            run(&[&pip[..], &["install", "--no-deps", "--progress-bar", "off", "-r", &lock_path]].concat())?;
            run(&[&pip[..], &["check"]].concat())?;
            let packages = super::lock::packages(lock);
            let packages = packages.iter().map(String::as_str);
            // What lies elsewhere must not count as installed.
            run(&[&*python, "-I", "-c", ABSENT].into_iter().chain(packages).collect::<Vec<_>>())
        }
        Maker::Conda(manager) => run(&[
            &manager.path.display().to_string(),
            "create",
            "--yes",
            "--prefix",
            &place,
            "--file",
            &lock_path,
        ]),
    }
}

fn run(
    argv: &[&str],
    work: &Path,
    machine: &Machine<'_>,
    cancel: &Cancel,
    reporter: &dyn Report,
) -> Result<(), StageError> {
    let is_left_out =
        |name: &str| LEFT_OUT.iter().any(|prefix| name.starts_with(prefix)) && !OF_PIP.contains(&name);
    let given = machine.host.variables().filter(|(name, _)| !is_left_out(name));
    let mut variables: BTreeMap<String, String> =
        given.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    variables.insert("TMPDIR".to_string(), work.display().to_string());
    // Whatever the caller's configuration of pip says: packages go into the environment.
    variables.insert("PIP_USER".to_string(), "0".to_string());
    let order = Order {
        work: work.to_path_buf(),
        argv: argv.iter().map(|word| (*word).to_string()).collect(),
        variables,
        network: true,
        isolation: Isolation::None,
        ..Order::default()
    };
    let ran = follow(&order, machine.host, cancel, &|line| reporter.log(line), &|_| {})?;
    let problem = match (ran.ending.code, ran.ending.problem) {
        (Some(0), None) => return Ok(()),
        (_, Some(problem)) => problem,
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "it was ended by a signal".to_string(),
    };
    let last = ran.last.iter().rev().take(12).rev().map(|line| format!("\n  {line}")).collect::<String>();
    Err(StageError::message(format!(
        "the environment could not be made: {}: {problem}{last}",
        shown(argv)
    ))
    .advise(
        "the stage's log has all of it; an environment that could not be made is begun anew by the next run",
    ))
}

/// A command as it is told: no scripts, and no more than a line of it.
fn shown(argv: &[&str]) -> String {
    let words = argv.iter().map(|word| if word.contains('\n') { "…" } else { word });
    words.take(12).collect::<Vec<_>>().join(" ")
}
