//! Closing a process off: a file system of its own in namespaces, or rules of Landlock. What is closed off stays so for all that the
//! process starts.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use caps::CapSet;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
    path_beneath_rules,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::pivot_root;

use super::{Isolation, Order, WORK};
use crate::program::{SYSTEM, is_of_system};

/// The version of Landlock whose rules are asked for; older kernels enforce what they know.
const RULES: ABI = ABI::V5;

/// Closes this process off, and makes the program's folder the current one.
///
/// # Errors
/// What the system refuses, in words.
pub fn isolate(order: &Order) -> Result<(), String> {
    match order.isolation {
        Isolation::Namespaces => {
            own_file_system(order)?;
            // Mounts below a read-only mount may still be written to. Where there is no Landlock, rights and lost capabilities
            // are what keeps them.
            let _ = restrict(true, &["/"], &[WORK, "/tmp", "/dev"]);
            drop_capabilities()
        }
        Isolation::Landlock => {
            enter(&order.work)?;
            let own = [order.work.as_path()];
            let readable = order.readable.iter().map(PathBuf::as_path).chain(own);
            let readable: Vec<&Path> =
                SYSTEM.iter().chain(&["/proc", "/sys"]).map(Path::new).chain(readable).collect();
            match restrict(order.network, &readable, &[&order.work, Path::new("/dev")])? {
                RulesetStatus::NotEnforced => Err("the system knows no Landlock".to_string()),
                _ => Ok(()),
            }
        }
        Isolation::None => enter(&order.work),
    }
}

fn enter(folder: &Path) -> Result<(), String> {
    std::env::set_current_dir(folder).map_err(|error| format!("cannot enter {}: {error}", folder.display()))
}

/// Gives up for good what a process may do as the root of its namespaces: to mount anew what it is shown for reading only.
fn drop_capabilities() -> Result<(), String> {
    let told = |error: caps::errors::CapsError| format!("cannot give up capabilities: {error}");
    nix::sys::prctl::set_no_new_privs().map_err(|error| format!("cannot give up privileges: {error}"))?;
    caps::clear(None, CapSet::Bounding).map_err(told)?;
    caps::clear(None, CapSet::Ambient).map_err(told)?;
    caps::clear(None, CapSet::Inheritable).map_err(told)?;
    caps::clear(None, CapSet::Effective).map_err(told)?;
    caps::clear(None, CapSet::Permitted).map_err(told)
}

/// Refuses this process all files but these, and connections unless it may use the network.
fn restrict<R: AsRef<Path>, W: AsRef<Path>>(
    network: bool,
    readable: &[R],
    writable: &[W],
) -> Result<RulesetStatus, String> {
    let restrict = || {
        let mut rules = Ruleset::default().handle_access(AccessFs::from_all(RULES))?;
        if !network {
            rules = rules.handle_access(AccessNet::from_all(RULES))?;
        }
        let rules = rules
            .create()?
            .add_rules(path_beneath_rules(readable, AccessFs::from_read(RULES)))?
            .add_rules(path_beneath_rules(writable, AccessFs::from_all(RULES)))?;
        rules.restrict_self()
    };
    restrict().map(|status| status.ruleset).map_err(|error: landlock::RulesetError| error.to_string())
}

