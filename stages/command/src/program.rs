//! Programs on this machine: where they are, what they are, and what they need to be read beside them.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pipe_cache::Digest;
use pipe_plugin::host::Host;

/// Folders of a system, which every program may read.
pub const SYSTEM: [&str; 14] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix",
    "/gnu",
    "/run/current-system",
    "/var/lib/texmf",
    "/var/cache/fontconfig",
];

/// Where programs are looked for, behind the folders of `PATH`.
const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs that choose among versions of others, each `NAME which PROGRAM`.
const MANAGERS: [&str; 5] = ["pyenv", "rbenv", "nodenv", "asdf", "mise"];

/// A program that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it is, as it was found: a link to an interpreter decides what that one loads.
    pub path: PathBuf,
}

/// Why a program cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// There is no such program.
    #[error("there is no program `{name}` {place}")]
    Absent {
        /// Its name as it was given.
        name: String,
        /// Where it was looked for.
        place: &'static str,
    },
    /// It cannot be read.
    #[error("cannot read the program {}: {source}", path.display())]
    Read {
        /// Where it is.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Program {
    /// The program of that name in folders of software or on `PATH`, or at that absolute path.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(name: &str, software: &[String], host: &Host) -> Result<Self, ProgramError> {
        let absent = |place| ProgramError::Absent { name: name.to_string(), place };
        if name.contains('/') {
            let path = PathBuf::from(name);
            return match path.is_absolute() && is_executable(&path) {
                true => Ok(Self { path }),
                false => Err(absent("at an absolute path that can be executed")),
            };
        }
        let path = search_path(software, host);
        let folders = std::env::split_paths(&path);
        let mut found = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
        let path = found.find(|path| is_executable(path)).ok_or_else(|| absent("on PATH"))?;
        Ok(Self { path: behind_shim(&path, host).unwrap_or(path) })
    }

    /// Its content.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn digest(&self) -> Result<Digest, ProgramError> {
        let read = |source| ProgramError::Read { path: self.path.clone(), source };
        Ok(Digest::of_reader(File::open(&self.path).map_err(read)?).map_err(read)?.0)
    }

    /// The program that reads it, if it is a script: what stands behind its `#!`.
    pub fn interpreter(&self, software: &[String], host: &Host) -> Option<Result<Self, ProgramError>> {
        let line = first_line(&self.path)?;
        let mut words = line.strip_prefix("#!")?.split_whitespace();
        let first = words.next()?;
        let is_env = Path::new(first).file_name().is_some_and(|name| name == "env");
        let name =
            if is_env { words.find(|word| !word.starts_with('-') && !word.contains('='))? } else { first };
        Some(Self::find(name, software, host))
    }

    /// What must be readable for it to run, besides a system's folders: the installation that it is part of, and itself.
    pub fn installation(&self, home: Option<&Path>) -> Vec<PathBuf> {
        let mut places = Vec::new();
        // A link may lead through several: each installation on the way has something of it.
        let mut path = self.path.clone();
        for _ in 0..8 {
            if !is_of_system(&path) {
                places.push(prefix(&path, home).unwrap_or_else(|| path.clone()));
            }
            let Ok(target) = std::fs::read_link(&path) else { break };
            path = path.parent().map_or(target.clone(), |folder| folder.join(&target));
        }
        if let Ok(target) = std::fs::canonicalize(&self.path)
            && !is_of_system(&target)
        {
            places.push(prefix(&target, home).unwrap_or(target));
        }
        places.sort();
        places.dedup();
        places
    }
}

/// Where programs are looked for: in folders of software, then on `PATH`.
pub fn search_path(software: &[String], host: &Host) -> String {
    let of_software = software.iter().map(|folder| format!("{folder}/bin"));
    let path = host.variable("PATH").unwrap_or(USUAL).to_string();
    of_software.chain([path]).collect::<Vec<_>>().join(":")
}