/// Moves this process, which has mounts of its own, into a file system that has a system's folders, what the program declares, and its own folder at the same
/// place on every host.
fn own_file_system(order: &Order) -> Result<(), String> {
    let none: Option<&str> = None;
    let told = |what: &str, error: nix::Error| format!("cannot mount {what}: {error}");
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(|error| told("/", error))?;
    let root = &order.root;
    mount(Some("none"), root, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0755"))
        .map_err(|error| told("an own root", error))?;
    // First, since software that the program may read can lie in it.
    bind(&order.work.join("tmp"), &root.join("tmp"), false)?;
    for folder in SYSTEM {
        show(Path::new(folder), root)?;
    }
    if order.devices {
        // With all that is mounted in it; graphics processors are looked for there.
        show(Path::new("/sys"), root)?;
    }
    if order.network {
        // Where some systems keep how names of hosts are looked up.
        show(Path::new("/run/systemd/resolve"), root)?;
    }
    own_processes(root)?;
    own_devices(root, order.devices)?;
    for path in order.readable.iter().filter(|path| !is_of_system(path)) {
        show(path, root)?;
    }
    let work = within(root, Path::new(WORK));
    bind(&order.work, &work, false)?;
    for (file, name) in &order.shown {
        bind(file, &work.join(name), true)?;
    }
    bind(&work.join("in"), &work.join("in"), true)?;
    pivot(root).map_err(|error| format!("cannot enter an own root: {error}"))?;
    enter(Path::new(WORK))
}

/// The processes of the namespaces, for reading only; where the host does not allow this, the host's.
fn own_processes(root: &Path) -> Result<(), String> {
    let place = root.join("proc");
    fs::create_dir_all(&place).map_err(|error| format!("cannot show processes: {error}"))?;
    let none: Option<&str> = None;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("proc"), &place, Some("proc"), flags, none) {
        Ok(()) => Ok(()),
        Err(_) => bind(Path::new("/proc"), &place, true),
    }
}

/// Devices that every program may use, shared memory of its own, and graphics processors if it declares them.
fn own_devices(root: &Path, with_graphics: bool) -> Result<(), String> {
    let dev = root.join("dev");
    let told = |error: io::Error| format!("cannot make devices: {error}");
    fs::create_dir_all(dev.join("shm")).map_err(told)?;
    for name in ["null", "zero", "full", "random", "urandom"] {
        bind(&Path::new("/dev").join(name), &dev.join(name), false)?;
    }
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(Path::new("/proc/self").join(target), dev.join(name)).map_err(told)?;
    }
    let none: Option<&str> = None;
    mount(
        Some("none"),
        &dev.join("shm"),
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=1777"),
    )
    .or_else(|_| mount(none, &dev.join("shm"), none, MsFlags::MS_PRIVATE, none))
    .map_err(|error| told(error.into()))?;
    if with_graphics {
        let is_graphics = |name: &str| name.starts_with("nvidia") || name == "dri" || name == "kfd";
        for entry in fs::read_dir("/dev").map_err(told)?.flatten() {
            if entry.file_name().to_str().is_some_and(is_graphics) {
                bind(&entry.path(), &dev.join(entry.file_name()), false)?;
            }
        }
    }
    Ok(())
}

/// Shows a file or folder of the host at its own place.
fn show(path: &Path, root: &Path) -> Result<(), String> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    let place = within(root, path);
    if metadata.is_symlink() {
        let make = || {
            fs::create_dir_all(place.parent().unwrap_or(root))?;
            symlink(fs::read_link(path)?, &place)
        };
        return make().map_err(|error: io::Error| format!("cannot show {}: {error}", path.display()));
    }
    bind(path, &place, true)
}

/// Mounts a file or folder at another place as well.
fn bind(path: &Path, place: &Path, is_read_only: bool) -> Result<(), String> {
    let told = |error: io::Error| format!("cannot show {}: {error}", path.display());
    make_place(path, place).map_err(told)?;
    let none: Option<&str> = None;
    mount(Some(path), place, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .map_err(|error| told(error.into()))?;
    if is_read_only {
        // What the mount was locked to must be asked for again.
        let flags = statvfs(place).map_err(|error| told(error.into()))?.flags();
        let mut again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let locked = [
            (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
            (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
            (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
            (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
            (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
            (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
        ];
        again |= locked.into_iter().filter(|(is, _)| flags.contains(*is)).map(|(_, flag)| flag).collect();
        mount(none, place, none, again, none).map_err(|error| told(error.into()))?;
    }
    Ok(())
}

/// Makes a place to mount at.
fn make_place(path: &Path, place: &Path) -> io::Result<()> {
    if place.exists() {
        return Ok(());
    }
    if path.is_dir() {
        return fs::create_dir_all(place);
    }
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    fs::write(place, b"")
}

/// A path of the host in a file system that is mounted elsewhere.
fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Makes a mounted folder the root, and lets go of the former one.
fn pivot(root: &Path) -> nix::Result<()> {
    nix::unistd::chdir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)
}