/// The program that a version manager would start: what lies in its folder `shims` are scripts that ask it.
fn behind_shim(path: &Path, host: &Host) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "shims"))?;
    let root = folder.parent()?;
    let mut managers =
        MANAGERS.iter().flat_map(|name| [root.join("bin").join(name), root.join("libexec").join(name)]);
    let manager = managers.find(|manager| is_executable(manager))?;
    let name = path.file_name()?.to_str()?;
    let found = host.once(&format!("shim {}", path.display()), || {
        let mut command = Command::new(&manager);
        command.args(["which", name]).env_clear().envs(host.variables()).stdin(Stdio::null());
        let output = command.output().map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_string())
    });
    found.ok().map(PathBuf::from).filter(|path| is_executable(path))
}

/// Whether a path lies in a folder of the system.
pub fn is_of_system(path: &Path) -> bool {
    SYSTEM.iter().chain(&["/dev", "/proc", "/sys"]).any(|folder| path.starts_with(folder))
}

/// The folder of the installation that a program is part of: of an interpreter with its libraries. A folder of anything else may hold
/// what a stage does not declare.
fn prefix(program: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let folder = program.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "bin"))?;
    let prefix = folder.parent().filter(|prefix| prefix.parent().is_some() && Some(*prefix) != home)?;
    let has_libraries = |folder: &str| {
        let libraries = fs::read_dir(prefix.join(folder)).into_iter().flatten().flatten();
        libraries.into_iter().any(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with("python") || name == "R" || name == "perl5")
        })
    };
    let is_whole = ["pyvenv.cfg", "conda-meta"].iter().any(|name| prefix.join(name).exists());
    (is_whole || has_libraries("lib") || has_libraries("lib64")).then(|| prefix.to_path_buf())
}

fn first_line(path: &Path) -> Option<String> {
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?).take(512).read_until(b'\n', &mut line).ok()?;
    String::from_utf8(line).ok()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn executable(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn programs_are_found_by_path_with_their_interpreter_and_installation() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        executable(&at("python/bin/python3.11"), "binary");
        fs::create_dir_all(at("python/lib/python3.11")).unwrap();
        fs::create_dir_all(at("venv/bin")).unwrap();
        fs::write(at("venv/pyvenv.cfg"), "").unwrap();
        symlink(at("python/bin/python3.11"), at("venv/bin/python3")).unwrap();
        executable(&at("tools/run"), "#!/usr/bin/env -S python3 -u\nprint()");
        fs::write(at("tools/python3"), "no program").unwrap();
        let path = format!("relative:{}:{}", at("tools").display(), at("venv/bin").display());
        let host = Host::new([("PATH".to_string(), path)], None);
        let script = Program::find("run", &[], &host).unwrap();
        let python = script.interpreter(&[], &host).unwrap().unwrap();
        assert_eq!(python.path, at("venv/bin/python3"));
        assert!(python.interpreter(&[], &host).is_none());
        assert_eq!(python.installation(None), [at("python"), at("venv")]);
        assert_eq!(script.installation(None), [at("tools/run")]);
        assert_eq!(python.installation(Some(&at("venv"))), [at("python"), at("venv/bin/python3")]);
        let told = |name: &str| Program::find(name, &[], &host).unwrap_err().to_string();
        assert_eq!(told("absent"), "there is no program `absent` on PATH");
        executable(&at("manager/shims/python3"), "#!/bin/sh\nexec pyenv exec python3");
        executable(
            &at("manager/bin/pyenv"),
            &format!("#!/bin/sh\necho {}", at("python/bin/python3.11").display()),
        );
        let host = Host::new([("PATH".to_string(), at("manager/shims").display().to_string())], None);
        assert_eq!(Program::find("python3", &[], &host).unwrap().path, at("python/bin/python3.11"));
        assert!(told("tools/run").starts_with("there is no program `tools/run` at an absolute path"));
    }
}
